# SPDX-License-Identifier: GPL-2.0-or-later
"""Swap areas, ghosts and zswap as metrics: OpenMetrics text, and the older text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from . import capacity
from .capacity import Held
from .report import escape
from .swaps import Area
from .zswap import EVENTS, Zswap

if TYPE_CHECKING:
    from .areas import Active
    from .doctor import Finding

_EVENTS = {
    "pswpin": "swap_in",
    "pswpout": "swap_out",
    "zswpin": "zswap_in",
    "zswpout": "zswap_out",
    "zswpwb": "zswap_written_back",
}
_STATUS = ("OK", "WARN", "FAIL")

Labels = Mapping[Area, Mapping[str, str]]
"""The areas that have samples of their own, and the labels of those."""


class Family(NamedTuple):
    """One metric: samples with their labels, in units that its name ends with."""

    name: str
    type: Literal["gauge", "counter"]
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]
    unit: str = ""

    def lines(self, *, older: bool = False) -> Iterator[str]:
        """Its lines of OpenMetrics text, or of the `older` format, in which TYPE and HELP name the sample."""
        name = f"ghostctl_{self.name}" + (f"_{self.unit}" if self.unit else "")
        suffix = "_total" if self.type == "counter" else ""
        described = name + suffix if older else name
        yield f"# HELP {described} {self.help}"
        yield f"# TYPE {described} {self.type}"
        if self.unit and not older:
            yield f"# UNIT {name} {self.unit}"
        for labels, value in self.samples:
            pairs = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items() if text)
            yield f"{name}{suffix}{f'{{{pairs}}}' if pairs else ''} {value}"


def text(families: Iterable[Family], *, older: bool = False) -> str:
    """The text of metrics; OpenMetrics wants an end, the `older` format has none."""
    lines = [line for family in families if family.samples for line in family.lines(older=older)]
    return "\n".join([*lines, *([] if older else ["# EOF"]), ""])


def _label(text: str) -> str:
    return escape(text).replace("\\", "\\\\").replace('"', '\\"')


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _bytes(name: str, text: str, value: int | None) -> Iterator[Family]:
    """One sample in bytes; none where it is not known."""
    if value is not None:
        yield Family(name, "gauge", text, [({}, value)], "bytes")


def areas(labels: Labels) -> Iterator[Family]:
    """Every area that has labels."""
    # of two that nothing tells apart, one: a sample must not come twice
    shown = {(area.name, area.type): (area, pairs) for area, pairs in labels.items()}.values()
    size = [(pairs, area.size) for area, pairs in shown]
    used = [(pairs, area.used) for area, pairs in shown]
    prio = [(pairs, area.prio) for area, pairs in shown]
    yield Family("area_size", "gauge", "Usable size of a swap area.", size, "bytes")
    yield Family("area_used", "gauge", "Slots in use of a swap area.", used, "bytes")
    yield Family("area_priority", "gauge", "Priority of a swap area.", prio)


def _distinct(held: Iterable[Held]) -> Iterable[Held]:
    """The ghosts among them; of two that nothing tells apart, the one that `areas` shows, too."""
    return {(one.area.name, one.area.type): one for one in held if one.is_ghost}.values()


def ghosts(
    labels: Labels, actives: Sequence[Active], held: Sequence[Held], state: Zswap | None
) -> Iterator[Family]:
    """Every ghost that has labels, and all active ghosts together, each pool counted once."""
    shown = [(labels[one.area], one) for one in _distinct(one for one in held if one.area in labels)]

    def samples(values: Iterable[int | None]) -> list[tuple[Mapping[str, str], float]]:
        pairs = zip(shown, values, strict=True)
        return [(pair, value) for (pair, _), value in pairs if value is not None]

    broken = [one.held.area for one in capacity.broken(held, capacity.ordinary(actives), state)]
    for name, text, values in (
        ("stored", "Pages in the pool of a ghost, before compression.", [h.pool.stored for _, h in shown]),
        ("memory", "Memory that the pool of a ghost takes.", [h.pool.used for _, h in shown]),
        ("limit", "The most that the pool of a ghost may take.", [h.pool.limit for _, h in shown]),
        ("free", "Free slots of a ghost.", [h.free for _, h in shown]),
        ("room", "What a ghost can really still take.", [h.room for _, h in shown]),
    ):
        yield Family(f"ghost_{name}", "gauge", text, samples(values), "bytes")
    yield Family(
        "ghost_overcommitted",
        "gauge",
        "Whether the ghosts in a pool declare more than it may take, and keep other areas from being used.",
        samples(int(one.area in broken) for _, one in shown),
    )
    found = capacity.total(held)
    if found is None:
        return
    yield from _bytes("ghosts_size", "What the active ghosts declare.", found.size)
    yield from _bytes("ghosts_stored", "Pages in their pools, before compression.", found.stored)
    yield from _bytes("ghosts_memory", "Memory that those take.", found.memory)
    yield from _bytes("ghosts_limit", "The most that the pools may take.", found.limit)
    yield from _bytes("ghosts_free", "Free slots of the ghosts: what SwapFree promises.", found.free)
    yield from _bytes("ghosts_available", "What the ghosts can really still take.", found.room)
    if found.room is not None:
        without = max(found.free - found.room, 0)
        yield from _bytes("ghosts_without_room", "Free slots for which there is no room.", without)


def zswap(state: Zswap | None, events: Mapping[str, int], debug: Mapping[str, int]) -> Iterator[Family]:
    """zswap: its state, `events` as `zswap.EVENTS` has them, `debug` from its directory in debugfs."""
    if state is not None:
        labels = {"compressor": state.compressor or ""}
        if state.enabled is not None:
            yield Family("zswap_enabled", "gauge", "Whether zswap is on.", [(labels, int(state.enabled))])
        yield from _bytes("zswap_stored", "Size of the pages in zswap.", state.stored)
        yield from _bytes("zswap_pool", "Memory that the pages in zswap take.", state.pool)
        yield from _bytes("zswap_pool_limit", "The most that zswap's pool may take.", state.pool_limit)
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
    yield Family("zswap_rejected", "counter", "Pages that zswap refused.", rejected, "pages")


def boot(found: tuple[int, int] | None) -> Iterator[Family]:
    """Ghosts in fstab, and how many of them are not active; nothing where that cannot be told."""
    if found is not None:
        yield Family("fstab_ghosts", "gauge", "Ghosts that are in fstab without noauto.", [({}, found[0])])
        yield Family(
            "fstab_ghosts_inactive", "gauge", "Those of them without an active area.", [({}, found[1])]
        )


def doctor(found: Iterable[tuple[str, Finding]]) -> Iterator[Family]:
    """The worst that each check of ghostctl doctor says: 0 OK, 1 WARN, 2 FAIL."""
    worst: dict[str, int] = {}
    for check, finding in found:
        worst[check] = max(worst.get(check, 0), _STATUS.index(finding.status))
    samples = [({"id": check}, status) for check, status in worst.items()]
    yield Family("doctor_status", "gauge", "What a check of ghostctl doctor says: 2 is FAIL.", samples)
