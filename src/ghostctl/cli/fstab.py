# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl fstab: the ghosts of the next boots."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .. import areas, fstab, report
from ..errors import FAILED, PERMISSION, Busy, Error, NoAreaList, NotAGhost, NotFound, UsageError
from ..report import escape
from .loops import each
from .options import Parsed, common_params, define, json_option, strict_option

if TYPE_CHECKING:
    from .. import bootcheck
    from ..fstabedit import Change, Edit, Options
    from ..swaplines import SwapLines

fstab_option = click.option(
    "-T",
    "--fstab",
    "fstab_path",
    default=fstab.PATH,
    metavar="PATH",
    help="Use this file instead of /etc/fstab.",
)


@click.group("fstab", no_args_is_help=False)
def command() -> None:
    """Show, check and edit the ghosts in /etc/fstab.

    They are what the next boots activate.
    """


command.params += common_params()


def _ghosts(swaps: SwapLines, specs: Sequence[str]) -> list[fstab.Line]:
    """The lines of all ghosts, or of those that `specs` names."""
    lines = swaps.ghost_lines
    for spec in specs:
        if not any(fstab.is_for(line, spec) for line in lines):
            raise NotFound(f"no ghost of {swaps.path}", path=spec)
    return [line for line in lines if not specs or any(fstab.is_for(line, spec) for spec in specs)]


@define("list", short_help="Show the ghosts in fstab, and whether they are there.")
@fstab_option
@json_option
def list_lines(fstab_path: str, as_json: bool) -> None:
    """Show the ghosts in fstab, what they declare and whether they are there."""
    from .. import output
    from ..swaplines import SwapLines

    swaps = SwapLines(fstab.read(fstab_path), areas.read(), fstab_path)
    columns: tuple[output.Column[fstab.Line], ...] = (
        output.Column("NAME", "path", lambda line: line.spec),
        output.Column("SIZE", "x-ghost.size", swaps.size, "size"),
        output.Column("PRIO", "priority", lambda line: swaps.declared(line).priority, "number"),
        output.Column("FALLBACK", "x-ghost.fallback", lambda line: line.option("x-ghost.fallback")),
        output.Column("STATE", "active, ready, missing", swaps.state),
        output.Column("LINE", "number of the line", lambda line: line.number, "number"),
        output.Column("OPTIONS", "all options", lambda line: line.optstring),
    )
    lines = _ghosts(swaps, ())
    if as_json:
        click.echo(output.json_text({"fstab": fstab_path, "ghosts": output.objects(columns, lines)}))
        return
    for text in output.table(columns[:-1], lines):
        click.echo(text)


dry_run_option = click.option("-n", "--dry-run", is_flag=True, help="Check and show it, write nothing.")


def _print_edit(edit: Edit, fstab_path: str, dry_run: bool, as_json: bool) -> None:
    texts = [os.fsdecode(line.raw.rstrip(b"\r\n")) for line in edit.lines]
    if as_json:
        from .. import output

        document = {"fstab": fstab_path, "lines": texts, "changed": edit.changed, "dry_run": dry_run}
        click.echo(output.json_text(document))
        return
    for text in texts:
        click.echo(escape(text))
    if edit.changed and not dry_run and fstab_path == fstab.PATH and os.path.isdir("/run/systemd/system"):
        report.hint("systemctl daemon-reload")


