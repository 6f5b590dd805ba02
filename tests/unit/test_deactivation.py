# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the pages of an area have somewhere to go, from figures like those of real machines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ghostctl import deactivation, errors, swaps
from ghostctl.areas import Active
from ghostctl.deactivation import Forecast
from ghostctl.swaps import Area
from ghostctl.zswap import UNKNOWN, Zswap

MIB = 1 << 20
MEMORY = 512 * MIB


def zswap(stored: int, pool: int, limit: int, *, enabled: bool = True) -> Zswap:
    return Zswap(enabled, "lz4", 20, 90, False, None, stored * MIB, pool * MIB, limit * MIB)


def active(name: str, kind: str, size: int, used: int) -> Active:
    backend = "zram" if "zram" in name else None if kind in ("file", "partition") else "file"
    return Active(Area(name, kind, size << 10, used << 10, 1), name, backend)


GHOST = active("/g", "ghost", 1024, 221)
FULL = active("/disk", "file", 300, 300)
ZRAM = active("/dev/zram5", "partition", 300, 200)
OFF = zswap(0, 0, 100, enabled=False)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """/proc and /sys with 512 MiB of memory and a zram device that stores 200 MiB in 50."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: {MEMORY >> 10} kB\n")
    device = tmp_path / "sys/block/zram5"
    device.mkdir(parents=True)
    stat = (200 * MIB, 45 * MIB, 50 * MIB, 80 * MIB, 50 * MIB, 0, 0, 0, 0)
    (device / "mm_stat").write_text(" ".join(map(str, stat)) + "\n")
    return tmp_path


CASES = [
    # 221 MiB in a ghost, 182 MiB available, a pool of 60 MiB: it was taken down in 2.2 s
    (GHOST, [], zswap(221, 60, 100), 182, 0, Forecast(221, 60, 182, 0), 0),
    (GHOST, [], zswap(221, 60, 100), 160, 0, Forecast(221, 60, 160, 0), 1),
    # pages are in memory, although they have slots: zswap is off
    (GHOST, [], OFF, 20, 0, Forecast(221, 0, 20, 0), 201),
    (GHOST, [], OFF, 20, 210, Forecast(11, 0, 20, 0), 0),
    (GHOST, [], OFF, 20, 500, Forecast(0, 0, 20, 0), 0),
    # they may be those of another area
    (GHOST, [FULL], OFF, 20, 310, Forecast(211, 0, 20, 0), 191),
    # an empty ghost with zswap off is no room for a full area
    (FULL, [active("/g", "ghost", 1024, 0)], OFF, 200, 0, Forecast(300, 0, 200, 0), 100),
    # with zswap on it is as much as compression gains, and that is not known before it is measured
    (FULL, [active("/g", "ghost", 1024, 0)], zswap(0, 0, 200), 200, 0, Forecast(300, 0, 200, 0), 100),
    (FULL, [GHOST], zswap(220, 55, 155), 200, 0, Forecast(300, 0, 200, 300), 0),
    # another disk area is, for what is free in it
    (FULL, [active("/other", "partition", 100, 20)], OFF, 200, 0, Forecast(300, 0, 200, 80), 20),
    (FULL, [active("/other", "partition", 100, 0)], OFF, 200, 0, Forecast(300, 0, 200, 100), 0),
    # zswap is in front of a disk area, too: what is not another's is its
    (FULL, [], zswap(100, 40, 100), 200, 0, Forecast(300, 40, 200, 0), 60),
    (FULL, [active("/other", "file", 60, 60)], zswap(100, 40, 100), 200, 0, Forecast(300, 16, 200, 0), 84),
    (FULL, [active("/other", "file", 160, 160)], zswap(100, 40, 100), 200, 0, Forecast(300, 0, 200, 0), 100),
    # but what zram has, zswap has not
    (FULL, [ZRAM], zswap(100, 40, 100), 150, 0, Forecast(300, 40, 150, 75), 35),
    # a zram device gives back what it takes
    (ZRAM, [], OFF, 150, 0, Forecast(200, 50, 150, 0), 0),
    (ZRAM, [], OFF, 140, 0, Forecast(200, 50, 140, 0), 10),
    (ZRAM, [], zswap(20, 10, 100), 130, 0, Forecast(200, 60, 130, 0), 10),
    # more in zswap than there can be
    (ZRAM, [], zswap(400, 100, 100), 130, 0, Forecast(200, 100, 130, 0), 0),
    # nothing is known of zswap, or the kernel has none
    (GHOST, [], UNKNOWN, 200, 0, Forecast(221, 0, 200, 0), 21),
    (FULL, [], None, 299, 0, Forecast(300, 0, 299, 0), 1),
]


@pytest.mark.parametrize(("area", "others", "state", "available", "cached", "found", "missing"), CASES)
def test_where_pages_go(
    machine: Path,
    area: Active,
    others: list[Active],
    state: Zswap | None,
    available: int,
    cached: int,
    found: Forecast,
    missing: int,
) -> None:
    meminfo = {"MemAvailable": available * MIB, "SwapCached": cached * MIB, "MemTotal": MEMORY}
    got = deactivation.forecast(area, others, state, meminfo, str(machine))
    assert [size / MIB for size in got] == pytest.approx(list(found), abs=0.01)
    assert got.missing / MIB == pytest.approx(missing, abs=0.01)


def make_cgroup(directory: Path, limit: int, current: int, swap: int) -> None:
    directory.mkdir(parents=True)
    (directory / "memory.max").write_text(f"{limit * MIB}\n")
    (directory / "memory.current").write_text(f"{current * MIB}\n")
    (directory / "memory.swap.current").write_text(f"{swap * MIB}\n")


def test_a_service_that_would_be_killed(machine: Path) -> None:
    mount = machine / "sys/fs/cgroup"
    make_cgroup(mount / "system.slice", 999, 100, 269)
    make_cgroup(mount / "system.slice/a b.service", 160, 100, 269)
    make_cgroup(mount / "system.slice/a b.service/below", 200, 100, 200)
    make_cgroup(mount / "fits", 300, 30, 269)
    (mount / "cgroup.controllers").write_text("memory\n")
    with pytest.raises(errors.NoMemory) as caught:
        deactivation._check_cgroups(GHOST, [], 0, str(machine))
    error = caught.value
    assert str(error) == (
        "/g: the cgroup system.slice/a b.service (and 1 more) has 269 MiB in swap, and memory for 60 MiB "
        "of it: its processes would be killed"
    )
    assert error.hint is not None
    assert error.hint.endswith("  # or: ghostctl off --force /g")
    # the hint is a command for all of them
    subprocess.run(["sh", "-ec", error.hint], check=True)
    deactivation._check_cgroups(GHOST, [], 0, str(machine))
    assert (mount / "fits/memory.max").read_text() == f"{300 * MIB}\n"
    # an eighth more than they lack
    services = mount / "system.slice"
    assert (services / "a b.service/memory.max").read_text() == f"{342 * MIB}\n"
    assert (services / "a b.service/below/memory.max").read_text() == f"{313 * MIB}\n"


@pytest.mark.parametrize(("room", "fits"), [(160, False), (161, True)])
def test_pages_of_a_service_that_go_on(machine: Path, room: int, fits: bool) -> None:
    mount = machine / "sys/fs/cgroup"
    make_cgroup(mount / "box", 160, 100, 269)
    (mount / "cgroup.controllers").write_text("memory\n")
    others = [active("/other", "file", 999, 20)]
    if fits:
        deactivation._check_cgroups(GHOST, others, room * MIB, str(machine))
    else:
        with pytest.raises(
            errors.NoMemory, match="the cgroup box has 269 MiB in swap, and memory for 220 MiB"
        ):
            deactivation._check_cgroups(GHOST, others, room * MIB, str(machine))


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ("/g ghost 1048576 226304 1", "still active"),
        ("/g ghost 1048576 999999 1", "still active"),
        ("/g ghost 1048576 102400 1", "still active, 121 MiB of 221 MiB came back"),
        ("/other ghost 1048576 1 1", "no longer active"),
        (None, "and it cannot be told whether active"),
    ],
)
def test_the_state_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str | None, state: str
) -> None:
    path = tmp_path / "swaps"
    if lines is not None:
        path.write_text(f"Filename Type Size Used Priority\n{lines}\n")
    monkeypatch.setattr(swaps.printed, "__defaults__", (str(path),))
    assert deactivation.state_of(GHOST.area) == state
