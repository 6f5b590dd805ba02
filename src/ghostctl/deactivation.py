# SPDX-License-Identifier: GPL-2.0-or-later
"""swapoff: whether the pages of an area have somewhere to go, and the way there."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from . import backends, kernel, report, swaps, zswap
from .areas import Active
from .errors import Busy, Denied, Error, NoMemory, Unsupported
from .report import describe
from .sizes import human
from .swaps import Area

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

    Refuses with `NoMemory` when its used pages fit neither in memory nor in the other areas, unless
    `force`. While pages come back, `progress` is called from another thread with the bytes still in use,
    several times a second. Raises `Error` and `OSError`: the area is active as before unless the message says
    that it is not.
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
        _check_room(active.area, [one for one in others if not one.area.is_same(active.area)])
    protect_from_oom_killer()
    try:
        with _watched(active.area, progress):
            backends.get(active.backend or "file").deactivate(active)
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
                if (now := next(filter(area.is_same, swaps.printed()), None)) is not None:
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
        return any(one.is_same(area) for one in swaps.printed())
    except (OSError, Error) as error:
        report.trace(str(error))
        return None


def _check_room(area: Area, others: Sequence[Active]) -> None:
    from . import capacity

    try:
        available = kernel.read_meminfo().get("MemAvailable", 0)
    except OSError as error:
        report.trace(describe(error))
        return
    room = capacity.room(others, zswap.read_or_unknown(), available)
    if area.used > available + room:
        raise NoMemory(
            f"{human(area.used, ' ', 'iB')} are in use: more than available memory "
            f"({human(available, ' ', 'iB')}) and the other areas ({human(room, ' ', 'iB')}) can take",
            path=area.name,
            hint="end what uses memory, activate another area, or try with --force",
        )


def protect_from_oom_killer() -> None:
    """Asks the kernel not to kill this process for memory (proc_pid_oom_score_adj(5)); root only."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("-1000")
    except OSError as error:
        report.trace(f"/proc/self/oom_score_adj: {os.strerror(error.errno or 0)}")
