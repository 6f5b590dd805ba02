# SPDX-License-Identifier: GPL-2.0-or-later
"""What `ghostctl usage` costs with many processes, beside `ps`: none has pages in an area, and all have.

As root; takes 64 MiB of disk for an area, and memory for 10,000 forks, about 3 GiB.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import GHOSTCTL, directory, table
from measure import machine, side_by_side, write_section

NUMBER = 10_000
PS = ["ps", "-eo", "pid,rss,comm"]
PSUTIL = """
import psutil
for process in psutil.process_iter():
    try:
        process.memory_full_info().swap
    except psutil.Error:
        pass
"""

SLEEPERS = """
import mmap, os, signal, sys
own = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
pids = []
for _ in range(int(sys.argv[1])):
    pids.append(os.fork())
    if not pids[-1]:
        own[:4] = b"page"
        if sys.argv[2] == "out":
            own.madvise(21)  # MADV_PAGEOUT of linux/mman.h
        signal.pause()
print("ready", flush=True)
sys.stdin.read()
for pid in pids:
    os.kill(pid, signal.SIGKILL)
for pid in pids:
    os.waitpid(pid, 0)
"""


@contextmanager
def sleepers(program: Path, where: str) -> Iterator[None]:
    """So many processes with one page of their own, which is ``in`` memory or ``out`` in an area."""
    # a command line as others have it
    program.write_text(SLEEPERS)
    command = [sys.executable, "-I", "-S", str(program), str(NUMBER), where]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout
        try:
            if process.stdout.readline() != b"ready\n":
                sys.exit("the processes cannot be started")
            yield
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


@contextmanager
def area(path: Path) -> Iterator[None]:
    """An area of 64 MiB."""
    subprocess.run(["fallocate", "-l", "64M", path], check=True)
    path.chmod(0o600)
    subprocess.run(["mkswap", "-q", path], check=True)
    subprocess.run(["swapon", "-p", "32767", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["swapoff", path], check=True)


def measured(rounds: int = 7) -> str:
    figures = side_by_side(
        {
            " ".join(PS): PS,
            "ghostctl usage": [GHOSTCTL, "usage"],
            "ghostctl usage -n 20": [GHOSTCTL, "usage", "-n", "20"],
            "ghostctl usage --json": [GHOSTCTL, "usage", "--json"],
            "psutil, memory_full_info()": [sys.executable, "-c", PSUTIL],
        },
        rounds,
    )
    return table(figures, " ".join(PS))


def main() -> None:
    parts = [machine()]
    with directory("/var/tmp") as path:  # noqa: S108
        with sleepers(path / "sleepers", "in"):
            parts += [f"{NUMBER} processes, none with pages in an area:", measured()]
        with area(path / "swap"), sleepers(path / "sleepers", "out"):
            parts += [f"{NUMBER} processes, each with a page in an area:", measured()]
    write_section("Who has pages in swap areas", "\n\n".join(parts))


if __name__ == "__main__":
    main()
