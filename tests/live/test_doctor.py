# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest
from machine import AS_NOBODY, ghostctl, require

from ghostctl import doctor


def test_explain() -> None:
    for check in doctor.CHECKS:
        done = ghostctl("doctor", "--explain", check.id, env={"COLUMNS": "60"})
        assert done.returncode == 0
        assert " ".join(done.stdout.split()) == check.explanation
        assert all(len(line) <= 60 for line in done.stdout.splitlines())
    done = ghostctl("doctor", "--explain", "nothing")
    assert done.returncode == 2
    assert "kernel, zswap, pool" in done.stderr


@pytest.mark.parametrize("feature", ["ghostswap", "xswap", "zram"])
def test_require_is_what_it_says(feature: str) -> None:
    document = json.loads(ghostctl("doctor", "--json").stdout)
    done = ghostctl("doctor", "--require", feature)
    assert done.stdout == ""
    assert done.returncode == (0 if document["kernel"][feature] else 5)
    assert bool(done.stderr) is (done.returncode == 5)


def test_any_user_may_ask(tmp_path: Path) -> None:
    require("setpriv")
    done = ghostctl("doctor", prefix=AS_NOBODY, cwd=tmp_path)
    assert done.returncode in (0, 1)
    assert done.stderr == ""
    shown = ghostctl("doctor", "-v", prefix=AS_NOBODY, cwd=tmp_path).stdout.splitlines()[2:]
    checks = {line.split()[1]: line for line in shown if line[:4].strip()}
    assert checks.keys() == {check.id for check in doctor.CHECKS}
    # the verdict, and what is not fine
    verdict, fine, *rest = done.stdout.splitlines()
    assert verdict == ghostctl("doctor", "-v", prefix=AS_NOBODY, cwd=tmp_path).stdout.splitlines()[0]
    names = [name for name, line in checks.items() if line.startswith("OK")]
    assert fine == f"Fine: {', '.join(names)} (-v shows what they saw)."
    assert [line for line in rest if line] == [line for line in shown if not line.startswith("OK")]
    done = ghostctl("doctor", "--probe", prefix=AS_NOBODY, cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr == "ghostctl: --probe: only root can swap a ghost on\n"
