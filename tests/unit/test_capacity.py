# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostctl import capacity, mmstat, swaps
from ghostctl.areas import Active
from ghostctl.capacity import Held, Pool
from ghostctl.swaps import Area
from ghostctl.zswap import UNKNOWN, Zswap
from ghostctl.zswap import read as read_zswap

MACHINES = Path(__file__).parent.parent / "data/machines"
MIB = 1 << 20
PAGE = 4096


def area(kind: str, size: int, used: int = 0, name: str = "/g", prio: int = 10) -> Area:
    return Area(name, kind, size >> 10, used >> 10, prio)


def active(
    kind: str, size: int, used: int = 0, name: str = "/g", backend: str | None = None, prio: int = 10
) -> Active:
    backend = backend or ("file" if kind == "ghost" else None)
    return Active(area(kind, size, used, name, prio), name, backend, name if backend else None)


def zswap(stored: int | None, pool: int | None, limit: int | None, *, enabled: bool = True) -> Zswap:
    return Zswap(enabled, "lz4", 20, 90, False, None, stored, pool, limit)


class Root:
    """A machine's /proc and /sys with zram devices."""

    def __init__(self, path: Path, memory: int = 1024 * MIB) -> None:
        self.path = path
        (path / "proc").mkdir()
        (path / "proc/meminfo").write_text(f"MemTotal: {memory >> 10} kB\n")

    def zram(self, number: int, mm_stat: str) -> None:
        directory = self.path / f"sys/block/zram{number}"
        directory.mkdir(parents=True)
        (directory / "mm_stat").write_text(mm_stat)

    def __str__(self) -> str:
        return str(self.path)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


ON = zswap(200 * MIB, 50 * MIB, 100 * MIB)
"""4:1, and room for 200 MiB more."""


def test_no_ghost_no_total() -> None:
    assert capacity.total(capacity.held([active("file", MIB)], ON)) is None


@pytest.mark.parametrize(
    ("one", "state", "room", "short"),
    [
        # slots run out first: 50 MiB of pool at 4:1 could take 200
        (active("ghost", 300 * MIB, 200 * MIB), ON, 100 * MIB, False),
        # the pool runs out first
        (active("ghost", 1024 * MIB, 200 * MIB), ON, 200 * MIB, True),
        # a guest with 512 MiB at the limit, where SwapFree says 318 MiB
        (active("ghost", 682 * MIB, 364 * MIB), zswap(364 * MIB, 98 * MIB, 97 * MIB), 0, True),
        # with nothing to measure by, a page takes a page
        (active("ghost", 1024 * MIB), zswap(0, 0, 100 * MIB), 100 * MIB, True),
        (active("ghost", 100 * MIB), zswap(0, 0, 100 * MIB), 100 * MIB, False),
        (active("ghost", 1024 * MIB), zswap(3 * MIB, MIB, 100 * MIB), 99 * MIB, True),
        (active("ghost", 1024 * MIB), zswap(MIB, 2 * MIB, 100 * MIB), 99 * MIB, True),
        # pages that take more than they have
        (active("ghost", 1024 * MIB), zswap(20 * MIB, 40 * MIB, 100 * MIB), 30 * MIB, True),
        (active("ghost", 1024 * MIB), zswap(0, 0, 100 * MIB, enabled=False), 0, True),
        (active("ghost", 1024 * MIB), None, 0, True),
        (active("xswap", 1024 * MIB, name="xswap0"), ON, 200 * MIB, True),
        (active("ghost", 1024 * MIB), zswap(None, None, 100 * MIB), None, False),
        (active("ghost", 1024 * MIB), zswap(0, 0, None), None, False),
        (active("ghost", 1024 * MIB), UNKNOWN, None, False),
        # max_pool_percent of 0
        (active("ghost", 1024 * MIB), zswap(0, 0, 0), 0, True),
    ],
)
def test_room_of_a_ghost_in_zswap(one: Active, state: Zswap | None, room: int | None, short: bool) -> None:
    held = capacity.held([one], state)
    assert held[0].room == room
    found = capacity.total(held)
    assert found is not None
    assert (found.room, found.is_short) == (room, short)


