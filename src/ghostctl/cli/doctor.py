# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl doctor."""

from __future__ import annotations

import shutil
import textwrap

import click

from .. import backends, doctor, kernel, output, report
from ..errors import FAILED, OK, Error, Unsupported, UsageError, exit_status
from ..machine import Machine
from ..report import escape
from .options import define, json_option, strict_option

_COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}
_FEATURES = ("ghost", "ghostswap", "xswap", "zram", "zswap")
_WIDTH = max(len(check.id) for check in doctor.CHECKS)


@define("doctor")
@click.option("--probe", is_flag=True, help="Swap a throw-away ghost on and off to know (root).")
@click.option(
    "--require",
    type=click.Choice(_FEATURES),
    multiple=True,
    help="For scripts: print nothing, exit 0 when this is there, else 5. ghost: the kernel takes ghost "
    "files; zswap: it is on.",
)
@click.option("--explain", metavar="ID", help="Say what a check is about and why.")
@strict_option
@json_option
def command(probe: bool, require: tuple[str, ...], explain: str | None, strict: bool, as_json: bool) -> int:
    """Check whether this machine can use ghosts, and is set up well.

    Each check says OK, WARN or FAIL, what it saw, and the commands that help. Exit status 0 when nothing
    failed, else 1.
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
    machine = Machine(probed=probed)
    if require:
        _require(machine, require)
        return OK
    found = []
    shown: set[str] = set()
    for check, finding in doctor.examine(machine):
        found.append((check, finding))
        if not as_json:
            # what stands above already has been run
            _show(check, finding, [command for command in finding.fix if command not in shown])
            shown.update(finding.fix)
    if as_json:
        click.echo(output.json_text(_document(machine, found)))
    if failure is not None:
        report.error(failure)
        return exit_status(failure)
    bad = {"FAIL", "WARN"} if strict else {"FAIL"}
    return FAILED if any(finding.status in bad for _, finding in found) else OK


def _explain(name: str) -> int:
    check = next((check for check in doctor.CHECKS if check.id == name), None)
    if check is None:
        ids = ", ".join(check.id for check in doctor.CHECKS)
        raise UsageError(f"doctor: no check {name!r}", hint=f"checks are {ids}")
    click.echo(textwrap.fill(check.explanation, min(shutil.get_terminal_size().columns, 100)))
    return OK


def _require(machine: Machine, features: tuple[str, ...]) -> None:
    offers = machine.interfaces
    state = machine.state if "zswap" in features else None
    has = {
        "ghost": offers.file is True,
        "ghostswap": offers.ghostswap,
        "xswap": offers.xswap,
        "zram": offers.zram,
        "zswap": state is not None and state.enabled,
    }
    for feature in features:
        if has[feature]:
            continue
        if feature == "zswap":
            what = "zswap is off" if state else "this kernel has no zswap"
            raise Unsupported(what, hint="ghostctl zswap set enabled=yes" if state else None)
        if feature == "ghost" and offers.file is None:
            raise Unsupported(
                "it is unknown whether this kernel takes ghost files", hint="--probe finds out, as root"
            )
        if has[feature] is None:
            raise Error(f"it is unknown whether this kernel has {feature}: {backends.NO_SYSFS}")
        raise Unsupported(f"this kernel ({kernel.release()}) has no {feature}")


def _show(check: str, finding: doctor.Finding, fix: list[str]) -> None:
    status = click.style(f"{finding.status:<4}", fg=_COLOURS[finding.status])
    click.echo(f"{status}  {check:<{_WIDTH}}  {escape(finding.seen)}")
    for line in fix:
        click.echo(f"{'':<{_WIDTH + 6}}  # {escape(line)}")


def _document(machine: Machine, found: list[tuple[str, doctor.Finding]]) -> dict[str, object]:
    statuses = [finding.status for _, finding in found]
    return {
        "status": next((status for status in ("FAIL", "WARN") if status in statuses), "OK"),
        "kernel": {"release": kernel.release(), **machine.interfaces._asdict()},
        "checks": [
            {"id": check, "status": finding.status, "seen": finding.seen, "fix": list(finding.fix)}
            for check, finding in found
        ],
    }
