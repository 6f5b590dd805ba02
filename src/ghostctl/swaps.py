# SPDX-License-Identifier: GPL-2.0-or-later
"""/proc/swaps: the active swap areas, as proc_swaps(5) and mm/swapfile.c write them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from . import kernel
from .errors import Error, NoAreaList, naming
from .report import describe, trace
from .sizes import natural

PROC_SWAPS = "/proc/swaps"

_WRAP_KIB = 1 << 32
"""swap_show() of mm/swapfile.c counts KiB in 32 bits."""


class Area(NamedTuple):
    """One line of /proc/swaps. Sizes in KiB, without the header page, as the kernel prints them.

    But for one of 4 TiB and more, which the kernel prints modulo that: then it is the header's.
    """

    name: str
    """What the kernel calls it, verbatim: a path, with `` (deleted)`` behind it when the file has been
    unlinked, or a bare name such as ``xswap0``; undecodable bytes as surrogates (`os.fsdecode`)."""
    type: str
    """The kernel's word, verbatim: ``file``, ``partition``, ``ghost``, ``xswap`` or a new one."""
    size_kib: int
    used_kib: int
    prio: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.size_kib << 10

    @property
    def used(self) -> int:
        """Bytes in use."""
        return self.used_kib << 10

    @property
    def is_ghost(self) -> bool:
        """True for areas without storage, whatever interface of the kernel made them.

        ``ghost`` and ``xswap`` are the words so far. A file under a new one is of a new kind of them, as swap
        files with storage have always had their word; what else has one (``none``, ``virtual`` in containers
        with lxcfs) can be anything.
        """
        return self.type in ("ghost", "xswap") or (not self.is_ordinary and self.name.startswith("/"))

    @property
    def is_ordinary(self) -> bool:
        """True for areas with storage: swap files, and block devices, zram among them."""
        return self.type in ("file", "partition")

    def is_same(self, other: Area) -> bool:
        """True when `other`, of an earlier or later reading, is this area: only what is in use may differ.

        Of a large size one reading may know more than the lower bits that the kernel prints.
        """
        printed = self.size_kib % _WRAP_KIB, other.size_kib % _WRAP_KIB
        return self[:2] == other[:2] and self.prio == other.prio and printed[0] == printed[1]


def numbered(name: str, prefix: str) -> int | None:
    """N of a kernel's name PREFIXn; None for another name."""
    return natural(name.removeprefix(prefix)) if name.startswith(prefix) else None


def device_number(area: Area, prefix: str) -> int | None:
    """N of the device /dev/PREFIXn that an area is on; None for another area.

    /PREFIXn was made active in another mount namespace, whose /dev is not this one.
    """
    directory, name = os.path.split(area.name)
    if area.type != "partition" or directory not in ("/", "/dev"):
        return None
    return numbered(name, prefix)


def zram_number(area: Area) -> int | None:
    """N of the zram device that an area is on, as `device_number`."""
    return device_number(area, "zram")


def _unescape(name: bytes) -> bytes:
    # seq_file_path() writes space, tab, newline and backslash as three octal digits
    return re.sub(rb"\\([0-3][0-7]{2})", lambda match: bytes([int(match[1], 8)]), name)


def parse(data: bytes) -> Iterator[Area]:
    """The areas in the text of /proc/swaps, in its order.

    A line that does not look like one of the kernel's is left out: whatever it is, it is no area that
    this program could name to a system call.
    """
    for line in data.split(b"\n")[1:]:
        # only blanks separate: the kernel leaves \r, \v and \f in a name as they are
        fields = re.split(rb"[ \t]+", line.rstrip(b" \t"))
        # the kernel's numbers are of 64 bits at most
        if len(fields) != 5 or not fields[0] or max(map(len, fields[2:])) > 20:
            continue
        name, kind, *numbers = fields
        try:
            size_kib, used_kib, prio = (int(number) for number in numbers)
        except ValueError:
            continue
        name = _unescape(name)
        if b"\0" in name:
            continue
        yield Area(os.fsdecode(name), os.fsdecode(kind), size_kib, used_kib, prio)


def read(path: str = PROC_SWAPS) -> list[Area]:
    """The active areas, in the kernel's order, with their true sizes. Raises as `printed`."""
    areas = printed(path)
    try:
        total = kernel.read_meminfo(os.path.join(os.path.dirname(path), "meminfo"))["SwapTotal"]
    except (OSError, KeyError):
        return areas
    # where the sizes add up to what the kernel counts in all, none has wrapped
    return areas if total == sum(area.size for area in areas) else _unwrapped(areas, total)


def printed(path: str = PROC_SWAPS) -> list[Area]:
    """The active areas as the kernel prints them.

    Raises `NoAreaList` where there is no such file, `OSError` and `Error` when it cannot be read or is
    something else: none of them means that no area is active.
    """
    try:
        with naming(path), open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise NoAreaList(_why_missing(os.path.dirname(path)), path=path) from None
    if not data.startswith(b"Filename"):
        raise Error("is not the kernel's list of areas", path=path)
    return list(parse(data))


def _unwrapped(areas: list[Area], total: int) -> list[Area]:
    """The areas with their true sizes, of which the kernel prints the lower bits.

    That is the size in the header, or what the only one of which it is not known lacks to `total` bytes.
    """
    sizes_kib = [_true_kib(area) for area in areas]
    found = [
        area if size_kib is None else area._replace(size_kib=size_kib)
        for area, size_kib in zip(areas, sizes_kib, strict=True)
    ]
    wraps, rest = divmod(total - sum(area.size for area in found), _WRAP_KIB << 10)
    if sizes_kib.count(None) == 1 and wraps > 0 and rest == 0:
        n = sizes_kib.index(None)
        found[n] = found[n]._replace(size_kib=found[n].size_kib + wraps * _WRAP_KIB)
    return found


def _true_kib(area: Area) -> int | None:
    """The size of an area, when the storage is too small for another, or the header agrees; else None."""
    if not area.name.startswith("/"):
        return None
    with suppress(OSError, ValueError):
        if area.is_ordinary and storage(area.name) < _WRAP_KIB << 10:
            return area.size_kib
    size_kib = _declared_kib(area)
    return size_kib if size_kib and size_kib % _WRAP_KIB == area.size_kib else None


def storage(path: str) -> int:
    """Bytes of a file or block device. Raises `OSError`."""
    st = os.stat(path)
    if not stat.S_ISBLK(st.st_mode):
        return st.st_size
    # Documentation/ABI/stable/sysfs-block: in sectors of 512 bytes, whatever the device has
    with open(f"/sys/dev/block/{os.major(st.st_rdev)}:{os.minor(st.st_rdev)}/size", encoding="ascii") as file:
        return int(file.read()) * 512


def _declared_kib(area: Area) -> int | None:
    """The usable size in the header; None without one that may be read."""
    from . import ghostfile

    try:
        with ghostfile.look(area.name) as file:
            return (file.header.size - file.header.page_size) >> 10 if file.header else None
    except (OSError, Error) as error:
        trace(f"{area.name}: {describe(error)}")
        return None


def _why_missing(proc: str) -> str:
    if not os.path.exists(f"{proc}/self"):
        return f"{proc} is not mounted"
    if not os.path.exists(f"{proc}/meminfo"):
        return f"{proc} is not mounted as a whole, but with subset=pid"
    return "this kernel has no swap"
