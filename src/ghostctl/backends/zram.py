# SPDX-License-Identifier: GPL-2.0-or-later
"""zram in place of a ghost: a compressed device in memory (Documentation/admin-guide/blockdev/zram.rst).

What is on the device says everything: a swap header with size, label and UUID of the ghost, and behind the
tag the ghost's path. So nothing is lost with /run, and a device without that is somebody else's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from .. import ghostfile, header, kernel, report, rundir, signals, sizes, swaps, syscalls
from ..areas import Active
from ..errors import Error, NoMemory, NotAGhost, Unsupported, naming
from ..mmstat import read_mm_stat
from . import NO_SYSFS, Options, has_sysfs
from .device import Device, open_node

if TYPE_CHECKING:
    from ..ghostfile import File
    from ..header import Header
    from ..swaps import Area

_CONTROL = "sys/class/zram-control"


class Zram(Device):
    """What `Device` says, with zram devices."""

    prefix = lock = "zram"
    needs_zswap = False
    extra_slot_bytes = 16
    """`struct zram_table_entry` of drivers/block/zram/zram_drv.h: two words for each page, at once."""

    def unavailable(self, root: str = "/") -> str | None:
        """Why the running kernel has no zram; None when it has, or has the module to load."""
        if not has_sysfs(root):
            return NO_SYSFS
        return None if kernel.has_driver(f"{_CONTROL}/hot_add", "zram", root) else kernel.without("zram")

    def activate(self, file: File, options: Options) -> None:
        """Adds a zram device with the declared size, writes a header to it, and swaps it on.

        Raises `Unsupported`, `Error`, `NoMemory` and `OSError`; then the device is gone again.
        """
        have = file.require_header()
        device_header = header.for_device(have, os.readlink(f"/proc/self/fd/{file.fd}"))
        if have.uuid == header.NIL_UUID and not device_header.made_for:
            raise Error(
                "has no UUID, and a path too long to know its device by",
                path=file.path,
                hint=f"ghostctl label -U random {report.quote(file.path)}",
            )
        with _new_device(keep=True) as number:
            _set_up(number, device_header, file, options)

    def recognise(self, area: Area) -> Active | None:
        """An area on a zram device whose header names a ghost."""
        number = swaps.zram_number(area)
        if number is None:
            return None
        found = _read(number)
        if found is None:
            return None
        have, ghost = found
        return Active(area, area.name, "zram", ghost or None, have.uuid_text)

    def made(self) -> Iterator[Area]:
        """All zram devices that have a size, or may have one."""
        for number in self.numbers():
            size = _disk_size(number)
            if (size or not has_sysfs()) and not _is_throw_away(number):
                yield swaps.Area(f"/dev/zram{number}", "partition", size >> 10, 0, 0)

    def options(self, active: Active) -> Options:
        """Priority, compressor and memory limit, as sysfs has them. Raises `OSError`, `Error`."""
        attributes = f"/sys/block/zram{swaps.zram_number(active.area)}"
        if not has_sysfs():
            raise Error(NO_SYSFS, path=attributes)
        number = swaps.zram_number(active.area)
        have = read_mm_stat(number) if number is not None else None
        limit = have.mem_limit if have is not None else None
        return Options(active.area.prio, None, _chosen(attributes), limit or None)

    def is_made(self, number: int) -> bool:
        """Whether its header was written for a ghost. Raises `OSError` when it cannot be read."""
        return bool(_disk_size(number) or not has_sysfs()) and _read(number) is not None

    def drop(self, number: int) -> None:
        """Resets and removes it; the kernel refuses while it is swapped to or open."""
        try:
            kernel.write_attribute(f"/{_CONTROL}/hot_remove", str(number))
        except OSError as error:
            if not has_sysfs():
                raise Error(NO_SYSFS, path=error.filename) from None
            raise

    def hint(self, number: int) -> str:
        """The command that does the same."""
        return f"echo {number} > /{_CONTROL}/hot_remove"

    def clear(self, change: rundir.Change) -> None:
        """What `Device` says, and names the device that a process was killed over before it had a header."""
        super().clear(change)
        before, made = change.interrupted(), change.made_by()
        if before is None:
            return
        change.complete()
        active = self.active()
        for number in self.numbers():
            if str(number) == made and number not in active and not _is_written(number):
                self.undo(number)
            elif str(number) not in before and number not in active:
                report.warn(
                    self.path(number),
                    "may be left from a killed run: nothing on it says so",
                    f"{self.hint(number)}  # if so",
                )


BACKEND = Zram()


@contextmanager
def _new_device(*, keep: bool) -> Iterator[int]:
    """The number of a device that is removed at the end, or only when the block fails if it is to `keep`.

    Behind the lock, once what killed processes left has been cleared away.
    """
    _load()
    with rundir.change("zram") as change:
        BACKEND.clear(change)
        change.begin(map(str, BACKEND.numbers()))
        number, stays = None, False
        try:
            number = _hot_add()
            change.made(str(number))
            yield number
            stays = keep
        finally:
            if number is not None and not stays:
                BACKEND.undo(number)
            change.complete()


class Compressed(NamedTuple):
    """What the kernel made of some pages."""

    compressor: str | None
    """The one that did it; None when sysfs does not say."""
    size: int
    """Bytes of those pages that take memory: others are one repeated word."""
    memory: int
    """Bytes that they take."""
    incompressible: int
    """Those that take a page each."""
    copies: int
    """How many were written: fewer than asked for when a signal came."""


def compress(pages: Sequence[bytes], copies: int, compressor: str | None) -> Compressed:
    """Has the kernel compress so many `copies` of `pages`, on a device that is gone afterwards.

    Without a `compressor` it is the kernel's choice. A device whose maker was killed is removed by the next
    that looks after what is left: it has the header of those that are made for ghosts, with no name in it.
    Raises `Unsupported`, `Busy`, `Error` and `OSError`.
    """
    size = max(len(pages) * copies + 1, sizes.MIN_PAGES)
    name = header.for_device(header.ghost(size, sizes.page_size()), "")
    with _new_device(keep=False) as number:
        attributes = f"/sys/block/zram{number}"
        if compressor is not None:
            _set_compressor(attributes, compressor, f"/dev/zram{number}")
        kernel.write_attribute(f"{attributes}/disksize", str(name.size))
        return _written(number, header.pack(name), b"".join(pages), copies)


def _written(number: int, first: bytes, data: bytes, copies: int) -> Compressed:
    """What the kernel makes of `data`, written so many times behind the first page."""
    path, attributes = f"/dev/zram{number}", f"/sys/block/zram{number}"
    fd = _open(path, attributes)
    try:
        _append(fd, path, first)
        before = read_mm_stat(number)
        written = 0
        while written < copies and not (written and signals.arrived):
            _append(fd, path, data)
            written += 1
        after = read_mm_stat(number)
    finally:
        os.close(fd)
    if before is None or after is None or after.orig_data_size - before.orig_data_size != written * len(data):
        raise Error("mm_stat is not what it should be", path=path)
    same = (after.same_pages or 0) - (before.same_pages or 0)
    return Compressed(
        _chosen(attributes),
        written * len(data) - same * sizes.page_size(),
        after.mem_used_total - before.mem_used_total,
        (after.huge_pages or 0) - (before.huge_pages or 0),
        written,
    )


def _append(fd: int, path: str, data: bytes) -> None:
    with naming(path):
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(fd)


def _chosen(attributes: str) -> str | None:
    """The compressor of a device, which is in brackets among those that the kernel has. Raises `OSError`."""
    with open(f"{attributes}/comp_algorithm", encoding="ascii") as file:
        return file.read().partition("[")[2].partition("]")[0] or None


def _load() -> None:
    if not has_sysfs():
        raise Error(f"{NO_SYSFS}: no zram device can be made")
    # without num_devices the module would make a device that nobody asked for
    if not kernel.load_driver(f"{_CONTROL}/hot_add", "zram", "num_devices=0"):
        raise Unsupported(kernel.without("zram"))
    if os.statvfs(f"/{_CONTROL}").f_flag & os.ST_RDONLY:
        # a device is made by reading, and nothing could remove it
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"/{_CONTROL}/hot_remove")


def _hot_add() -> int:
    path = f"/{_CONTROL}/hot_add"
    with naming(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # read once: that makes the device, and a second read(2) could fail after it
            text = os.read(fd, 32).decode("ascii", "replace").strip()
        finally:
            os.close(fd)
    number = sizes.natural(text)
    if number is None:
        raise Error(f"the kernel made a device, but gave no number: {text!r}", path=path)
    report.trace(f"{path}: /dev/zram{number}")
    return number


def _set_up(number: int, device_header: Header, file: File, options: Options) -> None:
    attributes = f"/sys/block/zram{number}"
    if options.compressor is not None:
        _set_compressor(attributes, options.compressor, file.path)
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
        page = header.pack(device_header)
        with naming(path):
            if os.pwrite(fd, page, 0) != len(page):
                raise OSError(errno.EIO, "the header could not be written")
            os.fsync(fd)
        syscalls.swapon(fd, path, syscalls.swapon_flags(options.prio, options.discard))
    finally:
        os.close(fd)


def _set_compressor(attributes: str, name: str, what: str) -> None:
    path = f"{attributes}/comp_algorithm"
    try:
        kernel.write_attribute(path, name)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        with naming(path), open(path, encoding="ascii") as known:
            names = known.read().replace("[", "").replace("]", "").split()
        raise Unsupported(
            f"zram has no compressor {name}", path=what, hint=f"this kernel has {', '.join(names)}"
        ) from None


def _open(path: str, attributes: str) -> int:
    with open(f"{attributes}/dev", encoding="ascii") as file:
        major, minor = file.read().split(":")
    return open_node(path, os.makedev(int(major), int(minor)))


def _read(number: int) -> tuple[Header, str] | None:
    """The header of a device that was made for a ghost, and the path in it; None for another device.

    Raises `OSError` when it cannot be read.
    """
    try:
        with ghostfile.look(f"/dev/zram{number}") as file:
            if file.header is not None and (ghost := file.header.made_for) is not None:
                return file.header, ghost
    except NotAGhost as error:
        report.trace(str(error))
    except OSError as error:
        # zram_open() refuses a device that is being removed, which can be nobody's area
        if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENXIO):
            raise
        report.trace(report.describe(error))
    return None


def _disk_size(number: int) -> int:
    try:
        with open(f"/sys/block/zram{number}/disksize", encoding="ascii") as file:
            return sizes.natural(file.read().strip()) or 0
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
        return 0


def _is_throw_away(number: int) -> bool:
    """Whether `compress` has made a device: its header names no ghost at all."""
    try:
        found = _read(number)
    except OSError as error:
        report.trace(report.describe(error))
        return False
    return found is not None and not found[1] and found[0].uuid_text is None


def _is_written(number: int) -> bool:
    """Whether there is something on a device; of one that cannot be read, that is assumed."""
    if not _disk_size(number):
        return False
    try:
        with open(f"/dev/zram{number}", "rb") as device:
            return any(device.read(sizes.page_size()))
    except OSError as error:
        report.trace(report.describe(error))
        return True
