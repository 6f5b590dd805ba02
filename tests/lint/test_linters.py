# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from machine import REPOSITORY, require, run

TOOLS = {
    "ruff": ("ruff", "check", "."),
    "format": ("ruff", "format", "--check", "."),
    "mypy": ("mypy",),
    "pyright": ("pyright",),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_linter(tool: str) -> None:
    program, *arguments = TOOLS[tool]
    require(program)
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_source_names_its_licence() -> None:
    require("checkout")
    files = run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0")
    sources = [name for name in files if name.endswith((".py", ".sh", ".c")) or name == "Makefile"]
    assert sources
    for name in sources:
        head = (REPOSITORY / name).read_text().splitlines()[:3]
        assert not head or any("SPDX-License-Identifier: GPL-2.0" in line for line in head), name
