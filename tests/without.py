# SPDX-License-Identifier: GPL-2.0-or-later
"""What a system may lack, as a `prefix` for `machine.ghostctl`: the program runs without that thing."""

from __future__ import annotations

import sys
from pathlib import Path

from machine import AS_NOBODY

_WITHOUT_DIRECTORY = """
mount -t tmpfs none /mnt || exit 99
for path in /*; do
    case $path in "$0" | /mnt) continue ;; esac
    if [ -L "$path" ]; then cp -P "$path" /mnt
    elif [ -d "$path" ]; then mkdir "/mnt$path" && mount --rbind "$path" "/mnt$path"
    fi || exit 99
done
exec chroot /mnt "$@"
"""
"""In a root directory that has everything but one directory."""


def _in_namespace(*commands: str) -> tuple[str, ...]:
    """In mounts of its own, after these commands of a shell."""
    return ("unshare", "--mount", "sh", "-c", " && ".join((*commands, 'exec "$@"')), "sh")


def _tmpfs(path: str, options: str) -> str:
    return f"mount -t tmpfs -o {options} none {path}"


PREFIXES: dict[str, tuple[str, ...]] = {
    "proc": _in_namespace("umount -l /proc"),
    "whole-proc": _in_namespace("umount -l /proc", "mount -t proc -o subset=pid none /proc"),
    "sys": _in_namespace("umount -l /sys"),
    "proc-and-sys": _in_namespace("umount -l /sys", "umount -l /proc"),
    "run": ("unshare", "--mount", "sh", "-c", _WITHOUT_DIRECTORY, "/run"),
    "writable-run": _in_namespace(_tmpfs("/run", "ro")),
    "room-in-run": _in_namespace(
        _tmpfs("/run", "size=64k"), "mkdir -m 700 /run/ghostctl", "! cat /dev/zero >/run/full 2>/run/null"
    ),
    "inodes-in-run": _in_namespace(_tmpfs("/run", "nr_inodes=1")),
    "udev": _in_namespace(
        "for path in /run/udev /dev/disk; do [ ! -d $path ] || mount -t tmpfs -o ro none $path || exit; done"
    ),
    "swapon": (sys.executable, "-IS", str(Path(__file__).with_name("refuse.py"))),
    "capability": ("unshare", "--user", "--map-root-user"),
    "root": AS_NOBODY,
}
"""By what is missing: whole-proc, /proc has only processes (subset=pid); swapon, a seccomp filter refuses it,
and swapoff; capability, root is that of a user namespace."""
