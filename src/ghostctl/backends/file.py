# SPDX-License-Identifier: GPL-2.0-or-later
"""The ghost file itself: swapon(2) on a regular file of one page, on a kernel with SWP_GHOST."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

from .. import kernel, swaps, syscalls
from ..areas import Active
from ..errors import Error, Refused, Unsupported
from . import Backend, Options

if TYPE_CHECKING:
    from ..ghostfile import File
    from ..swaps import Area


class GhostFile(Backend):
    """What `Backend` says, with the file itself: nothing is set up, and nothing can be left behind."""

    def unavailable(self) -> str | None:
        """Why the running kernel takes no ghost files; None when it may, as an active one proves."""
        with suppress(OSError, Error):
            if any(map(self.recognise, swaps.read())):
                return None
        if kernel.may_have_ghosts() is False:
            return kernel.without("ghost swap")
        return None

    def activate(self, file: File, options: Options) -> None:
        """swapon(2) on the ghost. EINVAL of a good header is raised as `Unsupported`."""
        try:
            syscalls.swapon(file.fd, file.path, syscalls.swapon_flags(options.prio, options.discard))
        except OSError as error:
            if error.errno == errno.EROFS:
                raise Refused(kernel.ON_READ_ONLY, path=file.path) from None
            if error.errno != errno.EINVAL:
                raise
            raise Unsupported(kernel.without("ghost swap"), path=file.path) from None

    def recognise(self, area: Area) -> Active | None:
        """Areas without storage that are files, whatever the kernel's word for them is."""
        if area.is_ghost and area.name.startswith("/") and not area.name.startswith("/dev/"):
            return Active(area, area.name, "file", area.name)
        return None


BACKEND = GhostFile()
