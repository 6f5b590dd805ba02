# SPDX-License-Identifier: GPL-2.0-or-later
"""zram in place of a ghost: a compressed device in memory (Documentation/admin-guide/blockdev/zram.rst).

What is on the device says everything: a swap header with size, label and UUID of the ghost, and behind the
tag the ghost's path. So nothing is lost with /run, and a device without that is somebody else's.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import kernel, report, rundir, sizes, swaps, syscalls
from ..errors import Busy, Error, NoMemory, Unsupported
from . import Options, Realisation

if TYPE_CHECKING:
    from ..ghostfile import File
    from ..header import Header
    from ..rundir import Journal
    from ..swaps import Area

NEEDS_ZSWAP = False
EXTRA_SLOT_BYTES = 16
"""`struct zram_table_entry` of drivers/block/zram/zram_drv.h: two words for each page, at once."""

_CONTROL = "sys/class/zram-control"
_REMOVE_TRIES = 100
_REMOVE_PAUSE = 0.05
"""Seconds between two tries to remove a device that another program, such as udev, is just looking at."""


def unavailable(root: str = "/") -> str | None:
    """Why the running kernel has no zram; None when it has, or has the module to load."""
    if os.path.exists(os.path.join(root, _CONTROL, "hot_add")):
        return None
    try:
        with open(os.path.join(root, "lib/modules", kernel.release(), "modules.dep"), "rb") as file:
            if b"/zram.ko" in file.read():
                return None
    except OSError:
        pass
    return f"this kernel ({kernel.release()}) has no zram"


def activate(file: File, options: Options) -> None:
    """Adds a zram device with the declared size, writes a header to it, and swaps it on.

    Raises `Unsupported`, `Error`, `NoMemory` and `OSError`; then the device is gone again.
    """
    from .. import header

    have = file.require_header()
    path = os.readlink(f"/proc/self/fd/{file.fd}")
    device_header = header.stand_in(have, path)
    if have.uuid == header.NIL_UUID and not device_header.stands_in_for:
        raise Error(
            "has no UUID, and a path too long to know its device by",
            path=file.path,
            hint=f"ghostctl label -U random {report.quote(file.path)}",
        )
    _require()
    with rundir.locked("zram") as journal:
        _recover(journal)
        journal.write(map(str, _numbers()))
        number = _hot_add()
        try:
            _set_up(number, device_header, file, options, journal)
        except BaseException:
            _undo(number)
            raise
        finally:
            journal.clear()


def find(areas: Sequence[Area]) -> Iterator[Realisation]:
    """Areas on zram devices whose header says that they stand in for a ghost."""
    for area in areas:
        number = _number_of(area)
        found = None if number is None else _read(f"/dev/zram{number}")
        if found is not None:
            have, path = found
            yield Realisation(area, "zram", path or None, have.uuid_text)


def deactivate(area: Area) -> None:
    """swapoff(2), and away with the device."""
    number = _number_of(area)
    try:
        syscalls.swapoff(f"/dev/zram{number}")
    finally:
        # when a signal came in the moment in which the area went, too; but not when another process has
        # cleared the device away, and perhaps a new one has the number
        with rundir.locked("zram"):
            if number is not None and number in _left_over():
                _remove(number)


def recover() -> None:
    """Removes the devices that a killed process left behind, and names what only may be one of them."""
    with rundir.locked("zram") as journal:
        _recover(journal)


def _require() -> None:
    reason = unavailable()
    if reason is None and not os.path.exists(f"/{_CONTROL}/hot_add"):
        import subprocess

        try:
            with open("/proc/sys/kernel/modprobe", encoding="utf-8") as file:
                modprobe = file.read().strip()
            report.trace(f"{modprobe} zram")
            # without num_devices the module would make a device that nobody asked for
            subprocess.run([modprobe, "zram", "num_devices=0"], stdin=subprocess.DEVNULL, check=False)
        except OSError as error:
            # a kernel without modules, or a machine without the program
            report.trace(report.describe(error))
        if not os.path.exists(f"/{_CONTROL}/hot_add"):
            reason = "the module zram cannot be loaded"
    if reason is not None:
        raise Unsupported(reason)


def _hot_add() -> int:
    path = f"/{_CONTROL}/hot_add"
    with open(path, encoding="ascii") as file:
        try:
            number = int(file.read())
        except OSError as error:
            error.filename = path
            raise
    report.trace(f"{path}: /dev/zram{number}")
    return number


def _set_up(number: int, device_header: Header, file: File, options: Options, journal: Journal) -> None:
    from .. import header

    attributes = f"/sys/block/zram{number}"
    if options.compressor is not None:
        _set_compressor(attributes, options.compressor, file)
    if options.memory_limit is not None:
        kernel.write_attribute(f"{attributes}/mem_limit", str(options.memory_limit))
    try:
        kernel.write_attribute(f"{attributes}/disksize", str(device_header.size))
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise NoMemory(
            "zram has no memory for a table of so many pages",
            path=file.path,
            hint=f"ghostctl resize {report.quote(file.path)} SIZE",
        ) from None
    path = f"/dev/zram{number}"
    fd = _open(path, attributes)
    try:
        os.pwrite(fd, header.pack(device_header), 0)
        os.fsync(fd)
        journal.clear()
        syscalls.swapon(fd, path, syscalls.swapon_flags(options.prio, options.discard))
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def _set_compressor(attributes: str, name: str, file: File) -> None:
    path = f"{attributes}/comp_algorithm"
    try:
        kernel.write_attribute(path, name)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        with open(path, encoding="ascii") as known:
            names = known.read().replace("[", "").replace("]", "").split()
        raise Unsupported(
            f"zram has no compressor {name}", path=file.path, hint=f"this kernel has {', '.join(names)}"
        ) from None


def _open(path: str, attributes: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    st = os.fstat(fd)
    with open(f"{attributes}/dev", encoding="ascii") as file:
        expected = file.read().strip()
    if not stat.S_ISBLK(st.st_mode) or f"{os.major(st.st_rdev)}:{os.minor(st.st_rdev)}" != expected:
        os.close(fd)
        raise Error(f"is not the block device {expected}", path=path)
    return fd


def _undo(number: int) -> None:
    try:
        _remove(number)
    except (OSError, Busy) as error:
        report.warn(None, report.describe(error), _hint(number))


def _hint(number: int) -> str:
    return f"echo {number} > /{_CONTROL}/hot_remove"


def _remove(number: int) -> None:
    """Resets and removes a device; the kernel refuses while it is swapped to or open."""
    for left in reversed(range(_REMOVE_TRIES)):
        try:
            kernel.write_attribute(f"/{_CONTROL}/hot_remove", str(number))
            return
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno != errno.EBUSY:
                raise
            if not left:
                raise Busy(
                    "is swapped to no more, but open elsewhere", path=f"/dev/zram{number}", hint=_hint(number)
                ) from None
        time.sleep(_REMOVE_PAUSE)


def _number(name: str) -> int | None:
    return sizes.natural(name.removeprefix("zram")) if name.startswith("zram") else None


def _number_of(area: Area) -> int | None:
    # /zram1 instead of /dev/zram1: made active in another mount namespace, whose /dev is not this one
    directory, name = os.path.split(area.name)
    return _number(name) if area.type == "partition" and directory in ("/", "/dev") else None


def _numbers(root: str = "/") -> list[int]:
    names = os.listdir(os.path.join(root, "sys/block"))
    return sorted(number for name in names if (number := _number(name)) is not None)


def _active() -> set[int | None]:
    return set(map(_number_of, swaps.read()))


def _read(path: str) -> tuple[Header, str] | None:
    """The header of a device that stands in for a ghost, and the path in it."""
    from .. import ghostfile

    try:
        with ghostfile.look(path) as file:
            if file.header is not None and (ghost := file.header.stands_in_for) is not None:
                return file.header, ghost
    except OSError as error:
        report.trace(report.describe(error))
    return None


def _left_over() -> Iterator[int]:
    """Our devices that are not active: their maker was killed, or somebody else took the area down."""
    active = _active()
    for number in _numbers():
        if number not in active and _is_set_up(number) and _read(f"/dev/zram{number}") is not None:
            yield number


def _is_set_up(number: int) -> bool:
    try:
        with open(f"/sys/block/zram{number}/disksize", encoding="ascii") as file:
            return int(file.read()) > 0
    except OSError:
        return False


def _recover(journal: Journal) -> None:
    for number in _left_over():
        try:
            _remove(number)
        except (OSError, Busy) as error:
            report.warn(None, report.describe(error), _hint(number))
        else:
            report.warn(f"/dev/zram{number}", "removed: it was left from an area that is gone")
    before = journal.read()
    if before is None:
        return
    journal.clear()
    active = _active()
    for number in _numbers():
        if str(number) not in before and number not in active:
            report.warn(
                f"/dev/zram{number}",
                "may be left from a killed run: nothing on it says so",
                f"if so: {_hint(number)}",
            )
