# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes to the device mapper and comes from it, byte by byte; vm/guest/test_dm tries the rest."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from ghostctl import blockdev, errors
from ghostctl.backends import dm

UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def test_structures_are_the_kernel_s() -> None:
    """include/uapi/linux/dm-ioctl.h and loop.h, the same on all processors."""
    sizes = (dm._DM_IOCTL.size, dm._DM_TARGET.size, dm._DM_NAME_LIST.size, dm._LOOP_CONFIG.size)
    assert sizes == (312, 40, 12, 304)
    for request in (dm._DM_LIST_DEVICES, dm._DM_DEV_CREATE, dm._DM_DEV_REMOVE, dm._DM_TABLE_LOAD):
        # _IOWR(0xfd, number, 312)
        assert request & ~0xFF == 0xC0000000 | 312 << 16 | 0xFD << 8


@pytest.mark.parametrize("numbers", [(252, 0), (253, 255), (253, 256), (4095, 1048575)])
def test_device_numbers(numbers: tuple[int, int]) -> None:
    """huge_encode_dev() of include/linux/kdev_t.h."""
    major, minor = numbers
    assert dm._from_kernel(minor & 0xFF | major << 8 | (minor & ~0xFF) << 12) == os.makedev(*numbers)


@pytest.mark.parametrize("parameters", [b"", b"7:0 0", b"123:45 0", b"1234:56 0"])
def test_targets_follow_each_other(parameters: bytes) -> None:
    """The parameters end with a NUL, and the next target is where the first says, aligned to 8 bytes."""
    data = dm._target(8, 1 << 40, "linear", parameters)
    start, length, status, following, kind = struct.unpack_from("=QQiI16s", data)
    assert (start, length, status, kind.rstrip(b"\0")) == (8, 1 << 40, 0, b"linear")
    assert data[40:].startswith(parameters + b"\0")
    assert following == len(data)
    assert following % 8 == 0


class Kernel:
    """Mappings by name and UUID; some go before they are asked for."""

    def __init__(self, mappings: dict[str, str], gone: tuple[str, ...] = ()) -> None:
        self.mappings, self.gone = mappings, gone
        self.asked: list[int] = []

    def ioctl(
        self, request: int, *, name: str = "", data: bytes = b"", **_: object
    ) -> tuple[dm._Mapping, int, bytes]:
        nothing = dm._Mapping(0, "", "")
        if request == dm._DM_LIST_DEVICES:
            self.asked.append(len(data))
            listed = self._listed()
            is_full = len(listed) > len(data)
            return nothing, dm._DM_BUFFER_FULL_FLAG if is_full else 0, listed.ljust(len(data), b"\0")
        assert request == dm._DM_DEV_STATUS
        if name in self.gone:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        number = list(self.mappings).index(name)
        return dm._Mapping(os.makedev(252, number), name, self.mappings[name]), 0, b""

    def _listed(self) -> bytes:
        found, names = b"", list(self.mappings)
        for number, name in enumerate(names):
            record = os.fsencode(name) + b"\0"
            record += b"\0" * (-(12 + len(record)) % 8)
            following = 0 if name == names[-1] else 12 + len(record)
            found += struct.pack("=QI", 252 << 8 | number, following) + record
        return found


def answer(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> None:
    monkeypatch.setattr(dm, "_ioctl", kernel.ioctl)
    monkeypatch.setattr(dm, "has_sysfs", lambda: False)


def test_which_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = blockdev.mapping_uuid(UUID, "fd00-c"), blockdev.mapping_uuid(None, "fd00-d")
    mappings = {"vg-root": "LVM-x", "ghost-a": ours[0], "gone": "", "\udcff \n": "", "ghost-b": ours[1]}
    answer(monkeypatch, Kernel(mappings, ("gone",)))
    found = dm.BACKEND.numbers()
    assert found == [1, 4]
    assert [dm._ours()[number].uuid for number in found] == [*ours]
    assert [dm.BACKEND.is_made(number) for number in range(5)] == [False, True, False, False, True]


def test_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel({})
    answer(monkeypatch, kernel)
    assert dm.BACKEND.numbers() == []
    # a mapping that is gone already is no failure
    dm.BACKEND.remove(7)


def test_more_than_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel({f"{n:0100}": blockdev.mapping_uuid(UUID, str(n)) for n in range(400)})
    answer(monkeypatch, kernel)
    assert len(dm.BACKEND.numbers()) == 400
    assert len(kernel.asked) > 1


def test_other_failures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/dev/mapper/control")

    monkeypatch.setattr(dm, "_ioctl", refuse)
    monkeypatch.setattr(dm, "has_sysfs", lambda: False)
    with pytest.raises(PermissionError):
        dm.BACKEND.numbers()


def test_a_missing_node() -> None:
    with pytest.raises(errors.Unsupported, match="there is no /dev/ghostctl-none"):
        dm._control("/dev/ghostctl-none")


def test_no_mapping_of_a_ghost() -> None:
    assert blockdev.ghost_mapping("none") is None
    assert not blockdev.is_ghost_mapping("CRYPT-LUKS2-x")
