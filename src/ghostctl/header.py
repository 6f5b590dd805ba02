# SPDX-License-Identifier: GPL-2.0-or-later
"""The first page of a swap area (include/linux/swap.h, `union swap_header`), read and written.

Bytes in, bytes out. With P for the page size, in the byte order of the machine that wrote it::

    0       bootbits, zero
    1024    u32 version, 1
    1028    u32 last_page: pages - 1, the header page included
    1032    u32 nr_badpages
    1036    UUID, 16 bytes
    1052    volume label, 16 bytes with the NUL
    1068    padding, 34 words; the last two must be zero or libblkid hides UUID and label
    1204    padding, 332 bytes: here a ghost of version 1 has its tag
    1536    badpages, u32 each
    P - 10  magic

and the tag::

    1204    GHOSTSWP
    1212    u16 tag version, 1
    1214    u16 tag length in bytes, 32
    1216    u64 declared size in bytes
    1224    u32 page size in bytes
    1228    u32 flags, 0
    1232    u32 CRC-32 of the page, with UUID, label, magic and this field taken as zero
    1236    on a device made for a ghost (flag 1): path of the ghost, padded with NUL

Everything that a relabel or a resize changes lies in the sector from `SECTOR`.
"""

from __future__ import annotations

import os
import sys
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .sizes import LABEL_BYTES, PAGE_SIZES

if TYPE_CHECKING:
    from construct import Struct

ByteOrder = Literal["little", "big"]

