# SPDX-License-Identifier: GPL-2.0-or-later
"""Where pages go when memory is short. Each test checks every byte of what it swapped."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from vm.inside import (
    DIR,
    HAS_TABLES,
    ZSWAP,
    Cgroup,
    Hog,
    counters,
    debug,
    make_file,
    must,
    newest,
    run,
    set_zswap,
    swapoff,
    swapon,
    swaps,
    used_mib,
    write_area,
)

GUEST = {"kernels": ["ghost-7.2", "ghost-6.12"], "timeout": 1200, "cpus": 2}

MIB = 256  # pages of 4 KiB


class Traffic:
    """What went where since the start, in pages."""

    def __init__(self) -> None:
        self.start = counters("/proc/vmstat")

    def __getattr__(self, name: str) -> int:
        return counters("/proc/vmstat")[name] - self.start[name]


@pytest.fixture
def ghost() -> Path:
    path = write_area(DIR / "ghost", 512 * MIB)
    swapon(path)
    return path


@newest
@pytest.mark.parametrize("compressor", ["lz4", "lzo"])
@pytest.mark.usefixtures("ghost")
def test_pages_live_in_zswap(compressor: str) -> None:
    set_zswap(compressor=compressor, percent=50)
    traffic = Traffic()
    with Cgroup("box", max="64M") as box:
        hog = box.hog(160, passes=2)
        assert hog.fill() == "filled"
        assert used_mib()["ghost"] > 90
        assert debug("stored_pages") > 90 * MIB
        assert hog.check() == 0
        assert box.event("oom_kill") == 0
    assert traffic.zswpout > 90 * MIB
    assert traffic.zswpin > 90 * MIB
    assert (traffic.pswpout, traffic.pswpin, traffic.zswpwb) == (0, 0, 0)
    assert used_mib()["ghost"] == 0


@newest
@pytest.mark.usefixtures("ghost")
def test_the_whole_machine_short_of_memory() -> None:
    set_zswap(percent=50)
    traffic = Traffic()
    hog = Hog(700)
    assert hog.fill() == "filled"
    assert used_mib()["ghost"] > 250
    assert hog.check() == 0
    assert (traffic.pswpout, traffic.pswpin, traffic.oom_kill) == (0, 0, 0)


@pytest.mark.usefixtures("ghost")
def test_zeros_need_no_zswap() -> None:
    set_zswap(enabled=False)
    traffic = Traffic()
    with Cgroup("box", max="48M") as box:
        hog = box.hog(160, "zero")
        assert hog.fill() == "filled"
        assert used_mib()["ghost"] > 100
        assert hog.check() == 0
    assert traffic.swpout_zero > 100 * MIB
    assert (traffic.pswpout, traffic.pswpin, traffic.zswpout) == (0, 0, 0)


@pytest.mark.usefixtures("ghost")
@pytest.mark.parametrize(
    "why", ["zswap is off", "the cgroup may not", "no page compresses", "nor may it write"]
)
def test_what_zswap_does_not_take_is_not_written(why: str) -> None:
    """Pages that do not compress: 6.12 refuses them, 7.2 only where nothing may be written back."""
    set_zswap(enabled=why != "zswap is off", percent=50)
    limits = {"the cgroup may not": {"zswap_max": "0"}, "nor may it write": {"zswap_writeback": "0"}}
    traffic = Traffic()
    with Cgroup("box", max="48M", **limits.get(why, {})) as box:
        hog = box.hog(160, 4096 if why in ("no page compresses", "nor may it write") else 1000)
        assert hog.fill() == "killed"
        assert box.event("oom_kill") == 1
    assert (traffic.pswpout, traffic.pswpin) == (0, 0)
    if why == "no page compresses" and HAS_TABLES:
        assert traffic.zswpout > 16 * MIB
    else:
        assert traffic.zswpout < MIB  # a page of stack or libc here and there does compress


@pytest.mark.usefixtures("ghost")
def test_data_outlives_zswap_being_turned_off() -> None:
    set_zswap(percent=50)
    with Cgroup("box", max="48M") as box:
        hog = box.hog(160)
        assert hog.fill() == "filled"
        (ZSWAP / "enabled").write_text("N")
        box.path.joinpath("memory.max").write_text("max")
        assert hog.check() == 0


@pytest.mark.usefixtures("ghost")
def test_shared_memory() -> None:
    """Pages of tmpfs take another way into swap and back."""
    set_zswap(percent=50)
    block = os.urandom(512) + bytes(range(256)) * 14
    data = b"".join(number.to_bytes(8, "little") + block[8:] for number in range(96 * MIB))
    path = Path("/tmp/data")  # noqa: S108
    with Cgroup("box", max="32M") as box:
        with (DIR / "copy").open("wb") as file:
            file.write(data)
        must("sh", "-c", f"echo $$ >{box.path}/cgroup.procs; cp {DIR}/copy {path}")
        assert used_mib()["ghost"] > 48
        digest = must("sh", "-c", f"echo $$ >{box.path}/cgroup.procs; sha256sum <{path}").split()[0]
        assert digest == hashlib.sha256(data).hexdigest()
        path.unlink()
    assert used_mib()["ghost"] == 0


def test_swapoff_brings_everything_back(ghost: Path) -> None:
    set_zswap(percent=50)
    with Cgroup("box", max="48M") as box:
        hog = box.hog(160)
        assert hog.fill() == "filled"
        box.path.joinpath("memory.max").write_text("max")
        swapoff(ghost)
        assert swaps() == []
        assert debug("stored_pages") == 0
        assert hog.check() == 0


def test_swapoff_while_pages_come_and_go(ghost: Path) -> None:
    """Off and on again and again under a program that reads all its memory in a circle."""
    set_zswap(percent=50)
    with Cgroup("box", high="64M", max="300M") as box:
        hog = box.hog(140, passes=6)
        assert hog.fill() == "filled"
        wrong: list[int | None] = []
        reader = threading.Thread(target=lambda: wrong.append(hog.check()))
        reader.start()
        rounds = 0
        while reader.is_alive():
            swapoff(ghost)
            swapon(ghost)
            rounds += 1
        reader.join()
        assert wrong == [0]
        assert rounds > 1


def test_swapoff_without_room_is_killed_and_nothing_lost(ghost: Path) -> None:
    set_zswap(percent=50)
    with Cgroup("box", max="48M") as box:
        hog = box.hog(160)
        assert hog.fill() == "filled"
        # what swapoff brings back is charged to the box, which has no room for it
        done = run("sh", "-c", f'echo $$ >{box.path}/cgroup.procs; exec choom -n 1000 -- swapoff "{ghost}"')
        assert done.status != 0
        assert used_mib()["ghost"] > 60
        box.path.joinpath("memory.max").write_text("max")
        assert hog.check() in (0, None)  # None: the hog was the one to die


def test_a_real_area_takes_what_zswap_writes_back() -> None:
    real = make_file(DIR / "real", 300)
    swapon(real)
    set_zswap(percent=50)
    traffic = Traffic()
    with Cgroup("box", max="48M", zswap_max="8M") as box:
        hog = box.hog(160)
        assert hog.fill() == "filled"
        assert hog.check() == 0
    assert traffic.zswpwb > 0
    assert traffic.pswpout > 10 * MIB


def test_entries_of_a_ghost_are_never_written_back(ghost: Path) -> None:
    """The ghost, at the higher priority, gets all pages; the shrinker runs, for there is a real area."""
    real = make_file(DIR / "real", 300)
    swapoff(ghost)
    must("/sbin/swapon", "-p", "10", ghost)
    must("/sbin/swapon", "-p", "1", real)
    set_zswap(percent=50, shrinker=True)
    before, traffic = debug("reject_reclaim_fail"), Traffic()
    with Cgroup("box", max="48M", zswap_max="16M") as box:
        hog = box.hog(160)
        assert hog.fill() == "killed"
        assert box.event("oom_kill") == 1
    assert debug("reject_reclaim_fail") > before  # it was tried
    assert (traffic.zswpwb, traffic.pswpout) == (0, 0)


@pytest.mark.usefixtures("ghost")
def test_the_shrinker_rests_when_there_are_only_ghosts() -> None:
    set_zswap(percent=50, shrinker=True)
    before = debug("reject_reclaim_fail")
    with Cgroup("box", max="48M") as box:
        hog = box.hog(160)
        assert hog.fill() == "filled"
        assert hog.check() == 0
    assert debug("reject_reclaim_fail") == before


@pytest.mark.usefixtures("ghost")
def test_a_full_pool_takes_no_more_and_nobody_tries_to_empty_it() -> None:
    set_zswap(percent=1)
    before, hits, traffic = debug("reject_reclaim_fail"), debug("pool_limit_hit"), Traffic()
    with Cgroup("box", max="48M") as box:
        assert box.hog(160).fill() == "killed"
        assert box.event("oom_kill") == 1
    assert debug("pool_limit_hit") > hits
    assert debug("reject_reclaim_fail") == before
    assert (traffic.pswpout, traffic.zswpwb) == (0, 0)


def test_slots_that_run_out_pass_pages_on() -> None:
    """A ghost of less than the pool may take lets the kernel go on to the next area."""
    small, real = write_area(DIR / "small", 40 * MIB), make_file(DIR / "real", 300)
    must("/sbin/swapon", "-p", "10", small)
    must("/sbin/swapon", "-p", "1", real)
    set_zswap(percent=50)
    with Cgroup("box", max="48M") as box:
        hog = box.hog(160)
        assert hog.fill() == "filled"
        used = used_mib()
        assert used["small"] >= 38
        assert used["real"] > 50
        assert hog.check() == 0
