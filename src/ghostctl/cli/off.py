# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl off."""

from __future__ import annotations

import os

import click

from .. import areas, backends
from ..errors import Denied, NotFound, UsageError
from .loops import each, every
from .options import area_specs, define
from .progress import taking_down


@define("off")
@area_specs(required=False)
@click.option("-a", "--all", "every_area", is_flag=True, help="All active ghosts, the last one first.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["ghost", "any"]),
    default="ghost",
    help="With --all: only ghosts (default), or any area.",
)
@click.option(
    "-f",
    "--force",
    is_flag=True,
    help="Try even when the pages fit nowhere; the OOM killer may end processes.",
)
def command(specs: tuple[str, ...], every_area: bool, kind: str, force: bool) -> int:
    """Deactivate swap areas.

    SPEC is a path, LABEL=x, UUID=x or a name in /proc/swaps. What was set up for an area goes with it.
    Its pages come back into memory or go to other areas; Ctrl-C leaves an area active.
    """
    if bool(specs) == every_area:
        raise UsageError("off: give either SPEC or --all", hint="try 'ghostctl off --help'")
    if os.geteuid() != 0 and every_area:
        raise Denied("only root can deactivate swap areas", path="--all")

    def one(spec: str) -> None:
        # anew for each: what is in use, and what is active, has changed
        actives = areas.read()
        try:
            found = areas.find(spec, actives)
        except NotFound:
            backends.recover()
            raise
        taking_down(found, actives, force=force)

    if not every_area:
        return each(specs, one)
    chosen = [
        found
        for found in reversed(areas.read())
        if kind == "any" or found.backend is not None or found.area.is_ghost or found.doubt is not None
    ]
    status = every(chosen, lambda found: taking_down(found, areas.read(), force=force))
    backends.recover()
    return status
