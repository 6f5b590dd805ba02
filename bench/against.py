# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command beside what it was in another revision: ``bench/against.py REVISION``, as root.

Both are started with the same Python and the same libraries, in turn. Prints the ratio of the medians; one
ghost of 16 MiB becomes active through zram where the kernel has it, and one swap file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from measure import Figures, make_swap_file, markdown, side_by_side, together

MAIN = "import sys; sys.path.insert(0, {!r}); from ghostctl.cli import main; sys.argv[0] = 'ghostctl'; main()"
ROUNDS = 15
HERE = Path(__file__).resolve().parents[1]


def sources(revision: str, directory: Path) -> Path:
    """src/ of a revision, compiled."""
    command = ["git", "-C", str(HERE), "archive", revision, "src"]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x", "-C", directory], input=archive, check=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", directory / "src"], check=True)
    return directory / "src"


def started(src: Path, lines: Sequence[Sequence[str]]) -> Callable[[], Figures]:
    """Command lines of the program in this tree, one after the other."""
    code = MAIN.format(str(src))
    return together(*([sys.executable, "-I", "-c", code, *line] for line in lines))


def commands(directory: Path) -> dict[str, list[list[str]]]:
    """What is timed, by its name in the table."""
    ghost, real, new, fstab = (str(directory / name) for name in ("ghost", "real", "new", "fstab"))
    make_swap_file(real)
    subprocess.run([sys.executable, "-m", "compileall", "-q", HERE / "src"], check=True)
    started(HERE / "src", [["-q", "mkghost", "-s", "16M", ghost]])()
    Path(fstab).write_text(f"{ghost} none swap nofail,pri=32767,x-ghost.size=16M 0 0\n")
    found = {
        "--version": [["--version"]],
        "status": [["status"]],
        "status --json": [["status", "--json"]],
        "inspect": [["inspect", ghost]],
        "verify": [["verify", ghost]],
        "mkghost -f": [["-q", "mkghost", "-f", "-s", "16M", new]],
        "mkghost --if-needed": [["-q", "mkghost", "--if-needed", "-s", "16M", ghost]],
        "label": [["label", ghost]],
        "label -L": [["label", "-L", "x", new]],
        "resize, and back": [["resize", new, "32M"], ["resize", new, "16M"]],
        "on + off, a swap file": [["on", real], ["off", real]],
        "fstab list": [["fstab", "list", "-T", fstab]],
        "plan": [["plan"]],
        "zswap": [["zswap"]],
    }
    if Path("/sys/class/zram-control").exists():
        found["on + off, a ghost on zram"] = [["on", "--backend", "zram", ghost], ["off", ghost]]
    return found


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: bench/against.py REVISION")
    with tempfile.TemporaryDirectory(prefix="ghostctl-bench.", dir="/var/tmp") as name:
        directory = Path(name)
        before = sources(sys.argv[1], directory)
        rows = []
        for title, lines in commands(directory).items():
            figures = side_by_side(
                {"before": started(before, lines), "now": started(HERE / "src", lines)}, ROUNDS
            )
            old, new = figures["before"], figures["now"]
            rows.append(
                (
                    title,
                    f"{old.seconds * 1000:.0f} ms",
                    f"{new.seconds * 1000:.0f} ms",
                    f"{new.seconds / old.seconds:.2f}",
                    f"{new.peak_kib / old.peak_kib:.2f}",
                )
            )
    print(markdown(("command", sys.argv[1], "now", "time", "memory"), rows))


if __name__ == "__main__":
    main()
