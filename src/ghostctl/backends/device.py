# SPDX-License-Identifier: GPL-2.0-or-later
"""What the backends with a block device of its own for each ghost have in common: how it goes away."""

from __future__ import annotations

import errno
import os
import stat
import time

from .. import report, rundir, swaps
from ..areas import Active
from ..errors import Busy, Error
from . import Backend, has_sysfs, take_down

_REMOVE_TRIES = 100
_REMOVE_PAUSE = 0.05
"""Seconds between two tries to remove a device that another program, such as udev, is just looking at."""


def open_node(path: str, number: int) -> int:
    """Opens the node of a block device. Raises `OSError`, and `Error` when it is another one's."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    st = os.fstat(fd)
    if not stat.S_ISBLK(st.st_mode) or st.st_rdev != number:
        os.close(fd)
        raise Error(f"is not the block device {os.major(number)}:{os.minor(number)}", path=path)
    return fd


class Device(Backend):
    """What `Backend` says, with a device that the kernel numbers: /dev/PREFIXn.

    What is done to devices is done behind `lock`. A device that says that it was made for a ghost, and is no
    active area, was left by a process that was killed, or by somebody else's swapoff(8).
    """

    prefix: str
    lock: str

    def is_made(self, number: int) -> bool:
        """Whether the device says that it was made for a ghost. Raises `OSError`."""
        raise NotImplementedError

    def drop(self, number: int) -> None:
        """Asks the kernel to remove the device. Raises `OSError`: EBUSY while it is open; and `Error`."""
        raise NotImplementedError

    def hint(self, number: int) -> str:
        """The command that does the same."""
        raise NotImplementedError

    def path(self, number: int) -> str:
        """Its node."""
        return f"/dev/{self.prefix}{number}"

    def numbers(self) -> list[int]:
        """Those of all devices of this kind, whoever made them."""
        try:
            names = os.listdir("/sys/block" if has_sysfs() else "/dev")
        except FileNotFoundError:
            return []
        found = (swaps.numbered(name, self.prefix) for name in names)
        return sorted(number for number in found if number is not None)

    def active(self) -> set[int | None]:
        """Those of them that are active areas."""
        return {swaps.device_number(area, self.prefix) for area in swaps.read()}

    def remove(self, number: int) -> None:
        """Removes a device, as soon as nobody has it open. Raises `Busy`, `Error` and `OSError`."""
        for left in reversed(range(_REMOVE_TRIES)):
            try:
                return self.drop(number)
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ENXIO):
                    return None
                if error.errno != errno.EBUSY:
                    raise
                if not left:
                    raise Busy(
                        "another process has it open", path=self.path(number), hint=self.hint(number)
                    ) from None
            time.sleep(_REMOVE_PAUSE)
        return None

    def undo(self, number: int) -> None:
        """Removes a device, or warns that it is left."""
        try:
            self.remove(number)
        except (OSError, Error) as error:
            report.warn(self.path(number), f"is left: {report.describe(error)}", self.hint(number))

    def deactivate(self, active: Active) -> None:
        """swapoff(2), and away with the device."""
        number = swaps.device_number(active.area, self.prefix)
        assert number is not None
        path = self.path(number)
        is_down = False
        try:
            take_down(path)
            is_down = True
        finally:
            # also after a signal during swapoff; looked at first, since another process may have removed the
            # device and made one with its number
            try:
                with rundir.change(self.lock):
                    if number not in self.active() and self.is_made(number):
                        self.remove(number)
            except (OSError, Error) as error:
                if is_down:
                    why = error.what if isinstance(error, Error) else report.describe(error)
                    gone = f"; {active.ghost} is off" if active.ghost else ""
                    raise Error(
                        f"is not swap any more, but still there: {why}{gone}",
                        path=path,
                        hint=self.hint(number),
                    ) from None
                report.trace(str(error))

    def recover(self) -> None:
        """Removes the devices that a killed process left behind, and names what only may be one of them."""
        with rundir.change(self.lock) as change:
            self.clear(change)

    def clear(self, _change: rundir.Change) -> None:
        """The same, behind the lock."""
        active = self.active()
        for number in self.numbers():
            try:
                if number in active or not self.is_made(number):
                    continue
            except OSError as error:
                # somebody else's, such as one that is just being removed
                report.trace(report.describe(error))
                continue
            try:
                self.remove(number)
            except (OSError, Error) as error:
                report.warn(self.path(number), f"is left: {report.describe(error)}", self.hint(number))
            else:
                report.warn(self.path(number), "removed: it was left from an area that is gone")
