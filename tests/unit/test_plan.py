# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import mmap
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine import require

from ghostctl import fstab, plan, sample, sizes
from ghostctl.errors import Error, NotFound
from ghostctl.swaps import Area
from ghostctl.zswap import Zswap

MIB = 1 << 20
GIB = 1 << 30
PAGE = sizes.page_size()
TEXT = b"The quick brown fox jumps over the lazy dog, and over the swap area behind him. "


@given(
    st.integers(256 << 20, 1 << 45),
    st.integers(1, 90),
    st.floats(1, 100, allow_nan=False),
)
def test_slots_run_out_before_the_pool(total: int, percent: int, at: float) -> None:
    (row,) = plan.alternatives(total, [percent], at)
    assert row.size <= row.pool * at
    assert row.pool * 100 <= total * percent
    assert row.left == total - row.pool - row.slots


def test_alternatives_of_a_gibibyte() -> None:
    (row,) = plan.alternatives(GIB, [20], 3)
    assert row.pool == (GIB // PAGE) * 20 // 100 * PAGE
    assert row.holds == 3 * row.pool
    assert row.size == 552 << 20


@pytest.mark.parametrize(
    ("now", "asked", "chosen", "shown"),
    [
        (20, None, 20, [20, 35, 50]),
        (1, None, 20, [20, 35, 50]),
        (40, None, 40, [20, 35, 40, 50]),
        (20, 60, 60, [20, 35, 50, 60]),
    ],
)
def test_which_limits_are_shown(now: int, asked: int | None, chosen: int, shown: list[int]) -> None:
    state = Zswap(True, "lz4", now, 90, False, None, 0, 0, GIB)
    assert plan.percents(state, asked) == (chosen, shown)
    assert plan.percents(None, asked)[0] == (asked or 20)


def test_commands_say_only_what_is_to_do() -> None:
    (row,) = plan.alternatives(GIB, [20], 3)
    on = Zswap(True, "lz4", 20, 90, False, None, 0, 0, GIB)
    rest = ["ghostctl mkghost -s 552M /g", "ghostctl on -p 7 /g"]
    assert plan.commands(row, "/g", 7, on) == rest
    assert plan.commands(row, "/g", 7, on._replace(enabled=False, max_pool_percent=50)) == [
        "ghostctl zswap set enabled=yes max_pool_percent=20 --persist",
        *rest,
    ]
    (tiny,) = plan.alternatives(16 << 20, [1], 1)
    with pytest.raises(Error, match="next to nothing"):
        plan.commands(tiny, "/g", 7, on)
    (beside,) = plan.alternatives(GIB, [20], 3, promised=GIB)
    assert beside.size == 0
    with pytest.raises(Error, match="all memory"):
        plan.commands(row._replace(left=-1), "/g", 7, on)


def test_no_size_is_more_than_a_header_declares() -> None:
    """The last page of an area has a number of 32 bits, and the commands have whole MiB."""
    for total in (1 << 44, 1 << 50):
        (row,) = plan.alternatives(total, [90], 1000)
        assert row.holds > PAGE << 32
        assert row.size == (PAGE << 32) - MIB


def test_commands_change_what_is_there(tmp_path: Path) -> None:
    (row,) = plan.alternatives(GIB, [20], 3)
    on = Zswap(True, "lz4", 20, 90, False, None, 0, 0, GIB)
    ghost = tmp_path / "a ghost"
    ghost.touch()
    resize = f"ghostctl resize --cycle '{ghost}' 552M"
    assert plan.commands(row, str(ghost), 7, on) == [resize, f"ghostctl on -p 7 '{ghost}'"]
    own = Area(str(ghost), "ghost", 1024, 0, 7)
    assert plan.commands(row, str(ghost), 7, on, own=own) == [resize]
    # of the kernel's choice, which other areas may have as well
    again = [f"ghostctl off '{ghost}'", f"ghostctl on -p 7 '{ghost}'"]
    assert plan.commands(row, str(ghost), 7, on, own=own._replace(prio=-1)) == [resize, *again]


def test_fstab_line_is_one_that_declares_it() -> None:
    (row,) = plan.alternatives(GIB, [20], 3)
    (line,) = fstab.parse(plan.fstab_line(row, "/a b", 7).encode())
    assert fstab.declares_ghost(line)
    assert (line.spec, line.option("x-ghost.size"), line.option("pri")) == ("/a b", "552M", "7")


def test_priority_and_what_comes_after() -> None:
    disk, zram = Area("/swap", "file", 1 << 20, 0, 5), Area("/dev/sda2", "partition", 1 << 20, 1 << 19, -2)
    assert plan.priority(None, []) == 100
    assert plan.priority(None, [zram]) == 100
    assert plan.priority(None, [disk, zram]) == 6
    assert plan.priority(None, [disk._replace(prio=32767)]) == 32767
    assert plan.priority(disk._replace(name="/g", prio=2), [disk]) == 2
    assert plan.priority(disk._replace(name="/g", prio=-3), [disk]) == 6
    assert plan.past([disk, zram], 100) == "the kernel goes on to /swap; 1.5G are free there"
    assert plan.past([disk], 4).startswith("no other area")
    assert plan.past([disk], 5) == "the kernel goes on with /swap, which it has used in turn with it"
    assert plan.past([disk, zram], 5) == "the kernel goes on to /dev/sda2; 512M are free there"
    # equal priorities are no way to have both
    assert plan.priority(disk._replace(name="/g"), [disk]) == 6


def test_zeros_do_not_count_and_noise_is_incompressible() -> None:
    noise = random.Random(1).randbytes(PAGE)
    text = (TEXT * PAGE)[:PAGE]
    assert sample.measure([bytes(PAGE)] * 9, "lz4") is None
    assert sample.measure([noise], "lz4") is None
    found = sample.measure([bytes(PAGE), noise, text], "lz4")
    assert found is not None
    assert (found.pages, found.incompressible) == (2, 1)
    assert found.ratio > 8


@pytest.mark.parametrize("library", list(sample._LIBRARIES))
def test_every_library_compresses(library: str) -> None:
    if not library.startswith("zlib"):
        require(library)
    compress = sample._LIBRARIES[library]()
    assert 0 < compress((TEXT * PAGE)[:PAGE]) < PAGE // 8
    assert compress(random.Random(1).randbytes(PAGE)) >= PAGE


@pytest.mark.parametrize("name", ["lz4", "lzo", "lzo-rle", "zstd", "deflate"])
def test_the_compressor_itself_is_taken_first(name: str) -> None:
    library = {"lz4": "liblz4", "lzo": "liblzo2", "lzo-rle": "liblzo2", "zstd": "libzstd"}.get(name, "zlib")
    if library != "zlib":
        require(library)
    found = sample.measure([(TEXT * PAGE)[:PAGE]], name)
    assert found is not None
    assert found.library == library


@pytest.mark.parametrize("name", ["842", None])
def test_another_compressor_is_named_and_its_ratio_lowered(name: str | None) -> None:
    page = (TEXT * PAGE)[:PAGE]
    itself, instead = sample.measure([page], "deflate"), sample.measure([page], name)
    assert itself is not None
    assert instead is not None
    what = "842" if name else "an unknown compressor"
    assert instead.library == f"zlib instead of {what} (the ratio is lowered by 50%)"
    assert instead.ratio == itself.ratio / 2


def test_no_ratio_is_below_that_of_pages_as_they_are() -> None:
    half = random.Random(1).randbytes(PAGE * 3 // 4).ljust(PAGE, b"x")
    found = sample.measure([half], "842")
    assert found is not None
    assert found.ratio == 1


def test_a_sample_is_of_the_process() -> None:
    require("root")
    size = 64 << 20
    code = (
        f"import mmap, sys; m = mmap.mmap(-1, {size}, flags={mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS});"
        f"m.write({TEXT!r} * ({size} // {len(TEXT)})); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        pages = list(sample.read([process.pid], [1]))
        process.communicate()
    of_text = sum(TEXT in page for page in pages)
    assert len(pages) > 500
    assert of_text > len(pages) * 0.8


def test_no_such_process_or_cgroup(tmp_path: object) -> None:
    assert plan.processes([2**22 + 1]) == ([], [])
    with pytest.raises(NotFound):
        plan.in_cgroup(str(tmp_path))
