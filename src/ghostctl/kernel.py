# SPDX-License-Identifier: GPL-2.0-or-later
"""What the running kernel is and has: memory, symbols, filesystems of open files."""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import NamedTuple

from . import rundir
from .errors import Error, naming
from .report import describe, trace
from .sizes import page_size

SELINUX = "/sys/fs/selinux"
KALLSYMS = "/proc/kallsyms"

CANNOT_SWAP = frozenset(
    [
        *("tmpfs", "devtmpfs", "overlay", "nfs", "nfs4", "9p", "fuse", "fuseblk", "cifs", "smb3", "ceph"),
        *("virtiofs", "proc", "sysfs", "cgroup2"),
    ]
)
"""Filesystems on which swapon(2) of a ghost fails: no swap files, or no way to read one page of them."""
ON_READ_ONLY = "is on a read-only filesystem, where nothing is swapped to"
ON_ANOTHER_FILESYSTEM = "put ghosts on ext4, xfs or btrfs"


def release() -> str:
    """Release of the running kernel, as uname(1) -r prints it."""
    return os.uname().release


def read_meminfo(path: str = "/proc/meminfo") -> dict[str, int]:
    """The lines of proc_meminfo(5), in bytes: ``read_meminfo()["MemAvailable"]``."""
    values = {}
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, rest = line.partition(":")
            number, _, unit = rest.strip().partition(" ")
            if number.isdecimal():
                values[name] = int(number) << 10 if unit == "kB" else int(number)
    return values


def read_memory(root: str = "/") -> int:
    """Memory of this machine in bytes: `MemTotal`. Raises `OSError`, and `Error` where that is missing."""
    path = os.path.join(root, "proc/meminfo")
    if total := read_meminfo(path).get("MemTotal"):
        return total
    raise Error("is not what it should be", path=path)


def read_vmstat(path: str = "/proc/vmstat") -> dict[str, int]:
    """The counters of /proc/vmstat: ``read_vmstat()["zswpout"]`` pages."""
    with open(path, encoding="ascii", errors="replace") as file:
        pairs = (line.split() for line in file)
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


class SlotMemory(NamedTuple):
    """Kernel memory that swapon(2) of an area takes at once for its slots, held against a limit."""

    size: int
    """Bytes: the most it can be where that is within the limit, the least where even that is not."""
    exceeds: bool | None
    """Whether that is more than the limit; None when it cannot be told."""
    limit: int


