# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine import require

from ghostctl import areas, backends, capacity, fstab, header, plan, sample, sizes, zswap
from ghostctl.areas import Active
from ghostctl.capacity import Held, Pool
from ghostctl.errors import Busy, Error, NotAGhost, Unsupported
from ghostctl.plan import Now
from ghostctl.swaps import Area
from ghostctl.zswap import Zswap

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
PAGE = sizes.page_size()
ON = Zswap(True, "lz4", 50, 90, False, None, 0, 0, GIB // 2)
GHOST = "/var/lib/ghost/a ghost"


def now(
    memory: int = GIB,
    state: Zswap | None = ON,
    declared: int | None = None,
    own: Held | None = None,
    others: tuple[Held, ...] = (),
    ordinary: tuple[Area, ...] = (),
    fallback: str | None = None,
) -> Now:
    return Now(memory, state, GHOST, declared, own, others, ordinary, fallback)


def held(name: str, kind: str, size: int, prio: int, pool: Pool, backend: str = "file") -> Held:
    return Held(Area(name, kind, size >> 10, 0, prio), pool, name, backend)


ZSWAP = Pool("zswap", 0, 0, GIB // 2, GIB // 2)


def own(size: int, prio: int = 100) -> Held:
    return held(GHOST, "ghost", size - PAGE, prio, ZSWAP)


def test_a_gibibyte() -> None:
    chosen, others = plan.choose(now(), None, 4)
    assert (chosen.percent, chosen.limit, chosen.size) == (50, 512 * MIB, 512 * MIB)
    assert (chosen.takes, chosen.least) == (128 * MIB, GIB - 512 * MIB - chosen.slots)
    assert chosen.left == GIB - 128 * MIB - chosen.slots
    assert [row.percent for row in others] == [20, 35]


@pytest.mark.parametrize(
    ("percent", "asked", "chosen", "shown"),
    [
        # the kernel's, and others that somebody may have chosen without thinking of ghosts
        (20, None, 50, [20, 35]),
        (1, None, 50, [20, 35]),
        (0, None, 50, [20, 35]),
        (29, None, 50, [20, 35]),
        (100, None, 50, [20, 35]),
        # that somebody has chosen, with 128 MiB beside it
        (30, None, 30, [20, 35]),
        (40, None, 40, [35, 50]),
        (87, None, 87, [35, 50]),
        (88, None, 50, [20, 35]),
        (20, 60, 60, [35, 50]),
        (20, 1, 1, [20, 35]),
    ],
)
def test_which_limits_are_shown(percent: int, asked: int | None, chosen: int, shown: list[int]) -> None:
    state = ON._replace(max_pool_percent=percent)
    row, others = plan.choose(now(state=state), asked, 3)
    assert (row.percent, [other.percent for other in others]) == (chosen, shown)


def test_what_others_have_been_promised() -> None:
    beside = held("/other", "ghost", 100 * MIB, 5, ZSWAP)
    chosen, _ = plan.choose(now(others=(beside,)), None, 3)
    assert chosen.size == 412 * MIB
    # zram is another pool, and an ordinary area has none
    zram = held("/dev/zram3", "partition", 100 * MIB, 5, Pool("zram3", 0, 0, None, GIB), "zram")
    assert plan.choose(now(others=(zram,)), None, 3)[0].size == 512 * MIB
    with pytest.raises(Error, match="too much for one beside them"):
        plan.choose(now(others=(beside._replace(area=beside.area._replace(size_kib=1 << 20)),)), None, 3)
    # each zram device has its own limit, and all of them come out of the same memory
    large = zram._replace(area=zram.area._replace(size_kib=600 << 10))
    assert plan.choose(now(others=(zram,), fallback="zram"), None, 3)[0].size == 512 * MIB
    assert plan.choose(now(others=(large,), fallback="zram"), None, 3)[0].size == 290 * MIB


def test_commands_say_only_what_is_to_do() -> None:
    there = now()
    chosen, _ = plan.choose(there, None, 3)
    make = f"ghostctl mkghost -s 512M '{GHOST}'"
    on = f"ghostctl on -p 7 '{GHOST}'"
    assert plan.commands(there, chosen, 7) == [make, on]
    off = there._replace(state=ON._replace(enabled=False, max_pool_percent=20))
    assert plan.commands(off, chosen, 7) == [
        "ghostctl zswap set enabled=yes max_pool_percent=50 --persist",
        make,
        on,
    ]
    assert plan.commands(there._replace(declared=1), chosen, 7) == [
        f"ghostctl resize '{GHOST}' 512M",
        on,
    ]
    size = 512 * MIB
    active = there._replace(declared=size, own=own(size, 7))
    assert plan.commands(active, chosen, 7) == []
    # removed while it was active
    assert plan.commands(active._replace(declared=None, own=own(size, -1)), chosen, 7) == [
        f"ghostctl off '{GHOST}'",
        make,
        on,
    ]
    small = there._replace(declared=MIB, own=own(MIB, 7))
    assert plan.commands(small, chosen, 7) == [f"ghostctl resize --cycle '{GHOST}' 512M"]
    # of the kernel's choice, which other areas may have as well
    assert plan.commands(active._replace(own=own(size, -1)), chosen, 7) == [f"ghostctl off '{GHOST}'", on]


def test_commands_for_zram() -> None:
    there = now(fallback="zram", state=ON._replace(enabled=False))
    chosen, _ = plan.choose(there, None, 3)
    assert plan.commands(there, chosen, 100) == [
        f"ghostctl mkghost -s 512M '{GHOST}'",
        f"ghostctl on --fallback zram --memory-limit 512M -p 100 '{GHOST}'",
    ]
    # what zswap takes never comes to zram
    assert plan.commands(there._replace(state=ON), chosen, 100)[0] == capacity.DISABLE_ZSWAP
    line = plan.fstab_line(there, chosen, 100)
    assert line.endswith("pri=100,x-ghost.size=512M,x-ghost.fallback=zram,x-ghost.memory-limit=512M 0 0")


def test_no_size_is_more_than_a_header_declares() -> None:
    """The last page of an area has a number of 32 bits, and the commands have whole MiB."""
    chosen, _ = plan.choose(now(memory=1 << 50), None, 1000)
    assert chosen.limit > PAGE << 32
    assert chosen.size == (PAGE << 32) - MIB


def test_fstab_line_is_one_that_declares_it() -> None:
    there = now()
    chosen, _ = plan.choose(there, None, 3)
    (line,) = fstab.parse(plan.fstab_line(there, chosen, 7).encode())
    assert fstab.declares_ghost(line)
    assert (line.spec, line.option("x-ghost.size"), line.option("pri")) == (GHOST, "512M", "7")


def test_priority_and_what_comes_after() -> None:
    disk, zram = Area("/swap", "file", 1 << 20, 0, 5), Area("/dev/sda2", "partition", 1 << 20, 1 << 19, -2)
    assert plan.priority(None, []) == 100
    assert plan.priority(None, [zram]) == 100
    assert plan.priority(None, [disk, zram]) == 6
    assert plan.priority(None, [disk._replace(prio=32767)]) == 32767
    # not below what is there
    assert plan.priority(disk._replace(name="/g", prio=2), [disk]) == 6
    assert plan.priority(disk._replace(name="/g", prio=9), [disk]) == 9
    assert plan.priority(disk._replace(name="/g", prio=-3), [disk]) == 6
    assert plan.past([disk, zram], 100) == "the kernel goes on to /swap; 1.5G are free there"
    assert plan.past([disk], 4).startswith("no other area")
    assert plan.past([disk], 5) == "the kernel goes on with /swap, which it has used in turn with it"
    assert plan.past([disk, zram], 5) == "the kernel goes on to /dev/sda2; 512M are free there"
    # equal priorities are no way to have both
    assert plan.priority(disk._replace(name="/g"), [disk]) == 6


class Machine:
    """A machine on which the commands of a plan do what they say; what else there is stays."""

    def __init__(self, there: Now) -> None:
        self.now = there

    def run(self, command: str) -> None:
        program, verb, *words = shlex.split(command)
        assert program == "ghostctl"
        {
            "zswap": self._zswap,
            "mkghost": self._make,
            "resize": self._resize,
            "off": self._off,
            "on": self._on,
        }[verb](words)

    def _zswap(self, words: list[str]) -> None:
        assert (words[0], words[-1]) == ("set", "--persist")
        assert self.now.state is not None
        values = dict(word.split("=") for word in words[1:-1])
        state = self.now.state
        if "max_pool_percent" in values:
            percent = int(values["max_pool_percent"])
            limit = zswap.pool_limit(percent, self.now.memory)
            state = state._replace(max_pool_percent=percent, pool_limit=limit)
        if "enabled" in values:
            state = state._replace(enabled=values["enabled"] == "yes")
        pool = capacity.zswap_pool(state)
        own = self.now.own
        if own is not None and own.pool.name == "zswap":
            own = own._replace(pool=pool)
        others = tuple(
            one._replace(pool=pool) if one.pool.name == "zswap" else one for one in self.now.others
        )
        self.now = self.now._replace(state=state, own=own, others=others)

    def _make(self, words: list[str]) -> None:
        assert words[0] == "-s"
        assert self.now.declared is None
        self.now = self.now._replace(declared=sizes.parse(words[1]))

    def _resize(self, words: list[str]) -> None:
        cycle, own = words[0] == "--cycle", self.now.own
        assert cycle or own is None
        size = sizes.parse(words[-1])
        if own is not None:
            own = own._replace(area=own.area._replace(size_kib=(size - PAGE) >> 10))
        self.now = self.now._replace(declared=size, own=own)

    def _off(self, _: list[str]) -> None:
        assert self.now.own is not None
        self.now = self.now._replace(own=None)

    def _on(self, words: list[str]) -> None:
        assert self.now.own is None
        assert self.now.declared
        options = dict(zip(words[:-1:2], words[1:-1:2], strict=True))
        backend = options.get("--fallback") or options.get("--backend") or "file"
        size, prio = self.now.declared - PAGE, int(options.get("-p", -1))
        if backend == "zram":
            limit = sizes.parse(options["--memory-limit"])
            pool = Pool("zram1", 0, 4096, limit, min(limit, self.now.memory))
            own = held("/dev/zram1", "partition", size, prio, pool, "zram")._replace(ghost=GHOST)
        else:
            own = held(GHOST, "ghost", size, prio, capacity.zswap_pool(self.now.state), backend)
        self.now = self.now._replace(own=own)


memories = st.one_of(
    st.sampled_from([64 * MIB, 512 * MIB, 24 * GIB, 6 * TIB]), st.integers(64 * MIB, 6 * TIB)
).map(lambda size: size // PAGE * PAGE)


@st.composite
def machines(draw: st.DrawFn) -> Now:
    """Machines of all sizes, with and without a ghost, beside other areas."""
    memory = draw(memories)
    percent = draw(st.one_of(st.sampled_from([0, 20, 100]), st.integers(1, 100)))
    limit = zswap.pool_limit(percent, memory)
    state = ON._replace(enabled=draw(st.booleans()), max_pool_percent=percent, pool_limit=limit)
    fallback = draw(st.sampled_from([None, "zram"]))
    sizes_ = st.integers(10, 2 * memory // PAGE).map(lambda pages: pages * PAGE)
    declared = draw(st.none() | sizes_)
    mine = None
    if declared is not None and draw(st.booleans()):
        prio = draw(st.integers(-2, 200))
        if fallback:
            cap = draw(st.none() | sizes_)
            pool = Pool("zram1", 0, 0, cap, min(cap or memory, memory))
            mine = held("/dev/zram1", "partition", declared - PAGE, prio, pool, "zram")._replace(ghost=GHOST)
        else:
            mine = held(GHOST, "ghost", declared - PAGE, prio, capacity.zswap_pool(state))
    others = []
    if draw(st.booleans()):
        size = draw(st.integers(1, max(memory // 5 // PAGE, 1))) * PAGE
        if fallback:
            others.append(held("/dev/zram2", "partition", size, 5, Pool("zram2", 0, 0, None, memory), "zram"))
        else:
            others.append(held("/other", "ghost", size, 5, capacity.zswap_pool(state)))
    ordinary = tuple(
        Area(f"/f{prio}", "file", 1 << 20, 0, prio)
        for prio in draw(st.sets(st.integers(-2, 200), max_size=3))
    )
    return now(memory, state, declared, mine, tuple(others), ordinary, fallback)


def priority(there: Now) -> int:
    own_area = there.own and there.own.area
    return plan.priority(own_area, [*there.ordinary, *(one.area for one in there.others)])


@given(machines(), st.floats(0.5, 100, allow_nan=False), st.none() | st.integers(1, 90))
def test_planned_again_there_is_nothing_to_do(there: Now, ratio: float, asked: int | None) -> None:
    """And what plan proposes keeps the rule that doctor, on and fstab check have."""
    try:
        chosen, _ = plan.choose(there, asked, ratio)
    except Error:
        return
    machine = Machine(there)
    for command in plan.commands(there, chosen, priority(there)):
        machine.run(command)
    after = machine.now
    again, _ = plan.choose(after, asked, ratio)
    assert plan.commands(after, again, priority(after)) == []
    assert after.own is not None
    assert after.own.area.size < chosen.limit <= there.memory
    active = [after.own, *after.others]
    ordinary = [*after.ordinary, *(one.area for one in active if one.area.is_ordinary)]
    broken = capacity.broken(active, ordinary, after.state)
    assert [one.found for one in broken if one.held.area == after.own.area] == []
    if asked is None:
        assert after.own.pool.limit is not None
        doubled = capacity.doubled([after.own], after.state)
        assert doubled == [] or any(one.pool.name == "zswap" for one in after.others)


def test_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual ghost first, then another one that is active, then that of fstab."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1048576 kB\n")
    monkeypatch.setattr(plan, "_fallback", lambda _: None)

    def active(name: str, kind: str = "ghost") -> Active:
        backend = "file" if kind == "ghost" else None
        return Active(Area(name, kind, 1024, 0, 5), name, backend, name if backend else None)

    usual, other, disk = active("/var/lib/ghost/swap0"), active("/g"), active("/swap", "file")
    found = plan.look([other, usual, disk], ON, str(tmp_path))
    assert (found.path, found.own and found.own.area, found.memory) == (usual.path, usual.area, GIB)
    assert [one.area for one in found.others] == [other.area]
    assert found.ordinary == (disk.area,)
    assert plan.look([other, disk], ON, str(tmp_path)).path == "/g"
    assert plan.look([disk], ON, str(tmp_path)).path == "/var/lib/ghost/swap0"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_text("/swap none swap pri=1\n/h none swap x-ghost.size=1G\n")
    found = plan.look([disk], ON, str(tmp_path))
    assert (found.path, found.declared, found.own) == ("/h", None, None)
    (tmp_path / "h").write_bytes(bytes(4096))
    with pytest.raises(NotAGhost, match="is in the way of the ghost"):
        plan.look([disk], ON, str(tmp_path))


@pytest.mark.parametrize(
    ("state", "mine", "source", "value"),
    [
        (ON._replace(stored=400 * MIB, pool=100 * MIB), None, "measured", 4),
        # that of the ghost's own device comes first
        (
            ON._replace(stored=400 * MIB, pool=100 * MIB),
            held("/dev/zram1", "partition", GIB, 5, Pool("zram1", 10 * MIB, 30 * MIB, None, GIB), "zram"),
            "measured",
            3,
        ),
        (ON, None, "assumed", 1),
        (None, None, "assumed", 1),
        (ON._replace(stored=MIB, pool=MIB // 4), None, "sampled", 2.5),
    ],
)
def test_where_the_ratio_is_from(
    monkeypatch: pytest.MonkeyPatch, state: Zswap | None, mine: Held | None, source: str, value: float
) -> None:
    sample = plan.Ratio(2.5, "sampled", "") if source == "sampled" else None
    monkeypatch.setattr(plan, "sampled", lambda *_: sample)
    found = plan.ratio(state, mine, "lz4")
    assert (found.source, found.value) == (source, value)


def root_with(tmp_path: Path, *lines: str) -> str:
    """A machine of 1 GiB, with these lines in fstab."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1048576 kB\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_text("".join(f"{line}\n" for line in lines))
    return str(tmp_path)


@pytest.fixture
def takes_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_fallback", lambda _: None)


@pytest.mark.usefixtures("takes_files")
def test_of_the_ghost_that_is_asked_for(tmp_path: Path) -> None:
    root = root_with(tmp_path, "LABEL=a none swap x-ghost.size=1G", "/h none swap x-ghost.size=1G")
    areas_ = [
        Active(Area(name, "ghost", 1024, 0, 5), name, "file", name) for name in ("/var/lib/ghost/swap0", "/g")
    ]
    usual, other = areas_
    found = plan.look(areas_, ON, root, path="/g")
    assert (found.path, found.own and found.own.area) == ("/g", other.area)
    assert [one.area for one in found.others] == [usual.area]
    # not active, whatever else is
    found = plan.look(areas_, ON, root, path="/i")
    assert (found.path, found.declared, found.own) == ("/i", None, None)
    assert [one.area for one in found.others] == [usual.area, other.area]
    # of fstab the first that is a path
    found = plan.look([], ON, root)
    assert (found.path, found.memory, found.fallback) == ("/h", GIB, None)
    page = header.ghost(300, PAGE)
    (tmp_path / "h").write_bytes(header.pack(page))
    assert plan.look([], ON, root).declared == 300 * PAGE


@pytest.mark.usefixtures("takes_files")
def test_another_fstab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = root_with(tmp_path, "/h none swap x-ghost.size=1G")
    (tmp_path / "etc/other").write_text("/i none swap x-ghost.size=1G\n")
    assert plan.look([], ON, root, fstab_path="/etc/other").path == "/i"
    assert plan.look([], ON, root, fstab_path="/etc/none").path == "/var/lib/ghost/swap0"
    # of this machine: where the program was started
    monkeypatch.chdir(tmp_path / "etc")
    (tmp_path / "etc/third").write_text("/ghostctl-none none swap x-ghost.size=1G\n")
    assert plan.look([], ON, fstab_path="third").path == "/ghostctl-none"


@pytest.mark.usefixtures("takes_files")
@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("directory", NotAGhost, "is a directory, not a ghost"),
        ("text", NotAGhost, "is in the way of the ghost: it is "),
        ("empty", NotAGhost, "is in the way of the ghost: it is "),
        ("area", NotAGhost, "is in the way of the ghost: it is "),
        ("active", Busy, "is an active swap area as /elsewhere"),
    ],
)
def test_what_is_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, error: type[Error], words: str
) -> None:
    root, path = root_with(tmp_path, "/a\\040h none swap x-ghost.size=1G"), tmp_path / "a h"
    area = header.pack(header.ghost(2, PAGE, bare=True)) + bytes(PAGE)
    if kind == "directory":
        path.mkdir()
    else:
        path.write_bytes({"text": b"a letter\n", "empty": b"", "area": area, "active": area}[kind])
    found = Active(Area("/elsewhere", "file", 4, 0, 5), "/elsewhere") if kind == "active" else None
    monkeypatch.setattr(areas, "active", lambda *_: found)
    with pytest.raises(error, match=words) as caught:
        plan.look([], ON, root)
    if kind in ("text", "empty", "area"):
        assert caught.value.path == "/a h"
        # whatever it is, it is not thrown away
        assert caught.value.hint == "mv -n '/a h' '/a h.old'"


class Offer(backends.Backend):
    """A backend of a kernel that has it, or not."""

    def __init__(self, has: bool, needs_zswap: bool) -> None:
        self.has, self.needs_zswap = has, needs_zswap

    def unavailable(self) -> str | None:
        return None if self.has else "not there"


@pytest.mark.parametrize(
    ("offers", "state", "expected"),
    [
        ({"file"}, ON, None),
        ({"file", "ghostswap", "zram"}, ON, None),
        ({"ghostswap", "zram"}, ON, "ghostswap"),
        ({"xswap"}, ON._replace(enabled=False), "xswap"),
        ({"zram"}, ON, "zram"),
        # what lives in zswap is of no use without it
        ({"dm", "zram"}, ON, "dm"),
        ({"file", "ghostswap", "xswap", "dm", "zram"}, None, "zram"),
        ({"file", "ghostswap"}, None, Unsupported),
        (set[str](), ON, Unsupported),
    ],
)
def test_what_does_it_instead(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    offers: set[str],
    state: Zswap | None,
    expected: str | type[Error] | None,
) -> None:
    monkeypatch.setattr(backends, "get", lambda name: Offer(name in offers, name != "zram"))
    root = root_with(tmp_path)
    if isinstance(expected, type):
        with pytest.raises(expected, match="has neither zram, nor ghost swap or device mapper with zswap"):
            plan.look([], state, root)
    else:
        assert plan.look([], state, root).fallback == expected


def test_a_sample_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As this zswap's compressor and allocator would have it."""
    asked: list[tuple[object, ...]] = []
    found: list[sample.Sample | None] = [sample.Sample(2.5, 400, 3, "lz4")]

    def take(*args: object, **words: object) -> sample.Sample | None:
        asked.append((*args, words))
        return found[0]

    monkeypatch.setattr(sample, "take", take)
    how = found[0] and found[0].how
    assert plan.sampled(ON._replace(zpool="zbud"), "lz4", [7]) == (2.5, "sampled", how)
    assert plan.sampled(None, None) == (2.5, "sampled", how)
    found[0] = None
    assert plan.sampled(None, None) is None
    assert asked == [("lz4", [7], {"zpool": "zbud"}), *[(None, None, {"zpool": None})] * 2]


@pytest.mark.parametrize(
    ("fallback", "limit", "at", "size", "percent", "takes", "slots"),
    [
        # beside the 100 MiB that are promised, of a pool of 512; 3.25 bytes a slot
        (None, 512 * MIB, 4, 412 * MIB, 50, 103 * MIB, 342784),
        # pages that do not compress take their size, no more
        (None, 512 * MIB, 0.5, 412 * MIB, 50, 412 * MIB, 342784),
        (None, 300 * MIB, 1.5, 200 * MIB, 29, 200 * MIB * 2 // 3, 166400),
        # a device has its own limit, and 16 bytes more a slot
        ("zram", 512 * MIB, 4, 512 * MIB, 50, 128 * MIB, 2523136),
    ],
)
def test_what_follows_from_a_limit(
    fallback: str | None, limit: int, at: float, size: int, percent: int, takes: int, slots: int
) -> None:
    require("pages-4k")
    beside = held("/other", "ghost", 100 * MIB, 5, ZSWAP)
    found = plan.alternative(now(others=(beside,), fallback=fallback), limit, at)
    assert found == (percent, limit, size, takes, GIB - takes - slots, GIB - size - slots, slots)


def test_a_limit_that_is_too_high() -> None:
    there = now()
    # 128 MiB beside it
    assert plan.choose(there, 87, 3)[0].percent == 87
    with pytest.raises(Error, match="a pool of 88% leaves too little memory") as caught:
        plan.choose(there, 88, 3)
    assert caught.value.hint == "ghostctl plan --pool-percent 87"


def test_what_is_left_by_others() -> None:
    """Of a pool of 512 MiB; the least is a ghost of 1 MiB."""

    def beside(size: int) -> Now:
        return now(others=(held("/other", "ghost", size, 5, ZSWAP),))

    assert plan.choose(beside(511 * MIB), None, 3)[0].size == MIB
    with pytest.raises(Error, match="512M of memory: too much for one beside them") as caught:
        plan.choose(beside(512 * MIB), None, 3)
    assert str(caught.value.hint).startswith("ghostctl doctor")
    # what zram takes at most is its limit; its ghosts are nothing to zswap's pool, and the other way round
    device = held("/dev/zram3", "partition", 100 * MIB, 5, Pool("zram3", 0, 0, 64 * MIB, 64 * MIB), "zram")
    more = device._replace(area=device.area._replace(size_kib=32 << 10))
    (ghost,) = beside(300 * MIB).others
    assert now(others=(device, more, ghost), fallback="zram").promised == 96 * MIB
    assert now(others=(device, more, ghost)).promised == 300 * MIB


def on_zram(limit: int | None, most: int | None, prio: int = 7) -> Held:
    """No machine has a device of this number."""
    pool = Pool("zram4711", 0, 0, limit, most)
    return held("/dev/zram4711", "partition", 512 * MIB - PAGE, prio, pool, "zram")._replace(ghost=GHOST)


OFF = ON._replace(enabled=False)
ON_AGAIN = f"ghostctl on --backend zram --memory-limit 512M -p 7 '{GHOST}'"


@pytest.mark.parametrize(
    ("mine", "declared", "expected"),
    [
        (on_zram(512 * MIB, 512 * MIB), 512 * MIB, []),
        # a kernel that does not say what the limit is
        (on_zram(None, None), 512 * MIB, []),
        (on_zram(None, GIB), 512 * MIB, [f"ghostctl off '{GHOST}'", ON_AGAIN]),
        (on_zram(512 * MIB, 512 * MIB, 3), 512 * MIB, [f"ghostctl off '{GHOST}'", ON_AGAIN]),
        # a device is not resized while it is active
        (
            on_zram(512 * MIB, 512 * MIB),
            200 * MIB,
            [f"ghostctl off '{GHOST}'", f"ghostctl resize '{GHOST}' 512M", ON_AGAIN],
        ),
        (
            on_zram(512 * MIB, 512 * MIB),
            None,
            [f"ghostctl off '{GHOST}'", f"ghostctl mkghost -s 512M '{GHOST}'", ON_AGAIN],
        ),
    ],
)
def test_what_changes_a_ghost_on_zram(mine: Held, declared: int | None, expected: list[str]) -> None:
    # on a kernel that would take the file as well
    there = now(state=OFF, declared=declared, own=mine)
    chosen, _ = plan.choose(there, None, 3)
    assert chosen.limit == 512 * MIB
    assert plan.commands(there, chosen, 7) == expected
    # nor does it matter what that kernel would have for another one
    for line in (plan.fstab_line(one, chosen, 7) for one in (there, there._replace(fallback="dm"))):
        assert "x-ghost.fallback=zram,x-ghost.memory-limit=512M" in line
    # zswap would keep its pages, but another ghost needs it
    on = there._replace(state=ON)
    assert plan.commands(on, chosen, 7) == [capacity.DISABLE_ZSWAP, *expected]
    other = held("/other", "ghost", 100 * MIB, 5, ZSWAP)
    assert plan.commands(on._replace(others=(other,)), chosen, 7) == expected
    assert plan.commands(there._replace(state=None), chosen, 7) == expected


def test_commands_where_another_backend_does_it() -> None:
    there = now(fallback="ghostswap", declared=512 * MIB)
    chosen, _ = plan.choose(there, None, 3)
    assert plan.commands(there, chosen, 7) == [f"ghostctl on --fallback ghostswap -p 7 '{GHOST}'"]
    assert "x-ghost.fallback=ghostswap,x-ghost.zswap" in plan.fstab_line(there, chosen, 7)


@pytest.mark.parametrize(
    ("size", "fallback", "limit", "words"),
    [
        (512 * MIB, (), None, "x-ghost.size=512M x-ghost.zswap"),
        (MIB, ("zram",), None, "x-ghost.size=1M x-ghost.fallback=zram x-ghost.memory-limit=1M"),
        (
            GIB,
            ("xswap", "zram"),
            256 * MIB,
            "x-ghost.size=1024M x-ghost.fallback=xswap,zram x-ghost.memory-limit=256M x-ghost.zswap",
        ),
        (GIB, ("xswap",), 256 * MIB, "x-ghost.size=1024M x-ghost.fallback=xswap x-ghost.zswap"),
        (MIB + (MIB >> 1), (), None, "x-ghost.size=1572864 x-ghost.zswap"),
    ],
)
def test_options_of_the_line(size: int, fallback: tuple[str, ...], limit: int | None, words: str) -> None:
    options = plan.fstab_options(size, 7, fallback, limit)
    text = " ".join(key if value is None else f"{key}={value}" for key, value in options)
    assert text == f"defaults nofail pri=7 {words}"


@pytest.mark.parametrize(
    ("mine", "others", "expected"),
    [
        (0, [], 0),
        (0, [-1], 0),
        (-1, [], 100),
        (-1, [-2], 100),
        (1, [0], 1),
        # another ghost may have the same, or more
        (3, [("ghost", 9)], 3),
        (-1, [("ghost", 9)], 10),
    ],
)
def test_a_priority_that_is_kept(mine: int, others: list[int | tuple[str, int]], expected: int) -> None:
    kinds = [one if isinstance(one, tuple) else ("file", one) for one in others]
    areas_ = [Area(f"/{prio}", kind, 4, 0, prio) for kind, prio in kinds]
    assert plan.priority(Area("/g", "ghost", 4, 0, mine), areas_) == expected


def test_without_what_a_sample_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is missing costs the sample, and nothing else; another fault is no missing package."""

    def fail(*_: object) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(plan, "sampled", fail)
    missing = "psutil"
    found = plan.ratio(ON, None, "lz4")
    assert (found.value, found.source) == (1, "assumed")
    assert "psutil" in found.text
    assert found.text.endswith(", for a sample of memory")
    missing = "ghostctl.none"
    with pytest.raises(ModuleNotFoundError):
        plan.ratio(ON, None, "lz4")
