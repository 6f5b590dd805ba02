# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel patch itself: swapon(2) of hand-made headers, what becomes of the file and of the counters."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from vm.inside import (
    AUTOMATIC,
    DIR,
    HAS_GHOSTS,
    HAS_TABLES,
    Swap,
    counters,
    kernel_int,
    kernel_log,
    make_file,
    must,
    needs_ghosts,
    run,
    swapoff,
    swapoff_all,
    swapon,
    swaps,
    write_area,
)

GUEST = {"kernels": ["ghost-7.2", "stock-7.2", "ghost-6.12"], "timeout": 1000, "cpus": 2}


def swapon_errno(path: Path | str) -> str | None:
    try:
        swapon(path)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def test_a_one_page_file_is_a_ghost() -> None:
    path = write_area(DIR / "g", 262143)
    done = run("/sbin/swapon", "-p", "7", path)
    if HAS_GHOSTS:
        assert done.status == 0, done
        assert swaps() == [Swap(str(path), "ghost", 1048572, 0, 7)]
        assert f"Adding 1048572k swap on {path}.  Priority:7 extents:0 across:0k SS" in kernel_log()
    else:
        assert done.status == 255
        assert "Invalid argument" in done.err
        assert "Swap area shorter than signature indicates" in kernel_log()
        assert swaps() == []


@pytest.mark.parametrize(
    ("header", "kib", "log"),
    [
        ({"last_page": 0}, None, "Empty swap-file"),
        ({"last_page": 1}, 4, ""),
        ({"last_page": 2}, 8, ""),
        ({"last_page": 99, "version": 0}, None, "Unable to handle swap header version 0"),
        ({"last_page": 99, "version": 2}, None, "Unable to handle swap header version 2"),
        ({"last_page": 99, "order": ">"}, 396, ""),
        ({"last_page": 99, "badpages": (5,)}, 392, ""),
        ({"last_page": 99, "badpages": (0,)}, None, ""),
        ({"last_page": 99, "badpages": (100,)}, None, ""),
        ({"last_page": 1, "badpages": (1,)}, None, "Empty swap-file"),
        ({"last_page": 99, "nr_badpages": 637}, None, ""),
        ({"last_page": 99, "nr_badpages": 638}, None, ""),
        ({"last_page": 99, "nr_badpages": 638, "order": ">"}, None, ""),
        ({"last_page": 99, "nr_badpages": 4_000_000_000}, None, ""),
        ({"last_page": 99, "size": 4095}, None, ""),
        ({"last_page": 99, "size": 4097}, None, "Swap area shorter than signature indicates"),
        ({"last_page": 99, "size": 8191}, None, "Swap area shorter than signature indicates"),
        ({"last_page": 99, "size": 8192}, None, "Swap area shorter than signature indicates"),
    ],
    ids=str,
)
def test_header(header: dict[str, Any], kib: int | None, log: str) -> None:
    """kib: the size in /proc/swaps on a kernel that has ghosts, None where even that one refuses."""
    path = write_area(DIR / "g", **header)
    if kib is None or not HAS_GHOSTS:
        assert swapon_errno(path) == "EINVAL"
        assert swaps() == []
    else:
        assert swapon_errno(path) is None
        assert swaps() == [Swap(str(path), "ghost", kib, 0, AUTOMATIC[0])]
    if kib is None and (HAS_GHOSTS or "badpages" not in header):
        assert log in kernel_log()


@pytest.mark.parametrize("pages", [2**29, 2**32 - 1])
def test_slots_beyond_memory_are_refused_and_freed(pages: int) -> None:
    """2 TiB and 16 TiB, on 512 MiB."""
    path = write_area(DIR / "g", pages - 1)
    before = counters("/proc/meminfo")["MemAvailable"]
    if HAS_GHOSTS and HAS_TABLES:
        swapon(path)
        # swap_show() counts KiB in 32 bits
        kib = (pages - 1) * 4 % 2**32
        assert [(swap.type, swap.size_kib) for swap in swaps()] == [("ghost", kib)]
        assert counters("/proc/meminfo")["SwapTotal"] == (pages - 1) * 4
        took = before - counters("/proc/meminfo")["MemAvailable"]
        assert took < pages // 512 * 48 / 1024 * 1.2 + (16 << 10)
        swapoff(path)
    else:
        assert swapon_errno(path) == ("ENOMEM" if HAS_GHOSTS else "EINVAL")
    assert before - counters("/proc/meminfo")["MemAvailable"] < 16 << 10
    assert swaps() == []