def slot_memory(pages: int, limit: int, path: str = KALLSYMS) -> SlotMemory:
    """What the slots of so many pages take, and whether that is more than `limit` bytes.

    A kernel that counts the uses of each slot in an array takes 3.25 bytes a slot: 52 MiB for 64 GiB, seen
    on 6.12. One that has tables, made when a cluster is first used, takes 48 bytes a cluster, which has as
    many slots as a huge page has pages: 24 MiB for 1 TiB, seen on 7.2. Which kind this is, is looked up only
    where it decides.
    """
    least, most = -(-pages // (page_size() // 8)) * 48, pages * 13 // 4
    if most <= limit:
        return SlotMemory(most, False, limit)
    if least > limit:
        return SlotMemory(least, True, limit)
    tables = has_swap_tables(path)
    if tables is None:
        return SlotMemory(most, None, limit)
    return SlotMemory(least, False, limit) if tables else SlotMemory(most, True, limit)


_GHOSTS = "nr_real_swapfiles"
_ARRAYS = frozenset(["add_swap_count_continuation", "swap_cgroup_swapon"])
_TABLES = "swap_retry_table_alloc"


@cache
def _symbols(path: str) -> frozenset[str] | None:
    """Those of the symbols above that the kernel has; None when they cannot be read.

    As root they are read once in a boot: that takes 70 ms.
    """
    instance = _instance(path) if path == KALLSYMS and os.geteuid() == 0 else None
    if instance is None:
        return _read_symbols(path)
    try:
        known, _, names = rundir.kept("symbols").partition("\n")
    except OSError as error:
        trace(describe(error), 2)
    else:
        if known == instance:
            return frozenset(names.split())
    found = _read_symbols(path)
    if found is not None:
        try:
            rundir.keep("symbols", f"{instance}\n{' '.join(sorted(found))}")
        except OSError as error:
            trace(f"the symbols are not kept: {describe(error)}")
    return found


def _instance(path: str) -> str | None:
    """What is the same for all readings of this file in one boot; None when that cannot be told."""
    try:
        st = os.stat(path)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {st.st_dev} {st.st_ino}"
    except OSError as error:
        trace(describe(error))
        return None


def _read_symbols(path: str) -> frozenset[str] | None:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        trace(f"{path}: {error.strerror}")
        return None
    trace(f"{path}: {len(data)} bytes read")
    return (
        frozenset(name for name in (_GHOSTS, _TABLES, *_ARRAYS) if f" {name}\n".encode() in data)
        if data
        else None
    )


def may_have_ghosts(path: str = KALLSYMS) -> bool | None:
    """Whether the kernel has the symbol that counts real swap files, which only ghosts need.

    False proves that the kernel takes no ghost files. True is a strong sign (the xswap interface has the
    symbol as well), None means that the symbols cannot be read.
    """
    found = _symbols(path)
    return None if found is None else _GHOSTS in found


def has_swap_tables(path: str = KALLSYMS) -> bool | None:
    """Whether the kernel makes the tables of slots when they are first used, and keeps no array of all.

    None when the symbols cannot be read, or tell nothing: they are those of neither kind, or of both.
    """
    found = _symbols(path)
    if found is None or (_TABLES in found) == bool(_ARRAYS & found):
        return None
    return _TABLES in found


def write_attribute(path: str, value: str) -> None:
    """Writes a file of sysfs, in the one write(2) that it takes. Raises `OSError`."""
    trace(f"{value!r} > {path}")
    data = value.encode()
    with naming(path):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.write(fd, data) != len(data):
                raise OSError(errno.EIO, "took only a part of what was written")
        finally:
            os.close(fd)


def without(name: str) -> str:
    """Says that the running kernel does not have something."""
    return f"this kernel ({release()}) has no {name}"


def has_driver(place: str, module: str, root: str = "/") -> bool:
    """Whether the kernel has a driver, by its `place` in sysfs, or the module to load."""
    return os.path.exists(os.path.join(root, place)) or modprobe("--dry-run", "--quiet", module)


def load_driver(place: str, module: str, *parameters: str) -> bool:
    """Loads the module of a driver that is not there; false when it still is not."""
    path = os.path.join("/", place)
    return os.path.exists(path) or (modprobe("--quiet", module, *parameters) and os.path.exists(path))


def modprobe(*arguments: str) -> bool:
    """Runs modprobe(8), as the kernel itself would; false when there is none or it fails."""
    try:
        with open("/proc/sys/kernel/modprobe", encoding="utf-8") as file:
            program = file.read().strip()
        trace(" ".join((program, *arguments)))
        # without the module subprocess, whose import takes longer than the program
        nothing = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        pid = os.posix_spawn(program, (program, *arguments), os.environ, file_actions=nothing)
    except OSError as error:
        # a kernel without modules, or a machine without the program
        trace(describe(error))
        return False
    try:
        return os.waitpid(pid, 0)[1] == 0
    except ChildProcessError:
        # SIGCHLD is ignored, and how it ended is not known
        return True


def filesystem(fd: int) -> str | None:
    """Type of the filesystem that an open file is on, as mount(8) names it, by its mount id.

    None when that cannot be told: without /proc, or in a chroot of which the mount is no part.
    """
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
            mount_id = next((line.split()[1] for line in file if line.startswith("mnt_id:")), None)
        with open("/proc/self/mountinfo", "rb") as mountinfo:
            for line in mountinfo:
                if os.fsdecode(line.split(b" ", 1)[0]) == mount_id:
                    return os.fsdecode(line.partition(b" - ")[2].split(b" ", 1)[0])
    except OSError:
        pass
    return None


def has_selinux() -> bool:
    """Whether SELinux is enabled; its filesystem is mounted then, as is_selinux_enabled(3) looks for it."""
    return os.path.exists(f"{SELINUX}/enforce")


def cannot_swap(fstype: str | None) -> str | None:
    """Why swapon(2) will fail, where the filesystem is known to refuse swap files."""
    if fstype is not None and fstype.partition(".")[0] in CANNOT_SWAP:
        return f"no kernel swaps to a file on {fstype}"
    return None
