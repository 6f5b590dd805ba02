# SPDX-License-Identifier: GPL-2.0-or-later
"""Of several areas, the first that fails decides the exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import ghostctl, require, with_swaps

NOT_FOUND, FAILED = ("/ghostctl-none", 3), (f"/{'x' * 300}", 1)


@pytest.mark.parametrize("command", ["inspect", "verify", "on"])
@pytest.mark.parametrize(("first", "second"), [(NOT_FOUND, FAILED), (FAILED, NOT_FOUND)])
def test_of_files(command: str, first: tuple[str, int], second: tuple[str, int]) -> None:
    assert ghostctl(command, first[0], second[0]).returncode == first[1]


@pytest.mark.parametrize("command", ["status", "off"])
def test_of_active_areas(command: str, tmp_path: Path) -> None:
    require("mount")
    lines = []
    for path in (tmp_path / "one", tmp_path / "two"):
        assert ghostctl("mkghost", "-s", "1M", "-L", "both", path).returncode == 0
        lines.append(f"{path} ghost 1020 0 -2")
    prefix = with_swaps(tmp_path / "swaps", *lines)
    found = ghostctl(command, "LABEL=both", "/ghostctl-none", prefix=prefix)
    assert found.returncode == 1, found.stderr
    assert f"{tmp_path}/one and {tmp_path}/two have it" in found.stderr
    assert ghostctl(command, "/ghostctl-none", "LABEL=both", prefix=prefix).returncode == 3
