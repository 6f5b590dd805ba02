# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl mkghost."""

from __future__ import annotations

import sys
from typing import Literal, cast

import click

from .. import ghostwrite, header, kernel, labels, output, report, sizes
from ..errors import UsageError
from .options import Parsed, define, json_option

_SLOT_MEMORY_SHARE = 10


def _page_size(text: str) -> int:
    size = sizes.parse(text)
    if size not in sizes.PAGE_SIZES:
        known = ", ".join(map(str, sizes.PAGE_SIZES))
        raise UsageError(f"invalid page size {text!r}", hint=f"page sizes are {known}")
    return size


@define("mkghost")
@click.argument("file", metavar="FILE")
@click.option(
    "-s",
    "--size",
    type=Parsed(sizes.parse, "SIZE"),
    required=True,
    help="Size that the area declares: 16G, 50%, ram/2 …",
)
@click.option(
    "-L", "--label", type=Parsed(labels.parse_label, "LABEL"), help="Label, at most 15 bytes of UTF-8."
)
@click.option(
    "-U", "--uuid", type=Parsed(labels.parse_uuid, "UUID"), help="UUID, or clear, random (default), time."
)
@click.option(
    "-p",
    "--pagesize",
    type=Parsed(_page_size, "SIZE"),
    help="Page size, 4K to 128K (default: this kernel's).",
)
@click.option(
    "-e",
    "--endianness",
    type=click.Choice(["native", "little", "big"]),
    default="native",
    help="Byte order of the header.",
)
@click.option("--bare", is_flag=True, help="Write what mkswap writes, without the ghost tag.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing regular file.")
@click.option(
    "--if-needed", is_flag=True, help="Do nothing when FILE is this ghost already; rewrite another."
)
@click.option("-n", "--dry-run", is_flag=True, help="Check and report as usual, but write nothing.")
@json_option
def command(
    file: str,
    size: int,
    label: bytes | None,
    uuid: bytes | None,
    pagesize: int | None,
    endianness: str,
    bare: bool,
    force: bool,
    if_needed: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Create a ghost: one page on disk that declares a swap area.

    FILE appears whole or not at all, with mode 0600. An existing file is refused; the message says
    what it is.

    \b
    Examples:
      ghostctl mkghost -s 16G /var/lib/ghost/swap0
      ghostctl mkghost -s 'min(ram/2, 16G)' -L ghost --if-needed /var/lib/ghost/swap0
    """
    page_size = pagesize or sizes.page_size()
    byteorder = sys.byteorder if endianness == "native" else cast("Literal['little', 'big']", endianness)
    new = header.ghost(
        sizes.to_pages(size, page_size),
        page_size,
        uuid=uuid if uuid is not None else labels.parse_uuid("random"),
        label=label or b"",
        byteorder=byteorder,
        bare=bare,
    )
    if page_size != sizes.page_size():
        report.warn(file, f"this kernel has pages of {sizes.page_size()} bytes: it will not take the area")
    needed = kernel.slot_memory(new.pages, sizes.ram_bytes() // _SLOT_MEMORY_SHARE)
    if needed.exceeds is not False:
        takes = "takes about" if needed.exceeds else "may take"
        report.warn(
            file,
            f"activating it {takes} {sizes.human(needed.size, ' ', 'iB')} of kernel memory, "
            f"more than {100 // _SLOT_MEMORY_SHARE} % of what this machine has",
        )
    request = ghostwrite.Request(new, force, if_needed, keep_uuid=uuid is None, keep_label=label is None)

    made = ghostwrite.create(file, request, dry_run=dry_run)
    if as_json:
        _print_json(file, made, dry_run)
    elif made.changed:
        _print_text(made.header)
    else:
        report.trace(f"{file}: already the ghost asked for")


def _print_text(made: header.Header) -> None:
    if report.quiet:
        return
    usable = made.size - made.page_size
    click.echo(
        f"Setting up ghost swapspace version {made.ghost_version}, "
        f"size = {sizes.human(usable, ' ', 'iB')} ({usable} bytes)"
    )
    name = f"LABEL={report.escape(made.label_text)}" if made.label_text else "no label"
    click.echo(f"{name}, UUID={made.uuid_text}" if made.uuid_text else f"{name}, no UUID")


def _print_json(path: str, result: ghostwrite.Made, dry_run: bool) -> None:
    made = result.header
    document = {
        "file": path,
        "ghost_version": made.ghost_version,
        "size": made.size,
        "page_size": made.page_size,
        "last_page": made.last_page,
        "label": made.label_text,
        "uuid": made.uuid_text,
        "endianness": made.byteorder,
        "changed": result.changed,
        "dry_run": dry_run,
    }
    click.echo(output.json_text(document))
