# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl usage."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import click

from .. import cgroups, output, report, usage
from ..errors import Error, UsageError
from ..output import Column
from .options import Parsed, Watchable, define, json_option, watch_option


class _Row:
    """A process, with what else is known of it, read when a column asks for it; or a sum below them."""

    def __init__(self, swap: int, process: usage.Process | None = None, label: str = "") -> None:
        self.swap = swap
        self.process = process
        self._label = label

    @cached_property
    def user(self) -> str | None:
        return self.process and usage.read_user(self.process)

    @cached_property
    def unit(self) -> str | None:
        return self.process and usage.read_unit(self.process)

    @cached_property
    def command(self) -> str:
        return usage.read_command(self.process) if self.process else self._label


class _Group(NamedTuple):
    """A cgroup as it is shown, or a sum below them."""

    name: str
    group: cgroups.Swapped


def _ratio(group: cgroups.Swapped) -> float | None:
    return round(group.stored / group.memory, 2) if group.stored is not None and group.memory else None


PROCESSES: tuple[Column[_Row], ...] = (
    Column("PID", "process", lambda row: row.process and row.process.pid, "number"),
    Column("USER", "its user", lambda row: row.user),
    Column("SWAP", "pages that it has in swap areas", lambda row: row.swap, "size"),
    Column("RESIDENT", "what it has in memory", lambda row: row.process and row.process.resident, "size"),
    Column("UNIT", "its systemd unit or container", lambda row: row.unit, "cgroup"),
    Column("COMMAND", "command line", lambda row: row.command, "path"),
)
CGROUPS: tuple[Column[_Group], ...] = (
    Column("NAME", "path below /sys/fs/cgroup, as a tree", lambda row: row.name, "cgroup"),
    Column("SWAP", "pages in swap areas, of those below it, too", lambda row: row.group.swap, "size"),
    Column("STORED", "pages of it in zswap, before compression", lambda row: row.group.stored, "size"),
    Column("MEMORY", "what they take", lambda row: row.group.memory, "size"),
    Column("RATIO", "the one to the other", lambda row: _ratio(row.group), "number"),
    Column("SWAP-MAX", "memory.swap.max", lambda row: row.group.swap_max, "size"),
    Column("ZSWAP-MAX", "memory.zswap.max", lambda row: row.group.zswap_max, "size"),
    Column("WRITEBACK", "whether zswap may write them back", lambda row: row.group.writeback),
)


class _Style(NamedTuple):
    """How a table is printed."""

    columns: str | None = None
    headings: bool = True
    raw: bool = False
    in_bytes: bool = False
    is_explained: bool = True

    @property
    def has_sums(self) -> bool:
        return self.headings and not self.raw


class _Processes:
    """The processes, and what belongs to none of them."""

    def __init__(self) -> None:
        self.every = usage.read_processes()
        self.total = usage.read_total(self.every.swap)

    def lines(self, style: _Style, limit: int | None) -> list[str]:
        columns = _select(PROCESSES, style.columns)
        rows = [_Row(process.swap, process) for process in self.every.found[:limit]]
        if not style.has_sums:
            return _table(columns, rows, style)
        left = self.every.found[len(rows) :]
        sums = _sums(self.total, len(left), sum(process.swap for process in left), "process", "processes")
        rows += [_Row(swap, None, label) for label, swap in sums]
        notes = usage.explain_processes(self.every, self.total) if style.is_explained else ()
        return [*_table(columns, rows, style), *notes]

    def objects(self, style: _Style, limit: int | None) -> dict[str, object]:
        rows = (_Row(process.swap, process) for process in self.every.found[:limit])
        return {"processes": output.objects(_select(PROCESSES, style.columns), rows)}


class _Cgroups:
    """The cgroups as a tree, and what belongs to none of them."""

    def __init__(self, root: str = "/") -> None:
        self.every = cgroups.swapped(root)
        self.total = usage.read_total(self.every.swap, root)

    def lines(self, style: _Style, limit: int | None) -> list[str]:
        columns, shown = _select(CGROUPS, style.columns), self.every.largest(limit)
        if not style.has_sums:
            return _table(columns, [_Group(one.name, one) for one in shown], style)
        rows = [_Group(one.indented, one) for one in shown]
        # the others are part of those above them
        left = [one.swap for one in self.every.groups if not one.depth and one not in shown]
        sums = _sums(self.total, len(left), sum(left), "cgroup", "cgroups")
        rows += [_Group(label, cgroups.Swapped(label, 0, swap)) for label, swap in sums]
        notes = usage.explain_cgroups(self.total) if style.is_explained else ()
        return [*_table(columns, rows, style), *notes]

    def objects(self, style: _Style, limit: int | None) -> dict[str, object]:
        rows = (_Group(one.name, one) for one in self.every.largest(limit))
        return {"cgroups": output.objects(_select(CGROUPS, style.columns), rows)}


