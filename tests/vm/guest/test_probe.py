# SPDX-License-Identifier: GPL-2.0-or-later
"""The throw-away ghost of doctor --probe."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from vm.inside import DIR, HAS_GHOSTS, swaps

GUEST = {"kernels": ["ghost-7.2", "stock-6.12"], "timeout": 600}

PROGRAM = Path(sys.executable).with_name("ghostctl")


def test_a_killed_probe_leaves_nothing() -> None:
    """Killed at any moment, from before the area is on to after it is off."""
    before = swaps()
    start = time.monotonic()
    subprocess.run([PROGRAM, "doctor", "--probe"], stdout=subprocess.DEVNULL, check=False)
    duration = time.monotonic() - start
    for share in range(6, 12):
        with subprocess.Popen(
            [PROGRAM, "doctor", "--probe"], stdout=subprocess.DEVNULL, start_new_session=True
        ) as process:
            time.sleep(duration * share / 12)
            subprocess.run(["kill", "-KILL", f"-{process.pid}"], check=False)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and ((DIR / ".ghostctl-probe").exists() or swaps() != before):
        time.sleep(0.05)
    assert swaps() == before
    assert not (DIR / ".ghostctl-probe").exists()


def test_probe_knows() -> None:
    document = json.loads(
        subprocess.run([PROGRAM, "doctor", "--probe", "--json"], stdout=subprocess.PIPE, check=False).stdout
    )
    assert document["kernel"]["file"] is HAS_GHOSTS
    status = subprocess.run([PROGRAM, "doctor", "--require", "ghost"], check=False).returncode
    assert status == (0 if HAS_GHOSTS else 5)
