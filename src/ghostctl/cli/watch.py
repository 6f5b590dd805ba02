# SPDX-License-Identifier: GPL-2.0-or-later
"""The live view of `status --watch`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .. import bars, capacity, output, swaps
from ..history import History, Moment, Snapshot, read_pressure
from ..sizes import human
from . import screen
from .picture import BOLD, DIM, YELLOW, Paper, draw_bars, draw_history, duration, first, flow, height, joined
from .screen import Line, Part


class State(NamedTuple):
    """What status knows at one moment."""

    areas: list[swaps.Area]
    table: Callable[[list[swaps.Area], int], list[str]]
    """The areas in the order that is given, in lines of so many cells, if not 0."""
    below: Callable[[int], list[str]]
    """What is said below them, likewise."""
    held: list[capacity.Held]
    ordinary: list[swaps.Area]


Describe = Callable[[list[swaps.Area]], State]

_ORDERS: tuple[tuple[str, Callable[[swaps.Area], int | str] | None], ...] = (
    ("", None),
    ("by priority", lambda area: -area.prio),
    ("by used", lambda area: -area.used),
    ("by size", lambda area: -area.size),
    ("by name", lambda area: area.name),
)
_INTERVALS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600)
_LEAST_USAGE = 6
"""Lines of usage for which what is above it makes room."""

_KEYS = (
    ("q", "quit", "quit, as Ctrl-C does"),
    ("?", "help", "this help; any key leaves it"),
    ("space", "pause", "keep the picture as it is, or go on"),
    ("s", "sort", "areas as the kernel lists them, by priority, used, size, name"),
    ("p", "processes", "the processes that have pages in swap areas"),
    ("c", "cgroups", "the cgroups that have them"),
    ("+ -", "interval", "a longer or shorter time between two pictures"),
)
"""Each with what the last line says of it, and the help."""
_WORDS = (
    ("ghosts", "the slots of all ghosts, and what is used of them"),
    ("pool", "memory that their pages take; yellow when nearly full, red when full before the slots are"),
    ("room", "what the ghosts can really still take"),
    ("in, out", "what devices and zswap gave and took"),
    ("pressure", "share of time in which tasks waited for memory"),
)


class _Seen(NamedTuple):
    """What is shown until it is looked at again."""

    clock: str
    state: State
    pressure: str | None


def watch(seconds: float, describe: Describe, *, color: bool) -> None:
    """Shows the view until q or a signal; on what is no terminal, one block each time."""
    view = _View(seconds, describe)
    screen.run(seconds, view.frame, view.key, tick=view.tick, color=color)


class _View:
    """The view, as its keys have set it."""

    def __init__(self, seconds: float, describe: Describe) -> None:
        self._seconds = seconds
        self._describe = describe
        self._start = time.monotonic()
        self._fine = bars.is_fine(sys.stdout)
        self._is_due = False
        self._base: Snapshot | None = None
        self._rates: list[str] = []
        self._history = History()
        self._seen: _Seen | None = None
        self._has_help = self._is_paused = False
        self._order = 0
        self._usage: str | None = None
        self._usage_lines: list[str] | None = None

    def tick(self) -> None:
        """Has the next picture count."""
        self._is_due = True

    def key(self, key: str) -> float | None:
        """Does what a key does; the interval, where that is changed."""
        key = key.lower()
        if self._has_help or key == "?":
            self._has_help = not self._has_help
        elif key == " ":
            self._pause()
        elif key == "s":
            self._order = (self._order + 1) % len(_ORDERS)
        elif key in ("p", "c"):
            self._usage, self._usage_lines = None if self._usage == key else key, None
        elif key in ("+", "-"):
            self._seconds = step(self._seconds, longer=key == "+")
            return self._seconds
        return None

    def _pause(self) -> None:
        self._is_paused = not self._is_paused
        if not self._is_paused:
            self._history.gap()

    def frame(self, cells: int, rows: int) -> list[Line]:
        """The picture."""
        if self._seen is None or not self._is_paused:
            self._seen = self._look()
        seen, paper = self._seen, Paper(cells, self._fine)
        if not cells:
            return [self._header(seen, 0), *self._block(seen, paper)]
        # between the first line and the last
        inside = max(rows - 2, 0)
        body = list(_help(cells)) if self._has_help else self._body(seen, paper, inside)
        filled = [*body, *[""] * inside][:inside]
        return [self._header(seen, cells), *filled, (Part(_footer(cells), DIM),)]

    def _look(self) -> _Seen:
        state = self._describe(swaps.read())
        if self._is_due:
            self._is_due = False
            self._count(capacity.total(state.held))
        return _Seen(time.strftime("%H:%M:%S"), state, read_pressure())

    def _count(self, found: capacity.Total | None) -> None:
        """What is for each interval, however often the picture is drawn within it."""
        now, before = Snapshot.take(), self._base
        self._base = now
        self._rates = list(_rates(now, before or now))
        room, memory = (found.room, found.memory) if found else (None, None)
        self._history.add(Moment(now.when, room, memory, now.swapped_in(before) if before else None))

    def _header(self, seen: _Seen, cells: int) -> Line:
        pace = "paused" if self._is_paused else f"every {self._seconds:g} s"
        order = _ORDERS[self._order][0]
        words = [seen.clock, pace, *filter(None, [order]), f"for {duration(time.monotonic() - self._start)}"]
        name = os.uname().nodename
        if cells:
            while len(words) > 1 and len("  ".join(words)) + min(len(name), 8) + 2 > cells:
                words.pop()
            name = output.cut(name, max(cells - len("  ".join(words)) - 2, 0))
        return (Part(name, BOLD), *(Part(f"  {word}", YELLOW if word == "paused" else "") for word in words))

    def _block(self, seen: _Seen, paper: Paper) -> list[Line]:
        """The picture where it is no terminal."""
        state = seen.state
        drawn = draw_bars(state.held, state.ordinary, paper)
        return [*state.table(state.areas, 0), *state.below(0), "", *drawn, *self._activity(seen, paper)]

    def _body(self, seen: _Seen, paper: Paper, rows: int) -> list[Line]:
        """What matters most comes first: that for which there are no rows is cut."""
        state, cells = seen.state, paper.cells
        drawn = list(draw_bars(state.held, state.ordinary, paper))
        top = [*first(state.table(self._sorted(state.areas), cells), max(rows - len(drawn), 2)), *drawn]
        pools = {one.pool.name: one.pool.most or 0 for one in state.held if one.is_ghost}
        history = draw_history(self._history.last(cells), sum(pools.values()), paper)
        blocks: list[Sequence[Line]] = [top, history, self._activity(seen, paper)]
        if self._usage is not None:
            while len(blocks) > 1 and height(blocks) + _LEAST_USAGE > rows:
                blocks.pop()
            blocks.append(self._used_by(self._usage, rows - height(blocks), cells))
        below = state.below(cells)
        return joined([*blocks, below[1:] if below[:1] == [""] else below])

    def _sorted(self, areas: list[swaps.Area]) -> list[swaps.Area]:
        order = _ORDERS[self._order][1]
        return areas if order is None else sorted(areas, key=order)

    def _activity(self, seen: _Seen, paper: Paper) -> list[str]:
        pressure = (
            [] if seen.pressure is None else output.fold(f"memory pressure: {seen.pressure}", paper.cells)
        )
        return [*flow(self._rates, paper.cells), *pressure]

    def _used_by(self, kind: str, rows: int, cells: int) -> list[str]:
        """Read anew each time, but for a picture that is to stay."""
        if self._usage_lines is None or not self._is_paused:
            from . import usage

            lines = usage.process_lines if kind == "p" else usage.cgroup_lines
            # beside the headings and the sums
            self._usage_lines = lines(max(rows - 4, 1), cells)
        return self._usage_lines[: max(rows, 0)]


def step(seconds: float, *, longer: bool) -> float:
    """The next longer or shorter of the usual intervals; the same where there is none."""
    if longer:
        return next((one for one in _INTERVALS if one > seconds), seconds)
    return next((one for one in reversed(_INTERVALS) if one < seconds), seconds)


def _rates(now: Snapshot, before: Snapshot) -> Iterator[str]:
    for name, rate in now.rates(before):
        yield f"{name} {human(rate)}/s"
    refused = now.refused(before)
    if refused is not None:
        yield f"pool full {refused:.0f}/s"


def _footer(cells: int) -> str:
    return "".join(flow((f"{key} {name}" for key, name, _ in _KEYS), cells)[:1])


def _help(cells: int) -> Iterator[str]:
    for key, _, text in _KEYS:
        yield from output.fold(f"{key:<10}{text}", cells, 10)
    yield ""
    for word, text in _WORDS:
        yield from output.fold(f"{word:<10}{text}", cells, 10)
