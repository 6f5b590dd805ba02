# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostctl import backends, capacity, mmstat, swaps
from ghostctl.areas import Active
from ghostctl.backends import Options
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


def test_full_to_the_percent() -> None:
    def alarm(used: int, size: int = 1000 * MIB) -> str | None:
        pool = Pool("zswap", used, used, 100 * MIB, 100 * MIB)
        return capacity.alarm([Held(area("ghost", size, 200 * MIB), pool)], [])

    assert alarm(90 * MIB - 1) is None
    assert alarm(90 * MIB) == "90% full: 790M of slots are free in vain"
    assert alarm(100 * MIB) == "100% full: 800M of slots are free in vain"
    # as many slots as there is room
    assert alarm(90 * MIB, 210 * MIB) is None
    assert alarm(90 * MIB, 210 * MIB + 1024) is not None


@pytest.mark.parametrize(
    ("pool", "ratio", "measured", "rate", "room", "fill"),
    [
        (Pool("z", 2 * MIB, 8 * MIB, 10 * MIB, 10 * MIB), 4, True, 4, 32 * MIB, 20),
        (Pool("z", 10 * MIB, 8 * MIB, 10 * MIB, 10 * MIB), 0.8, True, 0.8, 0, 100),
        # 4 MiB of pages say something of the next ones
        (Pool("z", MIB, 4 * MIB, 10 * MIB, 10 * MIB), 4, True, 4, 36 * MIB, 10),
        (Pool("z", MIB, 4 * MIB - 1, 10 * MIB, 10 * MIB), pytest.approx(4), False, 1, 9 * MIB, 10),
        # and until then counts what they were, where they take more
        (Pool("z", 2 * MIB, 0, 10 * MIB, 10 * MIB), None, False, 1, 10 * MIB, 20),
        (Pool("z", 2 * MIB, None, 10 * MIB, 10 * MIB), None, False, 1, 10 * MIB, 20),
        # pages of one repeated word take no memory
        (Pool("z", 0, 5 * MIB, 10 * MIB, 10 * MIB), None, False, 1, 10 * MIB, 0),
        # nothing is known
        (Pool("z", None, None, None, None), None, False, 1, None, None),
        (Pool("z", None, None, 10 * MIB, 10 * MIB), None, False, 1, None, None),
        (Pool("z", None, 5 * MIB, 10 * MIB, 10 * MIB), None, False, 1, None, None),
        (Pool("z", 2 * MIB, 8 * MIB, None, None), 4, True, 4, None, None),
        # nothing more is taken
        (Pool("z", 2 * MIB, 8 * MIB, 10 * MIB, 0), 4, True, 4, 0, None),
        (Pool("z", None, None, None, 0), None, False, 1, 0, None),
    ],
)
def test_a_pool(
    pool: Pool, ratio: float | None, measured: bool, rate: float, room: int | None, fill: int | None
) -> None:
    assert (pool.ratio, pool.is_measured, pool.rate) == (ratio, measured, rate)
    assert (pool.room, pool.fill) == (room, fill)


def test_the_pool_of_zswap() -> None:
    used = (50 * MIB, 200 * MIB, 100 * MIB)
    assert capacity.zswap_pool(ON) == Pool("zswap", *used, 100 * MIB)
    assert capacity.zswap_pool(ON._replace(enabled=False)) == Pool("zswap", *used, 0)
    assert capacity.zswap_pool(ON._replace(enabled=None)) == Pool("zswap", *used, 100 * MIB)
    assert capacity.zswap_pool(None) == Pool("zswap", None, None, None, 0)


