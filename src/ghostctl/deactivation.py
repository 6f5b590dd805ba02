# SPDX-License-Identifier: GPL-2.0-or-later
"""swapoff: whether the pages of an area have somewhere to go, and the way there."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from . import backends, kernel, report, swaps, zswap
from .areas import Active
from .errors import Busy, Denied, Error, NoMemory, Unsupported
from .report import describe, quote
from .sizes import human
from .swaps import Area
from .zswap import Zswap

_INTERVAL = 0.2
"""Seconds between two calls of `progress`."""


def deactivate(
    active: Active,
    others: Iterable[Active],
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Takes an area down, and what a backend set up for it; `others` are all that are active.

    Refuses with `NoMemory` when its used pages fit neither in memory nor in the other areas, or not into the
    memory that a cgroup may use, unless `force`; raises it also when memory runs out nevertheless. While
    pages come back, `progress` is called from another thread with the bytes still in use, several times a
    second. Raises `Error` and `OSError`: the area is active as before unless the message says that it is not.
    """
    if active.doubt is not None and not isinstance(active.doubt, PermissionError):
        # swapoff(2) alone would leave behind what was set up for it
        raise Error(f"cannot tell what it was made for: {describe(active.doubt)}", path=active.area.name)
    if active.backend is None and not active.path.startswith("/") and active.path == active.area.name:
        # not a file of that name in the current directory
        raise Unsupported(
            f"an area of type {active.area.type} that no path leads to: only the interface of the kernel "
            "that made it can take it down",
            path=active.area.name,
        )
    if not force:
        _check_room(active, [one for one in others if not one.area.is_same(active.area)])
    protect_from_oom_killer()
    try:
        with _watched(active.area, progress):
            backends.get(active.backend or "file").deactivate(active)
    except NoMemory as error:
        raise _ran_out(active.area, error.what) from None
    except PermissionError as error:
        if error.errno != errno.EPERM or os.geteuid() != 0:
            raise
        raise Denied(str(error.strerror), path=error.filename, hint=backends.WHY_DENIED) from None
    except OSError as error:
        if error.errno != errno.EBUSY or not is_active(active.area):
            raise
        # Linux 7.2: SWP_HIBERNATION, set by SNAPSHOT_SET_SWAP_AREA until /dev/snapshot is closed
        raise Busy(
            "the kernel keeps it for a hibernation image",
            path=active.area.name,
            hint="end the program that has /dev/snapshot open",
        ) from None


def _ran_out(area: Area, what: str) -> NoMemory:
    return NoMemory(
        f"{what}: {state_of(area)}",
        path=area.name,
        hint="end what uses memory or activate another area, then try again",
    )


@contextmanager
def _watched(area: Area, progress: Callable[[int], None] | None) -> Iterator[None]:
    if progress is None:
        yield
        return
    import threading

    done = threading.Event()

    def watch() -> None:
        while not done.wait(_INTERVAL):
            # what cannot be read or shown now may be the next time
            with suppress(OSError, Error):
                if (now := _now(area)) is not None:
                    progress(now.used)

    watcher = threading.Thread(target=watch, daemon=True)
    # a thread inherits the mask: signals are for the one that is in swapoff(2)
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        watcher.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    try:
        yield
    finally:
        done.set()
        watcher.join()


def is_active(area: Area) -> bool | None:
    """Whether an area is still there; None when that cannot be told."""
    try:
        return _now(area) is not None
    except (OSError, Error) as error:
        report.trace(str(error))
        return None


def _now(area: Area) -> Area | None:
    return next(filter(area.is_same, swaps.printed()), None)


def state_of(area: Area) -> str:
    """What has become of an area, and of its pages, when it could not be taken down as a whole."""
    try:
        now = _now(area)
    except (OSError, Error) as error:
        report.trace(str(error))
        return "and it cannot be told whether active"
    if now is None:
        return "no longer active"
    if now.used >= area.used:
        return "still active"
    back = area.used - now.used
    return f"still active, {human(back, ' ', 'iB')} of {human(area.used, ' ', 'iB')} came back"


