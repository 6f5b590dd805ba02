# SPDX-License-Identifier: GPL-2.0-or-later
"""The live view of `status --watch`."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from .. import capacity, output, report, swaps, zswap
from ..sizes import human, page_size

Describe = Callable[[list[swaps.Area]], list[str]]

_BAR = 30
_RATES = {
    "swap in": ("pswpin", "zswpin"),
    "swap out": ("pswpout", "zswpout"),
    "zswap in": ("zswpin",),
    "zswap out": ("zswpout",),
    "written back": ("zswpwb",),
}
"""Counters of /proc/vmstat, in pages, that make up a rate."""

# a save of the screen and its return, as xterm and all that follow it know them
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Snapshot(NamedTuple):
    """The counters at one moment."""

    when: float
    pages: dict[str, int]

    @classmethod
    def take(cls) -> Snapshot:
        return cls(time.monotonic(), zswap.read_events())

    def rates(self, before: Snapshot) -> Iterator[tuple[str, int]]:
        """Names and bytes a second since `before`, of what this kernel counts."""
        seconds = max(self.when - before.when, 0.001)
        for name, counters in _RATES.items():
            known = [counter for counter in counters if counter in self.pages and counter in before.pages]
            if known:
                pages = sum(self.pages[counter] - before.pages[counter] for counter in known)
                yield name, int(pages * page_size() / seconds)


def bar(share: float, width: int = _BAR) -> str:
    """A bar of ASCII, full from 1 on."""
    filled = round(width * min(max(share, 0), 1))
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def read_pressure(path: str = "/proc/pressure/memory") -> str | None:
    """Share of time in which tasks waited for memory (Documentation/accounting/psi.rst), in words."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return None
    parts = []
    for kind, *fields in lines:
        values = {key: value for key, _, value in (field.partition("=") for field in fields)}
        parts.append(f"{kind} {values.get('avg10', '?')}% {values.get('avg60', '?')}%")
    return ", ".join(parts) + "  (of 10 s, 60 s)"


def _lines(describe: Describe, now: Snapshot, before: Snapshot) -> Iterator[str]:
    areas = swaps.read()
    yield from describe(areas)
    state = zswap.read()
    found = capacity.measure(areas, state)
    yield ""
    if found is not None and found.size:
        used = found.size - found.free
        yield f"ghosts        {bar(used / found.size)} {human(used)} of {human(found.size)}"
    if state is not None and state.pool is not None and state.pool_limit:
        share = state.pool / state.pool_limit
        yield f"zswap pool    {bar(share)} {human(state.pool)} of {human(state.pool_limit)}"
    yield "  ".join(f"{name} {human(rate)}/s" for name, rate in now.rates(before))
    pressure = read_pressure()
    if pressure is not None:
        yield f"memory pressure: {pressure}"


class _Screen:
    """The terminal while it shows the view; whatever ends it, it is left as it was found."""

    def __init__(self) -> None:
        self._saved: list[int | list[bytes | int]] | None = None

    def enter(self) -> None:
        with suppress(termios.error, OSError):
            self._saved = termios.tcgetattr(0)
            tty.setcbreak(0)
        self._write(_ENTER)

    def leave(self) -> None:
        self._write(_LEAVE)
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)

    def show(self, lines: list[str]) -> None:
        # one write(2) of whole lines that clear only what they do not cover: nothing flickers
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        shown = [output.cut(report.escape(line), columns - 1) + _CLEAR_LINE for line in lines[:rows]]
        self._write(_HOME + "\n".join(shown) + _CLEAR_BELOW)

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def _signals(screen: _Screen) -> Iterator[int]:
    """A descriptor that is readable after SIGWINCH; other signals give the terminal back first."""

    def stop(_signal: int, _frame: object) -> None:
        screen.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        screen.enter()

    def die(number: int, _frame: object) -> None:
        screen.leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    old = signal.set_wakeup_fd(writing)
    handlers = {
        number: signal.signal(number, handler)
        for number, handler in (
            (signal.SIGWINCH, lambda *_: None),
            (signal.SIGTSTP, stop),
            (signal.SIGQUIT, die),
            (signal.SIGHUP, die),
        )
    }
    try:
        yield reading
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old)
        os.close(reading)
        os.close(writing)


def watch(seconds: float, describe: Describe) -> None:
    """Shows the view until q or a signal; on what is no terminal, one block each time."""
    poll = select.poll()
    if not sys.stdout.isatty():
        for lines in _frames(seconds, poll, describe):
            print(*lines, "", sep="\n", flush=True)
        return
    screen = _Screen()
    with ExitStack() as stack:
        poll.register(stack.enter_context(_signals(screen)), select.POLLIN)
        with suppress(FileNotFoundError):
            # the kernel says POLLPRI when an area comes or goes
            poll.register(stack.enter_context(open(swaps.PROC_SWAPS, "rb", buffering=0)), select.POLLPRI)
        if sys.stdin.isatty():
            poll.register(0, select.POLLIN)
        screen.enter()
        try:
            for lines in _frames(seconds, poll, describe):
                screen.show(lines)
        finally:
            screen.leave()


def _frames(seconds: float, poll: select.poll, describe: Describe) -> Iterator[list[str]]:
    """What to show, each time that it is to be shown."""
    base = now = Snapshot.take()
    due = base.when
    while True:
        yield list(_lines(describe, now, base))
        if now.when >= due:
            base, due = now, now.when + seconds
        for fd, event in poll.poll(max(due - time.monotonic(), 0) * 1000):
            if event & select.POLLIN:
                typed = os.read(fd, 64)
                if fd == 0 and (not typed or b"q" in typed.lower()):
                    return
            elif event & select.POLLHUP:
                return
        now = Snapshot.take()
