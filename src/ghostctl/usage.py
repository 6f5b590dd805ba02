# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has pages in the swap areas: processes by /proc/PID/status, as proc_pid_status(5) has it.

Of psutil only memory_full_info() knows what a process has in swap. It reads smaps, for which the kernel walks
the page tables: for 10,000 processes that takes six times as long as this command does, which takes half as
long as ps(1) (bench/usage.py). So the one file is read here, and what else a row shows (command, unit) only
for the rows that are shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from . import kernel, swaps
from .errors import NoAreaList, naming
from .report import describe, trace
from .sizes import human, natural

_FIRST_READ = 8192
"""Bytes that hold all of /proc/PID/status but for a process in hundreds of groups."""

_INITIAL_PID_NAMESPACE = "pid:[4026531836]"
"""PROC_PID_INIT_INO of linux/proc_ns.h."""


class Process(NamedTuple):
    """A process that has pages in swap areas; in bytes."""

    pid: int
    uid: int
    """Effective user."""
    swap: int
    """VmSwap: its own pages, those that it shares with a fork included, but no shared memory."""
    resident: int
    """VmRSS."""
    name: str
    """What the kernel calls it, control characters escaped as the kernel does."""


class Processes(NamedTuple):
    """The processes with pages in swap areas, the largest first."""

    found: list[Process]
    unreadable: int
    """Processes that may not be looked at."""
    hidden: bool
    """Whether there are processes that /proc does not even name: it is mounted with hidepid=."""

    @property
    def swap(self) -> int:
        """What they have together, in bytes."""
        return sum(process.swap for process in self.found)

    @property
    def warning(self) -> str | None:
        """That some may not be seen; None when all were."""
        if self.hidden:
            return f"only processes of UID {os.geteuid()} can be seen: /proc is mounted with hidepid"
        return f"{_count(self.unreadable, 'process', 'es')} cannot be read" if self.unreadable else None


class Total(NamedTuple):
    """What all areas have, held against what was found; in bytes."""

    areas: int
    """Active swap areas."""
    used: int
    """What is in use of all of them, by /proc/swaps."""
    counted: int
    """What the processes have, or the outermost cgroups."""
    swap_cache: int | None
    """Pages that are in memory again and keep their slot so far."""
    shared_segments: int | None
    """What shared memory of System V has in swap areas; of tmpfs, the kernel does not say it."""

    @property
    def other(self) -> int:
        """What belongs to none of those that were counted."""
        return max(self.used - self.counted, 0)

    @property
    def excess(self) -> int:
        """What was counted more than once, or came meanwhile."""
        return max(self.counted - self.used, 0)


def explain_processes(processes: Processes, total: Total) -> Iterator[str]:
    """Lines on what the processes do not have, or have more than once."""
    if not total.areas:
        yield "no active swap area"
    if total.other:
        yield "(other), which no process has:"
        segments = f" (System V: {human(total.shared_segments)})" if total.shared_segments else ""
        yield f"  shared memory and tmpfs{segments}"
        if total.swap_cache is None:
            yield "  swap cache: in memory again"
        elif total.swap_cache:
            yield f"  swap cache: in memory again (up to {human(total.swap_cache)})"
        yield "  processes that ended meanwhile"
        if processes.warning:
            yield "  processes that cannot be seen"
        if is_contained():
            yield "  processes outside of this container"
    if total.excess:
        yield f"the processes have {human(total.excess)} more than the areas:"
        yield "  pages that forks share are counted in each of them"


def explain_cgroups(total: Total) -> Iterator[str]:
    """Lines on what the cgroups do not have."""
    if not total.areas:
        yield "no active swap area"
    if total.other:
        yield "(other), which no cgroup has:"
        yield "  processes in the root cgroup"
        yield "  shared memory and tmpfs of cgroups that were removed"
        if is_contained():
            yield "  cgroups outside of this container"
    if total.excess:
        yield f"the cgroups have {human(total.excess)} more than the areas:"
        yield "  it came back into memory meanwhile"


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


def read_processes(root: str = "/") -> Processes:
    """The processes that have pages in swap areas. Raises `NoAreaList` without /proc."""
    path = os.path.join(root, "proc")
    try:
        with naming(path):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NoAreaList("/proc is not mounted", path=swaps.PROC_SWAPS) from None
    try:
        names = list(filter(str.isdecimal, os.listdir(fd)))
        found, unreadable = [], 0
        for name in names:
            try:
                process = parse_status(_read_status(fd, name))
            except (FileNotFoundError, ProcessLookupError):
                continue
            except (OSError, ValueError) as error:
                trace(f"{path}/{name}/status: {describe(error) if isinstance(error, OSError) else error}", 2)
                unreadable += 1
                continue
            if process is not None:
                found.append(process)
    finally:
        os.close(fd)
    found.sort(key=lambda process: (-process.swap, process.pid))
    # every pid namespace has a process 1
    return Processes(found, unreadable, "1" not in names)


