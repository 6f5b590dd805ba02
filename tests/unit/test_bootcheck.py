# SPDX-License-Identifier: GPL-2.0-or-later
"""fstab check on machines that are directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostctl import bootcheck, fstab, zswap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    parameters = tmp_path / zswap.PARAMETERS
    parameters.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1048576 kB\n")
    for name, value in {"enabled": "N", "compressor": "lzo", "max_pool_percent": "20"}.items():
        (parameters / name).write_text(f"{value}\n")
    return tmp_path


def found(root: Path, options: str = "nofail,pri=5,x-ghost.size=1M") -> dict[str, bootcheck.Problem]:
    (line,) = fstab.parse(f"/no/ghost none swap {options}\n".encode())
    problems = bootcheck.iter_problems(line, bootcheck.System([line], (), "/fstab", str(root)))
    return {problem.id: problem for problem in problems}


def test_zswap_in_the_next_boot(root: Path) -> None:
    problem = found(root)["zswap"]
    assert problem.message.startswith("zswap is off: ")
    assert problem.hint == "ghostctl fstab set -T /fstab /no/ghost x-ghost.zswap"
    assert "zswap" not in found(root, "nofail,x-ghost.size=1M,x-ghost.zswap")
    # the boot turns it on for the ghost
    zswap.persist({"enabled": "Y"}, str(root))
    assert "zswap" not in found(root)
    zswap.persist({"enabled": "N"}, str(root))
    assert "zswap" in found(root)
    (root / "proc/cmdline").write_text("quiet zswap.enabled=1\n")
    assert "zswap" not in found(root)
    (root / "proc/cmdline").write_text("zswap.enabled=1 zswap.enabled=0\n")
    assert "booted with zswap.enabled=0" in found(root)["zswap"].message
