# SPDX-License-Identifier: GPL-2.0-or-later
"""The ghost file itself: swapon(2) on a regular file of one page, on a kernel with SWP_GHOST."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import kernel, syscalls
from ..errors import Unsupported
from . import Options, Realisation

if TYPE_CHECKING:
    from ..ghostfile import File
    from ..swaps import Area

NEEDS_ZSWAP = True
EXTRA_SLOT_BYTES = 0


def unavailable() -> str | None:
    """Why the running kernel takes no ghost files; None when it may."""
    if kernel.may_have_ghosts() is False:
        return f"this kernel ({kernel.release()}) has no ghost swap"
    return None


def activate(file: File, options: Options) -> None:
    """swapon(2) on the ghost. EINVAL of a good header is raised as `Unsupported`."""
    try:
        syscalls.swapon(file.fd, file.path, syscalls.swapon_flags(options.prio, options.discard))
    except OSError as error:
        if error.errno == errno.EROFS:
            raise Unsupported(
                "is on a read-only filesystem, where nothing is swapped to", path=file.path
            ) from None
        if error.errno != errno.EINVAL:
            raise
        raise Unsupported(f"this kernel ({kernel.release()}) has no ghost swap", path=file.path) from None


def find(areas: Sequence[Area]) -> Iterator[Realisation]:
    """Areas of type ``ghost`` that are files."""
    for area in areas:
        if area.type == "ghost" and area.name.startswith("/") and not area.name.startswith("/dev/"):
            yield Realisation(area, "file", area.path, None)


def deactivate(area: Area) -> None:
    """swapoff(2)."""
    syscalls.swapoff(area.path)


def recover() -> None:
    """swapon(2) on a file leaves nothing behind."""
