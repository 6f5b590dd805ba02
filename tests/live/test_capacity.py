# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of a ghost that is active through zram, against zramctl."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import zramdevices
from machine import ghostctl, hog_in, require, run
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus


@pytest.fixture
def full(tmp_path: Path, memory_cgroup: Path, zram: None) -> Iterator[Path]:  # noqa: ARG001
    """A ghost on zram that holds pages of a program, which does no more."""
    path = zramdevices.make_ghost(tmp_path / "a ghost", 64 << 20)
    done = ghostctl("on", "--fallback", "zram", "--memory-limit", "32M", "-p", "32767", path)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        with hog_in(memory_cgroup):
            yield path
    finally:
        zramdevices.off(path)


def zramctl(name: str) -> tuple[int, int, int]:
    """Pages before compression, all memory that they take, and the limit of that; in bytes."""
    columns = "DATA,TOTAL,MEM-LIMIT"
    shown = run("zramctl", "--bytes", "--raw", "--noheadings", "--output", columns, name).split()
    stored, memory, limit = map(int, shown)
    return stored, memory, limit


def test_all_formats_say_what_zramctl_says(full: Path) -> None:
    require("zram")
    (row,) = zramdevices.status(full)
    name = row["name"]
    stored, memory, limit = before = zramctl(name)
    assert stored > 4 << 20
    assert 0 < memory < stored
    assert limit == 32 << 20

    columns = ("status", "--bytes", "--raw", "--noheadings", "-o", "STORED,MEMORY,LIMIT", full)
    assert tuple(map(int, ghostctl(*columns).stdout.split())) == before
    document = json.loads(ghostctl("status", "--json", full).stdout)
    (area,) = document["swapareas"]
    assert (area["stored"], area["memory"], area["limit"]) == before
    for option, read in (("--openmetrics", read_openmetrics), ("--prometheus", read_prometheus)):
        found = {
            sample.name.removeprefix("ghostctl_ghost_"): sample
            for family in read(ghostctl("status", option).stdout)
            for sample in family.samples
            if sample.labels.get("name") == name
        }
        assert tuple(found[f"{key}_bytes"].value for key in ("stored", "memory", "limit")) == before
        assert found["stored_bytes"].labels == {
            "name": name,
            "type": "partition",
            "ghost": str(full),
            "backend": "zram",
            "label": zramdevices.LABEL,
        }
    # nothing was swapped meanwhile
    assert zramctl(name) == before
