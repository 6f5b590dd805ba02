# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl fstab: the ghosts of the next boots."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from .. import areas, atomic, fstab, report
from ..errors import (
    FAILED,
    PERMISSION,
    Busy,
    Error,
    NoAreaList,
    NotAGhost,
    NotFound,
    SizeError,
    Unsupported,
    UsageError,
)
from ..report import escape
from . import options
from .loops import each
from .options import common_params, define, json_option, strict_option

if TYPE_CHECKING:
    from .. import bootcheck

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


def _read(path: str) -> bootcheck.System:
    from .. import bootcheck

    return bootcheck.System(fstab.read(path), areas.read(), path)


def _ghosts(system: bootcheck.System, specs: tuple[str, ...]) -> list[fstab.Line]:
    """The lines of all ghosts, or of those that `specs` names."""
    lines = system.ghost_lines
    for spec in specs:
        if not any(_is_for(line, spec) for line in lines):
            raise NotFound(f"no ghost of {system.path}", path=spec)
    return [line for line in lines if not specs or any(_is_for(line, spec) for spec in specs)]


def _is_for(line: fstab.Line, file: str) -> bool:
    return line.spec == file or (
        file.startswith("/") and fstab.simplify(str(line.spec)) == fstab.simplify(file)
    )


def _size(line: fstab.Line) -> int | None:
    """What x-ghost.size comes to in bytes; None without one, or when it makes no sense."""
    from .. import sizes

    try:
        return sizes.parse(line.option("x-ghost.size") or "")
    except SizeError:
        return None


@define("list", short_help="Show the ghosts in fstab, and whether they are there.")
@fstab_option
@json_option
def list_lines(fstab_path: str, as_json: bool) -> None:
    """Show the ghosts in fstab, what they declare and whether they are there."""
    from .. import bootcheck, output

    system = _read(fstab_path)
    columns: tuple[output.Column[fstab.Line], ...] = (
        output.Column("NAME", "path", lambda line: line.spec),
        output.Column("SIZE", "x-ghost.size", _size, "size"),
        output.Column("PRIO", "priority", bootcheck.priority, "number"),
        output.Column("FALLBACK", "x-ghost.fallback", lambda line: line.option("x-ghost.fallback")),
        output.Column("STATE", "active, ready, missing", lambda line: bootcheck.state(line, system)),
        output.Column("LINE", "number of the line", lambda line: line.number, "number"),
        output.Column("OPTIONS", "all options", lambda line: line.optstring),
    )
    lines = _ghosts(system, ())
    if as_json:
        click.echo(output.json_text({"fstab": fstab_path, "ghosts": output.objects(columns, lines)}))
        return
    for text in output.table(columns[:-1], lines):
        click.echo(text)


@define("add")
@click.argument("file", metavar="FILE")
@click.option("-s", "--size", metavar="SIZE", help="Size to make the ghost with: 16G, 50%, ram/2, …")
@click.option("-p", "--priority", type=click.IntRange(-1, 32767), metavar="PRIO", help="-1 to 32767.")
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
@click.option("-n", "--dry-run", is_flag=True, help="Check and show the line, write nothing.")
@fstab_option
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
) -> None:
    """Add a line for the ghost FILE to fstab and print it.

    FILE need not exist when --size is given: the boot makes it.

    \b
    Example:
      ghostctl fstab add /var/lib/ghost/swap0 -s 16G -p 100 --nofail
    """
    if not file:
        raise UsageError("fstab add: FILE is empty")
    if file.startswith("/"):
        file = fstab.simplify(file)
    words: list[tuple[str, str | None]] = [("defaults", None)]
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
            words.append((f"x-ghost.{key}", value))
    if zswap:
        words.append(("x-ghost.zswap", None))
    raw = fstab.format_swap(file, words)
    line = fstab.Line(raw)
    if line.options != words:
        raise UsageError('fstab cannot hold a value with "', path=file)
    _check_new(line, fstab_path)

    def change(data: bytes) -> bytes:
        old = next((old for old in fstab.iter_swap(fstab.parse(data)) if _is_for(old, file)), None)
        if old is None:
            return fstab.append(data, raw)
        if old.options == words:
            report.trace(f"{fstab_path}: has the line already")
            return data
        raise Busy(
            f"is in line {old.number} of {fstab_path}",
            path=file,
            hint=f"ghostctl fstab remove {report.quote(file)}",
        )

    if dry_run:
        try:
            change(b"".join(old.raw for old in fstab.read(fstab_path)))
        except FileNotFoundError:
            pass
    else:
        atomic.edit(fstab_path, change)
    click.echo(escape(os.fsdecode(raw.rstrip(b"\n"))))
    if not nofail:
        report.warn(file, "without --nofail, swap.target fails in the boot when the ghost does")
    if now and not dry_run:
        from .. import activation
        from .on import activate_line

        if line.option("x-ghost.size"):
            _make(line, file)
        activate_line(line, activation.Request(), fstab_path)


