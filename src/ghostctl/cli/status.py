# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl status."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import click

from .. import output, report, sizes, swaps
from ..errors import Error, UsageError, exit_status
from ..output import Column
from .options import Parsed, area_specs, define, json_option

if TYPE_CHECKING:
    from .. import areas, zswap


class _Row:
    """An area with what else is known of it, read when a column asks for it."""

    def __init__(self, area: swaps.Area) -> None:
        self.area = area

    @cached_property
    def active(self) -> areas.Active:
        from .. import areas

        return areas.look_at(self.area)

    @property
    def ghost(self) -> str | None:
        """Empty without permission, too."""
        from .. import areas

        return areas.ghost_of(self.active, [self.active])

    @cached_property
    def identity(self) -> tuple[str | None, str | None]:
        """UUID and label; empty without permission."""
        from .. import blockdev, ghostfile

        name = self.area.name
        if not name.startswith("/"):
            return None, None
        try:
            if name.startswith("/dev/"):
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
    Column("PAGES", "usable pages", lambda row: row.area.size // sizes.page_size(), "number"),
    Column("BACKING", "filesystem of a file, model or name of a device", lambda row: row.backing),
)
_DEFAULT = ("NAME", "TYPE", "SIZE", "USED", "PRIO")
_TYPES = ("file", "ghost", "partition", "xswap")
_INTERVAL = 2
_ALL = ",".join(column.name for column in COLUMNS)


def _epilog() -> str:
    width = max(len(column.name) for column in COLUMNS)
    return "\b\nColumns:\n" + "\n".join(f"  {column.name:<{width}}  {column.help}" for column in COLUMNS)


class _Command(click.Command):
    """Takes --watch with and without a number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = list(args)
        for number, arg in enumerate(args):
            if arg == "--":
                break
            if arg == "--watch":
                following = args[number + 1] if number + 1 < len(args) else ""
                given = following.replace(".", "", 1).isdecimal()
                args[number : number + 1 + given] = [f"--watch={following if given else _INTERVAL}"]
        return super().parse_args(ctx, args)


def _types(text: str, every: list[swaps.Area]) -> list[str]:
    """The types of a comma-separated list: those of `_TYPES`, and any new one that an active area has."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in _TYPES and all(area.type != name for area in every):
            raise UsageError(f"status: unknown type {name!r}", hint=f"types are {','.join(_TYPES)}")
    return names


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 86400:
        raise UsageError(f"invalid interval {text!r}", hint="seconds, from 0.1 to 86400")
    return seconds


@define("status", cls=_Command, epilog=_epilog())
@area_specs(required=False)
@click.option("-o", "--output", "columns", metavar="LIST", help="Columns to show; +LIST adds to the default.")
@click.option("--output-all", is_flag=True, help="Show all columns.")
@click.option("--type", "types", metavar="LIST", help="Only areas of these types, as in column TYPE.")
@click.option("--noheadings", is_flag=True, help="No line of column names.")
@click.option("--raw", is_flag=True, help="For scripts: one blank between columns, bytes escaped as \\xNN.")
@click.option("--bytes", "in_bytes", is_flag=True, help="Sizes in bytes.")
@click.option("--zswap/--no-zswap", "show_zswap", default=None, help="Lines on zswap below the table.")
@click.option(
    "--watch", "interval", type=Parsed(_seconds, "[SECONDS]"), help="Live view, every 2 SECONDS; q quits."
)
@click.option("--openmetrics", is_flag=True, help="Print OpenMetrics text, for monitoring.")
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
    as_json: bool,
) -> int:
    """Show the active swap areas and zswap.

    With SPEC, only those areas; exit status 3 when one is not active. With --quiet, only the exit status.
    """
    if columns is not None:
        chosen = output.select(COLUMNS, columns, _DEFAULT)
    else:
        chosen = output.select(COLUMNS, _ALL if output_all or as_json else ",".join(_DEFAULT))
    if (interval is not None) + openmetrics + as_json > 1:
        raise UsageError("status: --watch, --openmetrics and --json exclude each other")

    every = swaps.read()
    wanted = _types(types, every) if types is not None else None

    def choose(every: list[swaps.Area]) -> tuple[list[swaps.Area], int]:
        shown, status = _named(specs, every) if specs else (every, 0)
        if wanted is not None:
            shown = [area for area in shown if area.type in wanted]
        return shown, status

    def show(shown: list[swaps.Area], every: list[swaps.Area]) -> list[str]:
        rows = list(map(_Row, shown))
        lines = output.table(chosen, rows, headings=not noheadings, raw=raw, in_bytes=in_bytes)
        if show_zswap or (show_zswap is None and not (raw or noheadings) and (rows or not specs)):
            if not rows and not specs and types is None:
                lines.append("no active swap area")
            lines += _zswap_lines(every)
        return lines

    if interval is not None:
        from .watch import watch

        # warnings would be drawn into the live view
        report.quiet = True
        status = 0

        def view(every: list[swaps.Area]) -> list[str]:
            nonlocal status
            shown, status = choose(every)
            missing = [] if shown or not specs else [f"not active: {' '.join(specs)}"]
            return [*missing, *show(shown, every)]

        watch(interval, view)
        return status
    shown, status = choose(every)
    if report.quiet:
        return status
    if openmetrics:
        click.echo(_metrics(shown, every), nl=False)
        return status
    if as_json:
        rows = output.objects(chosen, map(_Row, shown))
        state = _zswap_object(every) if show_zswap is not False else None
        click.echo(output.json_text({"swapareas": rows, "zswap": state}))
        return status
    for line in show(shown, every):
        click.echo(line)
    return status


