# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the running kernel takes ghost files, found out with a throw-away one."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from . import atomic, header, kernel, lookup, report, sizes, syscalls
from .errors import Denied, Error

NAME = ".ghostctl-probe"
"""Name of the throw-away ghost. One name: what a power cut leaves, the next probe removes."""

_DIRECTORIES = (lookup.GHOST_DIRECTORY, "/var/lib", "/root", "/")
"""Where only root can make files."""


def probe(directories: Sequence[str] = _DIRECTORIES) -> bool:
    """Swaps a ghost of ten pages on and off again, in the first of the directories that can have one.

    Raises `Denied`, `OSError`, and `Error` when there is no such directory. A process of its own does it,
    which no signal to this one or its group reaches, so that a killed ghostctl leaves nothing behind.
    """
    if os.geteuid() != 0:
        raise Denied("only root can swap a ghost on", path="--probe")
    directory = next(filter(_can_swap, directories), None)
    if directory is None:
        raise Error("no filesystem that can swap", path=" ".join(directories))
    pid = os.fork()
    if pid == 0:
        status = errno.EIO
        try:
            os.setsid()
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            status = _on_and_off(os.path.join(directory, NAME))
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    report.trace(f"probe in {directory}: {os.strerror(status) if status > 0 else status}")
    if status in (0, errno.EINVAL):
        return status == 0
    raise OSError(abs(status), os.strerror(abs(status)), directory)


def _can_swap(directory: str) -> bool:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fstype = kernel.filesystem(fd)
        read_only = os.fstatvfs(fd).f_flag & os.ST_RDONLY
        return fstype is not None and not kernel.cannot_swap(fstype) and not read_only
    finally:
        os.close(fd)


def _on_and_off(path: str) -> int:
    try:
        with atomic.place(path) as place:
            _remove(path)
            page_size = sizes.page_size()
            atomic.write(place, header.pack(header.ghost(sizes.MIN_PAGES, page_size)), replace=False)
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    syscalls.swapon(fd, path)
                finally:
                    os.close(fd)
            finally:
                _remove(path)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _remove(path: str) -> None:
    with suppress(OSError):
        syscalls.swapoff(path)
    with suppress(FileNotFoundError):
        os.unlink(path)
