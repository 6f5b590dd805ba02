# SPDX-License-Identifier: GPL-2.0-or-later
"""What active ghosts can really hold: the slots they declare are one thing, the room in memory another.

The pages of a ghost live compressed in a pool: zswap's, or that of the zram device that it is active through.
A page that a full pool refuses keeps its slot and stays in memory, and the kernel tries no other area for it.
So the slots of a ghost must run out before its pool is full. They do, however badly pages compress, where the
ghosts in a pool declare no more than the pool may take.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from . import fstab, kernel, zswap
from .errors import Error
from .mmstat import read_mm_stat
from .report import describe, quote, trace
from .sizes import MAX_PAGES, human, page_size
from .swaps import Area, zram_number
from .zswap import Zswap

if TYPE_CHECKING:
    from .areas import Active

POOL_PERCENT = 50
"""The pool limit that is proposed, in percent of memory: room for a ghost, and memory beside a full one."""
LEAST_PERCENT, MOST_PERCENT = 30, 90
"""Limits in between, which somebody has chosen, are left as they are; 20 is the kernel's."""
_BESIDE = 128 << 20
"""Bytes of memory to be left beside a full pool: with 73 MiB the OOM killer came before a disk area below the
ghost was used, with 98 MiB it did not (Linux 7.2, guests of 256 and 512 MiB)."""

NEARLY_FULL = 90
"""Percent of its limit from which on a pool is as good as full."""

DOUBLED = "pages are compressed twice, or never come to it"
"""What zswap in front of a zram device does."""
DISABLE_ZSWAP = "ghostctl zswap set enabled=no --persist"

_LEAST_STORED = 4 << 20
"""Bytes in a pool below which its ratio says nothing about the next pages."""


class Pool(NamedTuple):
    """Memory that compressed pages live in. Sizes in bytes; None for what this kernel does not say."""

    name: str
    """``zswap``, or that of a zram device."""
    used: int | None
    """Memory that it takes."""
    stored: int | None
    """The pages in it, before compression."""
    limit: int | None
    """The most that it may take; None also for a zram device without a limit."""
    most: int | None
    """The same, and all memory for a zram device without a limit; 0 with zswap off."""

    @property
    def ratio(self) -> float | None:
        """Stored bytes to memory; None while the pool is empty."""
        return self.stored / self.used if self.stored and self.used else None

    @property
    def is_measured(self) -> bool:
        """Whether there is enough in it for its ratio to say something about the next pages."""
        return bool(self.used and self.stored and self.stored >= _LEAST_STORED)

    @property
    def rate(self) -> float:
        """The ratio to reckon with: 1 where it is not measured."""
        ratio = self.ratio if self.is_measured else None
        return 1 if ratio is None else ratio

    @property
    def room(self) -> int | None:
        """Bytes of pages that it can still take, at the `rate`."""
        if self.most is None or (self.used is None and self.most):
            return None
        used = self.used or 0
        if not self.is_measured:
            # what an allocator takes besides is little beside what is to come
            used = min(used, self.stored or 0)
        return int(max(self.most - used, 0) * self.rate)

    @property
    def fill(self) -> int | None:
        """Memory in percent of the most that it may take."""
        return None if self.used is None or not self.most else 100 * self.used // self.most


class Held(NamedTuple):
    """An active area whose pages live in a pool."""

    area: Area
    pool: Pool
    ghost: str | None = None
    """Where its ghost was when it became active; None when that is not known."""
    backend: str | None = None
    """None for a zram device that was made for no ghost."""

    @property
    def free(self) -> int:
        """Free slots, in bytes: what SwapFree of proc_meminfo(5) counts."""
        return self.area.size - self.area.used

    @property
    def room(self) -> int | None:
        """Bytes of pages that it can really still take; of areas with the same pool, each alone."""
        return None if self.pool.room is None else min(self.free, self.pool.room)

    @property
    def is_ghost(self) -> bool:
        """False for a zram device that was made for no ghost."""
        return self.backend is not None or self.area.is_ghost


class Total(NamedTuple):
    """All ghosts together, each pool counted once. Bytes; None where it is not known of one of them."""

    size: int
    used: int
    stored: int | None
    memory: int | None
    limit: int | None
    room: int | None

    @property
    def free(self) -> int:
        """Free slots: what SwapFree of proc_meminfo(5) promises."""
        return self.size - self.used

    @property
    def ratio(self) -> float | None:
        """Stored bytes to memory; None while the pools are empty."""
        return self.stored / self.memory if self.stored and self.memory else None

    @property
    def is_short(self) -> bool:
        """True when the free slots promise more than the pools can take."""
        return self.room is not None and self.room < self.free


