# SPDX-License-Identifier: GPL-2.0-or-later
"""The ghostswap device: one area of the kernel's own size, swapped on by a character device."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from .. import kernel, report, rundir, sizes, swaps, syscalls
from ..areas import Active
from ..errors import Busy, Error, Unsupported
from . import NO_SYSFS, Backend, Options, has_sysfs, take_down

if TYPE_CHECKING:
    from ..ghostfile import File
    from ..swaps import Area

_NUMBER = (1, 13)
_RECORD = "ghostswap"


class Ghostswap(Backend):
    """What `Backend` says, with the one device; the ghost that it is active for is remembered below /run."""

    def unavailable(self, root: str = "/") -> str | None:
        """Why the running kernel has no such device; None when it has."""
        if _path(root):
            return None
        return kernel.without("ghostswap device") if has_sysfs(root) else NO_SYSFS

    def activate(self, file: File, options: Options) -> None:
        """swapon(2) on the device. Raises `Unsupported`, `Busy`, `Error` and `OSError`."""
        path = _path()
        if path is None:
            raise Unsupported(self.unavailable() or "")
        have = file.require_header()
        with rundir.change(_RECORD):
            # O_PATH: the device is not opened before it is known to be the one
            fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if not _is_device(os.fstat(fd)):
                    raise Error(f"is not the character device {_NUMBER[0]}:{_NUMBER[1]}", path=path)
                syscalls.swapon(fd, path, syscalls.swapon_flags(options.prio, options.discard))
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                raise Busy(
                    f"{path} is active already, and there is one only",
                    path=file.path,
                    hint=f"ghostctl off {report.quote(path)}",
                ) from None
            finally:
                os.close(fd)
            try:
                ghost = os.readlink(f"/proc/self/fd/{file.fd}")
                rundir.write_record(_RECORD, rundir.Record("", have.uuid_text, ghost))
            except BaseException:
                take_down(path)
                raise
        size = next((area.size for area in swaps.read() if self.recognise(area)), None)
        if size is not None:
            report.warn(
                file.path,
                f"active as {path} with the kernel's own size, {sizes.human(size, ' ', 'iB')}: "
                f"the declared {sizes.human(have.size, ' ', 'iB')} are not used",
            )

    def recognise(self, area: Area) -> Active | None:
        """The area on the device, with the ghost that is remembered."""
        if not area.is_ghost or not area.name.startswith("/"):
            return None
        try:
            if not _is_device(os.stat(area.name)):
                return None
        except FileNotFoundError:
            return None
        record = rundir.read_record(_RECORD)
        return Active(area, area.name, "ghostswap", record and record.ghost, record and record.uuid)

    def deactivate(self, active: Active) -> None:
        """swapoff(2), and the ghost is forgotten."""
        take_down(active.area.name)
        rundir.remove_record(_RECORD)

    def recover(self) -> None:
        """Forgets the ghost of an area that somebody else took down."""
        if rundir.read_record(_RECORD) is not None and not any(map(self.recognise, swaps.read())):
            rundir.remove_record(_RECORD)


BACKEND = Ghostswap()


def _is_device(st: os.stat_result) -> bool:
    return stat.S_ISCHR(st.st_mode) and st.st_rdev == os.makedev(*_NUMBER)


def _path(root: str = "/") -> str | None:
    """The device's node, by the kernel's name for it: /dev/ghostswap or /dev/xswap."""
    path = os.path.join(root, "sys/dev/char/{}:{}/uevent".format(*_NUMBER))
    try:
        with open(path, encoding="ascii") as file:
            return next((f"/dev/{line[8:].strip()}" for line in file if line.startswith("DEVNAME=")), None)
    except OSError:
        return None
