# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a program that may neither swapon(2) nor swapoff(2): ``refuse.py PROGRAM ARGUMENT...``

By a seccomp filter, as container managers have them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

# include/uapi/linux/audit.h and the numbers of swapon and swapoff there
ARCHITECTURES = {
    "x86_64": (0xC000003E, 167, 168),
    "aarch64": (0xC00000B7, 224, 225),
    "ppc64le": (0xC0000015, 87, 115),
    "riscv64": (0xC00000F3, 224, 225),
    "s390x": (0x80000016, 87, 115),
}

# include/uapi/linux/bpf_common.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

# include/uapi/linux/seccomp.h
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

# include/uapi/linux/prctl.h
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    """`struct sock_fprog` of include/uapi/linux/filter.h."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _filter() -> list[tuple[int, int, int, int]]:
    """Instructions as (code, jump if true, jump if false, value)."""
    architecture, swapon, swapoff = ARCHITECTURES[os.uname().machine]
    return [
        (_LOAD, 0, 0, 4),  # arch of struct seccomp_data
        (_JUMP_IF_EQUAL, 0, 3, architecture),
        (_LOAD, 0, 0, 0),  # nr
        (_JUMP_IF_EQUAL, 2, 0, swapon),
        (_JUMP_IF_EQUAL, 1, 0, swapoff),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]


def main() -> None:
    instructions = _filter()
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = _Program(len(instructions), code)
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = ((_SET_NO_NEW_PRIVS, 1, 0), (_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program)))
    for option, second, third in arguments:
        if libc.prctl(option, ctypes.c_ulong(second), third, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
            raise OSError(ctypes.get_errno(), "prctl failed")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
