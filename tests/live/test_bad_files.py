# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are not what they should be: one line, an exit status, nothing changed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from machine import GHOSTCTL, ghostctl


@pytest.mark.parametrize("kind", ["fifo", "directory", "/dev/zero"])
@pytest.mark.parametrize(
    "words", [("list",), ("check",), ("add", "/var/lib/ghost/none", "-s", "1M"), ("remove", "/none")]
)
def test_fstab_that_is_no_file(tmp_path: Path, kind: str, words: tuple[str, ...]) -> None:
    path = Path(kind) if kind.startswith("/") else tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    mode = os.lstat(path).st_mode
    done = ghostctl("fstab", words[0], "-T", path, *words[1:])
    assert done.returncode == 1
    assert done.stderr.startswith(f"ghostctl: {path}: ")
    assert len(done.stderr.splitlines()) == 1
    assert stat.S_IFMT(os.lstat(path).st_mode) == stat.S_IFMT(mode)


def test_generator_does_not_read_a_device(tmp_path: Path) -> None:
    generator = GHOSTCTL.with_name("ghostctl-generator")
    environment = {**os.environ, "SYSTEMD_FSTAB": "/dev/zero", "SYSTEMD_IN_INITRD": "0"}
    done = subprocess.run(
        [generator, tmp_path], env=environment, stderr=subprocess.PIPE, timeout=20, check=False
    )
    assert b"is not a regular file" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("resize", "{}", "2M"), ("label", "-L", "new", "{}")])
def test_a_damaged_ghost_is_not_blessed(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "ghost"
    assert ghostctl("-q", "mkghost", "-s", "1M", path).returncode == 0
    with path.open("r+b") as file:
        file.seek(1028)
        file.write(b"X")
    before = path.read_bytes()
    done = ghostctl(*(word.format(path) for word in words))
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert f"ghostctl verify {path}" in done.stderr
    assert path.read_bytes() == before


def test_closed_standard_error_keeps_the_exit_status(tmp_path: Path) -> None:
    code = f"import os; os.close(2); os.execv({str(GHOSTCTL)!r}, ['ghostctl', 'status', {str(tmp_path)!r}])"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=20).returncode == 3
