# SPDX-License-Identifier: GPL-2.0-or-later
"""What ghostctl's commands cost, beside the bare interpreter and the tools of util-linux."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from measure import Figures, machine, make_swap_file, markdown, side_by_side, together, write_section

GHOSTCTL = str(Path(sys.executable).with_name("ghostctl"))
SIZES = (("1 MiB", 1 << 20), ("1 GiB", 1 << 30), ("1 TiB", 1 << 40), ("16 TiB - 4 KiB", (1 << 44) - 4096))
FITS = 1 << 30
HEADERS = 10_000


@contextmanager
def directory(parent: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ghostctl-bench.", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def table(figures: dict[str, Figures], base: str) -> str:
    return markdown(
        ("command", "median ms", f"ratio to {base}", "peak MiB"),
        [
            (
                name,
                f"{1000 * figure.seconds:.1f}",
                f"{figure.seconds / figures[base].seconds:.2f}",
                f"{figure.peak_kib / 1024:.1f}",
            )
            for name, figure in figures.items()
        ],
    )


def start_up(path: Path, memory: Path) -> str:
    python = sys.executable
    swap, quick, real = str(path / "ghost"), str(memory / "ghost"), str(path / "real")
    subprocess.run([GHOSTCTL, "-q", "mkghost", "-s", "64M", swap], check=True)
    subprocess.run([GHOSTCTL, "-q", "mkghost", "-s", "64M", quick], check=True)
    make_swap_file(real)
    figures = side_by_side(
        {
            "python3 -I -c pass": [python, "-I", "-c", "pass"],
            "import click": [python, "-I", "-c", "import click"],
            "import click, ctypes": [python, "-I", "-c", "import click, ctypes"],
            "import click, construct": [python, "-I", "-c", "import click, construct"],
            "import click, construct, ctypes": [python, "-I", "-c", "import click, construct, ctypes"],
            "ghostctl status": [GHOSTCTL, "status"],
            "swapon --show": ["swapon", "--show"],
            "ghostctl mkghost": [GHOSTCTL, "mkghost", "-f", "-s", "64M", swap],
            "ghostctl mkghost, no disk": [GHOSTCTL, "-q", "mkghost", "-f", "-s", "64M", quick],
            "mkswap": ["mkswap", real],
            "ghostctl inspect": [GHOSTCTL, "inspect", swap],
            "blkid -p": ["blkid", "-p", real],
            "ghostctl doctor --require zram": [GHOSTCTL, "doctor", "--require", "zram"],
            "ghostctl plan --ratio 3": [GHOSTCTL, "plan", "--ratio", "3"],
            "ghostctl fstab list": [GHOSTCTL, "fstab", "list"],
            "ghostctl fstab check": [GHOSTCTL, "fstab", "check"],
            "ghostctl on + off, 16 MiB file": together([GHOSTCTL, "on", real], [GHOSTCTL, "off", real]),
            "swapon + swapoff, 16 MiB file": together(["swapon", real], ["swapoff", real]),
        },
        rounds=21,
    )
    seconds = {name: figure.seconds for name, figure in figures.items()}
    # what the disk and the kernel take is the same for every program
    calls = seconds["swapon + swapoff, 16 MiB file"]
    imports = seconds["import click, construct, ctypes"] + seconds["import click, ctypes"]
    beside = {
        "ghostctl status": ("click", seconds["import click"]),
        "ghostctl mkghost, no disk": ("click, construct", seconds["import click, construct"]),
        "ghostctl inspect": ("click, construct", seconds["import click, construct"]),
        "ghostctl on + off, 16 MiB file": (
            "click, construct, ctypes; click, ctypes; swapon + swapoff",
            imports + calls,
        ),
        "ghostctl doctor --require zram": ("ghostctl status", seconds["ghostctl status"]),
        "ghostctl plan --ratio 3": ("click", seconds["import click"]),
        "ghostctl fstab list": ("click", seconds["import click"]),
        "ghostctl fstab check": ("click", seconds["import click"]),
    }
    targets = {"ghostctl doctor --require zram": "1.00"}
    ratios = markdown(
        ("command", "beside the imports it uses", "ratio", "target"),
        [
            (name, what, f"{seconds[name] / base:.2f}", targets.get(name, "1.25"))
            for name, (what, base) in beside.items()
        ],
    )
    return f"{table(figures, 'python3 -I -c pass')}\n\n{ratios}"


def sizes(path: Path) -> str:
    ghost, real = str(path / "sized"), str(path / "sized-real")
    commands: dict[str, Sequence[str] | Callable[[], Figures]] = {}
    for name, size in SIZES:
        commands[f"mkghost {name}"] = [GHOSTCTL, "-q", "mkghost", "-f", "-s", str(size), ghost]
        if size <= FITS:
            commands[f"fallocate + mkswap {name}"] = together(
                ["fallocate", "-l", str(size), f"{real}.{size}"], ["mkswap", "-f", f"{real}.{size}"]
            )
    figures = side_by_side(commands, rounds=9)
    blocks = {
        f"fallocate + mkswap {name}": os.stat(f"{real}.{size}").st_blocks // 2
        for name, size in SIZES
        if size <= FITS
    }
    own = os.stat(ghost).st_blocks // 2
    base = figures[f"mkghost {SIZES[0][0]}"].seconds
    return markdown(
        ("command", "median ms", f"ratio to mkghost {SIZES[0][0]}", "peak MiB", "disk KiB"),
        [
            (
                name,
                f"{1000 * figure.seconds:.1f}",
                f"{figure.seconds / base:.2f}",
                f"{figure.peak_kib / 1024:.1f}",
                blocks.get(name, own),
            )
            for name, figure in figures.items()
        ],
    )


def many(path: Path) -> str:
    files = [str(path / f"h{number}") for number in range(HEADERS)]
    subprocess.run([GHOSTCTL, "-q", "mkghost", "-s", "64M", files[0]], check=True)
    page = Path(files[0]).read_bytes()
    for name in files:
        # libblkid looks only at areas of 40 KiB and more
        with open(name, "wb") as file:
            file.write(page)
            file.truncate(40960)
    figures = side_by_side(
        {
            f"file, {HEADERS} headers": ["file", "-b", *files],
            f"blkid -p, {HEADERS} headers": ["blkid", "-p", *files],
            f"ghostctl inspect, {HEADERS} headers": [GHOSTCTL, "inspect", *files],
        },
        rounds=3,
    )
    return table(figures, f"file, {HEADERS} headers")


def main() -> None:
    with directory("/var/tmp") as path, directory("/dev/shm") as memory:  # noqa: S108
        parts = [machine(), start_up(path, memory), sizes(path), many(path)]
    write_section("Commands", "\n\n".join(parts))


if __name__ == "__main__":
    main()
