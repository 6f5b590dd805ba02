# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong, with the exit status and the hint that go with it.

An `OSError` has its errno and filename (`naming`) and needs no class here; these are for the cases in which
errno is not the truth.
"""

from __future__ import annotations

import errno

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
PERMISSION = 4
UNSUPPORTED = 5
BUSY = 6
NO_MEMORY = 7
ALL_FAILED = 32
SOME_FAILED = 64


class Error(Exception):
    """Something the user has to know: `path`: `what`, and perhaps a `hint` on what to do."""

    status = FAILED

    def __init__(self, what: str, *, path: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.path = path
        self.hint = hint

    def __str__(self) -> str:
        return self.what if self.path is None else f"{self.path}: {self.what}"


class UsageError(Error):
    """The command line asks for something that cannot be asked for."""

    status = USAGE


class SizeError(UsageError):
    """A size that cannot be read or cannot be a swap area."""


class NotFound(Error):
    """No such area: the name, label or UUID leads nowhere, or nothing is active there."""

    status = NOT_FOUND


class NotAGhost(Error):
    """A file that is not a ghost where a ghost is needed."""

    status = NOT_FOUND


class Denied(Error):
    """The user may not do this."""

    status = PERMISSION


class Refused(Error):
    """A backend that cannot activate a ghost as things are; another one may."""


class Unsupported(Refused):
    """The running kernel does not offer what was asked for."""

    status = UNSUPPORTED


class Busy(Error):
    """An area that is active, or otherwise in use."""

    status = BUSY


class NoMemory(Error):
    """Memory that is not there: for the slots of an area, or for the pages that would come back."""

    status = NO_MEMORY


class NoAreaList(Error):
    """/proc/swaps is not there: which areas are active cannot be known."""


class naming:  # noqa: N801
    """``with naming(path):`` gives every `OSError` of the block the name of its object.

    For system calls that know a number only. A class, for contextlib would cost the generator its time.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            error.filename, error.filename2 = self.path, None


_ERRNO_STATUS = {
    errno.ENOENT: NOT_FOUND,
    errno.ENOTDIR: NOT_FOUND,
    errno.EPERM: PERMISSION,
    errno.EACCES: PERMISSION,
    errno.ENOSYS: UNSUPPORTED,
    errno.EOPNOTSUPP: UNSUPPORTED,
    errno.EBUSY: BUSY,
    errno.ETXTBSY: BUSY,
    errno.ENOMEM: NO_MEMORY,
}


def exit_status(error: Exception) -> int:
    """Exit status, as in section EXIT STATUS of ghostctl(8), of an `Error` or `OSError`."""
    if isinstance(error, Error):
        return error.status
    if isinstance(error, OSError) and error.errno is not None:
        return _ERRNO_STATUS.get(error.errno, FAILED)
    return FAILED