def mm_stat(stored: int, used: int, limit: int) -> str:
    return f"{stored} {max(used - 4096, 0)} {used} {limit} {used} 0 0 3 0\n"


@pytest.mark.parametrize(
    ("stat", "stored", "memory", "limit", "room"),
    [
        (mm_stat(40 * MIB, 10 * MIB, 64 * MIB), 40 * MIB, 10 * MIB, 64 * MIB, 54 * MIB * 4),
        # without a limit, all memory
        (mm_stat(40 * MIB, 10 * MIB, 0), 40 * MIB, 10 * MIB, None, 960 * MIB),
        # a limit of more than memory is none
        (mm_stat(40 * MIB, 20 * MIB, 9 << 40), 40 * MIB, 20 * MIB, 9 << 40, 960 * MIB),
        # full, and past its limit
        (mm_stat(200 * MIB, 64 * MIB, 64 * MIB), 200 * MIB, 64 * MIB, 64 * MIB, 0),
        (mm_stat(200 * MIB, 65 * MIB, 64 * MIB), 200 * MIB, 65 * MIB, 64 * MIB, 0),
        # of an old kernel, short, absent, of another kind
        (f"{40 * MIB} {9 * MIB} {10 * MIB}\n", 40 * MIB, 10 * MIB, None, None),
        ("12 34\n", None, None, None, None),
        ("", None, None, None, None),
        ("a b c d\n", None, None, None, None),
        ("-1 2 3 4\n", None, None, None, None),
        (None, None, None, None, None),
    ],
)
def test_room_of_a_ghost_on_zram(
    root: Root,
    stat: str | None,
    stored: int | None,
    memory: int | None,
    limit: int | None,
    room: int | None,
) -> None:
    if stat is not None:
        root.zram(7, stat)
    one = active("partition", 1000 * MIB, 40 * MIB, "/dev/zram7", "zram")
    # zswap has nothing to do with it
    (held,) = capacity.held([one], ON, str(root))
    assert held.pool.name == "zram7"
    assert (held.pool.stored, held.pool.used, held.pool.limit, held.room) == (stored, memory, limit, room)


def test_mm_stat_field_by_field() -> None:
    found = mmstat.parse("1 2 3 4 5 6 7 8 9\n")
    assert found == mmstat.MmStat(1, 2, 3, 4, 6, 8)
    assert mmstat.parse("1 2 3 4 5 6 7\n") == mmstat.MmStat(1, 2, 3, 4, 6, None)


@given(st.text("0123456789 -x\n", max_size=60))
def test_any_mm_stat_is_read_or_not(text: str) -> None:
    found = mmstat.parse(text)
    assert found is None or found.orig_data_size >= 0


def test_hundreds_of_zram_devices(root: Root) -> None:
    for number in range(300):
        root.zram(number, mm_stat(40 * MIB, 10 * MIB, 64 * MIB))
    devices = [active("partition", 100 * MIB, 0, f"/dev/zram{number}", "zram") for number in range(300)]
    found = capacity.total(capacity.held(devices, None, str(root)))
    assert found is not None
    assert (found.stored, found.memory, found.limit) == (12000 * MIB, 3000 * MIB, 19200 * MIB)
    assert found.ratio == 4


def test_each_pool_counts_once(root: Root) -> None:
    root.zram(1, mm_stat(8 * MIB, 4 * MIB, 64 * MIB))
    root.zram(2, mm_stat(8 * MIB, 4 * MIB, 64 * MIB))
    found = capacity.held(
        [
            active("ghost", 100 * MIB, 50 * MIB, "/a"),
            active("ghost", 500 * MIB, 150 * MIB, "/b"),
            active("partition", 100 * MIB, 8 * MIB, "/dev/zram1", "zram"),
            # made for no ghost
            active("partition", 100 * MIB, 8 * MIB, "/dev/zram2"),
            active("file", 100 * MIB, 8 * MIB, "/f"),
        ],
        ON,
        str(root),
    )
    assert [one.area.name for one in found] == ["/a", "/b", "/dev/zram1", "/dev/zram2"]
    assert [one.is_ghost for one in found] == [True, True, True, False]
    total = capacity.total(found)
    assert total == capacity.Total(700 * MIB, 208 * MIB, 208 * MIB, 54 * MIB, 164 * MIB, 292 * MIB)


