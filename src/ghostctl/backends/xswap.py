# SPDX-License-Identifier: GPL-2.0-or-later
"""xswap: areas without a file, which the kernel makes by number through /sys/kernel/mm/xswap.

Every write to `create` makes one more, and nothing on it can say for which ghost: that is remembered below
/run, with the inode of the area's directory in sysfs, which no later area has.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import kernel, report, rundir, sizes, swaps
from ..errors import Busy, Error, Unsupported
from . import Options, Realisation

if TYPE_CHECKING:
    from ..ghostfile import File
    from ..rundir import Journal
    from ..swaps import Area

NEEDS_ZSWAP = True
EXTRA_SLOT_BYTES = 0

_DIRECTORY = "sys/kernel/mm/xswap"
_PREFIX = "xswap"


def unavailable(root: str = "/") -> str | None:
    """Why the running kernel makes no xswap areas; None when it can."""
    if os.path.exists(os.path.join(root, _DIRECTORY, "create")):
        return None
    return f"this kernel ({kernel.release()}) has no xswap"


def activate(file: File, options: Options) -> None:
    """Creates an area, and limits it to the declared size.

    Raises `Unsupported`, `Error` and `OSError`; then no area is left.
    """
    if reason := unavailable():
        raise Unsupported(reason)
    have = file.require_header()
    with rundir.locked("xswap") as journal:
        _recover(journal)
        before = _active()
        journal.write(map(str, before))
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
            journal.clear()


def find(areas: Sequence[Area], root: str = "/") -> Iterator[Realisation]:
    """All areas of type ``xswap`` that have no file; with their ghosts, where one is remembered."""
    for area in areas:
        number = _number(area)
        if number is None:
            continue
        record = rundir.read_record(area.name)
        if record is not None and record.instance == _instance(number, root):
            yield Realisation(area, "xswap", record.ghost, record.uuid)
        else:
            yield Realisation(area, "xswap", None, None)


def deactivate(area: Area) -> None:
    """Writes the number to `destroy`: there is no file for swapoff(2)."""
    number = _number(area)
    path = f"/{_DIRECTORY}/destroy"
    try:
        kernel.write_attribute(path, str(number))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise Busy("is in use for hibernation", path=area.name) from None
        error.filename = area.name
        raise
    rundir.remove_record(area.name)


def recover() -> None:
    """Names what may be left of a killed process."""
    if unavailable() is None:
        with rundir.locked("xswap") as journal:
            _recover(journal)


def _number(area: Area) -> int | None:
    if area.type != "xswap" or not area.name.startswith(_PREFIX):
        return None
    return sizes.natural(area.name.removeprefix(_PREFIX))


def _active() -> dict[int, Area]:
    return {number: area for area in swaps.read() if (number := _number(area)) is not None}


def _instance(number: int, root: str = "/") -> str:
    try:
        return str(os.stat(os.path.join(root, _DIRECTORY, f"type{number}")).st_ino)
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
        raise Unsupported(
            "zswap is off, and without it the kernel makes no xswap area",
            hint="--enable-zswap turns it on",
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


def _recover(journal: Journal) -> None:
    active = _active()
    before = journal.read()
    journal.clear()
    for number, area in active.items():
        record = rundir.read_record(area.name)
        known = record is not None and record.instance == _instance(number)
        if before is not None and str(number) not in before and not known:
            report.warn(
                area.name, "may be left from a killed run: nothing says so", f"if so: {_hint(number)}"
            )
