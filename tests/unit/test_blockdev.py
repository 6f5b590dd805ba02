# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostctl import blockdev
from ghostctl.blockdev import Hardware

PCI = "devices/pci0000:00/0000:00:1f.2"


@pytest.mark.parametrize(
    ("device", "files", "expected", "text"),
    [
        (
            f"{PCI}/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda2",
            {"partition": "2", "../queue/rotational": "1", "../device/model": "ST4000DM000-1F21"},
            Hardware("partition", "sda2", "ST4000DM000-1F21", "ata", True),
            "ST4000DM000-1F21 (ata, rotational)",
        ),
        (
            f"{PCI}/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb",
            {"queue/rotational": "0", "device/model": "Ultra Fit        "},
            Hardware("disk", "sdb", "Ultra Fit", "usb", False),
            "Ultra Fit (usb, solid-state)",
        ),
        (
            f"{PCI}/nvme/nvme0/nvme0n1/nvme0n1p3",
            {"partition": "3", "../queue/rotational": "0", "../device/model": "WD_BLACK SN770 1TB"},
            Hardware("partition", "nvme0n1p3", "WD_BLACK SN770 1TB", "nvme", False),
            "WD_BLACK SN770 1TB (nvme, solid-state)",
        ),
        (
            f"{PCI}/virtio1/block/vda",
            {"queue/rotational": "1"},
            Hardware("disk", "vda", None, "virtio", True),
            "vda (virtio, rotational)",
        ),
        ("devices/virtual/block/dm-0", {"dm/name": "vg-swap"}, Hardware("dm", "vg-swap"), "dm: vg-swap"),
        (
            "devices/virtual/block/loop3",
            {"loop/backing_file": "/srv/a b.img"},
            Hardware("loop", "/srv/a b.img"),
            "loop: /srv/a b.img",
        ),
        (
            "devices/virtual/block/zram0",
            {"comp_algorithm": "lzo-rle [lz4] zstd"},
            Hardware("zram", "lz4"),
            "zram: lz4",
        ),
        ("devices/virtual/block/cciss!c0d0", {}, Hardware("disk", "cciss/c0d0"), "cciss/c0d0"),
    ],
)
def test_what_sysfs_says(
    tmp_path: Path, device: str, files: dict[str, str], expected: Hardware, text: str
) -> None:
    directory = tmp_path / device
    directory.mkdir(parents=True)
    for name, content in files.items():
        path = Path(os.path.normpath(directory / name))
        path.parent.mkdir(exist_ok=True)
        path.write_text(content + "\n")
    (tmp_path / "dev/block").mkdir(parents=True)
    (tmp_path / "dev/block/8:2").symlink_to(directory)
    found = blockdev.hardware(os.makedev(8, 2), {}, str(tmp_path))
    assert found == expected
    assert str(found) == text


def test_udev_knows_better(tmp_path: Path) -> None:
    properties = {"ID_MODEL_ENC": "Samsung\\x20SSD\\x20980\\x20\\x20", "ID_BUS": "nvme"}
    found = blockdev.hardware(os.makedev(8, 2), properties, str(tmp_path))
    assert (found.model, found.transport) == ("Samsung SSD 980", "nvme")


@given(st.binary())
def test_labels_as_udev_encodes_them(label: bytes) -> None:
    # systemd, encode_devnode_name(): what is not safe in a name as \xNN
    encoded = "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"\\x{byte:02x}" for byte in label
    )
    assert os.fsencode(blockdev._decode(encoded)) == label


@given(st.text())
def test_any_text_decodes(text: str) -> None:
    blockdev._decode(text)
