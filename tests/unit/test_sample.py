# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from machine import require

from ghostctl import kernel, sample, sizes
from ghostctl.backends import zram
from ghostctl.errors import NotFound, Unsupported

PAGE = sizes.page_size()
TEXT = b"The quick brown fox jumps over the lazy dog, and over the swap area behind him. "


def page(seed: int, noise: int) -> bytes:
    """So many bytes of noise, and the rest of one letter."""
    return random.Random(seed).randbytes(noise).ljust(PAGE, b"x")


def test_zeros_do_not_count_and_noise_takes_what_it_is() -> None:
    noise = random.Random(1).randbytes(PAGE)
    text = (TEXT * PAGE)[:PAGE]
    assert sample.measure([bytes(PAGE), b"8 bytes." * (PAGE // 8)] * 9, "lz4") is None
    found = sample.measure([noise] * 3, "lz4")
    assert found is not None
    assert (found.pages, found.incompressible, found.ratio) == (3, 3, 1)
    found = sample.measure([bytes(PAGE), noise, text], "lz4")
    assert found is not None
    assert (found.pages, found.incompressible) == (2, 1)
    assert 1.8 < found.ratio < 2
    assert found.how.endswith(", 1 of which do not compress")


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
    assert found.by == f"with {library}"


@pytest.mark.parametrize("name", ["842", None])
def test_another_compressor_is_named_and_its_ratio_lowered(name: str | None) -> None:
    text = (TEXT * PAGE)[:PAGE]
    itself, instead = sample.measure([text], "deflate"), sample.measure([text], name)
    assert itself is not None
    assert instead is not None
    what = "842" if name else "an unknown compressor"
    assert instead.by == f"with zlib instead of {what} (the ratio is lowered by 50%)"
    assert instead.ratio == itself.ratio / 2


def test_no_ratio_is_below_that_of_pages_as_they_are() -> None:
    found = sample.measure([page(1, PAGE * 3 // 4)], "842")
    assert found is not None
    assert found.ratio == 1


def test_a_sample_is_of_the_process() -> None:
    require("root", "native")
    size = 64 << 20
    code = (
        f"import mmap, sys; m = mmap.mmap(-1, {size}, flags={mmap_flags()});"
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


def mmap_flags() -> int:
    import mmap

    return mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def test_no_such_process_or_cgroup(tmp_path: Path) -> None:
    assert sample.processes([2**22 + 1]) == ([], [])
    with pytest.raises(NotFound):
        sample.in_cgroup(str(tmp_path))


PAGES = [page(seed, 1000) for seed in range(100)]


@pytest.mark.parametrize(
    ("made", "available", "ratio", "pages", "incompressible"),
    [
        # 81 copies, of which mm_stat says what they take together
        (zram.Compressed("lzo", 8100 * PAGE, 2700 * PAGE, 0, 81), 1 << 40, 3, 100, 0),
        (zram.Compressed("lzo", 8100 * PAGE, 2700 * PAGE, 810, 81), 1 << 40, 3, 100, 10),
        # never below 1, whatever the allocator takes besides
        (zram.Compressed("lzo", 8100 * PAGE, 9000 * PAGE, 0, 81), 1 << 40, 1, 100, 0),
        # a signal came
        (zram.Compressed("lzo", 200 * PAGE, 100 * PAGE, 20, 2), 1 << 40, 2, 100, 10),
        # a machine with little memory: fewer pages, not fewer copies
        (zram.Compressed("lzo", 256 * PAGE, 128 * PAGE, 32, 8), 16 * 256 * PAGE, 2, 32, 4),
    ],
)
def test_what_the_kernel_makes_of_it(
    monkeypatch: pytest.MonkeyPatch,
    made: zram.Compressed,
    available: int,
    ratio: float,
    pages: int,
    incompressible: int,
) -> None:
    asked = []

    def compress(pages: list[bytes], copies: int, compressor: str | None) -> zram.Compressed:
        asked.append((len(pages), copies, compressor))
        return made

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(zram, "compress", compress)
    monkeypatch.setattr(kernel, "read_meminfo", lambda: {"MemAvailable": available})
    found = sample.by_kernel(PAGES, "lzo")
    assert found is not None
    assert (found.ratio, found.pages, found.incompressible) == (ratio, pages, incompressible)
    assert found.how.startswith(f"{pages} pages of memory, compressed by the kernel's lzo")
    assert asked == [(pages, 81 if pages == 100 else 8, "lzo")]


def refuse(*_: object) -> zram.Compressed:
    raise Unsupported("no zram")


@pytest.mark.parametrize(
    ("uid", "pages", "compress", "available"),
    [
        (1000, PAGES, lambda *_: zram.Compressed("lzo", 8, 4, 0, 1), 1 << 40),
        (0, [], lambda *_: zram.Compressed("lzo", 8, 4, 0, 1), 1 << 40),
        (0, PAGES, refuse, 1 << 40),
        (0, PAGES, lambda *_: zram.Compressed("lzo", 8, 4, 0, 1), 16 * 7 * PAGE),
        # pages of one word each, or counters of another kernel
        (0, PAGES, lambda *_: zram.Compressed("lzo", 0, 0, 0, 1), 1 << 40),
        (0, PAGES, lambda *_: zram.Compressed("lzo", 8, -1, 0, 1), 1 << 40),
    ],
)
def test_where_the_kernel_cannot_be_asked(
    monkeypatch: pytest.MonkeyPatch, uid: int, pages: list[bytes], compress: object, available: int
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setattr(zram, "compress", compress)
    monkeypatch.setattr(kernel, "read_meminfo", lambda: {"MemAvailable": available})
    assert sample.by_kernel(pages, "lzo") is None


@pytest.mark.parametrize(("zpool", "ratio"), [("zbud", 2), ("z3fold", 3), ("zsmalloc", 3.5), (None, 3.5)])
def test_an_old_allocator_holds_less(
    monkeypatch: pytest.MonkeyPatch, zpool: str | None, ratio: float
) -> None:
    monkeypatch.setattr(sample, "by_kernel", lambda *_: sample.Sample(3.5, 100, 0, "by the kernel's lzo"))
    found = sample.take("lzo", [], zpool=zpool)
    assert found is not None
    assert found.ratio == ratio