MAGIC = b"SWAPSPACE2"
MAGIC_OLD = b"SWAP-SPACE"
HIBERNATION_MAGICS = (b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001")
"""What takes the place of the magic while the area holds a hibernation image (kernel/power, uswsusp).

Where one ends in NUL that byte may be another: libblkid compares nine bytes of these.
"""
TUXONICE_MAGIC = b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c"
"""First bytes of an area with a TuxOnIce image; the swap magic may stay where it was."""

TAG_MAGIC = b"GHOSTSWP"
TAG_OFFSET = 1204
TAG_VERSION = 1
TAG_LENGTH = 32
DEVICE = 1
"""Tag flag: this is not the ghost but a device made for it."""
SECTOR = slice(1024, 1536)
"""The 512 bytes with every field but bad pages and magic: a disk writes them at once or not at all."""

NIL_UUID = bytes(16)


class HeaderError(ValueError):
    """The page is not the header of a swap area."""


class Tag(NamedTuple):
    """The 332 bytes behind the padding; all zero in an area that is no ghost of version 1."""

    magic: bytes = bytes(8)
    version: int = 0
    length: int = 0
    size: int = 0
    page_size: int = 0
    flags: int = 0
    crc: int = 0
    rest: bytes = bytes(300)


class Header(NamedTuple):
    """A whole header page; `pack` gives back the bytes that `unpack` was given."""

    byteorder: ByteOrder
    page_size: int
    version: int
    last_page: int
    nr_badpages: int
    uuid: bytes
    volume_name: bytes
    padding: bytes
    tag: Tag
    badpages: bytes
    bootbits: bytes
    magic: bytes

    @property
    def has_tag(self) -> bool:
        """True for the header of a ghost that is not bare."""
        return self.tag.magic == TAG_MAGIC

    @property
    def has_foreign_tag(self) -> bool:
        """True for a tag of a version that this program does not know: shown, kept, and never rewritten."""
        return self.has_tag and self.tag.version != TAG_VERSION

    @property
    def ghost_version(self) -> int:
        """0 for a bare header, 1 and more for the version of the tag."""
        return self.tag.version if self.has_tag else 0

    @property
    def pages(self) -> int:
        """Declared pages, with the header page."""
        return self.last_page + 1

    @property
    def size(self) -> int:
        """Declared size in bytes, with the header page."""
        return self.pages * self.page_size

    @property
    def label(self) -> bytes:
        """The label up to its NUL; an area of version 0 has none, its first page is a bitmap."""
        return b"" if self.magic == MAGIC_OLD else self.volume_name.partition(b"\0")[0]

    @property
    def label_text(self) -> str | None:
        """The label as text, UTF-8 whatever the locale, other bytes as surrogates; None when it is empty."""
        return self.label.decode("utf-8", "surrogateescape") or None

    @property
    def uuid_text(self) -> str | None:
        """The UUID as text in lower case; None when it is all zero, or the area of version 0."""
        if self.uuid == NIL_UUID or self.magic == MAGIC_OLD:
            return None
        text = self.uuid.hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    @property
    def made_for(self) -> str | None:
        """The path of the ghost that a device was made for, "" if not known; None on anything else."""
        if not self.has_tag or self.has_foreign_tag:
            return None
        if not self.tag.flags & DEVICE or self.tag.crc != crc(self):
            return None
        return os.fsdecode(self.tag.rest.rstrip(b"\0"))

    @property
    def hibernation(self) -> str | None:
        """Name of the hibernation magic that this page carries, if it does."""
        if self.bootbits.startswith(TUXONICE_MAGIC):
            return "TuxOnIce"
        return _hibernation(self.magic)


def _hibernation(magic: bytes) -> str | None:
    names = (known.rstrip(b"\0") for known in HIBERNATION_MAGICS)
    return next((name.decode("ascii") for name in names if magic.startswith(name)), None)


def is_magic(data: bytes) -> bool:
    """Whether these are the last ten bytes of the first page of a swap area."""
    return data in (MAGIC, MAGIC_OLD) or (len(data) == len(MAGIC) and _hibernation(data) is not None)


@cache
def _layout(byteorder: ByteOrder, page_size: int) -> Struct:
    # here, so that a command that meets no header does not pay for it
    from construct import Bytes, FormatField, Struct

    u16, u32, u64 = (FormatField("<" if byteorder == "little" else ">", code) for code in "HLQ")
    return Struct(
        "bootbits" / Bytes(1024),
        "version" / u32,
        "last_page" / u32,
        "nr_badpages" / u32,
        "uuid" / Bytes(16),
        "volume_name" / Bytes(16),
        "padding" / Bytes(34 * 4),
        "tag"
        / Struct(
            "magic" / Bytes(8),
            "version" / u16,
            "length" / u16,
            "size" / u64,
            "page_size" / u32,
            "flags" / u32,
            "crc" / u32,
            "rest" / Bytes(332 - TAG_LENGTH),
        ),
        "badpages" / Bytes(page_size - 1536 - 10),
        "magic" / Bytes(10),
    )


def pack(header: Header) -> bytes:
    """The page, `header.page_size` bytes."""
    fields = header._asdict()
    fields["tag"] = header.tag._asdict()
    page: bytes = _layout(header.byteorder, header.page_size).build(fields)
    return page


def _record(byteorder: ByteOrder, page: bytes) -> Header:
    fields: Any = _layout(byteorder, len(page)).parse(page)
    tag = Tag(**{name: fields.tag[name] for name in Tag._fields})
    rest = {name: fields[name] for name in Header._fields if name in fields and name != "tag"}
    return Header(byteorder=byteorder, page_size=len(page), tag=tag, **rest)


def unpack(data: bytes) -> Header:
    """The header at the start of `data`: any swap area's, of any page size and byte order.

    The page size is where a magic stands; the byte order the one in which the version is the smaller
    number. Of `data` no more is needed than the largest page of `sizes.PAGE_SIZES`. Raises `HeaderError`
    when there is no magic.
    """
    for page_size in PAGE_SIZES:
        if is_magic(data[page_size - 10 : page_size]):
            page = data[:page_size]
            orders: tuple[ByteOrder, ByteOrder] = ("little", "big")
            if sys.byteorder == "big":
                orders = ("big", "little")
            return _record(min(orders, key=lambda order: int.from_bytes(page[1024:1028], order)), page)
    if data.startswith(TUXONICE_MAGIC) and len(data) >= PAGE_SIZES[0]:
        return _record(sys.byteorder, data[: PAGE_SIZES[0]])
    raise HeaderError("not a swap area: no swap signature at the end of a page")


def crc(header: Header) -> int:
    """The CRC-32 that the tag of this header should have."""
    blank = header._replace(
        uuid=NIL_UUID, volume_name=bytes(16), magic=bytes(10), tag=header.tag._replace(crc=0)
    )
    return zlib.crc32(pack(blank))


def declare(header: Header, pages: int) -> Header:
    """The same header for an area of `pages` pages; the tag, where there is one, follows."""
    header = header._replace(last_page=pages - 1)
    if header.has_tag:
        header = _seal(header._replace(tag=header.tag._replace(size=header.size)))
    return header


def _seal(header: Header) -> Header:
    return header._replace(tag=header.tag._replace(crc=crc(header)))


def cut_label(label: bytes) -> bytes:
    """As much of a label as the field holds beside its NUL, cut at a character of UTF-8."""
    end = min(len(label), LABEL_BYTES)
    while end < len(label) and end and label[end] & 0xC0 == 0x80:
        end -= 1
    return label[:end]


def for_device(ghost_header: Header, path: str) -> Header:
    """The header of a device made for the ghost `path`; a path too long for it is left out."""
    new = ghost(
        ghost_header.pages,
        ghost_header.page_size,
        uuid=ghost_header.uuid,
        label=cut_label(ghost_header.label),
    )
    data = os.fsencode(path)
    room = len(new.tag.rest)
    rest = data.ljust(room, b"\0") if len(data) <= room else bytes(room)
    return _seal(new._replace(tag=new.tag._replace(flags=DEVICE, rest=rest)))


def ghost(
    pages: int,
    page_size: int,
    *,
    uuid: bytes = NIL_UUID,
    label: bytes = b"",
    byteorder: ByteOrder = sys.byteorder,
    bare: bool = False,
) -> Header:
    """The header of a new ghost that declares `pages` pages (with the header page) of `page_size` bytes.

    `bare` leaves out the tag: ghost version 0, which is what mkswap(8) writes. Raises `ValueError` for a
    label of more than `LABEL_BYTES`.
    """
    if len(label) > LABEL_BYTES:
        raise ValueError("label too long")
    tag = Tag() if bare else Tag(TAG_MAGIC, TAG_VERSION, TAG_LENGTH, 0, page_size)
    header = Header(
        byteorder=byteorder,
        page_size=page_size,
        version=1,
        last_page=0,
        nr_badpages=0,
        uuid=uuid,
        volume_name=label.ljust(16, b"\0"),
        padding=bytes(34 * 4),
        tag=tag,
        badpages=bytes(page_size - 1536 - 10),
        bootbits=bytes(1024),
        magic=MAGIC,
    )
    return declare(header, pages)
