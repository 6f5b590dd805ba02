# SPDX-License-Identifier: GPL-2.0-or-later
"""usage, with processes whose pages are in an area."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from machine import AS_NOBODY, GHOSTCTL, ghostctl, hog_in, require, swap_file, with_swaps

T = TypeVar("T")

MIB = 1 << 20
SIZE = 8 * MIB
WAIT = 10

PAGED_OUT = """
import mmap, os, random, sys
kind, forks = getattr(mmap, sys.argv[1]), int(sys.argv[2])
memory = mmap.mmap(-1, 8 << 20, flags=kind | mmap.MAP_ANONYMOUS)
memory[:] = random.Random(1).randbytes(len(memory))
# MADV_PAGEOUT of linux/mman.h
memory.madvise(21)
pids = []
for _ in range(forks):
    pids.append(os.fork())
    if not pids[-1]:
        sys.stdin.read()
        os._exit(0)
print(*pids, flush=True)
sys.stdin.read()
for pid in pids:
    os.waitpid(pid, 0)
"""
"""Pages out 8 MiB of noise, and forks so often; ends with its input."""


@contextmanager
def paged_out(kind: str = "MAP_PRIVATE", forks: int = 0, *more: str) -> Iterator[list[int]]:
    """Such a program and its forks: their processes."""
    command = [sys.executable, "-c", PAGED_OUT, kind, str(forks), *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield [process.pid, *map(int, process.stdout.readline().split())]


@pytest.fixture
def area(swap_dir: Path) -> Path:
    """An area that is used before all others."""
    path = swap_file(swap_dir / "swap", 32 * MIB)
    done = ghostctl("on", "-p", "32767", path)
    assert done.returncode == 0, done.stderr
    return path


def used() -> int:
    """What all areas have in use, in bytes."""
    with open("/proc/swaps", encoding="utf-8", errors="surrogateescape") as file:
        return sum(int(line.split()[3]) << 10 for line in list(file)[1:])


def vm_swap(pid: int) -> int:
    """What a process has in swap areas, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmSwap:"))


def steady(numbers: Callable[[], T], look: Callable[[], Any]) -> tuple[T, Any]:
    """What is seen while the numbers do not change, and those; of a machine that does other things, too."""
    deadline = time.monotonic() + WAIT
    while True:
        before, seen = numbers(), look()
        if before == numbers():
            return before, seen
        assert time.monotonic() < deadline, (before, numbers())


