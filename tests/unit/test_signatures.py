# SPDX-License-Identifier: GPL-2.0-or-later
"""What a page is taken for, and what is read from it: as libblkid does, whatever the locale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stepwise import forked

from ghostctl import header, sizes
from ghostctl.header import Header, HeaderError

UUID = bytes(range(16))


def page_with(magic: bytes, page_size: int = 4096) -> bytes:
    page = bytearray(page_size)
    page[1024:1032] = b"\1\0\0\0\x63\0\0\0"
    page[1036:1052] = UUID
    page[1052:1060] = b"the name"
    page[-10:] = magic
    return bytes(page)


MAGICS = [
    # ten bytes, whether they end a header, and the hibernation image that they stand for
    (b"SWAPSPACE2", True, None),
    (b"SWAP-SPACE", True, None),
    # nine bytes of these count: blkid_idmag of libblkid/src/superblocks/swap.c
    (b"S1SUSPEND\0", True, "S1SUSPEND"),
    (b"S2SUSPEND\0", True, "S2SUSPEND"),
    (b"ULSUSPEND\0", True, "ULSUSPEND"),
    (b"S1SUSPEND ", True, "S1SUSPEND"),
    (b"S2SUSPEND ", True, "S2SUSPEND"),
    (b"ULSUSPEND\xff", True, "ULSUSPEND"),
    (b"LINHIB0001", True, "LINHIB0001"),
    (b"LINHIB0002", False, None),
    (b"S3SUSPEND\0", False, None),
    (b"SWAPSPACE1", False, None),
    (b"swapspace2", False, None),
    (bytes(10), False, None),
]


@pytest.mark.parametrize("page_size", sizes.PAGE_SIZES)
@pytest.mark.parametrize(("magic", "known", "hibernation"), MAGICS)
def test_magics(page_size: int, magic: bytes, known: bool, hibernation: str | None) -> None:
    assert header.is_magic(magic) == known
    if not known:
        with pytest.raises(HeaderError):
            header.unpack(page_with(magic, page_size))
        return
    have = header.unpack(page_with(magic, page_size))
    assert (have.page_size, have.magic, have.hibernation) == (page_size, magic, hibernation)


@pytest.mark.parametrize("data", [b"", b"S1SUSPEND", b"SWAPSPACE", b"S1SUSPEND\0\0", b"SWAPSPACE2\0"])
def test_a_magic_has_ten_bytes(data: bytes) -> None:
    assert not header.is_magic(data)


def test_tuxonice_hides_the_magic() -> None:
    page = bytes.fromhex("edc302e99856e50c") + page_with(b"SWAPSPACE2")[8:]
    assert header.unpack(page).hibernation == "TuxOnIce"
    # without any magic, the smallest page will do, and no less
    assert header.unpack(page[:-10] + bytes(10)).hibernation == "TuxOnIce"
    assert header.unpack(page[:-10] + bytes(20)).page_size == 4096
    with pytest.raises(HeaderError):
        header.unpack(page[:4095])


def test_the_smallest_page_wins() -> None:
    data = page_with(b"SWAPSPACE2", 8192)
    assert header.unpack(data).page_size == 8192
    assert header.unpack(page_with(b"SWAP-SPACE") + data[4096:]).page_size == 4096


def test_an_area_of_version_0_has_no_names() -> None:
    """What mkswap of 1995 made has a bitmap there."""
    have = header.unpack(page_with(b"SWAP-SPACE"))
    assert have.volume_name.startswith(b"the name")
    assert (have.uuid, have.label, have.label_text, have.uuid_text) == (UUID, b"", None, None)
    new = header.unpack(page_with(b"SWAPSPACE2"))
    assert (new.label, new.label_text) == (b"the name", "the name")
    assert new.uuid_text == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert header.unpack(page_with(b"S1SUSPEND\0")).label_text == "the name"


def test_label_shows_no_bytes_of_a_bitmap(tmp_path: Path) -> None:
    path = tmp_path / "area"
    path.write_bytes(page_with(b"SWAP-SPACE"))
    assert forked("label", path)[:2] == (0, "")
    shown = forked("inspect", path)
    assert shown.status == 0
    assert "the name" not in shown.out
    assert "uuid" not in shown.out


def test_a_hibernation_image_that_ends_in_a_blank(tmp_path: Path) -> None:
    path = tmp_path / "area"
    path.write_bytes(page_with(b"S2SUSPEND "))
    for words in (("label", "-L", "x"), ("resize",)):
        done = forked(*words, path, *(("1M",) if words == ("resize",) else ()))
        assert done.status == 6
        assert "holds a hibernation image (S2SUSPEND)" in done.err
    assert path.read_bytes() == page_with(b"S2SUSPEND ")


LABELS = [
    (b"", None),
    (b"plain", "plain"),
    ("ü".encode(), "ü"),
    ("日本語".encode(), "日本語"),
    (b"\xfc", "\udcfc"),
    (b"a\0b", "a"),
]


@pytest.mark.parametrize(("label", "text"), LABELS)
def test_labels_are_utf_8(label: bytes, text: str | None) -> None:
    have = header.ghost(10, 4096)._replace(volume_name=label.ljust(16, b"\0"))
    assert have.label_text == text


LOCALES = ["C", "C.UTF-8", "POSIX"]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("mode", ["0", "1"])
def test_labels_are_utf_8_in_every_locale(locale: str, mode: str) -> None:
    """PYTHONUTF8=0 with PYTHONCOERCECLOCALE=0 leaves Python ASCII in the C locale."""
    code = """if True:
        import os, sys
        from ghostctl import header
        from ghostctl.output import json_text
        print(sys.getfilesystemencoding())
        label = header.ghost(10, 4096, label=bytes([0xc3, 0xbc])).label_text
        print(ascii(label), json_text(label))
    """
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": mode, "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.split(b"\n", 1)[1] == b"'\\xfc' \"\\u00fc\"\n"


CUTS = [
    (b"short", b"short"),
    (b"x" * 15, b"x" * 15),
    (b"x" * 16, b"x" * 15),
    ("ä".encode() * 8, "ä".encode() * 7),
    (b"x" + "ä".encode() * 7, b"x" + "ä".encode() * 7),
    (b"x" * 12 + "😀".encode(), b"x" * 12),
    (b"x" * 11 + "😀".encode(), b"x" * 11 + "😀".encode()),
    (b"\xff" * 16, b"\xff" * 15),
    (b"\x80" * 16, b""),
]


@pytest.mark.parametrize(("label", "cut"), CUTS)
def test_labels_are_cut_at_a_character(label: bytes, cut: bytes) -> None:
    assert header.cut_label(label) == cut


def test_the_header_of_a_device() -> None:
    have = header.ghost(300, 4096, uuid=UUID, label=b"name", byteorder="big")
    have = have._replace(volume_name=b"x" * 13 + "ü".encode() + b"y")
    made = header.for_device(have, "/var/lib/ghost/swäp0")
    assert made.byteorder == sys.byteorder
    assert (made.pages, made.page_size, made.uuid, made.label) == (300, 4096, UUID, b"x" * 13 + "ü".encode())
    assert (made.tag.flags, made.tag.crc) == (1, header.crc(made))
    assert made.made_for == "/var/lib/ghost/swäp0"
    assert header.unpack(header.pack(made)) == made
    longest = "/" + "x" * 299
    assert header.for_device(have, longest).made_for == longest
    assert header.for_device(have, longest + "x").made_for == ""


def _sealed(have: Header, **tag: object) -> Header:
    have = have._replace(tag=have.tag._replace(**tag))  # type: ignore[arg-type]
    return have._replace(tag=have.tag._replace(crc=header.crc(have)))


def test_what_is_of_no_device() -> None:
    made = header.for_device(header.ghost(300, 4096), "/ghost")
    assert header.ghost(300, 4096).made_for is None
    assert header.ghost(300, 4096, bare=True).made_for is None
    assert _sealed(made, flags=3).made_for == "/ghost"
    assert _sealed(made, flags=2).made_for is None
    assert _sealed(made, version=2).made_for is None
    assert _sealed(made, magic=b"ghostswp").made_for is None
    assert made._replace(tag=made.tag._replace(crc=made.tag.crc ^ 1)).made_for is None


def test_versions_of_a_tag() -> None:
    have = header.ghost(300, 4096)
    assert (have.has_tag, have.has_foreign_tag, have.ghost_version) == (True, False, 1)
    later = _sealed(have, version=2)
    assert (later.has_tag, later.has_foreign_tag, later.ghost_version) == (True, True, 2)
    none = _sealed(have, version=0)
    assert (none.has_tag, none.has_foreign_tag, none.ghost_version) == (True, True, 0)
    bare = header.ghost(300, 4096, bare=True)
    assert (bare.has_tag, bare.has_foreign_tag, bare.ghost_version) == (False, False, 0)
    other = _sealed(have, magic=b"ghostswp", version=2)
    assert (other.has_tag, other.has_foreign_tag, other.ghost_version) == (False, False, 0)


@pytest.mark.parametrize(
    "words",
    [("mkghost", "--help"), ("inspect", "/none"), ("label", "/etc/passwd"), ("verify", "/etc/passwd")],
)
def test_who_meets_no_header_does_not_pay_for_it(words: tuple[str, ...]) -> None:
    code = (
        "import sys; from ghostctl.cli import main\ntry: main()\nfinally: print('construct' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.endswith("False\n")
