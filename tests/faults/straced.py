# SPDX-License-Identifier: GPL-2.0-or-later
"""What strace(1) writes, read: calls by process and number, what was injected, what was never synced."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from faults.launcher import MARK

_CALL = re.compile(r"(\d+) +(\w+)\((.*)")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")
_FD = re.compile(r"(\d+)<(.*?)>(\(deleted\))?(?:, |\)|$)")
_RESULT = re.compile(r"\) += (-?\d+|\?)(.*)$")
_UNFINISHED = " <unfinished ...>"


class Call(NamedTuple):
    """One system call."""

    pid: int
    name: str
    number: int
    """The how-many-th of this name in its process, as strace's `when` counts."""
    text: str
    """Arguments and result as strace shows them."""
    result: int | None
    """None: it never returned."""
    begun: bool
    """Whether the program had begun."""

    @property
    def fd(self) -> tuple[int, str] | None:
        """The descriptor that is the first argument, and its file."""
        match = _FD.match(self.text)
        return (int(match[1]), match[2]) if match else None

    @property
    def injected(self) -> bool:
        return "(INJECTED)" in self.text


def parse(text: str) -> list[Call]:
    """The calls of a trace made with ``strace -f -y -o``, in the order in which they began."""
    calls: list[Call] = []
    numbers: Counter[tuple[int, str]] = Counter()
    open_calls: dict[int, int] = {}
    begun: set[int] = set()
    first: int | None = None
    for line in text.splitlines():
        if match := _RESUMED.match(line):
            at = open_calls.pop(int(match[1]), None)
            if at is not None:
                whole = calls[at].text.removesuffix(_UNFINISHED) + match[3]
                calls[at] = calls[at]._replace(text=whole, result=_result(whole))
        elif match := _CALL.match(line):
            pid, name = int(match[1]), match[2]
            first = pid if first is None else first
            numbers[pid, name] += 1
            if match[3].endswith(_UNFINISHED):
                open_calls[pid] = len(calls)
            # a child is the program's from its first call on
            is_begun = pid != first or pid in begun
            calls.append(Call(pid, name, numbers[pid, name], match[3], _result(match[3]), is_begun))
            if f'"{MARK}"' in match[3]:
                begun.add(pid)
    return calls


def _result(text: str) -> int | None:
    match = _RESULT.search(text)
    return int(match[1]) if match and match[1] != "?" else None


def zram_changes(calls: Iterable[Call]) -> tuple[set[int], set[int]]:
    """Numbers of zram devices that a run made, and that it removed."""
    made: set[int] = set()
    removed: set[int] = set()
    for call in calls:
        if call.fd is None or not call.result or call.result < 0 or call.injected:
            continue
        number = re.search(r'"(\d+)(?:\\n)?"', call.text)
        if call.name == "read" and call.fd[1].endswith("/hot_add") and number:
            made.add(int(number[1]))
            removed.discard(int(number[1]))
        elif call.name == "write" and call.fd[1].endswith("/hot_remove") and number:
            made.discard(int(number[1]))
            removed.add(int(number[1]))
    return made, removed


_CONTENT = {"write", "pwrite64", "ftruncate", "fallocate", "sendfile", "copy_file_range"}
_INODE = {"fchmod", "fchown", "fsetxattr"}
_NAMES = {"link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"}
_NEVER = "never synced"
_PLACE = re.compile(r'(?:AT_FDCWD(?:<([^>]*)>)?|\d+<([^>]*)>)?(?:, )?"([^"]*)"')


def unsynced(calls: Iterable[Call], below: tuple[str, ...]) -> list[str]:
    """What changed below these directories and was not synced with fsync(2), or got its name before that.

    After a failed fsync only writing again helps: the kernel reports such an error once, and marks the
    pages clean.
    """
    dirty: dict[tuple[int, int], tuple[str, str]] = {}
    lost: dict[str, str] = {}
    directories: dict[str, str] = {}
    found = []
    for call in calls:
        if not call.begun or call.result is None:
            continue
        failed = call.result < 0
        number, path = call.fd or (-1, "")
        key = (call.pid, number)
        if f"{path}/".startswith(below) and call.name in ("fsync", "fdatasync"):
            if not failed:
                directories.pop(path, None)
                if dirty.get(key, ("", ""))[1] == _NEVER:
                    del dirty[key]
                lost.pop(path, None)
            elif key in dirty and "EINTR" not in call.text:
                dirty[key] = (path, "its fsync failed")
        elif failed:
            continue
        elif path.startswith(below) and call.name in _CONTENT:
            dirty[key] = (path, _NEVER)
        elif path.startswith(below) and call.name in _INODE:
            dirty.setdefault(key, (path, _NEVER))
        elif call.name == "close" and key in dirty:
            path, why = dirty.pop(key)
            lost[path] = why
        elif call.name in _NAMES or (call.name == "openat" and "O_EXCL" in call.text):
            source, directory, name = _places(call)
            if not f"{directory}/".startswith(below):
                continue
            number = int(os.path.basename(source)) if source.startswith("/proc/self/fd/") else -1
            for key, (path, why) in dirty.items():
                if path == source or key == (call.pid, number):
                    found.append(f"{name}: {call.name} although {why}")
            if not name.startswith(".ghostctl-"):
                directories[directory] = f"{call.name} of {name}"
    lost.update(dirty.values())
    found += [f"{path}: {why}" for path, why in lost.items() if os.path.exists(path)]
    return found + [f"{path}: not synced after {what}" for path, what in directories.items()]


def _places(call: Call) -> tuple[str, str, str]:
    """The first path of a call that changes names, and directory and name of its last one."""
    paths = [os.path.join(match[1] or match[2] or "", match[3]) for match in _PLACE.finditer(call.text)] or [
        ""
    ]
    return paths[0], *os.path.split(paths[-1])
