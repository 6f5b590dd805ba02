# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl in a guest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepwise import Done, forked

from .inside import DIR

SIZE = 256 << 20
UUID = "5b0c6d0e-8f1d-4f0e-9f43-3f2a7f1f6a10"


def make_ghost(name: str, *options: str) -> Path:
    must("-q", "mkghost", "-s", str(SIZE), *options, DIR / name)
    return DIR / name


def zram_devices() -> list[str]:
    return sorted(path.name for path in Path("/sys/block").glob("zram*"))


def ghostctl(*args: str | Path) -> Done:
    # not a new interpreter each time: in an emulated guest that takes seconds
    return forked(*args)


def must(*args: str | Path) -> str:
    done = ghostctl(*args)
    assert done.status == 0, done
    return done.out


def turn_on(path: Path, backend: str, *options: str) -> None:
    done = ghostctl("on", "--backend", backend, "-p", "100", *options, path)
    assert done.status == 0, done
    expected = {"ghostswap": "with the kernel's own size", "zram": "zswap is on, in front of"}.get(backend)
    warnings = [line for line in done.err.splitlines() if ": warning: " in line]
    assert all(expected is not None and expected in line for line in warnings), done.err
    assert warnings or backend != "ghostswap"


def status(*args: str | Path) -> list[dict[str, Any]]:
    areas: list[dict[str, Any]] = json.loads(must("status", "--json", *args))["swapareas"]
    return areas


def one_area(path: Path) -> dict[str, Any]:
    (area,) = status(path)
    return area