def _read_status(proc: int, name: str) -> bytes:
    fd = os.open(f"{name}/status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        data = os.read(fd, _FIRST_READ)
        # comes behind what is looked for; before that are the groups, of which there may be 65536
        while b"\nThreads:" not in data:
            more = os.read(fd, 1 << 20)
            if not more:
                break
            data += more
        return data
    finally:
        os.close(fd)


def parse_status(data: bytes) -> Process | None:
    """The process of a /proc/PID/status; None without pages in swap areas, as kernel threads and zombies.

    Raises `ValueError` for what has no end or other numbers than the kernel's: that is no process without
    pages.
    """
    start = data.find(b"\nVmSwap:")
    if start < 0:
        if b"\nThreads:" not in data:
            raise ValueError("is cut off")
        return None
    end = data.find(b" kB\n", start)
    if end < 0:
        raise ValueError("is cut off")
    swap = int(data[start + 8 : end])
    if not swap:
        return None
    fields = (line.partition(b":") for line in data[:start].split(b"\n"))
    lines = {key: value for key, _, value in fields}
    try:
        return Process(
            int(lines[b"Pid"]),
            int(lines[b"Uid"].split()[1]),
            swap << 10,
            int(lines[b"VmRSS"].split()[0]) << 10,
            os.fsdecode(lines[b"Name"].removeprefix(b"\t")),
        )
    except (KeyError, IndexError):
        raise ValueError("lacks a line") from None


def read_command(process: Process, root: str = "/") -> str:
    """The command line of a process, its words with blanks between; without one its name in brackets."""
    data = _read_file(os.path.join(root, f"proc/{process.pid}/cmdline"))
    words = os.fsdecode(data.rstrip(b"\0").replace(b"\0", b" "))
    return words or f"[{process.name}]"


def read_user(process: Process) -> str:
    """The name of its user; the number where that has none."""
    return _user_name(process.uid)


@lru_cache(1024)
def _user_name(uid: int) -> str:
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def read_unit(process: Process, root: str = "/") -> str | None:
    """The systemd unit or container of a process, as `unit` finds it in its cgroups; None without one."""
    return _unit_of(_read_file(os.path.join(root, f"proc/{process.pid}/cgroup")))


@lru_cache(1024)
def _unit_of(data: bytes) -> str | None:
    # cgroups(7): hierarchy, controllers, path; the first is the one that systemd and runtimes always use
    fields = [line.split(":", 2) for line in os.fsdecode(data).split("\n")]
    paths = {field[1]: field[2] for field in fields if len(field) == 3}
    candidates = (paths.get(controllers) for controllers in ("name=systemd", "", "memory"))
    return next((found for path in candidates if path and (found := unit(path))), None)


def _read_file(path: str) -> bytes:
    # the buffered files of Python take longer than the kernel
    try:
        with naming(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return _read_all(fd)
            finally:
                os.close(fd)
    except OSError as error:
        trace(describe(error), 2)
        return b""


def _read_all(fd: int) -> bytes:
    data = b""
    while more := os.read(fd, 1 << 16):
        data += more
    return data


_UNIT = re.compile(r"[^/]+\.(?:service|scope|socket|mount|swap)")
_ID = re.compile(r"(?:(.+)-)?([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?")
"""An id of docker, podman, containerd or cri-o, as they name the cgroup with it."""
_MACHINE = re.compile(r"systemd-nspawn@.+\.service|machine-.+\.scope")


def unit(path: str) -> str | None:
    """The systemd unit or container that a cgroup belongs to, for example ``foo.service``; None for neither.

    A container is ``RUNTIME:ID`` with the 12 digits that the runtimes show, or ``lxc:NAME``; a unit within
    one is ``CONTAINER/UNIT``, and one of a user's manager the unit alone. Names are as systemd escapes them.
    """
    container = found = None
    parts = path.strip("/").split("/")
    for number, part in enumerate(parts):
        if name := _container(part, parts[:number]):
            container, found = name, None
        elif _UNIT.fullmatch(part) and not (part == "init.scope" and found):
            found = part
    return "/".join(filter(None, (container, found))) or None


def _container(part: str, above: list[str]) -> str | None:
    if match := _ID.fullmatch(part):
        # without systemd the runtime's name is that of a directory above: /docker/ID, /kubepods/POD/ID
        return f"{match[1] or (above[0] if above else 'container')}:{match[2]}"
    for prefix in ("lxc.payload.", "lxc.monitor."):
        if part.startswith(prefix):
            return f"lxc:{part.removeprefix(prefix)}"
    if above and above[-1] in ("lxc", "lxc.payload", "lxc.monitor"):
        return f"lxc:{part}"
    return part if _MACHINE.fullmatch(part) else None


def read_total(counted: int, root: str = "/") -> Total:
    """What all areas have in use, beside what was counted. Raises as `swaps.printed`."""
    proc = os.path.join(root, "proc")
    areas = swaps.printed(os.path.join(proc, "swaps"))
    try:
        cache = kernel.read_meminfo(os.path.join(proc, "meminfo")).get("SwapCached")
    except OSError as error:
        trace(describe(error))
        cache = None
    segments = _read_shared_segments(os.path.join(proc, "sysvipc/shm"))
    return Total(len(areas), sum(area.used for area in areas), counted, cache, segments)


def _read_shared_segments(path: str) -> int | None:
    # ipc/shm.c: the last column is in bytes, of the segments of this ipc namespace
    heading, *lines = _read_file(path).decode("ascii", "replace").splitlines() or [""]
    if heading.split()[-1:] != ["swap"]:
        return None
    return sum(natural(line.split()[-1]) or 0 for line in lines if line.split())


def is_contained() -> bool | None:
    """Whether this is a container that sees its own processes only; None when that cannot be told."""
    try:
        return os.readlink("/proc/self/ns/pid") != _INITIAL_PID_NAMESPACE
    except OSError as error:
        trace(describe(error))
        return None
