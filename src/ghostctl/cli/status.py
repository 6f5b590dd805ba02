# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import click

from .. import output, report, sizes, swaps
from ..errors import Error, UsageError, exit_status
from ..output import Column
from .options import Watchable, area_specs, define, json_option, watch_option

if TYPE_CHECKING:
    from .. import areas, capacity, zswap


class _View:
    """The active areas, with what is read once for all of them when a column or a line asks for it."""

    def __init__(self, every: list[swaps.Area]) -> None:
        self.every = every

    @cached_property
    def actives(self) -> list[areas.Active]:
        from .. import areas

        return list(map(areas.look_at, self.every))

    @cached_property
    def zswap(self) -> zswap.Zswap | None:
        """None without zswap, or where its state cannot be told: then `zswap_failure` says why."""
        from .. import zswap

        try:
            return zswap.read()
        except (Error, OSError) as error:
            self.zswap_failure = report.describe(error)
            return zswap.UNKNOWN

    zswap_failure: str | None = None

    @cached_property
    def held(self) -> list[capacity.Held]:
        if not self.every:
            return []
        from .. import capacity

        return capacity.held(self.actives, self.zswap)

    @property
    def ghosts(self) -> list[capacity.Held]:
        """The areas that were made for ghosts, and what their pools have."""
        return [one for one in self.held if one.is_ghost]


