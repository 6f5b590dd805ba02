# SPDX-License-Identifier: GPL-2.0-or-later
"""One suite for everything that makes a ghost active, on a kernel with all of it; dm also on stock ones."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import GHOSTCTL
from vm.inside import DIR, HAS_GHOSTS, PAGE, Cgroup, counters, needs_ghosts, set_zswap, swapoff_all, swaps
from vm.program import SIZE, UUID, ghostctl, make_ghost, one_area, status, turn_on, zram_devices

from ghostctl.backends import NAMES

GUEST = {"kernels": ["interfaces-7.2", "stock-6.12"], "timeout": 1800}

TYPES = {"file": "ghost", "ghostswap": "ghost", "xswap": "xswap", "dm": "partition", "zram": "partition"}

BACKENDS = NAMES if HAS_GHOSTS else ("dm",)
every_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def prepared() -> Iterator[None]:
    set_zswap(percent=50)
    devices = zram_devices()
    yield
    swapoff_all()
    ghostctl("-q", "off", DIR / "none")
    assert zram_devices() == devices


@pytest.fixture
def ghost() -> Path:
    return make_ghost("swap0", "-U", UUID, "-L", "lab")


@every_backend
def test_there_and_back(ghost: Path, backend: str) -> None:
    turn_on(ghost, backend)
    area = one_area(ghost)
    assert (area["backend"], area["ghost"]) == (backend, str(ghost))
    assert (area["type"], area["prio"], area["used"]) == (TYPES[backend], 100, 0)
    if backend == "ghostswap":
        ram = counters("/proc/meminfo")["MemTotal"] << 10
        assert area["size"] > ram / 2
    else:
        assert area["size"] == SIZE - PAGE
    again = ghostctl("on", "--backend", backend, ghost)
    assert again.status == 6
    assert "is already active" in again.err
    assert len(swaps()) == 1
    done = ghostctl("off", ghost)
    assert (done.status, done.err) == (0, "")
    assert swaps() == []
    assert ghostctl("off", ghost).status == 3
    assert ghostctl("status", ghost).status == 3


@every_backend
@pytest.mark.parametrize("spec", [f"UUID={UUID}", "LABEL=lab"])
def test_by_uuid_and_label(ghost: Path, backend: str, spec: str) -> None:
    done = ghostctl("on", "--backend", backend, spec)
    assert done.status == 0, done
    assert one_area(ghost)["backend"] == backend
    assert status(spec) == status(ghost)
    assert ghostctl("on", "--backend", "file", spec).status == 6
    done = ghostctl("off", spec)
    assert (done.status, done.err) == (0, "")
    assert swaps() == []


@every_backend
def test_under_pressure(ghost: Path, backend: str) -> None:
    turn_on(ghost, backend)
    before = counters("/proc/vmstat")
    with Cgroup("box", max="64M") as box:
        hog = box.hog(160, passes=2)
        assert hog.fill() == "filled"
        assert one_area(ghost)["used"] > 90 << 20
        assert hog.check() == 0
        assert box.event("oom_kill") == 0
    after = counters("/proc/vmstat")
    written = after["pswpout"] - before["pswpout"]
    in_zswap = after["zswpout"] - before["zswpout"]
    assert in_zswap * PAGE > 90 << 20
    assert (written > 0) == (backend == "zram" and in_zswap == 0)


@needs_ghosts
def test_zram_without_zswap(ghost: Path) -> None:
    set_zswap(enabled=False)
    turn_on(ghost, "zram", "--compressor", "lz4")
    (device,) = (Path(swap.path).name for swap in swaps())
    with Cgroup("box", max="64M") as box:
        hog = box.hog(160, passes=2)
        assert hog.fill() == "filled"
        stored, compressed = map(int, Path(f"/sys/block/{device}/mm_stat").read_text().split()[:2])
        assert stored > 90 << 20
        assert compressed < stored / 2
        assert hog.check() == 0


@every_backend
def test_off_brings_every_page_back(ghost: Path, backend: str) -> None:
    turn_on(ghost, backend)
    with Cgroup("box", max="64M") as box:
        hog = box.hog(120)
        assert hog.fill() == "filled"
        assert one_area(ghost)["used"] > 50 << 20
        (box.path / "memory.max").write_text("max")
        done = ghostctl("off", ghost)
        assert (done.status, done.err) == (0, "")
        assert swaps() == []
        assert hog.check() == 0


@every_backend
def test_many_at_once(ghost: Path, backend: str) -> None:
    runs = [
        subprocess.Popen([GHOSTCTL, "on", "--backend", backend, ghost], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    assert sorted(run.wait(timeout=120) for run in runs) == [0, 6, 6]
    assert len(swaps()) == 1
    assert ghostctl("off", ghost).status == 0


@every_backend
def test_resize_cycle(ghost: Path, backend: str) -> None:
    turn_on(ghost, backend)
    done = ghostctl("resize", "--cycle", ghost, "128M")
    assert done.status == 0, done
    area = one_area(ghost)
    assert (area["backend"], area["prio"]) == (backend, 100)
    if backend != "ghostswap":
        assert area["size"] == (128 << 20) - PAGE
    assert ghostctl("off", ghost).status == 0


@every_backend
def test_an_active_ghost_is_left_alone(ghost: Path, backend: str) -> None:
    turn_on(ghost, backend)
    for command in (
        ("resize", ghost, "128M"),
        ("label", "-L", "new", ghost),
        ("mkghost", "-f", "-s", "1M", ghost),
    ):
        done = ghostctl(*command)
        assert done.status == 6, done
    assert one_area(ghost)["ghost"] == str(ghost)


def test_all_side_by_side() -> None:
    paths = [make_ghost(f"swap-{name}") for name in BACKENDS]
    for name, path in zip(BACKENDS, paths, strict=True):
        # zram above the others, which declare more than zswap's pool may take
        turn_on(path, name, *(("-p", "200") if name == "zram" else ()))
    assert {area["backend"]: area["ghost"] for area in status()} == dict(
        zip(BACKENDS, map(str, paths), strict=True)
    )
    done = ghostctl("off", "--all")
    assert (done.status, done.err) == (0, "")
    assert swaps() == []