@define("add")
@click.argument("file", metavar="FILE")
@click.option("-s", "--size", metavar="SIZE", help="Size to make the ghost with: 16G, 50%, ram/2, …")
@click.option(
    "-p",
    "--priority",
    type=click.IntRange(-1, fstab.LARGEST_PRIORITY),
    metavar="PRIO",
    help="-1 to 32767.",
)
@click.option("-L", "--label", metavar="LABEL", help="Label to make the ghost with.")
@click.option("-U", "--uuid", metavar="UUID", help="UUID to make the ghost with.")
@click.option("--nofail", is_flag=True, help="Boot quietly when the ghost cannot be activated.")
@click.option("--noauto", is_flag=True, help="Do not activate it in the boot.")
@click.option(
    "--fallback", metavar="LIST", help="Backends for a kernel without ghosts, or skip (the default)."
)
@click.option("--compressor", metavar="NAME", help="Of zram, where that is the fallback.")
@click.option("--memory-limit", metavar="SIZE", help="Memory that zram may take.")
@click.option("--zswap", is_flag=True, help="Turn zswap on in the boot.")
@click.option("--now", is_flag=True, help="Make the ghost and activate it now as well.")
@dry_run_option
@fstab_option
@json_option
def add(
    file: str,
    size: str | None,
    priority: int | None,
    label: str | None,
    uuid: str | None,
    nofail: bool,
    noauto: bool,
    fallback: str | None,
    compressor: str | None,
    memory_limit: str | None,
    zswap: bool,
    now: bool,
    dry_run: bool,
    fstab_path: str,
    as_json: bool,
) -> None:
    """Add a line for the ghost FILE to fstab and print it.

    FILE need not exist when --size is given: the boot makes it.

    \b
    Example:
      ghostctl fstab add /var/lib/ghost/swap0 -s 16G -p 100 --nofail
    """
    from .. import bootcheck, fstabedit

    if not file:
        raise UsageError("fstab add: FILE is empty")
    words: Options = [("defaults", None)]
    words += [(name, None) for name, given in (("nofail", nofail), ("noauto", noauto)) if given]
    if priority is not None:
        words.append(("pri", str(priority)))
    for key, value in (
        ("size", size and size.replace(" ", "")),
        ("label", label),
        ("uuid", uuid),
        ("fallback", fallback),
        ("compressor", compressor),
        ("memory-limit", memory_limit and memory_limit.replace(" ", "")),
    ):
        if value is not None:
            words.append((f"{fstab.GHOST_PREFIX}{key}", value))
    if zswap:
        words.append((f"{fstab.GHOST_PREFIX}zswap", None))
    file = bootcheck.check_new(file, words, fstab_path)
    if now and not dry_run:
        from .. import declared

        edit = declared.add(fstab_path, file, words)
    else:
        edit = fstabedit.add(fstab_path, file, words, dry_run=dry_run)
    _print_edit(edit, fstab_path, dry_run, as_json)
    if edit.changed and not (nofail or noauto):
        report.warn(
            file,
            "without --nofail, swap.target fails in the boot when the ghost does",
            fstabedit.set_command(file, ["nofail"], fstab_path),
        )


def _change(text: str) -> Change:
    from .. import fstabedit

    return fstabedit.parse_change(text)


@define("set", short_help="Change options of the line of the ghost FILE.")
@click.argument("file", metavar="FILE")
@click.argument(
    "changes", nargs=-1, required=True, type=Parsed(_change, "KEY=VALUE"), metavar="KEY[=VALUE]..."
)
@dry_run_option
@fstab_option
@json_option
def set_options(
    file: str, changes: tuple[Change, ...], dry_run: bool, fstab_path: str, as_json: bool
) -> None:
    """Change options of the line of the ghost FILE in fstab, and print the line.

    KEY= removes an option, KEY alone sets a flag. KEY is pri, discard, nofail, noauto or an x-ghost option,
    with or without x-ghost.

    \b
    Examples:
      ghostctl fstab set /var/lib/ghost/swap0 size=8G pri=50
      ghostctl fstab set /var/lib/ghost/swap0 nofail zswap fallback=zram label=
    """
    from .. import fstabedit

    edit = fstabedit.change(fstab_path, file, changes, dry_run=dry_run)
    _print_edit(edit, fstab_path, dry_run, as_json)


@define("remove", short_help="Remove the line of the ghost FILE from fstab.")
@click.argument("file", metavar="FILE")
@dry_run_option
@fstab_option
@json_option
def remove(file: str, dry_run: bool, fstab_path: str, as_json: bool) -> None:
    """Remove the line of the ghost FILE from fstab and print it. The ghost itself stays, and stays active."""
    from .. import fstabedit

    _print_edit(fstabedit.remove(fstab_path, file, dry_run=dry_run), fstab_path, dry_run, as_json)


