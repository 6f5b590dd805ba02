# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands timed side by side, in turn, so that a drift of the machine meets all of them alike."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

BENCHMARKS = Path(__file__).parents[1] / "docs" / "BENCHMARKS.md"


class Figures(NamedTuple):
    """What one command cost: medians over the rounds."""

    seconds: float
    peak_kib: int


def run(argv: Sequence[str]) -> Figures:
    """Runs a command once; raises `SystemExit` when it fails, since its time would mean nothing."""
    start = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv}: exit status {process.returncode}: {message.decode(errors='replace')}")
    return Figures(elapsed, usage.ru_maxrss)


def together(*commands: Sequence[str]) -> Callable[[], Figures]:
    """Commands that only make sense one after the other, such as on and off, counted as one."""

    def call() -> Figures:
        each = [run(command) for command in commands]
        return Figures(sum(one.seconds for one in each), max(one.peak_kib for one in each))

    return call


def make_swap_file(path: str) -> None:
    """An ordinary swap file of 16 MiB."""
    subprocess.run(["fallocate", "-l", "16M", path], check=True)
    subprocess.run(["mkswap", "-q", path], check=True)
    os.chmod(path, 0o600)


def side_by_side(
    commands: Mapping[str, Sequence[str] | Callable[[], Figures]], rounds: int = 15
) -> dict[str, Figures]:
    """Medians of each command, run in turn for `rounds` rounds after one that does not count."""
    seen: dict[str, list[Figures]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            figures = command() if callable(command) else run(command)
            if number:
                seen[name].append(figures)
    return {
        name: Figures(
            statistics.median(figure.seconds for figure in figures),
            int(statistics.median(figure.peak_kib for figure in figures)),
        )
        for name, figures in seen.items()
    }


def markdown(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine() -> str:
    """One line on the machine that the figures are from."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{os.cpu_count()} x {cpu}, {ram:.0f} GiB, Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )


def write_section(title: str, text: str) -> None:
    """Puts `text` below the heading `title` in docs/BENCHMARKS.md, in place of what stood there."""
    old = BENCHMARKS.read_text() if BENCHMARKS.exists() else "# Benchmarks\n"
    heading = f"\n## {title}\n"
    before, found, after = old.partition(heading)
    rest = after[after.find("\n## ") :] if found and "\n## " in after else ""
    BENCHMARKS.write_text(f"{before.rstrip()}\n{heading}\n{text.strip()}\n{rest}")
    print(text)
