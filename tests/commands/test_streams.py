# SPDX-License-Identifier: GPL-2.0-or-later
"""Standard output and standard error that take nothing, and locales that are not UTF-8."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from machine import GHOSTCTL, ghostctl, require, run, started, with_swaps

LINES = [
    ("--version",),
    ("--help",),
    ("status", "--json"),
    ("status", "--watch"),
]
"""Command lines that print something on every machine."""


def message(number: int) -> str:
    return f"ghostctl: standard output: write error: {os.strerror(number)}\n"


@contextmanager
def full_pipe() -> Iterator[IO[bytes]]:
    """A pipe that takes no more now, and says so instead of waiting."""
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb", buffering=0) as file:
        os.set_blocking(writing, False)
        while file.write(bytes(65536)):
            pass
        yield file


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_output_to_a_full_device(line: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = ghostctl(*line, stdout=full)
    assert (done.returncode, done.stderr) == (1, message(errno.ENOSPC))


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_output_that_would_have_to_wait(line: tuple[str, ...]) -> None:
    with full_pipe() as pipe:
        done = ghostctl(*line, stdout=pipe)
    assert (done.returncode, done.stderr) == (1, message(errno.EAGAIN))


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_output_that_nobody_reads(line: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        done = ghostctl(*line, stdout=pipe)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize("closing", [">&-", "<&- >&-"])
@pytest.mark.parametrize("line", [LINES[0], LINES[-1]], ids=" ".join)
def test_output_that_is_closed(line: tuple[str, ...], closing: str) -> None:
    done = ghostctl(*line, prefix=("sh", "-c", f'exec "$@" {closing}', "sh"))
    assert (done.returncode, done.stderr) == (1, message(errno.EBADF))


def test_a_closed_output_needs_no_devices(tmp_path: Path) -> None:
    require("mount")
    script = f'mount -t tmpfs none /dev && cd {tmp_path} && exec "$@" >&-'
    done = ghostctl("--version", prefix=("unshare", "--mount", "sh", "-c", script, "sh"))
    assert (done.returncode, done.stderr) == (1, message(errno.EBADF))


@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_messages_that_cannot_be_said(tmp_path: Path, closing: str) -> None:
    """The exit status is the same, and what can be done is done."""
    prefix = ("sh", "-c", f'exec "$@" {closing}', "sh")
    assert ghostctl("inspect", tmp_path / "none", prefix=prefix).returncode == 3
    assert ghostctl("mkghost", prefix=prefix).returncode == 2
    path = tmp_path / "ghost"
    # with a warning
    done = ghostctl("mkghost", "-s", "1M", "-L", "a label that is too long", path, prefix=prefix)
    assert done.returncode == 0
    assert f"size = 1020 KiB ({(1 << 20) - 4096} bytes)" in done.stdout
    assert b"a label that is\0" in path.read_bytes()


def test_messages_to_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        done = subprocess.run([GHOSTCTL, "inspect", tmp_path / "none"], stderr=pipe, check=False)
    assert done.returncode == 3


@pytest.fixture(scope="session")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    require("latin-1")
    directory = tmp_path_factory.mktemp("locales")
    run("localedef", "-i", "en_US", "-f", "ISO-8859-1", directory / "en_US.ISO-8859-1")
    return {"LOCPATH": str(directory), "LC_ALL": "en_US.ISO-8859-1"}


@pytest.fixture(params=["UTF-8", "ASCII", "ISO-8859-1"])
def locale(request: pytest.FixtureRequest) -> dict[str, str]:
    """Variables for a locale in which Python takes arguments and output to be in this encoding."""
    if request.param == "UTF-8":
        return {"LC_ALL": "C.UTF-8"}
    if request.param == "ASCII":
        return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    variables: dict[str, str] = request.getfixturevalue("latin_1")
    return variables


def test_json_is_the_same_in_every_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    path = tmp_path / "ghost"
    assert ghostctl("mkghost", "-s", "1M", "-L", "grün", path, env={"LC_ALL": "C.UTF-8"}).returncode == 0
    done = started("inspect", "--json", path, env=locale)
    assert done.stdout.isascii()
    [header] = json.loads(done.stdout)["headers"]
    assert header["label"] == "grün"
    for command in (("inspect", path), ("label", path)):
        done = started(*command, env=locale)
        assert done.returncode == 0, done.stderr
        # text is for this locale's terminal
        assert "gr\udcfcn" in done.stdout or "grün" in done.stdout


def test_the_label_is_what_was_typed(tmp_path: Path, locale: dict[str, str]) -> None:
    typed = "grün".encode("iso-8859-1" if "LOCPATH" in locale else "utf-8")
    path = tmp_path / "ghost"
    assert started("mkghost", "-s", "1M", b"-L" + typed, path, env=locale).returncode == 0
    assert "grün".encode() + b"\0" in path.read_bytes()


def test_areas_are_the_same_in_every_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    require("mount")
    path = tmp_path / "ghost"
    assert ghostctl("mkghost", "-s", "1M", "-L", "grün", path, env={"LC_ALL": "C.UTF-8"}).returncode == 0
    prefix = with_swaps(tmp_path / "swaps", f"{path} ghost 1020 0 -2")
    done = ghostctl("status", "--raw", "-o", "LABEL", "--noheadings", prefix=prefix, env=locale)
    assert (done.stdout, done.stderr) == ("gr\\xc3\\xbcn\n", "")
    done = ghostctl("status", "--json", prefix=prefix, env=locale)
    assert done.stdout.isascii()
    assert (json.loads(done.stdout)["swapareas"][0]["label"], done.stderr) == ("grün", "")
    done = ghostctl("status", "-o", "NAME,LABEL", prefix=prefix, env=locale)
    assert (done.returncode, done.stderr) == (0, "")
