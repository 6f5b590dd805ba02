# SPDX-License-Identifier: GPL-2.0-or-later
"""No command imports what it does not use: every start pays for it."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from machine import CAPABILITIES, active, ghostctl, require

from ghostctl.cli.program import COMMANDS

MAIN = """
import sys
try:
    from ghostctl.cli import main
    main()
finally:
    with open(%a, "w") as file:
        print(*sys.modules, file=file)
"""
HEAVY = frozenset(
    [
        *("argparse", "asyncio", "construct", "ctypes", "dataclasses", "decimal", "email", "hashlib", "http"),
        *(
            "importlib.metadata",
            "json",
            "logging",
            "pathlib",
            "psutil",
            "pyudev",
            "random",
            "shutil",
            "socket",
        ),
        *("sqlite3", "ssl", "subprocess", "tempfile", "threading", "urllib.request", "uuid", "xml", "zlib"),
    ]
)
"""Of what a command could import, what costs something."""

HEADER = ("construct", "zlib")
NO_HEADER = ("zlib",)
"""Where a header would be read if there were one."""


@cache
def come_with(*modules: str) -> set[str]:
    """What is imported with click and these modules, whatever the command."""
    code = f"import sys, {', '.join(('click', *modules))}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    return set(done.stdout.decode().split())


def without_areas(tmp_path: Path) -> tuple[str, ...]:
    """Runs a command where no area is active and no zram device left over, whose headers it would read."""
    if not active() and CAPABILITIES["mount"]():
        return ()
    require("mount")
    swaps = tmp_path / "swaps"
    swaps.write_text("Filename\tType\tSize\tUsed\tPriority\n")
    script = """
        mount --bind "$0" /proc/swaps
        mount -t tmpfs none /run
        mount -t tmpfs none /sys/block
        exec "$@"
    """
    return ("unshare", "-m", "sh", "-ec", script, str(swaps))


def imported(tmp_path: Path, *words: str) -> set[str]:
    modules = tmp_path / "modules"
    command = [*without_areas(tmp_path), sys.executable, "-c", MAIN % str(modules), *words]
    subprocess.run(command, capture_output=True, timeout=60, check=False)
    return set(modules.read_text().split())


COMMAND_LINES: list[tuple[str, tuple[str, ...]]] = [
    ("--help", ("shutil",)),
    ("--version", ("importlib.metadata",)),
    ("status", NO_HEADER),
    ("status --raw --noheadings", NO_HEADER),
    ("status --json", (*NO_HEADER, "json")),
    ("usage", ()),
    ("usage --cgroups --raw", ()),
    ("usage --json", ("json",)),
    ("mkghost -U 0f0e0d0c-0b0a-4908-8706-050403020100 -s 1G {new}", (*HEADER, "uuid")),
    ("mkghost -s 1G {new}", (*HEADER, "uuid")),
    ("inspect {ghost}", HEADER),
    ("inspect --json {ghost}", (*HEADER, "json")),
    ("verify {ghost}", HEADER),
    ("label {ghost}", HEADER),
    ("label -L x {ghost}", HEADER),
    ("resize {ghost} 2G", HEADER),
    ("resize --cycle {ghost} 2G", (*HEADER, "ctypes")),
    ("on {missing}", HEADER),
    ("off {missing}", NO_HEADER),
    ("doctor --help", (*HEADER, "shutil")),
    ("doctor", NO_HEADER),
    ("doctor --require zram", NO_HEADER),
    ("doctor --require zswap", ()),
    ("fstab list", NO_HEADER),
    ("fstab check", NO_HEADER),
    ("plan --ratio 3", NO_HEADER),
    ("plan", (*HEADER, "psutil", "random", "pathlib", "ctypes")),
    ("zswap show", ()),
    ("setup --help", (*HEADER, "shutil", "dataclasses", "json")),
    ("setup --dry-run -T {missing}", (*HEADER, "uuid", "dataclasses", "json")),
]
"""Command lines and the modules that each really uses."""


@pytest.mark.parametrize(("line", "allowed"), COMMAND_LINES, ids=[line for line, _ in COMMAND_LINES])
def test_what_a_command_imports(tmp_path: Path, line: str, allowed: tuple[str, ...]) -> None:
    ghost = tmp_path / "ghost"
    if "{ghost}" in line:
        assert ghostctl("mkghost", "-s", "1G", ghost).returncode == 0
    words = line.format(ghost=ghost, new=tmp_path / "new", missing=tmp_path / "missing").split()
    found = imported(tmp_path, *words)
    assert "ghostctl.cli" in found
    assert found & HEAVY <= come_with(*allowed)
    # nor the module of another command
    others = {f"ghostctl.cli.{name}" for name in COMMANDS if name not in words}
    assert not found & others


def test_the_list_is_complete() -> None:
    assert {line.split()[0] for line, _ in COMMAND_LINES} >= set(COMMANDS)
