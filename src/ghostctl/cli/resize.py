# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl resize."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import ghostfile, ghostwrite, lookup, output, sizes, swaps
from .options import define, json_option, locate, taking_down

if TYPE_CHECKING:
    from ..swaps import Area


def _backend(area: Area) -> str:
    from .. import backends

    realisation = backends.find([area]).get(area.name)
    return realisation.backend if realisation else "auto"


def _reactivate(path: str, area: Area, backend: str) -> None:
    from .. import activation, backends

    options = backends.Options(prio=area.prio)
    activation.activate(path, activation.Request(options, backend, force=True))


@define("resize")
@click.argument("spec", metavar="SPEC")
@click.argument("size", type=sizes.parse, metavar="SIZE")
@click.option(
    "--cycle", is_flag=True, help="Take an active ghost off, resize it, and put it on with the same priority."
)
@json_option
def command(spec: str, size: int, cycle: bool, as_json: bool) -> None:
    """Change the declared size of a ghost.

    Label and UUID stay. An active ghost is refused without --cycle.
    """
    path = locate(spec)
    with ghostfile.look(path, write=True) as file:
        area = lookup.active_area(file, swaps.read()) if cycle else None
        if area is None:
            ghostwrite.refuse_active(file)
        # before anything is taken down
        new = ghostwrite.resized(file, size)
        if area is None:
            ghostwrite.rewrite(file, new)
        else:
            backend = _backend(area)
            taking_down(area)
            try:
                ghostwrite.rewrite(file, new)
            finally:
                _reactivate(path, area, backend)
    if as_json:
        click.echo(
            output.json_text(
                {"file": path, "size": new.size, "last_page": new.last_page, "cycled": area is not None}
            )
        )
