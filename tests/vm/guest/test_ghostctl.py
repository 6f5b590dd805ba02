# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl on kernels with and without ghosts."""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from machine import GHOSTCTL
from stepwise import Done
from vm import program
from vm.inside import (
    AUTOMATIC,
    DIR,
    HAS_GHOSTS,
    HAS_TABLES,
    PAGE,
    Cgroup,
    Hog,
    Swap,
    counters,
    kernel_log,
    make_file,
    must,
    needs_ghosts,
    newest,
    set_zswap,
    swapoff,
    swapoff_all,
    swapon,
    swaps,
    used_mib,
    write_area,
)
from vm.program import ghostctl

GUEST = {"kernels": ["ghost-7.2", "stock-7.2", "ghost-6.12"], "timeout": 1500}

UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def mkghost(name: str, *words: str) -> Path:
    path = DIR / name
    program.must("mkghost", *words, path)
    return path


def is_refused(done: Done, status: int, *parts: str) -> None:
    """As `fails`, and nothing was swapped on."""
    fails(done, status, *parts)
    assert swaps() == []


def fails(done: Done, status: int, *parts: str) -> None:
    """The message, hint included, has these parts."""
    assert done.status == status, done
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


@pytest.mark.parametrize(
    "words",
    [(), ("--bare",), ("-e", "big"), ("--bare", "-e", "big")],
    ids=lambda words: " ".join(words) or "default",
)
def test_there_and_back(words: tuple[str, ...]) -> None:
    path = mkghost("g", "-s", "64M", "-L", "pagan", "-U", UUID, *words)
    as_written = path.read_bytes()
    assert len(as_written) == 4096
    done = ghostctl("on", "--enable-zswap", "-p", "5", path)
    if not HAS_GHOSTS:
        release = os.uname().release
        is_refused(done, 5, f"{path}: this kernel ({release}) has no ghost swap", "--fallback dm,zram")
        return
    assert done == Done(0, "", "")
    assert swaps() == [Swap(str(path), "ghost", 65532, 0, 5)]
    status = json.loads(program.must("status", "--json", f"LABEL={'pagan'}"))
    area = status["swapareas"][0]
    expected = {
        "name": str(path),
        "type": "ghost",
        "size": 65532 << 10,
        "used": 0,
        "prio": 5,
        "uuid": UUID,
        "label": "pagan",
        "backend": "file",
        "ghost": str(path),
    }
    assert expected.items() <= area.items()
    assert status["zswap"]["enabled"] is True
    assert program.must("off", f"UUID={UUID}") == ""
    assert swaps() == []
    # the kernel turns a big-endian header round in its page cache
    program.must("label", "-L", "", path)
    must("sh", "-c", "echo 3 >/proc/sys/vm/drop_caches")
    assert path.read_bytes() == as_written[:1052] + bytes(16) + as_written[1068:]
    assert program.must("verify", path) == ""


@needs_ghosts
def test_an_active_ghost_changes_only_by_a_cycle() -> None:
    set_zswap()
    path = mkghost("g", "-s", "64M", "-L", "pagan")
    program.must("on", "-p", "7", path)
    for words in (("label", "-L", "x", path), ("resize", path, "96M"), ("mkghost", "-f", "-s", "96M", path)):
        done = ghostctl(*words)
        assert (done.status, swaps()[0].size_kib) == (6, 65532), done
    assert ghostctl("on", path).status == 6
    program.must("resize", "--cycle", path, "96M")
    assert swaps() == [Swap(str(path), "ghost", 98300, 0, 7)]


def test_zswap_has_to_be_on() -> None:
    path = mkghost("g", "-s", "64M")
    done = ghostctl("on", path)
    if HAS_GHOSTS:
        is_refused(done, 1, "zswap is off", f"ghostctl on {path} --enable-zswap")
        assert "zswap is off" in ghostctl("on", "--force", path).err
        assert len(swaps()) == 1
    else:
        is_refused(done, 5, "has no ghost swap")


def test_all_of_fstab(tmp_path: Path) -> None:
    set_zswap()
    for name in ("one", "two", "three"):
        mkghost(name, "-s", "16M")
    fstab = tmp_path / "fstab"
    fstab.write_text(
        f"{DIR}/one none swap defaults,pri=3 0 0\n{DIR}/two none swap noauto 0 0\n"
        f"{DIR}/three none swap nofail,pri=9 0 0\n{DIR}/missing none swap nofail 0 0\n"
    )
    done = ghostctl("on", "-a", "-T", fstab)
    if not HAS_GHOSTS:
        is_refused(done, 32, "has no ghost swap")
        return
    assert done.status == 0, done
    assert {(Path(swap.path).name, swap.priority) for swap in swaps()} == {("one", 3), ("three", 9)}
    program.must("off", "-a")
    assert swaps() == []


