# SPDX-License-Identifier: GPL-2.0-or-later
"""A ghost on a stock kernel: a block device of the device mapper (Documentation/admin-guide/device-mapper).

Its first page is the ghost file, by way of a loop device, and the rest has no storage: target ``error``. What
is swapped to it lives in zswap; what zswap refuses cannot be written, and stays in memory as on a ghost.

The mapping has a UUID of ours from its first moment, and the kernel clears the loop device away once nothing
uses it. So nothing has to be remembered, and what a killed process left is known. By ioctl(2) rather than by
dmsetup(8): that need not be there, takes the same steps, and cannot tell udev to leave the device
alone, which else looks for file systems where every reading fails.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from .. import blockdev, kernel, report, rundir, swaps, syscalls
from ..areas import Active
from ..errors import Busy, Error, Refused, Unsupported, naming
from . import NO_SYSFS, Options, has_sysfs
from .device import Device, open_node

if TYPE_CHECKING:
    from ..ghostfile import File
    from ..header import Header
    from ..swaps import Area

_CONTROL = "/dev/mapper/control"
_LOOP_CONTROL = "/dev/loop-control"
_DRIVERS = (
    ("sys/class/misc/device-mapper", "dm_mod", "device mapper"),
    ("sys/class/misc/loop-control", "loop", "loop devices"),
)
"""What has to be there: its place in sysfs, its module, and what to call it."""
_SECTOR = 512
_NAME_MAX = 60
"""Bytes of the file's name in that of the mapping, which has 127 at most."""

# include/uapi/linux/loop.h
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4
_LOOP_CONFIG = struct.Struct("=II 5Q 4I 64s 64s 32s 2Q 8Q")
"""`struct loop_config`: file descriptor, block size, `struct loop_info64`, 8 reserved words."""
_LOOP_TRIES = 100

# include/uapi/linux/dm-ioctl.h: _IOWR(0xfd, number, struct dm_ioctl)
_DM_LIST_DEVICES = 0xC138FD02
_DM_DEV_CREATE = 0xC138FD03
_DM_DEV_REMOVE = 0xC138FD04
_DM_DEV_SUSPEND = 0xC138FD06
_DM_DEV_STATUS = 0xC138FD07
_DM_TABLE_LOAD = 0xC138FD09
_DM_IOCTL = struct.Struct("=3I 3I i 3I Q 128s 129s 7x")
"""`struct dm_ioctl`: version; data size, start, targets; openers; flags, event, padding; device; names."""
_DM_VERSION = (4, 0, 0)
_DM_TARGET = struct.Struct("=2Q i I 16s")
"""`struct dm_target_spec`: first sector, sectors; status; offset of the next one; type. Parameters follow."""

_DM_NAME_LIST = struct.Struct("=QI")
"""`struct dm_name_list`: device, offset of the next one, 0 in the last. The name follows."""
_DM_LIST = 8192
_DM_BUFFER_FULL_FLAG = 1 << 8

# libdm/libdevmapper.h: DM_UDEV_DISABLE_{SUBSYSTEM,DISK,OTHER}_RULES_FLAG, DM_UDEV_PRIMARY_SOURCE_FLAG
_UDEV_FLAGS = (0x02 | 0x04 | 0x08 | 0x40) << 16
"""For the rules of udev, which pass on the event number: a link in /dev/mapper, and no look at the device."""


