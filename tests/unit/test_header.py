# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import struct
import sys
import uuid
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ghostctl import header, sizes
from ghostctl.header import Header, HeaderError, Tag

ORDERS: list[header.ByteOrder] = ["little", "big"]
U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
MAGICS = (b"SWAPSPACE2", b"SWAP-SPACE", b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001")
TUXONICE = bytes.fromhex("edc302e99856e50c")
"""As in libblkid's superblocks/swap.c."""


def of(length: int) -> st.SearchStrategy[bytes]:
    """Bytes of a length that a strategy would find too large to fill one by one."""
    return st.binary(max_size=min(length, 64)).map(lambda data: data.ljust(length, b"\0"))


@st.composite
def headers(draw: st.DrawFn) -> Header:
    page_size = draw(st.sampled_from(sizes.PAGE_SIZES))
    tag = Tag(
        draw(st.sampled_from([bytes(8), header.TAG_MAGIC]) | of(8)),
        draw(U16),
        draw(U16),
        draw(U64),
        draw(U32),
        draw(U32),
        draw(U32),
        draw(of(300)),
    )
    return Header(
        byteorder=draw(st.sampled_from(ORDERS)),
        page_size=page_size,
        # the byte order is told by the version: a number that reads the same from both ends tells nothing
        version=draw(st.integers(1, 0xFFFF)),
        last_page=draw(U32),
        nr_badpages=draw(U32),
        uuid=draw(of(16)),
        volume_name=draw(of(16)),
        padding=draw(of(136)),
        tag=tag,
        badpages=draw(of(page_size - 1546)),
        bootbits=draw(of(1024)),
        magic=draw(st.sampled_from(MAGICS)),
    )


@given(headers())
def test_a_header_survives_its_page(have: Header) -> None:
    page = header.pack(have)
    assert len(page) == have.page_size
    assert header.unpack(page) == have
    assert header.unpack(page + bytes(3)) == have


@given(
    st.sampled_from(sizes.PAGE_SIZES),
    st.binary(max_size=3000),
    st.integers(0, 2**32),
    st.sampled_from(MAGICS),
)
def test_a_page_survives_its_header(page_size: int, data: bytes, where: int, magic: bytes) -> None:
    where %= page_size
    page = bytearray(page_size)
    data = data[: page_size - where]
    page[where : where + len(data)] = data
    page[-10:] = magic
    assert header.pack(header.unpack(bytes(page))) == page[: header.unpack(bytes(page)).page_size]


@given(st.binary(max_size=20_000))
@example(b"")
@example(b"\xff" * 4096)
@example(b"\xff" * 131072)
@example(TUXONICE)
@example(TUXONICE + bytes(4088))
@example(bytes(4086) + b"SWAPSPACE")
@example(bytes(4087) + b"SWAPSPACE2")
def test_any_bytes_give_a_header_or_an_error(data: bytes) -> None:
    try:
        have = header.unpack(data)
    except HeaderError:
        assert not any(data[size - 10 : size] in MAGICS for size in sizes.PAGE_SIZES)
        assert len(data) < 4096 or not data.startswith(TUXONICE)
    else:
        assert header.pack(have) == data[: have.page_size]
        assert have.size == (have.last_page + 1) * have.page_size
        assert have.label_text is None or have.label_text
        assert have.uuid_text is None or uuid.UUID(have.uuid_text).bytes == have.uuid


@pytest.mark.parametrize("page_size", sizes.PAGE_SIZES)
@pytest.mark.parametrize("byteorder", ORDERS)
def test_bytes_of_a_ghost(page_size: int, byteorder: header.ByteOrder) -> None:
    """The page computed another way, from the table of offsets."""
    mark = "<" if byteorder == "little" else ">"
    page = bytearray(page_size)
    struct.pack_into(mark + "III16s16s", page, 1024, 1, 262143, 0, b"u" * 16, b"label")
    page[-10:] = b"SWAPSPACE2"
    make = header.ghost
    bare = make(262144, page_size, uuid=b"u" * 16, label=b"label", byteorder=byteorder, bare=True)
    assert header.pack(bare) == page
    assert bare.ghost_version == 0
    tag = struct.pack(mark + "8sHHQII", b"GHOSTSWP", 1, 32, 262144 * page_size, page_size, 0)
    page[1204 : 1204 + 28] = tag
    blank = bytearray(page)
    blank[1036:1068] = bytes(32)
    blank[-10:] = bytes(10)
    struct.pack_into(mark + "I", page, 1232, zlib.crc32(blank))
    ghost = make(262144, page_size, uuid=b"u" * 16, label=b"label", byteorder=byteorder)
    assert header.pack(ghost) == page
    assert ghost.ghost_version == 1
    assert header.unpack(bytes(page)) == ghost


@given(headers())
def test_crc_leaves_out_what_others_may_rewrite(have: Header) -> None:
    crc = header.crc(have)
    assert header.crc(have._replace(uuid=bytes(range(16)))) == crc
    assert header.crc(have._replace(volume_name=b"another label..\0")) == crc
    assert header.crc(have._replace(magic=b"S1SUSPEND\0")) == crc
    assert header.crc(have._replace(tag=have.tag._replace(crc=have.tag.crc ^ 1))) == crc


@given(headers(), st.data())
def test_crc_covers_every_other_bit(have: Header, data: st.DataObject) -> None:
    page = header.pack(have)
    free = [range(1036, 1068), range(1232, 1236), range(have.page_size - 10, have.page_size)]
    where = data.draw(st.integers(0, have.page_size - 1).filter(lambda n: not any(n in f for f in free)))
    other = bytearray(page)
    other[where] ^= 1 << data.draw(st.integers(0, 7))
    read = header._record(have.byteorder, bytes(other))
    assert header.crc(read) != header.crc(have)


@given(headers(), st.integers(1, sizes.MAX_PAGES))
def test_declare_changes_the_size_alone(have: Header, pages: int) -> None:
    new = header.declare(have, pages)
    assert new.pages == pages
    if have.has_tag:
        assert new.tag == have.tag._replace(size=pages * have.page_size, crc=header.crc(new))
        new = new._replace(tag=have.tag)
    assert new._replace(last_page=have.last_page) == have
    before, after = header.pack(have), header.pack(header.declare(have, pages))
    # all that differs is in the one sector that a disk writes at once
    assert before[: header.SECTOR.start] == after[: header.SECTOR.start]
    assert before[header.SECTOR.stop :] == after[header.SECTOR.stop :]


def test_the_sector_is_one_sector() -> None:
    assert (header.SECTOR.start, header.SECTOR.stop) == (2 * 512, 3 * 512)


@pytest.mark.parametrize("label", [b"x" * 15, "ä".encode() * 7, b""])
def test_labels(label: bytes) -> None:
    have = header.ghost(10, 4096, label=label)
    assert have.label == label
    assert have.label_text == (label.decode() or None)
    assert have.volume_name[15] == 0


def test_a_label_too_long() -> None:
    with pytest.raises(ValueError, match="label"):
        header.ghost(10, 4096, label=b"x" * 16)


def test_hibernation() -> None:
    have = header.ghost(10, 4096)
    assert have.hibernation is None
    for magic, name in [
        (b"S1SUSPEND\0", "S1SUSPEND"),
        (b"S2SUSPEND\0", "S2SUSPEND"),
        (b"ULSUSPEND\0", "ULSUSPEND"),
        (b"LINHIB0001", "LINHIB0001"),
    ]:
        assert header.unpack(header.pack(have._replace(magic=magic))).hibernation == name
    page = TUXONICE + header.pack(have)[8:]
    assert header.unpack(page).hibernation == "TuxOnIce"
    assert header.unpack(TUXONICE + bytes(4088)).hibernation == "TuxOnIce"


def test_uuid_text() -> None:
    assert header.ghost(10, 4096).uuid_text is None
    known = uuid.UUID("0F0E0D0C-0B0A-4908-8706-050403020100")
    assert header.ghost(10, 4096, uuid=known.bytes).uuid_text == str(known)


def test_the_machine_s_byte_order_is_the_default() -> None:
    assert header.ghost(10, 4096).byteorder == sys.byteorder


@pytest.mark.parametrize("byteorder", ORDERS)
@pytest.mark.parametrize("version", [0, 1, 2, 255, 256])
def test_byte_order_is_told_by_the_version(byteorder: header.ByteOrder, version: int) -> None:
    have = header.ghost(1000, 4096, byteorder=byteorder)._replace(version=version)
    read = header.unpack(header.pack(have))
    if version:
        assert (read.byteorder, read.version, read.last_page) == (byteorder, version, 999)
    else:
        assert read.version == 0
