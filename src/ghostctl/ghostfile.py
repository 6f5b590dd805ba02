# SPDX-License-Identifier: GPL-2.0-or-later
"""The ghost as a file, looked at: what it is, and what is wrong with it. Through one descriptor."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from . import header, kernel, report, sizes
from .errors import NotAGhost, naming
from .header import Header, HeaderError

if TYPE_CHECKING:
    from . import atomic

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
)
_GHOSTSWAP_DEVICE = os.makedev(1, 13)

# offset and magic of what people keep in large files; just enough to name what is in the way
_IMAGES = (
    (1080, b"\x53\xef", "an ext2/3/4 image"),
    (0, b"XFSB", "an XFS image"),
    (65600, b"_BHRfS_M", "a btrfs image"),
    (0, b"LUKS\xba\xbe", "a LUKS image"),
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, b"hsqs", "a squashfs image"),
    (510, b"\x55\xaa", "a disk image"),
    (0, b"\x7fELF", "an ELF file"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
)


class File(NamedTuple):
    """A file or device as seen through one descriptor."""

    path: str
    fd: int
    st: os.stat_result
    data: bytes
    """Its header page, or as much as the smallest has where there is none; empty for a file of /proc."""
    header: Header | None

    @property
    def allocated(self) -> int:
        """Bytes that it takes on disk, which is not its size, and not what its header declares."""
        return self.st.st_blocks * 512

    @property
    def is_ghost(self) -> bool:
        """True for a regular file of exactly one page with a swap header: a declared area."""
        return (
            self.header is not None
            and self.header.magic == header.MAGIC
            and not self.header.hibernation
            and stat.S_ISREG(self.st.st_mode)
            and self.st.st_size == self.header.page_size
        )

    def require_header(self) -> Header:
        """The header; raises `NotAGhost` when this is no swap area."""
        if self.header is None:
            raise NotAGhost(f"not a swap area: it is {self.describe()}", path=self.path)
        return self.header

    def describe(self) -> str:
        """What this is, in a few words: ``a ghost``, ``a swap file of 1048576 bytes``, ``a text file``."""
        if not stat.S_ISREG(self.st.st_mode):
            kind = kind_of(self.st.st_mode)
            return f"{kind} with a swap area" if self.header else kind
        have = self.header
        if have is None:
            return self._describe_data()
        if self.is_ghost:
            return f"a ghost with a tag of version {have.tag.version}" if have.has_foreign_tag else "a ghost"
        if have.hibernation:
            return f"a swap file with a hibernation image ({have.hibernation})"
        return f"a swap file of {self.st.st_size} bytes"

    def _describe_data(self) -> str:
        if not self.st.st_size:
            return "an empty file"
        for offset, magic, name in _IMAGES:
            if self._bytes(offset, len(magic)) == magic:
                return name
        if b"\0" not in self.data:
            with suppress(UnicodeDecodeError):
                self.data[: self.data.rfind(b"\n") + 1 or None].decode()
                return "a text file"
        return f"a file of {self.st.st_size} bytes of data"

    def _bytes(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self.data):
            return self.data[offset : offset + length]
        with naming(self.path):
            return os.pread(self.fd, length, offset)


class Problem(NamedTuple):
    """Something `verify` found."""

    id: str
    severity: str
    """``error`` or ``warning``."""
    message: str
    damage: bool = False
    """The rest of the header cannot be believed, and a new checksum would hide that."""
    stops: bool = True
    """Speaks against activating the ghost; false for what the kernel decides, or has a check of its own."""


def kind_of(mode: int) -> str:
    """The type of a file in words, from its mode."""
    return next((name for test, name in _KINDS if test(mode)), "a regular file")


def _read(fd: int) -> bytes:
    """The header page; where there is none, as much as the smallest has."""
    with suppress(OSError):
        # no readahead: the page cache is for others
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        # swapon(2) turns a header of the other byte order round in the page cache, as far as the kernel looks
        # at it: version, last_page and bad pages, not the tag. The disk still has what was written.
        os.posix_fadvise(fd, 0, sizes.page_size(), os.POSIX_FADV_DONTNEED)
    smallest, *larger = sizes.PAGE_SIZES
    data = _pread(fd, smallest, 0)
    if len(data) < smallest or header.is_magic(data[-10:]):
        return data
    for page_size in larger:
        if header.is_magic(_pread(fd, 10, page_size - 10)):
            return data + _pread(fd, page_size - smallest, smallest)
    return data


def _pread(fd: int, length: int, offset: int) -> bytes:
    data = b""
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _open(path: str, flags: int, place: atomic.Place | None) -> int:
    if place:
        return os.open(place.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.dirfd)
    return os.open(path, flags | os.O_CLOEXEC)


def _reopen(handle: int, path: str, flags: int, place: atomic.Place | None) -> int:
    """Opens what an O_PATH descriptor stands for."""
    try:
        return os.open(f"/proc/self/fd/{handle}", flags | os.O_CLOEXEC)
    except FileNotFoundError:
        # there is no /proc, and the path has to do
        fd = _open(path, flags, place)
    if _identity(fd) == _identity(handle):
        return fd
    os.close(fd)
    raise OSError(errno.ESTALE, "has been replaced by another file just now")


def _identity(fd: int) -> tuple[int, ...]:
    st = os.fstat(fd)
    return stat.S_IFMT(st.st_mode), st.st_dev, st.st_ino, st.st_rdev


@contextmanager
def look(path: str, *, write: bool = False, place: atomic.Place | None = None) -> Iterator[File]:
    """Opens a regular file or block device and reads its header.

    Nothing else is ever opened: a FIFO would block, a device could act. With `place`, of which `path` is
    the name, no symbolic link is followed. Raises `OSError` and, for what cannot hold a header, `NotAGhost`.
    """
    with naming(path):
        handle = _open(path, os.O_PATH, place)
        try:
            st = os.fstat(handle)
            device = stat.S_ISBLK(st.st_mode) or (
                stat.S_ISCHR(st.st_mode) and st.st_rdev == _GHOSTSWAP_DEVICE
            )
            if not stat.S_ISREG(st.st_mode) and not device:
                raise NotAGhost(f"is {kind_of(st.st_mode)}, not a file with a swap area", path=path)
            fd = _reopen(handle, path, (os.O_RDWR if write else os.O_RDONLY) | os.O_NONBLOCK, place)
        finally:
            os.close(handle)
    try:
        with naming(path):
            # files of /proc have no size and are never read: some wait for what is to come, and take it away
            data = _read(fd) if device or st.st_size else b""
        try:
            found = header.unpack(data)
        except HeaderError:
            found = None
        report.trace(f"read {len(data)} bytes of {path}", 2)
        yield File(path, fd, st, data, found)
    finally:
        os.close(fd)


def verify(file: File, page_size: int | None = None) -> Iterator[Problem]:
    """What is wrong with a ghost, for a kernel with pages of `page_size` bytes (default: this one)."""
    page_size = page_size or sizes.page_size()
    have = file.header
    if have is None:
        yield Problem("magic", "error", f"no swap signature: it is {file.describe()}")
        return
    if have.hibernation:
        yield Problem("hibernation", "error", f"holds a hibernation image ({have.hibernation})")
    elif have.magic != header.MAGIC:
        yield Problem("magic", "error", f"swap signature {have.magic.decode()}: no kernel since 2.6 takes it")
        return
    yield from _verify_header(have, page_size)
    yield from _verify_tag(have)
    yield from _verify_file(file, have)


def _verify_header(have: Header, page_size: int) -> Iterator[Problem]:
    if have.page_size != page_size:
        yield Problem(
            "pagesize",
            "error",
            f"made for pages of {have.page_size} bytes, this kernel has {page_size}",
            stops=False,
        )
    if have.version != 1:
        yield Problem(
            "version", "error", f"header version {have.version}: kernels know version 1", damage=True
        )
    if have.last_page == 0:
        yield Problem("last_page", "error", "last_page is 0: the area is empty")
    elif have.pages < sizes.MIN_PAGES:
        yield Problem("last_page", "warning", f"{have.pages} pages: mkswap makes no area so small")
    elif have.pages > sizes.MAX_PAGES:
        yield Problem(
            "last_page", "warning", f"{have.pages} pages: no kernel counts more than {sizes.MAX_PAGES}"
        )
    if have.nr_badpages:
        yield Problem(
            "nr_badpages", "error", f"nr_badpages is {have.nr_badpages}: a ghost has none", damage=True
        )
    if have.padding[-8:] != bytes(8):
        yield Problem(
            "padding", "warning", "padding words 32 and 33 are not zero: libblkid hides label and UUID"
        )
    if any(have.padding[:-8]) or (any(have.bootbits) and not have.hibernation) or any(have.badpages):
        yield Problem("garbage", "warning", "bytes that should be zero are not")
    if have.volume_name[-1]:
        yield Problem("label", "warning", "the label is not terminated")


def _verify_tag(have: Header) -> Iterator[Problem]:
    tag = have.tag
    if not have.has_tag:
        if tag != header.Tag():
            yield Problem("garbage", "warning", "bytes where the ghost tag would be")
        return
    if have.has_foreign_tag:
        yield Problem("tag", "warning", f"ghost tag of version {tag.version}: this program knows version 1")
    elif tag.flags:
        yield Problem("tag", "warning", f"flags of the ghost tag are {tag.flags:#x}: a ghost has none")
    if not have.has_foreign_tag and any(tag.rest):
        yield Problem("garbage", "warning", "bytes behind the ghost tag that should be zero are not")
    if tag.length < header.TAG_LENGTH or (tag.version == 1 and tag.length != header.TAG_LENGTH):
        yield Problem(
            "tag", "error", f"ghost tag of {tag.length} bytes, not {header.TAG_LENGTH}", damage=True
        )
    if tag.crc != (crc := header.crc(have)):
        yield Problem(
            "crc", "error", f"CRC of the ghost tag is {tag.crc:08x}, should be {crc:08x}", damage=True
        )
    if tag.size != have.size:
        yield Problem(
            "size", "error", f"the tag declares {tag.size} bytes, the header {have.size}", damage=True
        )
    if tag.page_size != have.page_size:
        yield Problem(
            "size",
            "error",
            f"the tag has pages of {tag.page_size} bytes, the header {have.page_size}",
            damage=True,
        )


def _verify_file(file: File, have: Header) -> Iterator[Problem]:
    st = file.st
    if not stat.S_ISREG(st.st_mode):
        yield Problem("type", "error", f"is {kind_of(st.st_mode)}: a ghost is a regular file")
        return
    if st.st_size != have.page_size:
        yield Problem(
            "filesize", "error", f"the file has {st.st_size} bytes: a ghost has one page, {have.page_size}"
        )
    if file.allocated < st.st_size:
        yield Problem("holes", "error", "the file has holes: swapon(8) refuses it", stops=False)
    mode = stat.S_IMODE(st.st_mode)
    if mode & 0o077:
        yield Problem("mode", "warning", f"insecure permissions {mode:04o}, 0600 suggested", stops=False)
    if st.st_uid != 0:
        yield Problem("owner", "warning", f"owned by user {st.st_uid}, 0 (root) suggested", stops=False)
    if why := kernel.cannot_swap(kernel.filesystem(file.fd)):
        yield Problem("filesystem", "error", why, stops=False)
