# SPDX-License-Identifier: GPL-2.0-or-later
"""xswap: areas without a file, which the kernel makes by number through /sys/kernel/mm/xswap.

Every write to `create` makes one more, and nothing on it can say for which ghost: that is remembered below
/run, with the inode of the area's directory in sysfs, which no later area has.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .. import kernel, report, rundir, sizes, swaps, syscalls
from ..areas import Active
from ..errors import Error, Refused, Unsupported
from . import NO_SYSFS, Backend, Options, has_sysfs

if TYPE_CHECKING:
    from ..ghostfile import File
    from ..swaps import Area

_DIRECTORY = "sys/kernel/mm/xswap"
_PREFIX = "xswap"


class Xswap(Backend):
    """What `Backend` says, with an area of the kernel's for each ghost."""

    def unavailable(self, root: str = "/") -> str | None:
        """Why the running kernel makes no xswap areas; None when it can."""
        if os.path.exists(os.path.join(root, _DIRECTORY, "create")):
            return None
        return kernel.without("xswap") if has_sysfs(root) else NO_SYSFS

    def activate(self, file: File, options: Options) -> None:
        """Creates an area, and limits it to the declared size.

        Raises `Refused`, `Error` and `OSError`; then no area is left.
        """
        if reason := self.unavailable():
            raise Unsupported(reason)
        have = file.require_header()
        with rundir.change("xswap") as change:
            _recover(change)
            before = _active()
            change.begin(map(str, before))
            try:
                number = _create(options.prio, before)
                try:
                    _set_limit(number, have.pages - 1, file)
                    ghost = os.readlink(f"/proc/self/fd/{file.fd}")
                    record = rundir.Record(_instance(number), have.uuid_text, ghost)
                    rundir.write_record(f"{_PREFIX}{number}", record)
                except BaseException:
                    _undo(number)
                    raise
            finally:
                change.complete()

    def recognise(self, area: Area) -> Active | None:
        """Any area of type ``xswap`` that has no file; with its ghost, where one is remembered."""
        number = _number(area)
        if number is None:
            return None
        record = rundir.read_record(area.name)
        if record is not None and record.instance == _instance(number):
            return Active(area, area.name, "xswap", record.ghost, record.uuid)
        return Active(area, area.name, "xswap")

    def made(self) -> Iterator[Area]:
        """The areas that have a directory in sysfs."""
        try:
            names = os.listdir(f"/{_DIRECTORY}")
        except FileNotFoundError:
            return
        for name in sorted(names):
            if name.startswith("type"):
                yield swaps.Area(name.replace("type", _PREFIX, 1), "xswap", 0, 0, 0)

    def deactivate(self, active: Active) -> None:
        """Writes the number to `destroy`: there is no file for swapoff(2)."""
        path, number = f"/{_DIRECTORY}/destroy", str(_number(active.area))
        report.trace(f"{number!r} > {path}")
        syscalls.apart(lambda: kernel.write_attribute(path, number), "destroy", active.area.name)
        rundir.remove_record(active.area.name)

    def recover(self) -> None:
        """Names what may be left of a killed process."""
        if self.unavailable() is None:
            with rundir.change("xswap") as change:
                _recover(change)


BACKEND = Xswap()


def _number(area: Area) -> int | None:
    if area.type != "xswap" or not area.name.startswith(_PREFIX):
        return None
    return sizes.natural(area.name.removeprefix(_PREFIX))


def _active() -> dict[int, Area]:
    return {number: area for area in swaps.read() if (number := _number(area)) is not None}


def _instance(number: int) -> str:
    try:
        return str(os.stat(f"/{_DIRECTORY}/type{number}").st_ino)
    except OSError:
        return ""


def _create(prio: int | None, before: dict[int, Area]) -> int:
    if prio is None or prio < 0:
        prio = -1
    try:
        kernel.write_attribute(f"/{_DIRECTORY}/create", str(prio))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise Refused(
            "zswap is off, and without it the kernel makes no xswap area",
            hint=report.again("on", "--enable-zswap", otherwise="ghostctl zswap set enabled=yes"),
        ) from None
    # another program may have made one at the same moment: two of the same priority are as good as each other
    new = [
        number
        for number, area in sorted(_active().items())
        if number not in before and (prio < 0 or area.prio == prio)
    ]
    if not new:
        raise Error("the kernel took the priority, but there is no new area", path=f"/{_DIRECTORY}/create")
    report.trace(f"the new area is {_PREFIX}{new[0]}")
    return new[0]


def _set_limit(number: int, usable_pages: int, file: File) -> None:
    path = f"/{_DIRECTORY}/type{number}/limit"
    kernel.write_attribute(path, str(usable_pages))
    with open(path, encoding="ascii") as limit:
        taken = int(limit.read())
    if taken < usable_pages:
        size = sizes.human(taken * sizes.page_size(), " ", "iB")
        report.warn(file.path, f"declares more than the kernel gives an xswap area, which is {size}")


def _undo(number: int) -> None:
    try:
        kernel.write_attribute(f"/{_DIRECTORY}/destroy", str(number))
    except OSError as error:
        report.warn(f"{_PREFIX}{number}", f"is left: {report.describe(error)}", _hint(number))


def _hint(number: int) -> str:
    return f"echo {number} > /{_DIRECTORY}/destroy"


def _recover(change: rundir.Change) -> None:
    active = _active()
    before = change.interrupted()
    change.complete()
    for number, area in active.items():
        record = rundir.read_record(area.name)
        known = record is not None and record.instance == _instance(number)
        if before is not None and str(number) not in before and not known:
            report.warn(
                area.name, "may be left from a killed run: nothing says so", f"{_hint(number)}  # if so"
            )
