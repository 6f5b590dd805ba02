# SPDX-License-Identifier: GPL-2.0-or-later
"""Do the tests notice a broken patch? Builds kernels of each series with one thing undone, each, and says
which tests did.

faults.py [NAME ...]        exit status 1: a fault that no test notices
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from vm import lab


class Fault(NamedTuple):
    """Text in ghost.patch, what stands there instead (of as many lines), and the tests that should fail."""

    old: str
    new: str
    tests: str


FAULTS = {
    "stock": Fault("i_size_read(inode) == PAGE_SIZE", "0", "kernel"),
    "word": Fault('"ghost\\t"', '"file\\t"', "kernel"),
    "extents": Fault("+	if (sis->flags & SWP_GHOST) {", "+	if (0) {", "kernel"),
    "counter": Fault("+	if (!(p->flags & SWP_GHOST))", "+	if (1)", "kernel"),
    "hibernation": Fault("sis->bdev && device ==", "device ==", "kernel"),
    "shrinker": Fault("+	if (!atomic_read(&nr_real_swapfiles))", "+	if (0)", "pressure"),
    "worker": Fault("reached_full && atomic_read(&nr_real_swapfiles)", "reached_full", "pressure"),
}
OF_SERIES = {
    "6.12": {
        "rotation": Fault("!(p->flags & SWP_SOLIDSTATE)", "!p->bdev || !bdev_nonrot(p->bdev)", "kernel"),
        "write": Fault("data_race(swp_swap_info(folio->swap)->flags & SWP_GHOST) ||", "0 ||", "pressure"),
        "writeback": Fault("data_race(swp_swap_info(swpentry)->flags & SWP_GHOST)", "0", "pressure"),
    },
    "7.2": {
        "rotation": Fault(
            "+	if (!(si->flags & SWP_SOLIDSTATE)) {",
            "+	if (!si->bdev || bdev_rot(si->bdev)) {",
            "kernel",
        ),
        "write": Fault(
            "data_race(__swap_entry_to_info(folio->swap)->flags & SWP_GHOST) ||", "0 ||", "pressure"
        ),
        "writeback": Fault("+	if (data_race(si->flags & SWP_GHOST)) {", "+	if (0) {", "pressure"),
    },
}
"""Where the same thing is written in another way."""


class Failures:
    """Collects the names of failed tests, as a plugin of pytest."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.names.append(report.nodeid.rpartition("::")[2])


def try_one(name: str, series: str) -> int:
    fault = (FAULTS | OF_SERIES[series])[name]
    text = (lab.HERE / "kernel" / series / "ghost.patch").read_text()
    if text.count(fault.old) != 1:
        sys.exit(f"{name}: {text.count(fault.old)} such places in ghost.patch of {series}")
    broken = lab.CACHE / f"fault-{name}-{series}.patch"
    broken.write_text(text.replace(fault.old, fault.new))
    lab.FLAVOURS["ghost"] = (str(broken),)
    failures = Failures()
    with contextlib.redirect_stdout(io.StringIO()):
        lab.build([f"ghost-{series}"])
        pytest.main(["-q", "-k", f"ghost-{series}]", f"{lab.HERE}/guest/test_{fault.tests}.py"], [failures])
    print(f"{name} on {series}: {', '.join(failures.names) or 'NOT NOTICED'}", flush=True)
    return 0 if failures.names else 1


def main() -> int:
    if sys.argv[1:2] == ["--one"]:
        return try_one(*sys.argv[2:])
    names = sys.argv[1:] or [*FAULTS, *OF_SERIES["7.2"]]
    # each in a process of its own: what pytest has run once it keeps
    words = [["--one", name, series] for series in lab.SERIES for name in names]
    return max(subprocess.run([sys.executable, __file__, *one], check=False).returncode for one in words)


if __name__ == "__main__":
    sys.exit(main())
