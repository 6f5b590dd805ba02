# SPDX-License-Identifier: GPL-2.0-or-later
"""A size for a ghost: no more than the limit of the pool that its pages live in.

Then its slots run out before the pool is full, however badly pages compress. The compression ratio says how
much memory that leaves free, and no more.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from . import backends, capacity, fstab, kernel, lookup, packages, zswap
from .capacity import Held
from .errors import Error, NotAGhost, Unsupported
from .report import again, quote
from .sizes import human, page_size
from .swaps import Area

if TYPE_CHECKING:
    from .areas import Active

_PERCENTS = (20, 35, 50)
_ALTERNATIVES = 2


class Ratio(NamedTuple):
    """A compression ratio and where it is from."""

    value: float
    source: str
    """``given``, ``measured``, ``sampled`` or ``assumed``."""
    text: str


class Now(NamedTuple):
    """What is there: the machine, and the ghost that is planned for."""

    memory: int
    """Of the machine, in bytes."""
    state: zswap.Zswap | None
    path: str
    """Of the ghost's file."""
    declared: int | None
    """What the file declares, header page included; None when it is missing."""
    own: Held | None
    """The area that it is active as."""
    others: tuple[Held, ...]
    """Other areas whose pages live in a pool."""
    ordinary: tuple[Area, ...]
    fallback: str | None
    """The backend that does it on a kernel without ghosts; None on one with them."""

    @property
    def instead(self) -> str | None:
        """The backend that the ghost is active through, or that does it here; None for its file itself."""
        backend = self.own.backend if self.own is not None else self.fallback
        return None if backend == "file" else backend

    @property
    def is_zram(self) -> bool:
        """Whether the ghost has a pool of its own, not zswap's."""
        return self.instead == "zram"

    @property
    def promised(self) -> int:
        """What other ghosts of the same pool declare, or the memory that other zram devices may take."""
        if self.is_zram:
            devices = (one for one in self.others if one.pool.name != "zswap")
            return sum(min(one.pool.limit or one.area.size, one.area.size) for one in devices)
        return sum(one.area.size for one in self.others if one.is_ghost and one.pool.name == "zswap")


class Alternative(NamedTuple):
    """A limit of the pool and what follows from it, in bytes."""

    percent: int
    """Of memory."""
    limit: int
    size: int
    """What to declare: no more than the limit."""
    takes: int
    """Memory that the full ghost takes at the ratio."""
    left: int
    """Memory beside the full ghost at the ratio."""
    least: int
    """The same for pages that do not compress."""
    slots: int
    """Kernel memory for the slots."""


def look(
    actives: Sequence[Active],
    state: zswap.Zswap | None,
    root: str = "/",
    *,
    path: str | None = None,
    fstab_path: str = fstab.PATH,
) -> Now:
    """What is there: the ghost that is active, that fstab declares, or the usual one, and other areas.

    With a `path`, that of this ghost.

    Raises `Unsupported` on a kernel with nothing that a ghost could be active through, and `OSError`.
    """
    inside = capacity.held(actives, state, root)
    usual = os.path.join(lookup.GHOST_DIRECTORY, "swap0")
    # the usual one first
    ghosts = sorted((one for one in inside if one.ghost), key=lambda one: one.ghost != usual)
    own = next((one for one in ghosts if path in (None, one.ghost)), None)
    if path is None:
        path = str(own.ghost) if own is not None else _declared_in_fstab(root, fstab_path) or usual
    declared = _size(path, root)
    if declared == 0 and own is None:
        raise _in_the_way(os.path.join(root, path.lstrip("/")), path, actives)
    others = tuple(one for one in inside if own is None or one.area != own.area)
    ordinary = tuple(capacity.ordinary(actives, inside))
    return Now(kernel.read_memory(root), state, path, declared, own, others, ordinary, _fallback(state))


def _in_the_way(real: str, path: str, actives: Sequence[Active]) -> Error:
    """Why the ghost cannot be there, and what to do."""
    from . import areas, ghostfile

    st = os.lstat(real)
    if not stat.S_ISREG(st.st_mode):
        return NotAGhost(f"is {ghostfile.kind_of(st.st_mode)}, not a ghost", path=path)
    with ghostfile.look(real) as file:
        if found := areas.active(file, actives):
            return areas.busy(file, found)
        what = file.describe()
    return NotAGhost(
        f"is in the way of the ghost: it is {what}",
        path=path,
        hint=f"mv -n {quote(path)} {quote(f'{path}.old')}",
    )


