# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the program in forks of a process that has imported all of it and run none of it.

stepwise.py starts this file with a socket as its standard input. Each request is one byte and four
descriptors: a file with the arguments and the rest of `Request`, standard output, standard error, and a pipe
for the answers. These are the process number, then what waitpid(2) says, four bytes each.
"""

from __future__ import annotations

import gc
import importlib
import marshal
import os
import pkgutil
import signal
import socket
import struct
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

LAZY = (
    "construct",
    "ctypes",
    "importlib.metadata",
    "json",
    "psutil",
    "pyudev",
    "random",
    "shutil",
    "uuid",
    "zlib",
)
"""What the program imports where it is used. What is missing here only takes longer."""


def main() -> NoReturn:
    requests = socket.socket(fileno=os.dup(0))
    _import_all()
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    # nobody waits for the processes that wait for the commands
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # so that no fork looks for garbage among what all of them share
    gc.freeze()
    while True:
        data, files, _, _ = socket.recv_fds(requests, 1, 4)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            if not _is_command(*files):
                os._exit(0)
            signal.signal(signal.SIGINT, on_interrupt)
            _run()
        for fd in files:
            os.close(fd)


def _import_all() -> None:
    package = importlib.import_module("ghostctl")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "ghostctl.")]
    for name in (*LAZY, *names):
        # one that is broken must be so in the command that uses it, and only there
        with suppress(Exception):
            importlib.import_module(name)


def _is_command(request: int, out: int, err: int, answers: int) -> bool:
    """Forks; True in the child, which is the command. The parent comes back when that has ended."""
    pid = os.fork()
    if pid == 0:
        _become(request, out, err)
        return True
    # which end when the command does, for whoever reads them
    os.close(out)
    os.close(err)
    with suppress(BrokenPipeError):
        os.write(answers, struct.pack("=i", pid))
        os.write(answers, struct.pack("=i", os.waitpid(pid, 0)[1]))
    return False


def _become(request: int, out: int, err: int) -> None:
    """Everything that a process has when it is started: descriptors, directory, environment, arguments."""
    with open(request, "rb") as file:
        args, directory, environment, umask, files, kill_at, number = marshal.load(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # as the interpreter opens them
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)
    sys.stderr = open(
        2, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False
    )
    if umask >= 0:
        os.umask(umask)
    os.chdir(directory)
    os.environb.clear()
    os.environb.update(environment)
    sys.argv = [os.fsdecode(arg) for arg in args]
    if kill_at:
        sys.settrace(_Killer(tuple(files), kill_at, number))


def _run() -> None:
    try:
        importlib.import_module("ghostctl.cli").main()
    except SystemExit as done:
        # what cannot be written here fails again below, and Python says so and exits as it always does
        with suppress(OSError):
            sys.stdout.flush()
            if done.code is None or isinstance(done.code, int):
                # not by way of taking every module apart
                os._exit((done.code or 0) & 0xFF)
        raise


class _Killer:
    """Sends a signal to the own process before the nth different line of some files."""

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


if __name__ == "__main__":
    main()
