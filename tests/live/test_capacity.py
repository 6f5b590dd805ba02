# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of a ghost that is active through zram, against zramctl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zramdevices
from machine import HOG, cgroup_memory, ghostctl, require, run
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A memory cgroup with room for 12 MiB."""
    require("cgroup")
    hierarchy = cgroup_memory()
    assert hierarchy is not None
    directory = hierarchy / f"ghostctl-capacity-{os.getpid()}"
    directory.mkdir()
    try:
        # the one name is of version 1, the other of version 2
        names = ("memory.limit_in_bytes", "memory.max")
        (limit,) = [path for name in names if (path := directory / name).exists()]
        limit.write_text(str(12 << 20))
        yield directory
    finally:
        deadline = time.monotonic() + 10
        while directory.exists() and time.monotonic() < deadline:
            try:
                directory.rmdir()
            except OSError:
                time.sleep(0.1)


@pytest.fixture
def full(tmp_path: Path, little_memory: Path, zram: None) -> Iterator[Path]:  # noqa: ARG001
    """A ghost on zram that holds pages of a program, which does no more."""
    path = zramdevices.make_ghost(tmp_path / "a ghost", 64 << 20)
    done = ghostctl("on", "--fallback", "zram", "--memory-limit", "32M", "-p", "32767", path)
    assert (done.returncode, done.stderr) == (0, "")
    hog = subprocess.Popen(
        ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', little_memory, sys.executable, HOG, "24"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert hog.stdout is not None
        assert hog.stdout.readline() == b"ready\n"
        yield path
    finally:
        hog.kill()
        hog.wait()
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
