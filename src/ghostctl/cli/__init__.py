# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line. The only package that knows click; one module for each command."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys

from .. import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived: leave, cleaning up on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class OutputError(OSError):
    """Standard output takes no more."""


class _Output(io.FileIO):
    """Standard output, of which an error is told from those of all other files."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            raise OutputError(error.errno, f"write error: {error.strerror}", "standard output") from None


def _terminate(number: int, _frame: object) -> NoReturn:
    raise Terminated(number)


def catch_signals() -> None:
    """From here on a signal is an exception: there may be something to clean up.

    Not before: inside an import Python prints such an exception, and may drop it. What the parent process
    has ignored stays ignored.
    """
    handlers = (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, _terminate),
        (signal.SIGHUP, _terminate),
    )
    for number, handler in handlers:
        if not signals.is_ignored(number):
            signal.signal(number, handler)


def _die_of(number: int) -> NoReturn:
    # so that the shell sees a signal, not an exit status
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _open_standard_files() -> None:
    # a closed descriptor would be given to the next file that is opened, and data written into it
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # what cannot be said is lost, but data that cannot be written is an error
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    encoding = sys.stdout.encoding if sys.stdout else "utf-8"
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(1, "w", closefd=False)), encoding, errors="backslashreplace"
    )
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
    elif isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def main() -> NoReturn:
    """Runs the command line and exits with the status of section EXIT STATUS in ghostctl(8)."""
    if not signals.is_ignored(signal.SIGINT):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_standard_files()
    status = 1
    try:
        from .program import run

        try:
            status = run()
            sys.stdout.flush()
        except OutputError as error:
            from .. import report

            # what is buffered cannot be written, and must not be tried again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if error.errno == errno.EPIPE:
                _die_of(signal.SIGPIPE)
            report.error(error)
    except KeyboardInterrupt:
        _die_of(signal.SIGINT)
    except Terminated as terminated:
        _die_of(terminated.number)
    sys.exit(status)
