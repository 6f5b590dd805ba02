# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands for fstab, where something is active or becomes so."""

from __future__ import annotations

import os
from pathlib import Path

from machine import ghostctl, is_active, require, run, swap_file


def test_ensure_leaves_an_active_area_alone(tmp_path: Path, swap_dir: Path) -> None:
    require("swap")
    fstab, ghost = tmp_path / "fstab", swap_dir / "ghost"
    run("swapon", swap_file(ghost))
    before = (ghost.read_bytes(), ghost.stat().st_mtime_ns)
    fstab.write_text(f"{ghost} none swap x-ghost.size=1G\n")
    done = ghostctl("fstab", "ensure", "-T", fstab)
    assert done.returncode == 0
    assert "is active" in done.stderr
    assert (ghost.read_bytes(), ghost.stat().st_mtime_ns) == before


def test_probe_leaves_nothing(swap_dir: Path) -> None:
    require("root")
    done = ghostctl("fstab", "probe", swap_dir / "not/yet/ghost")
    assert done.returncode in (0, 5)
    assert (done.returncode == 5) == ("has no ghost swap" in done.stderr)
    assert os.listdir(swap_dir) == []


def test_fallback_skip_is_no_failure_of_on_all(tmp_path: Path, swap_dir: Path) -> None:
    require("root")
    fstab, ghost = tmp_path / "fstab", swap_dir / "ghost"
    assert ghostctl("mkghost", "-s", "1M", ghost).returncode == 0
    fstab.write_text(f"{ghost} none swap nofail,x-ghost.fallback=skip,x-ghost.zswap\n")
    done = ghostctl("on", "--all", "-T", fstab)
    assert done.returncode == 0
    assert is_active(ghost) or f"{ghost}: warning: skipped: this kernel" in done.stderr
