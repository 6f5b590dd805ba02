# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ghostctl import sizes
from ghostctl.errors import SizeError

RAM = 16 << 30
SUFFIX = st.sampled_from(
    [
        (s + unit, base**n)
        for n, s in enumerate("KMGTPE", 1)
        for unit, base in (("", 1024), ("iB", 1024), ("B", 1000))
    ]
)


@given(st.integers(0, 2**64 - 1))
@example(2**53 + 1)
def test_bytes_are_exact(size: int) -> None:
    assert sizes.parse(str(size), RAM) == size


@given(st.decimals(0, 20, places=3, allow_nan=False), SUFFIX, st.sampled_from([str, str.lower, str.upper]))
def test_suffixes(number: object, suffix: tuple[str, int], case: type[str]) -> None:
    text, unit = suffix
    exact = Fraction(str(number)) * unit
    if exact < 2**64:
        assert sizes.parse(f"{number}{case(text)}", RAM) == exact.__floor__()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64M", 64 << 20),
        (" 1.5G ", 1610612736),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1kib", 1024),
        ("16E", None),
        ("15E", 15 << 60),
        ("18EB", 18 * 10**18),
        ("0.1K", 102),
        ("ram", RAM),
        ("RAM", RAM),
        ("50%", RAM // 2),
        ("12.5%", RAM // 8),
        ("150%", RAM * 3 // 2),
        ("ram*2", RAM * 2),
        ("ram * 1.5", RAM * 3 // 2),
        ("ram/3", RAM // 3),
        ("ram/0.5", RAM * 2),
        ("min(ram/2, 16G)", RAM // 2),
        ("min(ram/2,1G)", 1 << 30),
        ("min(1G)", 1 << 30),
        ("min(50%, 2G, 10M)", 10 << 20),
        ("0", 0),
    ],
)
def test_parse(text: str, size: int | None) -> None:
    if size is None:
        with pytest.raises(SizeError):
            sizes.parse(text, RAM)
    else:
        assert sizes.parse(text, RAM) == size


BAD = [
    *(
        "",
        " ",
        "-1",
        "+1",
        "1e9",
        "9999E",
        "50%%",
        "%",
        "1B",
        "1iB",
        "1GG",
        "1GiBB",
        "1.5",
        "G",
        "1.G",
        ".G",
        ".",
    ),
    *(
        "ram**9",
        "ram*",
        "ram/",
        "ram/0",
        "ram/0.0",
        "ram+1",
        "ram 1",
        "ramp",
        "ram*1e9",
        "ram*99999999999999999999",
    ),
    *("ram/0.000000000000000001", "min(", "min()", "min(1G", "min(1G,)", "min(min(1G))", "max(1G,2G)"),
    *(
        "٣G",
        "3\u066b5G",
        "²",
        "1_000",
        "0x10",
        "1,5G",
        "1 000",
        "1\0",
        "1G\n2G",
        "nan",
        "inf",
        "True",
        "\udcff",
    ),
    *("9" * 100_000, "1" + "0" * 79),
]


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:24])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(SizeError) as caught:
        sizes.parse(text, RAM)
    assert len(str(caught.value)) < 400
    assert caught.value.status == 2


@given(st.text(max_size=100) | st.text("0123456789.KMGTPEiB%ram*/min(), -", max_size=20))
def test_any_text_is_a_size_or_an_error(text: str) -> None:
    try:
        size = sizes.parse(text, RAM)
    except SizeError:
        return
    assert type(size) is int
    assert 0 <= size < 2**64


def test_ram_is_what_the_kernel_says() -> None:
    line = Path("/proc/meminfo").read_text().splitlines()[0]
    assert line.split() == ["MemTotal:", str(sizes.ram_bytes() >> 10), "kB"]
    assert sizes.parse("ram") == sizes.ram_bytes()


@given(st.sampled_from(sizes.PAGE_SIZES), st.integers(0, 2**64 - 1))
@example(4096, 10 * 4096 - 1)
@example(4096, 10 * 4096)
@example(4096, (2**32 - 1) * 4096 + 4095)
@example(4096, 2**32 * 4096)
def test_pages(page_size: int, size: int) -> None:
    try:
        pages = sizes.to_pages(size, page_size)
    except SizeError:
        assert size < 10 * page_size or size >= 2**32 * page_size
    else:
        assert 10 <= pages < 2**32
        assert 0 <= size - pages * page_size < page_size


@given(st.integers(0, 2**70))
def test_human_is_within_half_a_tenth(size: int) -> None:
    text = sizes.human(size)
    if size < 1024:
        assert text == f"{size}B"
        return
    number, unit = Fraction(text[:-1]), 1024 ** (" KMGTPE".index(text[-1]))
    assert abs(number * unit - size) <= Fraction(unit, 20)
    assert sizes.human(size, " ", "iB") == f"{text[:-1]} {text[-1]}iB"


@pytest.mark.parametrize("size", [os.sysconf("SC_PAGE_SIZE"), 65536])
def test_page_sizes(size: int) -> None:
    assert size in sizes.PAGE_SIZES


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("18446744073709551615", 2**64 - 1), ("18446744073709551616", None), ("9" * 5000, None)]
    + [(text, None) for text in ("", "-1", "+1", " 1", "1_0", "\u0663", "\u00b2", "0x10")],
)
def test_natural(text: str, number: int | None) -> None:
    assert sizes.natural(text) == number
