# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ghostctl import areas, capacity, swaps
from ghostctl.swaps import Area
from ghostctl.zswap import Zswap
from ghostctl.zswap import read as read_zswap

MACHINES = Path(__file__).parent.parent / "data/machines"
MIB = 1 << 20


def ghost(size: int, used: int = 0) -> Area:
    return Area("/g", "ghost", size >> 10, used >> 10, 10)


def zswap(stored: int | None, pool: int | None, limit: int | None, *, enabled: bool = True) -> Zswap:
    return Zswap(enabled, "lz4", 20, 90, False, None, stored, pool, limit)


def test_no_ghost_no_capacity() -> None:
    assert capacity.measure([Area("/swap", "file", 1024, 0, 1)], zswap(0, 0, MIB)) is None


@pytest.mark.parametrize(
    ("area", "state", "available", "short"),
    [
        # slots run out first: 50 MiB of pool at 4:1 could take 200
        (ghost(300 * MIB, 200 * MIB), zswap(200 * MIB, 50 * MIB, 100 * MIB), 100 * MIB, False),
        # the pool runs out first
        (ghost(1024 * MIB, 200 * MIB), zswap(200 * MIB, 50 * MIB, 100 * MIB), 200 * MIB, True),
        # the case of a guest with 512 MiB: at the limit, and SwapFree says 318 MiB
        (ghost(682 * MIB, 364 * MIB), zswap(364 * MIB, 98 * MIB, 97 * MIB), 0, True),
        (ghost(1024 * MIB), zswap(0, 0, 100 * MIB), 300 * MIB, True),
        (ghost(1024 * MIB), zswap(0, 0, 100 * MIB, enabled=False), 0, True),
        (ghost(1024 * MIB), None, 0, True),
        (ghost(1024 * MIB), zswap(None, None, 100 * MIB), None, False),
    ],
)
def test_available(area: Area, state: Zswap | None, available: int | None, short: bool) -> None:
    found = capacity.measure([area], state)
    assert found is not None
    assert (found.available, found.is_short) == (available, short)


def test_a_few_pages_are_no_measure() -> None:
    assert capacity.ratio(zswap(MIB, 1 << 14, 100 * MIB)) == (capacity.ASSUMED_RATIO, False)
    assert capacity.ratio(zswap(8 * MIB, 2 * MIB, 100 * MIB)) == (4, True)


def test_verdict_says_what_is_short() -> None:
    found = capacity.measure([ghost(1024 * MIB, 200 * MIB)], zswap(200 * MIB, 50 * MIB, 100 * MIB))
    assert found is not None
    assert found.verdict() == (
        "824M free in ghosts, but zswap's pool can take 200M more (at 4.0:1, measured): "
        "after that nothing can be swapped to them"
    )
    off = capacity.measure([ghost(1024 * MIB)], None)
    assert off is not None
    assert off.verdict() == "1G free in ghosts, but nothing can be swapped to them"


def test_a_machine_that_swaps_to_its_ghost() -> None:
    """/proc and /sys of a guest with 512 MiB, with pages of a 560 MiB workload in its ghost of 300 MiB."""
    root = MACHINES / "linux-6.12-ghost"
    state = read_zswap(str(root))
    found = capacity.measure(swaps.read(str(root / "proc/swaps")), state)
    assert found is not None
    assert found.size == 307196 << 10
    assert found.free == (307196 - 154112) << 10
    assert found.measured
    assert found.ratio == pytest.approx(153872 / 40608)
    assert found.available == found.free
    assert not found.is_short
    assert found.holds == pytest.approx(97 * MIB * 153872 / 40608, rel=0.01)


def active(kind: str, size: int, used: int = 0, name: str = "/a") -> areas.Active:
    return areas.Active(Area(name, kind, size >> 10, used >> 10, 10), name)


ON = zswap(200 * MIB, 50 * MIB, 100 * MIB)
"""4:1, and room for 200 MiB more."""


@pytest.mark.parametrize(
    ("actives", "state", "room"),
    [
        ([], ON, 0),
        ([active("file", 100 * MIB, 30 * MIB)], ON, 70 * MIB),
        ([active("partition", 100 * MIB)], None, 100 * MIB),
        # a ghost takes what the pool does, whatever its slots say
        ([active("ghost", 1024 * MIB, 200 * MIB)], ON, 200 * MIB),
        ([active("ghost", 220 * MIB, 200 * MIB)], ON, 20 * MIB),
        ([active("xswap", 1024 * MIB)], ON, 200 * MIB),
        # two ghosts share one pool
        ([active("ghost", 1024 * MIB)] * 2, ON, 200 * MIB),
        # and with zswap off, or without it, nothing
        ([active("ghost", 1024 * MIB)], zswap(0, 0, 100 * MIB, enabled=False), 0),
        ([active("ghost", 1024 * MIB)], None, 0),
        # where the kernel does not say how full the pool is its slots have to do
        ([active("ghost", 300 * MIB, 100 * MIB)], zswap(None, None, 100 * MIB), 200 * MIB),
        (
            [active("file", 100 * MIB), active("ghost", 1024 * MIB), active("file", 8 * MIB, 8 * MIB)],
            ON,
            300 * MIB,
        ),
        # of a zram device that sysfs does not know
        ([active("partition", 100 * MIB, name="/dev/zram99999")], ON, 0),
    ],
)
def test_room(actives: list[areas.Active], state: Zswap | None, room: int) -> None:
    assert capacity.room(actives, state, 512 * MIB) == room
