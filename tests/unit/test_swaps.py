# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import os
from pathlib import Path

import oscalls
import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine import require

from ghostctl import errors, ghostfile, ghostwrite, header, swaps
from ghostctl.swaps import Area

HEAD = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
NAMES = (
    st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name).map(lambda name: b"/" + name)
)
AREAS = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from([b"file", b"partition", b"ghost", b"xswap", b"holographic"]),
        st.integers(0, 2**54),
        st.integers(0, 2**54),
        st.integers(-(2**31), 2**31 - 1),
        st.booleans(),
    ),
    max_size=5,
)


def kernel_line(name: bytes, kind: bytes, size: int, used: int, prio: int) -> bytes:
    """A line as swap_show() of mm/swapfile.c prints it; mangle_path() escapes these four bytes."""
    for byte in b"\\ \t\n":
        name = name.replace(bytes([byte]), b"\\%03o" % byte)
    line = name + b" " * max(40 - len(name), 1) + kind
    numbers = (b"%d" % number for number in (size, used))
    return (
        line
        + b"\t\t"
        + b"".join(n + (b"\t" if len(n) < 7 else b"") + b"\t" for n in numbers)
        + b"%d\n" % prio
    )


@given(AREAS)
def test_what_the_kernel_writes_is_read(areas: list[tuple[bytes, bytes, int, int, int, bool]]) -> None:
    text, expected = HEAD, []
    for name, kind, size, used, prio, deleted in areas:
        text += kernel_line(name + b" (deleted)" * deleted, kind, size, used, prio)
        expected.append(Area(os.fsdecode(name + b" (deleted)" * deleted), kind.decode(), size, used, prio))
    assert list(swaps.parse(text)) == expected


@given(st.binary(max_size=300))
def test_garbage_gives_no_error(data: bytes) -> None:
    for text in (data, HEAD + data):
        for area in swaps.parse(text):
            assert area.name
            assert type(area.size) is int


def test_lines_of_kernels() -> None:
    assert list(
        swaps.parse(
            HEAD
            + b"/dev/dm-1                               partition\t8388604\t\t1024\t\t-2\n"
            + b"/my\\040swap\\011x\\012y\\134z                 file\t\t1048572\t\t0\t\t5\n"
            + b"/old\\040(deleted)                       file\t\t1020\t\t0\t\t-3\n"
            + b"xswap0                                  xswap\t\t4294967296\t\t8\t\t10\n"
            + b"/dev/ghostswap                          ghost\t\t17179869180\t12\t\t100\n"
            + b"/\xff\r\x0b\x0c\xc2\xa0                 file\t\t1020\t\t0\t\t0\n"
        )
    ) == [
        Area("/dev/dm-1", "partition", 8388604, 1024, -2),
        Area("/my swap\tx\ny\\z", "file", 1048572, 0, 5),
        # whether the file is gone, or is called so, the kernel does not say
        Area("/old (deleted)", "file", 1020, 0, -3),
        Area("xswap0", "xswap", 2**32, 8, 10),
        Area("/dev/ghostswap", "ghost", 17179869180, 12, 100),
        Area("/\udcff\r\x0b\x0c\xa0", "file", 1020, 0, 0),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"/a",
        b"/a file",
        b"/a file x 0 0",
        b"/a file 1 2 3 4",
        b"/a b file 1 2 3",
        b" file 1 2 3",
        b"/a file 1.5 0 0",
        b"/a\\000b file 1 2 3",
        b"/a file " + b"9" * 400 + b" 2 3",
        b"/a file 1 2 " + b"9" * 5000,
        b"/a file " + b"9" * 21 + b" 2 3",
    ],
)
def test_what_is_no_line(line: bytes) -> None:
    good = b"/b file 1 2 3\n"
    assert [area.name for area in swaps.parse(HEAD + line + b"\n" + good)] == ["/b"]


