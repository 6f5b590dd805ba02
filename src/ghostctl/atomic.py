# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that appear whole or not at all, whatever happens in between."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TEMPORARY = ".ghostctl-new"
"""Name of the unfinished file in a directory. One name: what a crash leaves, the next run removes."""


@contextmanager
def directory(path: str) -> Iterator[tuple[int, str]]:
    """The locked directory of `path` and the name in it, as ``(dirfd, name)``.

    The lock (flock(2) on the directory) keeps two writers apart. Raises `OSError` with the directory as
    filename, and EISDIR for a path that has no name at its end.
    """
    parent, name = os.path.split(path)
    if name in ("", ".", ".."):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    dirfd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(dirfd, fcntl.LOCK_EX)
        yield dirfd, name
    finally:
        os.close(dirfd)


@contextmanager
def _unfinished(dirfd: int) -> Iterator[tuple[int, bool]]:
    """A new private file, as ``(fd, named)``: without a name where the filesystem has O_TMPFILE."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(FileNotFoundError):
        os.unlink(TEMPORARY, dir_fd=dirfd)
    try:
        fd, named = os.open(".", flags | os.O_TMPFILE, 0o600, dir_fd=dirfd), False
    except OSError as error:
        # EISDIR: a kernel or filesystem that takes O_TMPFILE for O_DIRECTORY
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
        fd, named = os.open(TEMPORARY, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=dirfd), True
    try:
        yield fd, named
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(TEMPORARY, dir_fd=dirfd)
        raise
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _keep(fd: int, like: int) -> None:
    """Gives `fd` the owner, mode and extended attributes (SELinux type, ACLs) of the file `like`."""
    st = os.fstat(like)
    if (st.st_uid, st.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(fd, st.st_uid, st.st_gid)
    os.fchmod(fd, st.st_mode & 0o7777)
    try:
        names = os.listxattr(like)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return
        raise
    for name in names:
        os.setxattr(fd, name, os.getxattr(like, name))


def write(dirfd: int, name: str, data: bytes, *, replace: bool = False, like: int | None = None) -> None:
    """Writes the file `name` in the directory `dirfd` (see `directory`), whole and synced, or not at all.

    Mode 0600 from the first byte; `like` is the descriptor of a file whose owner, mode and extended
    attributes the new one gets. Without `replace` an existing name raises `FileExistsError`; a crash at
    any instant leaves the old file or the new one.
    """
    try:
        with _unfinished(dirfd) as (fd, named):
            _write(fd, data)
            if like is not None:
                _keep(fd, like)
            os.fsync(fd)
            _publish(dirfd, fd, named, name, replace)
            os.fsync(dirfd)
    except OSError as error:
        error.filename = name if error.filename in (None, TEMPORARY, ".") else error.filename
        raise


def _publish(dirfd: int, fd: int, named: bool, name: str, replace: bool) -> None:
    if not named:
        # a link cannot replace, so only a new name gets one at once
        target = TEMPORARY if replace else name
        os.link(f"/proc/self/fd/{fd}", target, dst_dir_fd=dirfd)
        if not replace:
            return
    if replace:
        os.rename(TEMPORARY, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
        return
    from . import syscalls

    try:
        syscalls.renameat2(dirfd, TEMPORARY, name, syscalls.RENAME_NOREPLACE)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        os.link(TEMPORARY, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
        os.unlink(TEMPORARY, dir_fd=dirfd)
