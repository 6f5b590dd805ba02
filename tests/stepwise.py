# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that get a signal between two steps."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from ghostctl import cli
from ghostctl.cli import off, on, program  # noqa: F401  so that a fork has them


def forked(
    *args: str | os.PathLike[str],
    files: Sequence[str] = (),
    kill_at: int | None = None,
    number: int = signal.SIGKILL,
) -> tuple[int, str]:
    """Runs a command in a child; returns its exit status, -N for a signal, and what it said.

    The child gets the signal `number` before the nth line that it comes to in source files of these names.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 2)
        sys.stderr = open(2, "w", closefd=False)
        seen: set[tuple[str, int]] = set()

        def trace(frame: FrameType, event: str, _arg: object) -> Any:
            if not frame.f_code.co_filename.endswith(tuple(files)):
                return None
            place = (frame.f_code.co_name, frame.f_lineno)
            if event == "line" and place not in seen:
                seen.add(place)
                if len(seen) == kill_at:
                    os.kill(os.getpid(), number)
            return trace

        sys.argv = ["ghostctl", *(os.fspath(arg) for arg in args)]
        if kill_at is not None:
            sys.settrace(trace)
        try:
            cli.main()
        except SystemExit as done:
            os._exit(int(done.code or 0))
        finally:
            os._exit(99)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        text = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text