class DeviceMapper(Device):
    """What `Device` says, with mappings."""

    prefix = "dm-"
    lock = "dm"

    def unavailable(self, root: str = "/") -> str | None:
        """Why the running kernel cannot do this; None when it can, or has the modules to load."""
        if not has_sysfs(root):
            return NO_SYSFS
        for place, module, name in _DRIVERS:
            if not kernel.has_driver(place, module, root):
                return kernel.without(name)
        return None

    def activate(self, file: File, options: Options) -> None:
        """Maps the first page to the ghost and the others to nothing, and swaps the device on.

        There is nothing on it to discard. Raises `Unsupported`, `Refused`, `Busy` and `OSError`; then the
        device is gone again.
        """
        have = file.require_header()
        if not has_sysfs():
            raise Error(f"{NO_SYSFS}: no mapping can be made")
        for place, module, name in _DRIVERS:
            if not kernel.load_driver(place, module):
                raise Unsupported(kernel.without(name))
        with rundir.change(self.lock) as change:
            self.clear(change)
            with _loop_device(file) as loop:
                mapping = _create(file, have)
                number = os.minor(mapping.dev)
                try:
                    _set_up(mapping, loop, have)
                    _swap_on(mapping, self.path(number), options)
                except BaseException:
                    self.undo(number)
                    raise

    def recognise(self, area: Area) -> Active | None:
        """An area on a mapping that has a UUID of ours."""
        number = swaps.device_number(area, self.prefix)
        mapping = None if number is None else blockdev.ghost_mapping(f"{self.prefix}{number}")
        if mapping is None:
            return None
        return Active(area, area.name, "dm", mapping.ghost, mapping.uuid, mapping.file)

    def made(self) -> Iterator[Area]:
        """All mappings that have a UUID of ours."""
        for number in super().numbers():
            if blockdev.ghost_mapping(f"{self.prefix}{number}") is not None:
                size = swaps.storage(self.path(number))
                yield swaps.Area(self.path(number), "partition", size >> 10, 0, 0)

    def numbers(self) -> list[int]:
        """Those of the mappings that have a UUID of ours, also of one without a table, which sysfs lacks."""
        return sorted(_ours())

    def is_made(self, number: int) -> bool:
        """Whether it has a UUID of ours. Raises `OSError`."""
        return number in _ours()

    def drop(self, number: int) -> None:
        """Removes the mapping, and with it the loop device; the kernel refuses while it is open."""
        mapping = _ours().get(number)
        if mapping is not None:
            _ioctl(_DM_DEV_REMOVE, uuid=mapping.uuid)

    def hint(self, number: int) -> str:
        """The command that does the same, as it does of all that are left."""
        return f"ghostctl off {self.path(number)}"


BACKEND = DeviceMapper()


class _Mapping(NamedTuple):
    """A device of the device mapper."""

    dev: int
    name: str
    uuid: str


def _ours() -> dict[int, _Mapping]:
    """The mappings that have a UUID of ours, by the N of /dev/dm-N. Raises `OSError`."""
    # opened without the driver, the node would load it
    if has_sysfs() and not os.path.exists("/" + _DRIVERS[0][0]):
        return {}
    found = {}
    for name in _names():
        try:
            one = _ioctl(_DM_DEV_STATUS, name=name)[0]
        except OSError as error:
            # somebody else's, removed just now
            if error.errno != errno.ENXIO:
                raise
        else:
            if blockdev.is_ghost_mapping(one.uuid):
                found[os.minor(one.dev)] = one
    return found


def _names() -> Iterator[str]:
    """The names of all mappings. Raises `OSError`."""
    size = _DM_LIST
    while True:
        size *= 2
        _, flags, data = _ioctl(_DM_LIST_DEVICES, data=bytes(size))
        if not flags & _DM_BUFFER_FULL_FLAG:
            break
    offset = 0
    while True:
        dev, following = _DM_NAME_LIST.unpack_from(data, offset)
        if dev:
            yield os.fsdecode(data[offset + _DM_NAME_LIST.size :].partition(b"\0")[0])
        if not following:
            return
        offset += following