def test_no_areas(tmp_path: Path) -> None:
    assert list(swaps.parse(b"")) == []
    assert list(swaps.parse(HEAD)) == []
    file = tmp_path / "swaps"
    file.write_bytes(HEAD)
    assert swaps.read(str(file)) == []


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ((), "is not mounted"),
        (("self",), "is not mounted as a whole, but with subset=pid"),
        (("self", "meminfo"), "this kernel has no swap"),
    ],
)
def test_no_list_is_not_an_empty_one(tmp_path: Path, there: tuple[str, ...], why: str) -> None:
    for name in there:
        (tmp_path / name).touch()
    path = str(tmp_path / "swaps")
    with pytest.raises(errors.NoAreaList, match=why) as caught:
        swaps.read(path)
    assert (caught.value.path, errors.exit_status(caught.value)) == (path, 1)


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with oscalls.raises(errno.EISDIR, tmp_path):
        swaps.read(str(tmp_path))
    path = tmp_path / "swaps"
    for text in (b"", b"/a file 1 2 3\n", b" " + HEAD):
        path.write_bytes(text)
        with pytest.raises(errors.Error, match="is not the kernel's list of areas") as caught:
            swaps.read(str(path))
        assert caught.value.path == str(path)


def test_the_largest_number_of_a_kernel() -> None:
    (area,) = swaps.parse(HEAD + b"/a file %d 0 0\n" % (2**64 - 1))
    assert area.size_kib == 2**64 - 1


def test_sizes() -> None:
    area = Area("/a", "file", 2**33, 2**32, 0)
    assert (area.size, area.used) == (2**43, 2**42)


def test_what_is_a_ghost_and_what_is_ordinary() -> None:
    words = ("ghost", "xswap", "file", "partition", "new")
    both = [(Area("/x", kind, 0, 0, 0).is_ghost, Area("/x", kind, 0, 0, 0).is_ordinary) for kind in words]
    assert both == [(True, False), (True, False), (False, True), (False, True), (True, False)]
    # what no path leads to can be anything: lxcfs has "none virtual"
    assert [Area("x", kind, 0, 0, 0).is_ghost for kind in words] == [True, True, False, False, False]


def test_the_same_area_with_another_size() -> None:
    area = Area("/x", "ghost", 7, 3, -1)
    assert area.is_same(area._replace(used_kib=5))
    assert area.is_same(area._replace(size_kib=7 + (3 << 32)))
    for other in (
        area._replace(size_kib=8),
        area._replace(prio=-2),
        area._replace(type="file"),
        area._replace(name="/y"),
    ):
        assert not area.is_same(other)


def test_the_same_area_later() -> None:
    area = Area("/a", "file", 100, 5, 1)
    assert area.is_same(area._replace(used_kib=7))
    for other in (
        area._replace(name="/b"),
        area._replace(type="ghost"),
        area._replace(size_kib=101),
        area._replace(prio=2),
    ):
        assert not area.is_same(other)


@pytest.mark.parametrize(
    ("name", "kind", "number"),
    [
        ("/dev/zram0", "partition", 0),
        ("/dev/zram12", "partition", 12),
        ("/zram3", "partition", 3),
        ("/dev/zram", "partition", None),
        ("/dev/zram1x", "partition", None),
        ("/dev/zram-1", "partition", None),
        ("/dev/xzram1", "partition", None),
        ("/dev/1", "partition", None),
        ("/dev/mapper/zram1", "partition", None),
        ("/srv/zram1", "partition", None),
        ("/zram1", "file", None),
        ("/dev/zram1", "file", None),
        ("zram1", "partition", None),
    ],
)
def test_zram_devices(name: str, kind: str, number: int | None) -> None:
    assert swaps.zram_number(Area(name, kind, 1, 0, 0)) == number


def listing(tmp_path: Path, total_kib: int, *areas: tuple[Path | str, str, int]) -> str:
    """/proc/swaps and /proc/meminfo of a kernel that prints sizes in KiB modulo 2^32."""
    lines = [kernel_line(os.fsencode(name), kind.encode(), kib % 2**32, 0, -1) for name, kind, kib in areas]
    (tmp_path / "swaps").write_bytes(HEAD + b"".join(lines))
    (tmp_path / "meminfo").write_text(f"MemTotal: 524288 kB\nSwapTotal: {total_kib} kB\n")
    return str(tmp_path / "swaps")


