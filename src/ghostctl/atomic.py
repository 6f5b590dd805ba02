# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that appear whole or not at all, whatever happens in between."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from .errors import Busy
from .report import trace

TEMPORARY = ".ghostctl-new"
"""Name of the unfinished file in a directory. One name: what a crash leaves, the next run removes."""


_LOCK_TRIES = 100
_LOCK_PAUSE = 0.05
"""Seconds between two tries."""


def lock(fd: int, path: str) -> None:
    """flock(2) that keeps other processes away from `path`; raises `Busy` when it stays taken."""
    # whoever may read a directory may lock it, so this does not wait for ever
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        else:
            return
    raise Busy("another process holds its lock", path=path)


class Place(NamedTuple):
    """A name in an open, locked directory: where a file is or will be."""

    dirfd: int
    name: str
    path: str
    """The path as it was given, for messages."""


@contextmanager
def place(path: str) -> Iterator[Place]:
    """Opens and locks the directory of `path`, so that two writers keep apart (flock(2)).

    Raises `OSError`: EISDIR for a path without a name at its end; and `Busy` when the lock stays taken.
    """
    parent, name = os.path.split(path)
    if name in ("", ".", ".."):
        number = errno.EISDIR if path else errno.ENOENT
        raise OSError(number, os.strerror(number), path)
    try:
        dirfd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        error.filename = path
        raise
    try:
        lock(dirfd, path)
        yield Place(dirfd, name, path)
    finally:
        os.close(dirfd)


def _clear(dirfd: int) -> None:
    try:
        st = os.stat(TEMPORARY, dir_fd=dirfd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(st.st_mode) or st.st_uid != os.geteuid():
        raise OSError(errno.EEXIST, f"{TEMPORARY} in its directory is in the way")
    os.unlink(TEMPORARY, dir_fd=dirfd)


@contextmanager
def _unfinished(dirfd: int) -> Iterator[tuple[int, bool]]:
    """A new private file, as ``(fd, named)``: without a name where the filesystem has O_TMPFILE."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    _clear(dirfd)
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


def keep(fd: int, like: int) -> None:
    """Gives `fd` the owner, mode and extended attributes (SELinux type, ACLs) of the file `like`."""
    st = os.fstat(like)
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


def write(place: Place, data: bytes, *, replace: bool, finish: Callable[[int], None] | None = None) -> None:
    """Writes the file, whole and synced, or not at all; a crash at any instant leaves the old or the new one.

    Mode 0600 from the first byte; `finish` gets the descriptor of the file before it has a name, to
    change or check what it wants. Without `replace` an existing name raises `FileExistsError`.
    """
    try:
        with _unfinished(place.dirfd) as (fd, named):
            how = f"as {TEMPORARY}, then renamed" if named else "with O_TMPFILE, then linked"
            trace(f"{place.path}: {len(data)} bytes written {how}")
            _write(fd, data)
            os.fsync(fd)
            if finish is not None:
                finish(fd)
            if replace:
                _replace(place, fd, named)
            else:
                _create(place, fd, named)
            os.fsync(place.dirfd)
    except OSError as error:
        # a failing write(2) or fsync(2) has no filename, and the temporary one is nobody's business
        error.filename, error.filename2 = place.path, None
        raise


def _replace(place: Place, fd: int, named: bool) -> None:
    if not named:
        os.link(f"/proc/self/fd/{fd}", TEMPORARY, dst_dir_fd=place.dirfd)
    os.rename(TEMPORARY, place.name, src_dir_fd=place.dirfd, dst_dir_fd=place.dirfd)


def _create(place: Place, fd: int, named: bool) -> None:
    if not named:
        os.link(f"/proc/self/fd/{fd}", place.name, dst_dir_fd=place.dirfd)
        return
    from . import syscalls

    try:
        syscalls.renameat2(place.dirfd, TEMPORARY, place.name, syscalls.RENAME_NOREPLACE)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        os.link(TEMPORARY, place.name, src_dir_fd=place.dirfd, dst_dir_fd=place.dirfd)
        os.unlink(TEMPORARY, dir_fd=place.dirfd)


def edit(path: str, change: Callable[[bytes], bytes]) -> bool:
    """Replaces the content of a text file by ``change(content)``; false when that is the same.

    A symlink stays and its target is replaced, with the same owner, mode and attributes. A file that does
    not exist counts as empty, and is made with mode 0644. Raises `OSError`: ESTALE, with nothing changed,
    when another program wrote to the file in between.
    """
    with place(os.path.realpath(path)) as target:
        try:
            fd = os.open(
                target.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=target.dirfd
            )
        except FileNotFoundError:
            new = change(b"")
            if new:
                write(target, new, replace=False, finish=lambda fd: os.fchmod(fd, 0o644))
            return bool(new)
        except OSError as error:
            error.filename = path
            raise
        try:
            before = _identity(os.fstat(fd))
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "is not a regular file", path)
            with open(fd, "rb", closefd=False) as file:
                old = file.read()
            new = change(old)

            def finish(new_fd: int) -> None:
                keep(new_fd, fd)
                os.fsync(new_fd)
                if _identity(os.stat(target.name, dir_fd=target.dirfd, follow_symlinks=False)) != before:
                    raise OSError(errno.ESTALE, "changed by another program in the meantime")

            if new != old:
                write(target, new, replace=True, finish=finish)
            return new != old
        finally:
            os.close(fd)


def _identity(st: os.stat_result) -> tuple[int, ...]:
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns
