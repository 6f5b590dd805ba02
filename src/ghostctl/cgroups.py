# SPDX-License-Identifier: GPL-2.0-or-later
"""Cgroups with a memory limit, and what they have in swap (Documentation/admin-guide/cgroup-v2.rst).

A page that comes back is charged to the cgroup that it was taken from, which has to have room for it. Also
of version 1 (cgroup-v1/memory.rst), where the memory controller is still there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from .report import describe, quote, trace
from .sizes import natural

_MOUNT = "sys/fs/cgroup"
_MIB = 1 << 20

_NO_LIMIT = 1 << 62
"""memory.limit_in_bytes of version 1 without a limit: PAGE_COUNTER_MAX of linux/page_counter.h in bytes."""


class Cgroup(NamedTuple):
    """A cgroup that may use so much memory and no more; all with those below it, in bytes."""

    name: str
    """Its path below the mount point: ``system.slice/foo.service``."""
    limit_path: str
    """The file that has the limit."""
    limit: int
    current: int
    """Memory that it uses: of version 2 with what its pages take in zswap."""
    swap: int
    """Pages that have a slot in a swap area and are not in memory."""
    zswap: int = 0
    """Memory that its pages take in zswap; 0 where that is not charged to it."""
    zswapped: int = 0
    """Its pages in zswap, before compression."""
    file: int = 0
    """Its page cache, which goes when memory is needed."""

    @property
    def room(self) -> int:
        """What it can still use; negative where it is over a limit that has just been set."""
        return self.limit - self.current + self.file

    def missing(self, used: int, elsewhere: int, room: int) -> int:
        """Bytes that it lacks when an area with `used` bytes of pages is taken down; 0 when it fits.

        Of its pages in zswap, as many as `elsewhere` bytes may be those of other areas, to which pages can go
        on as far as there is `room`. Which pages of the area are its own, the kernel does not say: all that
        can be.
        """
        own = max(self.zswapped - elsewhere, 0)
        given_back = self.zswap * own // self.zswapped if self.zswapped else 0
        return max(min(self.swap, used) - given_back - room - self.room, 0)

    def raised_by(self, missing: int) -> str:
        """The command that gives it so much more memory, and an eighth for what it asks for meanwhile."""
        limit = -(-(self.limit + missing * 9 // 8) // _MIB) * _MIB
        return f"echo {limit} > {quote(self.limit_path)}"


class _Version(NamedTuple):
    """Names of files, and what the keys of memory.stat begin with where they count what is below, too."""

    limit: str
    current: str
    below: str


_V1 = _Version("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
_V2 = _Version("memory.max", "memory.current", "")


def iter_limited(root: str = "/") -> Iterator[Cgroup]:
    """The cgroups that have pages in swap and a limit of memory, parents before what is below them.

    Those that go while it looks, or cannot be read, are left out.
    """
    mount = os.path.join(root, _MOUNT)
    if os.path.exists(os.path.join(mount, "cgroup.controllers")):
        yield from _below(mount, _V2)
        return
    # a hierarchy for each controller of version 1, and perhaps one of version 2
    for top in _directories(mount):
        if os.path.exists(os.path.join(top, _V1.limit)):
            yield from _below(top, _V1)
        elif os.path.exists(os.path.join(top, "cgroup.controllers")):
            yield from _below(top, _V2)


def _below(top: str, version: _Version) -> Iterator[Cgroup]:
    paths = [top]
    while paths:
        path = paths.pop()
        swap = _read_swap(path, version)
        # the root of version 2 counts nothing; what is not counted here, or 0, is so below, too
        if swap or (swap is None and path == top):
            if swap and (found := _read(path, top, version, swap)) is not None:
                yield found
            paths += reversed(_directories(path))


def _read_swap(path: str, version: _Version) -> int | None:
    if version is _V2:
        return _read_number(os.path.join(path, "memory.swap.current"))
    return _read_stat(path).get("total_swap")


def _read(path: str, top: str, version: _Version, swap: int) -> Cgroup | None:
    limit_path = os.path.join(path, version.limit)
    limit, current = _read_number(limit_path), _read_number(os.path.join(path, version.current))
    if limit is None or limit >= _NO_LIMIT or current is None:
        return None
    stat = _read_stat(path)
    file = sum(stat.get(f"{version.below}{key}", 0) for key in ("inactive_file", "active_file"))
    name = os.path.relpath(path, top)
    if version is _V1:
        return Cgroup(name, limit_path, limit, current, swap, file=file)
    # version 2 counts the slots of pages in the swap cache, which are in memory
    swap = max(swap - stat.get("swapcached", 0), 0)
    pool = _read_number(os.path.join(path, "memory.zswap.current")) or 0
    return Cgroup(name, limit_path, limit, current, swap, pool, stat.get("zswapped", 0), file)


def _read_number(path: str) -> int | None:
    """The number in a file; None where it has none, such as ``max``, or is not there."""
    return natural(_read_text(path).strip())


def _read_stat(path: str) -> dict[str, int]:
    pairs = (line.split(" ") for line in _read_text(os.path.join(path, "memory.stat")).splitlines())
    return {pair[0]: number for pair in pairs if len(pair) == 2 and (number := natural(pair[1])) is not None}


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError as error:
        trace(describe(error), 2)
        return ""


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        trace(describe(error), 2)
        return []
