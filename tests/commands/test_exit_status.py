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


@pytest.mark.parametrize(
    ("types", "names"),
    [
        ("ghost", ["/a"]),
        ("quantum", ["/new"]),
        ("file, ghost", ["/a", "/b"]),
        # none of them now, but the kernel has the word
        ("xswap", []),
        ("gohst", None),
        ("ghost,", None),
        ("", None),
        ("Ghost", None),
        ("quantum,qantum", None),
    ],
)
def test_of_a_type(types: str, names: list[str] | None, tmp_path: Path) -> None:
    require("mount")
    prefix = with_swaps(tmp_path / "swaps", "/a ghost 4 0 -2", "/b file 4 0 -3", "/new quantum 4 0 -4")
    done = ghostctl("status", "--type", types, "-o", "NAME", "--raw", "--noheadings", prefix=prefix)
    if names is None:
        assert (done.returncode, done.stdout) == (2, "")
        unknown = types if types not in ("ghost,", "quantum,qantum") else types.partition(",")[2]
        assert done.stderr == (
            f"ghostctl: status: unknown type {unknown!r}\n"
            "ghostctl: hint: types are file,ghost,partition,xswap\n"
        )
    else:
        assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, names, "")
