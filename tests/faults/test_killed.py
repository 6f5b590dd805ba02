# SPDX-License-Identifier: GPL-2.0-or-later
"""mkghost, ended by a signal at any moment."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Filesystem
from machine import GHOSTCTL, ghostctl
from stepwise import forked

from ghostctl import atomic, header

PAGE = os.sysconf("SC_PAGE_SIZE")


def names(directory: Path) -> set[str]:
    """What is there, without what FUSE keeps of a removed file until it hears that it was closed."""
    return {name for name in os.listdir(directory) if not name.startswith(".fuse_hidden")}


MAKE = ("mkghost", "-f", "-s")
FILES = ("ghostctl/atomic.py",)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)
@pytest.mark.parametrize("replace", [False, True], ids=["new", "replace"])
@pytest.mark.parametrize("kind", ["ext4", "fuse2fs", "vfat"])
def test_death_at_every_line(
    filesystem: Filesystem, kind: str, replace: bool, number: signal.Signals
) -> None:
    """ext4 has O_TMPFILE, the others have not: there the unfinished file has a name."""
    directory = filesystem(kind) / "dir"
    directory.mkdir()
    path = directory / "ghost"
    states = set()
    for line in range(1, 500):
        path.unlink(missing_ok=True)
        if replace:
            path.write_text("old\n")
        done = forked(*MAKE, "1G", path, files=FILES, kill_at=line, number=number)
        data = path.read_bytes() if path.exists() else b""
        state = "new" if len(data) == PAGE else data.decode().strip()
        states.add(state)
        if state == "new":
            assert header.pack(header.unpack(data)) == data
            assert kind == "vfat" or stat.S_IMODE(path.stat().st_mode) == 0o600
        debris = names(directory) - {"ghost"}
        if done.status >= 0:
            assert (done.status, state, debris) == (0, "new", set())
            break
        assert done.status == -number
        # what a crash may leave has one name, and the next run clears it away
        assert debris <= {atomic.TEMPORARY}
        if debris:
            assert ghostctl(*MAKE, "2G", path).returncode == 0
            assert names(directory) == {"ghost"}
            assert header.unpack(path.read_bytes()).size == 2 << 30
    else:
        pytest.fail("never came to its end")
    assert line > 15
    assert states == {"old" if replace else "", "new"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_ends_it_as_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """While Python starts it has a handler of its own for SIGINT, which prints a traceback."""
    path = tmp_path / "ghost"
    ended = set()
    for wait in range(20):
        with subprocess.Popen(
            [GHOSTCTL, "mkghost", "-q", "-f", "-s", "1M", path], stderr=subprocess.PIPE
        ) as process:
            time.sleep(0.03 + wait * 0.004)
            process.send_signal(number)
            _, err = process.communicate(timeout=20)
        ended.add(process.returncode)
        if number == signal.SIGTERM:
            assert err == b""
    assert ended <= {0, -number, 1 if number == signal.SIGINT else 0}
