# SPDX-License-Identifier: GPL-2.0-or-later
"""Swap on block devices where udev runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import require
from vm.inside import DIR, kernel_log, must, set_zswap

GUEST = {"kernels": ["stock-7.2"], "timeout": 400}

PROGRAM = Path(sys.executable).with_name("ghostctl")
UDEVD = Path("/lib/systemd/systemd-udevd")
UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"


@pytest.fixture
def udev() -> Iterator[None]:
    require("udevd")
    with subprocess.Popen([UDEVD]) as daemon:
        while not Path("/run/udev/control").exists():
            assert daemon.poll() is None
        yield
        daemon.terminate()


@pytest.mark.usefixtures("udev")
def test_labels_come_from_udev(tmp_path: Path) -> None:
    image = tmp_path / "image"
    must("truncate", "-s", "8M", str(image))
    device = must("losetup", "--find", "--show", str(image)).strip()
    must("/sbin/mkswap", "-L", "lab \u00e9l", "-U", UUID, device)
    must("udevadm", "trigger", "--action=change", f"--name-match={device}")
    must("udevadm", "settle")
    must("/sbin/swapon", device)
    # a user who cannot read the device
    text = must("setpriv", "--reuid", "65534", "--clear-groups", str(PROGRAM), "status", "--json", device)
    (area,) = json.loads(text)["swapareas"]
    assert (area["label"], area["uuid"]) == ("lab \u00e9l", UUID)
    assert area["backing"] == f"loop: {image}"
    must(str(PROGRAM), "off", "LABEL=lab \u00e9l")
    must("losetup", "--detach", device)


@pytest.mark.usefixtures("udev")
def test_nothing_of_a_mapping_is_read() -> None:
    """It has its link, and nobody looks for a file system where reading fails."""
    set_zswap()
    ghost = DIR / "swap0"
    must(str(PROGRAM), "-q", "mkghost", "-s", "16M", "-U", UUID, "-L", "mapped", ghost)
    must(str(PROGRAM), "on", "--backend", "dm", ghost)
    must("udevadm", "settle")
    (link,) = Path("/dev/mapper").glob("ghost-swap0-*")
    device = link.resolve()
    assert "ID_FS_TYPE" not in must("udevadm", "info", "--query=property", device)
    # what udev knows of the loop device is a part of it
    for spec in (f"UUID={UUID}", "LABEL=mapped"):
        (area,) = json.loads(must(str(PROGRAM), "status", "--json", spec))["swapareas"]
        assert (area["name"], area["ghost"]) == (str(device), str(ghost))
    assert "error" not in kernel_log()
    must(str(PROGRAM), "off", f"UUID={UUID}")
    must("udevadm", "settle")
    assert (list(Path("/dev/mapper").glob("ghost-*")), device.exists()) == ([], False)
