# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl off."""

from __future__ import annotations

import os

import click

from .. import areas, backends, output, report
from ..areas import Active
from ..errors import Denied, Error, NotFound, UsageError
from .loops import each, every
from .options import area_specs, define, json_option
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
@json_option
def command(specs: tuple[str, ...], every_area: bool, kind: str, force: bool, as_json: bool) -> int:
    """Deactivate swap areas.

    SPEC is a path, LABEL=x, UUID=x or a name in /proc/swaps. What was set up for an area goes with it.
    Its pages come back into memory or go to other areas; Ctrl-C leaves an area active.
    """
    if bool(specs) == every_area:
        raise UsageError("off: give either SPEC or --all", hint="try 'ghostctl off --help'")
    if os.geteuid() != 0 and every_area:
        raise Denied("only root can deactivate swap areas", path="--all")

    documents: list[dict[str, object]] = []

    def note(spec: str, found: Active | None = None, error: Error | OSError | None = None) -> None:
        documents.append(
            {
                "spec": output.path_text(spec),
                "area": found and output.path_text(found.area.name),
                "backend": found and found.backend,
                "changed": found is not None,
                "error": error and report.describe(error),
            }
        )

    def down(found: Active, spec: str) -> None:
        taking_down(found, areas.read(), force=force)
        note(spec, found)

    def one(spec: str) -> None:
        # anew for each: what is in use, and what is active, has changed
        actives = areas.read()
        try:
            found = areas.find(spec, actives)
        except NotFound:
            backends.recover()
            raise
        down(found, spec)

    def finished(status: int) -> int:
        if as_json:
            changed = any(document["changed"] for document in documents)
            click.echo(output.json_text({"areas": documents, "changed": changed}))
        return status

    if not every_area:
        return finished(each(specs, one, lambda spec, error: note(spec, error=error)))
    chosen = [
        found
        for found in reversed(areas.read())
        if kind == "any" or found.backend is not None or found.area.is_ghost or found.doubt is not None
    ]
    status = every(
        chosen,
        lambda found: down(found, found.area.name),
        lambda found, error: note(found.area.name, error=error),
    )
    backends.recover()
    return finished(status)
