# SPDX-License-Identifier: GPL-2.0-or-later
"""What ghosts can really hold, while a workload needs it: the figure turns before the machine stalls."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from vm.inside import DIR, Hog, make_file, must, set_zswap

from ghostctl import areas, capacity, zswap

GUEST = {"kernels": ["ghost-7.2"], "timeout": 900}

WORKLOAD_MIB = 700
PROGRAM = Path(sys.executable).with_name("ghostctl")
GHOST = DIR / "swap0"


def prepare(size: int | str, prio: int) -> None:
    """A ghost that is active, and a pool of a fifth of memory."""
    set_zswap(percent=20)
    must(str(PROGRAM), "mkghost", "-s", str(size), str(GHOST))
    must(str(PROGRAM), "-q", "on", "-p", str(prio), str(GHOST))


def measure() -> capacity.Total:
    found = capacity.total(capacity.held(areas.read(), zswap.read()))
    assert found is not None
    return found


def swap_free() -> int:
    (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if "SwapFree" in line]
    return int(line.split()[1]) << 10


def test_the_verdict_turns_before_the_machine_stalls() -> None:
    """A ghost of 1 GiB on a pool of a fifth of 512 MiB: little is left long before SwapFree says so."""
    prepare("1G", 10)
    assert measure().is_short
    hog = Hog(WORKLOAD_MIB + 100)
    history = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and hog.process.poll() is None:
        found = measure()
        history.append((found.room, swap_free(), found.used))
        time.sleep(0.25)
    assert hog.fill(0) != "filled", "the workload fits: nothing stalls here"
    hog.end()
    turned = next(i for i, (left, _, _) in enumerate(history) if (left or 0) < 64 << 20)
    _, free, used = history[turned]
    # free(1) still promises hundreds of MiB, and pages still went to the ghost after that
    assert free > 256 << 20, history
    assert max(after for _, _, after in history[turned:]) > used, history


def test_an_ordinary_area_above_a_large_ghost_keeps_the_machine_alive() -> None:
    prepare("1G", 1)
    must("/sbin/swapon", "-p", "10", make_file(DIR / "real", 1024))
    done = subprocess.run([PROGRAM, "doctor", "-v"], capture_output=True, text=True, check=False)
    assert "FAIL" not in done.stdout
    assert "has the higher priority and takes the rest" in done.stdout
    hog = Hog(WORKLOAD_MIB)
    assert hog.fill() == "filled"
    assert hog.check() == 0