def test_the_pool_of_a_zram_device(root: Root) -> None:
    root.zram(1, mm_stat(8 * MIB, 4 * MIB, 64 * MIB))
    root.zram(2, mm_stat(8 * MIB, 4 * MIB, 0))
    used = (4 * MIB, 8 * MIB)
    assert capacity.zram_pool(1, str(root)) == Pool("zram1", *used, 64 * MIB, 64 * MIB)
    assert capacity.zram_pool(2, str(root)) == Pool("zram2", *used, None, 1024 * MIB)
    assert capacity.zram_pool(3, str(root)) == Pool("zram3", None, None, None, None)
    # a machine that does not say how much memory it has
    (root.path / "proc/meminfo").write_text("MemFree: 1024 kB\n")
    for _ in range(2):
        assert capacity.zram_pool(1, str(root)) == Pool("zram1", *used, 64 * MIB, 64 * MIB)
        assert capacity.zram_pool(2, str(root)) == Pool("zram2", *used, None, None)
        (root.path / "proc/meminfo").unlink(missing_ok=True)


def test_what_the_kernel_does_not_say_of_one_is_not_known_of_all() -> None:
    sound = Held(area("ghost", 10 * MIB, 4 * MIB), Pool("a", MIB, 4 * MIB, 5 * MIB, 5 * MIB))
    silent = Held(area("ghost", 20 * MIB, 6 * MIB), Pool("b", None, None, None, None))
    empty = Held(area("ghost", 20 * MIB), Pool("c", 0, 0, 10 * MIB, 10 * MIB))
    assert capacity.total([sound]) == capacity.Total(10 * MIB, 4 * MIB, 4 * MIB, MIB, 5 * MIB, 6 * MIB)
    found = capacity.total([sound, silent])
    assert found == capacity.Total(30 * MIB, 10 * MIB, None, None, None, None)
    assert (found.free, found.ratio, found.is_short) == (20 * MIB, None, False)
    found = capacity.total([sound, empty])
    assert found == capacity.Total(30 * MIB, 4 * MIB, 4 * MIB, MIB, 15 * MIB, 16 * MIB)
    assert (found.free, found.ratio, found.is_short) == (26 * MIB, 4, True)
    for stored, memory in ((0, MIB), (MIB, 0), (None, MIB), (MIB, None)):
        assert found._replace(stored=stored, memory=memory).ratio is None
    # as much as they promise
    assert not found._replace(room=26 * MIB).is_short
    assert found._replace(room=26 * MIB - 1).is_short


@pytest.mark.parametrize(
    ("memory", "most", "limits"),
    [
        # what is 128 MiB less than all, in percent, but 50 to 90
        (64 * 1024, 90, {90: 90, 91: 50, 100: 50}),
        (800, 84, {84: 84, 85: 50, 90: 50}),
        (300, 57, {57: 57, 58: 50}),
        (256, 50, {50: 50, 51: 50}),
        (64, 50, {20: 50, 49: 49}),
        # 20 is the kernel's, and 30 has been chosen
        (800, 84, {None: 50, 0: 50, 20: 50, 29: 50, 30: 30, 40: 40}),
    ],
)
def test_the_limit_of_the_pool_in_percent(memory: int, most: int, limits: dict[int | None, int]) -> None:
    assert capacity.most_percent(memory * MIB) == most
    assert {now: capacity.pool_percent(now, memory * MIB) for now in limits} == limits


@pytest.mark.parametrize(
    ("now", "limit"),
    [
        (None, 500 * MIB),
        (0, 500 * MIB),
        (100 * MIB, 500 * MIB),
        # 30 percent, or as many whole MiB as there are in that
        (298 * MIB + 1, 500 * MIB),
        (299 * MIB, 500 * MIB),
        (299 * MIB + 1, 299 * MIB + 1),
        (300 * MIB, 300 * MIB),
        (870 * MIB, 870 * MIB),
        (870 * MIB + 1, 500 * MIB),
    ],
)
def test_the_memory_limit_of_a_zram_device(now: int | None, limit: int) -> None:
    assert capacity.zram_limit(now, 1000 * MIB) == limit


def test_a_size_that_fits() -> None:
    assert capacity.fitting(0) == 0
    assert capacity.fitting(MIB - 1) == 0
    assert capacity.fitting(100 * MIB) == capacity.fitting(101 * MIB - 1) == 100 * MIB
    assert capacity.fitting(100 * MIB, 1) == 99 * MIB
    assert capacity.fitting(100 * MIB, 200 * MIB) == 0
    # no header declares as much as this
    most = capacity.fitting(1 << 60)
    assert most == capacity.fitting(1 << 61)
    assert most % MIB == 0
    assert [capacity.whole(size) for size in (0, 1, MIB, MIB + 1)] == [0, MIB, MIB, 2 * MIB]


