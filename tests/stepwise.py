# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands run in forks of a process that has imported the program: many in little time, or with a signal
between two steps.

Nothing of what a test has imported, patched or cached is in that process: see forkserver.py.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple

TIMEOUT = 60
"""Seconds after which a command hangs."""

Arg = str | bytes | os.PathLike[str]

_OURS = Path(sys.executable).with_name("ghostctl")
PROGRAM = Path(os.environ.get("GHOSTCTL") or _OURS).absolute()
"""What the tests run: that of this Python, or what the environment variable GHOSTCTL names."""

_SERVER = Path(__file__).with_name("forkserver.py")
_READ_BY_THE_INTERPRETER = ("LANG", "LC_", "LD_", "PYTHON", "TZ")
"""Beginnings of the names of variables that take effect when Python starts, not later."""


class Done(NamedTuple):
    """How a command ended."""

    status: int
    """Its exit status, -N for a signal."""
    out: str
    err: str


def forked(
    *args: Arg,
    cwd: Arg | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
    umask: int = -1,
    files: Sequence[str] = (),
    kill_at: int | None = None,
    number: int = signal.SIGKILL,
) -> Done:
    """Runs a command in a child, as subprocess.run does: text with surrogates for what is not UTF-8.

    With `kill_at` the child gets the signal `number` before the nth line that it comes to in source files
    of these names. Raises `subprocess.TimeoutExpired`. Where GHOSTCTL names another program, that one is
    started, unless `kill_at` wants the lines of the package that this Python imports.
    """
    environment = dict(os.environ if env is None else env)
    words = [os.fsencode(PROGRAM), *map(os.fsencode, args)]
    if PROGRAM != _OURS and not kill_at:
        return _started(words, cwd, environment, stdout, umask)
    encoded = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    directory = os.fsencode(cwd or os.getcwd())
    request = marshal.dumps((words, directory, encoded, umask, list(files), kill_at or 0, int(number)))
    with (
        open(os.memfd_create("request"), "wb", buffering=0) as description,
        _output("out") as out,
        _output("err") as err,
    ):
        description.write(request)
        description.seek(0)
        answers, answering = os.pipe()
        with open(answers, "rb") as answer:
            try:
                given = out.fileno() if stdout is None else stdout
                fds = [description.fileno(), given, err.fileno(), answering]
                socket.send_fds(_server(_start(environment)), [b"."], fds)
            finally:
                os.close(answering)
            pid = _read(answer.fileno())
            if not select.select([answer], [], [], TIMEOUT)[0]:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, TIMEOUT)
            status = os.waitstatus_to_exitcode(_read(answer.fileno()))
        out.seek(0)
        err.seek(0)
        return Done(status, out.read(), err.read())


def _started(
    words: Sequence[bytes], cwd: Arg | None, environment: Mapping[str, str], stdout: int | None, umask: int
) -> Done:
    done = subprocess.run(
        words,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=TIMEOUT,
        check=False,
        umask=umask,
    )
    return Done(done.returncode, done.stdout or "", done.stderr)


def _read(fd: int) -> int:
    data = os.read(fd, 4)
    if len(data) != 4:
        raise RuntimeError(f"{_SERVER.name} has died")
    number: int = struct.unpack("=i", data)[0]
    return number


def _output(name: str) -> IO[str]:
    # a file in memory, which has no reader to wait for
    return open(os.memfd_create(name), encoding="utf-8", errors="surrogateescape")


def _start(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(item for item in environment.items() if item[0].startswith(_READ_BY_THE_INTERPRETER))


@cache
def _server(variables: frozenset[tuple[str, str]]) -> socket.socket:
    """A process to fork, for each set of variables that only a new one reads. It ends when the tests do."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: os.environ[name] for name in os.environ if not _start({name: ""})} | dict(variables)
    with theirs:
        # not below a directory that a test removes or unmounts
        process = subprocess.Popen(
            [sys.executable, str(_SERVER)], stdin=theirs.fileno(), cwd="/", env=environment
        )
    process.returncode = 0  # no warning that it is still there when the tests end
    return ours
