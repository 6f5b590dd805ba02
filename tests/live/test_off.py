# SPDX-License-Identifier: GPL-2.0-or-later
"""off of an area that holds pages, and --all of what /proc/swaps lists."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from machine import GHOSTCTL, ghostctl, hog_in, is_active, limit_of, require, run, swap_file, with_swaps
from zramdevices import make_active

from ghostctl import areas, backends, deactivation, errors, ghostfile
from ghostctl.swaps import Area


def used_kib(path: Path) -> int:
    with open("/proc/swaps", encoding="utf-8", errors="surrogateescape") as file:
        return next((int(line.split()[3]) for line in file if line.startswith(f"{path} ")), 0)


@pytest.fixture
def full(swap_dir: Path, memory_cgroup: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """An area with pages of such a program."""
    path = swap_file(swap_dir / "swap", 64 << 20)
    assert ghostctl("on", "-p", "32767", path).returncode == 0
    with hog_in(memory_cgroup) as hog:
        assert used_kib(path) > 4096
        yield path, hog


def is_intact(hog: subprocess.Popen[bytes]) -> bool:
    assert hog.stdout is not None
    assert hog.stdin is not None
    hog.stdin.close()
    return hog.stdout.readline() == b"intact\n"


def test_pages_come_back_as_they_were(
    full: tuple[Path, subprocess.Popen[bytes]], memory_cgroup: Path
) -> None:
    path, hog = full
    shown = ghostctl("status", "--raw", "--bytes", "--noheadings", "-o", "USED", path)
    assert int(shown.stdout) > 4096 << 10
    # what comes back has to go somewhere
    limit_of(memory_cgroup).write_text(str(64 << 20))
    done = ghostctl("off", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not is_active(path)
    assert is_intact(hog)


def test_a_cgroup_without_room_for_its_pages(
    full: tuple[Path, subprocess.Popen[bytes]], memory_cgroup: Path
) -> None:
    """Its program would be killed, whatever memory the machine has; the command of the hint makes room."""
    path, hog = full
    done = ghostctl("off", path)
    assert done.returncode == 7
    said, hint = done.stderr.splitlines()
    assert said.startswith(f"ghostctl: {path}: the cgroup {memory_cgroup.name} has ")
    assert said.endswith(" of it: its processes would be killed")
    assert is_active(path)
    assert used_kib(path) > 4096
    command = hint.removeprefix("ghostctl: hint: ")
    assert command.endswith(f"/{limit_of(memory_cgroup).name}  # or: ghostctl off --force {path}")
    run("sh", "-ec", command)
    done = ghostctl("off", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert is_intact(hog)


def test_nor_is_such_an_area_resized(ghost: Path, memory_cgroup: Path) -> None:
    assert ghostctl("resize", ghost, "48M").returncode == 0
    name = make_active(ghost, "-p", "32767")
    with hog_in(memory_cgroup) as hog:
        done = ghostctl("resize", "--cycle", ghost, "64M")
        assert done.returncode == 7
        assert f"{name}: the cgroup {memory_cgroup.name} has " in done.stderr
        assert is_active(name)
        with ghostfile.look(str(ghost)) as file:
            assert file.require_header().size == 48 << 20
        limit_of(memory_cgroup).write_text(str(64 << 20))
        assert ghostctl("resize", "--cycle", ghost, "64M").returncode == 0
        assert is_intact(hog)
    assert ghostctl("off", ghost).returncode == 0


def test_memory_that_runs_out(full: tuple[Path, subprocess.Popen[bytes]], memory_cgroup: Path) -> None:
    """The kernel kills the process inside swapoff(2), which is not the program itself."""
    require("strace")
    path, hog = full
    limit_of(memory_cgroup).write_text(str(64 << 20))
    for how, why in (
        ("signal=SIGKILL", "killed while pages came back, as the kernel does when memory runs out"),
        ("error=ENOMEM", "swapoff failed: Cannot allocate memory"),
    ):
        prefix = ("strace", "-fqq", "-o/dev/null", f"-einject=swapoff:{how}")
        done = ghostctl("off", path, prefix=prefix)
        assert done.returncode == 7
        said, hint = done.stderr.splitlines()
        assert said.startswith(f"ghostctl: {path}: {why}: still active")
        assert hint == "ghostctl: hint: end what uses memory or activate another area, then try again"
        assert is_active(path)
    assert is_intact(hog)


@contextmanager
def in_swapoff(path: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """An off of this area, and its child, which is stopped on its way into swapoff(2)."""
    require("strace")
    run("swapon", path)
    prefix = ("strace", "-Dfqq", "-o/dev/null", "-einject=swapoff:error=EINTR:signal=SIGSTOP:when=1")
    with subprocess.Popen(
        [*prefix, GHOSTCTL, "off", path], stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        stopped: list[psutil.Process] = []
        while not stopped:
            assert process.poll() is None
            time.sleep(0.02)
            stopped = [
                child
                for child in psutil.Process(process.pid).children()
                if child.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
            ]
        yield process, stopped[0]


@pytest.mark.parametrize("way", ["^C", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_what_ends_it_ends_its_child(swap_dir: Path, way: str) -> None:
    """^C reaches both."""
    path = swap_file(swap_dir / "swap")
    number = signal.SIGINT if way == "^C" else signal.Signals[way]
    with in_swapoff(path) as (process, child):
        if way == "^C":
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert process.wait() == -number
        assert process.stderr is not None
        # which the child would have, too
        said = process.stderr.read()
    assert said == ("" if way == "SIGKILL" else f"ghostctl: {path}: interrupted, still active\n")
    # what is left of an orphan is for the first process to fetch
    assert way == "SIGKILL" or not child.is_running()
    assert is_active(path)
    run("swapoff", path)


def test_stopped_and_continued(swap_dir: Path) -> None:
    """As by ^Z and fg: it goes on, and ends as if nothing had been."""
    path = swap_file(swap_dir / "swap")
    with in_swapoff(path) as (process, _):
        os.killpg(process.pid, signal.SIGTSTP)
        while process.poll() is None:
            time.sleep(0.05)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, "")
    assert not is_active(path)


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
