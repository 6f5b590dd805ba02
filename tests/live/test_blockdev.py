# SPDX-License-Identifier: GPL-2.0-or-later
"""Swap on block devices: what status says of them, with and without udev's database."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import GHOSTCTL, ghostctl, require, run
from zramdevices import add_device, attribute, remove_device, set_size

UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def area(path: Path) -> dict[str, object]:
    document = json.loads(ghostctl("status", "--json", path).stdout)
    (found,) = document["swapareas"]
    return dict(found)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(8 << 20)
    return path


def test_loop_device(image: Path, loop_device: Callable[[Path], Path]) -> None:
    device = loop_device(image)
    run("mkswap", "-L", "lab el", "-U", UUID, device)
    run("swapon", device)
    found = area(device)
    assert (found["label"], found["uuid"], found["backing"]) == ("lab el", UUID, f"loop: {image}")
    # by its label, which only its header has
    assert ghostctl("off", "LABEL=lab el").returncode == 0


def test_device_mapping(image: Path, loop_device: Callable[[Path], Path]) -> None:
    require("dm")
    device = loop_device(image)
    name = f"ghostctl-test-{os.getpid()}"
    run("dmsetup", "create", name, "--table", f"0 16384 linear {device} 0")
    mapped = Path("/dev/mapper") / name
    if not mapped.exists():
        run("dmsetup", "mknodes", name)
    try:
        run("mkswap", "-U", UUID, mapped)
        run("swapon", mapped)
        try:
            found = area(mapped)
        finally:
            run("swapoff", mapped)
    finally:
        run("dmsetup", "remove", name)
    assert (found["uuid"], found["backing"]) == (UUID, f"dm: {name}")


def test_database_of_udev(image: Path, loop_device: Callable[[Path], Path]) -> None:
    """As another user, who cannot read the device: from udev's database, in a /run of its own."""
    require("mount", "setpriv")
    device = loop_device(image)
    run("mkswap", "-L", "on disk", device)
    number = device.stat().st_rdev
    record = f"E:ID_FS_TYPE=swap\nE:ID_FS_LABEL_ENC=in\\x20udev\nE:ID_FS_UUID={UUID}\nG:systemd\n"
    script = """
        mount -t tmpfs none /run && mkdir -p /run/udev/data && : >/run/udev/control
        printf %s "$1" >"/run/udev/data/$2"
        swapon "$3" && trap 'swapoff "$3"' EXIT
        setpriv --reuid 65534 --clear-groups --no-new-privs "$4" status --json "$3"
    """
    number_text = f"b{os.major(number)}:{os.minor(number)}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", record, number_text, device, GHOSTCTL],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["swapareas"]
    assert (found["label"], found["uuid"]) == ("in udev", UUID)


@pytest.mark.usefixtures("zram")
def test_zram_device() -> None:
    device = add_device()
    try:
        set_size(device)
        algorithm = attribute(str(device), "comp_algorithm")
        run("mkswap", "-L", "in zram", device)
        run("swapon", device)
        try:
            found = area(device)
        finally:
            run("swapoff", device)
    finally:
        remove_device(device)
    assert found["label"] == "in zram"
    assert f"[{str(found['backing']).removeprefix('zram: ')}]" in algorithm
