# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl setup."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial

import click

from .. import fstab, output, report, rundir, setup, setuprecord, sizes
from ..errors import OK, Denied, Error, UsageError
from ..report import escape
from ..setupsteps import Step
from ..sizes import human
from .options import Parsed, define, json_option, parse_backends, parse_priority
from .progress import taking_down


@define("setup")
@click.argument("file", required=False, metavar="[FILE]")
@click.option(
    "-s",
    "--size",
    type=Parsed(sizes.parse, "SIZE"),
    help="Size that the ghost declares (default: that of plan, or what is there).",
)
@click.option(
    "-p",
    "--priority",
    type=Parsed(parse_priority, "PRIO"),
    help="0 to 32767, the highest is used first (default: above the other areas).",
)
@click.option(
    "--fallback",
    type=Parsed(parse_backends, "LIST"),
    help="Backends, in order, for a kernel that takes no ghosts (default: what it has).",
)
@click.option("--no-boot", is_flag=True, help="Not for the next boots: no line in fstab, no generator.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be done.")
@click.option("--undo", is_flag=True, help="Take back what setup has done.")
@click.option(
    "-T",
    "--fstab",
    "fstab_path",
    default=fstab.PATH,
    metavar="PATH",
    help="Use this file instead of /etc/fstab.",
)
@json_option
def command(
    file: str | None,
    size: int | None,
    priority: int | None,
    fallback: tuple[str, ...] | None,
    no_boot: bool,
    yes: bool,
    dry_run: bool,
    undo: bool,
    fstab_path: str,
    as_json: bool,
) -> int:
    """Set up a ghost on this machine: all in one command.

    Chooses size, pool and backend as plan does, shows what is to be done and asks. Then the settings of
    zswap, the ghost, the area, the line in fstab. The same again changes nothing; a step that fails takes
    back those before it. What is there already stays as it is, unless an option asks for something else.

    \b
    Examples:
      ghostctl setup --dry-run
      ghostctl setup --yes --size 8G
      ghostctl setup --undo
    """
    if file == "":
        raise UsageError("setup: FILE is empty")
    if as_json and not (yes or dry_run):
        raise UsageError("setup: --json does not ask", hint=_without_asking())
    if undo and (no_boot or any(option is not None for option in (size, priority, fallback))):
        raise UsageError("setup: --undo takes no --size, --priority, --fallback or --no-boot")
    if os.geteuid() != 0 and not dry_run:
        look = report.again("setup", "--dry-run", otherwise="ghostctl setup --dry-run")
        raise Denied("only root can set up swap areas", hint=f"{look}  # shows what would be done")
    if undo:
        work = partial(_take_back, file)
    else:
        path = os.path.abspath(fstab_path)
        asked = setup.Asked(file, size, priority, fallback, not no_boot, path, may_try=not dry_run)
        work = partial(_set_up, asked)
    if dry_run:
        return work(dry_run=True, yes=yes, as_json=as_json)
    with rundir.locked("setup", "setup"):
        return work(dry_run=False, yes=yes, as_json=as_json)