@define("check")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@fstab_option
@strict_option
@json_option
def check(files: tuple[str, ...], fstab_path: str, strict: bool, as_json: bool) -> int:
    """Show what could go wrong with the ghosts in fstab. Exit status 1 when there are errors."""
    from .. import bootcheck, output

    system = bootcheck.System(fstab.read(fstab_path), areas.read(), fstab_path)
    found: list[tuple[fstab.Line | None, bootcheck.Problem]] = []
    if not files:
        found += [(None, problem) for problem in bootcheck.iter_general_problems(system)]
    for line in _ghosts(system, files):
        found += [(line, problem) for problem in bootcheck.iter_problems(line, system)]
    if as_json:
        documents = [
            {"line": about and about.number, "name": about and about.spec, **problem._asdict()}
            for about, problem in found
        ]
        click.echo(output.json_text({"fstab": fstab_path, "problems": documents}))
    else:
        for about, problem in found:
            where = f"{fstab_path}:{about.number}: {about.spec}" if about else fstab_path
            severity = click.style(problem.severity, fg="red" if problem.severity == "error" else "yellow")
            click.echo(f"{escape(where)}: {severity}: {escape(problem.message)}")
            if problem.hint:
                report.hint(problem.hint)
    bad = {problem.id for _, problem in found if strict or problem.severity == "error"}
    if bad == {"denied"}:
        return PERMISSION
    return FAILED if bad else 0


@define("ensure", short_help="Make the ghosts that fstab declares and that are missing.")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@fstab_option
@json_option
def ensure(files: tuple[str, ...], fstab_path: str, as_json: bool) -> int:
    """Make the ghosts that fstab declares with a size and that are missing or of another size.

    For boots without systemd: ghostctl fstab ensure; ghostctl on -a
    """
    from .. import declared, output
    from ..swaplines import SwapLines

    try:
        actives = areas.read()
    except NoAreaList as error:
        # a file system that is being made for another machine
        report.trace(str(error))
        actives = []
    swaps = SwapLines(fstab.read(fstab_path), actives, fstab_path)
    lines = [line for line in _ghosts(swaps, files) if line.has_option("x-ghost.size")]
    documents: list[dict[str, object]] = []

    def one(line: fstab.Line) -> None:
        declaration = declared.read(line, fstab_path)
        path = swaps.require_place(line)
        try:
            changed = declared.make(declaration, path)
        except Busy:
            report.warn(path, "is active, and left alone with the size it has")
            changed = False
        except NotAGhost as error:
            # on -a activates it as what it is
            report.warn(path, error.what)
            changed = False
        if changed:
            report.trace(f"{path}: made")
        documents.append({"file": path, "changed": changed, "error": None})

    def failed(line: fstab.Line, error: Error | OSError) -> None:
        documents.append({"file": str(line.spec), "changed": False, "error": report.describe(error)})

    status = each(lines, one, failed)
    if as_json:
        changed = any(document["changed"] for document in documents)
        click.echo(output.json_text({"fstab": fstab_path, "ghosts": documents, "changed": changed}))
    return status


@define("install-generator", short_help="Have systemd make missing ghosts in boots.")
@click.option(
    "--directory",
    default="/etc/systemd/system-generators",
    metavar="DIR",
    show_default=True,
    help="Where to install it.",
)
@click.option("--remove", "undo", is_flag=True, help="Remove it again.")
def install_generator(directory: str, undo: bool) -> None:
    """Have systemd run this ghostctl's generator in boots, which makes missing ghosts before they are used.

    For installations by pip; packages of distributions bring the generator along.
    """
    from .. import installation

    if not undo and directory == installation.LOCAL and (path := installation.packaged()):
        click.echo(f"{escape(path)} is there already, from a package")
        return
    path = installation.remove(directory) if undo else installation.install(directory)
    click.echo(f"{'removed' if undo else 'installed'} {escape(path)}")


for _subcommand in (list_lines, add, set_options, remove, check, ensure, install_generator):
    command.add_command(_subcommand)
