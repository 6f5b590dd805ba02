# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands run in forks of the tests: many of them in little time, or with a signal between two steps."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NamedTuple

from ghostctl import activation, cli, ghostfile  # noqa: F401  all that a fork shall have
from ghostctl.cli import doctor, label, mkghost, off, on, program, resize, status, verify  # noqa: F401


class Done(NamedTuple):
    """How a command ended."""

    status: int
    """Its exit status, -N for a signal."""
    out: str
    err: str


def forked(
    *args: str | os.PathLike[str],
    files: Sequence[str] = (),
    kill_at: int | None = None,
    number: int = signal.SIGKILL,
) -> Done:
    """Runs a command in a child.

    With `kill_at` the child gets the signal `number` before the nth line that it comes to in source files
    of these names.
    """
    out, err = os.memfd_create("out"), os.memfd_create("err")
    pid = os.fork()
    if pid == 0:
        _child([os.fspath(arg) for arg in args], (out, err), tuple(files), kill_at, number)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Done(code, _content(out), _content(err))


def _content(fd: int) -> str:
    with open(fd, encoding="utf-8") as file:
        file.seek(0)
        return file.read()


def _child(
    args: list[str], streams: tuple[int, int], files: tuple[str, ...], kill_at: int | None, number: int
) -> None:
    try:
        for fd, stream in enumerate(streams, 1):
            os.dup2(stream, fd)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        sys.argv = ["ghostctl", *args]
        if kill_at is not None:
            sys.settrace(_Killer(files, kill_at, number))
        cli.main()
    except SystemExit as done:
        os._exit(int(done.code or 0))
    finally:
        os._exit(99)


class _Killer:
    def __init__(self, files: tuple[str, ...], kill_at: int, number: int) -> None:
        self.files, self.kill_at, self.number = files, kill_at, number
        self.seen: set[tuple[str, int]] = set()

    def __call__(self, frame: FrameType, event: str, _arg: object) -> Any:
        if not frame.f_code.co_filename.endswith(self.files):
            return None
        place = (frame.f_code.co_name, frame.f_lineno)
        if event == "line" and place not in self.seen:
            self.seen.add(place)
            if len(self.seen) == self.kill_at:
                os.kill(os.getpid(), self.number)
        return self