def zswap_pool(state: Zswap | None) -> Pool:
    """zswap's pool; one that takes nothing without zswap, or with zswap off."""
    if state is None or state.enabled is False:
        used, stored, limit = (state.pool, state.stored, state.pool_limit) if state else (None, None, None)
        return Pool("zswap", used, stored, limit, 0)
    return Pool("zswap", state.pool, state.stored, state.pool_limit, state.pool_limit)


def zram_pool(number: int, root: str = "/") -> Pool:
    """The memory behind a zram device: mm_stat, as zramctl(8) shows it."""
    name, have = f"zram{number}", read_mm_stat(number, root)
    if have is None:
        return Pool(name, None, None, None, None)
    memory = _memory(root)
    # 0 is no limit; where the kernel does not say, nothing is known
    most = None if have.mem_limit is None else min(filter(None, (have.mem_limit, memory)), default=None)
    return Pool(name, have.mem_used_total, have.orig_data_size, have.mem_limit or None, most)


def _memory(root: str) -> int | None:
    try:
        return kernel.read_memory(root)
    except (Error, OSError) as error:
        trace(describe(error))
        return None


def held(actives: Iterable[Active], state: Zswap | None, root: str = "/") -> list[Held]:
    """Those of the areas whose pages live in a pool, with it; `state` is zswap's."""
    found = []
    shared = zswap_pool(state)
    for one in actives:
        number = zram_number(one.area)
        if number is not None:
            found.append(Held(one.area, zram_pool(number, root), one.ghost, one.backend))
        elif one.backend is not None or one.area.is_ghost:
            found.append(Held(one.area, shared, one.ghost, one.backend))
    return found


def by_pool(areas: Iterable[Held]) -> dict[str, list[Held]]:
    """The areas of each pool, by its name."""
    found: dict[str, list[Held]] = {}
    for one in areas:
        found.setdefault(one.pool.name, []).append(one)
    return found


def total(areas: Iterable[Held]) -> Total | None:
    """The ghosts among the areas together; None without any."""
    ghosts = [one for one in areas if one.is_ghost]
    if not ghosts:
        return None
    pools = {one.pool.name: one.pool for one in ghosts}
    rooms = [_room(group) for group in by_pool(ghosts).values()]
    return Total(
        sum(one.area.size for one in ghosts),
        sum(one.area.used for one in ghosts),
        _sum(pool.stored for pool in pools.values()),
        _sum(pool.used for pool in pools.values()),
        _sum(pool.limit for pool in pools.values()),
        _sum(rooms),
    )


def _room(group: Sequence[Held]) -> int | None:
    """What areas of one pool can take together."""
    room = group[0].pool.room
    return None if room is None else min(room, sum(one.free for one in group))


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else sum(filter(None, known))


def alarm(group: Sequence[Held], ordinary: Sequence[Area]) -> str | None:
    """What is wrong with the pool of these areas when it is full, or takes nothing, before their slots are.

    None while all is well, and where `ordinary` areas are used before them. It is said from `NEARLY_FULL`
    percent on, or where the pool takes nothing.
    """
    pool, free = group[0].pool, sum(one.free for one in group)
    if pool.room is None or free <= pool.room:
        return None
    if pool.most and come_last([one.area for one in group], ordinary):
        return None
    if not pool.most:
        return f"takes nothing: {human(free)} of slots are free in vain"
    if pool.fill is None or pool.fill < NEARLY_FULL:
        return None
    return f"{pool.fill}% full: {human(free - pool.room)} of slots are free in vain"


def verdict(found: Total, ghosts: Sequence[Held]) -> str:
    """One line for people: whether the free slots are as good as they look."""
    free = f"{human(found.free)} free in ghosts"
    if found.room is None:
        return f"{free}; this kernel does not say how full their pool is"
    measured = found.ratio if all(one.pool.is_measured for one in ghosts) else None
    at = f"at {measured:.1f}:1" if measured else "whatever their ratio"
    if not found.is_short:
        return f"{free}, and memory can take it ({at})"
    if not found.room:
        return f"{free}, but nothing more can be swapped to them"
    least = "" if measured else "at least "
    return f"{free}, but memory can take {least}{human(found.room)} ({at}): after that, nothing"


def net_room(actives: Iterable[Active], state: Zswap | None, root: str = "/") -> int:
    """Bytes of memory that come free when as much as possible goes to these areas.

    An ordinary area takes its free slots; one with a pool what that has room for, less the memory which that
    takes: at a ratio of 1, or when it is not known, nothing.
    """
    actives = list(actives)
    inside = held(actives, state, root)
    net = sum(
        one.area.size - one.area.used
        for one in actives
        if one.area.is_ordinary and one.area not in [other.area for other in inside]
    )
    for group in by_pool(inside).values():
        net += int((_room(group) or 0) * (1 - 1 / max(group[0].pool.rate, 1)))
    return net


