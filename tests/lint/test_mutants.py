# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/mutants.accepted lists faults that exist: a line that has changed loses its excuse."""

from __future__ import annotations

import mutate
import pytest
from machine import REPOSITORY
from mutants import accepted

ENTRIES = accepted(REPOSITORY / "tools" / "mutants.accepted")


@pytest.mark.parametrize("module", sorted({module for module, _, _ in ENTRIES}))
def test_accepted_faults_exist(module: str) -> None:
    faults = mutate.find(module, (REPOSITORY / "src/ghostctl" / f"{module}.py").read_text())
    exist = {(fault.module, fault.text, fault.kind) for fault in faults}
    assert {entry for entry in ENTRIES if entry[0] == module} <= exist
