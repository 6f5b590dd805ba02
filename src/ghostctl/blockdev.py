# SPDX-License-Identifier: GPL-2.0-or-later
"""Block devices: their swap areas' labels and UUIDs, and what they are, from udev or without it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from .errors import Error
from .report import trace

if TYPE_CHECKING:
    import pyudev

_UDEV = "/run/udev/control"
_OURS = "GHOSTCTL-"
_UUID_LENGTH = 36
_BUSES = ("usb", "nvme", "ata", "virtio", "mmc", "scsi")
"""Transports by a directory in sysfs that is named after each, the outermost first."""


class Device(NamedTuple):
    """A block device with a swap area."""

    path: str
    label: str | None
    uuid: str | None
    is_made: bool = False
    """A backend made it for a ghost, whose label and UUID it has."""


class Hardware(NamedTuple):
    """What a block device is."""

    kind: str
    """``disk``, ``partition``, ``dm``, ``loop`` or ``zram``."""
    name: str
    """Name of the device mapping, file of the loop device, compressor of zram, or the kernel's name."""
    model: str | None = None
    transport: str | None = None
    rotational: bool | None = None

    def __str__(self) -> str:
        if self.kind in ("dm", "loop", "zram"):
            return f"{self.kind}: {self.name}"
        medium = None if self.rotational is None else "rotational" if self.rotational else "solid-state"
        details = ", ".join(filter(None, (self.transport, medium)))
        return (self.model or self.name) + (f" ({details})" if details else "")


class GhostMapping(NamedTuple):
    """What a device of the device mapper is made of, when it was made for a ghost."""

    uuid: str | None
    """The UUID of the ghost, where it had one."""
    ghost: str | None
    """Where the ghost is, or was until it was deleted; None before the device has a table."""
    file: str
    """What tells its file from all others, as given to `mapping_uuid`."""


def mapping_uuid(uuid: str | None, identity: str) -> str:
    """The UUID of a mapping for a ghost: its own one, and what else tells the file from all others."""
    return f"{_OURS}{uuid or '-' * _UUID_LENGTH}-{identity}"


def is_ghost_mapping(uuid: str) -> bool:
    """Whether a mapping with this UUID is one of those."""
    return uuid.startswith(_OURS)


def ghost_mapping(name: str) -> GhostMapping | None:
    """What the device /dev/NAME, a ``dm-`` with a number, was made for; None when not for a ghost.

    By what sysfs says of it and of the loop device below it. Raises `OSError` when that cannot be told.
    """
    directory = f"/sys/block/{name}"
    try:
        with open(f"{directory}/dm/uuid", encoding="ascii", errors="replace") as file:
            found = file.read().strip()
        lower = os.listdir(f"{directory}/slaves")
    except FileNotFoundError:
        if not os.path.isdir("/sys/block"):
            raise
        return None
    if not is_ghost_mapping(found):
        return None
    found = found.removeprefix(_OURS)
    uuid, identity = found[:_UUID_LENGTH], found[_UUID_LENGTH + 1 :]
    ghost = next(filter(None, map(_backing_file, lower)), None)
    return GhostMapping(None if uuid.startswith("-") else uuid, ghost, identity)


def _backing_file(name: str) -> str | None:
    """The file of the loop device /dev/NAME."""
    try:
        with open(f"/sys/block/{name}/loop/backing_file", "rb") as file:
            path = os.fsdecode(file.read().removesuffix(b"\n"))
    except OSError as error:
        trace(f"{name}: {error.strerror}")
        return None
    return path if os.path.lexists(path) else path.removesuffix(" (deleted)")


def iter_swap(denied: list[str]) -> Iterator[Device]:
    """The block devices that hold swap areas; without udev, what only root may read goes into `denied`.

    One that is part of another device is not an area by itself, as the loop device below a mapping.
    """
    udev = _udev()
    for device in _from_headers(denied) if udev is None else _from_udev(udev):
        name = device.path.removeprefix("/dev/").replace("/", "!")
        if not _has_holders(name):
            yield device._replace(is_made=device.is_made or ghost_mapping(name) is not None)


def _has_holders(name: str) -> bool:
    try:
        return bool(os.listdir(f"/sys/class/block/{name}/holders"))
    except OSError:
        return False


def _udev() -> pyudev.Context | None:
    """What udev knows; None without it, or without what asks it: the devices tell root as much."""
    if not os.path.exists(_UDEV):
        return None
    try:
        import pyudev

        # which loads libudev
        return pyudev.Context()
    except ImportError as error:
        trace(f"udev is not asked: {error}")
        return None