def test_file_systems(tmp_path: Path) -> None:
    """tmp_path is on tmpfs. The kernel wants read_folio; blocks, extents and devices are not looked at."""
    works = None if HAS_GHOSTS else "EINVAL"
    assert swapon_errno(write_area(tmp_path / "g", 99)) == "EINVAL"
    assert swapon_errno(write_area(Path("/root/overlay-g"), 99)) == "EINVAL"

    for kind, options in (
        ("ext4", ("-O", "inline_data")),
        ("xfs", ()),
        ("btrfs", ()),
    ):
        image, mountpoint = DIR / f"{kind}.img", tmp_path / kind
        mountpoint.mkdir()
        must("truncate", "-s", "400M", image)
        must(f"mkfs.{kind}", "-q", *options, image)
        must("mount", "-o", "loop" + (",compress-force=zstd" if kind == "btrfs" else ""), image, mountpoint)
        path = write_area(mountpoint / "g", 99)
        assert swapon_errno(path) == works, kind
        if HAS_GHOSTS:
            swapoff(path)
        must("mount", "-o", "remount,ro", mountpoint)
        assert swapon_errno(path) == "EROFS"
        must("umount", mountpoint)

    must("mount", "-t", "ramfs", "ramfs", tmp_path / "xfs")
    path = write_area(tmp_path / "xfs" / "g", 99)
    # ramfs has no bmap: without the patch it is the extents that fail, with the same errno
    assert swapon_errno(path) == works
    swapoff_all()
    must("umount", tmp_path / "xfs")


def test_a_loop_device_over_a_ghost_is_none() -> None:
    path = write_area(DIR / "g", 99)
    loop = must("losetup", "--show", "-f", path).strip()
    try:
        assert swapon_errno(loop) == "EINVAL"
    finally:
        must("losetup", "-d", loop)


@needs_ghosts
def test_an_active_ghost_is_a_swap_file() -> None:
    path = write_area(DIR / "g", 99)
    swapon(path)
    assert swapon_errno(path) == "EBUSY"
    with pytest.raises(OSError, match="Text file busy"), path.open("ab", buffering=0) as file:
        file.write(b"x")
    with pytest.raises(OSError, match="Text file busy"):
        os.truncate(path, 0)
    with pytest.raises(PermissionError):
        path.unlink()
    with pytest.raises(PermissionError):
        path.rename(DIR / "other")
    path.chmod(0o644)
    os.truncate(path, 8192)  # growing is let through; the area stays as it is, until the next swapon
    assert swaps() == [Swap(str(path), "ghost", 396, 0, AUTOMATIC[0])]
    swapoff(path)
    assert swapon_errno(path) == "EINVAL"
    path.unlink()


@needs_ghosts
def test_priorities_and_discard() -> None:
    one, two, three = (write_area(DIR / name, 99) for name in "abc")
    must("/sbin/swapon", "-d", "-p", "100", one)
    swapon(two)
    swapon(three)
    assert [(swap.path, swap.priority) for swap in swaps()] == [
        (str(one), 100),
        (str(two), AUTOMATIC[0]),
        (str(three), AUTOMATIC[1]),
    ]
    assert "Priority:100 extents:0 across:0k SS\n" in kernel_log()


@needs_ghosts
def test_counters_follow_the_areas() -> None:
    """nr_real_swapfiles: areas with storage. nr_rotate_swap: areas on disks that turn. A ghost is neither."""
    rotational = Path("/sys/block/vda/queue/rotational")
    ghost, real = write_area(DIR / "g", 99), make_file(DIR / "f", 8)

    def both() -> tuple[int, int]:
        return kernel_int("nr_real_swapfiles"), kernel_int("nr_rotate_swap")

    assert both() == (0, 0)
    for turning in (1, 0):
        rotational.write_text(str(turning))
        swapon(ghost)
        assert both() == (0, 0)
        swapon(real)
        assert both() == (1, turning)
        swapoff(ghost)
        assert both() == (1, turning)
        swapon(ghost)
        swapoff(real)
        assert both() == (0, 0)
        swapoff(ghost)
        assert both() == (0, 0)
    assert swapon_errno(write_area(DIR / "bad", 0)) == "EINVAL"
    assert both() == (0, 0)


def test_the_symbol_that_tells() -> None:
    with open("/proc/kallsyms") as symbols:
        assert any(line.split()[2] == "nr_real_swapfiles" for line in symbols) == HAS_GHOSTS


@needs_ghosts
def test_on_and_off_many_times() -> None:
    """Nothing stays behind: a leak of one page each time would show in every round, other programs do not."""
    path = write_area(DIR / "g", 2**20 - 1)
    times, page_kib = 200, 4

    def available() -> int:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return counters("/proc/meminfo")["MemAvailable"]

    def round_takes_kib() -> int:
        before = available()
        for _ in range(times):
            swapon(path)
            swapoff(path)
        return before - available()

    assert any(round_takes_kib() < times * page_kib for _ in range(4))
    assert swaps() == []


@needs_ghosts
def test_hibernation_passes_a_ghost_by() -> None:
    """The kernel looks for the area on a device among the active ones; a ghost has none."""
    ghost = write_area(DIR / "g", 99)
    swapon(ghost)
    snapshot_set_swap_area = 0x400C330D  # include/linux/suspend_ioctls.h
    device = os.stat("/dev/vda").st_rdev
    with open("/dev/snapshot", "rb", buffering=0) as snapshot, pytest.raises(OSError, match="No such device"):
        fcntl.ioctl(snapshot, snapshot_set_swap_area, struct.pack("=qI", 0, device))
