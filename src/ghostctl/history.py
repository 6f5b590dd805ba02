# SPDX-License-Identifier: GPL-2.0-or-later
"""How much is being swapped, and the last minutes of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from . import zswap
from .sizes import page_size

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
    """Of a clock that goes on, in seconds."""
    pages: dict[str, int]
    refusals: int | None
    """Times that zswap's pool was full; None without debugfs, or when it may not be read."""

    @classmethod
    def take(cls) -> Snapshot:
        """Reads the counters."""
        return cls(time.monotonic(), zswap.read_events(), zswap.read_debug().get("pool_limit_hit"))

    def seconds(self, before: Snapshot) -> float:
        """How long ago that was, and never 0."""
        return max(self.when - before.when, 0.001)

    def rates(self, before: Snapshot) -> Iterator[tuple[str, int]]:
        """Names and bytes a second since `before`, of what this kernel counts."""
        for name, counter in _RATES.items():
            rate = self._rate(before, counter)
            if rate is not None:
                yield name, rate

    def swapped_in(self, before: Snapshot) -> int | None:
        """Bytes a second that came back, from devices and from zswap; None where neither is counted."""
        return self._rate(before, "pswpin", "zswpin")

    def refused(self, before: Snapshot) -> float | None:
        """How often a second zswap's pool was full."""
        if self.refusals is None or before.refusals is None:
            return None
        return (self.refusals - before.refusals) / self.seconds(before)

    def _rate(self, before: Snapshot, *counters: str) -> int | None:
        known = [counter for counter in counters if counter in self.pages and counter in before.pages]
        pages = sum(self.pages[counter] - before.pages[counter] for counter in known)
        return int(pages * page_size() / self.seconds(before)) if known else None


class Moment(NamedTuple):
    """What is remembered; bytes, None for what is not known."""

    when: float
    room: int | None = None
    """What the ghosts can really still take."""
    pool: int | None = None
    """Memory that their pages take."""
    swapped_in: int | None = None
    """A second."""


class History:
    """The last moments: so many and no more, however long it is kept."""

    MOST = 600

    def __init__(self) -> None:
        self._moments: deque[Moment] = deque(maxlen=self.MOST)

    def add(self, moment: Moment) -> None:
        """Remembers a moment."""
        self._moments.append(moment)

    def gap(self) -> None:
        """Remembers that for a time nothing was looked at."""
        if self._moments:
            self.add(Moment(self._moments[-1].when))

    def last(self, count: int) -> list[Moment]:
        """The last moments, the newest last."""
        return list(self._moments)[-count:] if count > 0 else []


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