def test_the_verdict_says_what_is_short(root: Root) -> None:
    def verdict(*actives: Active, state: Zswap | None) -> str:
        held = capacity.held(actives, state, str(root))
        found = capacity.total(held)
        assert found is not None
        return capacity.verdict(found, held)

    ghost = active("ghost", 1024 * MIB, 200 * MIB)
    assert verdict(ghost, state=ON) == (
        "824M free in ghosts, but memory can take 200M (at 4.0:1): after that, nothing"
    )
    assert verdict(active("ghost", 1024 * MIB), state=zswap(0, 0, 100 * MIB)) == (
        "1G free in ghosts, but memory can take at least 100M (whatever their ratio): after that, nothing"
    )
    assert verdict(ghost, state=None) == "824M free in ghosts, but nothing more can be swapped to them"
    assert verdict(active("ghost", 64 * MIB), state=zswap(0, 0, 100 * MIB)) == (
        "64M free in ghosts, and memory can take it (whatever their ratio)"
    )
    assert "does not say how full" in verdict(ghost, state=zswap(None, None, 100 * MIB))


def test_a_machine_that_swaps_to_its_ghost() -> None:
    """/proc and /sys of a guest with 512 MiB, with pages of a 560 MiB workload in its ghost of 300 MiB."""
    root = MACHINES / "linux-6.12-ghost"
    areas = [one for one in swaps.read(str(root / "proc/swaps")) if one.is_ghost]
    every = [Active(one, one.name, "file", one.name) for one in areas]
    (held,) = capacity.held(every, read_zswap(str(root)), str(root))
    assert held.area.size == 307196 << 10
    assert held.pool.ratio == pytest.approx(153872 / 40608)
    assert held.room == held.free == (307196 - 154112) << 10
    assert held.pool.limit == pytest.approx(97 * MIB, rel=0.01)


@pytest.mark.parametrize(
    ("actives", "state", "net"),
    [
        ([], ON, 0),
        ([active("file", 100 * MIB, 30 * MIB)], ON, 70 * MIB),
        ([active("partition", 100 * MIB, name="/dev/sda2")], None, 100 * MIB),
        # at 4:1, what a ghost takes costs a quarter of it
        ([active("ghost", 1024 * MIB, 200 * MIB)], ON, 150 * MIB),
        ([active("ghost", 220 * MIB, 200 * MIB)], ON, 15 * MIB),
        ([active("xswap", 1024 * MIB, name="xswap0")], ON, 150 * MIB),
        # two ghosts share one pool
        ([active("ghost", 1024 * MIB, 100 * MIB, "/a"), active("ghost", 1024 * MIB)], ON, 150 * MIB),
        # with nothing to measure by, nothing is gained
        ([active("ghost", 1024 * MIB)], zswap(0, 0, 100 * MIB), 0),
        ([active("ghost", 1024 * MIB)], zswap(20 * MIB, 40 * MIB, 100 * MIB), 0),
        # and with zswap off, or without it
        ([active("ghost", 1024 * MIB)], zswap(0, 0, 100 * MIB, enabled=False), 0),
        ([active("ghost", 1024 * MIB)], None, 0),
        ([active("ghost", 300 * MIB, 100 * MIB)], zswap(None, None, 100 * MIB), 0),
        (
            [
                active("file", 100 * MIB, name="/a"),
                active("ghost", 1024 * MIB),
                active("file", 8 * MIB, 8 * MIB, "/b"),
            ],
            ON,
            250 * MIB,
        ),
        # never beyond its limit: 4 MiB of it are left
        ([active("partition", 100 * MIB, name="/dev/zram1")], None, 12 * MIB),
        # sysfs does not know it
        ([active("partition", 100 * MIB, name="/dev/zram9")], ON, 0),
    ],
)
def test_what_areas_can_take_off_memory(
    root: Root, actives: list[Active], state: Zswap | None, net: int
) -> None:
    root.zram(1, mm_stat(80 * MIB, 20 * MIB, 24 * MIB))
    assert capacity.net_room(actives, state, str(root)) == net


