# SPDX-License-Identifier: GPL-2.0-or-later
"""A sample of memory that the kernel's own compressor measures, on a device that is gone afterwards."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from machine import ghostctl, require
from zramdevices import BLOCK, add_device, remove_device

from ghostctl import kernel, rundir, sample
from ghostctl.backends import zram
from ghostctl.errors import Error, Unsupported

PAGE = os.sysconf("SC_PAGE_SIZE")


def page(seed: int) -> bytes:
    """From 300 bytes of noise to all of it, as memory has pages of every kind."""
    random_bytes = random.Random(seed)
    return random_bytes.randbytes(random_bytes.choice((300, 1000, 1700, 2500, PAGE))).ljust(PAGE, b"x")


PAGES = [page(seed) for seed in range(500)]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    require("zram")
    before = set(BLOCK.glob("zram*"))
    yield
    assert set(BLOCK.glob("zram*")) == before


def compressors() -> list[str]:
    device = add_device()
    try:
        return (BLOCK / device.name / "comp_algorithm").read_text().replace("[", "").replace("]", "").split()
    finally:
        remove_device(device)


def by_hand(compressor: str) -> float:
    """What the kernel makes of ten times the pages, on a device of the test's own."""
    device = add_device()
    attributes = BLOCK / device.name
    try:
        (attributes / "comp_algorithm").write_text(compressor)
        (attributes / "disksize").write_text("64M")
        with device.open("r+b") as file:
            file.write(b"".join(PAGES) * 10)
            file.flush()
            os.fsync(file.fileno())
        stored, _, used = map(int, (attributes / "mm_stat").read_text().split()[:3])
    finally:
        remove_device(device)
    return stored / used


def test_the_ratio_is_the_kernels() -> None:
    for compressor in compressors():
        found = sample.by_kernel([*PAGES], compressor)
        assert found is not None
        assert found.by == f"by the kernel's {compressor}"
        assert found.ratio == pytest.approx(by_hand(compressor), rel=0.03)
        assert found.incompressible >= sum(len(set(page)) > 250 and page[-1:] != b"x" for page in PAGES) * 0.9


def test_the_kernels_choice_is_named() -> None:
    device = add_device()
    try:
        chosen = (BLOCK / device.name / "comp_algorithm").read_text().partition("[")[2].partition("]")[0]
    finally:
        remove_device(device)
    found = sample.by_kernel(PAGES[:10], None)
    assert found is not None
    assert found.by == f"by the kernel's {chosen}"


def test_plan_says_how() -> None:
    text = ghostctl("plan").stdout
    assert "sampled: " in text
    assert "compressed by the kernel's " in text


def test_a_read_only_sys_leaves_no_device() -> None:
    """There hot_add makes one, and nothing could remove it."""
    require("mount")
    prefix = ("unshare", "-m", "sh", "-ec", 'mount -o remount,bind,ro /sys; exec "$@"', "sh")
    done = ghostctl("plan", prefix=prefix)
    assert done.returncode == 0
    assert "compressed with " in done.stdout


def test_a_compressor_that_zram_does_not_have() -> None:
    with pytest.raises(Unsupported, match="zram has no compressor nonesuch"):
        zram.compress(PAGES, 1, "nonesuch")
    assert sample.by_kernel(PAGES, "nonesuch") is None


@pytest.mark.parametrize("step", ["disksize", "write", "mm_stat"])
def test_a_step_that_fails(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    write_attribute = kernel.write_attribute

    def refuse(path: str, value: str) -> None:
        if path.endswith("/disksize") and step == "disksize":
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), path)
        # a page less than there is to write
        smaller = step == "write" and path.endswith("/disksize")
        write_attribute(path, str(int(value) - PAGE) if smaller else value)

    monkeypatch.setattr(kernel, "write_attribute", refuse)
    if step == "mm_stat":
        monkeypatch.setattr(zram, "read_mm_stat", lambda _: None)
    with pytest.raises((OSError, Error)):
        zram.compress(PAGES, 1, None)
    assert sample.by_kernel(PAGES, None) is None


CODE = """
import os, sys
from ghostctl import rundir
from ghostctl.backends import zram

def stop(*arguments):
    print("there", flush=True)
    sys.stdin.readline()
    return written(*arguments)

written, rundir.PATH = zram._written, sys.argv[1]
if sys.argv[2] == "before":
    zram._written = stop
else:
    zram.read_mm_stat = stop
zram.compress([os.urandom(1000).ljust(4096, b"x")] * 100, 1, None)
print("done", flush=True)
"""


@contextmanager
def stopped(directory: Path, when: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has made its device, and waits before it writes to it, or after its header."""
    with subprocess.Popen(
        [sys.executable, "-c", CODE, directory, when], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_waits(tmp_path: Path, number: int) -> None:
    with stopped(tmp_path / "run", "before") as process:
        process.send_signal(number)
        assert process.communicate(b"\n", timeout=10)[0] == b""
        assert process.returncode == -number


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_next_run_clears_away_what_a_killed_one_left(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(BLOCK.glob("zram*"))
    with stopped(tmp_path / "run", when) as process:
        (left,) = set(BLOCK.glob("zram*")) - before
        process.kill()
    assert left.exists()
    monkeypatch.setattr(rundir, "PATH", str(tmp_path / "run"))
    zram.BACKEND.recover()
    assert not left.exists()
    assert "may be left" not in capsys.readouterr().err
