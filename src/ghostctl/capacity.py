# SPDX-License-Identifier: GPL-2.0-or-later
"""What ghosts can really hold: the slots they declare are one thing, the room in zswap's pool another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .report import quote, trace
from .sizes import MAX_PAGES, human, page_size
from .swaps import Area, zram_number
from .zswap import Zswap

if TYPE_CHECKING:
    from .areas import Active

ASSUMED_RATIO = 3.0
"""Stored to pool bytes, taken where there is too little in zswap to measure it by."""

_MOST_BY_ZPOOL = {"zbud": 2.0, "z3fold": 3.0}
"""These allocators keep at most so many compressed pages in one page."""

_LEAST_STORED = 4 << 20
"""Bytes in zswap below which their ratio says nothing about the next ones."""


class Capacity(NamedTuple):
    """What the active ghosts promise and what zswap can keep of it, in bytes of uncompressed pages."""

    size: int
    """What the ghosts declare, without their header pages."""
    free: int
    """Their free slots: what SwapFree of proc_meminfo(5) counts."""
    room: int | None
    """What zswap's pool can still take; None where this kernel does not say."""
    holds: int | None
    """What the pool holds when it is full."""
    ratio: float
    measured: bool
    """Whether `ratio` is that of the pages in zswap, or assumed."""

    @property
    def available(self) -> int | None:
        """What the ghosts can really still take."""
        return None if self.room is None else min(self.free, self.room)

    @property
    def is_short(self) -> bool:
        """True when the free slots promise more than the pool can take."""
        return self.room is not None and self.room < self.free

    def verdict(self) -> str:
        """One line for people."""
        if self.room is None:
            return f"{human(self.free)} free in ghosts; this kernel does not say how full zswap's pool is"
        if not self.is_short:
            return f"{human(self.free)} free in ghosts, and zswap's pool can take it ({self._at()})"
        if not self.holds:
            return f"{human(self.free)} free in ghosts, but nothing can be swapped to them"
        return (
            f"{human(self.free)} free in ghosts, but zswap's pool can take {human(self.room)} more "
            f"({self._at()}): after that nothing can be swapped to them"
        )

    def _at(self) -> str:
        return f"at {self.ratio:.1f}:1, {'measured' if self.measured else 'assumed'}"


def ratio(state: Zswap | None) -> tuple[float, bool]:
    """The ratio to reckon with, and whether it is measured."""
    if state is not None and state.ratio is not None and state.stored and state.stored >= _LEAST_STORED:
        return state.ratio, True
    zpool = state.zpool if state is not None and state.zpool else ""
    return min(ASSUMED_RATIO, _MOST_BY_ZPOOL.get(zpool, ASSUMED_RATIO)), False


def pool_holds(state: Zswap | None) -> int | None:
    """Bytes of pages that a full pool holds at the `ratio`.

    0 without zswap or with zswap off; None where the limit of the pool is not known.
    """
    if state is None or state.enabled is False:
        return 0
    if state.pool_limit is None:
        return None
    return int(state.pool_limit * ratio(state)[0])


def measure(areas: Iterable[Area], state: Zswap | None) -> Capacity | None:
    """The capacity of the ghosts among `areas`, with this state of zswap; None without an active ghost.

    ``min(free slots, (pool limit - pool used) * ratio)`` is its `available`.
    """
    ghosts = [area for area in areas if area.is_ghost]
    if not ghosts:
        return None
    at, measured = ratio(state)
    holds = pool_holds(state)
    room = holds
    if state is not None and state.enabled:
        if state.pool is None or state.pool_limit is None:
            room = None
        else:
            room = int(max(state.pool_limit - state.pool, 0) * at)
    size = sum(area.size for area in ghosts)
    return Capacity(size, size - sum(area.used for area in ghosts), room, holds, at, measured)


def recommended_size(holds: int) -> int:
    """A size to declare, header page included, of which the slots run out before the pool does.

    What a pool `holds` is known at a ratio that the next pages need not have: a tenth stays free.
    """
    return min(holds * 9 // 10, MAX_PAGES * page_size()) >> 20 << 20


class Overcommitted(NamedTuple):
    """A ghost that promises more than zswap's pool holds, and what it keeps from being used."""

    ghost: Area
    kept: tuple[Area, ...]
    """Ordinary areas of its priority and below."""
    holds: int
    """Bytes of pages that the pool holds."""
    fits: int
    """A size to declare for it, header page included, of which the slots run out before the pool does."""

    def problem(self) -> str:
        """What is wrong, for a message that names the ghost."""
        above = ", ".join(area.name for area in self.kept if area.prio < self.ghost.prio)
        beside = ", ".join(area.name for area in self.kept if area.prio == self.ghost.prio)
        same = "no priority, like" if self.ghost.prio < 0 else "the same priority as"
        words = [f"is above {above}"] if above else []
        words += [f"has {same} {beside}"] if beside else []
        return (
            f"{' and '.join(words)} and declares more than zswap's pool can hold (about "
            f"{human(self.holds, ' ', 'iB')}): once the pool is full, nothing more is swapped, "
            "not even to them"
        )

    def fix(self, path: str | None) -> str:
        """What to do about it; `path` of the ghost file, None when it has none."""
        if self.fits and path is not None:
            return f"ghostctl resize --cycle {quote(path)} {self.fits >> 20}M"
        return (
            f"give {', '.join(area.name for area in self.kept)} a higher priority, with -p and pri= in fstab"
        )


def overcommitted(areas: Sequence[Area], state: Zswap | None) -> Iterator[Overcommitted]:
    """The ghosts that cannot keep what they promise, with ordinary areas of no higher priority beside them.

    The kernel goes on to those only when the slots of a ghost have run out, and uses areas of equal
    priority in turn. A pool that is full before that stops them all: what a ghost does not take stays in
    memory.
    """
    found = measure(areas, state)
    # with zswap off the size is not what is wrong
    if found is None or not found.holds or found.size <= found.holds:
        return
    for ghost in (area for area in areas if area.is_ghost):
        kept = tuple(area for area in areas if area.is_ordinary and area.prio <= ghost.prio)
        if kept:
            others = found.size - ghost.size
            yield Overcommitted(ghost, kept, found.holds, recommended_size(max(found.holds - others, 0)))


def room(actives: Iterable[Active], state: Zswap | None, available: int) -> int:
    """Bytes of pages that these areas can really take, with so many bytes of memory `available`.

    A ghost what zswap's pool has room for, a zram device what its memory limit leaves, others what is free.
    """
    total = 0
    ghosts = []
    for one in actives:
        area = one.area
        if area.is_ghost:
            ghosts.append(area)
        elif (number := zram_number(area)) is not None:
            total += min(area.size - area.used, _zram_room(number, available))
        else:
            total += area.size - area.used
    found = measure(ghosts, state)
    if found is not None:
        total += found.free if found.available is None else found.available
    return total


def _zram_room(number: int, available: int) -> int:
    """What a zram device can store at the ratio of what it has; nothing where sysfs does not say."""
    # Documentation/admin-guide/blockdev/zram.rst: orig_data_size compr_data_size mem_used_total mem_limit ...
    try:
        with open(f"/sys/block/zram{number}/mm_stat", encoding="ascii") as file:
            stored, _, used, limit, *_ = map(int, file.read().split())
    except (OSError, ValueError) as error:
        trace(f"zram{number}: {error}")
        return 0
    memory = min(available, max(limit - used, 0)) if limit else available
    return memory * max(stored, used) // used if used else memory
