# SPDX-License-Identifier: GPL-2.0-or-later
"""How well the memory of processes compresses: a sample of their anonymous pages.

The kernel itself compresses it, on a throw-away zram device, for root; else a library does.
"""

from __future__ import annotations

import array
import ctypes
import os
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from . import kernel, sizes
from .errors import Error, NotFound
from .report import describe, trace

_PROCESSES = 32
"""Processes that a sample of the machine is taken from, the largest."""
_PAGES = 1024
_CHUNKS = 256
"""Places of a process that are looked at, each of 512 pages."""
_CHUNK = 512

# Documentation/admin-guide/mm/pagemap.rst
_PRESENT, _FILE = 1 << 63, 1 << 61

# mm/zsmalloc.c: a handle goes with each object, and size classes are a 256th of a page apart
_HANDLE = 8
_CLASSES = 256
_CHAIN = 4
"""CONFIG_ZSMALLOC_CHAIN_SIZE is 8, and half of that errs on the safe side: the ratio came out 2 to 4 % less
than the kernel's for memory of processes, text and programs."""

_BYTES, _SIZE = ctypes.c_char_p, ctypes.c_size_t

Compress = Callable[[bytes], int]


# mm/zsmalloc.c: each class of sizes has pages of its own, and the last of them is half empty
_WRITTEN_PAGES = 8192
"""The sample is written as often as that takes: the overhead of the classes does not grow with it."""
_LEAST_COPIES = 8
_MEMORY_SHARE = 16
"""The part of available memory that the sample and its copies may take on a device."""

_MOST_BY_ZPOOL = {"zbud": 2.0, "z3fold": 3.0}
"""These allocators of zswap keep at most so many compressed pages in one page."""


class Sample(NamedTuple):
    """What a sample of memory says."""

    ratio: float
    """Pages to memory, those that do not compress among them."""
    pages: int
    """But for those that are all zeros, which take nothing."""
    incompressible: int
    """Pages of the sample that zswap would refuse, or store as they are."""
    by: str
    """What compressed them, and what was taken off the ratio when that is not what the kernel has."""

    @property
    def how(self) -> str:
        """How the ratio was found, in words."""
        text = f"{self.pages} pages of memory, compressed {self.by}"
        return f"{text}, {self.incompressible} of which do not compress" if self.incompressible else text


def take(
    compressor: str | None, pids: Iterable[int] | None = None, *, zpool: str | None = None
) -> Sample | None:
    """A sample of the memory of processes, those given or the largest; None when none can be read.

    As the kernel's `compressor` would have it (None: that which zram takes by itself), in zswap's `zpool`.
    """
    pages = [page for page in read(*processes(pids)) if not _is_one_word(page)]
    found = by_kernel(pages, compressor) or measure(pages, compressor or _DEFAULT)
    if found is None:
        return None
    return found._replace(ratio=min(found.ratio, _MOST_BY_ZPOOL.get(zpool or "", found.ratio)))


def processes(pids: Iterable[int] | None = None) -> tuple[list[int], list[int]]:
    """Processes and the size of their anonymous memory: those given, or the largest of this machine."""
    import psutil

    found = []
    try:
        for pid in psutil.pids() if pids is None else pids:
            try:
                memory = psutil.Process(pid).memory_info()
            except psutil.Error:
                # gone, or somebody else's
                continue
            if memory.rss > memory.shared:
                found.append((memory.rss - memory.shared, pid))
    except (LookupError, ValueError):
        raise Error("is not what it should be", path="/proc") from None
    found.sort(reverse=True)
    found = found[:_PROCESSES]
    return [pid for _, pid in found], [size for size, _ in found]


def in_cgroup(path: str) -> list[int]:
    """The processes in a cgroup and below it. Raises `OSError`."""
    pids: list[int] = []
    if not os.path.exists(os.path.join(path, "cgroup.procs")):
        raise NotFound("not a cgroup", path=path)
    for directory, _, _ in os.walk(path):
        try:
            with open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as file:
                pids += map(int, file)
        except FileNotFoundError:
            # removed just now
            continue
    return pids


