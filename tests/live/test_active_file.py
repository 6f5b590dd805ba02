# SPDX-License-Identifier: GPL-2.0-or-later
"""What writes to files keeps away from one that is an active area."""

from __future__ import annotations

from pathlib import Path

from machine import ghostctl, run, swap_file


def test_mkghost_label_and_resize(swap_dir: Path) -> None:
    path = swap_file(swap_dir / "swap")
    before = path.read_bytes()
    run("swapon", path)
    for options in ((), ("--force",), ("--if-needed",)):
        refused(path, "mkghost", *options, "-s", "1G", path)
    refused(path, "label", "-L", "x", path)
    refused(path, "resize", path, "1G")
    run("swapoff", path)
    assert path.read_bytes() == before


def refused(path: Path, *words: str | Path) -> None:
    done = ghostctl(*words)
    assert (done.returncode, done.stdout) == (6, "")
    (message,) = (line for line in done.stderr.splitlines() if "hint:" not in line)
    assert message == f"ghostctl: {path}: is an active swap area"