def _declared_in_fstab(root: str, fstab_path: str) -> str | None:
    try:
        lines = fstab.read(os.path.join(root, fstab_path.lstrip("/")) if root != "/" else fstab_path)
    except FileNotFoundError:
        return None
    declared = (str(line.spec) for line in fstab.iter_swap(lines) if fstab.declares_ghost(line))
    return next((path for path in declared if path.startswith("/")), None)


def _size(path: str, root: str) -> int | None:
    """What the ghost at a path declares, 0 of what is none there; None where nothing is."""
    from . import ghostfile

    try:
        with ghostfile.look(os.path.join(root, path.lstrip("/"))) as file:
            return file.header.size if file.is_ghost and file.header else 0
    except FileNotFoundError:
        return None
    except NotAGhost:
        return 0


def _fallback(state: zswap.Zswap | None) -> str | None:
    """What does it on a kernel that takes no ghost files, or has no zswap; None where it may."""
    if state is not None and backends.get("file").unavailable() is None:
        return None
    return instead(state)


def instead(state: zswap.Zswap | None) -> str:
    """The backend for a kernel that takes no ghost files. Raises `Unsupported` where it has none."""
    offered = (name for name in backends.NAMES if name != "file" and backends.get(name).unavailable() is None)
    found = backends.first(offered, has_zswap=state is not None)
    if found is None:
        needed = "zram, nor ghost swap or device mapper with zswap"
        raise Unsupported(f"this kernel ({kernel.release()}) has neither {needed}")
    return found


def ratio(state: zswap.Zswap | None, own: Held | None, compressor: str | None) -> Ratio:
    """The ratio of what the ghost or zswap holds, else that of a sample of this machine's memory, else 1."""
    for pool in (own.pool if own is not None else None, capacity.zswap_pool(state)):
        if pool is not None and pool.is_measured and pool.stored and pool.used:
            text = f"{human(pool.stored)} stored in {human(pool.used)} of {pool.name}"
            return Ratio(pool.rate, "measured", text)
    try:
        return sampled(state, compressor) or Ratio(1, "assumed", "no memory could be read to sample it")
    except ImportError as error:
        missing = packages.missing(error)
        if missing is None:
            raise
        return Ratio(1, "assumed", f"{missing}, for a sample of memory")


def sampled(
    state: zswap.Zswap | None, compressor: str | None, pids: Iterable[int] | None = None
) -> Ratio | None:
    """The ratio of a sample of memory; None when there is none that may be read."""
    from . import sample

    found = sample.take(compressor, pids, zpool=state.zpool if state is not None else None)
    return None if found is None else Ratio(found.ratio, "sampled", found.how)


def alternative(now: Now, limit: int, at: float) -> Alternative:
    """What follows from a `limit` of the pool in bytes, `at` a ratio."""
    # each zram device has its own limit
    size = capacity.fitting(limit, 0 if now.is_zram else now.promised)
    takes = int(size / max(at, 1))
    pages = size // page_size()
    slots = kernel.slot_memory(pages, now.memory).size
    slots += pages * backends.get("zram" if now.is_zram else "file").extra_slot_bytes
    percent = round(100 * limit / now.memory)
    left, least = now.memory - takes - slots, now.memory - size - slots
    return Alternative(percent, limit, size, takes, left, least, slots)


def choose(now: Now, asked: int | None, at: float) -> tuple[Alternative, list[Alternative]]:
    """The proposal, and others to show beside it; a limit `asked` for is in percent of memory.

    Raises `Error` when other areas have been promised all that the pool may take.
    """

    # all zram devices come out of the same memory
    most = capacity.most_percent(now.memory)
    rest = capacity.fitting(zswap.pool_limit(most, now.memory), now.promised)

    def of(percent: int) -> int:
        found = zswap.pool_limit(percent, now.memory)
        return min(capacity.fitting(found), rest) if now.is_zram else found

    if asked is not None and asked > most:
        raise Error(
            f"a pool of {asked}% leaves too little memory beside it on a machine of {human(now.memory)}",
            hint=again("plan", "--pool-percent", str(most), otherwise=f"ghostctl plan --pool-percent {most}"),
        )
    if asked is not None:
        limit = of(asked)
    elif now.is_zram:
        limit = min(capacity.zram_limit(now.own and now.own.pool.limit, now.memory), rest)
    else:
        limit = of(
            capacity.pool_percent(now.state.max_pool_percent if now.state is not None else None, now.memory)
        )
    chosen = alternative(now, limit, at)
    if chosen.size < 1 << 20:
        raise Error(
            f"other areas have been promised {human(now.promised)} of memory: too much for one beside them",
            hint="ghostctl doctor  # says which of them are too large",
        )
    nearest = sorted(
        (percent for percent in _PERCENTS if percent != chosen.percent),
        key=lambda percent: abs(percent - chosen.percent),
    )
    others = [alternative(now, of(percent), at) for percent in sorted(nearest[:_ALTERNATIVES])]
    return chosen, others


