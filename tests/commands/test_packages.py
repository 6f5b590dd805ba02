# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command where a Python package is missing: it does without, or says which one in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from machine import ghostctl, require

CODE = "import sys; sys.path.insert(0, {!r}); from ghostctl.cli import main; main()"
PACKAGES = ("click", "construct", "psutil", "pyudev")
UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"

LINES = (
    *("--help", "setup --help", "fstab add --help"),
    "mkghost -s 1G {new}",
    "inspect {ghost}",
    "inspect {missing}",
    "inspect {text}",
    "verify {ghost}",
    "label {ghost}",
    "label -L new {ghost}",
    "resize {ghost} 2G",
    "resize --cycle {ghost} 2G",
    "on {missing}",
    "on {text}",
    "off {missing}",
    "off UUID=" + UUID,
    "status",
    "status --json",
    "status --prometheus",
    "status UUID=" + UUID,
    "usage",
    "usage --cgroups",
    "doctor",
    "plan",
    "plan --ratio 3",
    "plan --pid {pid}",
    "zswap show",
    "fstab list -T {fstab}",
    "fstab check -T {fstab}",
    "fstab add -T {fstab} -s 1G {new}",
    "fstab ensure -T {fstab}",
    "setup --dry-run -T {fstab}",
)
DO_WITHOUT = {
    # nothing to read
    "construct": {
        *(line for line in LINES if "--help" in line),
        *("inspect {missing}", "inspect {text}", "on {missing}", "usage", "usage --cgroups"),
        *("plan --ratio 3", "zswap show", "fstab list -T {fstab}"),
    },
    "psutil": set(LINES) - {"plan --pid {pid}"},
    "pyudev": set(LINES),
}
"""Command lines that do not need a package. Others may need it only where there is an area or a ghost."""


def packages(directory: Path, missing: str) -> Path:
    """A directory to import from that has ghostctl and what it needs but for one package."""
    directory.mkdir()
    for name in ("ghostctl", *PACKAGES):
        if name != missing:
            (directory / name).symlink_to(Path(str(import_module(name).__file__)).parent)
    return directory


def run(directory: Path, line: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    names = {name: tmp_path / name for name in ("ghost", "new", "missing", "text", "fstab")}
    words = line.format(**names, pid=os.getpid()).split()
    return subprocess.run(
        [sys.executable, "-IS", "-c", CODE.format(str(directory)), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def message(missing: str) -> str:
    return (
        f"ghostctl: the Python package {missing} is missing\n"
        f"ghostctl: hint: install python3-{missing} (Debian, Fedora), or {missing} with pip\n"
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "fstab").write_text("none /proc proc defaults 0 0\n")
    (tmp_path / "text").write_text("no swap area\n")
    assert ghostctl("mkghost", "-s", "1G", tmp_path / "ghost").returncode == 0
    return tmp_path


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("missing", PACKAGES[1:])
def test_a_command_without_a_package(missing: str, line: str, files: Path) -> None:
    done = run(packages(files / "packages", missing), line, files)
    assert "Traceback" not in done.stderr
    if f"package {missing}" in done.stderr:
        if line in DO_WITHOUT[missing]:
            require("no-area-of-ghostctl")
            pytest.fail(f"{line} needs {missing}")
        assert (done.returncode, done.stderr) == (
            1,
            message(missing),
        )


def test_no_command_runs_without_click(files: Path) -> None:
    done = run(packages(files / "packages", "click"), "status", files)
    assert (done.returncode, done.stderr) == (1, message("click"))


def test_a_package_that_cannot_be_used(files: Path) -> None:
    directory = packages(files / "packages", "construct")
    (directory / "construct.py").write_text("from construct.core import Struct\n")
    done = run(directory, "inspect {ghost}", files)
    assert done.returncode == 1
    assert done.stderr.startswith("ghostctl: the Python package construct cannot be used: ")


def test_what_is_no_such_package_is_a_defect(files: Path) -> None:
    directory = packages(files / "packages", "construct")
    (directory / "construct.py").write_text("import of_another\n")
    assert "Traceback" in run(directory, "inspect {ghost}", files).stderr
