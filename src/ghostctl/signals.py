# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals that end the program, kept away while something must not be left half done."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import Error

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""The signals that end the program."""

arrived: list[int] = []
"""The signals that came while `deferred` held them back, in order."""


def is_ignored(number: int) -> bool:
    """True for a signal that the parent process had ignored for its children, such as nohup(1) does."""
    return signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def deferred(interrupted: Callable[[Error | OSError | None], None] | None = None) -> Iterator[None]:
    """Within the block a signal that would end the program is noted in `arrived`; at its end it takes effect.

    Before that, `interrupted` is called with the error that the block has raised, if any: the signal takes
    its place.

    By handlers, not by a mask: a mask holds for one thread only, and the kernel would give the signal to
    another. A system call that the signal ends returns EINTR, so swapoff(2) can still be given up.
    """
    held: list[int] = []

    def note(number: int, _frame: object) -> None:
        held.append(number)
        arrived.append(number)

    old = {number: signal.signal(number, note) for number in ENDING if not is_ignored(number)}
    failure: Error | OSError | None = None
    try:
        yield
    except (Error, OSError) as error:
        failure = error
        raise
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        del arrived[len(arrived) - len(held) :]
        if held and interrupted is not None:
            interrupted(failure)
        for arrival in dict.fromkeys(held):
            os.kill(os.getpid(), arrival)
