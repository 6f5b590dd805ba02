# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl resize."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import ghostfile, ghostwrite, output, sizes
from ..errors import NotFound
from .options import define, json_option, locate, taking_down

if TYPE_CHECKING:
    from ..swaps import Area


def _active(path: str) -> Area | None:
    from .. import lookup, swaps

    try:
        return lookup.find_active(path, swaps.read())
    except NotFound:
        return None


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
    area = _active(path) if cycle else None
    with ghostfile.look(path) as file:
        # before anything is taken down
        sizes.to_pages(size, file.require_header().page_size)
    backend = _backend(area) if area else None
    if area:
        taking_down(area)
    try:
        with ghostwrite.change(path) as (file, old):
            new = ghostwrite.resize(file, old, sizes.to_pages(size, old.page_size))
    finally:
        if area and backend:
            _reactivate(path, area, backend)
    if as_json:
        click.echo(
            output.json_text(
                {"file": path, "size": new.size, "last_page": new.last_page, "cycled": area is not None}
            )
        )