def _check_room(active: Active, others: Sequence[Active]) -> None:
    """Raises `NoMemory` when its pages do not fit into memory, or kill what is in a cgroup with a limit."""
    if not active.area.used:
        return
    try:
        meminfo = kernel.read_meminfo()
    except OSError as error:
        report.trace(describe(error))
        return
    state = zswap.read_or_unknown()
    found = forecast(active, others, state, meminfo)
    path = active.area.name
    report.trace(f"{path}: {', '.join(f'{name} {size}' for name, size in found._asdict().items())}")
    if found.missing:
        pool = human(found.given_back, " ", "iB")
        given = f"what its pool gives back ({pool}), " if found.given_back else ""
        raise NoMemory(
            f"{human(found.back, ' ', 'iB')} are in use: more than available memory "
            f"({human(found.available, ' ', 'iB')}), {given}and the other areas "
            f"({human(found.room, ' ', 'iB')}) can take",
            path=path,
            hint=f"end what uses memory, activate another area, or: {_by_force(path)}",
        )
    _check_cgroups(active, others, found.room)


def _by_force(path: str) -> str:
    return f"ghostctl off --force {quote(path)}"


class Forecast(NamedTuple):
    """What the memory of the machine has to do when an area is taken down, in bytes."""

    back: int
    """Pages in use, but for those that are in memory as well."""
    given_back: int
    """Memory that they take while they are in a pool, at least."""
    available: int
    room: int
    """What comes free when as much as possible goes on to the other areas."""

    @property
    def missing(self) -> int:
        """0 when it fits."""
        return max(self.back - self.given_back - self.available - self.room, 0)


def forecast(
    active: Active, others: Sequence[Active], state: Zswap | None, meminfo: Mapping[str, int], root: str = "/"
) -> Forecast:
    """Where the pages of an area can go; `others` are the areas that stay, `meminfo` is proc_meminfo(5)."""
    from . import capacity

    given = 0
    for one in capacity.held([active], state, root):
        # all of a zram device
        given += one.pool.used or 0 if one.pool.name != "zswap" else 0
    pool, elsewhere = capacity.zswap_pool(state), _outside_zram(others, root)
    if pool.used and pool.stored:
        # it is also in front of areas with storage
        given += pool.used * min(max(pool.stored - elsewhere, 0), active.area.used) // pool.stored
    # a page of the swap cache has a slot and is in memory
    cached = max(meminfo.get("SwapCached", 0) - sum(one.area.used for one in others), 0)
    return Forecast(
        max(active.area.used - cached, 0),
        given,
        meminfo.get("MemAvailable", 0),
        capacity.net_room(others, state, root),
    )


def _outside_zram(actives: Iterable[Active], root: str) -> int:
    """Bytes of these areas that may be in zswap: all that is in use, but for what is stored on zram."""
    from . import capacity

    total = 0
    for one in actives:
        number = swaps.zram_number(one.area)
        stored = 0 if number is None else capacity.zram_pool(number, root).stored or 0
        total += max(one.area.used - stored, 0)
    return total


def _check_cgroups(active: Active, others: Sequence[Active], room: int, root: str = "/") -> None:
    """Raises `NoMemory` when the processes of a cgroup would be killed: a page comes back to its own."""
    from . import cgroups

    elsewhere = _outside_zram(others, root)
    short = sorted(
        (
            (missing, group)
            for group in cgroups.iter_limited(root)
            if (missing := group.missing(active.area.used, elsewhere, room)) > 0
        ),
        reverse=True,
    )
    if not short:
        return
    group = short[0][1]
    more = f" (and {len(short) - 1} more)" if len(short) > 1 else ""
    fixes = "; ".join(one.raised_by(missing) for missing, one in short)
    raise NoMemory(
        f"the cgroup {group.name}{more} has {human(group.swap, ' ', 'iB')} in swap, and memory for "
        f"{human(max(group.room, 0) + room, ' ', 'iB')} of it: its processes would be killed",
        path=active.area.name,
        # so that the whole line can be pasted
        hint=f"{fixes}  # or: {_by_force(active.area.name)}",
    )


def protect_from_oom_killer() -> None:
    """Asks the kernel not to kill this process for memory (proc_pid_oom_score_adj(5)); root only."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("-1000")
    except OSError as error:
        report.trace(f"/proc/self/oom_score_adj: {os.strerror(error.errno or 0)}")
