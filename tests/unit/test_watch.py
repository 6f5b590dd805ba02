# SPDX-License-Identifier: GPL-2.0-or-later
"""The drawing of live views and of `off`: bars, sparklines, lines that fit."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostctl import bars, output, swaps
from ghostctl.capacity import Held, Pool
from ghostctl.cli import picture, screen, watch
from ghostctl.cli.picture import GREEN, RED, YELLOW, Paper
from ghostctl.cli.screen import Line, Part
from ghostctl.history import History, Moment, Snapshot
from ghostctl.sizes import page_size

MIB = 1 << 20
WIDTHS = (39, 79, 199)
GHOST = swaps.Area("/var/lib/ghost/swap0", "ghost", 32 << 10, 8 << 10, 100)


def text_of(line: Line) -> str:
    return line if isinstance(line, str) else "".join(part.text for part in line)


@pytest.mark.parametrize(
    ("share", "ascii_bar", "fine_bar"),
    [
        (-1, "[........]", "[        ]"),
        (0, "[........]", "[        ]"),
        (0.5, "[####....]", "[████    ]"),
        (0.57, "[####....]", "[████▌   ]"),
        (0.999, "[#######.]", "[███████▉]"),
        (1, "[########]", "[████████]"),
        (2, "[########]", "[████████]"),
    ],
)
def test_bar(share: float, ascii_bar: str, fine_bar: str) -> None:
    assert bars.bar(share, 10) == ascii_bar
    assert bars.bar(share, 10, fine=True) == fine_bar


@given(st.floats(allow_nan=False), st.integers(2, 100), st.booleans())
def test_a_bar_has_its_cells(share: float, cells: int, fine: bool) -> None:
    assert output.width(bars.bar(share, cells, fine=fine)) == cells


@pytest.mark.parametrize(
    ("values", "cells", "most", "expected", "fine"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, 0, "▁▂▃▄▅▆▇█", True),
        ([0, 1, 2, 3, 4, 5, 6], 7, 0, ".:-=+*#", False),
        ([1, 2, 3], 2, 0, "▆█", True),
        ([7], 4, 0, "   █", True),
        ([0, 0], 2, 0, "▁▁", True),
        ([None, 7, None], 3, 0, " █ ", True),
        ([7], 1, 14, "▅", True),
        ([1], 1, 1 << 40, "▂", True),
        ([], 3, 5, "   ", True),
        ([1], 0, 0, "", True),
    ],
)
def test_sparkline(values: list[float | None], cells: int, most: float, expected: str, fine: bool) -> None:
    assert bars.sparkline(values, cells, most, fine=fine) == expected


@given(st.lists(st.none() | st.integers(-(1 << 64), 1 << 64)), st.integers(0, 50), st.booleans())
def test_a_sparkline_has_its_cells(values: list[float | None], cells: int, fine: bool) -> None:
    assert output.width(bars.sparkline(values, cells, fine=fine)) == cells


@pytest.mark.parametrize(
    ("text", "cells", "fine", "expected"),
    [
        ("/swap0", 6, True, "/swap0"),
        ("/a/swap0", 6, True, "…swap0"),
        ("/a/swap0", 6, False, "...ap0"),
        ("/日本語", 5, True, "…本語"),
        ("/a/swap0", 2, False, ".."),
        ("/a/swap0", 0, True, ""),
    ],
)
def test_shorten(text: str, cells: int, fine: bool, expected: str) -> None:
    assert bars.shorten(text, cells, fine=fine) == expected


@given(st.text(), st.integers(0, 30), st.booleans())
def test_what_is_shortened_fits(text: str, cells: int, fine: bool) -> None:
    assert output.width(bars.shorten(text, cells, fine=fine)) <= cells


class Stream(io.TextIOWrapper):
    """A terminal of this encoding."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("encoding", "term", "expected"),
    [
        ("utf-8", "xterm-256color", True),
        ("utf-8", "linux", False),
        ("utf-8", "dumb", False),
        ("ascii", "xterm", False),
        ("latin-1", "xterm", False),
    ],
)
def test_blocks_where_they_can_be_seen(
    encoding: str, term: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    assert bars.is_fine(Stream(io.BytesIO(), encoding)) == expected
    assert not bars.is_fine(io.TextIOWrapper(io.BytesIO(), encoding))


def held(used: int | None, most: int | None, free: int = 24) -> list[Held]:
    """A ghost with so many MiB of free slots, in a pool of incompressible pages."""
    area = GHOST._replace(used_kib=GHOST.size_kib - (free << 10))
    return [Held(area, Pool("zswap", used, used, most, most), GHOST.name, "file")]


@pytest.mark.parametrize(
    ("used", "most", "free", "color"),
    [(8, 64, 24, GREEN), (60, 64, 3, YELLOW), (10, 11, 24, RED), (11, 11, 24, RED)],
)
def test_a_bar_has_the_colour_of_its_state(used: int, most: int, free: int, color: str) -> None:
    for cells in (0, *WIDTHS):
        _, pool, *alarm = picture.draw_bars(held(used * MIB, most * MIB, free), [], Paper(cells, fine=False))
        assert isinstance(pool, tuple)
        assert [part.sgr for part in pool[:3]] == ["", color, ""]
        said = text_of(pool[3:]) + "".join(map(text_of, alarm))
        assert ("full: " in said) == (color == RED)


def test_the_ghosts_have_the_colour_of_an_alarm() -> None:
    ghosts, *_ = picture.draw_bars(held(11 * MIB, 11 * MIB), [], Paper(79, fine=False))
    assert isinstance(ghosts, tuple)
    assert ghosts[1].sgr == RED


def test_a_pool_that_takes_nothing_is_an_alarm() -> None:
    for cells in (0, *WIDTHS):
        drawn = list(picture.draw_bars(held(0, 0), [], Paper(cells, fine=False)))
        assert "takes nothing: 24M of slots are free in vain" in " ".join(
            text_of(line).strip() for line in drawn
        )


def test_a_pool_of_which_nothing_is_known() -> None:
    _, pool = picture.draw_bars(held(None, 64 * MIB), [], Paper(79, fine=False))
    assert text_of(pool) == "zswap pool  this kernel does not say how full it is"


def test_no_ghost_no_bar() -> None:
    assert list(picture.draw_bars([], [], Paper(79, fine=False))) == []


def moments(count: int) -> list[Moment]:
    return [Moment(float(2 * n), n * MIB, 2 * n * MIB, 3 * n * MIB if n else None) for n in range(count)]


@pytest.mark.parametrize("cells", WIDTHS)
def test_bars_and_history_fit(cells: int) -> None:
    """None of them has to be cut."""
    for fine in (False, True):
        paper = Paper(cells, fine)
        lines = [
            *picture.draw_bars(held(1000 * MIB, 1001 * MIB), [], paper),
            *picture.draw_history(moments(600), 64 * MIB, paper),
            *picture.draw_history(moments(1), 64 * MIB, paper),
        ]
        assert all(output.width(text_of(line)) <= cells for line in lines), lines


def test_history() -> None:
    title, room, pool, swapped_in = picture.draw_history(moments(3), 16 * MIB, Paper(79, fine=True))
    assert title == "the last 4 s:"
    assert room.split() == ["room", "▁▅█", "2M,", "least", "0B"]
    assert pool.split() == ["pool", "▁▂▃", "4M,", "most", "4M"]
    assert swapped_in.split(maxsplit=2) == ["swapped", "in", "▅█ 6M/s, most 6M/s"]


def test_what_is_not_known_is_no_history() -> None:
    assert picture.draw_history([Moment(0)], 0, Paper(79, fine=True)) == ["the last 0 s:"]
    room = picture.draw_history([Moment(0, room=MIB), Moment(2)], 0, Paper(79, fine=True))[1]
    assert room.split() == ["room", "█", "not", "known,", "least", "1M"]
    assert "█  not known" in room


def test_a_history_has_an_end() -> None:
    history = History()
    for moment in moments(History.MOST + 5):
        history.add(moment)
    assert len(history.last(10 * History.MOST)) == History.MOST
    assert [moment.when for moment in history.last(2)] == [2 * (History.MOST + 3), 2 * (History.MOST + 4)]
    assert history.last(0) == []
    history.gap()
    assert history.last(1) == [Moment(2 * (History.MOST + 4))]


def test_rates() -> None:
    before = Snapshot(10.0, {"pswpin": 5, "zswpin": 7}, 3)
    now = Snapshot(12.0, {"pswpin": 9, "zswpin": 9, "zswpout": 4}, None)
    assert dict(now.rates(before)) == {"device in": 2 * page_size(), "zswap in": page_size()}
    assert now.swapped_in(before) == 3 * page_size()
    assert now.refused(before) is None
    assert Snapshot(12.0, {}, 7).refused(before) == 2
    assert Snapshot(12.0, {}, 7).swapped_in(before) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (7322, "2 h 2 min"), (90000, "1 d 1 h")],
)
def test_duration(seconds: float, words: str) -> None:
    assert picture.duration(seconds) == words