def _check_new(line: fstab.Line, fstab_path: str) -> None:
    """Raises `Error` when the line would not boot."""
    from .. import bootcheck, generator, ghostfile

    path = str(line.spec)
    try:
        generator.units(line, fstab_path, "/usr/bin/ghostctl")
    except generator.LineError as error:
        error.path = path
        raise
    if os.path.islink(path):
        raise Error("is a symbolic link", path=path, hint=f"name {report.quote(os.path.realpath(path))}")
    try:
        with ghostfile.look(path) as file:
            if not file.is_ghost:
                raise NotAGhost(f"not a ghost: it is {file.describe()}", path=path)
    except FileNotFoundError:
        if not line.option("x-ghost.size"):
            raise UsageError("does not exist, so the line needs a --size", path=path) from None
    lines = fstab.read(fstab_path) if os.path.exists(fstab_path) else []
    for problem in bootcheck.iter_problems(line, bootcheck.System([*lines, line], (), fstab_path)):
        if problem.severity == "error" and problem.id in ("mount", "filesystem"):
            raise Error(problem.message, path=path)
        if problem.id == "tmpfs":
            report.warn(path, problem.message)


@define("remove", short_help="Remove the line of the ghost FILE from fstab.")
@click.argument("file", metavar="FILE")
@click.option("-n", "--dry-run", is_flag=True, help="Show the line, write nothing.")
@fstab_option
def remove(file: str, dry_run: bool, fstab_path: str) -> None:
    """Remove the line of the ghost FILE from fstab and print it. The ghost itself stays, and stays active."""
    from .. import lookup

    removed: list[fstab.Line] = []

    def change(data: bytes) -> bytes:
        lines = fstab.parse(data)
        named = [line for line in fstab.iter_swap(lines) if _is_for(line, file)]
        if not named:
            raise NotFound(f"no swap line of {fstab_path} names it", path=file)
        removed.extend(line for line in named if lookup.is_ghost(line, (), fstab_path))
        if not removed:
            raise NotAGhost(f"line {named[0].number} of {fstab_path} is not for a ghost", path=file)
        return b"".join(line.raw for line in lines if line not in removed)

    if dry_run:
        change(b"".join(line.raw for line in fstab.read(fstab_path)))
    else:
        atomic.edit(fstab_path, change)
    for line in removed:
        click.echo(escape(os.fsdecode(line.raw.rstrip(b"\r\n"))))


@define("check")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@fstab_option
@strict_option
@json_option
def check(files: tuple[str, ...], fstab_path: str, strict: bool, as_json: bool) -> int:
    """Show what could go wrong with the ghosts in fstab. Exit status 1 when there are errors."""
    from .. import bootcheck, output

    system = _read(fstab_path)
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
def ensure(files: tuple[str, ...], fstab_path: str) -> int:
    """Make the ghosts that fstab declares with a size and that are missing or of another size.

    For boots without systemd: ghostctl fstab ensure && ghostctl on -a
    """
    from .. import bootcheck, generator, lookup

    try:
        actives = areas.read()
    except NoAreaList as error:
        # a file system that is being made for another machine
        report.trace(str(error))
        actives = []
    system = bootcheck.System(fstab.read(fstab_path), actives, fstab_path)
    lines = [line for line in _ghosts(system, files) if line.has_option("x-ghost.size")]

    def one(line: fstab.Line) -> None:
        where = f"{fstab_path}:{line.number}"
        first = system.first_lines[fstab.simplify(str(line.spec))]
        if first != line.number:
            raise Error(f"the same file as in line {first}", path=where)
        try:
            by_tag = lookup.tag(str(line.spec))
            path = bootcheck.locate(line, system) if by_tag else generator.check_path(line)
            generator.mkghost_options(line)
        except UsageError as error:
            error.path = where
            raise
        try:
            if _make(line, path):
                report.trace(f"{path}: made")
        except Busy:
            report.warn(path, "is active, and left alone with the size it has")

    return each(lines, one)


