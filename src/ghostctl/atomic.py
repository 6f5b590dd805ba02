# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that appear whole or not at all, and are on disk when that is said."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from . import rundir, syscalls
from .errors import naming
from .report import trace, warn

TEMPORARY = ".ghostctl-new"
"""Name of the unfinished file in a directory. One name: what a crash leaves, the next run removes."""

SELINUX = "security.selinux"

_OF_CONTENT = frozenset({"security.ima", "security.evm"})
"""Attributes that are a signature of the content, and wrong for any other."""


class Place(NamedTuple):
    """A name in an open directory: where a file is or will be."""

    dirfd: int
    name: str
    path: str
    """The path as it was given, for messages."""


@contextmanager
def open_place(path: str) -> Iterator[Place]:
    """Opens the directory of `path`; no lock is taken.

    Raises `OSError`: EISDIR for a path without a name at its end.
    """
    parent, name = os.path.split(path)
    if name in ("", ".", ".."):
        number = errno.EISDIR if path else errno.ENOENT
        raise OSError(number, os.strerror(number), path)
    with naming(path):
        dirfd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Place(dirfd, name, path)
    finally:
        os.close(dirfd)


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Keeps two writers of files in one directory apart. Raises `Busy` when the lock stays taken."""
    with rundir.locked(rundir.lock_name(os.fstat(place.dirfd)), place.path):
        yield


@contextmanager
def place(path: str) -> Iterator[Place]:
    """Opens and locks the directory of `path`; raises as `open_place` and `locked`."""
    with open_place(path) as opened, locked(opened):
        yield opened


def _sync_directory(path: str) -> None:
    with naming(path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def make_directories(path: str, mode: int = 0o755) -> None:
    """Makes a directory, and those above it that are missing, durably; one that is there is left as it is.

    Raises `OSError`.
    """
    if os.path.isdir(path):
        return
    path = path.rstrip("/")
    parent = os.path.dirname(path) or "."
    make_directories(parent)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        # another process was faster
        if not os.path.isdir(path):
            raise
    _sync_directory(parent)


def remove(path: str) -> None:
    """Removes a file, durably. Raises `OSError`."""
    with open_place(path) as gone, naming(path):
        os.unlink(gone.name, dir_fd=gone.dirfd)
        os.fsync(gone.dirfd)


def remove_directory(path: str) -> None:
    """Removes an empty directory. Raises `OSError`.

    One with files in it, a mount point, and any on a read-only filesystem stay: rmdir(2) says EROFS there
    also of a directory that does not exist.
    """
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.EROFS):
            raise


def _clear(dirfd: int) -> None:
    """Removes what a killed process left; whatever else has that name is in the way."""
    try:
        st = os.stat(TEMPORARY, dir_fd=dirfd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(st.st_mode) or st.st_uid != os.geteuid():
        raise FileExistsError(errno.EEXIST, f"{TEMPORARY} in its directory is in the way")
    os.unlink(TEMPORARY, dir_fd=dirfd)


@contextmanager
def _unfinished(dirfd: int) -> Iterator[tuple[int, bool]]:
    """A new private file, as ``(fd, named)``: without a name where the filesystem has O_TMPFILE."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    _clear(dirfd)
    fd, named = _open_nameless(dirfd, flags), False
    if fd is None:
        fd, named = os.open(TEMPORARY, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=dirfd), True
    try:
        yield fd, named
    except BaseException:
        with suppress(OSError):
            if _is_unfinished(dirfd, fd):
                os.unlink(TEMPORARY, dir_fd=dirfd)
        raise
    finally:
        os.close(fd)


def _open_nameless(dirfd: int, flags: int) -> int | None:
    # only /proc can give such a file a name
    if not os.path.exists(f"/proc/self/fd/{dirfd}"):
        return None
    try:
        return os.open(".", flags | os.O_TMPFILE, 0o600, dir_fd=dirfd)
    except OSError as error:
        # EISDIR: a kernel or filesystem that takes O_TMPFILE for O_DIRECTORY
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
    return None


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def set_attribute(fd: int, name: str, value: bytes, path: str) -> None:
    """Sets an extended attribute of an open file; what the filesystem does not take is warned about.

    So is what this user may not set, except the SELinux type, which decides who may use the file: raises
    `OSError`.
    """
    try:
        os.setxattr(fd, name, value)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP and (error.errno != errno.EPERM or name == SELINUX):
            raise
        # a mount may give the same value to all its files
        if get_attribute(fd, name) != value:
            warn(path, f"attribute {name} cannot be set: {error.strerror}")