GHOST = area("ghost", 200 * MIB)
BELOW, BESIDE, ABOVE = (area("file", 1, name=f"/f{prio}", prio=prio) for prio in (9, 10, 11))
ZRAM_ABOVE = area("partition", 1, name="/dev/zram3", prio=11)


@pytest.mark.parametrize(
    ("ghosts", "ordinary", "limit", "target", "shares"),
    [
        ([GHOST], [BELOW], 200 * MIB, None, []),
        ([GHOST], [BELOW], 200 * MIB - 1, None, [199]),
        ([GHOST], [BESIDE], 100 * MIB, None, [100]),
        # nothing goes on to no area: it would hang
        ([GHOST], [], 100 * MIB, None, [100]),
        # ordinary areas above take the rest
        ([GHOST], [ABOVE], 100 * MIB, None, []),
        ([GHOST], [ABOVE, BELOW], 100 * MIB, None, [100]),
        # but not one that is in memory as well
        ([GHOST], [ZRAM_ABOVE], 100 * MIB, None, [100]),
        # a larger limit is enough
        ([GHOST], [], 100 * MIB, 300 * MIB, [None]),
        ([GHOST], [], 100 * MIB, 150 * MIB, [150]),
        # each gets its share
        ([GHOST, area("ghost", 600 * MIB, name="/h")], [], 100 * MIB, 400 * MIB, [100, 300]),
        ([GHOST, area("ghost", 100 * MIB, name="/h", prio=12)], [ABOVE], 90 * MIB, None, [60, 30]),
        ([GHOST], [BELOW], 0, None, [0]),
        # with a pool of 0, which is to be larger
        ([GHOST], [BELOW], 0, 256 * MIB, [None]),
    ],
)
def test_no_more_than_the_pool_may_take(
    ghosts: list[Area], ordinary: list[Area], limit: int, target: int | None, shares: list[int | None]
) -> None:
    found = capacity.overcommitted(ghosts, ordinary, limit, target)
    assert [one.share and one.share >> 20 for one in found] == shares
    for one in found:
        assert one.kept == tuple(area for area in ordinary if area.prio <= one.ghost.prio)


def test_what_is_wrong_in_words() -> None:
    (one,) = capacity.overcommitted([GHOST], [BELOW, BESIDE], 100 * MIB)
    assert one.problem() == (
        "is above /f9 and has the same priority as /f10 and declares more than zswap's pool may take "
        "(100 MiB): once that is full, nothing more is swapped, not even to them"
    )
    (one,) = capacity.overcommitted([GHOST._replace(prio=-1)], [area("file", 1, name="/f", prio=-1)], MIB)
    assert one.problem("zram1").startswith(
        "has no priority, like /f and declares more than the memory of zram1"
    )
    (one,) = capacity.overcommitted([GHOST], [], 100 * MIB)
    assert one.problem().endswith("nothing more is swapped, and the machine may hang")


def held(size: int, pool: Pool, name: str = "/g", backend: str = "file", prio: int = 10) -> Held:
    return Held(area("ghost", size, name=name, prio=prio), pool, name, backend)