def sizes_kib(path: str) -> list[int]:
    return [area.size_kib for area in swaps.read(path)]


TIB = 1 << 30


def declare(path: Path, size_kib: int) -> Path:
    """A ghost of so many KiB with its header page."""
    ghostwrite.create(str(path), ghostwrite.Request(header.ghost(size_kib // 4, 4096)))
    return path


@pytest.mark.parametrize("wraps", [1, 2, 3])
def test_a_size_that_has_wrapped(tmp_path: Path, wraps: int) -> None:
    size = wraps * 4 * TIB + TIB
    ghost = declare(tmp_path / "g", size)
    (tmp_path / "f").write_bytes(bytes(4096))
    real = (tmp_path / "f", "file", 1024)
    path = listing(tmp_path, size - 4 + 1024, (ghost, "ghost", size - 4), real)
    assert sizes_kib(path) == [size - 4, 1024]
    # an area that is just going down is not in the total any more
    assert sizes_kib(listing(tmp_path, size - 4, (ghost, "ghost", size - 4), real)) == [size - 4, 1024]


def test_the_header_is_read_only_when_the_sizes_do_not_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghost = declare(tmp_path / "g", 5 * TIB)
    monkeypatch.setattr(ghostfile, "look", None)
    assert sizes_kib(listing(tmp_path, TIB - 4, (ghost, "ghost", TIB - 4))) == [TIB - 4]
    (tmp_path / "meminfo").write_text("MemTotal: 524288 kB\n")
    assert sizes_kib(str(tmp_path / "swaps")) == [TIB - 4]
    (tmp_path / "meminfo").unlink()
    assert sizes_kib(str(tmp_path / "swaps")) == [TIB - 4]


def test_another_size_in_the_header(tmp_path: Path) -> None:
    """A resize of the file behind our back, or bad pages: the kernel's number stays."""
    ghost = declare(tmp_path / "g", 5 * TIB + 4)
    assert sizes_kib(listing(tmp_path, 7, (ghost, "ghost", 5 * TIB - 4))) == [TIB - 4]


def test_a_header_that_cannot_be_read(tmp_path: Path) -> None:
    """What the only area of unknown size lacks to the total is its own; of two it cannot be told."""
    one, two = (tmp_path / "one", "ghost", 9 * TIB - 4), (tmp_path / "two", "ghost", 512)
    # a file that is too small to have wrapped
    (tmp_path / "f").write_bytes(bytes(65536))
    real = (tmp_path / "f", "file", 60)
    assert sizes_kib(listing(tmp_path, 9 * TIB - 4 + 60, one, real)) == [9 * TIB - 4, 60]
    assert sizes_kib(listing(tmp_path, 9 * TIB - 4 + 512, one, two)) == [TIB - 4, 512]
    assert sizes_kib(listing(tmp_path, 9 * TIB - 4 + 8, one, ("/dev/none", "partition", 8))) == [TIB - 4, 8]
    assert sizes_kib(listing(tmp_path, 9 * TIB, one)) == [TIB - 4]
    declare(tmp_path / "two", 516)
    assert sizes_kib(listing(tmp_path, 9 * TIB - 4 + 512, one, two)) == [9 * TIB - 4, 512]


def test_a_device_that_is_too_small_to_have_wrapped(tmp_path: Path) -> None:
    require("block-device")
    names = (f"/dev/{path.name}" for path in Path("/sys/class/block").iterdir())
    device = next(name for name in names if os.path.exists(name))
    ghost = (tmp_path / "g", "ghost", 5 * TIB - 4)
    assert sizes_kib(listing(tmp_path, 5 * TIB - 4 + 8, ghost, (device, "partition", 8))) == [5 * TIB - 4, 8]
