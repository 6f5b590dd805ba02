# SPDX-License-Identifier: GPL-2.0-or-later
"""swapon(2), swapoff(2) and renameat2(2), which Python does not have, under their own names."""

from __future__ import annotations

import errno
import os
import signal
import stat
from functools import cache, partial

from . import report, signals
from .errors import Error, NoMemory
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

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1

_INTERVAL = 0.1
"""Seconds after which a signal that `signals.deferred` holds back is noticed, at most."""

DISCARD_FLAGS = {
    "all": SWAP_FLAG_DISCARD,
    "once": SWAP_FLAG_DISCARD | SWAP_FLAG_DISCARD_ONCE,
    "pages": SWAP_FLAG_DISCARD | SWAP_FLAG_DISCARD_PAGES,
}
"""Discard policies of swapon(8) as flags of swapon(2)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Iterable
    from typing import NoReturn


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
    such as SIGCONT, it is called again. Raises `OSError`.
    """
    trace(f"swapoff({path!r})")
    _swapoff(fd, path)


def _swapoff(fd: int, path: str) -> None:
    while True:
        try:
            return _check("swapoff", _libc().swapoff(f"/proc/self/fd/{fd}".encode()), path)
        except InterruptedError:
            if signals.arrived:
                raise


def swapoff_apart(fd: int, path: str) -> None:
    """`swapoff` by a process of its own: see `apart`. Raises `OSError`, `Error`, `NoMemory`."""
    trace(f"swapoff({path!r})")
    apart(lambda: _swapoff(fd, path), "swapoff", path)


def apart(call: Callable[[], object], name: str, path: str) -> None:
    """Makes a call that brings pages back, in a child process.

    When memory runs out, the kernel kills the process that brings pages back before any other, whatever its
    oom_score_adj (oom_task_origin() in mm/oom_kill.c). So that is a child. A signal that ends this process,
    or whose handler raises, ends the child as well; with one that `signals.deferred` holds back it is EINTR.
    The call must print nothing: another thread may be printing. Where no process can be made, this one makes
    the call.

    Raises `NoMemory` when the child was killed and for ENOMEM, `OSError` with any other errno that the call
    had, and `Error` when the child ended otherwise; `name` of the call and `path` are for these.
    """
    # how it ended could not be known
    if signals.is_ignored(signal.SIGCHLD):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # another thread may take a signal that this one blocks
    came = len(signals.arrived)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*signals.ENDING, signal.SIGCHLD))
    try:
        pid = _fork(call, mask)
        number = None if pid is None else _result(pid, mask, path, came)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if number is None:
        number = _errno_of(call)
    if number == errno.ENOMEM:
        raise NoMemory(f"{name} failed: {os.strerror(number)}", path=path)
    if number:
        raise OSError(number, f"{name} failed: {os.strerror(number)}", path)


def _errno_of(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _fork(call: Callable[[], object], mask: Iterable[int]) -> int | None:
    """Number of a child that makes the call, with this mask of signals; None when there can be none.

    What another thread has locked stays locked in the child: it imports and prints nothing.
    """
    from ctypes import c_ulong

    prctl, parent = partial(_libc().prctl, _PR_SET_PDEATHSIG, c_ulong(signal.SIGKILL)), os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        trace(f"fork: {error.strerror}")
        return None
    if pid == 0:
        _be_child(call, mask, prctl, parent)
    return pid


def _be_child(
    call: Callable[[], object], mask: Iterable[int], prctl: Callable[[], object], parent: int
) -> NoReturn:
    status = errno.EIO
    try:
        report.verbosity = 0
        signals.arrived.clear()
        for number in signals.ENDING:
            if not signals.is_ignored(number):
                signal.signal(number, signal.SIG_DFL)
        prctl()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # it may have died before prctl(2)
        if os.getppid() == parent:
            status = _errno_of(call)
    finally:
        os._exit(status)


def _result(pid: int, mask: Iterable[int], path: str, came: int) -> int:
    """0 or the errno with which the child ended; SIGCHLD and what ends this process are blocked.

    It is given up when more than `came` signals have arrived.
    """
    ended = status = 0
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, (*mask, signal.SIGCHLD))
        while not ended and len(signals.arrived) == came:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                signal.sigtimedwait([signal.SIGCHLD], _INTERVAL)
    finally:
        if not ended:
            # a second signal must not leave it behind
            signal.pthread_sigmask(signal.SIG_BLOCK, signals.ENDING)
            status = _kill(pid)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    if len(signals.arrived) > came:
        return errno.EINTR
    if -code in signals.ENDING:
        # one that was sent to the child alone
        os.kill(os.getpid(), -code)
        return errno.EINTR
    if -code == signal.SIGKILL:
        raise NoMemory("killed while pages came back, as the kernel does when memory runs out", path=path)
    raise Error(f"the process that brings pages back was ended by signal {-code}", path=path)


def _kill(pid: int) -> int:
    """Ends the child; returns its wait status, 0 when that has been fetched before."""
    try:
        os.kill(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]
    except (ProcessLookupError, ChildProcessError):
        return 0


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
