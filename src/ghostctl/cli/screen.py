# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal while it shows a live view: one picture after the other, until q or a signal.

Without a library. What is long here, signals, job control, sizes of 0 and the wait for /proc/swaps, none of
them does: they draw tables and colours, for which a few lines are enough. Python takes 38 ms longer to start
with rich 15, 73 ms with blessed 1.52, 170 ms with textual 8.2 (click: 26 ms); with what they need they are
16, 10 and 25 MiB on disk; and the textual of Debian 12 is 0.1.13, another interface altogether.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from .. import output, report, swaps
from ..signals import is_ignored
from . import terminate


class Part(NamedTuple):
    """A part of a line with its colour; the text may be anything, as it is escaped when it is shown."""

    text: str
    sgr: str = ""
    """Parameters of the control sequence SGR (console_codes(4)): ``31`` is red."""


Line = str | tuple[Part, ...]
Frame = Callable[[int, int], Sequence[Line]]
"""The picture, from the cells that a line may have and the lines that there is room for.

What is more is cut. Both are 0 where nothing is: standard output is no terminal.
"""
Key = Callable[[str], float | None]
"""What a key does; the seconds from now on, where it changes them."""

# a save of the screen and its return, as xterm and all that follow it know them
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

# what arrows and function keys send, and the escape key alone
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]?|O.?)?")


def run(
    seconds: float,
    frame: Frame,
    key: Key | None = None,
    *,
    tick: Callable[[], None] | None = None,
    color: bool = False,
) -> None:
    """Shows the picture until q or a signal: every `seconds`, at a key, and when an area comes or goes.

    `tick` is called before a picture that is due, not one between. On what is no terminal, it prints one
    block every `seconds`. Raises what `frame` raises, and `OSError` when standard output takes no more.
    """
    loop = Loop(seconds, key, tick)
    terminal = _Terminal(color)
    if not sys.stdout.isatty():
        for _ in loop.rounds(terminal.stop):
            print(*(paint(line, None, color) for line in frame(0, 0)), "", sep="\n", flush=True)
        return
    with ExitStack() as stack:
        loop.poll.register(stack.enter_context(_signals()), select.POLLIN)
        with suppress(OSError):
            # the kernel says POLLPRI when an area comes or goes
            areas = stack.enter_context(open(swaps.PROC_SWAPS, "rb", buffering=0))
            loop.poll.register(areas, select.POLLPRI)
        if os.isatty(0):
            loop.poll.register(0, select.POLLIN)
        stack.callback(terminal.leave)
        terminal.enter()
        for _ in loop.rounds(terminal.stop):
            columns, rows = _size()
            # nothing in the last column: terminals differ in what follows it
            cells = max(columns - 1, 1)
            terminal.show(frame(cells, rows)[:rows], cells)


def paint(line: Line, cells: int | None, color: bool) -> str:
    """A line as it is written: what is in it escaped, no more than so many cells, and coloured."""
    shown = []
    for part in [Part(line)] if isinstance(line, str) else line:
        text = report.escape(part.text)
        if cells is not None:
            whole, text = text, output.cut(text, cells)
            # after a part that is cut, the rest of the line is left out
            cells = cells - output.width(text) if text == whole else 0
        shown.append(f"\x1b[{part.sgr}m{text}\x1b[m" if part.sgr and color and text else text)
    return "".join(shown)


class _Terminal:
    """The terminal while it shows the view; whatever ends it, it is left as it was found."""

    def __init__(self, color: bool) -> None:
        self._color = color
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

    def show(self, lines: Iterable[Line], cells: int) -> None:
        # one write(2) of whole lines that clear only what they do not cover: nothing flickers
        shown = [paint(line, cells, self._color) + _CLEAR_LINE for line in lines]
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


class Loop:
    """When there is something new to show."""

    def __init__(self, seconds: float, key: Key | None, tick: Callable[[], None] | None) -> None:
        self.poll = select.poll()
        self.seconds = seconds
        self._key = key
        self._tick = tick
        self._due = time.monotonic()

    def rounds(self, stop: Callable[[], None]) -> Iterator[None]:
        """Yields each time that the picture is to be drawn; `stop` is what SIGTSTP does."""
        while True:
            if time.monotonic() >= self._due:
                if self._tick is not None:
                    self._tick()
                self._due = time.monotonic() + self.seconds
            yield
            for fd, event in self.poll.poll(max(self._due - time.monotonic(), 0) * 1000):
                if event & select.POLLIN:
                    data = _read(fd)
                    if fd == 0 and self.type(data):
                        return
                    if fd != 0 and signal.SIGTSTP in data:
                        stop()
                        # what poll(2) has seen is long ago
                        break
                elif event & select.POLLHUP:
                    return

    def type(self, data: bytes) -> bool:
        """Does what the keys do; whether that is the end."""
        for key in _SEQUENCE.sub("", data.decode("utf-8", "ignore")):
            if key in "qQ":
                return True
            seconds = self._key(key) if self._key is not None else None
            if seconds is not None:
                self.seconds, self._due = seconds, time.monotonic() + seconds
        return not data


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        # a terminal that is gone: the end of what is typed
        return b""
