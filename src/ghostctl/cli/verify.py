# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl verify."""

from __future__ import annotations

import click

from .. import ghostfile, output, report
from ..errors import FAILED, Error
from ..report import escape
from .loops import each
from .options import area_specs, define, json_option, locate, strict_option


@define("verify")
@area_specs()
@strict_option
@json_option
def command(specs: tuple[str, ...], strict: bool, as_json: bool) -> int:
    """Check ghost files for problems.

    One line for each problem, as an error or a warning. Exit status 1 when there are errors.
    """
    documents: list[dict[str, object]] = []
    bad = False

    def check(spec: str) -> None:
        nonlocal bad
        try:
            with ghostfile.look(locate(spec)) as file:
                problems = list(ghostfile.verify(file))
        except (Error, OSError) as error:
            documents.append({"file": spec, "error": report.describe(error)})
            raise
        bad |= any(strict or problem.severity == "error" for problem in problems)
        documents.append({"file": file.path, "problems": list(map(_document, problems))})
        if not as_json:
            for problem in problems:
                colour = "red" if problem.severity == "error" else "yellow"
                severity = click.style(problem.severity, fg=colour)
                click.echo(f"{escape(file.path)}: {severity}: {escape(problem.message)}")

    status = each(specs, check)
    if as_json:
        click.echo(output.json_text({"files": documents}))
    return status or (FAILED if bad else 0)


def _document(problem: ghostfile.Problem) -> dict[str, object]:
    return {"id": problem.id, "severity": problem.severity, "message": problem.message}