@needs_ghosts
def test_other_programs_and_ghostctl_see_the_same() -> None:
    """What util-linux and busybox do with our files, and what we say of what they did."""
    set_zswap()
    ours, bare = mkghost("ours", "-s", "32M", "-L", "pagan"), mkghost("bare", "-s", "16M", "--bare")
    must("/sbin/swapon", "-p", "4", ours)
    must("busybox", "swapon", bare)
    columns = "NAME,TYPE,SIZE,USED,PRIO"
    shown = program.must("status", "--raw", "--bytes", "-o", columns)
    assert shown == must("/sbin/swapon", f"--show={columns}", "--raw", "--bytes")
    assert len(shown.splitlines()) == 3
    must("busybox", "swapoff", ours)
    must("/sbin/swapoff", bare)
    write_area(DIR / "plain", 4095)
    program.must("on", DIR / "plain")
    assert swaps() == [Swap(str(DIR / "plain"), "ghost", 16380, 0, AUTOMATIC[0])]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"last_page": 99, "version": 2}, "version 2"),
        ({"last_page": 0}, "last_page is 0"),
        ({"last_page": 99, "size": 8192}, "has 8192 bytes but declares 409600"),
    ],
    ids=["version", "empty", "grown"],
)
def test_a_bad_header_is_explained(header: dict[str, Any], problem: str) -> None:
    set_zswap()
    is_refused(ghostctl("on", write_area(DIR / "g", **header)), 1, problem)


def test_another_page_size() -> None:
    set_zswap()
    path = mkghost("g", "-s", "64M", "-p", "8192")
    is_refused(ghostctl("on", path), 1, "made for pages of 8192 bytes, this kernel has 4096", "--fixpgsz")
    done = ghostctl("on", "--fixpgsz", path)
    assert done.status == (0 if HAS_GHOSTS else 5), done
    assert [swap.size_kib for swap in swaps()] == ([65532] if HAS_GHOSTS else [])


def test_a_place_that_cannot_swap_is_named(tmp_path: Path) -> None:
    set_zswap()
    for directory, kind in ((tmp_path, "tmpfs"), (Path("/root"), "overlay")):
        path = write_area(directory / "g", 99)
        is_refused(ghostctl("on", path), 5, f"no kernel swaps to a file on {kind}")
    loop = must("losetup", "--show", "-f", write_area(DIR / "g", 99)).strip()
    is_refused(ghostctl("on", loop), 1, "Invalid argument")
    must("losetup", "-d", loop)


@needs_ghosts
def test_many_slots() -> None:
    """Where all slots take memory, 1 TiB is the dangerous size: it nearly fits, and swapon(2) is killed."""
    set_zswap()
    if HAS_TABLES:
        for gib in (1024, 5 * 1024):
            path = mkghost(f"g{gib}", "-s", f"{gib}G")
            done = ghostctl("on", path)
            assert (done.status, done.err) == (0, "")
            assert f" swap on {path}. " in kernel_log()
            assert program.one_area(path)["size"] == (gib << 30) - PAGE
            swapoff(path)
        return
    path = mkghost("g", "-s", "1T")
    is_refused(ghostctl("on", path), 7, "declares 1 TiB", "of kernel memory", "--force")
    write_area(path, 2**29 - 1)
    done = ghostctl("on", "--force", path)
    is_refused(done, 7, "declares 2 TiB", "swapon failed: Cannot allocate memory")


@newest
@needs_ghosts
def test_a_size_that_wraps_is_known_without_root() -> None:
    program.must("on", "--force", mkghost("g", "-s", "5T"))
    swapon(make_file(DIR / "real", 64))
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    shown = must(*nobody, GHOSTCTL, "status", "--noheadings", "--bytes", "-o", "SIZE").split()
    assert shown == [str((5 << 40) - PAGE), str((64 << 20) - PAGE)]


@needs_ghosts
def test_the_table_of_areas_is_full() -> None:
    set_zswap()
    for number in range(40):
        path = write_area(DIR / f"g{number}", 99)
        try:
            swapon(path)
        except PermissionError:
            break
    fails(ghostctl("on", path), 1, f"has no room for more than {len(swaps())} areas")


def test_an_area_that_is_kept_for_a_hibernation_image() -> None:
    """SNAPSHOT_SET_SWAP_AREA (include/linux/suspend_ioctls.h) pins it on 7.2, until the device is closed."""
    Path("/sys/block/zram0/disksize").write_text("16M")
    must("mkswap", "/dev/zram0")
    swapon("/dev/zram0")
    with open("/dev/snapshot", "rb", buffering=0) as snapshot:
        fcntl.ioctl(snapshot, 0x400C330D, struct.pack("=qI", 0, os.stat("/dev/zram0").st_rdev))
        if HAS_TABLES:
            fails(ghostctl("off", "/dev/zram0"), 6, "for a hibernation image", "/dev/snapshot")
            assert len(swaps()) == 1
    assert ghostctl("off", "/dev/zram0").status == 0
    Path("/sys/block/zram0/reset").write_text("1")


