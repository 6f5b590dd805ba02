#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a command, as root, where the kernel runs programs of other processors in QEMU's user mode.

    tools/emulated.py tools/chroot.py --no-network --arch s390x trixie -- uname -m

The kernel is told so in a user namespace (each has its binfmt_misc since Linux 6.7), which ends with the
command: nothing is left behind, whatever happens, and no other program is concerned. The command owns the
files of all users, but has no rights over the machine: it can neither swap nor make a device.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from chroot import CLONE_NEWNS, unshare

FORMATS = Path("/usr/lib/binfmt.d")
BINFMT_MISC = Path("/proc/sys/fs/binfmt_misc")
EVERYBODY = f"0 0 {2**32 - 1}"
CLONE_NEWUSER = 0x10000000  # linux/sched.h


def enter_user_namespace() -> None:
    """With all users and groups that there are, which only a process outside of it can give to it."""
    done, entered = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        status = 1
        try:
            os.close(entered)
            os.read(done, 1)
            for kind in ("uid", "gid"):
                Path(f"/proc/{parent}/{kind}_map").write_text(EVERYBODY)
            status = 0
        finally:
            os._exit(status)
    os.close(done)
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    os.close(entered)
    if os.waitpid(child, 0)[1]:
        sys.exit("emulated.py: the users of the namespace cannot be set")


def main() -> None:
    formats = sorted(FORMATS.glob("qemu-*.conf"))
    if not sys.argv[1:]:
        sys.exit("usage: tools/emulated.py COMMAND...")
    if os.geteuid():
        sys.exit("emulated.py: only root can do this")
    if not formats:
        sys.exit("emulated.py: QEMU is missing: apt-get install qemu-user-static, or qemu-user-binfmt")
    enter_user_namespace()
    mount = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT_MISC)]
    if subprocess.run(mount, check=False).returncode:
        sys.exit("emulated.py: Linux 6.7 or later is wanted")
    for path in formats:
        # with flag F, the file of the interpreter is open from now on, in any chroot
        (BINFMT_MISC / "register").write_text(path.read_text())
    # its own processes, too: only those of a namespace below this one may be entered (chroot.py)
    os.execvp("unshare", ["unshare", "--pid", "--fork", "--kill-child", "--", *sys.argv[1:]])


if __name__ == "__main__":
    main()
