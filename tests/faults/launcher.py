# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts the program under test by fork, with its modules imported: a trace begins at its own work.

Requests come over the socket whose descriptor is the only argument: a JSON object and three descriptors,
for stdout, for stderr, and one to wait on until strace has attached. Answers: the process number, then the
status as `os.waitstatus_to_exitcode` counts.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

MARK = "/ghostctl-fault-begin"
"""What chroot(2), which the program has no use for, is called with just before the program begins."""


def _import_all() -> None:
    import ghostctl

    for module in pkgutil.walk_packages(ghostctl.__path__, "ghostctl."):
        importlib.import_module(module.name)


def _note_modules(path: str) -> None:
    Path(path).write_text("\n".join(sys.modules))


def _become(request: dict[str, object], files: list[int]) -> None:
    """Makes the forked child the program: its files, its limits, its arguments."""
    out, err, go = files
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for fd in range(3, max(files) + 1):
        if fd != go:
            with suppress(OSError):
                os.close(fd)
    # as the interpreter opens them for pipes
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    os.chdir(str(request["cwd"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    learn, limit = request.get("learn"), request.get("fsize")
    if isinstance(learn, str):
        atexit.register(_note_modules, learn)
    if isinstance(limit, int):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    sys.argv = ["ghostctl", *map(str, request["args"])]  # type: ignore[call-overload]
    select.select([go], [], [])
    os.close(go)
    with suppress(FileNotFoundError):
        os.chroot(MARK)


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    while True:
        message, files, _, _ = socket.recv_fds(sock, 1 << 16, 3)
        if not message:
            return
        request = json.loads(message)
        for name in request["modules"]:
            with suppress(ImportError):
                importlib.import_module(name)
        pid = os.fork()
        if pid == 0:
            sock.detach()
            _become(request, files)
            from ghostctl.cli import main as program

            program()
        for fd in files:
            os.close(fd)
        sock.send(json.dumps(pid).encode())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sock.send(json.dumps(status).encode())


if __name__ == "__main__":
    main()
