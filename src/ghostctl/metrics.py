# SPDX-License-Identifier: GPL-2.0-or-later
"""Swap areas and zswap as OpenMetrics text, as node_exporter's textfile collector takes it, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from . import capacity
from .report import escape
from .swaps import Area
from .zswap import EVENTS, Zswap

_EVENTS = {
    "pswpin": "swap_in",
    "pswpout": "swap_out",
    "zswpin": "zswap_in",
    "zswpout": "zswap_out",
    "zswpwb": "zswap_written_back",
}


class Family(NamedTuple):
    """One metric: samples with their labels, in units that its name ends with."""

    name: str
    type: Literal["gauge", "counter"]
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]
    unit: str = ""

    def lines(self) -> Iterator[str]:
        """Its lines of OpenMetrics text."""
        name = f"ghostctl_{self.name}" + (f"_{self.unit}" if self.unit else "")
        yield f"# TYPE {name} {self.type}"
        if self.unit:
            yield f"# UNIT {name} {self.unit}"
        yield f"# HELP {name} {self.help}"
        suffix = "_total" if self.type == "counter" else ""
        for labels, value in self.samples:
            pairs = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
            yield f"{name}{suffix}{f'{{{pairs}}}' if pairs else ''} {value}"


def _label(text: str) -> str:
    return escape(text).replace("\\", "\\\\").replace('"', '\\"')


def families(
    shown: Sequence[Area],
    areas: Sequence[Area],
    state: Zswap | None,
    events: Mapping[str, int],
    debug: Mapping[str, int],
) -> Iterator[Family]:
    """What is known, and nothing for what this kernel or user cannot know.

    Those of `areas` that are `shown` have samples of their own. `events` are those of `zswap.EVENTS`,
    `debug` from zswap's directory in debugfs.
    """
    if shown:
        # of two that nothing tells apart, one: a sample must not come twice
        yield from _area_families(list({(area.name, area.type): area for area in shown}.values()))
    if state is not None:
        yield from _zswap_families(state)
    found = capacity.measure(areas, state)
    if found is not None:
        yield _bytes("ghosts_size", "What the active ghosts declare.", found.size)
        yield _bytes("ghosts_free", "Free slots of the ghosts: what SwapFree promises.", found.free)
        if found.available is not None:
            yield _bytes("ghosts_available", "What the ghosts can really still take.", found.available)
    for event, name in _EVENTS.items():
        if event in events:
            yield Family(name, "counter", _sentence(EVENTS[event]), [({}, events[event])], "pages")
    if "pool_limit_hit" in debug:
        text = "Times that zswap's pool was full."
        yield Family("zswap_pool_limit_hits", "counter", text, [({}, debug["pool_limit_hit"])])
    rejected = [
        ({"reason": name.removeprefix("reject_")}, count)
        for name, count in debug.items()
        if name.startswith("reject_")
    ]
    if rejected:
        yield Family("zswap_rejected", "counter", "Pages that zswap refused.", rejected, "pages")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _bytes(name: str, text: str, value: int) -> Family:
    return Family(name, "gauge", text, [({}, value)], "bytes")


def _area_families(areas: Sequence[Area]) -> Iterator[Family]:
    labels = [{"name": area.name, "type": area.type} for area in areas]
    size = [(label, area.size) for label, area in zip(labels, areas, strict=True)]
    used = [(label, area.used) for label, area in zip(labels, areas, strict=True)]
    prio = [(label, area.prio) for label, area in zip(labels, areas, strict=True)]
    yield Family("area_size", "gauge", "Usable size of a swap area.", size, "bytes")
    yield Family("area_used", "gauge", "Slots in use of a swap area.", used, "bytes")
    yield Family("area_priority", "gauge", "Priority of a swap area.", prio)


def _zswap_families(state: Zswap) -> Iterator[Family]:
    labels = {"compressor": state.compressor or ""}
    if state.enabled is not None:
        yield Family("zswap_enabled", "gauge", "Whether zswap is on.", [(labels, int(state.enabled))])
    if state.stored is not None:
        yield _bytes("zswap_stored", "Size of the pages in zswap.", state.stored)
    if state.pool is not None:
        yield _bytes("zswap_pool", "Memory that the pages in zswap take.", state.pool)
    if state.pool_limit is not None:
        yield _bytes("zswap_pool_limit", "The most that zswap's pool may take.", state.pool_limit)


def openmetrics(found: Iterator[Family]) -> str:
    """The text of metrics, with the end that OpenMetrics wants."""
    return "\n".join([*(line for family in found for line in family.lines()), "# EOF", ""])
