# SPDX-License-Identifier: GPL-2.0-or-later
"""What is particular to ghostswap and xswap: areas that say nothing of the ghost, and others make, too."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stepwise import forked
from vm.inside import DIR, PAGE, XSWAP, counters, newest, set_zswap, swapoff, swapoff_all, swapon, swaps
from vm.program import SIZE, ghostctl, make_ghost, must, one_area, status, turn_on

GUEST = {"kernels": ["interfaces-7.2", "interfaces-6.12"], "timeout": 1800}


@pytest.fixture(autouse=True)
def prepared() -> Iterator[None]:
    set_zswap(percent=50)
    yield
    swapoff_all()
    ghostctl("-q", "off", DIR / "none")


@pytest.fixture
def ghost() -> Path:
    return make_ghost("swap0")


@pytest.mark.parametrize("backend", ["file", "ghostswap", "xswap"])
def test_zswap_has_to_be_on(ghost: Path, backend: str) -> None:
    set_zswap(enabled=False)
    done = ghostctl("on", "--backend", backend, ghost)
    assert done.status == 1
    assert "zswap is off" in done.err
    assert "--enable-zswap" in done.err
    assert swaps() == []
    turn_on(ghost, backend, "--enable-zswap")
    assert ghostctl("off", ghost).status == 0


def test_xswap_refused_by_the_kernel(ghost: Path) -> None:
    set_zswap(enabled=False)
    done = ghostctl("on", "--backend", "xswap", "--force", ghost)
    assert done.status == 1
    assert "without it the kernel makes no xswap area" in done.err


def test_ghostswap_is_one(ghost: Path) -> None:
    other = make_ghost("swap1")
    turn_on(ghost, "ghostswap")
    done = ghostctl("on", "--backend", "ghostswap", other)
    assert done.status == 6
    assert "there is one only" in done.err
    assert one_area(ghost)["name"] == "/dev/ghostswap"
    assert ghostctl("off", other).status == 3


def test_ghostswap_taken_down_by_hand(ghost: Path) -> None:
    turn_on(ghost, "ghostswap")
    swapoff("/dev/ghostswap")
    assert ghostctl("off", ghost).status == 3
    swapon("/dev/ghostswap")
    assert status("/dev/ghostswap")[0]["ghost"] is None
    assert ghostctl("off", "/dev/ghostswap").status == 0


def test_xswap_sizes(ghost: Path) -> None:
    must("-q", "resize", ghost, str(1000 * PAGE))
    turn_on(ghost, "xswap")
    assert one_area(ghost)["size"] == 1023 * PAGE
    assert ghostctl("off", ghost).status == 0
    ram = counters("/proc/meminfo")["MemTotal"] << 10
    must("-q", "resize", ghost, str(3 * ram))
    turn_on(ghost, "xswap")
    assert one_area(ghost)["size"] > 2.9 * ram
    assert ghostctl("off", ghost).status == 0


def test_xswap_while_others_create_areas(ghost: Path) -> None:
    stop = threading.Event()

    def create() -> None:
        while not stop.wait(0.01) and len(swaps()) < 12:
            (XSWAP / "create").write_text("100")

    others = threading.Thread(target=create)
    others.start()
    time.sleep(0.02)
    try:
        turn_on(ghost, "xswap")
    finally:
        stop.set()
        others.join()
    assert len(swaps()) > 2
    ours = [area for area in status() if area["ghost"] is not None]
    assert [(area["ghost"], area["size"]) for area in ours] == [(str(ghost), SIZE - PAGE)]
    assert ghostctl("off", ghost).status == 0
    assert ghostctl("off", "--all").status == 0
    assert swaps() == []


def test_a_stale_record_is_noticed(ghost: Path) -> None:
    turn_on(ghost, "xswap")
    (name,) = (swap.path for swap in swaps())
    assert Path(f"/run/ghostctl/{name}").exists()
    (XSWAP / "destroy").write_text(name.removeprefix("xswap"))
    (XSWAP / "create").write_text("100")
    assert [swap.path for swap in swaps()] == [name]
    (area,) = status()
    assert (area["backend"], area["ghost"]) == ("xswap", None)
    assert ghostctl("off", ghost).status == 3
    turn_on(ghost, "xswap")
    assert one_area(ghost)["name"] != name
    assert ghostctl("off", name).status == 0
    assert ghostctl("off", ghost).status == 0


@newest
@pytest.mark.parametrize("backend", ["xswap", "ghostswap"])
def test_killed_between_any_two_steps(ghost: Path, backend: str) -> None:
    files = (f"backends/{backend}.py", "ghostctl/rundir.py")
    on = ("on", "--backend", backend, "-p", "100", ghost)
    ends = []
    for kill_at in range(1, 300, 2):
        first = forked(*on, files=files, kill_at=kill_at)
        ends.append(first.status)
        again = ghostctl(*on)
        assert again.status in (0, 6), (kill_at, first, again)
        for swap in swaps():
            if f"{swap.path}: warning: may be left" in again.err:
                hint = f"hint: echo {swap.path.removeprefix('xswap')} > {XSWAP}/destroy  # if so"
                assert hint in again.err
        areas = swaps()
        assert len(areas) <= 2, (kill_at, first, again)
        for swap in areas:
            assert ghostctl("off", swap.path).status == 0
        if first.status != -signal.SIGKILL:
            break
    assert ends[-1] == 0
    assert len(ends) > 10