@contextmanager
def _loop_device(file: File) -> Iterator[int]:
    """A loop device over the ghost, as device number; it is gone when nothing has it open any more."""
    with naming(file.path):
        try:
            # for reading alone the device would be read-only, and with it the mapping
            fd = os.open(f"/proc/self/fd/{file.fd}", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            raise Refused(kernel.ON_READ_ONLY, path=file.path) from None
    try:
        loop = _configured(fd)
    finally:
        os.close(fd)
    try:
        yield os.fstat(loop).st_rdev
    finally:
        os.close(loop)


def _control(path: str) -> BinaryIO:
    """The node of a driver. Raises `Unsupported` when there is none, as in a container, and `OSError`."""
    try:
        return cast(BinaryIO, open(path, "r+b", buffering=0))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise
        raise Unsupported(f"there is no {path}") from None


def _configured(fd: int) -> int:
    """A free loop device, opened and set up over a file."""
    numbers = (0, 0, 0, 0, 0, 0, 0, 0, _LO_FLAGS_AUTOCLEAR)
    config = _LOOP_CONFIG.pack(fd, 0, *numbers, b"", b"", b"", *[0] * 10)
    with naming(_LOOP_CONTROL), _control(_LOOP_CONTROL) as control:
        for left in reversed(range(_LOOP_TRIES)):
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            with naming(path):
                loop = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.ioctl(loop, _LOOP_CONFIGURE, config)
                except OSError as error:
                    os.close(loop)
                    if error.errno in (errno.EINVAL, errno.ENOTTY):
                        # before Linux 5.8
                        raise Unsupported(kernel.without("LOOP_CONFIGURE")) from None
                    # another process was faster
                    if error.errno != errno.EBUSY or not left:
                        raise
                else:
                    report.trace(f"{path}: set up")
                    return loop
    raise AssertionError


def _create(file: File, have: Header) -> _Mapping:
    """A new mapping for the ghost, without a table yet."""
    identity = rundir.lock_name(file.st)
    base = os.path.basename(os.readlink(f"/proc/self/fd/{file.fd}"))[:_NAME_MAX]
    # of these, all programs make the same name in /dev/mapper
    base = "".join(char if char.isascii() and (char.isalnum() or char in "._@+=:") else "_" for char in base)
    name, uuid = f"ghost-{base}-{identity}", blockdev.mapping_uuid(have.uuid_text, identity)
    try:
        mapping = _ioctl(_DM_DEV_CREATE, name=name, uuid=uuid)[0]
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise Busy(
            "has a mapping that is no area, and that another process has open",
            path=file.path,
            hint=f"ghostctl off {report.quote(file.path)}",
        ) from None
    report.trace(f"/dev/dm-{os.minor(mapping.dev)}: {name}")
    return mapping


def _set_up(mapping: _Mapping, loop: int, have: Header) -> None:
    """Gives the mapping its table, and makes it ready for use."""
    page, size = have.page_size // _SECTOR, have.size // _SECTOR
    first = f"{os.major(loop)}:{os.minor(loop)} 0".encode()
    table = _target(0, page, "linear", first) + _target(page, size - page, "error", b"")
    _ioctl(_DM_TABLE_LOAD, uuid=mapping.uuid, targets=2, data=table)
    _ioctl(_DM_DEV_SUSPEND, uuid=mapping.uuid)


def _target(start: int, length: int, kind: str, parameters: bytes) -> bytes:
    # the next one is aligned to 8 bytes
    parameters = parameters.ljust((len(parameters) // 8 + 1) * 8, b"\0")
    following = _DM_TARGET.size + len(parameters)
    return _DM_TARGET.pack(start, length, 0, following, kind.encode()) + parameters


def _swap_on(mapping: _Mapping, path: str, options: Options) -> None:
    try:
        # the loop device has it from the disk of the file; here is no head to move
        kernel.write_attribute(f"/sys/block/{os.path.basename(path)}/queue/rotational", "0")
    except OSError as error:
        report.trace(report.describe(error))
    fd = open_node(path, mapping.dev)
    try:
        syscalls.swapon(fd, path, syscalls.swapon_flags(options.prio, None))
    finally:
        os.close(fd)


def _ioctl(
    request: int, *, name: str = "", uuid: str = "", targets: int = 0, data: bytes = b""
) -> tuple[_Mapping, int, bytes]:
    """One call to the device mapper; returns the mapping, flags and data. Raises `OSError`."""
    start = _DM_IOCTL.size
    head = (*_DM_VERSION, start + len(data), start, targets, 0, 0, _UDEV_FLAGS, 0, 0)
    block = bytearray(_DM_IOCTL.pack(*head, os.fsencode(name), uuid.encode()) + data)
    with naming(_CONTROL), _control(_CONTROL) as control:
        fcntl.ioctl(control, request, block)
    *_, flags, _, _, dev, named, identified = _DM_IOCTL.unpack_from(block)
    names = (os.fsdecode(text.partition(b"\0")[0]) for text in (named, identified))
    return _Mapping(_from_kernel(dev), *names), flags, bytes(block[start:])


def _from_kernel(dev: int) -> int:
    """A device number as os.makedev makes it, of huge_encode_dev() in include/linux/kdev_t.h."""
    return os.makedev(dev >> 8 & 0xFFF, dev & 0xFF | dev >> 12 & 0xFFF00)