def _make(line: fstab.Line, path: str) -> bool:
    """Makes the ghost that the line declares; false when it is there already."""
    from .. import ghostwrite, header, sizes

    page_size = sizes.page_size()
    label, uuid = line.option("x-ghost.label"), line.option("x-ghost.uuid")
    new = header.ghost(
        sizes.to_pages(sizes.parse(line.option("x-ghost.size") or ""), page_size),
        page_size,
        uuid=options.uuid(uuid or "random"),
        label=options.label(label or ""),
    )
    request = ghostwrite.Request(new, if_needed=True, keep_uuid=not uuid, keep_label=not label)
    return ghostwrite.create(path, request).changed


@define("probe", short_help="Find out whether this kernel takes ghosts.")
@click.argument("file", metavar="FILE")
def probe(file: str) -> None:
    """Find out whether this kernel takes a ghost where FILE is, or will be; exit status 5 when it does not.

    A throw-away ghost is activated beside it for a moment, unless FILE is active itself. What keeps that
    from being tried is a warning: only a refusal counts. For the units of ghostctl-generator(8).
    """
    from .. import kernel
    from ..probe import probe as try_ghost

    directory = os.path.dirname(os.path.abspath(file))
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    try:
        if _is_taken(file) or try_ghost([directory]):
            return
    except (OSError, Error) as error:
        report.warn(file, f"cannot tell whether this kernel takes ghosts: {report.describe(error)}")
        return
    raise Unsupported(f"this kernel ({kernel.release()}) has no ghost swap", path=file)


def _is_taken(file: str) -> bool:
    """Whether the file is active itself, which only a kernel with ghosts can have done."""
    try:
        return areas.find(file, areas.read()).backend == "file"
    except NotFound:
        return False


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
    from .. import generator
    from ..bootcheck import GENERATOR

    path = os.path.join(directory, GENERATOR)
    if undo:
        with open(path, encoding="utf-8", errors="replace") as file:
            if "ghostctl-generator(8)" not in file.read():
                raise Error("was not made by ghostctl", path=path)
        atomic.remove(path)
        click.echo(f"removed {escape(path)}")
        return
    package = os.path.dirname(os.path.abspath(generator.__file__))
    with open(os.path.join(package, "ghostctl-generator.in"), encoding="utf-8") as file:
        text = file.read()
    values = {
        "PYTHON": sys.executable,
        "LIBDIR": os.path.dirname(package),
        "GHOSTCTL": generator.find_ghostctl(),
    }
    interpreter = f"#!{sys.executable} -IS"
    # include/uapi/linux/binfmts.h, BINPRM_BUF_SIZE
    if len(os.fsencode(interpreter)) > 255 or len(interpreter.split()) != 2:
        raise Error("too long, or with a blank: no script can name such an interpreter", path=sys.executable)
    early = {os.stat(path).st_dev for path in ("/", "/usr")}
    for key, value in values.items():
        if any(char in value for char in '"\\\n'):
            raise Error("cannot be written into the generator", path=value)
        text = text.replace(f"@{key}@", value)
        if os.stat(value).st_uid != 0:
            report.warn(value, "belongs to a user, and will run as root in boots")
        if os.stat(value).st_dev not in early:
            report.warn(
                value, "is not on the filesystem of / or /usr: boots may want it before it is mounted"
            )
    atomic.make_directories(directory, 0o755)

    def finish(fd: int) -> None:
        os.fchmod(fd, 0o755)

    with atomic.place(path) as place:
        atomic.write(place, os.fsencode(text), replace=True, finish=finish)
    click.echo(f"installed {escape(path)}")


for _subcommand in (list_lines, add, remove, check, ensure, probe, install_generator):
    command.add_command(_subcommand)
