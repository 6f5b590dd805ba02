# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl label."""

from __future__ import annotations

import click

from .. import areas, ghostfile, ghostwrite, labels, output
from ..report import escape
from .options import Parsed, define, json_option, locate


@define("label")
@click.argument("spec", metavar="SPEC")
@click.option(
    "-L",
    "--label",
    type=Parsed(labels.parse_label, "LABEL"),
    help="New label, at most 15 bytes of UTF-8; empty removes it.",
)
@click.option(
    "-U", "--uuid", type=Parsed(labels.parse_uuid, "UUID"), help="New UUID, or clear, random, time."
)
@json_option
def command(spec: str, label: bytes | None, uuid: bytes | None, as_json: bool) -> None:
    """Show or change label and UUID.

    Without options, shows those of any swap area. Changes only those of a ghost that is not active.
    """
    path = locate(spec)
    changed = False
    if label is None and uuid is None:
        with ghostfile.look(path) as file:
            have = file.require_header()
    else:
        with ghostwrite.opened(path) as file:
            areas.refuse_active(file)
            have = ghostwrite.relabelled(file, label, uuid)
            changed = have != file.header
            if changed:
                ghostwrite.rewrite(file, have)
        if label is not None:
            from .. import declared

            declared.warn_stale(path, have)
        if not as_json:
            return
    if as_json:
        document = {"file": path, "label": have.label_text, "uuid": have.uuid_text, "changed": changed}
        click.echo(output.json_text(document))
        return
    if have.label_text is not None:
        click.echo(f"LABEL: {escape(have.label_text)}")
    if have.uuid_text is not None:
        click.echo(f"UUID:  {have.uuid_text}")