def by_kernel(pages: Sequence[bytes], compressor: str | None) -> Sample | None:
    """How pages compress with the kernel's own compressor; None where it cannot be asked."""
    if os.geteuid() != 0 or not pages:
        return None
    from .backends import zram

    page_size = sizes.page_size()
    try:
        most = kernel.read_meminfo()["MemAvailable"] // _MEMORY_SHARE // page_size
        pages = random.sample(pages, min(len(pages), most // _LEAST_COPIES))
        if not pages:
            trace("too little memory for a sample on a zram device")
            return None
        copies = min(_WRITTEN_PAGES, most) // len(pages)
        found = zram.compress(pages, copies, compressor)
    except (Error, OSError, KeyError) as error:
        trace(f"zram: {describe(error) if not isinstance(error, KeyError) else error}")
        return None
    if found.size <= 0 or found.memory <= 0:
        return None
    by = f"by the kernel's {found.compressor or compressor or 'own compressor'}"
    ratio = max(found.size / found.memory, 1)
    return Sample(ratio, len(pages), found.incompressible // found.copies, by)


def _lz4() -> Compress:
    library = ctypes.CDLL("liblz4.so.1")
    compress = library.LZ4_compress_default
    compress.argtypes = [_BYTES, _BYTES, ctypes.c_int, ctypes.c_int]
    room = ctypes.create_string_buffer(2 * sizes.page_size())

    def run(page: bytes) -> int:
        return int(compress(page, room, len(page), len(room)))

    return run


def _lzo() -> Compress:
    library = ctypes.CDLL("liblzo2.so.2")
    compress = library.lzo1x_1_compress
    compress.argtypes = [_BYTES, _SIZE, _BYTES, ctypes.POINTER(_SIZE), _BYTES]
    room = ctypes.create_string_buffer(2 * sizes.page_size())
    # lzo1x.h, LZO1X_1_MEM_COMPRESS
    work = ctypes.create_string_buffer(16384 * ctypes.sizeof(ctypes.c_void_p))

    def run(page: bytes) -> int:
        length = _SIZE(len(room))
        compress(page, len(page), room, ctypes.byref(length), work)
        return length.value

    return run


def _zstd() -> Compress:
    library = ctypes.CDLL("libzstd.so.1")
    compress = library.ZSTD_compress
    compress.argtypes = [_BYTES, _SIZE, _BYTES, _SIZE, ctypes.c_int]
    compress.restype = _SIZE
    room = ctypes.create_string_buffer(2 * sizes.page_size())

    def run(page: bytes) -> int:
        # crypto/zstd.c, ZSTD_DEF_LEVEL
        return int(compress(room, len(room), page, len(page), 3))

    return run


def _zlib() -> Compress:
    def run(page: bytes) -> int:
        # crypto/deflate.c: raw, window of 2^11
        compressor = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -11)
        return len(compressor.compress(page)) + len(compressor.flush())

    return run


def _zlib_fast() -> Compress:
    return lambda page: len(zlib.compress(page, 1))


_LIBRARIES: dict[str, Callable[[], Compress]] = {
    "liblz4": _lz4,
    "liblzo2": _lzo,
    "libzstd": _zstd,
    "zlib": _zlib,
    "zlib, fastest": _zlib_fast,
}
_LZO = (("liblzo2", 0), ("liblz4", 25), ("zlib, fastest", 45))
_LZ4 = (("liblz4", 0), ("liblzo2", 25), ("zlib, fastest", 45))
_NEAREST: dict[str, tuple[tuple[str, int], ...]] = {
    "lz4": _LZ4,
    "lz4hc": _LZ4,
    "lzo": _LZO,
    "lzo-rle": _LZO,
    "zstd": (("libzstd", 0), ("zlib", 10)),
    "deflate": (("zlib", 0),),
}
"""Libraries for the kernel's compressors, the nearest first, with what a ratio is lowered by, in percent.

A library that compresses better than the kernel would promise room that is not there. The percentages are
from 48 kinds of pages (text, programs, libraries, numbers, memory of processes, noise with repetitions): of
the ratios of liblz4 the worst was 1.27 times that of liblzo2, the other way round as well; of zlib, fastest,
1.73 times that of either; of zlib, 1.09 times that of libzstd.
"""
_DEFAULT = "lzo-rle"
"""CONFIG_ZRAM_DEF_COMP, where nobody has chosen another."""
_LESS_THAN_ZLIB = 50
"""The same for a compressor without a library, such as 842, whose ratio is about two thirds of zlib's."""


def compressor(name: str | None) -> tuple[str, Compress, int]:
    """The library nearest to the kernel's compressor `name`, its function, percent to lower a ratio by."""
    for library, less in _NEAREST.get(name or "", ()):
        try:
            return library, _LIBRARIES[library](), less
        except (OSError, AttributeError) as error:
            trace(f"{library}: {error}")
    return "zlib", _zlib(), _LESS_THAN_ZLIB


def measure(pages: Iterable[bytes], name: str | None) -> Sample | None:
    """How pages compress with the library nearest to the kernel's compressor `name`; None without any pages.

    Where that is another compressor, the ratio is lowered, and `Sample.by` says so.
    Pages of one repeated word do not count: the kernel keeps no compressed copy of them.
    """
    library, compress, less = compressor(name)
    page_size = sizes.page_size()
    counted = incompressible = 0
    cost = 0.0
    for page in pages:
        if _is_one_word(page):
            continue
        counted += 1
        size = compress(page)
        if 0 < size < page_size:
            cost += _memory(size, page_size)
        else:
            incompressible += 1
            cost += page_size
    if not counted:
        return None
    ratio = counted * page_size / cost
    by = f"with {library}"
    if less:
        # no page takes more than it has
        ratio = max(ratio * (100 - less) / 100, 1)
        by += f" instead of {name or 'an unknown compressor'} (the ratio is lowered by {less}%)"
    return Sample(ratio, counted, incompressible, by)


def _is_one_word(page: bytes) -> bool:
    return page == page[:8] * (len(page) // 8)


def _memory(size: int, page_size: int) -> float:
    """Bytes of memory that zsmalloc takes for a compressed page of so many bytes, but for what is unused.

    Objects of a class share chains of pages, of the length that wastes least.
    """
    step = page_size // _CLASSES
    whole = -(-(size + _HANDLE) // step) * step
    if whole >= page_size:
        return page_size
    return min(pages * page_size / (pages * page_size // whole) for pages in range(1, _CHAIN + 1))


def read(pids: Sequence[int], weights: Sequence[int]) -> Iterator[bytes]:
    """A random sample of the anonymous pages of processes, more of those that weigh more.

    A page is read only when it is in memory, so that nothing is swapped in or made for it.
    """
    total = sum(weights) or 1
    for pid, weight in zip(pids, weights, strict=True):
        wanted = max(_PAGES * weight // total, 1)
        try:
            yield from _read_process(pid, wanted)
        except OSError as error:
            trace(f"process {pid}: {error.strerror}")


def _read_process(pid: int, wanted: int) -> Iterator[bytes]:
    page_size = sizes.page_size()
    with (
        open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap,
        open(f"/proc/{pid}/mem", "rb", buffering=0) as memory,
    ):
        found = [
            address for start in _chunks(pid) for address in _present(pagemap.fileno(), start, page_size)
        ]
        for address in random.sample(found, min(wanted, len(found))):
            try:
                page = os.pread(memory.fileno(), page_size, address)
            except OSError:
                continue
            if len(page) == page_size:
                yield page


def _chunks(pid: int) -> list[tuple[int, int]]:
    """Ranges of addresses in private anonymous mappings, as many as `_CHUNKS`, all over the process."""
    step = _CHUNK * sizes.page_size()
    chunks = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            fields = line.split(maxsplit=5)
            name = fields[5].strip() if len(fields) > 5 else ""
            if fields[1][3] != "p" or fields[4] != "0" or name in ("[vdso]", "[vvar]", "[vsyscall]"):
                continue
            start, end = (int(text, 16) for text in fields[0].split("-"))
            # a terabyte that is only reserved would be half a million of them
            stride = max(step, (end - start) // _CHUNKS // step * step)
            chunks += [(address, min(address + step, end)) for address in range(start, end, stride)]
    return random.sample(chunks, min(len(chunks), _CHUNKS))


def _present(pagemap: int, chunk: tuple[int, int], page_size: int) -> Iterator[int]:
    start, end = chunk
    data = os.pread(pagemap, (end - start) // page_size * 8, start // page_size * 8)
    for number, entry in enumerate(array.array("Q", data[: len(data) // 8 * 8])):
        if entry & _PRESENT and not entry & _FILE:
            yield start + number * page_size