def test_cut_to_less_than_nothing() -> None:
    assert output.cut("ab", -1) == output.cut("日", -1) == ""


def test_flow() -> None:
    assert picture.flow(["aa", "bb", "cc"], 6) == ["aa  bb", "cc"]
    assert picture.flow(["aa", "bb", "cc"], 0) == ["aa  bb  cc"]
    assert picture.flow(["aaa", "b"], 2) == ["aaa", "b"]
    assert picture.flow([], 5) == []


def test_fold() -> None:
    assert output.fold("one two three", 0) == ["one two three"]
    assert output.fold("one two three", 8) == ["one two", "  three"]
    assert output.fold("one two three", 13) == ["one two three"]
    assert output.fold("one two", 1) == ["one", "  t", "  w", "  o"]


def test_the_first_lines_say_how_many_are_left_out() -> None:
    assert picture.first(["a", "b", "c"], 3) == ["a", "b", "c"]
    assert picture.first(["a", "b", "c"], 2) == ["a", "and 2 more"]
    assert picture.first(["a", "b", "c"], 1) == ["and 3 more"]


def test_blocks_with_an_empty_line_between() -> None:
    blocks = [["a"], [], ["b", "c"]]
    assert picture.joined(blocks) == ["a", "", "b", "c"]
    assert picture.height(blocks) == 5


