# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl resize."""

from __future__ import annotations

import click

from .. import activation, backends, ghostfile, lookup, output, sizes, swaps
from ..errors import NotFound
from .options import define, json_option, locate, taking_down


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
    area = None
    if cycle:
        try:
            area = lookup.find_active(path, swaps.read())
        except NotFound:
            area = None
    with ghostfile.look(path) as file:
        # before anything is taken down
        sizes.to_pages(size, file.require_header().page_size)
    realisation = None
    if area:
        realisation = backends.find([area]).get(area.name)
        taking_down(area)
    try:
        with ghostfile.change(path) as (file, old):
            new = ghostfile.resize(file, old, sizes.to_pages(size, old.page_size))
    finally:
        if area:
            options = backends.Options(prio=area.prio)
            backend = realisation.backend if realisation else "auto"
            activation.activate(path, activation.Request(options, backend, force=True))
    if as_json:
        click.echo(
            output.json_text(
                {"file": path, "size": new.size, "last_page": new.last_page, "cycled": area is not None}
            )
        )
