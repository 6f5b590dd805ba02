# SPDX-License-Identifier: GPL-2.0-or-later
"""Do the tests notice a broken patch? Builds kernels with one thing undone, each, and says which tests did.

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
    "rotation": Fault("!(p->flags & SWP_SOLIDSTATE)", "!p->bdev || !bdev_nonrot(p->bdev)", "kernel"),
    "counter": Fault("+	if (!(p->flags & SWP_GHOST))", "+	if (1)", "kernel"),
    "hibernation": Fault("sis->bdev && device ==", "device ==", "kernel"),
    "write": Fault("data_race(swp_swap_info(folio->swap)->flags & SWP_GHOST) ||", "0 ||", "pressure"),
    "writeback": Fault("data_race(swp_swap_info(swpentry)->flags & SWP_GHOST)", "0", "pressure"),
    "shrinker": Fault("+	if (!atomic_read(&nr_real_swapfiles))", "+	if (0)", "pressure"),
    "worker": Fault("reached_full && atomic_read(&nr_real_swapfiles)", "reached_full", "pressure"),
}


class Failures:
    """Collects the names of failed tests, as a plugin of pytest."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.names.append(report.nodeid.rpartition("::")[2])


def try_one(name: str) -> int:
    fault = FAULTS[name]
    text = (lab.HERE / "kernel" / "ghost.patch").read_text()
    if text.count(fault.old) != 1:
        sys.exit(f"{name}: {text.count(fault.old)} such places in ghost.patch")
    broken = lab.CACHE / f"fault-{name}.patch"
    broken.write_text(text.replace(fault.old, fault.new))
    lab.KERNELS["ghost"] = (str(broken),)
    failures = Failures()
    with contextlib.redirect_stdout(io.StringIO()):
        lab.build(["ghost"])
        pytest.main(["-q", "-k", "ghost]", f"{lab.HERE}/guest/test_{fault.tests}.py"], [failures])
    print(f"{name}: {', '.join(failures.names) or 'NOT NOTICED'}", flush=True)
    return 0 if failures.names else 1


def main() -> int:
    names = sys.argv[1:] or list(FAULTS)
    if len(names) == 1:
        return try_one(names[0])
    # each in a process of its own: what pytest has run once it keeps
    return max(subprocess.run([sys.executable, __file__, name], check=False).returncode for name in names)


if __name__ == "__main__":
    sys.exit(main())