def _set_up(asked: setup.Asked, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    goal = setup.find(asked)
    document: dict[str, object] = {
        "file": output.path_text(goal.path),
        "backend": goal.backend,
        "size": goal.size,
        "limit": goal.limit,
        "priority": goal.priority,
        "fstab": asked.fstab_path if asked.boot else None,
        "line": goal.line,
        "notes": list(goal.notes),
    }
    if not (as_json or (yes and report.quiet)):
        for line in _describe(goal):
            click.echo(escape(line))
    steps = [(step.id, step.what()) for step in goal.steps]
    if not steps and not dry_run:
        setuprecord.settle()
    if not _agreed([what for _, what in steps], dry_run=dry_run, yes=yes, as_json=as_json):
        if as_json:
            click.echo(output.json_text(_document(document, steps, [True] * len(steps), dry_run=dry_run)))
        return OK
    progress = setuprecord.Progress()
    try:
        setuprecord.carry_out(goal.steps, taking_down, progress)
    except (Error, OSError) as error:
        if as_json:
            changed = [step in progress.left for step in goal.steps]
            failed = (progress.done, error)
            click.echo(output.json_text(_document(document, steps, changed, failed=failed)))
        elif progress.done and not progress.left:
            report.warn(None, "the steps before the one that failed have been taken back")
        raise
    if as_json:
        click.echo(output.json_text(_document(document, steps, [True] * len(steps))))
    elif not report.quiet:
        click.echo('Done. "ghostctl status" shows it, "ghostctl setup --undo" takes it back.')
    _examine()
    return OK


def _take_back(file: str | None, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    entries = setup.made(file)
    steps = [(entry.step.id, entry.step.back()) for entry in entries]
    document: dict[str, object] = {"undo": True, "file": file}
    if not steps and not dry_run:
        setuprecord.settle()
    if not _agreed([what for _, what in steps], dry_run=dry_run, yes=yes, as_json=as_json):
        if as_json:
            click.echo(output.json_text(_document(document, steps, [True] * len(steps), dry_run=dry_run)))
        return OK
    done: list[Step] = []
    changed: list[bool] = []

    def finished(step: Step, is_taken_back: bool) -> None:
        done.append(step)
        changed.append(is_taken_back)

    try:
        setuprecord.take_back(entries, taking_down, finished)
    except BaseException as error:
        if done:
            words = "; ".join(step.back() for step, is_back in zip(done, changed, strict=True) if is_back)
            report.error(Error(f"this has been done: {words or 'nothing'}"))
        if as_json and isinstance(error, Error | OSError):
            failed = (len(done), error)
            click.echo(output.json_text(_document(document, steps, changed, failed=failed)))
        raise
    if as_json:
        click.echo(output.json_text(_document(document, steps, changed)))
    elif not report.quiet:
        click.echo("Taken back." if all(changed) else "Taken back, but for what was left alone.")
    return OK


def _describe(goal: setup.Goal) -> Iterator[str]:
    """What is to be there, for people."""
    through = "" if goal.backend == "file" else f", through {goal.backend}"
    yield f"ghost   {goal.path}, {human(goal.size, ' ', 'iB')}, priority {goal.priority}{through}: {goal.why}"
    if goal.limit:
        yield f"memory  at most {human(goal.limit, ' ', 'iB')} for its pages, which are compressed"
    for note in goal.notes:
        yield f"note    {note}"


def _agreed(steps: Sequence[str], *, dry_run: bool, yes: bool, as_json: bool) -> bool:
    """Shows the steps and asks; false when there is nothing to do, or not now.

    Raises `UsageError` where nobody is there to answer, and `Error` for a no.
    """
    if as_json:
        return bool(steps) and not dry_run
    if not steps:
        if not report.quiet:
            click.echo("Nothing to do.")
        return False
    if dry_run or not (yes and report.quiet):
        click.echo("This would be done:" if dry_run else "This will be done:")
        for number, step in enumerate(steps, 1):
            click.echo(f"  {number}. {escape(step)}")
    if dry_run or yes:
        return not dry_run
    if not sys.stdin.isatty():
        raise UsageError("setup: nobody is there to be asked", hint=_without_asking())
    sys.stdout.flush()
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    if answer.strip().lower() not in ("y", "yes"):
        raise Error("nothing has been changed")
    return True


def _without_asking() -> str:
    return report.again("setup", "--yes", otherwise="ghostctl setup --yes")


def _document(
    document: dict[str, object],
    steps: Sequence[tuple[str, str]],
    changed: Sequence[bool],
    *,
    dry_run: bool = False,
    failed: tuple[int, Error | OSError] | None = None,
) -> dict[str, object]:
    """What is printed for --json; `changed` is of the first steps, the others have not."""
    number, error = failed if failed is not None else (-1, None)
    text = None if error is None else report.describe(error)
    return {
        **document,
        "steps": [
            {
                "id": name,
                "what": what,
                "changed": i < len(changed) and changed[i],
                "error": text if i == number else None,
            }
            for i, (name, what) in enumerate(steps)
        ],
        "changed": any(changed),
        "dry_run": dry_run,
    }


def _examine() -> None:
    """Names what doctor would call a failure."""
    from .. import doctor, machine

    try:
        for check, finding in doctor.examine(machine.Machine()):
            if finding.status == "FAIL":
                report.warn(None, f"{check}: {finding.seen}", " && ".join(finding.fix) or None)
    except (Error, OSError) as error:
        report.warn(None, f"set up, but not examined: {report.describe(error)}")
