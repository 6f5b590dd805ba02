# SPDX-License-Identifier: GPL-2.0-or-later
"""What a live view is drawn with: lines that fit a terminal, from what is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .. import bars, capacity, output
from ..history import Moment
from ..sizes import human
from ..swaps import Area
from .screen import Line, Part

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"

_LABEL = 12
_LEAST, _USUAL = 6, 32
"""Cells of a bar."""
_WIDE, _NARROW = 120, 60
"""Cells of a line from which on there are longer bars, and below which a history says less."""


class Paper(NamedTuple):
    """What there is to draw on."""

    cells: int
    """Of a line; 0 where it may have any."""
    fine: bool
    """Whether it shows the blocks of Unicode."""


def draw_bars(held: Sequence[capacity.Held], ordinary: Sequence[Area], paper: Paper) -> Iterator[Line]:
    """The slots of all ghosts, and each pool with an alarm when it is full before them."""
    found = capacity.total(held)
    if found is None or not found.size:
        return
    pools = capacity.by_pool(one for one in held if one.is_ghost)
    alarms = {name: capacity.alarm(group, ordinary) for name, group in pools.items()}
    known = [group[0].pool for group in pools.values()]
    pairs = [(found.used, found.size), *((pool.used, pool.most) for pool in known)]
    cells = _bar_cells(max(len(_share(used or 0, most or 0)) for used, most in pairs), paper)
    yield _bar("ghosts", found.used, found.size, any(alarms.values()), cells, paper.fine)
    for pool in known:
        yield from _with_alarm(
            _pool(pool, bool(alarms[pool.name]), cells, paper.fine), alarms[pool.name], paper.cells
        )


def _bar_cells(beside: int, paper: Paper) -> int:
    """Of each bar, so that they can be compared: what is left beside so many cells."""
    if not paper.cells:
        return _USUAL
    longest = paper.cells // 3 if paper.cells >= _WIDE else _USUAL
    return max(min(paper.cells - _LABEL - beside, longest), _LEAST)


def _share(used: int, most: int) -> str:
    return f" {human(used)} of {human(most)}"


def _pool(pool: capacity.Pool, is_alarming: bool, cells: int, fine: bool) -> tuple[Part, ...]:
    title = "zswap pool" if pool.name == "zswap" else pool.name
    if pool.used is not None and pool.most:
        return _bar(title, pool.used, pool.most, is_alarming, cells, fine)
    unknown = pool.used is None or pool.most is None
    text = "this kernel does not say how full it is" if unknown else f"{human(pool.used or 0)}, takes no more"
    return (Part(f"{title:<{_LABEL}}"), Part(text))


def _bar(title: str, used: int, most: int, is_alarming: bool, cells: int, fine: bool) -> tuple[Part, ...]:
    color = RED if is_alarming else YELLOW if 100 * used >= capacity.NEARLY_FULL * most else GREEN
    bar = bars.bar(used / most, cells, fine=fine)
    return (Part(f"{title:<{_LABEL}}"), Part(bar, color), Part(_share(used, most)))


def _with_alarm(line: tuple[Part, ...], alarm: str | None, cells: int) -> Iterator[Line]:
    """Behind the bar, or below it where there is no room."""
    if alarm is None:
        yield line
    elif not cells or sum(len(part.text) for part in line) + len(alarm) + 2 <= cells:
        yield (*line, Part(f"  {alarm}", RED))
    else:
        yield line
        yield from ((Part(text, RED),) for text in output.fold(f"  {alarm}", cells))


def draw_history(moments: Sequence[Moment], most: int, paper: Paper) -> list[str]:
    """Sparklines of what is remembered, below how long that is; `most` is what the pool may take."""
    is_narrow = paper.cells < _NARROW
    cells = paper.cells - _LABEL - (9 if is_narrow else 26)
    shown = moments[-cells:] if cells > 0 else []
    if not shown:
        return []

    def line(title: str, values: Sequence[int | None], extreme: str, top: int = 0, unit: str = "") -> str:
        known = [value for value in values if value is not None]
        if not known:
            return ""
        far = min(known) if extreme == "least" else max(known)
        text = "not known" if values[-1] is None else f"{human(values[-1])}{unit}"
        text += "" if is_narrow else f", {extreme} {human(far)}{unit}"
        return f"{title:<{_LABEL}}{bars.sparkline(values, cells, top, fine=paper.fine)} {text}"

    lines = (
        line("room", [one.room for one in shown], "least"),
        line("pool", [one.pool for one in shown], "most", most),
        line("swapped in", [one.swapped_in for one in shown], "most", unit="/s"),
    )
    return [f"the last {duration(shown[-1].when - shown[0].when)}:", *filter(None, lines)]


def duration(seconds: float) -> str:
    """A time for people: its two largest units."""
    whole, found = int(seconds), []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            found.append(f"{count} {name}")
    return " ".join(found[:2]) or "0 s"


def flow(words: Iterable[str], cells: int) -> list[str]:
    """Words with two blanks between them, in as many lines as they take; in one with 0 cells."""
    lines: list[str] = []
    for word in words:
        if lines and (not cells or output.width(lines[-1]) + 2 + output.width(word) <= cells):
            lines[-1] += f"  {word}"
        else:
            lines.append(word)
    return lines


def first(lines: list[str], rows: int) -> list[str]:
    """The first of the lines, the last of which says how many are left out."""
    kept = max(rows - 1, 0)
    return lines if len(lines) <= rows else [*lines[:kept], f"and {len(lines) - kept} more"]


def height(blocks: Iterable[Sequence[Line]]) -> int:
    """Lines that the blocks take with an empty line behind each; those without a line take none."""
    return sum(len(block) + 1 for block in blocks if block)


def joined(blocks: Iterable[Sequence[Line]]) -> list[Line]:
    """The lines of the blocks, an empty line between them."""
    lines: list[Line] = []
    for block in filter(None, blocks):
        lines += ["", *block] if lines else block
    return lines
