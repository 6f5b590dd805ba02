# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands print, as a whole.

Each file in commands/ is a session in a directory of its own: ``$`` a command line, then what it prints,
``!`` what it says on standard error, ``?`` its exit status when that is not 0. GHOSTCTL_WRITE_GOLDEN=1 runs
the sessions and writes the files anew; read the difference before it is committed.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from machine import ghostctl, require

from ghostctl.cli.program import COMMANDS

DIRECTORY = Path(__file__).parent / "commands"


def command_lines(session: Path) -> list[str]:
    lines = session.read_text().splitlines()
    return [line.removeprefix("$ ghostctl ") for line in lines if line.startswith("$ ghostctl ")]


@pytest.mark.parametrize("session", sorted(DIRECTORY.iterdir()), ids=lambda session: session.name)
def test_session(ghost_dir: Path, session: Path) -> None:
    require("root", "pages-4k")
    text = ""
    for line in command_lines(session):
        done = ghostctl(*shlex.split(line), cwd=ghost_dir, env={"LC_ALL": "C.UTF-8"})
        text += f"$ ghostctl {line}\n{done.stdout}"
        text += "".join(f"! {message}\n" for message in done.stderr.splitlines())
        if done.returncode:
            text += f"? {done.returncode}\n"
    assert "Traceback" not in text
    if os.environ.get("GHOSTCTL_WRITE_GOLDEN"):
        session.write_text(text)
    assert text == session.read_text()


def test_every_help_is_in_a_session() -> None:
    assert {f"{name} --help" for name in COMMANDS} <= set(command_lines(DIRECTORY / "help"))