def test_the_commands_that_mend_it(root: Root) -> None:
    """512 MiB of 1 GiB where the pool is to have 50 %."""
    state = zswap(0, 0, 200 * MIB)
    pool = capacity.zswap_pool(state)
    (one,) = capacity.broken([held(1000 * MIB, pool)], [], state, str(root))
    raised = "ghostctl zswap set max_pool_percent=50 --persist"
    assert one.fix == (raised, "ghostctl resize --cycle /g 512M")
    assert one.hint == f"{raised} && ghostctl resize --cycle /g 512M"
    (one,) = capacity.broken([held(300 * MIB, pool)], [], state, str(root))
    assert one.fix == (raised,)
    assert capacity.broken([held(200 * MIB, pool)], [], state, str(root)) == []
    # an area without a file has no command, and a limit that somebody has chosen stays
    chosen = state._replace(max_pool_percent=40, pool_limit=400 * MIB)
    lost = held(1000 * MIB, capacity.zswap_pool(chosen))._replace(ghost=None)
    (one,) = capacity.broken([lost], [BELOW], chosen, str(root))
    assert (one.fix, one.hint) == ((), "give /f9 a higher priority")
    zero = state._replace(max_pool_percent=0, pool_limit=0)
    (one,) = capacity.broken([held(200 * MIB, capacity.zswap_pool(zero))], [BELOW], zero, str(root))
    assert one.fix == (raised,)
    # beside what takes all of it, nothing is left
    crowd = [held(4 << 40, pool, "/huge"), held(20 * MIB, pool)]
    assert [one.fix[1:] for one in capacity.broken(crowd, [], state, str(root))] == [
        ("ghostctl resize --cycle /huge 511M",),
        ("ghostctl off /g",),
    ]
    # with zswap off it is not the size that is wrong
    off = state._replace(enabled=False)
    assert capacity.broken([held(200 * MIB, capacity.zswap_pool(off))], [], off, str(root)) == []
    assert capacity.broken([held(200 * MIB, capacity.zswap_pool(None))], [], None, str(root)) == []


def test_a_ghost_on_zram_keeps_to_its_limit(root: Root) -> None:
    root.zram(7, mm_stat(0, 0, 100 * MIB))
    root.zram(8, mm_stat(0, 0, 0))
    limited, unlimited = (capacity.zram_pool(number, str(root)) for number in (7, 8))
    one = held(300 * MIB, limited, "/a ghost", "zram")
    (found,) = capacity.broken([one], [], None, str(root))
    assert found.fix == (
        "ghostctl off '/a ghost'",
        "ghostctl on --backend zram --memory-limit 301M -p 10 '/a ghost'",
    )
    (found,) = capacity.broken([held(2048 * MIB, unlimited, "/b", "zram", -1)], [], None, str(root))
    assert found.fix == (
        "ghostctl off /b",
        "ghostctl resize /b 512M",
        "ghostctl on --backend zram --memory-limit 512M /b",
    )
    assert capacity.broken([held(1000 * MIB, unlimited, "/b", "zram")], [], None, str(root)) == []


def test_zswap_in_front_of_zram(root: Root) -> None:
    root.zram(7, mm_stat(0, 0, 0))
    zram = active("partition", MIB, 0, "/dev/zram7", "zram")
    found = capacity.held([zram, active("ghost", MIB)], ON, str(root))
    assert [one.area.name for one in capacity.doubled(found, ON)] == ["/dev/zram7"]
    assert capacity.doubled(found, ON._replace(enabled=False)) == []
    assert capacity.doubled(found, None) == []


@pytest.mark.parametrize(
    ("pool", "size", "used", "words"),
    [
        (Pool("zswap", 50, 100, 100, 100), 1000, 100, None),
        (Pool("zswap", 95 * MIB, 200 * MIB, 100 * MIB, 100 * MIB), 300 * MIB, 200 * MIB, "95% full: 89.5M"),
        # the slots end first
        (Pool("zswap", 95 * MIB, 200 * MIB, 100 * MIB, 100 * MIB), 205 * MIB, 200 * MIB, None),
        (Pool("zswap", 0, 0, 100 * MIB, 0), 64 * MIB, 0, "takes nothing: 64M"),
        (Pool("zram1", None, None, None, None), 64 * MIB, 0, None),
    ],
)
def test_the_alarm(pool: Pool, size: int, used: int, words: str | None) -> None:
    one = Held(area("ghost", size, used), pool, "/g", "file")
    alarm = capacity.alarm([one], [])
    assert alarm is None if words is None else alarm is not None and alarm.startswith(words)
    assert capacity.alarm([one], [BELOW]) == alarm
    # what the pool does not take goes there, but for one that takes nothing
    assert capacity.alarm([one], [ABOVE]) == (alarm if pool.most == 0 else None)
