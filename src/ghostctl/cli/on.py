# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from .. import activation, areas, backends, declared, fstab, output, report, sizes
from ..errors import Error, UsageError
from ..syscalls import DISCARD_FLAGS
from .loops import each, every
from .options import Parsed, area_specs, define, json_option, parse_backends, parse_priority

_SHORT_DISCARD = re.compile("-([aefhqv]*)d=?(.*)", re.DOTALL)
"""-d may follow other letters that take no value."""


class _Command(click.Command):
    """Takes -d and --discard with and without a value, as getopt(3) takes an optional argument."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        options = [option for arg in args[:end] for option in _discard_option(arg)]
        return super().parse_args(ctx, [*options, *args[end:]])


def _discard_option(arg: str) -> Iterator[str]:
    if arg == "--discard":
        yield "--discard=all"
    elif found := _SHORT_DISCARD.fullmatch(arg):
        flags, policy = found.groups()
        if flags:
            yield f"-{flags}"
        yield f"--discard={policy or 'all'}"
    else:
        yield arg


@define("on", cls=_Command)
@area_specs(required=False)
@click.option(
    "-a", "--all", "every_ghost", is_flag=True, help="The ghosts in fstab, except those with noauto."
)
@click.option(
    "-p",
    "--priority",
    type=Parsed(parse_priority, "PRIO"),
    help="0 to 32767, the highest is used first; -1 (default): the kernel chooses.",
)
@click.option(
    "-d",
    "--discard",
    type=click.Choice(list(DISCARD_FLAGS)),
    metavar="[=POLICY]",
    help="Discard free space: once, at activation; pages, as they are freed; all (default), both.",
)
@click.option("-o", "--options", "optstring", default="", metavar="LIST", help="Options as in fstab.")
@click.option("-e", "--ifexists", is_flag=True, help="Skip areas that do not exist.")
@click.option(
    "-T",
    "--fstab",
    "fstab_path",
    default=fstab.PATH,
    metavar="PATH",
    help="Read this file instead of /etc/fstab.",
)
@click.option("--if-needed", is_flag=True, help="Do nothing when it is active already.")
@click.option("-f", "--fixpgsz", is_flag=True, help="Rewrite a ghost that was made for another page size.")
@click.option(
    "--backend",
    type=click.Choice(["auto", *backends.NAMES]),
    default="auto",
    help="What makes a ghost active (default: file, then --fallback).",
)
@click.option(
    "--fallback",
    type=Parsed(parse_backends, "LIST"),
    help="Backends to try, in order, when the kernel takes no ghosts.",
)
@click.option("--compressor", metavar="NAME", help="Of zram (default: the kernel's).")
@click.option(
    "--memory-limit", type=Parsed(sizes.parse, "SIZE"), help="Memory that zram may take (default: no limit)."
)
@click.option("--enable-zswap", is_flag=True, help="Turn zswap on when it is off.")
@click.option("--force", is_flag=True, help="Warn where a check would refuse.")
@json_option
def command(
    specs: tuple[str, ...],
    every_ghost: bool,
    priority: int | None,
    discard: str | None,
    optstring: str,
    ifexists: bool,
    fstab_path: str,
    if_needed: bool,
    fixpgsz: bool,
    backend: str,
    fallback: tuple[str, ...] | None,
    compressor: str | None,
    memory_limit: int | None,
    enable_zswap: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Activate swap areas.

    SPEC is a path, LABEL=x or UUID=x: a ghost, or an ordinary swap file or device. A ghost needs zswap,
    and a kernel with ghost swap or a --fallback.
    """
    if bool(specs) == every_ghost:
        raise UsageError("on: give either SPEC or --all", hint="try 'ghostctl on --help'")
    request = activation.Request(
        backends.Options(priority, discard, compressor, memory_limit),
        backend,
        fallback or (),
        force,
        enable_zswap,
        fixpgsz,
        if_needed or every_ghost,
    )
    given = fstab.Declaration(fstab.split_options(optstring))
    for words in given.warnings:
        report.warn(None, f"--options: {words}")
    request = request.declared(given)

    documents: list[dict[str, object]] = []

    def note(spec: str, path: str | None, changed: bool) -> None:
        if as_json:
            documents.append(_document(spec, path, changed=changed))

    def failed(item: fstab.Line | str, error: Error | OSError) -> None:
        spec = item if isinstance(item, str) else str(item.spec)
        documents.append(_document(spec, None, changed=False, error=report.describe(error)))

    def one_line(line: fstab.Line) -> None:
        declaration = declared.read(line, fstab_path)
        changed = declared.activate(line, declaration, request, fstab_path, pass_over=ifexists)
        note(str(line.spec), str(line.spec) if changed else None, changed)

    actives = areas.read()

    def one(spec: str) -> None:
        path = declared.locate(spec, actives, fstab_path, pass_over=ifexists or given.nofail)
        changed = path is not None and activation.activate(path, request)
        if path is not None:
            activation.warn_automatic_priority(path, request, fstab_path)
        note(spec, path, changed)

    status = (
        every(declared.pending(fstab_path), one_line, failed) if every_ghost else each(specs, one, failed)
    )
    if as_json:
        changed = any(document["changed"] for document in documents)
        click.echo(output.json_text({"areas": documents, "changed": changed}))
    return status


def _document(spec: str, path: str | None, *, changed: bool, error: str | None = None) -> dict[str, object]:
    """What has become of one SPEC; `path` is what is active now."""
    found = None
    try:
        if path is not None:
            found = areas.find(path, areas.read())
    except (Error, OSError) as failure:
        report.warn(path, f"what it is active as cannot be told: {report.describe(failure)}")
    return {
        "spec": output.path_text(spec),
        "file": None if path is None else output.path_text(path),
        "area": found and output.path_text(found.area.name),
        "backend": found and found.backend,
        "changed": changed,
        "error": error,
    }