@pytest.mark.parametrize(
    ("priorities", "above"),
    [([], 100), ([-2, -3], 100), ([-1], 100), ([0], 1), ([-2, 5, 3], 6), ([32766], 32767), ([32767], 32767)],
)
def test_a_priority_above_others(priorities: list[int], above: int) -> None:
    assert capacity.priority_above(area("file", MIB, prio=prio) for prio in priorities) == above


def test_the_words_for_a_priority_that_somebody_has_given() -> None:
    (one,) = capacity.overcommitted([GHOST._replace(prio=0)], [area("file", 1, name="/f", prio=0)], MIB)
    assert one.problem().startswith("has the same priority as /f and declares more than zswap's pool")


def test_the_target_is_enough_to_the_byte() -> None:
    (one,) = capacity.overcommitted([GHOST], [], 100 * MIB, 200 * MIB)
    assert one.share is None
    (one,) = capacity.overcommitted([GHOST], [], 100 * MIB, 200 * MIB - 1)
    assert one.share == 199 * MIB


def test_what_is_an_area_with_storage() -> None:
    zram = active("partition", MIB, name="/dev/zram1", backend="zram")
    other = active("partition", MIB, name="/dev/zram2")
    actives = [active("file", MIB, name="/f"), active("ghost", MIB), zram, other]
    ghosts = [Held(one.area, capacity.zswap_pool(None), one.ghost, one.backend) for one in actives[1:]]
    assert [area.name for area in capacity.ordinary(actives, ghosts)] == ["/f", "/dev/zram2"]
    assert [area.name for area in capacity.ordinary(actives)] == ["/f", "/dev/zram1", "/dev/zram2"]


def test_the_ways_out_of_compressing_twice() -> None:
    pool = Pool("zram7", 0, 0, None, None)
    zram = active("partition", MIB, 0, "/dev/zram7")
    on = Held(zram.area, pool)
    assert capacity.undouble(on, [zram, active("ghost", MIB)]) == (
        "ghostctl zswap set enabled=no --persist, or ghostctl off /dev/zram7"
    )
    on = Held(zram.area, pool, "/a ghost", "zram")
    assert capacity.undouble(on, [zram, active("file", MIB, name="/f")]) == (
        "ghostctl zswap set enabled=no --persist, "
        "or ghostctl off '/a ghost' and leave the other areas to zswap"
    )


def test_nothing_to_mend(root: Root) -> None:
    """Where no limit is known, and of zram devices that were made for no ghost."""
    root.zram(7, "")
    root.zram(8, mm_stat(0, 0, 4 * MIB))
    unknown, small = (capacity.zram_pool(number, str(root)) for number in (7, 8))
    foreign = Held(area("partition", 1000 * MIB, name="/dev/zram8"), small)
    areas = [held(1 << 40, unknown, "/a", "zram"), foreign]
    assert capacity.broken(areas, [], None, str(root)) == []
    # but what comes after these is mended
    areas.append(held(300 * MIB, capacity.zswap_pool(ON)))
    (one,) = capacity.broken(areas, [foreign.area], ON, str(root))
    assert (one.held.area.name, one.limit) == ("/g", None)
    assert one.problem.startswith("has the same priority as /dev/zram8 and declares more than zswap's pool")


def test_a_ghost_on_zram_is_not_below_itself(root: Root) -> None:
    root.zram(7, mm_stat(0, 0, 100 * MIB))
    one = Held(
        area("partition", 300 * MIB, name="/dev/zram7"), capacity.zram_pool(7, str(root)), None, "zram"
    )
    (found,) = capacity.broken([one], [one.area, ABOVE, BELOW], None, str(root))
    assert found.found.kept == (BELOW,)
    assert found.problem.startswith("is above /f9 and declares more than the memory of zram7 may take")
    # its ghost is not known, so there is no command
    assert found.hint == "give /f9 a higher priority"
    (found,) = capacity.broken([one], [one.area], None, str(root))
    assert found.hint == "give another area a higher priority"


