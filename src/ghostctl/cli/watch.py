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
from ..signals import is_ignored
from ..sizes import human, page_size
from . import terminate

Describe = Callable[[list[swaps.Area]], tuple[list[str], list[capacity.Held], list[swaps.Area]]]
"""What is above the bars, the areas whose pools those show, and the ordinary areas."""

_BAR = 30
_RATES = {
    "device in": "pswpin",
    "device out": "pswpout",
    "zswap in": "zswpin",
    "zswap out": "zswpout",
    "written back": "zswpwb",
}
"""Counters of /proc/vmstat, in pages. What zswap takes or gives goes to no device and comes from none."""

# a save of the screen and its return, as xterm and all that follow it know them
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Snapshot(NamedTuple):
    """The counters at one moment."""

    when: float
    pages: dict[str, int]
    refusals: int | None
    """Times that zswap's pool was full; None without debugfs, or when it may not be read."""

    @classmethod
    def take(cls) -> Snapshot:
        return cls(time.monotonic(), zswap.read_events(), zswap.read_debug().get("pool_limit_hit"))

    def seconds(self, before: Snapshot) -> float:
        return max(self.when - before.when, 0.001)

    def rates(self, before: Snapshot) -> Iterator[tuple[str, int]]:
        """Names and bytes a second since `before`, of what this kernel counts."""
        for name, counter in _RATES.items():
            if counter in self.pages and counter in before.pages:
                pages = self.pages[counter] - before.pages[counter]
                yield name, int(pages * page_size() / self.seconds(before))


def bar(share: float, width: int = _BAR) -> str:
    """A bar of ASCII, full from 1 on."""
    filled = round(width * min(max(share, 0), 1))
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def read_pressure(path: str = "/proc/pressure/memory") -> str | None:
    """Share of time in which tasks waited for memory (Documentation/accounting/psi.rst), in words."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            lines = [line.split() for line in file if not line.isspace()]
    except OSError:
        return None
    parts = []
    for kind, *fields in lines:
        values = {key: value for key, _, value in (field.partition("=") for field in fields)}
        parts.append(f"{kind} {values.get('avg10', '?')}% {values.get('avg60', '?')}%")
    return ", ".join(parts) + "  (of 10 s, 60 s)"


def _bars(held: list[capacity.Held], ordinary: list[swaps.Area]) -> Iterator[str]:
    """The slots of all ghosts, and each pool with an alarm when it is full before them."""
    found = capacity.total(held)
    if found is None or not found.size:
        return
    yield f"ghosts        {bar(found.used / found.size)} {human(found.used)} of {human(found.size)}"
    for name, group in capacity.by_pool(one for one in held if one.is_ghost).items():
        pool = group[0].pool
        if pool.used is None or not pool.most:
            continue
        title = "zswap pool" if name == "zswap" else name
        alarm = capacity.alarm(group, ordinary)
        text = f"{title:<13} {bar(pool.used / pool.most)} {human(pool.used)} of {human(pool.most)}"
        yield f"{text}  {alarm}" if alarm else text


def _lines(describe: Describe, now: Snapshot, before: Snapshot) -> Iterator[str]:
    lines, held, ordinary = describe(swaps.read())
    yield from lines
    yield ""
    yield from _bars(held, ordinary)
    rates = [f"{name} {human(rate)}/s" for name, rate in now.rates(before)]
    if now.refusals is not None and before.refusals is not None:
        rates.append(f"pool full {(now.refusals - before.refusals) / now.seconds(before):.0f}/s")
    yield "  ".join(rates)
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
            # keeps what was typed already
            tty.setcbreak(0, termios.TCSADRAIN)
        self._write(_ENTER)

    def leave(self) -> None:
        try:
            self._write(_LEAVE)
        finally:
            # a terminal that is gone has no settings
            with suppress(termios.error):
                if self._saved is not None:
                    termios.tcsetattr(0, termios.TCSADRAIN, self._saved)

    def stop(self) -> None:
        """What SIGTSTP does, with the terminal given back until SIGCONT comes."""
        self.leave()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self.enter()

    def show(self, lines: list[str]) -> None:
        columns, rows = _size()
        # one write(2) of whole lines that clear only what they do not cover: nothing flickers
        shown = [output.cut(report.escape(line), columns - 1) + _CLEAR_LINE for line in lines[:rows]]
        self._write(_HOME + "\n".join(shown) + _CLEAR_BELOW)

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _size() -> tuple[int, int]:
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        columns = rows = 0
    # a serial line says 0
    return columns or 80, rows or 24


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor from which the numbers of SIGWINCH and SIGTSTP can be read, each one byte.

    Their handlers do nothing themselves: they may run within a write to the terminal. What the parent
    process has ignored stays ignored.
    """
    handlers = {
        signal.SIGWINCH: _do_nothing,
        signal.SIGTSTP: _do_nothing,
        signal.SIGQUIT: terminate,
    }
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    old_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    old = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if not is_ignored(number)
    }
    try:
        yield reading
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_fd)
        os.close(reading)
        os.close(writing)


def _do_nothing(_number: int, _frame: object) -> None:
    pass


def watch(seconds: float, describe: Describe) -> None:
    """Shows the view until q or a signal; on what is no terminal, one block each time."""
    poll = select.poll()
    screen = _Screen()
    if not sys.stdout.isatty():
        for lines in _frames(seconds, poll, describe, screen.stop):
            print(*lines, "", sep="\n", flush=True)
        return
    with ExitStack() as stack:
        poll.register(stack.enter_context(_signals()), select.POLLIN)
        with suppress(OSError):
            # the kernel says POLLPRI when an area comes or goes
            poll.register(stack.enter_context(open(swaps.PROC_SWAPS, "rb", buffering=0)), select.POLLPRI)
        if os.isatty(0):
            poll.register(0, select.POLLIN)
        stack.callback(screen.leave)
        screen.enter()
        for lines in _frames(seconds, poll, describe, screen.stop):
            screen.show(lines)


def _frames(
    seconds: float, poll: select.poll, describe: Describe, stop: Callable[[], None]
) -> Iterator[list[str]]:
    """What to show, each time that it is to be shown."""
    base = now = Snapshot.take()
    due = base.when
    while True:
        yield list(_lines(describe, now, base))
        if now.when >= due:
            base, due = now, now.when + seconds
        for fd, event in poll.poll(max(due - time.monotonic(), 0) * 1000):
            if event & select.POLLIN:
                data = _read(fd)
                if fd == 0 and (not data or b"q" in data.lower()):
                    return
                if fd != 0 and signal.SIGTSTP in data:
                    stop()
                    # what poll(2) has seen is long ago
                    break
            elif event & select.POLLHUP:
                return
        now = Snapshot.take()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        # a terminal that is gone: the end of what is typed
        return b""
