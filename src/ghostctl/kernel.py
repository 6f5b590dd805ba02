# SPDX-License-Identifier: GPL-2.0-or-later
"""What the running kernel is and has: memory, symbols, filesystems of open files."""

from __future__ import annotations

import errno
import os

from .errors import naming
from .report import trace

SELINUX = "/sys/fs/selinux"

CANNOT_SWAP = frozenset(
    [
        *("tmpfs", "devtmpfs", "overlay", "nfs", "nfs4", "9p", "fuse", "fuseblk", "cifs", "smb3", "ceph"),
        *("virtiofs", "proc", "sysfs", "cgroup2"),
    ]
)
"""Filesystems on which swapon(2) of a ghost fails: no swap files, or no way to read one page of them."""


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


def read_vmstat(path: str = "/proc/vmstat") -> dict[str, int]:
    """The counters of /proc/vmstat: ``read_vmstat()["zswpout"]`` pages."""
    with open(path, encoding="ascii", errors="replace") as file:
        pairs = (line.split() for line in file)
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def slot_memory(pages: int) -> int:
    """Bytes of kernel memory that swapon(2) of an area with so many pages takes at once.

    Seen on 6.12: 52 MiB for 64 GiB, that is 3.25 bytes a slot. Newer kernels allocate less up front.
    """
    return pages * 13 // 4


def may_have_ghosts(path: str = "/proc/kallsyms") -> bool | None:
    """Whether the kernel has the symbol that counts real swap files, which only ghosts need.

    False proves that the kernel takes no ghost files. True is a strong sign (the xswap interface has the
    symbol as well), None means that the symbols cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    return b" nr_real_swapfiles" in data if data else None


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


def cannot_swap(fstype: str | None) -> bool:
    """True for a filesystem that is known to refuse swap files."""
    return fstype is not None and fstype.partition(".")[0] in CANNOT_SWAP
