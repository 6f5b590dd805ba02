# SPDX-License-Identifier: GPL-2.0-or-later
"""Cgroups, their memory limits, and what they have in swap (Documentation/admin-guide/cgroup-v2.rst).

A page that comes back is charged to the cgroup that it was taken from, which has to have room for it. Also
of version 1 (cgroup-v1/memory.rst), where the memory controller is still there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

from .errors import Error, Unsupported, naming
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
    for top, version in _hierarchies(root):
        yield from _below(top, version)


def _hierarchies(root: str) -> Iterator[tuple[str, _Version]]:
    """Where cgroups may have numbers of memory, and which version they are of."""
    mount = os.path.join(root, _MOUNT)
    if os.path.exists(os.path.join(mount, "cgroup.controllers")):
        yield mount, _V2
        return
    # a hierarchy for each controller of version 1, and perhaps one of version 2
    for top in _directories(mount):
        if os.path.exists(os.path.join(top, _V1.limit)):
            yield top, _V1
        elif os.path.exists(os.path.join(top, "cgroup.controllers")):
            yield top, _V2


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
    return _pairs(_read_text(os.path.join(path, "memory.stat")))


def _pairs(text: str) -> dict[str, int]:
    pairs = (line.split(" ") for line in text.splitlines())
    return {pair[0]: number for pair in pairs if len(pair) == 2 and (number := natural(pair[1])) is not None}


def _read_text(path: str) -> str:
    try:
        return _text(path)
    except OSError as error:
        trace(describe(error), 2)
        return ""


def _text(path: str) -> str:
    with naming(path), open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def _directories(path: str) -> list[str]:
    try:
        return _list(path)
    except OSError as error:
        trace(describe(error), 2)
        return []


def _list(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))


class Swapped(NamedTuple):
    """A cgroup that has pages in swap areas; all with those below it, in bytes.

    None is what the kernel does not say.
    """

    name: str
    """Its path below the mount point; ``/`` for the root of the hierarchy, where that has numbers."""
    depth: int
    """How many of the cgroups above it are in the list."""
    swap: int
    """Slots that its pages have, also those in the swap cache."""
    stored: int | None = None
    """Its pages in zswap, before compression."""
    memory: int | None = None
    """What those take."""
    swap_max: int | str | None = None
    """memory.swap.max; ``max``, as the kernel says, is no limit."""
    zswap_max: int | str | None = None
    """memory.zswap.max, likewise."""
    writeback: bool | None = None
    """Whether its pages in zswap may be written back; not where those of one above it may not."""

    @property
    def indented(self) -> str:
        """Its name below that of the cgroup above it."""
        return "  " * self.depth + (self.name if not self.depth else self.name.rpartition("/")[2])


class Tree(NamedTuple):
    """The cgroups with pages in swap areas, each before those below it, the largest first among siblings."""

    groups: list[Swapped]
    unreadable: int
    """Cgroups that may not be looked at. What they have is part of what those above them have."""

    @property
    def swap(self) -> int:
        """What they have together, in bytes."""
        return sum(group.swap for group in self.groups if not group.depth)

    def largest(self, limit: int | None) -> list[Swapped]:
        """So many of the largest; those above one that is among them are, too, as none has more than they."""
        # sorted() keeps the order of equals
        kept = set(sorted(self.groups, key=lambda group: -group.swap)[:limit])
        return [group for group in self.groups if group in kept]

    @property
    def warning(self) -> str | None:
        """That some may not be seen; None when all were."""
        if not self.unreadable:
            return None
        return f"{self.unreadable} cgroup{'s' if self.unreadable > 1 else ''} cannot be read"


def swapped(root: str = "/") -> Tree:
    """Who has pages in swap areas. Those that go meanwhile are left out.

    Raises `Error` where no cgroups are mounted, and `Unsupported` where none counts swap: no memory
    controller, or a kernel that was started with swapaccount=0.
    """
    tops = list(_hierarchies(root))
    if not tops:
        raise Error("no cgroups are mounted", path=f"/{_MOUNT}")
    walks = [_Walk(top, version) for top, version in tops]
    groups = [group for walk in walks for group in walk]
    unreadable = sum(walk.unreadable for walk in walks)
    if not any(walk.counts for walk in walks) and not unreadable:
        raise Unsupported("no cgroup counts what is in swap areas", path=f"/{_MOUNT}")
    return Tree(groups, unreadable)


class _Walk:
    """Goes through a hierarchy; without recursion, as whoever has a cgroup may make many below it."""

    def __init__(self, top: str, version: _Version) -> None:
        self.top = top
        self.version = version
        self.counts = False
        self.unreadable = 0

    def __iter__(self) -> Iterator[Swapped]:
        paths = [(self.top, self._swap(self.top), 0, True)]
        while paths:
            path, swap, depth, writeback = paths.pop()
            # the root of version 2 counts nothing
            if swap is not None:
                group = self._read(path, swap, depth, writeback)
                writeback = group.writeback is not False
                if swap:
                    yield group
            below = ((child, self._swap(child)) for child in self._children(path))
            # what is 0 is so below, too
            known = [(child, number) for child, number in below if number]
            known.sort(key=lambda one: one[1])
            paths += ((child, number, depth + (swap is not None), writeback) for child, number in known)

    def _children(self, path: str) -> list[str]:
        try:
            # of equal ones the first by name comes first: the last is taken first
            return _list(path)[::-1]
        except OSError as error:
            self._cannot(error)
            return []

    def _cannot(self, error: OSError) -> None:
        trace(describe(error), 2)
        # what is gone meanwhile, perhaps between open(2) and read(2), has no pages
        self.unreadable += error.errno not in (errno.ENOENT, errno.ENODEV)

    def _swap(self, path: str) -> int | None:
        """None where this cgroup does not count it, or is gone, or may not be looked at."""
        try:
            if self.version is _V2:
                found = natural(_text(os.path.join(path, "memory.swap.current")).strip())
            else:
                stat = _pairs(_text(os.path.join(path, "memory.stat")))
                found = stat.get("total_swap")
                # version 1 takes a page in the swap cache for one in memory, though it has its slot
                if found is not None:
                    found += stat.get("total_swapcached", 0)
        except OSError as error:
            self._cannot(error)
            return None
        self.counts |= found is not None
        return found

    def _read(self, path: str, swap: int, depth: int, writeback: bool) -> Swapped:
        name = "/" if path == self.top else os.path.relpath(path, self.top)
        if self.version is _V1:
            return Swapped(name, depth, swap)
        allowed = _read_number(os.path.join(path, "memory.zswap.writeback"))
        return Swapped(
            name,
            depth,
            swap,
            _read_stat(path).get("zswapped"),
            _read_number(os.path.join(path, "memory.zswap.current")),
            _read_limit(os.path.join(path, "memory.swap.max")),
            _read_limit(os.path.join(path, "memory.zswap.max")),
            None if allowed is None else bool(allowed) and writeback,
        )


def _read_limit(path: str) -> int | str | None:
    text = _read_text(path).strip()
    return text if text == "max" else natural(text)
