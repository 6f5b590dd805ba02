# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl doctor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from .. import report
from ..errors import FAILED, OK, Denied, Error, NoMemory, NotFound, Unsupported, UsageError, exit_status
from ..report import escape
from .options import define, json_option, strict_option

if TYPE_CHECKING:
    from ..doctor import Finding
    from ..machine import Machine

_COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}
_FEATURES = ("ghost", "ghostswap", "xswap", "dm", "zram", "zswap", "room")


@define("doctor")
@click.option("--probe", is_flag=True, help="Swap a throw-away ghost on and off to know (root).")
@click.option(
    "--require",
    type=click.Choice(_FEATURES),
    multiple=True,
    help="For scripts: print nothing, exit 0 when this is there, else 5. ghost: the kernel takes ghost "
    "files; zswap: it is on; room: no pool is full before the slots of its ghosts are, else 7.",
)
@click.option("--explain", metavar="ID", help="Say what a check is about and why.")
@strict_option
@json_option
def command(probe: bool, require: tuple[str, ...], explain: str | None, strict: bool, as_json: bool) -> int:
    """Check whether this machine can use ghosts, and is set up well.

    First a verdict. Then each check that says WARN or FAIL, what it saw, and the commands that help; with
    --verbose also those that say OK. Exit status 0 when nothing failed, else 1.
    """
    if explain is not None:
        if as_json:
            raise UsageError("doctor: --explain and --json exclude each other")
        return _explain(explain)
    probed, failure = None, None
    if probe:
        from ..probe import probe as try_ghost

        try:
            probed = try_ghost()
        except (OSError, Error) as error:
            if require:
                raise
            failure = error
    if require:
        for feature in require:
            _require(feature, probed)
        return OK
    from .. import doctor, output
    from ..machine import Machine

    machine = Machine(probed=probed)
    found = list(doctor.examine(machine))
    verdict = doctor.verdict(machine, (finding.status for _, finding in found))
    if as_json:
        click.echo(output.json_text(_document(machine, verdict, found)))
    else:
        _show_all(verdict, found)
    if failure is not None:
        report.error(failure)
        return exit_status(failure)
    bad = {"FAIL", "WARN"} if strict else {"FAIL"}
    return FAILED if any(finding.status in bad for _, finding in found) else OK


def _explain(name: str) -> int:
    import shutil
    import textwrap

    from .. import doctor

    check = next((check for check in doctor.CHECKS if check.id == name), None)
    if check is None:
        ids = ", ".join(check.id for check in doctor.CHECKS)
        raise UsageError(f"doctor: no check {name!r}", hint=f"checks are {ids}")
    click.echo(textwrap.fill(check.explanation, min(shutil.get_terminal_size().columns, 100)))
    return OK


def _require(feature: str, probed: bool | None) -> None:
    """Raises what the exit status is for, when a feature is not there."""
    special: dict[str, Callable[[], None]] = {
        "ghost": lambda: _require_ghost(probed),
        "zswap": _require_zswap,
        "room": _require_room,
    }
    if feature in special:
        special[feature]()
        return
    from .. import backends, kernel

    has = backends.offers(feature)
    if has is None:
        raise Error(f"it is unknown whether this kernel has {feature}: {backends.NO_SYSFS}")
    if not has:
        raise Unsupported(kernel.without(feature))


def _require_ghost(probed: bool | None) -> None:
    from .. import backends, kernel, swaps

    if probed is None:
        try:
            active = swaps.read()
        except (OSError, Error) as error:
            report.trace(str(error))
            active = []
        probed = backends.takes_files(active)
    if probed is None:
        raise Unsupported(
            "it is unknown whether this kernel takes ghost files",
            hint=report.again("doctor", "--probe", otherwise="ghostctl doctor --probe"),
        )
    if not probed:
        raise Unsupported(kernel.without("ghost"))


def _require_zswap() -> None:
    from .. import zswap

    state = zswap.read()
    if state is None:
        raise Unsupported("this kernel has no zswap")
    if not state.enabled:
        raise Unsupported("zswap is off", hint="ghostctl zswap set enabled=yes")


def _require_room() -> None:
    from .. import areas, capacity, zswap

    actives = areas.read()
    for one in actives:
        if isinstance(one.doubt, PermissionError):
            raise Denied("only root can tell whether it was made for a ghost", path=one.area.name)
    held = [one for one in capacity.held(actives, zswap.read()) if one.is_ghost]
    if not held:
        raise NotFound("no ghost is active")
    for group in capacity.by_pool(held).values():
        if group[0].pool.room is None:
            raise Error("it is unknown how full the pool is", path=group[0].pool.name)
        if alarm := capacity.alarm(group, capacity.ordinary(actives, held)):
            raise NoMemory(alarm, path=group[0].pool.name, hint="ghostctl doctor")


def _show_all(verdict: str, found: list[tuple[str, Finding]]) -> None:
    click.echo(escape(verdict[:1].upper() + verdict[1:]) + ".")
    fine = dict.fromkeys(check for check, finding in found if finding.status == "OK")
    hidden = 0 if report.verbosity else len(fine)
    if hidden:
        click.echo(f"Fine: {', '.join(fine)} (-v shows what they saw).")
    shown: set[str] = set()
    width = max(len(check) for check, _ in found)
    if hidden < len(found):
        click.echo()
    for check, finding in found:
        if finding.status != "OK" or not hidden:
            # what stands above already has been run
            _show(check, width, finding, [command for command in finding.fix if command not in shown])
            shown.update(finding.fix)


def _show(check: str, width: int, finding: Finding, fix: list[str]) -> None:
    status = click.style(f"{finding.status:<4}", fg=_COLOURS[finding.status])
    click.echo(f"{status}  {check:<{width}}  {escape(finding.seen)}")
    for line in fix:
        click.echo(f"{'':<{width + 6}}    {escape(line)}")


def _document(machine: Machine, verdict: str, found: list[tuple[str, Finding]]) -> dict[str, object]:
    from .. import kernel

    statuses = [finding.status for _, finding in found]
    return {
        "verdict": verdict,
        "status": next((status for status in ("FAIL", "WARN") if status in statuses), "OK"),
        "kernel": {"release": kernel.release(), **machine.interfaces._asdict()},
        "checks": [
            {"id": check, "status": finding.status, "seen": finding.seen, "fix": list(finding.fix)}
            for check, finding in found
        ],
    }
