# SPDX-License-Identifier: GPL-2.0-or-later
"""The live view of `status --watch`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .. import capacity, swaps, zswap
from ..sizes import human, page_size
from . import screen

Describe = Callable[[list[swaps.Area]], tuple[list[str], list[capacity.Held], list[swaps.Area]]]
"""What is above the bars, the areas whose pools those show, and the ordinary areas."""

_BAR = 30
_RATES = {
    "device in": "pswpin",
    "device out": "pswpout",
    "zswap in": "zswpin",
    "zswap out": "zswpout",
    "written back": "zswpwb",
}
"""Counters of /proc/vmstat, in pages. What zswap takes or gives goes to no device and comes from none."""


class Snapshot(NamedTuple):
    """The counters at one moment."""

    when: float
    pages: dict[str, int]
    refusals: int | None
    """Times that zswap's pool was full; None without debugfs, or when it may not be read."""

    @classmethod
    def take(cls) -> Snapshot:
        return cls(time.monotonic(), zswap.read_events(), zswap.read_debug().get("pool_limit_hit"))

    def seconds(self, before: Snapshot) -> float:
        return max(self.when - before.when, 0.001)

    def rates(self, before: Snapshot) -> Iterator[tuple[str, int]]:
        """Names and bytes a second since `before`, of what this kernel counts."""
        for name, counter in _RATES.items():
            if counter in self.pages and counter in before.pages:
                pages = self.pages[counter] - before.pages[counter]
                yield name, int(pages * page_size() / self.seconds(before))


def bar(share: float, width: int = _BAR) -> str:
    """A bar of ASCII, full from 1 on."""
    filled = round(width * min(max(share, 0), 1))
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def read_pressure(path: str = "/proc/pressure/memory") -> str | None:
    """Share of time in which tasks waited for memory (Documentation/accounting/psi.rst), in words."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            lines = [line.split() for line in file if not line.isspace()]
    except OSError:
        return None
    parts = []
    for kind, *fields in lines:
        values = {key: value for key, _, value in (field.partition("=") for field in fields)}
        parts.append(f"{kind} {values.get('avg10', '?')}% {values.get('avg60', '?')}%")
    return ", ".join(parts) + "  (of 10 s, 60 s)"


def _bars(held: list[capacity.Held], ordinary: list[swaps.Area]) -> Iterator[str]:
    """The slots of all ghosts, and each pool with an alarm when it is full before them."""
    found = capacity.total(held)
    if found is None or not found.size:
        return
    yield f"ghosts        {bar(found.used / found.size)} {human(found.used)} of {human(found.size)}"
    for name, group in capacity.by_pool(one for one in held if one.is_ghost).items():
        pool = group[0].pool
        if pool.used is None or not pool.most:
            continue
        title = "zswap pool" if name == "zswap" else name
        alarm = capacity.alarm(group, ordinary)
        text = f"{title:<13} {bar(pool.used / pool.most)} {human(pool.used)} of {human(pool.most)}"
        yield f"{text}  {alarm}" if alarm else text


def _lines(describe: Describe, now: Snapshot, before: Snapshot) -> Iterator[str]:
    lines, held, ordinary = describe(swaps.read())
    yield from lines
    yield ""
    yield from _bars(held, ordinary)
    rates = [f"{name} {human(rate)}/s" for name, rate in now.rates(before)]
    if now.refusals is not None and before.refusals is not None:
        rates.append(f"pool full {(now.refusals - before.refusals) / now.seconds(before):.0f}/s")
    yield "  ".join(rates)
    pressure = read_pressure()
    if pressure is not None:
        yield f"memory pressure: {pressure}"


def watch(seconds: float, describe: Describe) -> None:
    """Shows the view until q or a signal; on what is no terminal, one block each time."""
    view = _View(describe)
    screen.run(seconds, view.frame, tick=view.tick)


class _View:
    """The picture, and the counters that its rates are since."""

    def __init__(self, describe: Describe) -> None:
        self._describe = describe
        self._is_due = True
        self._base: Snapshot | None = None

    def tick(self) -> None:
        self._is_due = True

    def frame(self, _columns: int, _rows: int) -> list[str]:
        now = Snapshot.take()
        before = self._base or now
        if self._is_due:
            self._base, self._is_due = now, False
        return list(_lines(self._describe, now, before))
