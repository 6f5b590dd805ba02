# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that are prepared badly: doctor names what is wrong, and its commands put it right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from vm import program
from vm.inside import DIR, HAS_GHOSTS, ZSWAP, make_file, must, needs_ghosts, needs_stock, set_zswap, swaps

GUEST = {"kernels": ["ghost-7.2", "stock-7.2", "ghost-6.12"], "timeout": 1200}

PROGRAM = Path(sys.executable).with_name("ghostctl")
GHOST = DIR / "swap0"
FSTAB = Path("/etc/fstab")
PATH = f"/run/bin:{PROGRAM.parent}:{os.environ['PATH']}"


class Finding(NamedTuple):
    id: str
    status: str
    seen: str
    fix: list[str]


def ghostctl(*args: object) -> str:
    return program.must(*map(str, args))


def complaints(*options: str) -> dict[str, Finding]:
    done = program.ghostctl("doctor", "--json", *options)
    assert done.err == "", done.err
    document: dict[str, Any] = json.loads(done.out)
    found = {check["id"]: Finding(**check) for check in document["checks"] if check["status"] != "OK"}
    assert done.status == (1 if any(finding.status == "FAIL" for finding in found.values()) else 0)
    return found


def obey(finding: Finding) -> None:
    assert finding.fix, finding
    for command in finding.fix:
        done = subprocess.run(
            command, shell=True, env={**os.environ, "PATH": PATH}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


def cured(*expected: str) -> Finding:
    """Exactly these complaints come, and none is left once their commands have run; the first of them."""
    found = complaints()
    assert list(found) == list(expected), found
    for name in expected:
        # what cures one may cure the next
        if name in complaints():
            obey(found[name])
    assert complaints() == {}
    return found[expected[0]]


@pytest.fixture(autouse=True)
def machine() -> Iterator[None]:
    """Set up well: zswap on, an active ghost that fits the pool, its line in fstab."""
    set_zswap(percent=50)
    (ZSWAP / "accept_threshold_percent").write_text("90")
    (Path("/etc/tmpfiles.d/ghostctl-zswap.conf")).unlink(missing_ok=True)
    FSTAB.write_text(f"{GHOST} none swap defaults,nofail,pri=100,x-ghost.size=200M 0 0\n")
    ghostctl("mkghost", "-s", "200M", GHOST)
    if HAS_GHOSTS:
        ghostctl("on", "-p", 100, GHOST)
    yield
    FSTAB.write_text("")


@needs_ghosts
def test_zswap_is_off() -> None:
    (ZSWAP / "enabled").write_text("N")
    assert "nothing can be swapped" in cured("zswap").seen
    assert "enabled - - - - Y" in Path("/etc/tmpfiles.d/ghostctl-zswap.conf").read_text()


@needs_ghosts
def test_the_pool_is_tiny() -> None:
    (ZSWAP / "max_pool_percent").write_text("1")
    assert "1% of memory: too little" in cured("pool").seen


@needs_ghosts
def test_the_pool_may_take_all_memory() -> None:
    """And what fits into it does not fit into the one that leaves some."""
    declare("400M")
    (ZSWAP / "max_pool_percent").write_text("100")
    ghostctl("on", "-p", 100, GHOST)
    assert "100% of memory: too little is left" in cured("pool", "size").seen


@needs_ghosts
def test_a_full_pool_takes_nothing_for_long() -> None:
    (ZSWAP / "accept_threshold_percent").write_text("1")
    assert "takes no page until it is below 1%" in cured("pool").seen


def declare(size: str) -> None:
    """Another size for the ghost, which is off then."""
    if swaps():
        ghostctl("off", GHOST)
    ghostctl("resize", GHOST, size)
    FSTAB.write_text(FSTAB.read_text().replace("200M", size))


def test_the_ghost_is_larger_than_its_pool_may_be() -> None:
    """zswap's, or the memory limit of its zram device."""
    declare("1G")
    if HAS_GHOSTS:
        set_zswap(percent=20)
        ghostctl("on", "-p", 100, GHOST)
        seen = "1G declared, zswap's pool may take"
    else:
        set_zswap(enabled=False)
        ghostctl("on", "--fallback", "zram", "--memory-limit", "100M", "-p", 100, GHOST)
        seen = "may take 100M"
    assert seen in cured("size").seen
    (area,) = swaps()
    assert 200 << 10 < area.size_kib < 260 << 10
    if HAS_GHOSTS:
        ghostctl("fstab", "check", "--strict", GHOST)


@needs_ghosts
def test_the_limit_is_all_that_is_wrong() -> None:
    set_zswap(percent=20)
    cured("size")
    (area,) = swaps()
    assert area.size_kib == (200 << 10) - 4


@needs_stock
def test_zram_may_take_more_than_memory() -> None:
    declare("1G")
    set_zswap(enabled=False)
    ghostctl("on", "--fallback", "zram", "--compressor", "lz4", "-p", 100, GHOST)
    cured("size")
    (area,) = json.loads(ghostctl("status", "--json"))["swapareas"]
    assert area["limit"] > area["size"] > 200 << 20
    chosen = Path(f"/sys/block/{Path(area['name']).name}/comp_algorithm").read_text()
    assert "[lz4]" in chosen


def test_zswap_is_in_front_of_zram() -> None:
    if HAS_GHOSTS:
        ghostctl("off", GHOST)
    done = program.ghostctl("on", "--backend", "zram", "-p", "100", GHOST)
    assert done.status == 0
    assert "compressed twice" in done.err
    assert "compressed twice" in cured("zswap").seen
    ghostctl("off", GHOST)


@needs_ghosts
def test_areas_of_equal_priority() -> None:
    real = make_file(DIR / "real", 64)
    must("/sbin/swapon", "-p", "100", real)
    try:
        assert "get pages in turn" in cured("priority").seen
        assert max(swaps(), key=lambda area: area.priority).path == str(GHOST)
    finally:
        must("/sbin/swapoff", real)


@needs_ghosts
def test_an_ordinary_area_takes_what_the_pool_does_not() -> None:
    """That is a good set-up, and left alone."""
    real = make_file(DIR / "real", 64)
    declare("1G")
    ghostctl("on", "-p", 100, GHOST)
    must("/sbin/swapon", "-p", "101", real)
    try:
        assert complaints() == {}
    finally:
        must("/sbin/swapoff", real)


@needs_ghosts
def test_a_service_may_have_little_in_zswap() -> None:
    box = Path("/sys/fs/cgroup/service")
    (box.parent / "cgroup.subtree_control").write_text("+memory")
    box.mkdir()
    try:
        (box / "memory.zswap.max").write_text("5M")
        assert f"{box} (5M)" in cured("cgroup").seen
        assert (box / "memory.zswap.max").read_text() == "max\n"
        # as much in swap as in zswap at most
        (box / "memory.zswap.max").write_text("5M")
        (box / "memory.swap.max").write_text("5M")
        assert complaints() == {}
    finally:
        box.rmdir()


@needs_ghosts
def test_zram_is_above_it() -> None:
    number = Path("/sys/class/zram-control/hot_add").read_text().strip()
    device = f"/dev/zram{number}"
    try:
        Path(f"/sys/block/zram{number}/disksize").write_text("64M")
        must("/sbin/mkswap", device)
        must("/sbin/swapon", "-p", "200", device)
        assert f"{device} is above {GHOST}" in cured("priority").seen
        assert next(area.priority for area in swaps() if area.path == str(GHOST)) == 201
        assert "pri=201" in FSTAB.read_text()
    finally:
        must("/sbin/swapoff", device)
        Path("/sys/class/zram-control/hot_remove").write_text(number)


@needs_ghosts
def test_the_page_size_is_wrong() -> None:
    ghostctl("off", GHOST)
    GHOST.unlink()
    ghostctl("-q", "mkghost", "-s", "200M", "-p", "65536", GHOST)
    assert "pages of 65536 bytes" in cured("page-size", "active").seen


@needs_ghosts
def test_the_file_of_an_active_ghost_has_grown() -> None:
    """It is on, and would not be the next time."""
    os.truncate(GHOST, 8192)
    cured("holes", "header")
    assert GHOST.stat().st_size == 4096
    (area,) = swaps()
    assert area.priority == 100


@needs_ghosts
def test_the_file_has_a_hole(tmp_path: Path) -> None:
    """Blocks of 1 KiB, and a copy that leaves out the zeros in front of the header."""
    ghostctl("off", GHOST)
    image, mount = tmp_path / "image", tmp_path / "small"
    mount.mkdir()
    must("truncate", "-s", "16M", str(image))
    must("/sbin/mkfs.ext4", "-q", "-b", "1024", str(image))
    must("mount", "-o", "loop", str(image), str(mount))
    try:
        ghost = mount / "ghost"
        must("cp", "--sparse=always", str(GHOST), str(ghost))
        GHOST.unlink()
        FSTAB.write_text(f"{ghost} none swap nofail,x-ghost.size=200M 0 0\n")
        assert f"{ghost}: the file has holes" in cured("holes", "active").seen
        ghostctl("off", ghost)
    finally:
        must("umount", str(mount))


@needs_ghosts
def test_everybody_may_read_it() -> None:
    GHOST.chmod(0o644)
    assert "insecure permissions 0644" in cured("permissions").seen
    assert GHOST.stat().st_mode & 0o777 == 0o600


@needs_stock
def test_the_kernel_has_no_ghosts() -> None:
    assert complaints("--probe").keys() == {"kernel", "active"}
    assert "no ghost swap, but dm can do its work" in cured("kernel", "active").seen
    ghostctl("off", GHOST)


@needs_ghosts
def test_the_boot_resumes_from_it() -> None:
    conf = Path("/etc/initramfs-tools/conf.d/resume")
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(f"RESUME={GHOST}\n")
    tool = Path("/run/bin/update-initramfs")
    tool.parent.mkdir(exist_ok=True)
    tool.write_text('#!/bin/sh\ntest "$*" = -u\n')
    tool.chmod(0o755)
    assert f"is the ghost {GHOST}" in cured("resume").seen
    assert conf.read_text() == "RESUME=none\n"


@needs_ghosts
def test_fstab_names_a_file_that_is_not_there() -> None:
    with FSTAB.open("a") as file:
        file.write("/var/lib/ghost/sub/swap1 none swap defaults,nofail,x-ghost.size=32M 0 0\n")
    assert "line 2, /var/lib/ghost/sub/swap1: the file does not exist" in cured("fstab").seen
    ghostctl("verify", "/var/lib/ghost/sub/swap1")
    must("rm", "-r", "/var/lib/ghost/sub")
