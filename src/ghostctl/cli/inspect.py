# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl inspect."""

from __future__ import annotations

import click

from .. import ghostfile, header, output, report, sizes
from ..errors import Error
from ..report import escape
from .loops import each
from .options import area_specs, define, json_option, locate

_INDENT = 16


@define("inspect")
@area_specs()
@json_option
def command(specs: tuple[str, ...], as_json: bool) -> int:
    """Show every field of a swap header.

    SPEC is a path, LABEL=x or UUID=x: a ghost, an ordinary swap file or a block device.
    """
    documents: list[dict[str, object]] = []

    def show(spec: str) -> None:
        try:
            with ghostfile.look(locate(spec)) as file:
                document = _document(file, file.require_header())
        except (Error, OSError) as error:
            documents.append({"file": spec, "error": report.describe(error)})
            raise
        documents.append(document)
        if not as_json:
            click.echo("\n".join(_lines(document)))

    status = each(specs, show)
    if as_json:
        click.echo(output.json_text({"headers": documents}))
    return status


def _document(file: ghostfile.File, have: header.Header) -> dict[str, object]:
    tag = have.tag
    old = have.magic == header.MAGIC_OLD
    return {
        "file": file.path,
        "kind": file.describe(),
        "ghost": file.is_ghost,
        "ghost_version": have.ghost_version if file.is_ghost else None,
        "magic": have.magic.rstrip(b"\0").decode("ascii", "backslashreplace"),
        "hibernation": have.hibernation,
        "endianness": have.byteorder,
        "page_size": have.page_size,
        "version": 0 if old else have.version,
        "last_page": None if old else have.last_page,
        "size": None if old else have.size,
        "nr_badpages": None if old else have.nr_badpages,
        "label": None if old else have.label_text,
        "uuid": None if old else have.uuid_text,
        "file_size": file.st.st_size,
        "allocated": file.st.st_blocks * 512,
        "tag": {
            "version": tag.version,
            "length": tag.length,
            "size": tag.size,
            "page_size": tag.page_size,
            "flags": tag.flags,
            "crc": tag.crc,
            "crc_ok": tag.crc == header.crc(have),
        }
        if tag.magic == header.TAG_MAGIC
        else None,
    }


def _lines(document: dict[str, object]) -> list[str]:
    lines = [f"{escape(str(document['file']))}: {document['kind']}"]
    for name, value in document.items():
        if name in ("file", "kind", "ghost", "tag") or value is None:
            continue
        lines.append(f"  {name:<{_INDENT}}{_value(name, value)}")
    tag = document["tag"]
    if isinstance(tag, dict):
        for name, value in tag.items():
            text = f"{value:#010x}" if name in ("crc", "flags") else _value(name, value)
            lines.append(f"  {'tag ' + name:<{_INDENT}}{text}")
    return lines


def _value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name in ("size", "file_size", "allocated"):
        return f"{value} ({sizes.human(value, ' ', 'iB')})" if value >= 1024 else f"{value}"
    return escape(str(value))
