# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands for fstab, where something is active or becomes so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from machine import ghostctl, is_active, require, run, swap_file

from ghostctl import fstab, rundir, swaps, syscalls


def test_ensure_leaves_an_active_area_alone(tmp_path: Path, swap_dir: Path) -> None:
    require("swap")
    fstab_path, ghost = tmp_path / "fstab", swap_dir / "ghost"
    run("swapon", swap_file(ghost))
    before = (ghost.read_bytes(), ghost.stat().st_mtime_ns)
    fstab_path.write_text(f"{ghost} none swap x-ghost.size=1G\n")
    done = ghostctl("fstab", "ensure", "-T", fstab_path)
    assert done.returncode == 0
    assert "is active" in done.stderr
    assert (ghost.read_bytes(), ghost.stat().st_mtime_ns) == before


def test_fallback_skip_is_no_failure_of_on_all(tmp_path: Path, swap_dir: Path) -> None:
    require("root")
    fstab_path, ghost = tmp_path / "fstab", swap_dir / "ghost"
    assert ghostctl("mkghost", "-s", "1M", ghost).returncode == 0
    fstab_path.write_text(f"{ghost} none swap nofail,x-ghost.fallback=skip,x-ghost.zswap\n")
    done = ghostctl("on", "--all", "-T", fstab_path)
    assert done.returncode == 0
    assert is_active(ghost) or f"{ghost}: warning: skipped: this kernel" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        *("pri=3,pri=4", "pri=-2", "pri=-1", "pri=99999", "pri=99999999999", "pri=abc", "pri=12abc", "pri="),
        *("pri", "pri=+5", "pri=007", "pri=0x10", 'pri="5"', "PRI=3", ",pri=3", "nofail=yes,pri=1"),
        *("discard=async", "discard=oncex", "discard=", "discard", "discard=once,discard=pages"),
        *("discard=pages,discard", "sw,discard=pages,pri=2"),
    ],
)
def test_options_mean_what_they_mean_for_swapon(swap_dir: Path, tmp_path: Path, options: str) -> None:
    """The flags that swapon(8) passes to swapon(2), and those of the same options of a ghost's line."""
    require("swap", "strace")
    area = swap_file(swap_dir / "area")
    log = tmp_path / "log"
    run("strace", "-e", "trace=swapon", "-e", "raw=swapon", "-o", log, "swapon", "-o", options, area)
    flags = int(log.read_text().split(", ")[1].split(")")[0], 16)
    (line,) = fstab.parse(fstab.format_swap("/ghost", [("sw", None)]).replace(b"sw", options.encode()))
    declared = fstab.declare(line)
    assert flags == syscalls.swapon_flags(declared.priority, declared.discard)
    plain = ("pri=-1", "PRI=3", "discard", ",pri=3", "nofail=yes,pri=1", "sw,discard=pages,pri=2")
    assert bool(declared.warnings) is (options not in plain)


def on_zram(fstab_path: Path, ghost: Path, *options: str | Path) -> tuple[int, dict[str, Any]]:
    words = ("--nofail", "--fallback", "zram", "--now", "--json", "-T", fstab_path)
    done = ghostctl("fstab", "add", "-s", "4M", "-p", "5", *words, *options, ghost)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def test_add_now_twice(tmp_path: Path, swap_dir: Path) -> None:
    require("zram")
    fstab_path, ghost = tmp_path / "fstab", swap_dir / "ghost"
    status, document = on_zram(fstab_path, ghost)
    try:
        assert (status, document["changed"]) == (0, True)
        assert ghostctl("status", "-q", ghost).returncode == 0
        assert on_zram(fstab_path, ghost) == (0, document | {"changed": False})
        assert ghostctl("on", "-a", "-T", fstab_path).returncode == 0
        ensured = json.loads(ghostctl("fstab", "ensure", "--json", "-T", fstab_path).stdout)
        assert ensured["changed"] is False
    finally:
        assert ghostctl("off", ghost).returncode == 0
    # the line is there and the area is not
    assert on_zram(fstab_path, ghost) == (0, document)
    assert ghostctl("off", ghost).returncode == 0


def test_add_now_that_fails_takes_its_line_and_its_ghost_back(tmp_path: Path, swap_dir: Path) -> None:
    require("zram")
    fstab_path, ghost = tmp_path / "fstab", swap_dir / "ghost"
    fstab_path.write_text("# no line end")
    status, _ = on_zram(fstab_path, ghost, "--compressor", "no-such")
    assert status == 5
    assert fstab_path.read_text() == "# no line end"
    assert not ghost.exists()


def test_on_if_needed(swap_dir: Path) -> None:
    require("swap")
    area = swap_file(swap_dir / "area")
    for words in ((), ("-p", "-1")):
        assert ghostctl("on", "--if-needed", *words, area).returncode == 0
    prio = next(one.prio for one in swaps.read() if one.name == str(area))
    done = ghostctl("on", "--if-needed", "-p", "77", area)
    assert done.returncode == 0
    assert f"{area}: warning: is active already, with priority {prio}, not 77" in done.stderr
    assert ghostctl("on", area).returncode == 6


def test_a_lock_that_stays_taken_is_not_active_already(swap_dir: Path) -> None:
    require("root")
    area = swap_file(swap_dir / "area")
    st = area.stat()
    with rundir.locked(rundir.lock_name(st), str(area)):
        done = ghostctl("on", "--if-needed", area)
    assert done.returncode == 6
    assert "another process of ghostctl is at work on it" in done.stderr
    assert not is_active(area)
