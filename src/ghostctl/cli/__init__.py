# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line. The only package that knows click; one module for each command."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM arrived: leave, cleaning up on the way."""


def _on_sigterm(_signal: int, _frame: object) -> NoReturn:
    raise Terminated


def catch_signals() -> None:
    """From here on a signal is an exception: there may be something to clean up.

    Not before: inside an import Python prints such an exception, and may drop it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _on_sigterm)


def _die_of(number: signal.Signals) -> NoReturn:
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
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def main() -> NoReturn:
    """Runs the command line and exits with the status of section EXIT STATUS in ghostctl(8)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_standard_files()
    status = 1
    try:
        from .program import run

        try:
            status = run()
            sys.stdout.flush()
        except OSError as error:
            from .. import report

            if isinstance(error, BrokenPipeError):
                _drop_stdout()
                _die_of(signal.SIGPIPE)
            _drop_stdout()
            report.error(OSError(error.errno, f"write error: {error.strerror}", "standard output"))
    except KeyboardInterrupt:
        _die_of(signal.SIGINT)
    except Terminated:
        _die_of(signal.SIGTERM)
    sys.exit(status)


def _drop_stdout() -> None:
    # what is buffered cannot be written, and must not be tried again at exit
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
