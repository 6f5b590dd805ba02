#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What ghostctl-generator costs a boot, beside the bare interpreter and systemd's own fstab generator.

Needs root: the generators run in a root of their own, see tests/systemd-root.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import machine, markdown, write_section

REPOSITORY = Path(__file__).parent.parent
INTERPRETER = "/usr/bin/python3"
ROUNDS = 41
MOUNT = "LABEL=data{0} /srv/data{0} ext4 defaults,nofail 0 2\n"
GHOST = "/var/lib/ghost/swap{0} none swap defaults,nofail,pri=100,x-ghost.size=16G 0 0\n"


def fstabs() -> dict[str, str]:
    common = "".join(map(MOUNT.format, range(9)))
    return {
        "10 lines, 1 ghost": common + GHOST.format(0),
        "10 lines, no ghost": common + MOUNT.format(9),
        "1,000 lines, 1 ghost": "".join(map(MOUNT.format, range(999))) + GHOST.format(0),
        "10,000 lines, 1 ghost": "".join(map(MOUNT.format, range(9999))) + GHOST.format(0),
        "1,000 lines, 1,000 ghosts": "".join(map(GHOST.format, range(1000))),
    }


def seconds(command: list[str], fstab: str) -> float:
    directories = ["/normal", "/early", "/late"]
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory)
    arguments = [*command, *(directories if command[0] != INTERPRETER else [])]
    with open(os.devnull, "wb") as null:
        start = time.perf_counter()
        # systemd's generator fails for a mount of a device that is not there, and has then done its work
        subprocess.run(arguments, env={"SYSTEMD_FSTAB": fstab}, stdout=null, stderr=null, check=False)
        return time.perf_counter() - start


def measure() -> None:
    commands = {
        "python3 -I -c pass": [INTERPRETER, "-I", "-c", "pass"],
        "ghostctl-generator": ["/mnt/ghostctl-generator"],
        "systemd-fstab-generator": ["/usr/lib/systemd/system-generators/systemd-fstab-generator"],
    }
    rows = []
    for number, title in enumerate(fstabs()):
        fstab = f"/mnt/fstab{number}"
        rounds = ROUNDS if number < 2 else ROUNDS // 2
        # side by side, so that what else the machine does falls on all of them
        times = [[seconds(command, fstab) for command in commands.values()] for _ in range(rounds)]
        bare, ours, systemd = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
        figures = [f"{value:.1f}" for value in (bare, ours, systemd)]
        rows.append([title, *figures, f"{ours / bare:.2f}", f"{ours / systemd:.2f}"])
    headings = ["fstab, median ms", *(f"`{name}`" for name in commands), "to bare", "to systemd"]
    print(markdown(headings, rows))


def main() -> None:
    if sys.argv[1:] == ["measure"]:
        measure()
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "root").mkdir()
        package = directory / "ghostctl"
        shutil.copytree(REPOSITORY / "src/ghostctl", package)
        subprocess.run([INTERPRETER, "-m", "compileall", "-q", package], check=True)
        for program in ("generator.py", "measure.py"):
            shutil.copy(Path(__file__).with_name(program), directory)
        (directory / "fstab").touch()
        for number, text in enumerate(fstabs().values()):
            (directory / f"fstab{number}").write_text(text)
        launcher = (package / "ghostctl-generator.in").read_text()
        for key, value in {
            "PYTHON": INTERPRETER,
            "LIBDIR": "/mnt",
            "GHOSTCTL": "/usr/bin/ghostctl",
        }.items():
            launcher = launcher.replace(f"@{key}@", value)
        (directory / "ghostctl-generator").write_text(launcher)
        (directory / "ghostctl-generator").chmod(0o755)
        namespace: list[str | Path] = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            REPOSITORY / "tests/systemd-root",
        ]
        measuring = f"{INTERPRETER} /mnt/generator.py measure"
        table = subprocess.check_output([*namespace, directory / "root", directory, measuring], text=True)
    write_section("Generator", f"{machine()}\n\n{table}")


if __name__ == "__main__":
    main()