def priority(own: Area | None, others: Iterable[Area]) -> int:
    """That of the ghost's `own` area, or one above those of all `others`."""
    others = list(others)
    taken = [area.prio for area in others if area.is_ordinary]
    if own is not None and own.prio > max((-1, *taken)):
        return own.prio
    return capacity.priority_above(others)


def commands(now: Now, chosen: Alternative, prio: int) -> list[str]:
    """The commands that set it up, or change what is there to it; none when there is nothing to do."""
    return [*_settings(now, chosen), *_area(now, chosen, prio)]


def _settings(now: Now, chosen: Alternative) -> Iterator[str]:
    enabled = now.state is not None and now.state.enabled
    if not now.is_zram:
        setting = [] if enabled else ["enabled=yes"]
        if now.state is None or now.state.max_pool_percent != chosen.percent:
            setting.append(f"max_pool_percent={chosen.percent}")
        if setting:
            yield f"ghostctl zswap set {' '.join(setting)} --persist"
    elif enabled and not any(one.pool.name == "zswap" for one in now.others):
        # what zswap takes never comes to zram
        yield capacity.DISABLE_ZSWAP


def _area(now: Now, chosen: Alternative, prio: int) -> Iterator[str]:
    quoted, size = quote(now.path), f"{chosen.size >> 20}M"
    resized = chosen.size if now.declared != chosen.size else None
    own = now.own
    if own is not None:
        # where mm_stat does not say, it cannot be seen to have changed
        is_limited = not now.is_zram or own.pool.most is None or own.pool.limit == chosen.limit
        if own.area.prio == prio and is_limited and (resized is None or not now.is_zram):
            if resized is not None:
                yield f"ghostctl resize --cycle {quoted} {size}"
            return
        limit = chosen.limit if now.is_zram else None
        yield from capacity.again(own, now.path, prio, resized, limit, missing=now.declared is None)
        return
    if now.declared is None:
        yield f"ghostctl mkghost -s {size} {quoted}"
    elif resized is not None:
        yield f"ghostctl resize {quoted} {size}"
    option = f"--fallback {now.instead} " if now.instead else ""
    option += f"--memory-limit {chosen.limit >> 20}M " if now.is_zram else ""
    yield f"ghostctl on {option}-p {prio} {quoted}"


def fstab_options(
    size: int, prio: int, fallback: Sequence[str], limit: int | None
) -> list[tuple[str, str | None]]:
    """The options of the line of fstab that has a ghost at every boot.

    `size` is in bytes, as is the memory `limit` for a zram device. What needs zswap turns it on.
    """
    options = [("defaults", None), ("nofail", None), ("pri", str(prio)), ("x-ghost.size", written(size))]
    if fallback:
        options.append(("x-ghost.fallback", ",".join(fallback)))
    if "zram" in fallback:
        options.append(("x-ghost.memory-limit", written(limit or size)))
    if tuple(fallback) != ("zram",):
        options.append(("x-ghost.zswap", None))
    return options


def written(size: int) -> str:
    """A size in bytes as a command or an option has it: in whole MiB where it is that."""
    return str(size) if size % (1 << 20) else f"{size >> 20}M"


def fstab_line(now: Now, chosen: Alternative, prio: int) -> str:
    """That line."""
    options = fstab_options(chosen.size, prio, (now.instead,) if now.instead else (), chosen.limit)
    return fstab.format_swap(now.path, options).decode("utf-8", "surrogateescape").rstrip("\n")


def past(areas: Sequence[Area], prio: int) -> str:
    """What happens when all slots of the ghost are taken."""
    areas = [area for area in areas if area.is_ordinary]
    below = [area for area in areas if area.prio < prio]
    if not below:
        beside = ", ".join(area.name for area in areas if area.prio == prio)
        return (
            f"the kernel goes on with {beside}, which it has used in turn with it"
            if beside
            else "no other area is active: memory is reclaimed elsewhere, then the OOM killer ends a process"
        )
    following = max(below, key=lambda area: area.prio)
    free = human(sum(area.size - area.used for area in below))
    return f"the kernel goes on to {following.name}; {free} are free there"
