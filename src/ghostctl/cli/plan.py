# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl plan."""

from __future__ import annotations

import os

import click

from .. import areas, backends, capacity, lookup, output, plan, report, swaps, zswap
from ..errors import Denied, NotFound, UsageError
from ..output import Column
from ..report import escape
from ..sizes import human, page_size
from .options import Parsed, define, json_option

_COLUMNS: tuple[Column[plan.Alternative], ...] = (
    Column("POOL%", "limit of zswap's pool in percent of memory", lambda row: row.percent, "number"),
    Column("POOL", "the same in bytes", lambda row: row.pool, "size"),
    Column("HOLDS", "pages that a full pool holds", lambda row: row.holds, "size"),
    Column("SIZE", "what to declare", lambda row: row.size, "size"),
    Column("SLOTS", "kernel memory for it, at once, at most", lambda row: row.slots, "size"),
    Column("LEFT", "memory beside a full pool", lambda row: row.left, "size"),
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
    help="Limit of zswap's pool in percent of memory (default: as it is).",
)
@click.option("--pid", type=click.IntRange(1), metavar="PID", help="Sample the memory of this process.")
@click.option("--cgroup", metavar="DIRECTORY", help="Sample the memory of this cgroup's processes.")
@json_option
def command(
    ratio: float | None, pool_percent: int | None, pid: int | None, cgroup: str | None, as_json: bool
) -> None:
    """Propose a size for a ghost.

    The slots of that size run out before zswap's pool is full, so that the next area takes over. The
    ratio is that of the pages in zswap; with too few there, that of a sample of this machine's memory.
    """
    if sum(option is not None for option in (ratio, pid, cgroup)) > 1:
        raise UsageError("plan: --ratio, --pid and --cgroup exclude each other")
    state, every = zswap.read(), swaps.read()
    found = _find_ratio(state, ratio, pid, cgroup)
    chosen, percents = plan.percents(state, pool_percent)
    total = plan.memory()
    path = os.path.join(lookup.GHOST_DIRECTORY, "swap0")
    active = next((one for one in map(areas.look_at, every) if one.ghost == path), None)
    own = active and active.area
    others = [area for area in every if area != own]
    promised = sum(area.size for area in others if area.is_ghost)
    rows = plan.alternatives(total, percents, found.value, promised)
    choice = next(row for row in rows if row.percent == chosen)
    prio = plan.priority(own, others)
    fallback = _fallback()
    commands = plan.commands(
        choice, path, prio, state, own=own, backend=active and active.backend, fallback=fallback
    )
    for short in capacity.overcommitted(every, state):
        # of the ghost that is planned, the commands are below
        fix = None if short.ghost == own else short.fix(areas.look_at(short.ghost).ghost)
        report.warn(short.ghost.name, short.problem(), fix)
    line, past = plan.fstab_line(choice, path, prio, fallback), plan.past(others, prio)
    if as_json:
        document = {
            "memory": total,
            "page_size": page_size(),
            "ratio": round(found.value, 2),
            "ratio_source": found.source,
            "promised": promised,
            "alternatives": [row._asdict() for row in rows],
            "chosen": choice._asdict(),
            "commands": commands,
            "fstab": line,
            "past": past,
        }
        click.echo(output.json_text(document))
        return
    compressor = f", {state.compressor}" if state is not None and state.compressor else ""
    click.echo(f"memory {human(total)}, pages of {human(page_size())}{compressor}")
    click.echo(f"ratio {found.value:.1f}:1, {found.source}: {escape(found.text)}")
    if promised:
        click.echo(f"other ghosts declare {human(promised)} of what the pool holds")
    click.echo()
    for text in output.table(_COLUMNS, rows):
        click.echo(text)
    click.echo(f"\nFor a pool of {chosen}%:")
    for text in commands:
        click.echo(f"  {text}")
    click.echo(f"At every boot, in fstab:\n  {line}")
    click.echo(f"When all of it is used: {escape(past)}.")


def _fallback() -> str | None:
    """What stands in on a kernel that takes no ghost files; None where it may take them."""
    names = [name for name in backends.NAMES if backends.get(name).unavailable() is None]
    return None if "file" in names else next(iter(names), None)


def _find_ratio(
    state: zswap.Zswap | None, given: float | None, pid: int | None, cgroup: str | None
) -> plan.Ratio:
    if given is not None:
        return plan.Ratio(given, "given", "--ratio")
    if pid is None and cgroup is None:
        return plan.ratio(state)
    if pid is not None and not os.path.exists(f"/proc/{pid}"):
        raise NotFound("no such process", path=str(pid))
    pids = [pid] if pid is not None else plan.in_cgroup(str(cgroup))
    found = plan.sampled(state, pids)
    if found is None:
        raise Denied("none of its anonymous memory can be read", path=cgroup or f"/proc/{pid}/mem")
    return found
