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
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

    from _typeshed import ReadableBuffer as Buffer

    Handler = Callable[[int, FrameType | None], object] | signal.Handlers


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived, or another such signal: leave, cleaning up on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class OutputError(OSError):
    """Standard output takes no more."""


class _Output(io.FileIO):
    """Standard output, of which an error is told from those of all other files."""

    failed = False

    def write(self, data: Buffer) -> int:
        if self.failed:
            # what could not be written is still buffered, and tried again when Python ends
            return len(memoryview(data))
        try:
            # None: a pipe that is full, and that another process has made non-blocking
            written: int | None = super().write(data)
            if written is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        except OSError as error:
            raise OutputError(error.errno, f"write error: {error.strerror}", "standard output") from None
        return written


class _Messages(io.FileIO):
    """Standard error: there is nowhere left to say that it takes no more."""

    def write(self, data: Buffer) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))


def terminate(number: int, _frame: object) -> NoReturn:
    """The handler of a signal that ends the program."""
    raise Terminated(number)


def catch_signals() -> None:
    """From here on a signal is an exception: there may be something to clean up.

    Not before: inside an import Python prints such an exception, and may drop it. What the parent process
    has ignored stays ignored.
    """
    _on_signals(signal.default_int_handler, terminate)


def _on_signals(interrupt: Handler, terminate: Handler) -> None:
    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: terminate, signal.SIGHUP: terminate}
    for number, handler in handlers.items():
        if not signals.is_ignored(number):
            signal.signal(number, handler)


def _die_of(number: int) -> NoReturn:
    # so that the shell sees a signal, not an exit status
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _open_standard_files() -> _Output:
    # a closed descriptor would be given to the next file that is opened, and data written into it
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # as good as closed: it can be neither read nor written
            os.open(sys.executable, os.O_PATH)
    output, messages = _Output(1, "w", closefd=False), _Messages(2, "w", closefd=False)
    encoding = sys.stdout.encoding if sys.stdout else "utf-8"
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(output), encoding, errors="backslashreplace")
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(messages), encoding, errors="backslashreplace", line_buffering=True
    )
    return output


def _run() -> int:
    try:
        from .program import run

        return run()
    except ImportError as error:
        from .. import packages, report

        missing = packages.missing(error)
        if missing is None:
            raise
        report.error(missing)
        return missing.status


def main() -> NoReturn:
    """Runs the command line and exits with the status of section EXIT STATUS in ghostctl(8)."""
    _on_signals(signal.SIG_DFL, signal.SIG_DFL)
    output = _open_standard_files()
    status = 1
    try:
        try:
            status = _run()
            sys.stdout.flush()
        except OutputError as error:
            from .. import report

            output.failed = True
            if error.errno == errno.EPIPE:
                _die_of(signal.SIGPIPE)
            report.error(error)
        # an exception would have nobody to catch it
        _on_signals(signal.SIG_DFL, signal.SIG_DFL)
    except KeyboardInterrupt:
        _die_of(signal.SIGINT)
    except Terminated as terminated:
        _die_of(terminated.number)
    sys.exit(status)
