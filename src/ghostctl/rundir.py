# SPDX-License-Identifier: GPL-2.0-or-later
"""/run/ghostctl: locks between processes, and what has to be known until the next boot."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from .atomic import lock

PATH = "/run/ghostctl"


class Journal:
    """What was there before a change of the kernel that gives no name to what it will make.

    Written before that change, cleared once what it made is known: words in it mean a process that was
    killed in between.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self) -> list[str] | None:
        """The words of an interrupted change; None when there was none."""
        data = os.pread(self._fd, 1 << 16, 0).decode("ascii", "replace")
        # the line end is what tells a whole entry from one that a kill cut off, before anything was changed
        return data.split() if data.endswith("\n") else None

    def write(self, words: Iterable[str]) -> None:
        """Notes what is there."""
        self.clear()
        os.pwrite(self._fd, f"{' '.join(words)}\n".encode("ascii"), 0)

    def clear(self) -> None:
        """Says that the change is complete."""
        os.ftruncate(self._fd, 0)


@contextmanager
def locked(name: str) -> Iterator[Journal]:
    """Keeps other processes, and signals, away from what `name` stands for; yields its journal.

    Raises `Busy` when the lock stays taken, and `OSError`.
    """
    os.makedirs(PATH, mode=0o700, exist_ok=True)
    path = os.path.join(PATH, f"{name}.lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        lock(fd, path)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            yield Journal(fd)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    finally:
        os.close(fd)


class Record(NamedTuple):
    """Which ghost an area realises, where nothing on the area itself can say it."""

    instance: str
    """What tells this area from a later one of the same name: with another one the record is stale."""
    uuid: str | None
    ghost: str


def write_record(name: str, record: Record) -> None:
    """Remembers it for the area `name`, whole or not at all. Raises `OSError`."""
    path = os.path.join(PATH, name)
    with open(f"{path}.new", "wb", opener=_private) as file:
        file.write(os.fsencode(f"{record.instance}\n{record.uuid or ''}\n{record.ghost}"))
    os.rename(f"{path}.new", path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def read_record(name: str) -> Record | None:
    """What is remembered for an area; None when nothing is, or for a user who may not read it."""
    try:
        with open(os.path.join(PATH, name), "rb") as file:
            instance, uuid, ghost = os.fsdecode(file.read()).split("\n", 2)
    except (OSError, ValueError):
        return None
    return Record(instance, uuid or None, ghost)


def remove_record(name: str) -> None:
    """Forgets an area."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(PATH, name))
