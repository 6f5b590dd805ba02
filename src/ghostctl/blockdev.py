# SPDX-License-Identifier: GPL-2.0-or-later
"""Swap areas on block devices: their labels and UUIDs, from udev or, where it does not run, themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

_UDEV = "/run/udev/control"


class Device(NamedTuple):
    """A block device with a swap area."""

    path: str
    label: str | None
    uuid: str | None


def iter_swap() -> Iterator[Device]:
    """The block devices that hold swap areas."""
    if os.path.exists(_UDEV):
        yield from _from_udev()
    else:
        yield from _from_headers()


def _from_udev() -> Iterator[Device]:
    import pyudev

    context = pyudev.Context()
    for device in context.list_devices(subsystem="block", ID_FS_TYPE="swap"):
        properties = device.properties
        label = properties.get("ID_FS_LABEL_ENC")
        node: str | None = device.device_node
        if node is not None:
            yield Device(node, None if label is None else _decode(label), properties.get("ID_FS_UUID"))


def _decode(text: str) -> str:
    # udev writes what is not safe in a file name as \xNN
    head, *rest = text.split("\\x")
    data = head.encode()
    for part in rest:
        data += bytes.fromhex(part[:2]) + part[2:].encode()
    return os.fsdecode(data)


def _from_headers() -> Iterator[Device]:
    from . import ghostfile

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
            with ghostfile.look(path) as file:
                if file.header is not None:
                    yield Device(path, file.header.label_text, file.header.uuid_text)
        except OSError:
            continue


def read(path: str) -> Device | None:
    """The swap area on one device; None without one, or where it may not be read."""
    st = os.stat(path)
    return next((device for device in iter_swap() if os.stat(device.path).st_rdev == st.st_rdev), None)


def describe(path: str) -> str | None:
    """What a device is, for people: its model, the name of a device mapping, the file of a loop device."""
    try:
        number = os.stat(path).st_rdev
    except OSError:
        return None
    directory = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    for name in ("dm/name", "loop/backing_file", "device/model", "../device/model"):
        try:
            with open(os.path.join(directory, name), "rb") as file:
                return os.fsdecode(file.read().strip())
        except OSError:
            continue
    return os.path.basename(path)
