# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl off."""

from __future__ import annotations

import os

import click

from .. import backends, lookup, swaps
from ..errors import Denied, NotFound, UsageError
from .options import area_specs, define, each, every, taking_down


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
    "-f", "--force", is_flag=True, help="Try even when the pages fit nowhere; the kernel may kill for memory."
)
def command(specs: tuple[str, ...], every_area: bool, kind: str, force: bool) -> int:
    """Deactivate swap areas.

    SPEC is a path, LABEL=x, UUID=x or a name in /proc/swaps. What was set up for an area goes with it.
    Its pages come back into memory or go to other areas; Ctrl-C leaves an area active.
    """
    if bool(specs) == every_area:
        raise UsageError("off: give either SPEC or --all", hint="try 'ghostctl off --help'")
    if every_area:
        if os.geteuid() != 0:
            raise Denied("only root can deactivate swap areas", path="--all")
        areas = swaps.read()[::-1]
        if kind == "ghost":
            ghosts = backends.find(areas)
            areas = [area for area in areas if area.name in ghosts or area.is_ghost]
        status = every(areas, lambda area: taking_down(area, force))
        backends.recover()
        return status
    return each(specs, lambda spec: taking_down(_find(spec), force))


def _find(spec: str) -> swaps.Area:
    try:
        return lookup.find_active(spec, swaps.read())
    except NotFound as error:
        backends.recover()
        if os.geteuid() != 0 and error.hint is None:
            error.hint = "areas that stand in for ghosts are seen by root only"
        raise
