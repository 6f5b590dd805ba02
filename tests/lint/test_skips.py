# SPDX-License-Identifier: GPL-2.0-or-later
"""A test is skipped by `require` of machine.py alone, which GHOSTCTL_REQUIRE can make a failure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from machine import REPOSITORY

SKIPS = re.compile(r"pytest\.skip|skipif|mark\.skip|importorskip|xfail|SkipTest|skipTest")

ELSEWHERE = {
    "tests/lint/test_skips.py",
    "tests/machine.py",
    # repeats what the tests in a guest have said, and which tests are for which kernel
    "tests/vm/conftest.py",
    "tests/vm/inside.py",
}
"""What may skip otherwise."""


def test_only_require_skips() -> None:
    files = {str(path.relative_to(REPOSITORY)): path for path in (REPOSITORY / "tests").rglob("*.py")}
    assert files.keys() > ELSEWHERE
    assert {name for name, path in files.items() if SKIPS.search(path.read_text())} - ELSEWHERE == set()


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_those_that_may_do(name: str) -> None:
    assert SKIPS.search(Path(REPOSITORY / name).read_text())
