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
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

LAZY = (
    *("click._textwrap", "construct", "ctypes", "difflib", "email.parser", "encodings.ascii"),
    *("importlib.metadata", "json", "psutil", "pyudev", "random", "shutil", "uuid", "zlib"),
)
"""What the program imports where it is used. What is missing here only takes longer."""


def main() -> NoReturn:
    requests = socket.socket(fileno=os.dup(0))
    _import_all()
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    # so that no fork looks for garbage among what all of them share
    gc.freeze()
    commands: dict[int, tuple[int, int]] = {}
    while True:
        for fd in select.select([requests.fileno(), *commands], [], [])[0]:
            if fd in commands:
                pid, answers = commands.pop(fd)
                _answer(answers, os.waitpid(pid, 0)[1])
                os.close(answers)
                os.close(fd)
                continue
            data, files, _, _ = socket.recv_fds(requests, 1, 4)
            if not data:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                requests.close()
                signal.signal(signal.SIGINT, on_interrupt)
                _become(*files[:3])
                _run()
            commands[os.pidfd_open(pid)] = pid, files[3]
            _answer(files[3], pid)
            for file in files[:3]:
                os.close(file)


def _answer(fd: int, number: int) -> None:
    # nobody may be left to read it
    with suppress(BrokenPipeError):
        os.write(fd, struct.pack("=i", number))


def _import_all() -> None:
    package = importlib.import_module("ghostctl")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "ghostctl.")]
    for name in (*LAZY, *names):
        # one that is broken must be so in the command that uses it, and only there
        with suppress(Exception):
            importlib.import_module(name)


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
        _kill_before_line(tuple(files), kill_at, number)


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


def _kill_before_line(files: tuple[str, ...], kill_at: int, number: int) -> None:
    """Sends a signal to this process before the nth different line of some files."""
    seen: set[tuple[str, int]] = set()
    watched: dict[str, bool] = {}

    def enter(frame: FrameType, _event: str, _arg: object) -> Any:
        # called for every function, so a file is looked at once
        name = frame.f_code.co_filename
        if name not in watched:
            watched[name] = name.endswith(files)
        return line if watched[name] else None

    def line(frame: FrameType, event: str, _arg: object) -> Any:
        place = (frame.f_code.co_name, frame.f_lineno)
        if event == "line" and place not in seen:
            seen.add(place)
            if len(seen) == kill_at:
                os.kill(os.getpid(), number)
        return line

    sys.settrace(enter)


if __name__ == "__main__":
    main()
