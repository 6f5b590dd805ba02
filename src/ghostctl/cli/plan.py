# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl plan."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from .. import areas, capacity, output, plan, report, zswap
from ..errors import Denied, NotFound, UsageError
from ..output import Column
from ..report import escape
from ..sizes import human, page_size
from .options import Parsed, define, json_option

_COLUMNS: tuple[Column[plan.Alternative], ...] = (
    Column("POOL%", "limit of the pool in percent of memory", lambda row: row.percent, "number"),
    Column("LIMIT", "the same in bytes", lambda row: row.limit, "size"),
    Column("SIZE", "what to declare", lambda row: row.size, "size"),
    Column("TAKES", "memory that the full ghost takes at the ratio", lambda row: row.takes, "size"),
    Column("LEFT", "memory beside it", lambda row: row.left, "size"),
    Column("LEAST", "the same where nothing compresses", lambda row: row.least, "size"),
    Column("SLOTS", "kernel memory for the slots, at most", lambda row: row.slots, "size"),
)


def _ratio(text: str) -> float:
    number = text.removesuffix(":1")
    # float() takes digits of every script, 1_0 and nan
    value = float(number) if number.replace(".", "", 1).isdecimal() and number.isascii() else 0
    if not 1 <= value <= 1000:
        raise UsageError(f"invalid ratio {text!r}", hint="write for example 3 or 3.5:1")
    return value


@define("plan")
@click.option("--ratio", type=Parsed(_ratio, "R"), help="Compression ratio, stored to pool, such as 3.5.")
@click.option(
    "--pool-percent",
    type=click.IntRange(1, 90),
    metavar="N",
    help="Limit of the pool in percent of memory (default: 50, or what it is if that is 30 to 90).",
)
@click.option("--pid", type=click.IntRange(1), metavar="PID", help="Sample the memory of this process.")
@click.option("--cgroup", metavar="DIRECTORY", help="Sample the memory of this cgroup's processes.")
@json_option
def command(
    ratio: float | None, pool_percent: int | None, pid: int | None, cgroup: str | None, as_json: bool
) -> None:
    """Propose a size for a ghost.

    No more than the pool may take: zswap's, or the memory limit of the zram device where the kernel has no
    ghosts. Then the slots run out before the pool is full, whatever the data, and the next area takes over.
    The ratio says how much memory that leaves: that of the pages which are swapped now or, with too few,
    that of a sample of this machine's memory.
    """
    if sum(option is not None for option in (ratio, pid, cgroup)) > 1:
        raise UsageError("plan: --ratio, --pid and --cgroup exclude each other")
    actives, state = areas.read(), zswap.read()
    now = plan.look(actives, state)
    found = _find_ratio(now, ratio, pid, cgroup)
    inside = [*now.others, *filter(None, [now.own])]
    for one in capacity.broken(inside, capacity.ordinary(actives), state):
        # of the ghost that is planned, the commands are below
        if one.held != now.own:
            report.warn(one.held.ghost or one.held.area.name, one.problem, one.hint)
    chosen, others = plan.choose(now, pool_percent, found.value)
    prio = plan.priority(now.own and now.own.area, [*now.ordinary, *(one.area for one in now.others)])
    commands = plan.commands(now, chosen, prio)
    line, past = plan.fstab_line(now, chosen, prio), plan.past(now.ordinary, prio)
    if as_json:
        document = {
            "memory": now.memory,
            "page_size": page_size(),
            "backend": now.instead or "file",
            "ratio": round(found.value, 2),
            "ratio_source": found.source,
            "promised": now.promised,
            "chosen": chosen._asdict(),
            "alternatives": [row._asdict() for row in others],
            "commands": commands,
            "fstab": line,
            "past": past,
        }
        click.echo(output.json_text(document))
        return
    for text in _lines(now, found, chosen, others, commands):
        click.echo(text)
    click.echo(f"At every boot, in fstab:\n  {escape(line)}")
    if commands and pool_percent is None and now.own is None:
        click.echo("All of it, after a question: ghostctl setup")
    click.echo(f"When all of it is used: {escape(past)}.")


def _lines(
    now: plan.Now,
    found: plan.Ratio,
    chosen: plan.Alternative,
    others: list[plan.Alternative],
    commands: list[str],
) -> Iterator[str]:
    pool = "zram" if now.is_zram else "zswap"
    yield f"memory {human(now.memory)}, pages of {human(page_size())}, in {pool}"
    yield f"ratio {found.value:.1f}:1, {found.source}: {escape(found.text)}"
    if now.promised:
        yield f"other areas have been promised {human(now.promised)} of it"
    yield ""
    yield from output.table(_COLUMNS, sorted({chosen, *others}))
    yield ""
    name = "a memory limit" if now.is_zram else "a pool"
    if not commands:
        yield f"For {name} of {chosen.percent}%: nothing to do."
        return
    yield f"For {name} of {chosen.percent}%:"
    yield from (f"  {escape(command)}" for command in commands)


def _find_ratio(now: plan.Now, given: float | None, pid: int | None, cgroup: str | None) -> plan.Ratio:
    if given is not None:
        return plan.Ratio(given, "given", "--ratio")
    # a zram device has one of its own, the kernel's choice
    compressor = now.state.compressor if now.state is not None and not now.is_zram else None
    if pid is None and cgroup is None:
        return plan.ratio(now.state, now.own, compressor)
    if pid is not None and not os.path.exists(f"/proc/{pid}"):
        raise NotFound("no such process", path=str(pid))
    if pid is not None:
        pids = [pid]
    else:
        from .. import sample

        pids = sample.in_cgroup(str(cgroup))
    found = plan.sampled(now.state, compressor, pids)
    if found is None:
        raise Denied("none of its anonymous memory can be read", path=cgroup or f"/proc/{pid}/mem")
    return found