def doubled(areas: Iterable[Held], state: Zswap | None) -> list[Held]:
    """The zram devices that zswap is in front of: what they get is compressed twice."""
    if state is None or not state.enabled:
        return []
    return [one for one in areas if one.pool.name != "zswap"]


def undouble(one: Held, actives: Iterable[Active]) -> str:
    """The command that ends it, and the one for the other way out."""
    down = f"ghostctl off {quote(one.ghost or one.area.name)}"
    others = any(other.area != one.area and other.area.is_ordinary for other in actives)
    return f"{DISABLE_ZSWAP}, or {down}" + (" and leave the other areas to zswap" if others else "")


def most_percent(memory: int) -> int:
    """The largest sensible limit of a pool, in percent of so many bytes of memory."""
    return max(min(100 * (memory - _BESIDE) // memory, MOST_PERCENT), POOL_PERCENT)


def pool_percent(now: int | None, memory: int) -> int:
    """The limit of zswap's pool to have, in percent of so many bytes of memory, where it is `now`."""
    return now if now is not None and LEAST_PERCENT <= now <= most_percent(memory) else POOL_PERCENT


def zram_limit(now: int | None, memory: int) -> int:
    """The memory limit to have for a zram device, in bytes, where it is `now`; 0 and None are no limit."""
    # one that was proposed is in whole MiB
    if (
        now
        and memory * LEAST_PERCENT < (now + (1 << 20)) * 100
        and now * 100 <= memory * most_percent(memory)
    ):
        return now
    return fitting(zswap.pool_limit(POOL_PERCENT, memory))


def fitting(limit: int, others: int = 0) -> int:
    """The size to declare in a pool of `limit` bytes beside `others`, header page included, in whole MiB."""
    return min(max(limit - others, 0), MAX_PAGES * page_size()) >> 20 << 20


def come_last(ghosts: Sequence[Area], ordinary: Sequence[Area]) -> bool:
    """Whether ordinary areas are above all these ghosts and none beside or below: what is more goes there."""
    top = max(ghost.prio for ghost in ghosts)
    return any(zram_number(area) is None for area in ordinary) and all(area.prio > top for area in ordinary)


class Overcommitted(NamedTuple):
    """A ghost of a pool that may take less than its ghosts declare."""

    ghost: Area
    kept: tuple[Area, ...]
    """Ordinary areas of its priority and below, which the full pool keeps from being used."""
    limit: int
    """Bytes that the pool may take."""
    share: int | None
    """A size for it, header page included, with which the ghosts in the pool keep to the limit that is to be;
    None where that limit is enough."""

    def problem(self, pool: str = "zswap") -> str:
        """What is wrong, for a message that names the ghost."""
        above = ", ".join(area.name for area in self.kept if area.prio < self.ghost.prio)
        beside = ", ".join(area.name for area in self.kept if area.prio == self.ghost.prio)
        same = "no priority, like" if self.ghost.prio < 0 else "the same priority as"
        words = [f"is above {above}"] if above else []
        words += [f"has {same} {beside}"] if beside else []
        what = f"{' and '.join(words)} and declares" if words else "declares"
        then = "not even to them" if words else "and the machine may hang"
        of = "zswap's pool" if pool == "zswap" else f"the memory of {pool}"
        return (
            f"{what} more than {of} may take ({human(self.limit, ' ', 'iB')}): once that is full, "
            f"nothing more is swapped, {then}"
        )


def overcommitted(
    ghosts: Sequence[Area], ordinary: Sequence[Area], limit: int, target: int | None = None
) -> list[Overcommitted]:
    """The ghosts of one pool, each with its share of the limit, when they declare more than the `limit`.

    None where ordinary areas are above them all and none beside or below: those take the rest, and the ghosts
    come last. `target` is what the limit is to be, where that is to be changed.
    """
    declared = sum(ghost.size for ghost in ghosts)
    if declared <= limit or come_last(ghosts, ordinary):
        return []
    kept = {ghost: tuple(area for area in ordinary if area.prio <= ghost.prio) for ghost in ghosts}
    target = limit if target is None else target

    def share(ghost: Area) -> int | None:
        return None if declared <= target else fitting(target * ghost.size // declared)

    return [Overcommitted(ghost, kept[ghost], limit, share(ghost)) for ghost in ghosts]


USUAL_PRIORITY = 100


def priority_above(areas: Iterable[Area]) -> int:
    """A priority that has a ghost used before these areas; what the kernel chose is negative."""
    top = max((area.prio for area in areas), default=-1)
    return USUAL_PRIORITY if top < 0 else min(top + 1, fstab.LARGEST_PRIORITY)


class Broken(NamedTuple):
    """A ghost that breaks the rule, and the commands that mend it."""

    held: Held
    found: Overcommitted
    fix: tuple[str, ...]
    limit: int | None
    """The memory limit that its zram device is to have, in bytes."""

    @property
    def problem(self) -> str:
        """What is wrong, for a message that names the ghost."""
        return self.found.problem(self.held.pool.name)

    @property
    def hint(self) -> str:
        """What to do, on one line."""
        names = ", ".join(area.name for area in self.found.kept)
        return " && ".join(self.fix) or f"give {names or 'another area'} a higher priority"


def broken(
    areas: Iterable[Held], ordinary: Sequence[Area], state: Zswap | None, root: str = "/"
) -> list[Broken]:
    """The ghosts among `areas` that declare more than their pool may take, and keep others from being used.

    `ordinary` are all areas with storage, zram devices among them. With zswap off it is not the size that is
    wrong, and the limit of its pool is what counts.
    """
    found = []
    for group in by_pool(one for one in areas if one.is_ghost).values():
        limit = limit_of(group[0].pool)
        if limit is None:
            continue
        target, settings = _target(group[0].pool, limit, state, root)
        ghosts = [one.area for one in group]
        others = [area for area in ordinary if area not in ghosts]
        # none or all of them
        for one, over in zip(group, overcommitted(ghosts, others, limit, target), strict=False):
            needed = None if one.pool.name == "zswap" else min(target, whole(one.area.size + page_size()))
            found.append(Broken(one, over, (*settings, *_commands(one, over.share, needed)), needed))
    return found


def whole(size: int) -> int:
    """A size in bytes, rounded up to whole MiB."""
    return -(-size >> 20) << 20


def limit_of(pool: Pool) -> int | None:
    """What the ghosts in a pool may declare together, in bytes; None where it is not known."""
    return pool.limit if pool.name == "zswap" else pool.most


def ordinary(actives: Iterable[Active], ghosts: Iterable[Held] = ()) -> list[Area]:
    """The areas with storage, and zram devices, but for those that are `ghosts`."""
    areas = {one.area for one in ghosts if one.is_ghost}
    return [one.area for one in actives if one.area.is_ordinary and one.area not in areas]


def _target(pool: Pool, limit: int, state: Zswap | None, root: str) -> tuple[int, list[str]]:
    """What the `limit` of a pool is to be, and the commands that make it so, for zswap's."""
    memory = _memory(root)
    if pool.name != "zswap":
        return zram_limit(pool.limit, memory or limit), []
    now = state.max_pool_percent if state is not None else None
    if memory is None or (percent := pool_percent(now, memory)) == now:
        return limit, []
    return zswap.pool_limit(percent, memory), [f"ghostctl zswap set max_pool_percent={percent} --persist"]


def _commands(one: Held, share: int | None, limit: int | None) -> list[str]:
    """What gives a ghost its share, and a zram device its limit; nothing where the file is not known."""
    if one.ghost is None:
        return []
    if share == 0:
        # nothing is left for it
        return [f"ghostctl off {quote(one.ghost)}"]
    if one.pool.name == "zswap":
        return [] if share is None else [f"ghostctl resize --cycle {quote(one.ghost)} {share >> 20}M"]
    return again(one, one.ghost, one.area.prio, share, limit)


def again(
    one: Held, path: str, prio: int, size: int | None, limit: int | None, *, missing: bool = False
) -> list[str]:
    """The commands that take an active ghost down and make it active as it was.

    But with the priority `prio`, with the memory `limit` of a zram device, and with another `size` if given.
    A file that is `missing` is made.
    """
    quoted = quote(path)
    lines = [f"ghostctl off {quoted}"]
    if size is not None and missing:
        lines.append(f"ghostctl mkghost -s {size >> 20}M {quoted}")
    elif size is not None:
        lines.append(f"ghostctl resize {quoted} {size >> 20}M")
    return [*lines, " ".join(("ghostctl on", *_options(one, prio, limit), quoted))]


def _options(one: Held, prio: int, limit: int | None) -> Iterator[str]:
    if one.backend not in (None, "file"):
        yield f"--backend {one.backend}"
    if one.backend == "zram":
        from . import backends
        from .areas import Active

        try:
            have = backends.get("zram").options(Active(one.area, one.area.name))
        except (Error, OSError) as error:
            trace(describe(error))
            have = backends.Options()
        if have.compressor is not None:
            yield f"--compressor {have.compressor}"
        limit = have.memory_limit if limit is None else limit
        if limit:
            yield f"--memory-limit {f'{limit >> 20}M' if limit % (1 << 20) == 0 else limit}"
    if prio >= 0:
        yield f"-p {prio}"
