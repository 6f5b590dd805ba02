# SPDX-License-Identifier: GPL-2.0-or-later
"""off of an area that holds pages, and --all of what /proc/swaps lists."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import HOG, ghostctl, is_active, require, run, swap_file, with_swaps

from ghostctl import areas, backends, deactivation, errors
from ghostctl.swaps import Area

MEMORY = Path("/sys/fs/cgroup/memory")


def used_kib(path: Path) -> int:
    with open("/proc/swaps", encoding="utf-8", errors="surrogateescape") as file:
        return next((int(line.split()[3]) for line in file if line.startswith(f"{path} ")), 0)


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    """A memory cgroup with little room."""
    require("root")
    if not (MEMORY / "memory.limit_in_bytes").exists():
        pytest.skip("no memory controller of cgroup version 1")
    directory = MEMORY / f"ghostctl-test-{os.getpid()}"
    directory.mkdir()
    try:
        (directory / "memory.limit_in_bytes").write_text(str(12 << 20))
        yield directory
    finally:
        deadline = time.monotonic() + 10
        while directory.exists() and time.monotonic() < deadline:
            try:
                directory.rmdir()
            except OSError:
                time.sleep(0.1)


def test_pages_come_back_as_they_were(swap_dir: Path, memory_cgroup: Path) -> None:
    path = swap_file(swap_dir / "swap", 64 << 20)
    assert ghostctl("on", "-p", "32767", path).returncode == 0
    hog = subprocess.Popen(
        ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', memory_cgroup, sys.executable, HOG, "24"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert hog.stdout is not None
        assert hog.stdin is not None
        assert hog.stdout.readline() == b"ready\n"
        used = used_kib(path)
        assert used > 4096
        shown = ghostctl("status", "--raw", "--bytes", "--noheadings", "-o", "USED", path)
        assert int(shown.stdout) > 4096 << 10
        # what comes back has to go somewhere
        (memory_cgroup / "memory.limit_in_bytes").write_text(str(64 << 20))
        done = ghostctl("off", path)
        assert (done.returncode, done.stderr) == (0, "")
        assert not is_active(path)
        hog.stdin.close()
        assert hog.stdout.readline() == b"intact\n"
    finally:
        hog.kill()
        hog.wait()


def test_off_all_takes_what_proc_swaps_lists(swap_dir: Path) -> None:
    """The areas of others are kept out by a /proc/swaps with only ours in it."""
    require("mount")
    paths = [swap_file(swap_dir / name) for name in ("one", "two words", "three")]
    for path in paths:
        assert ghostctl("on", path).returncode == 0
    lines = Path("/proc/swaps").read_bytes().split(b"\n")
    ours = [line for line in lines[1:] if line.startswith(os.fsencode(swap_dir))]
    inside = with_swaps(swap_dir / "swaps", *ours)
    done = ghostctl("off", "-a", prefix=inside)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(map(is_active, paths))
    run("swapoff", paths[1])
    done = ghostctl("-v", "off", "-a", "--type", "any", prefix=inside)
    # one was off already
    assert done.returncode == 64
    order = re.findall(r"swapoff\('(.*)'\)", done.stderr)
    assert order == [str(paths[2]), str(paths[1]), str(paths[0])]
    assert not any(map(is_active, paths))
    assert ghostctl("off", "-a", "--type", "any", prefix=inside).returncode == 32


def test_a_name_that_is_no_path(tmp_path: Path) -> None:
    """An area of a kind that no backend knows: a file of that name in the current directory is not meant."""
    require("swap")
    other = swap_file(tmp_path / "vswap0")
    run("swapon", other)
    try:
        prefix = with_swaps(tmp_path / "swaps", "vswap0 vswap 1024 0 -1", f"{other} file 1020 0 -1")
        assert '"type": "vswap"' in ghostctl("status", "--json", prefix=prefix).stdout
        done = ghostctl("off", "vswap0", cwd=tmp_path, prefix=prefix)
        assert done.returncode == 5
        assert "vswap0: an area of type vswap that no path leads to" in done.stderr
        # it may be no ghost
        done = ghostctl("off", "--all", cwd=tmp_path, prefix=prefix)
        assert (done.returncode, done.stderr) == (0, "")
        assert is_active(other)
    finally:
        run("swapoff", other)


@pytest.mark.parametrize("active", [True, False, None])
def test_kept_for_a_hibernation_image(active: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """SWP_HIBERNATION of Linux 7.2; an EBUSY of what comes after swapoff(2) is another matter."""

    class Pinned(backends.Backend):
        def deactivate(self, active: areas.Active) -> None:
            raise OSError(errno.EBUSY, "swapoff failed", active.path)

    monkeypatch.setattr(backends, "get", lambda _: Pinned())
    monkeypatch.setattr(deactivation, "is_active", lambda _: active)
    monkeypatch.setattr(deactivation, "protect_from_oom_killer", lambda: None)
    one = areas.Active(Area("/dev/sda2", "partition", 1024, 0, -1), "/dev/sda2")
    with pytest.raises(errors.Busy if active else OSError) as caught:
        deactivation.deactivate(one, [one])
    if active:
        assert str(caught.value) == "/dev/sda2: the kernel keeps it for a hibernation image"
