# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the running kernel takes ghost files, found out with a throw-away one."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Sequence

from . import areas, atomic, backends, header, kernel, lookup, report, sizes, swaps, syscalls
from .errors import Denied, Error

NAME = ".ghostctl-probe"
"""Name of the throw-away ghost. One name: what a power cut leaves, the next probe removes."""

_REFUSED = 200
"""Exit status of the probing process when the kernel takes no ghost; others are an errno, 0 is success."""

_DIRECTORIES = (lookup.GHOST_DIRECTORY, "/var/lib", "/root", "/")
"""Where only root can make files."""


def probe(directories: Sequence[str] = _DIRECTORIES) -> bool:
    """Swaps a ghost of ten pages on and off again, in the first of the directories that can have one.

    Raises `Denied`, `OSError`, `NoAreaList`, and `Error` when there is no such directory. A process of its
    own does it, which no signal to this one or its group reaches, so that a killed ghostctl leaves nothing
    behind.
    """
    if os.geteuid() != 0:
        raise Denied("only root can swap a ghost on", path="--probe")
    # without the list an area that an earlier probe left could not be told from a file
    swaps.read()
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
    report.trace(f"probe in {directory}: {status}")
    if status in (0, _REFUSED):
        return status == 0
    path = os.path.join(directory, NAME)
    if status < 0:
        with atomic.place(path) as place:
            _remove(place)
        raise Error("the process that tried a ghost was killed", path=path)
    if status == errno.EEXIST:
        raise Error("is in the way, and was not made by ghostctl", path=path)
    if status == errno.EPERM:
        raise Denied(os.strerror(status), path=path, hint=backends.WHY_DENIED)
    raise OSError(status, os.strerror(status), path)


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
    status = 0
    try:
        with atomic.place(path) as place:
            _remove(place)
            page = header.pack(header.ghost(sizes.MIN_PAGES, sizes.page_size()))
            try:
                # when this fails the file may have its name already: its directory is synced after that
                atomic.write(place, page, replace=False)
                fd = os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.dirfd)
                try:
                    syscalls.swapon(fd, path)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    status = _REFUSED
                finally:
                    os.close(fd)
            finally:
                _remove(place)
    except OSError as error:
        return error.errno or errno.EIO
    except Error as error:
        report.trace(str(error))
        return errno.EIO
    return status


def _remove(place: atomic.Place) -> None:
    """Takes down and removes what this or an earlier, killed probe has made, and nothing else.

    Raises `OSError`: EEXIST for what only bears the name.
    """
    try:
        fd = os.open(
            place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place.dirfd
        )
    except FileNotFoundError:
        return
    except OSError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place.path) from None
    try:
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode) or st.st_uid != 0 or st.st_size != sizes.page_size():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place.path)
        if areas.is_listed(st):
            syscalls.swapoff(fd, place.path)
        os.unlink(place.name, dir_fd=place.dirfd)
        os.fsync(place.dirfd)
    finally:
        os.close(fd)
