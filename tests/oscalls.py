# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls of the code under test: which are made, on what and in which order, and what if one fails."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def record(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[tuple[str, int]]:
    """The list gets the name of each call of these functions of `os`, which still do their work.

    With it comes the inode of the file whose descriptor is the first argument, 0 where that is none.
    """
    calls: list[tuple[str, int]] = []

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            result = real(*args, **keywords)
            calls.append((name, os.fstat(args[0]).st_ino if isinstance(args[0], int) else 0))
            return result

        return call

    for name in names:
        monkeypatch.setattr(os, name, wrap(name, getattr(os, name)))
    return calls


def fail(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
    *,
    when: Callable[..., bool] = lambda *_args, **_keywords: True,
    times: int = 1 << 30,
) -> None:
    """Has a function of `os` fail with the errno `number`: the first `times` for which `when` is true."""
    real = getattr(os, name)
    left = times

    def call(*args: Any, **keywords: Any) -> Any:
        nonlocal left
        if left and when(*args, **keywords):
            left -= 1
            raise OSError(number, os.strerror(number))
        return real(*args, **keywords)

    monkeypatch.setattr(os, name, call)


def without_tmpfile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that has no O_TMPFILE."""
    fail(monkeypatch, "open", errno.EOPNOTSUPP, when=lambda _path, flags, *_a, **_k: has_tmpfile(flags))


def has_tmpfile(flags: int) -> bool:
    """True for the flags of an open(2) with O_TMPFILE."""
    return flags & os.O_TMPFILE == os.O_TMPFILE


def without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system on which /proc is not mounted, as far as descriptors are looked up in it."""
    exists = os.path.exists
    monkeypatch.setattr(
        os.path, "exists", lambda path: not str(path).startswith("/proc/self/fd/") and exists(path)
    )
    fail(
        monkeypatch, "open", errno.ENOENT, when=lambda path, *_a, **_k: str(path).startswith("/proc/self/fd/")
    )


@contextmanager
def raises(
    number: int, path: str | os.PathLike[str], text: str = "", *, whole: bool = False
) -> Iterator[None]:
    """The block has to raise an `OSError` with this errno, about this file alone, that says `text`.

    With `whole` it says nothing else.
    """
    with pytest.raises(OSError, match=re.escape(text) or None) as caught:
        yield
    error = caught.value
    assert (error.errno, error.filename, error.filename2) == (number, os.fspath(path), None)
    assert not whole or error.strerror == text


def open_descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/proc/self/fd"))
