# SPDX-License-Identifier: GPL-2.0-or-later
"""A command in a fork is what it is in a process of its own."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
from machine import ghostctl, started
from stepwise import forked

from ghostctl import report
from ghostctl.cli.program import COMMANDS

LINES = (
    ("--version",),
    ("nonsense",),
    ("setup", "--undo", "--size", "1G"),
    ("mkghost", "-n", "-U", "clear", "-s", "1G", "dir/ghost"),
    ("inspect", "text"),
    ("verify", "--json", "text"),
    ("label", b"not there \xff"),
    ("resize", "text", "1G"),
    ("on", "text"),
    ("off", "text"),
    ("status", "text"),
    ("usage", "-o", "nothing"),
    ("doctor", "--explain", "nothing"),
    ("plan", "--help"),
    ("zswap", "set", "nothing=1"),
    ("fstab", "list", "-T", "none"),
)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_the_same_as_when_it_is_started(tmp_path: Path, line: tuple[str | bytes, ...]) -> None:
    (tmp_path / "text").write_text("a text\n")
    env = {"COLUMNS": "60", "LC_ALL": "C.UTF-8"}
    fork, start = (run(*line, cwd=tmp_path, env=env) for run in (ghostctl, started))
    assert (fork.returncode, fork.stdout, fork.stderr) == (start.returncode, start.stdout, start.stderr)


def test_there_is_one_for_each_command() -> None:
    assert {line[0] for line in LINES} >= set(COMMANDS)


def test_locale_of_its_own(tmp_path: Path) -> None:
    """Python decides about it when it starts."""
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    name = "ä"
    fork, start = (run("inspect", name, cwd=tmp_path, env=env) for run in (ghostctl, started))
    assert fork.stderr == start.stderr
    assert r"\xc3\xa4" in fork.stderr
    assert name in ghostctl("inspect", name, cwd=tmp_path).stderr


def test_umask(tmp_path: Path) -> None:
    for umask in (0o022, 0o077):
        directories = tmp_path / f"fork-{umask}", tmp_path / f"start-{umask}"
        for run, directory in zip((ghostctl, started), directories, strict=True):
            # who owns the package is warned of
            assert run("fstab", "install-generator", "--directory", directory, umask=umask).returncode == 0
            assert stat.S_IMODE(directory.stat().st_mode) == 0o777 & ~umask


def test_nothing_of_the_test_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "verbosity", 2)
    monkeypatch.setattr(report, "error", print)
    done = ghostctl("status", "/none")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr != ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_a_line(number: signal.Signals) -> None:
    done = forked("status", "--raw", files=("ghostctl/swaps.py",), kill_at=2, number=number)
    assert (done.status, done.err) == (-number, "")


def test_it_has_three_files_and_no_input() -> None:
    """Those of the tests are closed in it: what a command opens first gets the number 3."""
    reader, writer = os.pipe()
    os.close(writer)
    try:
        done = ghostctl("inspect", "/dev/stdin", *(f"/proc/self/fd/{number}" for number in (3, 4, reader)))
    finally:
        os.close(reader)
    assert "character device" in done.stderr.splitlines()[0]
    assert done.stderr.count("No such file or directory") == 3
