# SPDX-License-Identifier: GPL-2.0-or-later
"""/proc/swaps: the active swap areas, as proc_swaps(5) and mm/swapfile.c write them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

PROC_SWAPS = "/proc/swaps"

_DELETED = b" (deleted)"


class Area(NamedTuple):
    """One line of /proc/swaps. Sizes as the kernel prints them, in KiB, without the header page."""

    name: str
    """Path, or a bare name such as ``xswap0``; undecodable bytes as surrogates (`os.fsdecode`)."""
    type: str
    """The kernel's word, verbatim: ``file``, ``partition``, ``ghost``, ``xswap`` or a new one."""
    size_kib: int
    used_kib: int
    prio: int
    deleted: bool = False
    """The file has been unlinked since swapon, or its name ends as if it had been; see `path`."""

    @property
    def path(self) -> str:
        """The name for system calls. The kernel's mark of an unlinked file can be part of a file's name."""
        return self.name + os.fsdecode(_DELETED) if self.deleted else self.name

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

    def is_file(self, st: os.stat_result) -> bool:
        """True when the file or device with this stat(2) result is the one that is active here."""
        if not self.name.startswith("/"):
            return False
        try:
            own = os.stat(self.path)
        except OSError:
            return False
        if stat.S_ISBLK(st.st_mode) or stat.S_ISCHR(st.st_mode):
            return stat.S_IFMT(own.st_mode) == stat.S_IFMT(st.st_mode) and own.st_rdev == st.st_rdev
        return (own.st_dev, own.st_ino) == (st.st_dev, st.st_ino)


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
        deleted = name.endswith(_DELETED)
        if deleted:
            name = name.removesuffix(_DELETED)
        yield Area(os.fsdecode(name), os.fsdecode(kind), size_kib, used_kib, prio, deleted)


def read(path: str = PROC_SWAPS) -> list[Area]:
    """The active areas, in the kernel's order; none on a system without /proc/swaps."""
    try:
        with open(path, "rb") as file:
            return list(parse(file.read()))
    except FileNotFoundError:
        return []


def find(areas: Sequence[Area], st: os.stat_result) -> Area | None:
    """The area that the file or device with this stat(2) result realises, by device and inode."""
    return next((area for area in areas if area.is_file(st)), None)