@needs_ghosts
def test_a_ghost_beyond_its_pool_beside_a_disk() -> None:
    """Neither has a priority: 7.2 uses them in turn, 6.12 the ghost first. The fix prevents a kill."""
    set_zswap(percent=20)
    ghost, real = mkghost("swap0", "-s", "1G"), make_file(DIR / "real", 1024)
    lines = f"{ghost} none swap nofail,x-ghost.size=1G\n{real} none swap nofail\n"
    Path("/etc/fstab").write_text(lines)
    try:
        words = "declares more than zswap's pool may take"
        assert f"may use it before, or in turn with, {real}" in ghostctl("on", ghost).err
        done = ghostctl("on", real)
        assert words in done.err
        assert str(real) in done.err
        fixes = ["ghostctl zswap set max_pool_percent=50 --persist", f"ghostctl resize --cycle {ghost} 24"]
        assert " && ".join(fixes) in done.err
        checked = ghostctl("fstab", "check")
        assert f"may use the ghost before, or in turn with, {real}" in checked.out
        assert words in checked.out
        assert f"ghostctl resize {ghost} 24" in program.must("plan", "--ratio", "3")
        checks = {c["id"]: c for c in json.loads(ghostctl("doctor", "--json").out)["checks"]}
        assert checks["size"]["status"] == "FAIL"
        assert " && ".join(checks["size"]["fix"]).startswith(" && ".join(fixes))
        for command in checks["size"]["fix"]:
            must("env", f"PATH={GHOSTCTL.parent}:{os.environ['PATH']}", "sh", "-c", command)
        checks = {c["id"]: c for c in json.loads(ghostctl("doctor", "--json").out)["checks"]}
        assert checks["size"]["status"] == "OK"
        assert words not in ghostctl("fstab", "check").out
        if HAS_TABLES:
            hog = Hog(760)
            assert hog.fill() == "filled"
            assert used_mib()["real"] > 16
            assert hog.check() == 0
            hog.end()
        swapoff_all()
    finally:
        Path("/etc/fstab").write_text("")


def test_the_kernel_is_known_for_what_it_is() -> None:
    assert ghostctl("doctor", "--require", "ghost").status == (0 if HAS_GHOSTS else 5)
    done = ghostctl("doctor", "--probe", "-v")
    assert re.search(r"file: (\w+)", done.out)[1] == ("yes" if HAS_GHOSTS else "no")  # type: ignore[index]
    assert swaps() == []


def test_through_zram() -> None:
    path = mkghost("g", "-s", "64M", "-L", "pagan")
    words = ("--backend", "zram") if HAS_GHOSTS else ("--fallback", "zram")
    done = ghostctl("on", "-p", "11", *words, path)
    assert done.status == 0, done
    assert [(swap.type, swap.size_kib, swap.priority) for swap in swaps()] == [("partition", 65532, 11)]
    shown = program.must("status", "--noheadings", "--raw", "-o", "LABEL,BACKEND,GHOST")
    assert shown == f"pagan zram {path}\n"
    devices = len(list(Path("/sys/block").glob("zram*")))
    program.must("off", path)
    assert swaps() == []
    assert len(list(Path("/sys/block").glob("zram*"))) == devices - 1


@newest
@needs_ghosts
def test_off_shows_its_progress_and_loses_nothing() -> None:
    set_zswap(percent=50)
    path = mkghost("g", "-s", "512M")
    swapon(path)
    with Cgroup("box", max="64M") as box:
        hog = box.hog(200)
        assert hog.fill() == "filled"
        box.path.joinpath("memory.max").write_text("max")
        seen = must("script", "-qec", f"{GHOSTCTL} off {path}", "/dev/null")
        assert swaps() == []
        assert re.search(r"\d+%", seen)
        assert re.search(r"/s", seen)
        assert hog.check() == 0


@newest
@needs_ghosts
def test_off_refuses_what_does_not_fit() -> None:
    """A hog of 540 MiB in 512 MiB of memory: what is in the ghost cannot come back."""
    set_zswap(percent=50)
    path = mkghost("g", "-s", "1G")
    swapon(path)
    hog = Hog(540)
    assert hog.fill() == "filled"
    used = used_mib()["g"]
    done = ghostctl("off", path)
    assert done.status == 7, done
    assert "--force" in done.err
    assert used_mib()["g"] > used - 64
    assert "pool" in program.must("status")
    assert hog.check() == 0
    hog.end()
    assert counters("/proc/vmstat")["oom_kill"] == 0
    swapoff(path)
    assert struct.unpack_from("<I", path.read_bytes(), 1028) == (2**18 - 1,)


@needs_ghosts
def test_off_spares_a_service_that_may_not_use_more_memory() -> None:
    """What comes back is charged to the cgroup that it was taken from; the hint gives that the memory."""
    set_zswap(percent=50)
    path = mkghost("g", "-s", "240M")
    program.must("on", path)
    with Cgroup("box", max="48M") as box:
        hog = box.hog(160)
        assert hog.fill() == "filled"
        used = used_mib()["g"]
        done = ghostctl("off", path)
        fails(done, 7, f"{path}: the cgroup box has ", "its processes would be killed")
        assert used_mib()["g"] >= used > 90
        (hint,) = re.findall(r"hint: (.*)", done.err)
        must("sh", "-c", hint)
        assert (box.path / "memory.max").read_text() != f"{48 << 20}\n"
        assert program.must("off", path) == ""
        assert swaps() == []
        assert hog.check() == 0
        assert box.event("oom_kill") == 0
