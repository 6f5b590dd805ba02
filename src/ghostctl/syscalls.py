# SPDX-License-Identifier: GPL-2.0-or-later
"""swapon(2), swapoff(2) and renameat2(2), which Python does not have, under their own names."""

from __future__ import annotations

import errno
import os
import stat
from functools import cache

from . import signals
from .report import trace

# include/linux/swap.h
SWAP_FLAG_PREFER = 0x8000
SWAP_FLAG_PRIO_MASK = 0x7FFF
SWAP_FLAG_DISCARD = 0x10000
SWAP_FLAG_DISCARD_ONCE = 0x20000
SWAP_FLAG_DISCARD_PAGES = 0x40000

# include/uapi/linux/limits.h
_PATH_MAX = 4096

# include/uapi/linux/fs.h
RENAME_NOREPLACE = 1

DISCARD_FLAGS = {
    "all": SWAP_FLAG_DISCARD,
    "once": SWAP_FLAG_DISCARD | SWAP_FLAG_DISCARD_ONCE,
    "pages": SWAP_FLAG_DISCARD | SWAP_FLAG_DISCARD_PAGES,
}
"""Discard policies of swapon(8) as flags of swapon(2)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes


@cache
def _libc() -> ctypes.CDLL:
    # many commands import this module and few make the calls
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.swapon.argtypes = [ctypes.c_char_p, ctypes.c_int]
    libc.swapoff.argtypes = [ctypes.c_char_p]
    for function in (libc.swapon, libc.swapoff):
        function.restype = ctypes.c_int
    # musl's libc had none for long
    if hasattr(libc, "renameat2"):
        path = ctypes.c_char_p
        libc.renameat2.argtypes = [ctypes.c_int, path, ctypes.c_int, path, ctypes.c_uint]
        libc.renameat2.restype = ctypes.c_int
    return libc


def _check(call: str, result: int, path: str) -> None:
    if result != 0:
        from ctypes import get_errno

        number = get_errno()
        raise OSError(number, f"{call} failed: {os.strerror(number)}", path)


def swapon(fd: int, path: str, flags: int = 0) -> None:
    """Starts swapping to the open file or device; `flags` from SWAP_FLAG_*.

    What was checked is what becomes active: `path`, which the kernel's log then names, is used where nobody
    but root could make it lead elsewhere, and the descriptor otherwise. Raises `OSError`.
    """
    name = _own_name(fd, path) or f"/proc/self/fd/{fd}"
    trace(f"swapon({name!r}, {flags:#x})")
    _check("swapon", _libc().swapon(os.fsencode(name), flags), path)


def _own_name(fd: int, path: str) -> str | None:
    """The path without links when it leads to the open file, by directories that only root can change."""
    try:
        name = os.path.realpath(path)
        entry = os.fstat(fd)
        if not os.path.samestat(os.lstat(name), entry) or len(os.fsencode(name)) >= _PATH_MAX:
            return None
        parent = name
        while parent != "/":
            parent = os.path.dirname(parent)
            st = os.lstat(parent)
            # in a sticky directory, others cannot rename what is root's
            others_write = st.st_mode & 0o022 and not (st.st_mode & stat.S_ISVTX and entry.st_uid == 0)
            if st.st_uid != 0 or others_write:
                return None
            entry = st
    except OSError:
        return None
    return name


def swapoff(fd: int, path: str) -> None:
    """Stops swapping to the file or device, once all its pages have come back.

    By descriptor (O_PATH will do), so that what was checked is what goes; `path` is for messages. A signal
    whose handler raises ends it, and so does one that `signals.deferred` holds back: EINTR. After others,
    such as SIGCONT, it is called again. Raises `OSError`. The call gives up the interpreter lock: other
    threads can show how far it is.
    """
    trace(f"swapoff({path!r})")
    while True:
        try:
            return _check("swapoff", _libc().swapoff(f"/proc/self/fd/{fd}".encode()), path)
        except InterruptedError:
            if signals.arrived:
                raise


def renameat2(dirfd: int, old: str, new: str, flags: int) -> None:
    """Renames within the directory `dirfd`; `flags` from RENAME_*.

    Raises `OSError`, ENOSYS also where libc has no such call.
    """
    libc = _libc()
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), new)
    _check("rename", libc.renameat2(dirfd, os.fsencode(old), dirfd, os.fsencode(new), flags), new)


def swapon_flags(prio: int | None, discard: str | None) -> int:
    """Flags for a priority of 0..32767 (None, -1: the kernel's choice) and a key of `DISCARD_FLAGS`."""
    flags = DISCARD_FLAGS[discard] if discard else 0
    if prio is not None and prio >= 0:
        flags |= SWAP_FLAG_PREFER | (prio & SWAP_FLAG_PRIO_MASK)
    return flags