def read(*options: str) -> Any:
    done = ghostctl("usage", "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.usefixtures("area")
def test_a_process_and_the_sum() -> None:
    with paged_out() as (pid,):
        (in_use, swap), document = steady(lambda: (used(), vm_swap(pid)), read)
        assert swap >= SIZE
        (row,) = (row for row in document["processes"] if row["pid"] == pid)
        assert row["swap"] == swap
        assert row["user"] == "root"
        assert row["command"].startswith(f"{sys.executable} -c \nimport mmap")
        total = document["total"]
        assert total["used"] == in_use
        assert total["counted"] == sum(row["swap"] for row in document["processes"])
        assert total["counted"] + total["other"] - total["excess"] == in_use
        assert total["complete"] is True


def in_bytes(line: str) -> int:
    """The number in a line of a sum, of which other columns are empty."""
    return int(line.split(maxsplit=1)[0])


@pytest.mark.usefixtures("area")
def test_the_lines_add_up() -> None:
    with paged_out(), paged_out("MAP_SHARED"):
        look = ("usage", "--bytes", "-n", "1", "-o", "SWAP,COMMAND")
        in_use, done = steady(used, lambda: ghostctl(*look))
        lines = done.stdout.splitlines()
        assert lines[0].split() == ["SWAP", "COMMAND"]
        end = next(number for number, line in enumerate(lines) if line.endswith(" TOTAL"))
        assert in_bytes(lines[end]) == in_use
        assert sum(map(in_bytes, lines[1:end])) == in_use


@pytest.mark.usefixtures("area")
def test_shared_memory_belongs_to_no_process() -> None:
    before = read()["total"]["other"]
    with paged_out("MAP_SHARED") as (pid,):
        document = read()
        row = next((row for row in document["processes"] if row["pid"] == pid), None)
        assert row is None or row["swap"] < MIB
        assert document["total"]["other"] >= before + SIZE - MIB
        shown = ghostctl("usage")
        assert " (other)\n" in shown.stdout
        assert "shared memory and tmpfs" in shown.stdout


@pytest.mark.usefixtures("area")
def test_pages_of_forks_are_counted_in_each() -> None:
    with paged_out("MAP_PRIVATE", 2) as pids:
        document = read()
        rows = {row["pid"]: row["swap"] for row in document["processes"]}
        assert all(rows[pid] >= SIZE for pid in pids)
        total = document["total"]
        # two of the three, but for what others have that no process has
        assert total["counted"] - total["used"] > SIZE
        assert (total["excess"], total["other"]) == (total["counted"] - total["used"], 0)
        shown = ghostctl("usage")
        assert "(other)" not in shown.stdout
        assert "counted in each of them" in shown.stdout


@pytest.mark.usefixtures("area")
def test_control_characters_of_a_command() -> None:
    with paged_out("MAP_PRIVATE", 0, "\x1b]0;title\x07", "a\\x1bb") as (pid,):
        shown = ghostctl("usage").stdout
        assert "\x1b" not in shown
        (line,) = (line for line in shown.splitlines() if line.split()[0] == str(pid))
        assert line.endswith(" \\x1b]0;title\\x07 a\\x5cx1bb")
        raw = ghostctl("usage", "--raw", "--noheadings", "-o", "command,pid").stdout
        assert f"\\x20a\\x5cx1bb {pid}\n" in raw
        assert raw.isascii()


def test_a_cgroup(area: Path, memory_cgroup: Path) -> None:
    assert area
    with hog_in(memory_cgroup) as hog:
        name = memory_cgroup.name
        deadline = time.monotonic() + WAIT
        while True:
            document = read("--cgroups")
            found = [row for row in document["cgroups"] if row["name"].split("/")[-1] == name]
            # version 1 adds up its statistics every two seconds
            if found and abs(found[0]["swap"] - vm_swap(hog.pid)) < MIB:
                break
            assert time.monotonic() < deadline, (found, vm_swap(hog.pid))
        assert found[0]["swap"] > 10 * MIB
        total = document["total"]
        assert total["counted"] + total["other"] - total["excess"] == total["used"]
        assert f"  {name} " in ghostctl("usage", "--cgroups").stdout


@pytest.mark.usefixtures("area")
def test_without_root() -> None:
    require("setpriv")
    with paged_out() as (pid,):
        done = ghostctl("usage", prefix=AS_NOBODY)
        assert (done.returncode, done.stderr) == (0, "")
        assert any(line.split()[0] == str(pid) for line in done.stdout.splitlines())
        assert ghostctl("usage", "--cgroups", prefix=AS_NOBODY).returncode == 0


@pytest.mark.parametrize(
    ("hidepid", "says"), [("1", " cannot be read"), ("2", "only processes of UID 65534 can be seen")]
)
@pytest.mark.usefixtures("area")
def test_hidepid(hidepid: str, says: str) -> None:
    require("setpriv", "mount")
    script = f'mount -t proc -o hidepid={hidepid} proc /proc && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-ec", script, "sh", *AS_NOBODY)
    with paged_out() as (pid,):
        done = ghostctl("usage", prefix=prefix)
        assert done.returncode == 0
        assert says in done.stderr
        assert str(pid) not in done.stdout
        assert "  processes that cannot be seen\n" in done.stdout
        document = json.loads(ghostctl("usage", "--json", prefix=prefix).stdout)
        assert (document["total"]["complete"], document["processes"]) == (False, [])


@pytest.mark.usefixtures("area")
def test_in_a_container() -> None:
    """Whose /proc has its own processes only; the areas are those of the machine."""
    require("mount")
    prefix = ("unshare", "--pid", "--fork", "--mount-proc")
    with paged_out():
        document = json.loads(ghostctl("usage", "--json", prefix=prefix).stdout)
        assert document["total"]["other"] >= SIZE
        assert "  processes outside of this container\n" in ghostctl("usage", prefix=prefix).stdout
        assert "outside of this container" not in ghostctl("usage").stdout


def test_no_area_is_no_error(tmp_path: Path) -> None:
    require("mount")
    done = ghostctl("usage", prefix=with_swaps(tmp_path / "swaps"))
    assert (done.returncode, done.stderr) == (0, "")
    if not used():
        assert done.stdout.splitlines() == [
            "PID USER SWAP RESIDENT UNIT COMMAND",
            "           0B               TOTAL",
            "no active swap area",
        ]


@pytest.mark.usefixtures("area")
def test_watch_without_a_terminal() -> None:
    with paged_out() as (pid,):
        command = [str(GHOSTCTL), "usage", "--watch", "0.2", "-n", "3"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout
            blocks = 0
            for line in process.stdout:
                blocks += line.split()[:1] == [str(pid)]
                if blocks == 2:
                    break
            process.terminate()


def on_terminal(columns: int, rows: int, *options: str, until: bytes) -> list[str]:
    """The lines on a terminal of this size, when it has shown these bytes."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (rows, columns))
    with subprocess.Popen([GHOSTCTL, "usage", *options], stdin=slave, stdout=slave) as process:
        os.close(slave)
        shown = b""
        while until not in shown:
            shown += os.read(master, 1 << 16)
        process.terminate()
    os.close(master)
    # of a live view, what follows the sequence that goes to its first line
    text = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", shown.decode().rpartition("\x1b[H")[2])
    return text.replace("\r", "").splitlines()


@pytest.mark.usefixtures("area")
def test_as_wide_as_the_terminal() -> None:
    with paged_out(), paged_out("MAP_SHARED"):
        lines = on_terminal(40, 24, until=b"that ended meanwhile")
        assert max(map(len, lines)) == 40
        assert "(other), which no process has:" in lines


@pytest.mark.parametrize(("rows", "is_explained"), [(8, False), (30, True)])
@pytest.mark.usefixtures("area")
def test_a_live_view_shows_the_sums(rows: int, is_explained: bool) -> None:
    with paged_out("MAP_PRIVATE", 9), paged_out("MAP_SHARED"):
        lines = on_terminal(80, rows, "--watch", until=b"\x1b[J")
        assert len(lines) <= rows
        assert any(line.endswith(" TOTAL") for line in lines)
        assert sum("python" in line for line in lines) == (10 if is_explained else rows - 3)
        assert lines[-1].endswith("counted in each of them") == is_explained
