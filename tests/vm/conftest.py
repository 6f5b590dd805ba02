# SPDX-License-Identifier: GPL-2.0-or-later
"""On the host, each function of guest/test_*.py is one test per kernel; a guest runs a whole file at once.

A file says where it runs in a literal, GUEST = {"kernels": ["ghost-7.2", "stock-7.2"], "timeout": 600}; what
is there besides the kernels goes to lab.boot(). Functions marked @needs_ghosts are left out on stock kernels,
those marked @needs_stock on the others, those marked @newest on Linux 6.12. One test more per kernel looks at
the log of that kernel.

With pytest-xdist, guests run side by side, one for each of its processes, which get whole files (loadfile).
"""

from __future__ import annotations

import ast
import os
import shlex
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from machine import require, required
from vm import arm64, lab

REQUIRED = "vm" in required()
INSIDE = "GHOSTCTL_GUEST" in os.environ


class Case(NamedTuple):
    function: str
    name: str
    problem: str | None
    skipped: str | None


class GuestRun(NamedTuple):
    booted: lab.Boot
    cases: list[Case]


class GuestError(Exception):
    """What is wrong is in the text; no traceback of the host adds to it."""


def _text(case: ET.Element, *tags: str) -> str | None:
    for tag in tags:
        found = case.find(tag)
        if found is not None:
            return found.text or found.get("message", tag)
    return None


def read_junit(path: Path) -> Iterator[Case]:
    if not path.exists():
        return
    for case in ET.parse(path).iter("testcase"):
        name = case.get("name", "")
        yield Case(name.partition("[")[0], name, _text(case, "failure", "error"), _text(case, "skipped"))


def guest_literal(path: Path) -> dict[str, Any]:
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GUEST":
            found: dict[str, Any] = ast.literal_eval(node.value)
            return found
    raise pytest.UsageError(f"{path}: no GUEST = {{...}}")


LOST_ROOT = " p9_tag_alloc+"
"""The client of 9p found no memory, says the kernel's log: the root is lost, each open(2) is EINVAL."""

ATTEMPTS = 3
"""For a guest that has lost its root, which has to do with the lab and not with what is tested."""


@cache
def run_guest(path: Path, kernel: str) -> GuestRun:
    guest = arm64.guest() if kernel == arm64.KERNEL else kernel
    python = sys.executable if isinstance(guest, str) else guest.python
    options = guest_literal(path)
    del options["kernels"]
    # the tests live when memory ends, the programs that use it up do not
    pytest_words = "-m pytest -q -rA --durations=30 -p no:cacheprovider --junitxml=/run/lab/junit.xml"
    source = shlex.quote(str(lab.CHECKOUT / "src"))
    environment = f"PYTHONPATH={source} PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 GHOSTCTL_GUEST={kernel}"
    command = f"choom -n -1000 -- {shlex.quote(python)} {pytest_words} {shlex.quote(str(path))}"
    for _ in range(ATTEMPTS):
        with tempfile.TemporaryDirectory(prefix="ghostctl-vm-") as share:
            booted = lab.boot(
                guest,
                f"cd {shlex.quote(str(lab.CHECKOUT))} && {environment} {command}",
                share=Path(share),
                **options,
            )
            run = GuestRun(booted, list(read_junit(Path(share) / "junit.xml")))
        if LOST_ROOT not in booted.console:
            break
    log = lab.CACHE / "log" / f"{path.stem}-{kernel}"
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"{booted.console}\n{booted.output}\n{booted.seconds:.1f} s\n")
    return run


class GuestItem(pytest.Item):
    def __init__(self, *, kernel: str, guest_function: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.kernel, self.guest_function = kernel, guest_function

    def runtest(self) -> None:
        _, series = lab.split(self.kernel)
        if series in lab.SERIES:
            require("vm", f"linux-{series}")
        self.judge(run_guest(self.path, self.kernel))

    def judge(self, run: GuestRun) -> None:
        cases = [case for case in run.cases if case.function == self.guest_function]
        problems = [f"{case.name}\n{case.problem}" for case in cases if case.problem is not None]
        if problems:
            raise GuestError("\n\n".join(problems))
        if not cases:
            why = "the time limit" if run.booted.timed_out else "the end of the guest"
            tail = "\n".join((run.booted.console + run.booted.output).splitlines()[-80:])
            raise GuestError(f"{why} came before a result\n{tail}")
        skipped = [f"{case.name}: {case.skipped}" for case in cases if case.skipped is not None]
        if skipped and REQUIRED:
            raise GuestError("\n".join(skipped))
        if len(skipped) == len(cases):
            pytest.skip(skipped[0])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, GuestError | lab.LabError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class KernelLog(GuestItem):
    """The kernel found nothing wrong with itself while the tests ran."""

    def judge(self, run: GuestRun) -> None:
        signs = ("[ cut here ]", "BUG:", "Oops", "Kernel panic", "blocked for more than")
        bad = [line for line in run.booted.console.splitlines() if any(sign in line for sign in signs)]
        if bad:
            raise GuestError("\n".join(bad))


class GuestFile(pytest.File):
    def collect(self) -> Iterator[GuestItem]:
        functions = {
            node.name: {ast.unparse(decorator) for decorator in node.decorator_list}
            for node in ast.parse(self.path.read_bytes()).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
        for kernel in guest_literal(self.path)["kernels"]:
            for name, decorators in functions.items():
                if ("needs_ghosts" if kernel.startswith("stock") else "needs_stock") in decorators:
                    continue
                if "newest" in decorators and kernel.endswith("-6.12"):
                    continue
                yield GuestItem.from_parent(
                    self, name=f"{name}[{kernel}]", kernel=kernel, guest_function=name
                )
            yield KernelLog.from_parent(self, name=f"kernel_log[{kernel}]", kernel=kernel, guest_function="")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> GuestFile | None:
    if not INSIDE and module_path.parent.name == "guest":
        return GuestFile.from_parent(parent, path=module_path)
    return None


if INSIDE:

    @pytest.fixture(autouse=True)
    def machine_as_booted() -> Iterator[None]:
        from vm import inside

        yield
        inside.clean()