def test_the_commands_where_the_memory_is_not_known(root: Root) -> None:
    """Then the limits stay what they are."""
    (root.path / "proc/meminfo").unlink()
    state = zswap(0, 0, 200 * MIB)
    (one,) = capacity.broken([held(1000 * MIB, capacity.zswap_pool(state))], [], state, str(root))
    assert one.fix == ("ghostctl resize --cycle /g 200M",)
    root.zram(7, mm_stat(0, 0, 100 * MIB))
    (one,) = capacity.broken(
        [held(300 * MIB, capacity.zram_pool(7, str(root)), "/g", "zram")], [], None, str(root)
    )
    assert one.fix[1:] == ("ghostctl resize /g 50M", "ghostctl on --backend zram --memory-limit 50M -p 10 /g")


def test_a_limit_of_no_whole_mib(root: Root) -> None:
    """A size of all of it and the header page is the largest in it."""
    root.zram(7, mm_stat(0, 0, 400 * MIB + PAGE))
    (one,) = capacity.broken(
        [held(500 * MIB, capacity.zram_pool(7, str(root)), "/g", "zram")], [], None, str(root)
    )
    assert one.limit == 400 * MIB + PAGE
    assert one.fix[1:] == (
        "ghostctl resize /g 400M",
        f"ghostctl on --backend zram --memory-limit {400 * MIB + PAGE} -p 10 /g",
    )


ZRAM = Held(area("partition", MIB, name="/dev/zram7"), Pool("zram7", 0, 0, None, None), "/g", "zram")


@pytest.mark.parametrize(
    ("backend", "have", "limit", "prio", "words"),
    [
        ("file", Options(), None, 7, "-p 7"),
        (None, Options(), None, 0, "-p 0"),
        ("file", Options(), None, -1, ""),
        # only zram has these
        ("xswap", Options(compressor="zstd", memory_limit=MIB), 5 * MIB, 7, "--backend xswap -p 7"),
        ("zram", Options(), None, -2, "--backend zram"),
        (
            "zram",
            Options(compressor="zstd", memory_limit=512 * MIB),
            None,
            7,
            "--backend zram --compressor zstd --memory-limit 512M -p 7",
        ),
        ("zram", Options(memory_limit=512 * MIB), 5 * MIB, 7, "--backend zram --memory-limit 5M -p 7"),
        (
            "zram",
            Options(memory_limit=512 * MIB + 1),
            None,
            -1,
            f"--backend zram --memory-limit {512 * MIB + 1}",
        ),
        ("zram", Options(memory_limit=512 * MIB), 0, -1, "--backend zram"),
        ("zram", None, None, -1, "--backend zram"),
    ],
)
def test_an_area_is_made_active_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
    backend: str | None,
    have: Options | None,
    limit: int | None,
    prio: int,
    words: str,
) -> None:
    class Backend(backends.Backend):
        def options(self, active: Active) -> Options:
            assert active.area == ZRAM.area
            if have is None:
                raise OSError(errno.ENOENT, "gone", "/sys/block/zram7")
            return have

    monkeypatch.setattr(backends, "get", lambda _name: Backend())
    on = " ".join(["ghostctl on", *words.split(), "'/a ghost'"])
    one = ZRAM._replace(backend=backend)
    assert capacity.again(one, "/a ghost", prio, None, limit) == ["ghostctl off '/a ghost'", on]
    assert capacity.again(one, "/a ghost", prio, None, limit, missing=True)[1:] == [on]
    resized = capacity.again(one, "/a ghost", prio, 7 * MIB, limit)
    assert resized == ["ghostctl off '/a ghost'", "ghostctl resize '/a ghost' 7M", on]
    made = capacity.again(one, "/a ghost", prio, 7 * MIB, limit, missing=True)
    assert made == ["ghostctl off '/a ghost'", "ghostctl mkghost -s 7M '/a ghost'", on]