def _from_udev(udev: pyudev.Context) -> Iterator[Device]:
    for device in udev.list_devices(subsystem="block", ID_FS_TYPE="swap"):
        if device.device_node is not None:
            yield _device(device.device_node, device.properties)


def _device(path: str, properties: Mapping[str, str]) -> Device:
    label = properties.get("ID_FS_LABEL_ENC")
    return Device(path, _decode(label) if label else None, properties.get("ID_FS_UUID"))


def _decode(text: str) -> str:
    # udev writes what is not safe in a file name as \xNN
    head, *rest = text.split("\\x")
    data = head.encode()
    for part in rest:
        try:
            data += bytes.fromhex(part[:2]) + part[2:].encode()
        except ValueError:
            data += b"\\x" + part.encode()
    return os.fsdecode(data)


def encode(text: str) -> str:
    """A value as udev writes it in the name of a link: what is not safe there as ``\\xNN``."""
    return "".join(
        char
        if (char.isascii() and (char.isalnum() or char in "#+-.:=@_"))
        or (not char.isascii() and char.isprintable())
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
        for char in text
    )


def _from_headers(denied: list[str]) -> Iterator[Device]:
    try:
        names = sorted(os.listdir("/sys/class/block"))
    except OSError:
        return
    for name in names:
        path = f"/dev/{name.replace('!', '/')}"
        try:
            with open(f"/sys/class/block/{name}/size", encoding="ascii") as size:
                if int(size.read()) == 0:
                    continue
            device = _from_header(path)
        except PermissionError:
            denied.append(path)
            continue
        except (OSError, Error) as error:
            trace(f"{name}: {error}", 2)
            continue
        if device is not None:
            yield device


def _from_header(path: str) -> Device | None:
    from . import ghostfile

    with ghostfile.look(path) as file:
        have = file.header
        if have is None:
            return None
        return Device(path, have.label_text, have.uuid_text, have.made_for is not None)


def read(path: str) -> Device | None:
    """The swap area on one device; None without one. Raises `OSError` where it may not be read."""
    number = os.stat(path).st_rdev
    properties = _properties(number)
    if properties.get("ID_FS_TYPE") == "swap":
        return _device(path, properties)
    # udev leaves out zram, and knows nothing yet of an area that was made a moment ago
    return _from_header(path)


def _properties(number: int) -> Mapping[str, str]:
    if (udev := _udev()) is None:
        return {}
    from pyudev import DeviceNotFoundError, Devices

    try:
        found = Devices.from_device_number(udev, "block", number)
    except DeviceNotFoundError:
        return {}
    return dict(found.properties)


def describe(path: str, sysfs: str = "/sys") -> str | None:
    """What a device is, for people: its model and medium, or the name of what it stands for."""
    try:
        number = os.stat(path).st_rdev
    except OSError:
        return None
    return str(hardware(number, _properties(number), sysfs))


def hardware(number: int, properties: Mapping[str, str], sysfs: str = "/sys") -> Hardware:
    """What the block device of this number is, by sysfs and the `properties` that udev gives it."""
    directory = os.path.realpath(f"{sysfs}/dev/block/{os.major(number)}:{os.minor(number)}")
    name = os.path.basename(directory).replace("!", "/")
    mapping, backing = _text(f"{directory}/dm/name"), _text(f"{directory}/loop/backing_file")
    if mapping is not None:
        return Hardware("dm", mapping)
    if backing is not None:
        return Hardware("loop", backing)
    algorithms = _text(f"{directory}/comp_algorithm")
    if algorithms is not None:
        # the one in use has brackets
        return Hardware("zram", algorithms.partition("[")[2].partition("]")[0] or name)
    is_partition = os.path.exists(f"{directory}/partition")
    disk = os.path.dirname(directory) if is_partition else directory
    model = _decode(properties["ID_MODEL_ENC"]) if "ID_MODEL_ENC" in properties else None
    rotational = _text(f"{disk}/queue/rotational")
    return Hardware(
        "partition" if is_partition else "disk",
        name,
        (model or _text(f"{disk}/device/model") or "").strip() or None,
        properties.get("ID_BUS") or _transport(disk),
        None if rotational is None else rotational == "1",
    )


def _transport(disk: str) -> str | None:
    parents = disk.split("/")
    # usb2, ata1, virtio3: a bus and its number
    names = {parent.rstrip("0123456789") for parent in parents}
    return next((bus for bus in _BUSES if bus in names), None)


def _text(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read().strip())
    except OSError:
        return None
