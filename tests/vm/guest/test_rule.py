# SPDX-License-Identifier: GPL-2.0-or-later
"""What `plan` proposes outlives a workload that is larger than memory, however badly its pages compress.

A ghost that declares no more than its pool may take runs out of slots first: the kernel goes on to the next
area or, without one, kills at once. Far above that it does neither, and the area below stays unused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import GHOSTCTL
from vm import program
from vm.inside import (
    DIR,
    HAS_GHOSTS,
    Outcome,
    counters,
    make_file,
    must,
    needs_ghosts,
    pressure,
    set_zswap,
)

GUEST = {"kernels": ["ghost-7.2", "ghost-6.12", "stock-7.2"], "timeout": 1500, "cpus": 2, "memory_mib": 256}

GHOST = DIR / "swap0"
SETTINGS = Path("/etc/tmpfiles.d/ghostctl-zswap.conf")

NOISE = {"3.7:1": 1000, "1.35:1": 3000, "1:1": 4096}
"""How pages compress with lz4, and the bytes of noise in one that make it so."""
LARGE, SLOW, FITS = 320, 270, 190
"""MiB of workloads: larger than memory and a ghost together, larger than memory alone, and smaller."""
LIMIT = 120
"""Seconds, several times what a workload of `LARGE` takes that goes on."""


def sh(command: str) -> None:
    must("env", f"PATH={GHOSTCTL.parent}:{os.environ['PATH']}", "sh", "-c", command)


def planned() -> list[str]:
    document: dict[str, Any] = json.loads(program.must("plan", "--ratio", "3", "--json"))
    commands: list[str] = document["commands"]
    return commands


def follow_plan(backend: str) -> None:
    """And nothing is left to do, nor to say about it."""
    for command in planned():
        sh(command)
    assert program.one_area(GHOST)["backend"] == backend
    assert planned() == []
    checks = json.loads(program.ghostctl("doctor", "--json").out)["checks"]
    ids = ("size", "pool", "priority", "zswap")
    found = [check for check in checks if check["id"] in ids]
    assert {check["id"] for check in found} == {*ids}
    assert [check for check in found if check["status"] != "OK"] == []


def add_disk() -> None:
    must("/sbin/swapon", "-p", "1", make_file(DIR / "disk", 512))


def stress(mib: int, kind: str) -> Outcome:
    # not to be counted as the workload's
    must("sync")
    outcome = pressure(mib, NOISE[kind], LIMIT)
    print(mib, "MiB", kind, outcome)
    return outcome


@pytest.fixture(autouse=True, params=["file"] if HAS_GHOSTS else ["dm", "zram"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """What `plan` has to choose; zram on a kernel that seems to have no device mapper."""
    set_zswap(enabled=False)
    name: str = request.param
    if name == "zram":
        must("mount", "-t", "tmpfs", "none", "/sys/class/misc")
    yield name
    SETTINGS.unlink(missing_ok=True)
    program.ghostctl("off", "-a", "--force")
    if name == "zram":
        must("umount", "/sys/class/misc")


@pytest.mark.parametrize("kind", ["3.7:1", "1.35:1"])
def test_a_planned_ghost_above_a_disk_area(kind: str, backend: str) -> None:
    add_disk()
    follow_plan(backend)
    outcome = stress(LARGE, kind)
    assert outcome.end == "survived"
    if kind == "1.35:1":
        assert outcome.written > 32


def test_a_planned_ghost_alone(backend: str) -> None:
    follow_plan(backend)
    before = counters("/proc/vmstat")["zswpout"]
    fits, large = stress(FITS, "3.7:1"), stress(LARGE, "1.35:1")
    assert (fits.end, fits.written) == ("survived", 0)
    assert (counters("/proc/vmstat")["zswpout"] > before) == (backend != "zram")
    # too much for the machine, and said at once
    assert large.end == "killed"


@needs_ghosts
def test_a_ghost_far_above_its_pool() -> None:
    """The control: the disk area below it stays unused."""
    add_disk()
    set_zswap(percent=50)
    program.must("mkghost", "-s", "440M", GHOST)
    done = program.ghostctl("on", "-p", "100", GHOST)
    assert "declares more than zswap's pool may take" in done.err
    outcome = stress(LARGE, "1.35:1")
    assert outcome.end in ("killed", "stuck")
    assert outcome.written < 16


def test_pages_that_do_not_compress(backend: str) -> None:
    """They can go to the disk area as without a ghost, and the machine never hangs.

    In zswap they gain nothing, so the OOM killer may come before the slots of the ghost are taken: it did
    once in some ten runs on 7.2.
    """
    add_disk()
    alone = stress(SLOW, "1:1")
    assert alone.end == "survived"
    follow_plan(backend)
    for _ in range(3):
        beside = stress(SLOW, "1:1")
        if beside.end != "killed":
            break
    assert beside.end == "survived"
    assert beside.written <= alone.written