def _named(specs: tuple[str, ...], every: list[swaps.Area]) -> tuple[list[swaps.Area], int]:
    from .. import areas

    actives = list(map(areas.look_at, every))
    found, status = [], 0
    for spec in specs:
        try:
            found.append(areas.find(spec, actives).area)
        except Error as error:
            if not report.quiet:
                report.error(error)
            status = status or exit_status(error)
    return found, status


def _read_zswap() -> zswap.Zswap | None:
    """The state of zswap; None without zswap, and with a warning where that cannot be told."""
    from .. import zswap

    try:
        return zswap.read()
    except (Error, OSError) as error:
        report.warn(None, f"cannot tell the state of zswap: {report.describe(error)}")
        return None


def _zswap_object(every: list[swaps.Area]) -> dict[str, object] | None:
    from .. import capacity

    state = _read_zswap()
    if state is None:
        return None
    found = capacity.measure(every, state)
    return {
        **state._asdict(),
        "ratio": state.ratio and round(state.ratio, 2),
        "ghosts_free": found and found.free,
        "ghosts_available": found and found.available,
    }


def _metrics(shown: list[swaps.Area], every: list[swaps.Area]) -> str:
    from .. import metrics, zswap

    found = metrics.families(shown, every, _read_zswap(), zswap.read_events(), zswap.read_debug())
    return metrics.openmetrics(found)


def _zswap_lines(every: list[swaps.Area]) -> Iterator[str]:
    from .. import capacity, zswap

    try:
        state = zswap.read()
    except (Error, OSError) as error:
        yield f"zswap: cannot tell its state: {report.describe(error)}"
        return
    found = capacity.measure(every, state)
    if state is None or not state.enabled:
        what = "this kernel has no zswap" if state is None else "zswap is off"
        yield f"{what}: nothing can be swapped to a ghost" if found else what
        return
    yield "zswap: on, " + ", ".join(_zswap_parts(state))
    if found:
        yield f"capacity: {found.verdict()}"
        yield (
            "writeback: off, every active area is a ghost"
            if all(area.is_ghost for area in every)
            else "writeback: to ordinary areas only, what is in a ghost stays in memory"
        )


def _zswap_parts(state: zswap.Zswap) -> Iterator[str]:
    if state.compressor:
        yield state.compressor
    if state.stored is not None and state.pool is not None:
        ratio = f" ({state.ratio:.1f}:1)" if state.ratio else ""
        yield f"{sizes.human(state.stored)} stored in {sizes.human(state.pool)}{ratio}"
    if state.fill is not None and state.pool_limit:
        yield f"pool {state.fill}% of {sizes.human(state.pool_limit)}"
