# SPDX-License-Identifier: GPL-2.0-or-later
"""A size for a ghost, from memory, zswap's pool limit and the compression ratio."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from typing import NamedTuple

from . import capacity, fstab, kernel, zswap
from .errors import Error, NotFound
from .sizes import human, page_size
from .swaps import Area

_PERCENTS = (20, 35, 50)
_LEAST_PERCENT = 10
_PROCESSES = 32
"""Processes that a sample of the machine is taken from, the largest."""
_PRIORITY = 100
_LARGEST_PRIORITY = 32767


class Ratio(NamedTuple):
    """A compression ratio and where it is from."""

    value: float
    source: str
    """``given``, ``measured``, ``sampled`` or ``assumed``."""
    text: str


class Alternative(NamedTuple):
    """A limit of the pool and what follows from it, in bytes."""

    percent: int
    pool: int
    holds: int
    """Pages that the full pool holds."""
    size: int
    """What to declare, so that the slots run out first."""
    slots: int
    """Kernel memory for the slots."""
    left: int
    """Memory that is left when the pool is full."""


def processes(pids: Iterable[int] | None = None) -> tuple[list[int], list[int]]:
    """Processes and the size of their anonymous memory: those given, or the largest of this machine."""
    import psutil

    found = []
    try:
        for pid in psutil.pids() if pids is None else pids:
            try:
                memory = psutil.Process(pid).memory_info()
            except psutil.Error:
                # gone, or somebody else's
                continue
            if memory.rss > memory.shared:
                found.append((memory.rss - memory.shared, pid))
    except (LookupError, ValueError):
        raise Error("is not what it should be", path="/proc") from None
    found.sort(reverse=True)
    found = found[:_PROCESSES]
    return [pid for _, pid in found], [size for size, _ in found]


def in_cgroup(path: str) -> list[int]:
    """The processes in a cgroup and below it. Raises `OSError`."""
    pids: list[int] = []
    if not os.path.exists(os.path.join(path, "cgroup.procs")):
        raise NotFound("not a cgroup", path=path)
    for directory, _, _ in os.walk(path):
        try:
            with open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as file:
                pids += map(int, file)
        except FileNotFoundError:
            # removed just now
            continue
    return pids


def sampled(state: zswap.Zswap | None, pids: Iterable[int] | None = None) -> Ratio | None:
    """The ratio of a sample of memory; None when there is none that may be read."""
    from . import sample

    found = sample.measure(sample.read(*processes(pids)), state.compressor if state else None)
    if found is None:
        return None
    text = f"{found.pages} pages of memory compressed with {found.library}"
    if found.incompressible:
        text += f", {found.incompressible} of them do not compress and are left out"
    return Ratio(found.ratio, "sampled", text)


def ratio(state: zswap.Zswap | None) -> Ratio:
    """The ratio of what is in zswap, else that of a sample of this machine's memory, else an assumed one."""
    value, measured = capacity.ratio(state)
    if measured and state is not None and state.stored and state.pool:
        return Ratio(value, "measured", f"{human(state.stored)} stored in {human(state.pool)}")
    return sampled(state) or Ratio(value, "assumed", "no memory could be read to sample it")


def memory() -> int:
    """Memory of this machine in bytes."""
    import psutil

    try:
        return int(psutil.virtual_memory().total)
    except (LookupError, ValueError):
        raise Error("is not what it should be", path="/proc/meminfo") from None


def alternatives(total: int, percents: Iterable[int], at: float, promised: int = 0) -> list[Alternative]:
    """What follows from limits of the pool, in percent of the memory `total`.

    `promised` bytes of what the pool holds are those of other ghosts.
    """
    found = []
    for percent in percents:
        pool = zswap.pool_limit(percent, total)
        holds = int(pool * at)
        size = capacity.recommended_size(max(holds - promised, 0))
        slots = kernel.slot_memory(size // page_size(), total // 10).size
        found.append(Alternative(percent, pool, holds, size, slots, total - pool - slots))
    return found


def percents(state: zswap.Zswap | None, asked: int | None) -> tuple[int, list[int]]:
    """The limit to plan for, and those to show beside it."""
    now = state.max_pool_percent if state is not None else None
    chosen = asked or (now if now is not None and now >= _LEAST_PERCENT else _PERCENTS[0])
    return chosen, sorted({chosen, *_PERCENTS})


def priority(own: Area | None, others: Iterable[Area]) -> int:
    """That of the ghost's `own` area, or one above those of all `others`."""
    others = list(others)
    taken = [area.prio for area in others if area.is_ordinary]
    if own is not None and own.prio >= 0 and own.prio not in taken:
        return own.prio
    # what the kernel chose is negative
    top = max((area.prio for area in others), default=-1)
    return _PRIORITY if top < 0 else min(top + 1, _LARGEST_PRIORITY)


def commands(
    chosen: Alternative,
    path: str,
    prio: int,
    state: zswap.Zswap | None,
    *,
    own: Area | None = None,
    backend: str | None = None,
    fallback: str | None = None,
) -> list[str]:
    """The commands that set it up, or change what is there to it: a file, and the ghost's `own` area.

    `backend` is what has made that one active, `fallback` is for kernels without ghosts.

    Raises `Error` when there is nothing to set up.
    """
    if chosen.size < 1 << 20:
        raise Error(
            f"a pool of {human(chosen.pool)} holds next to nothing beside the ghosts that are active",
            hint="--pool-percent",
        )
    if chosen.left <= 0:
        raise Error("pool and slots would take all memory", hint="--pool-percent, or a smaller --ratio")
    setting = [] if state is not None and state.enabled else ["enabled=yes"]
    if state is None or state.max_pool_percent != chosen.percent:
        setting.append(f"max_pool_percent={chosen.percent}")
    quoted = shlex.quote(path)
    # zram has its own pool
    lines = [f"ghostctl zswap set {' '.join(setting)} --persist"] if setting and not fallback else []
    if os.path.lexists(path):
        lines.append(f"ghostctl resize --cycle {quoted} {_size(chosen)}")
    else:
        lines.append(f"ghostctl mkghost -s {_size(chosen)} {quoted}")
    if own is not None and own.prio != prio:
        lines.append(f"ghostctl off {quoted}")
    if own is None or own.prio != prio:
        option = f"--fallback {fallback} " if fallback else ""
        if backend not in (None, "file"):
            option = f"--backend {backend} "
        lines.append(f"ghostctl on {option}-p {prio} {quoted}")
    return lines


def fstab_line(chosen: Alternative, path: str, prio: int, fallback: str | None = None) -> str:
    """The line of fstab that has it at every boot."""
    options = [("defaults", None), ("nofail", None), ("pri", str(prio)), ("x-ghost.size", _size(chosen))]
    if fallback:
        options.append(("x-ghost.fallback", fallback))
    return fstab.format_swap(path, options).decode("utf-8", "surrogateescape").rstrip("\n")


def _size(chosen: Alternative) -> str:
    return f"{chosen.size >> 20}M"


def past(areas: Iterable[Area], prio: int) -> str:
    """What happens when all slots of the ghost are taken."""
    areas = [area for area in areas if area.is_ordinary]
    below = [area for area in areas if area.prio < prio]
    if not below:
        beside = ", ".join(area.name for area in areas if area.prio == prio)
        return (
            f"the kernel goes on with {beside}, which it has used in turn with it"
            if beside
            else "no other area is active: memory is reclaimed elsewhere, then the kernel kills for it"
        )
    following = max(below, key=lambda area: area.prio)
    free = human(sum(area.size - area.used for area in below))
    return f"the kernel goes on to {following.name}; {free} are free there"
