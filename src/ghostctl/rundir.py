# SPDX-License-Identifier: GPL-2.0-or-later
"""/run/ghostctl: locks between processes, and what has to be known until the next boot.

Only root can write there, so nobody else can take a lock. Without it (no /run yet, read-only, full, not
root) the work goes on without a lock: files still appear whole or not at all, but of two processes that
change the same thing at the same moment one may fail.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from . import signals
from .errors import Busy, naming
from .report import describe, trace

PATH = "/run/ghostctl"

_LOCK_TRIES = 100
_LOCK_PAUSE = 0.05
"""Seconds between two tries."""


def lock_name(st: os.stat_result) -> str:
    """Name of the lock of one file or directory, whatever path leads to it."""
    return f"{st.st_dev:x}-{st.st_ino:x}"


def _open(name: str, flags: int) -> int:
    """A file of /run/ghostctl, which is made when it is missing. Raises `OSError`."""
    with suppress(FileExistsError):
        os.mkdir(PATH, 0o700)
    directory = os.open(PATH, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        st = os.fstat(directory)
        if st.st_uid != os.geteuid() or stat.S_IMODE(st.st_mode) & 0o022:
            raise PermissionError(errno.EACCES, "can be written by others", PATH)
        with naming(os.path.join(PATH, name)):
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    finally:
        os.close(directory)


@contextmanager
def _locked(name: str, what: str) -> Iterator[int | None]:
    try:
        if os.geteuid() != 0:
            raise PermissionError(errno.EACCES, "only root has locks", PATH)
        fd = _open(f"{name}.lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        trace(f"{what}: no lock: {describe(error)}")
        yield None
        return
    try:
        _wait(fd, what)
        yield fd
    finally:
        os.close(fd)


def _wait(fd: int, what: str) -> None:
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        except OSError as error:
            trace(f"{what}: no lock: {error.strerror}")
            return
        else:
            return
    raise Busy("another process of ghostctl is at work on it", path=what)


@contextmanager
def locked(name: str, what: str) -> Iterator[None]:
    """Keeps other processes of root's away from `what`, by the lock `name`. Raises `Busy` if it is taken."""
    while True:
        with _locked(name, what) as fd:
            if fd is not None and not os.fstat(fd).st_nlink:
                # whoever had the lock has removed its file, and the next one has another
                continue
            try:
                yield
            finally:
                if fd is not None:
                    with suppress(OSError):
                        os.unlink(os.path.join(PATH, f"{name}.lock"))
            return


class Change:
    """Something that the kernel is asked to make, when it does not say which name it gave it.

    The names that exist before it are noted in a file, and the note is removed once what was made can be
    told from the rest. A note that is found later means a process that was killed in between.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def _read(self) -> list[str]:
        """The lines of the note; a line end tells a whole one from one that a kill cut off."""
        if self._fd is None:
            return []
        with naming(PATH):
            note = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        return note.decode("ascii", "replace").split("\n")[:-1]

    def interrupted(self) -> list[str] | None:
        """The names that existed before a change that was never completed; None when there was none."""
        lines = self._read()
        return lines[0].split() if lines else None

    def made_by(self) -> str | None:
        """The name that such a change had made already; None when it did not come to `made`."""
        lines = self._read()
        return lines[1] if len(lines) > 1 else None

    def begin(self, existing: Iterable[str]) -> None:
        """Notes the names that exist."""
        if self._fd is None:
            return
        note = f"{' '.join(existing)}\n".encode("ascii")
        try:
            os.ftruncate(self._fd, 0)
            if os.pwrite(self._fd, note, 0) != len(note):
                os.ftruncate(self._fd, 0)
        except OSError as error:
            trace(f"{PATH}: no note of what is there: {describe(error)}")

    def made(self, name: str) -> None:
        """Notes what has been made, until that can be told from the rest by itself."""
        if self._fd is None:
            return
        try:
            os.pwrite(self._fd, f"{name}\n".encode("ascii"), os.fstat(self._fd).st_size)
        except OSError as error:
            trace(f"{PATH}: no note of what was made: {describe(error)}")

    def complete(self) -> None:
        """Removes the note. One that stays costs a later run a warning, and nothing else."""
        if self._fd is None:
            return
        try:
            os.ftruncate(self._fd, 0)
        except OSError as error:
            trace(f"{PATH}: {error.strerror}")


@contextmanager
def change(name: str) -> Iterator[Change]:
    """Keeps other processes, and signals, away from what `name` stands for. Raises `Busy`."""
    with _locked(name, name) as fd, signals.deferred():
        yield Change(fd)


def keep(name: str, text: str) -> None:
    """Keeps a text until the next boot, whole or not at all. Raises `OSError`."""
    fd = _open(f"{name}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    path = os.path.join(PATH, name)
    data = os.fsencode(text)
    try:
        with naming(path):
            if os.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.rename(f"{path}.new", path)
    finally:
        os.close(fd)


def kept(name: str) -> str:
    """A text that `keep` has kept. Raises `OSError`, also where others could have written it."""
    fd = _open(name, os.O_RDONLY)
    with open(fd, "rb") as file:
        return os.fsdecode(file.read())


class Record(NamedTuple):
    """Which ghost an area was made for, where nothing on the area itself can say it."""

    instance: str
    """What tells this area from a later one of the same name: with another one the record is stale."""
    uuid: str | None
    ghost: str


def write_record(name: str, record: Record) -> None:
    """Remembers it for the area `name`, whole or not at all. Raises `OSError`."""
    keep(name, f"{record.instance}\n{record.uuid or ''}\n{record.ghost}")


def read_record(name: str) -> Record | None:
    """What is remembered for an area; None when nothing is. Raises `OSError` when it cannot be read."""
    try:
        with open(os.path.join(PATH, name), "rb") as file:
            instance, uuid, ghost = os.fsdecode(file.read()).split("\n", 2)
    except (FileNotFoundError, ValueError):
        return None
    return Record(instance, uuid or None, ghost)


def remove_record(name: str) -> None:
    """Forgets an area. What stays does no harm: `Record.instance` and `recover` tell that it is stale."""
    try:
        os.unlink(os.path.join(PATH, name))
    except OSError as error:
        trace(describe(error))
