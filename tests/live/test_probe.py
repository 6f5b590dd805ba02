# SPDX-License-Identifier: GPL-2.0-or-later
"""The throw-away ghost of doctor --probe: it comes and goes, and nothing else does."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import oscalls
import pytest
from machine import is_active, require, run, swap_file, unwritten
from zramdevices import make_ghost

from ghostctl import errors, probe, swaps


@pytest.fixture(autouse=True)
def no_ghosts() -> None:
    require("swap", "stock-kernel")


def test_nothing_is_left(swap_dir: Path) -> None:
    assert probe.probe([str(swap_dir)]) is False
    assert list(swap_dir.iterdir()) == []


@pytest.mark.parametrize("times", [1, 9])
def test_nothing_is_left_when_the_directory_cannot_be_synced(
    swap_dir: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The file has its name by then."""

    def is_directory(fd: int) -> bool:
        return stat.S_ISDIR(os.fstat(fd).st_mode)

    oscalls.fail(monkeypatch, "fsync", errno.EIO, when=is_directory, times=times)
    with oscalls.raises(errno.EIO, swap_dir / probe.NAME):
        probe.probe([str(swap_dir)])
    assert list(swap_dir.iterdir()) == []


def test_what_a_killed_probe_left_is_removed(swap_dir: Path) -> None:
    make_ghost(swap_dir / probe.NAME)
    assert probe.probe([str(swap_dir)]) is False
    assert list(swap_dir.iterdir()) == []


def test_the_first_directory_that_can_swap(
    swap_dir: Path, tmpfs: Path, filesystem: Callable[..., Path]
) -> None:
    (swap_dir / "file").touch()
    read_only = filesystem("ext4")
    run("mount", "-o", "remount,ro", read_only)
    unusable = [str(swap_dir / "missing"), str(swap_dir / "file"), str(tmpfs), str(read_only)]
    for directory in (*unusable, str(swap_dir)):
        assert probe._can_swap(directory) is (directory == str(swap_dir)), directory
    # a name that is in the way is one of the directory that is chosen
    (swap_dir / probe.NAME).mkdir()
    with pytest.raises(errors.Error, match="is in the way, and was not made by ghostctl") as caught:
        probe.probe([*unusable, str(swap_dir), str(tmpfs)])
    assert caught.value.path == str(swap_dir / probe.NAME)
    with pytest.raises(errors.Error, match="no filesystem that can swap") as caught:
        probe.probe(unusable)
    assert caught.value.path == " ".join(unusable)


@pytest.mark.parametrize("kind", ["link", "link to nothing", "large", "owner", "directory", "fifo"])
def test_what_only_bears_the_name_stays(swap_dir: Path, kind: str) -> None:
    """Anybody may make it in a directory of his own; root's areas are not his."""
    path = swap_dir / probe.NAME
    area = swap_file(swap_dir / "area")
    run("swapon", area)
    if kind == "link":
        path.symlink_to(area)
    elif kind == "link to nothing":
        path.symlink_to("nonesuch")
    elif kind == "large":
        swap_file(path)
        run("swapon", path)
    elif kind == "owner":
        make_ghost(path)
        os.chown(path, 65534, 0)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    before = unwritten(path)
    with pytest.raises(errors.Error, match="is in the way, and was not made by ghostctl") as caught:
        probe.probe([str(swap_dir)])
    assert errors.exit_status(caught.value) == 1
    assert unwritten(path) == before
    assert is_active(area)
    assert is_active(path) is (kind == "large")


def test_without_a_list_nothing_is_tried(swap_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ghost(swap_dir / probe.NAME)
    monkeypatch.setattr(swaps.read, "__defaults__", (str(swap_dir / "swaps"),))
    with pytest.raises(errors.NoAreaList):
        probe.probe([str(swap_dir)])
    assert [path.name for path in swap_dir.iterdir()] == [probe.NAME]


def test_a_failure_is_told_by_its_errno(swap_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = swap_dir / probe.NAME
    for number in (errno.ENOSPC, errno.EIO):
        with monkeypatch.context() as patch:
            oscalls.fail(patch, "fsync", number)
            with oscalls.raises(number, path):
                probe.probe([str(swap_dir)])
    with monkeypatch.context() as patch:
        oscalls.fail(patch, "fsync", errno.EPERM)
        with pytest.raises(errors.Denied, match="Operation not permitted") as caught:
            probe.probe([str(swap_dir)])
        assert caught.value.path == str(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "setsid", lambda: os.kill(os.getpid(), 9))
        with pytest.raises(errors.Error, match="the process that tried a ghost was killed"):
            probe.probe([str(swap_dir)])
    with monkeypatch.context() as patch:
        # an error in the other process is one in this
        oscalls.fail(patch, "setsid", errno.EPERM)
        with oscalls.raises(errno.EIO, path):
            probe.probe([str(swap_dir)])


def test_signals_do_not_reach_it(swap_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that was sent to all processes of its group, when it has begun."""
    fsync = os.fsync
    before = os.getpgid(0)

    def and_signals(fd: int) -> None:
        fsync(fd)
        if os.getpgid(0) == before:
            os._exit(98)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(os, "fsync", and_signals)
    assert probe.probe([str(swap_dir)]) is False


def test_only_root(swap_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(errors.Denied, match="only root can swap a ghost on"):
        probe.probe([str(swap_dir)])