def _select(columns: Sequence[Column[output.Row]], names: str | None) -> Sequence[Column[output.Row]]:
    return columns if names is None else output.select(columns, names)


def _table(columns: Sequence[Column[output.Row]], rows: Sequence[output.Row], style: _Style) -> list[str]:
    return output.table(columns, rows, headings=style.headings, raw=style.raw, in_bytes=style.in_bytes)


def _sums(total: usage.Total, left: int, swap: int, one: str, many: str) -> list[tuple[str, int]]:
    """What makes the rows add up to what the areas have."""
    sums = [(f"({left} more {one if left == 1 else many})", swap)] if left else []
    if total.other:
        sums.append(("(other)", total.other))
    return [*sums, ("TOTAL", total.used)]


def _look(by_process: bool) -> _Processes | _Cgroups:
    return _Processes() if by_process else _Cgroups()


def process_lines(limit: int, width: int | None = None) -> list[str]:
    """The processes with most in swap areas, for people; lines of so many cells of a terminal.

    No more than `limit` and those of the heading and the sums, four in all.
    """
    return _lines(True, limit, width)


def cgroup_lines(limit: int, width: int | None = None) -> list[str]:
    """The cgroups with most in swap areas, likewise."""
    return _lines(False, limit, width)


def _lines(by_process: bool, limit: int, width: int | None) -> list[str]:
    try:
        found = _look(by_process)
        lines = found.lines(_Style(is_explained=False), limit)
        lines += filter(None, [found.every.warning])
    except (Error, OSError) as error:
        lines = [report.escape(report.describe(error))]
    return lines if width is None else [output.cut(line, width) for line in lines]


_ROWS = 6
"""Processes or cgroups that have to be seen before their sum is explained."""


def _watch(seconds: float, by_process: bool, style: _Style, limit: int | None) -> None:
    from . import screen

    def frame(_columns: int, rows: int) -> list[str]:
        found = _look(by_process)
        below = [found.every.warning] if found.every.warning else []
        if not rows:
            return [*found.lines(style, limit), *below]

        def room(style: _Style) -> int:
            return max(rows - len(found.lines(style, 0)) - len(below), 0)

        fitting = style if room(style) >= _ROWS else style._replace(is_explained=False)
        shown = min(room(fitting), rows if limit is None else limit)
        return [*found.lines(fitting, shown), *below]

    screen.run(seconds, frame)


def _number(text: str) -> int:
    from ..sizes import natural

    number = natural(text)
    if number is None:
        raise UsageError(f"invalid number {text!r}", hint="how many lines to show")
    return number


def _width() -> int | None:
    """Cells of the terminal; None without one."""
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return None


def _epilog() -> str:
    def lines(columns: Sequence[Column[output.Row]]) -> list[str]:
        return [f"  {column.name:<9}  {column.help}" for column in columns]

    processes = ["\b\nColumns of processes:", *lines(PROCESSES)]
    return "\n".join([*processes, "\n\b\nColumns of cgroups:", *lines(CGROUPS)])


@define("usage", cls=Watchable, epilog=_epilog())
@click.option("--processes/--cgroups", "by_process", default=True, help="What to show (default: processes).")
@click.option("-n", "--lines", "limit", type=Parsed(_number, "N"), help="The N largest only (default: all).")
@click.option("-o", "--output", "columns", metavar="LIST", help="Columns to show (default: all).")
@click.option("--noheadings", is_flag=True, help="No line of column names, and no sums.")
@click.option("--raw", is_flag=True, help="For scripts: one blank between columns, bytes escaped as \\xNN.")
@click.option("--bytes", "in_bytes", is_flag=True, help="Sizes in bytes.")
@watch_option
@json_option
def command(
    by_process: bool,
    limit: int | None,
    columns: str | None,
    noheadings: bool,
    raw: bool,
    in_bytes: bool,
    interval: float | None,
    as_json: bool,
) -> int:
    """Show who has pages in the swap areas.

    Processes, or cgroups as a tree, the largest first. The last line is what all areas have in use, and the
    one before what belongs to none of those above.
    """
    # an unknown column is told before anything is looked at
    _ = _select(PROCESSES, columns) if by_process else _select(CGROUPS, columns)
    style = _Style(columns, not noheadings, raw, in_bytes)
    if interval is not None:
        if as_json:
            raise UsageError("usage: --watch and --json exclude each other")
        _watch(interval, by_process, style, limit)
        return 0
    found = _look(by_process)
    if found.every.warning:
        report.warn(None, found.every.warning)
    if as_json:
        sums = {"other": found.total.other, "excess": found.total.excess}
        total = {**found.total._asdict(), **sums, "complete": found.every.warning is None}
        click.echo(output.json_text({**found.objects(style, limit), "total": total}))
        return 0
    width = None if raw else _width()
    for line in found.lines(style, limit):
        click.echo(line if width is None else output.cut(line, width))
    return 0
