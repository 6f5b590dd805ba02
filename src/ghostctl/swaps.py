# SPDX-License-Identifier: GPL-2.0-or-later
"""/proc/swaps: the active swap areas, as proc_swaps(5) and mm/swapfile.c write them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from .errors import Error, NoAreaList, naming
from .sizes import natural

PROC_SWAPS = "/proc/swaps"


class Area(NamedTuple):
    """One line of /proc/swaps. Sizes as the kernel prints them, in KiB, without the header page."""

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
        """True for areas without storage, whatever interface of the kernel made them."""
        return self.type in ("ghost", "xswap")

    def is_same(self, other: Area) -> bool:
        """True when `other`, of an earlier or later reading, is this area: only what is in use may differ."""
        return self._replace(used_kib=other.used_kib) == other


def zram_number(area: Area) -> int | None:
    """N of the device /dev/zramN that an area is on; None for another area.

    /zramN was made active in another mount namespace, whose /dev is not this one.
    """
    directory, name = os.path.split(area.name)
    if area.type != "partition" or directory not in ("/", "/dev") or not name.startswith("zram"):
        return None
    return natural(name.removeprefix("zram"))


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
    """The active areas, in the kernel's order.

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


def _why_missing(proc: str) -> str:
    if not os.path.exists(f"{proc}/self"):
        return f"{proc} is not mounted"
    if not os.path.exists(f"{proc}/meminfo"):
        return f"{proc} is not mounted as a whole, but with subset=pid"
    return "this kernel has no swap"
