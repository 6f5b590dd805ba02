# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has pages in a ghost: the process, its cgroup of version 2, and what zswap has of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from machine import GHOSTCTL
from vm.inside import DIR, Cgroup, must, set_zswap, swapon, swaps, write_area

GUEST = {"kernels": ["ghost-7.2", "ghost-6.12"]}

MIB = 1 << 20


@pytest.fixture
def ghost() -> Path:
    path = write_area(DIR / "ghost", 128 * 256)
    swapon(path)
    set_zswap(percent=50)
    return path


def usage(*options: str) -> Any:
    return json.loads(must(GHOSTCTL, "usage", "--json", *options))


@pytest.mark.usefixtures("ghost")
def test_cgroups_and_their_part_of_zswap() -> None:
    with Cgroup("box", max="32M") as box:
        (box.path / "memory.swap.max").write_text(str(90 * MIB))
        (box.path / "memory.zswap.writeback").write_text("0")
        hog = box.hog(64)
        assert hog.fill() == "filled"
        document = usage("--cgroups")
        (row,) = (row for row in document["cgroups"] if row["name"] == "box")
        assert 30 * MIB < row["swap"] <= 90 * MIB
        assert row["swap"] == int((box.path / "memory.swap.current").read_text())
        # of pages in the swap cache, zswap has none
        assert 30 * MIB < row["stored"] <= row["swap"]
        assert row["memory"] == int((box.path / "memory.zswap.current").read_text())
        assert row["ratio"] == round(row["stored"] / row["memory"], 2)
        assert (row["swap-max"], row["zswap-max"], row["writeback"]) == (90 * MIB, "max", False)
        total = document["total"]
        assert total["used"] == sum(area.used_kib << 10 for area in swaps())
        assert total["counted"] + total["other"] - total["excess"] == total["used"]
        assert total["other"] < MIB

        processes = usage()
        first = processes["processes"][0]
        assert first["command"].startswith("/run/lab/hog")
        assert 30 * MIB < first["swap"] <= row["swap"]
        print(must(GHOSTCTL, "usage"), must(GHOSTCTL, "usage", "--cgroups"))
        hog.end()