def get_attribute(fd: int, name: str) -> bytes | None:
    """An extended attribute of an open file; None when it has none, or the filesystem has no attributes."""
    try:
        return os.getxattr(fd, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise


def _keep(fd: int, like: int, path: str) -> None:
    """Gives `fd` the owner, mode and extended attributes (SELinux type, ACLs) of the file `like`."""
    st = os.fstat(like)
    os.fchown(fd, st.st_uid, st.st_gid)
    os.fchmod(fd, stat.S_IMODE(st.st_mode))
    try:
        names = os.listxattr(like)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return
        raise
    for name in names:
        value = None if name in _OF_CONTENT else get_attribute(like, name)
        if value is not None:
            set_attribute(fd, name, value, path)


def write(
    place: Place,
    data: bytes,
    *,
    replace: bool,
    finish: Callable[[int], None] | None = None,
    check: Callable[[int], None] | None = None,
) -> None:
    """Writes the file, whole and synced, or not at all; a crash at any instant leaves the old or the new one.

    Mode 0600 from the first byte. Before the file has a name, `finish` gets its descriptor to set mode, owner
    and attributes, which are synced with the data, and then `check`, to look at it. Without `replace` an
    existing name raises `FileExistsError`.
    """
    # a failing write(2) or fsync(2) knows no name, and the temporary one is nobody's business
    with naming(place.path), _unfinished(place.dirfd) as (fd, named):
        how = f"as {TEMPORARY}, then renamed" if named else "with O_TMPFILE, then linked"
        trace(f"{place.path}: {len(data)} bytes written {how}")
        _write(fd, data)
        if finish is not None:
            finish(fd)
        os.fsync(fd)
        if check is not None:
            check(fd)
        if replace:
            _replace(place, fd, named)
        else:
            _create(place, fd, named)
        os.fsync(place.dirfd)


def _is_unfinished(dirfd: int, fd: int) -> bool:
    """Whether the unfinished file in the directory is this one."""
    return os.path.samestat(os.stat(TEMPORARY, dir_fd=dirfd, follow_symlinks=False), os.fstat(fd))


def _check_unfinished(place: Place, fd: int) -> None:
    # without /run there is no lock: another process may have taken it for what a killed one left
    if not _is_unfinished(place.dirfd, fd):
        raise OSError(errno.ESTALE, "another process writes to its directory")


def _replace(place: Place, fd: int, named: bool) -> None:
    if not named:
        os.link(f"/proc/self/fd/{fd}", TEMPORARY, dst_dir_fd=place.dirfd)
    _check_unfinished(place, fd)
    os.rename(TEMPORARY, place.name, src_dir_fd=place.dirfd, dst_dir_fd=place.dirfd)


def _create(place: Place, fd: int, named: bool) -> None:
    if not named:
        os.link(f"/proc/self/fd/{fd}", place.name, dst_dir_fd=place.dirfd)
        return
    _check_unfinished(place, fd)
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
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with naming(path):
                fd = os.open(target.name, flags, dir_fd=target.dirfd)
        except FileNotFoundError:
            new = change(b"")
            if new:
                write(target, new, replace=False, finish=lambda fd: os.fchmod(fd, 0o644))
            return bool(new)
        try:
            return _edit(target, fd, change, path)
        finally:
            os.close(fd)


def _edit(target: Place, fd: int, change: Callable[[bytes], bytes], path: str) -> bool:
    st = os.fstat(fd)
    if not stat.S_ISREG(st.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", path)
    with naming(path), open(fd, "rb", closefd=False) as file:
        old = file.read()
    new = change(old)

    def check(_new_fd: int) -> None:
        now = os.stat(target.name, dir_fd=target.dirfd, follow_symlinks=False)
        if _version(now) != _version(st):
            raise OSError(errno.ESTALE, "changed by another program in the meantime")

    if new != old:
        write(target, new, replace=True, finish=lambda new_fd: _keep(new_fd, fd, path), check=check)
    return new != old


def _version(st: os.stat_result) -> tuple[int, ...]:
    """What differs once a file has been replaced or written to."""
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns
