# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostctl import swaps
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
        known = deleted or name.endswith(b" (deleted)")
        plain = name if deleted else name.removesuffix(b" (deleted)")
        expected.append(Area(os.fsdecode(plain), kind.decode(), size, used, prio, known))
    found = list(swaps.parse(text))
    assert found == expected
    assert [os.fsencode(area.path) for area in found] == [
        name + b" (deleted)" * deleted for name, *_, deleted in areas
    ]


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
        Area("/old", "file", 1020, 0, -3, True),
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
    ],
)
def test_what_is_no_line(line: bytes) -> None:
    good = b"/b file 1 2 3\n"
    assert [area.name for area in swaps.parse(HEAD + line + b"\n" + good)] == ["/b"]


def test_no_areas_and_no_file(tmp_path: Path) -> None:
    assert list(swaps.parse(b"")) == []
    assert list(swaps.parse(HEAD)) == []
    assert swaps.read(str(tmp_path / "swaps")) == []


def test_sizes() -> None:
    area = Area("/a", "file", 2**33, 2**32, 0)
    assert (area.size, area.used) == (2**43, 2**42)


def test_ghosts_by_type() -> None:
    assert [Area("x", kind, 0, 0, 0).is_ghost for kind in ("ghost", "xswap", "file", "partition", "new")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_the_same_file_by_device_and_inode(tmp_path: Path) -> None:
    path = tmp_path / "a b"
    path.touch()
    (tmp_path / "hard").hardlink_to(path)
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "other").touch()
    named = tmp_path / "x (deleted)"
    named.touch()
    areas = list(swaps.parse(HEAD + kernel_line(os.fsencode(path), b"file", 1, 0, 0)))
    for name in ("a b", "hard", "link"):
        assert swaps.find(areas, (tmp_path / name).stat()) == areas[0]
    assert swaps.find(areas, (tmp_path / "other").stat()) is None
    path.unlink()
    assert swaps.find(areas, (tmp_path / "hard").stat()) is None
    areas = list(swaps.parse(HEAD + kernel_line(os.fsencode(named), b"file", 1, 0, 0)))
    assert swaps.find(areas, named.stat()) == areas[0]


def test_devices_by_number() -> None:
    null = Area("/dev/null", "partition", 1, 0, 0)
    assert null.is_file(os.stat("/dev/null"))
    assert not null.is_file(os.stat("/dev/zero"))
    assert not null.is_file(os.stat("/"))
    assert not Area("null", "xswap", 1, 0, 0).is_file(os.stat("/dev/null"))
