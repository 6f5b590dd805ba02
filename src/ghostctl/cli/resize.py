# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl resize."""

from __future__ import annotations

import click

from .. import declared, ghostfile, ghostwrite, output, report, sizes
from .. import resize as resizing
from .options import Parsed, define, json_option, locate
from .progress import taking_down


@define("resize")
@click.argument("spec", metavar="SPEC")
@click.argument("size", type=Parsed(sizes.parse, "SIZE"))
@click.option(
    "--cycle",
    is_flag=True,
    help="Take an active ghost off, resize it, and put it on again as it was; with the old size if need be.",
)
@json_option
def command(spec: str, size: int, cycle: bool, as_json: bool) -> None:
    """Change the declared size of a ghost.

    Label and UUID stay. An active ghost is refused without --cycle.
    """
    path = locate(spec)
    # --cycle activates it, which has the same lock
    with ghostfile.look(path, write=True) if cycle else ghostwrite.opened(path) as file:
        done = resizing.resize(file, size, taking_down if cycle else None)
    have, active = done.header, done.active
    if done.changed:
        declared.warn_stale(path, have)
    if as_json:
        document = {
            "file": path,
            "size": have.size,
            "last_page": have.last_page,
            "changed": done.changed,
            "cycled": active is not None,
            "area": active and active.area.name,
        }
        click.echo(output.json_text(document))
    elif active is not None and not report.quiet:
        name = f" as {active.area.name}" if active.area.name != path else ""
        click.echo(
            f"{report.escape(path)}: active again{report.escape(name)} with {have.size} bytes, "
            f"priority {active.area.prio}"
        )
