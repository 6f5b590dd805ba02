# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are not what they should be: one line, an exit status, nothing changed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import GHOSTCTL, REPOSITORY, ghostctl, require

from ghostctl import header, sizes


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
    require("no-container")
    generator = REPOSITORY / "tools/ghostctl-generator"
    environment = {**os.environ, "SYSTEMD_FSTAB": "/dev/zero", "SYSTEMD_IN_INITRD": "0"}
    done = subprocess.run(
        [sys.executable, generator, tmp_path],
        env=environment,
        stderr=subprocess.PIPE,
        timeout=20,
        check=False,
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


@pytest.mark.parametrize(
    "words", [("inspect",), ("verify",), ("label",), ("on",), ("mkghost", "-n", "-f", "-s", "1M")]
)
def test_files_of_proc_are_not_read(words: tuple[str, ...]) -> None:
    """One that waits for what is to come, and takes it away from who waits for it."""
    require("root")
    done = ghostctl(*words, "/proc/kmsg")
    assert done.returncode == (0 if words[0] == "mkghost" else 1 if words[0] == "verify" else 3)
    assert "Traceback" not in done.stderr


def test_a_word_of_the_tag_makes_no_ghost(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(b"GHOSTSWP, a word".rjust(1200, b".").ljust(4096, b"."))
    before = path.read_bytes()
    done = ghostctl("mkghost", "--if-needed", "-s", "1M", path)
    assert done.returncode == 1
    assert path.read_bytes() == before


def test_a_tag_of_version_0_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ghost"
    new = header.ghost(100, sizes.page_size())
    new = new._replace(tag=new.tag._replace(version=0))
    path.write_bytes(header.pack(new._replace(tag=new.tag._replace(crc=header.crc(new)))))
    path.chmod(0o600)
    before = path.read_bytes()
    for words in (("resize", path, "1G"), ("mkghost", "--if-needed", "-s", "1G", path)):
        done = ghostctl(*words)
        assert done.returncode == 1
        assert "tag of version 0" in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "id"),
    [
        (lambda h: h._replace(tag=h.tag._replace(flags=2)), "tag"),
        (lambda h: h._replace(tag=h.tag._replace(rest=b"x".rjust(300, b"\0"))), "garbage"),
        (lambda h: h._replace(last_page=2**32 - 1), "last_page"),
        (lambda h: h._replace(tag=header.Tag(size=7)), "garbage"),
    ],
    ids=["flags", "rest", "pages", "bare"],
)
def test_verify_sees_what_the_checksum_does_not(
    tmp_path: Path,
    change: Callable[[header.Header], header.Header],
    id: str,  # noqa: A002
) -> None:
    path = tmp_path / "ghost"
    new = change(header.ghost(100, sizes.page_size()))
    if new.has_tag:
        new = new._replace(tag=new.tag._replace(size=new.size))
        new = new._replace(tag=new.tag._replace(crc=header.crc(new)))
    path.write_bytes(header.pack(new))
    path.chmod(0o600)
    done = ghostctl("verify", "--strict", "--json", path)
    assert done.returncode == 1
    assert id in [problem["id"] for problem in json.loads(done.stdout)["files"][0]["problems"]]


def test_the_unfinished_file_of_somebody_else_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".ghostctl-new").mkdir()
    done = ghostctl("mkghost", "-s", "1M", tmp_path / "ghost")
    assert done.returncode == 1
    assert ".ghostctl-new in its directory is in the way" in done.stderr
    assert (tmp_path / ".ghostctl-new").is_dir()