@pytest.mark.parametrize(
    ("seconds", "longer", "shorter"), [(2, 5, 1), (3, 5, 2), (0.1, 0.2, 0.1), (3600, 3600, 900)]
)
def test_step(seconds: float, longer: float, shorter: float) -> None:
    assert watch.step(seconds, longer=True) == longer
    assert watch.step(seconds, longer=False) == shorter


def test_a_line_is_cut_before_it_is_coloured() -> None:
    line = (Part("ab", "31"), Part("日本", "32"), Part("x"))
    assert screen.paint(line, None, color=False) == "ab日本x"
    assert screen.paint(line, 5, color=True) == "\x1b[31mab\x1b[m\x1b[32m日\x1b[m"
    assert screen.paint(line, 2, color=True) == "\x1b[31mab\x1b[m"
    assert screen.paint(line, 7, color=True) == "\x1b[31mab\x1b[m\x1b[32m日本\x1b[mx"


def test_a_line_brings_no_control_characters() -> None:
    assert screen.paint("\x1b[31m\n", None, color=True) == r"\x1b[31m\x0a"
    assert screen.paint((Part("\x9b", "1"),), None, color=True) == "\x1b[1m\\xc2\\x9b\x1b[m"
    assert screen.paint("\x1b", 2, color=True) == r"\x"


@pytest.mark.parametrize(
    ("typed", "keys", "ends"),
    [
        (b"sp", "sp", False),
        (b"\x1b[A\x1bOP\x1b[1;2Ss\x1b[3~", "s", False),
        (b"\x1b", "", False),
        (b"sQp", "s", True),
        (b"", "", True),
        ("é\n".encode(), "é\n", False),
    ],
)
def test_keys(typed: bytes, keys: str, ends: bool) -> None:
    seen: list[str] = []
    loop = screen.Loop(2, seen.append, None)
    assert loop.type(typed) == ends
    assert "".join(seen) == keys


def test_a_key_changes_the_interval() -> None:
    loop = screen.Loop(2, lambda _key: 3600, None)
    assert loop.type(b"+") is False
    assert loop.seconds == 3600