class _Row:
    """An area with what else is known of it, read when a column asks for it."""

    def __init__(self, area: swaps.Area, view: _View) -> None:
        self.area = area
        self._view = view

    @cached_property
    def active(self) -> areas.Active:
        return next(one for one in self._view.actives if one.area == self.area)

    @cached_property
    def held(self) -> capacity.Held | None:
        """What its pages take in memory; None for an area with storage."""
        return next((one for one in self._view.held if one.area == self.area), None)

    @property
    def pool(self) -> capacity.Pool | None:
        """Where its pages are."""
        return self.held and self.held.pool

    @property
    def ghost(self) -> str | None:
        """Empty without permission, too."""
        from .. import areas

        return areas.ghost_of(self.active, self._view.actives)

    @cached_property
    def identity(self) -> tuple[str | None, str | None]:
        """UUID and label; empty without permission."""
        from .. import blockdev, ghostfile

        name = self.area.name
        if not name.startswith("/"):
            return None, None
        try:
            # a device that was made for a ghost has its header
            if name.startswith("/dev/") and self.active.backend is None:
                device = blockdev.read(name)
                return (device.uuid, device.label) if device else (None, None)
            with ghostfile.look(name) as file:
                return (file.header.uuid_text, file.header.label_text) if file.header else (None, None)
        except (OSError, Error) as error:
            report.trace(str(error))
            return None, None

    @cached_property
    def backing(self) -> str | None:
        from .. import blockdev, kernel

        name = self.area.name
        if not name.startswith("/"):
            return None
        if name.startswith("/dev/"):
            return blockdev.describe(name)
        try:
            fd = os.open(name, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return kernel.filesystem(fd)
        finally:
            os.close(fd)


def _ratio(pool: capacity.Pool | capacity.Total | None) -> float | None:
    return pool and pool.ratio and round(pool.ratio, 2)


def _share(area: swaps.Area) -> int:
    return round(100 * area.used_kib / area.size_kib) if area.size_kib else 0


COLUMNS: tuple[Column[_Row], ...] = (
    Column("NAME", "file, device or name in /proc/swaps", lambda row: row.area.name),
    Column("TYPE", "the kernel's word: ghost, file, partition, xswap", lambda row: row.area.type),
    Column("SIZE", "usable size", lambda row: row.area.size, "size"),
    Column("USED", "bytes in use", lambda row: row.area.used, "size"),
    Column("PRIO", "priority", lambda row: row.area.prio, "number"),
    Column("UUID", "UUID in the header", lambda row: row.identity[0]),
    Column("LABEL", "label in the header", lambda row: row.identity[1]),
    Column("USE%", "share in use", lambda row: _share(row.area), "percent"),
    Column("BACKEND", "what makes a ghost active", lambda row: row.active.backend),
    Column("GHOST", "ghost file that the area was made for", lambda row: row.ghost),
    Column("STORED", "pages in the pool that it is in", lambda row: row.pool and row.pool.stored, "size"),
    Column("MEMORY", "what they take", lambda row: row.pool and row.pool.used, "size"),
    Column("RATIO", "the one to the other", lambda row: _ratio(row.pool), "number"),
    Column("LIMIT", "the most that the pool may take", lambda row: row.pool and row.pool.limit, "size"),
    Column("ROOM", "what it can really still take", lambda row: row.held and row.held.room, "size"),
    Column("PAGES", "usable pages", lambda row: row.area.size // sizes.page_size(), "number"),
    Column("BACKING", "filesystem of a file, model or name of a device", lambda row: row.backing),
)
_DEFAULT = ("NAME", "TYPE", "SIZE", "USED", "PRIO")
_NARROW, _LEFT_OUT = 60, ("BACKEND", "RATIO", "LIMIT")
"""Cells of a line below which the summary does without these columns."""
_SHORTEST = 8
"""Cells of a name, of which more is not left out."""
_TYPES = ("file", "ghost", "partition", "xswap")
_ALL = ",".join(column.name for column in COLUMNS)


def _epilog() -> str:
    width = max(len(column.name) for column in COLUMNS)
    return "\b\nColumns:\n" + "\n".join(f"  {column.name:<{width}}  {column.help}" for column in COLUMNS)


def _types(text: str, every: list[swaps.Area]) -> list[str]:
    """The types of a comma-separated list: those of `_TYPES`, and any new one that an active area has."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in _TYPES and all(area.type != name for area in every):
            raise UsageError(f"status: unknown type {name!r}", hint=f"types are {','.join(_TYPES)}")
    return names


@define("status", cls=Watchable, epilog=_epilog())
@area_specs(required=False)
@click.option("-o", "--output", "columns", metavar="LIST", help="Columns to show; +LIST adds to the default.")
@click.option("--output-all", is_flag=True, help="Show all columns.")
@click.option("--type", "types", metavar="LIST", help="Only areas of these types, as in column TYPE.")
@click.option("--noheadings", is_flag=True, help="No line of column names.")
@click.option("--raw", is_flag=True, help="For scripts: one blank between columns, bytes escaped as \\xNN.")
@click.option("--bytes", "in_bytes", is_flag=True, help="Sizes in bytes.")
@click.option("--zswap/--no-zswap", "show_zswap", default=None, help="Lines on zswap below the table.")
@watch_option
@click.option("--openmetrics", is_flag=True, help="Print OpenMetrics text, for monitoring.")
@click.option(
    "--prometheus", is_flag=True, help="Print the older text format, which node_exporter reads from files."
)
@json_option
def command(
    specs: tuple[str, ...],
    columns: str | None,
    output_all: bool,
    types: str | None,
    noheadings: bool,
    raw: bool,
    in_bytes: bool,
    show_zswap: bool | None,
    interval: float | None,
    openmetrics: bool,
    prometheus: bool,
    as_json: bool,
) -> int:
    """Show the active swap areas and zswap.

    With SPEC, only those areas; exit status 3 when one is not active. With --quiet, only the exit status.
    """
    if columns is not None:
        chosen = output.select(COLUMNS, columns, _DEFAULT)
    else:
        chosen = output.select(COLUMNS, _ALL if output_all or as_json else ",".join(_DEFAULT))
    if [interval is not None, openmetrics, prometheus, as_json].count(True) > 1:
        raise UsageError("status: --watch, --openmetrics, --prometheus and --json exclude each other")

    every = swaps.read()
    wanted = _types(types, every) if types is not None else None

    def choose(view: _View) -> tuple[list[swaps.Area], int]:
        shown, status = _named(specs, view) if specs else (view.every, 0)
        if wanted is not None:
            shown = [area for area in shown if area.type in wanted]
        return shown, status

    def table(rows: list[_Row], cells: int = 0) -> list[str]:
        lines = _fitted(
            chosen, rows, 0 if raw else cells, headings=not noheadings, raw=raw, in_bytes=in_bytes
        )
        if not rows and not specs and types is None and has_summary(rows):
            lines.append("no active swap area")
        return lines

    def has_summary(rows: list[_Row]) -> bool:
        by_default = not (raw or noheadings) and bool(rows or not specs)
        return by_default if show_zswap is None else show_zswap

    if interval is not None:
        from .watch import State, watch

        # warnings would be drawn into the live view
        report.quiet = True
        status = 0

        def describe(every: list[swaps.Area]) -> State:
            from .. import capacity

            nonlocal status
            seen = _View(every)
            shown, status = choose(seen)
            rows = {area: _Row(area, seen) for area in shown}
            summary = has_summary([*rows.values()])
            missing = [] if shown or not specs else [f"not active: {' '.join(specs)}"]
            return State(
                shown,
                lambda areas, cells: [*missing, *table([rows[area] for area in areas], cells)],
                lambda cells: list(_summary(seen, shown, in_bytes, cells)) if summary else [],
                seen.held,
                capacity.ordinary(seen.actives, seen.held),
            )

        watch(interval, describe, color=bool(click.get_current_context().color))
        return status
    view = _View(every)
    shown, status = choose(view)
    if report.quiet:
        return status
    if openmetrics or prometheus:
        click.echo(_metrics(shown, view, older=prometheus), nl=False)
        return status
    if as_json:
        rows = output.objects(chosen, (_Row(area, view) for area in shown))
        state = _zswap_object(view) if show_zswap is not False else None
        click.echo(output.json_text({"swapareas": rows, "total": _total_object(view, shown), "zswap": state}))
        return status
    every_row = [_Row(area, view) for area in shown]
    summary = _summary(view, shown, in_bytes) if has_summary(every_row) else ()
    for line in (*table(every_row), *summary):
        click.echo(line)
    return status


def _fitted(
    columns: Sequence[Column[output.Row]], rows: Sequence[output.Row], cells: int, **how: bool
) -> list[str]:
    """A table; where its lines have more cells, with names of which the beginning is left out."""
    lines = output.table(columns, rows, **how)
    excess = max(map(output.width, lines), default=0) - cells
    number = next((n for n, column in enumerate(columns) if column.name in ("NAME", "GHOST")), None)
    if not cells or excess <= 0 or number is None:
        return lines
    from .. import bars

    column, fine = columns[number], bars.is_fine(sys.stdout)
    longest = max(output.width(str(column.get(row) or "")) for row in rows)

    def short(row: output.Row) -> output.Value:
        return bars.shorten(str(column.get(row) or ""), max(longest - excess, _SHORTEST), fine=fine)

    narrow = [*columns[:number], column._replace(get=short), *columns[number + 1 :]]
    return output.table(narrow, rows, **how)


def _named(specs: tuple[str, ...], view: _View) -> tuple[list[swaps.Area], int]:
    from .. import areas

    found, status = [], 0
    for spec in specs:
        try:
            found.append(areas.find(spec, view.actives).area)
        except Error as error:
            if not report.quiet:
                report.error(error)
            status = status or exit_status(error)
    return found, status


def _zswap_object(view: _View) -> dict[str, object] | None:
    from .. import capacity

    state, found = view.zswap, capacity.total(view.held)
    if view.zswap_failure is not None:
        report.warn(None, f"cannot tell the state of zswap: {view.zswap_failure}")
        return None
    if state is None:
        return None
    return {
        **state._asdict(),
        "ratio": state.ratio and round(state.ratio, 2),
        "ghosts_free": found and found.free,
        "ghosts_available": found and found.room,
    }


def _total_object(view: _View, shown: list[swaps.Area]) -> dict[str, object] | None:
    from .. import capacity

    found = capacity.total(one for one in view.held if one.area in shown)
    return found and {**found._asdict(), "ratio": _ratio(found)}


def _metrics(shown: list[swaps.Area], view: _View, *, older: bool) -> str:
    from .. import doctor, fstab, machine, metrics, swaplines, zswap

    state = view.zswap
    if view.zswap_failure is not None:
        report.warn(None, f"cannot tell the state of zswap: {view.zswap_failure}")
    rows = {area: _Row(area, view) for area in shown}
    labels = {
        area: {
            "name": area.name,
            "type": area.type,
            "ghost": row.ghost or "",
            "backend": row.active.backend or "",
            "label": row.identity[1] or "" if row.active.backend else "",
        }
        for area, row in rows.items()
    }
    found = [
        *metrics.areas(labels),
        *metrics.ghosts(labels, view.actives, view.held, state),
        *metrics.zswap(state, zswap.read_events(), zswap.read_debug()),
        *metrics.boot(swaplines.count(fstab.PATH, view.actives)),
        *metrics.doctor(doctor.examine(machine.Machine())),
    ]
    return metrics.text(found, older=older)


class _Line(NamedTuple):
    """A line of the summary: a ghost, or all of them."""

    name: str
    backend: str | None
    pool: capacity.Pool | capacity.Total
    memory: int | None
    room: int | None


_SUMMARY: tuple[Column[_Line], ...] = (
    Column("GHOST", "its file, or the area without one", lambda line: line.name),
    Column("BACKEND", "what makes it active", lambda line: line.backend),
    Column("STORED", "pages in its pool", lambda line: line.pool.stored, "size"),
    Column("MEMORY", "what they take", lambda line: line.memory, "size"),
    Column("RATIO", "the one to the other", lambda line: _ratio(line.pool), "number"),
    Column("LIMIT", "the most that the pool may take", lambda line: line.pool.limit, "size"),
    Column("ROOM", "what it can really still take", lambda line: line.room, "size"),
)


def _summary(view: _View, shown: list[swaps.Area], in_bytes: bool, cells: int = 0) -> Iterator[str]:
    """The ghosts that are shown, with their pools, and zswap; in lines of so many cells, if not 0."""
    ghosts = [one for one in view.ghosts if one.area in shown]
    if ghosts:
        from .. import capacity

        found = capacity.total(ghosts)
        assert found is not None
        lines = [
            _Line(one.ghost or one.area.name, one.backend, one.pool, one.pool.used, one.room)
            for one in ghosts
        ]
        lines.append(_Line("TOTAL", None, found, found.memory, found.room))
        yield ""
        narrow = 0 < cells < _NARROW
        columns = [column for column in _SUMMARY if not narrow or column.name not in _LEFT_OUT]
        yield from _fitted(columns, lines, cells, in_bytes=in_bytes)
        yield from output.fold(capacity.verdict(found, ghosts), cells)
    for sentence in _zswap_lines(view):
        yield from output.fold(sentence, cells)


def _zswap_lines(view: _View) -> Iterator[str]:
    state = view.zswap
    if view.zswap_failure is not None:
        yield f"zswap: cannot tell its state: {view.zswap_failure}"
        return
    in_zswap = [one.area for one in view.ghosts if one.pool.name == "zswap"]
    if state is None or not state.enabled:
        what = "this kernel has no zswap" if state is None else "zswap is off"
        yield f"{what}: nothing can be swapped to a ghost" if in_zswap else what
        return
    yield "zswap: on, " + ", ".join(_zswap_parts(state))
    if view.held:
        from .. import capacity

        if behind := [one.area.name for one in capacity.doubled(view.held, state)]:
            yield f"zswap is in front of {', '.join(behind)}: {capacity.DOUBLED}"
    if not in_zswap:
        return
    if all(area.is_ghost for area in view.every):
        yield "writeback: off, every active area is a ghost"
    elif any(area.is_ordinary and area not in in_zswap for area in view.every):
        yield "writeback: to ordinary areas only, what is in a ghost stays in memory"
    else:
        yield "writeback: to nowhere, every active area was made for a ghost"


def _zswap_parts(state: zswap.Zswap) -> Iterator[str]:
    if state.compressor:
        yield state.compressor
    if state.stored is not None and state.pool is not None:
        ratio = f" ({state.ratio:.1f}:1)" if state.ratio else ""
        yield f"{sizes.human(state.stored)} stored in {sizes.human(state.pool)}{ratio}"
    if state.fill is not None and state.pool_limit:
        yield f"pool {state.fill}% of {sizes.human(state.pool_limit)}"
