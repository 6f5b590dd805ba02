# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import oscalls
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostctl import errors, fstab

WORDS = st.sampled_from(
    [
        b"/swap",
        b"none",
        b"swap",
        b"nofail",
        b"#",
        b" ",
        b"\t",
        b"\n",
        b"\r\n",
        b"\r",
        b"\\040",
        b"\\",
        b"\xff",
        b"\0",
    ]
)
BYTES = st.lists(st.one_of(WORDS, st.binary(max_size=4))).map(b"".join)
PATHS = st.binary(min_size=1).filter(lambda b: b"\0" not in b).map(lambda b: os.fsdecode(b"/" + b))


@given(BYTES)
def test_every_byte_is_kept(data: bytes) -> None:
    lines = fstab.parse(data)
    assert b"".join(line.raw for line in lines) == data
    assert all(b"\n" not in line.raw[:-1] for line in lines)


@given(PATHS)
def test_any_path_survives_its_line(path: str) -> None:
    (line,) = fstab.parse(fstab.format_swap(path, [("nofail", None)]))
    assert (line.spec, line.file, line.vfstype, line.options) == (path, "none", "swap", [("nofail", None)])


OPTION = st.text(
    st.characters().filter(lambda char: char not in '",=()\0' and not "\ud800" <= char <= "\udfff"),
    min_size=1,
)


@given(st.lists(st.tuples(OPTION, st.none() | OPTION), min_size=1))
def test_options_survive_their_line(options: list[tuple[str, str | None]]) -> None:
    (line,) = fstab.parse(fstab.format_swap("/swap", options))
    assert line.options == options


@given(
    st.lists(
        st.sampled_from(
            ["a", "pri=1", "x-ghost.size=(", '"', "x-ghost.label=", ")", ",", "=", "x-ghost.size=min(1"]
        )
    )
)
def test_broken_quoting_loses_no_plain_option(words: list[str]) -> None:
    options = fstab.split_options(",".join(words))
    assert len(options) <= sum(len(word.split(",")) for word in words)
    assert all(key or value is not None for key, value in options)


def test_fields() -> None:
    (line,) = fstab.parse(
        b"\t/var/my\\040swap\\011x \tnone\tswap  sw,pri=5,pri=7,x-ghost.size=16G\t1   2\r\n"
    )
    assert line.spec == "/var/my swap\tx"
    assert (line.file, line.vfstype) == ("none", "swap")
    assert line.optstring == "sw,pri=5,pri=7,x-ghost.size=16G"
    # swapon(8) takes the first
    assert line.option("pri") == "5"
    assert line.option("nofail") is None
    assert line.has_option("sw")
    assert not line.has_option("nofail")
    assert fstab.declares_ghost(line)


@pytest.mark.parametrize(
    ("raw", "spec"),
    [
        (b"/a\\134040b none swap", "/a\\040b"),
        (b"/a\\9 none swap", "/a\\9"),
        (b"/a\\04 none swap", "/a\\04"),
        (b"/a\\000 none swap", "/a\\000"),
        (b"/a\\777 none swap", "/a\\777"),
        (b"/a\\400 none swap", "/a\\400"),
        (b"/a\\377\\001 none swap", "/a\udcff\x01"),
        (b"/a\\0400 none swap", "/a 0"),
        (b"/a\\180 none swap", "/a\\180"),
        # x-ghost. in a path is no option
        (b"/mnt,x-ghost.a none swap sw", "/mnt,x-ghost.a"),
        (b'"/a none swap', '"/a'),
        (b"UUID=0f none swap", "UUID=0f"),
        (b"/\xff none swap", "/\udcff"),
        (b"/a none swap sw x y", "/a"),
        (b"/a none swap sw 0 0 # and more", "/a"),
        ("/a none swap sw \u0663 0".encode(), "/a"),
    ],
)
def test_spec(raw: bytes, spec: str) -> None:
    (line,) = fstab.parse(raw)
    assert line.spec == spec
    assert fstab.is_swap(line)


@pytest.mark.parametrize("raw", [b"", b"\n", b" \t\n", b"\r\n", b"# /a none swap\n", b"  #x"])
def test_no_entry_and_no_error(raw: bytes) -> None:
    for line in fstab.parse(raw):
        assert line.spec is None
        assert line.error is None
        assert (line.file, line.vfstype, line.optstring, line.options, line.excess) == ("", "", "", [], False)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"/swap", "an entry has at least 3 fields, this one has 1"),
        (b"/swap none\n", "an entry has at least 3 fields, this one has 2"),
        (b"a\\040b none", "an entry has at least 3 fields, this one has 2"),
        (b"/s\0 none swap sw 0 0", "NUL byte in the line"),
        # a blank in the path; a field forgotten, and two
        (b"/my ghost none swap x-ghost.size=1G", "x-ghost options, but type none, not swap"),
        (b"/ghost swap sw,x-ghost.size=1G 0 0", "x-ghost options, but type sw,x-ghost.size=1G, not swap"),
        (b"/ghost x-ghost.size=1G 0 0", "x-ghost options, but type 0, not swap"),
    ],
)
def test_broken_entry_says_why(raw: bytes, error: str) -> None:
    (line,) = fstab.parse(raw)
    assert line.error is not None
    assert line.error.startswith(error)
    assert line.spec is None
    assert (line.file, line.vfstype, line.options, line.excess) == ("", "", [], False)
    assert not fstab.is_swap(line)
    assert fstab.misplaced(line) == ([line.error] if b"x-ghost." in raw else [])


@pytest.mark.parametrize("raw", [b"/data,x-ghost.a /x ext4 rw", b"/data /mnt/x-ghost.d ext4 rw 0 0"])
def test_paths_that_look_like_options(raw: bytes) -> None:
    (line,) = fstab.parse(raw)
    assert line.error is None
    assert line.vfstype == "ext4"
    assert not fstab.is_swap(line)


@pytest.mark.parametrize(
    ("rest", "excess"),
    [
        ("", False),
        (" 0", False),
        (" 0 0", False),
        (" 0 0 0", True),
        (" 0 0 /b", True),
        (" 0 b", True),
        (" b", True),
        (" # b", False),
        (" 0 #b", False),
        (" 0 0 # 0 b", False),
    ],
)
def test_what_follows_two_numbers(rest: str, excess: bool) -> None:
    (line,) = fstab.parse(f"/a none swap sw{rest}\n".encode())
    assert (line.spec, line.optstring, line.excess) == ("/a", "sw", excess)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("x-ghost.size=min(ram/2,16G),nofail", [("x-ghost.size", "min(ram/2,16G)"), ("nofail", None)]),
        ("x-ghost.size=min(ram,nofail", [("x-ghost.size", "min(ram"), ("nofail", None)]),
        ('x-ghost.fallback="xswap,zram",pri=1', [("x-ghost.fallback", "xswap,zram"), ("pri", "1")]),
        ("x-ghost.fallback=xswap,zram,pri=1", [("x-ghost.fallback", "xswap,zram"), ("pri", "1")]),
        ("x-ghost.fallback=skip,nofail", [("x-ghost.fallback", "skip"), ("nofail", None)]),
        ("zram,x-ghost.label=a,zram", [("zram", None), ("x-ghost.label", "a"), ("zram", None)]),
        ('x-ghost.fallback="xswap,pri=1', [("x-ghost.fallback", "xswap"), ("pri", "1")]),
        ("x-ghost.label=a(b,pri=1,c)", [("x-ghost.label", "a(b"), ("pri", "1"), ("c)", None)]),
        ('context="a,b"', [("context", '"a'), ('b"', None)]),
        (",,nofail,", [("nofail", None)]),
        ("x-ghost.size=", [("x-ghost.size", "")]),
        ("a=b=c", [("a", "b=c")]),
        ("x-ghost.fallback=xswap,zram", [("x-ghost.fallback", "xswap,zram")]),
        ("x-ghost.fallback=zram", [("x-ghost.fallback", "zram")]),
        ('x-ghost.label="a",pri=1', [("x-ghost.label", "a"), ("pri", "1")]),
        ('x-ghost.label="a,b",pri=1', [("x-ghost.label", "a,b"), ("pri", "1")]),
        ("x-ghost.size=min(ram/2,max(1G,2G)),x", [("x-ghost.size", "min(ram/2,max(1G,2G))"), ("x", None)]),
        ("x-ghost.size=1G),x", [("x-ghost.size", "1G)"), ("x", None)]),
        ('a="b"', [("a", '"b"')]),
    ],
)
def test_split_options(text: str, options: list[tuple[str, str | None]]) -> None:
    assert fstab.split_options(text) == options


def test_which_lines_are_ghosts() -> None:
    lines = fstab.parse(
        b"# x-ghost.size=1G\n"
        b"/data /x-ghost.d ext4 x-ghost.size=1G 0 0\n"
        b"/swapfile none swap sw 0 0\n"
        b"/ghost none swap nofail,x-ghost.size=1G 0 0\n"
        b"/ghost2 none swap x-ghost.fallback=skip\n"
    )
    assert [line.number for line in fstab.iter_swap(lines)] == [3, 4, 5]
    assert [line.number for line in lines if fstab.declares_ghost(line)] == [4, 5]


def test_append_completes_the_last_line() -> None:
    new = fstab.format_swap("/s", [("pri", "1")])
    assert new == b"/s none swap pri=1 0 0\n"
    assert fstab.append(b"", new) == new
    assert fstab.append(b"a\n", new) == b"a\n" + new
    assert fstab.append(b"a", new) == b"a\n" + new


def test_hash_at_the_start_is_no_comment() -> None:
    (line,) = fstab.parse(fstab.format_swap("#swap", []))
    assert (line.spec, line.optstring) == ("#swap", "defaults")


def test_a_hostile_line_is_read_to_its_end() -> None:
    """Not in quadratic time, which would not end."""
    code = """from ghostctl import fstab; fstab.parse(b"/s none swap " + b'x-ghost.size=(",' * 100_000)"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.parametrize(
    ("text", "prio"),
    [("0", 0), ("-1", -1), ("32767", 32767)]
    + [(text, None) for text in ("32768", "-2", "--1", "+1", "", "-", "1 ", "\u0663", "9" * 5000)],
)
def test_priority(text: str, prio: int | None) -> None:
    assert fstab.priority(text) == prio


@pytest.mark.parametrize(
    ("field", "encoded"),
    [
        ("/a b", b"/a\\040b"),
        ("a\tb\nc\rd", b"a\\011b\\012c\\015d"),
        ("a\\040", b"a\\134040"),
        ("#a#b", b"\\043a#b"),
        ("a#", b"a#"),
        ("$a", b"$a"),
        ("/\udcff", b"/\xff"),
    ],
)
def test_escapes(field: str, encoded: bytes) -> None:
    assert fstab.encode(field) == encoded
    assert fstab.decode(os.fsdecode(encoded)) == field


@pytest.mark.parametrize(
    ("path", "simple"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/.", "/"),
        ("//a///b/./c/.", "/a/b/c"),
        ("/a/../.b", "/a/../.b"),
        ("/a", "/a"),
    ],
)
def test_a_path_as_systemd_has_it(path: str, simple: str) -> None:
    assert fstab.simplify(path) == simple


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("0a1b2c3d-0000-4000-8000-00000000000F", True)]
    + [
        (text, False)
        for text in (
            "",
            "0a1b2c3d",
            "0a1b2c3d000040008000000000000003",
            "0a1b2c3d0-000-4000-8000-000000000003",
            "0a1b2c3d-0000-4000-80000-00000000003",
            "0a1b2c3d-0000-4000-8000-00000000000g",
            "0a1b2c3d-0000-4000-8000-00000000000\u0663",
        )
    ],
)
def test_a_uuid(text: str, is_one: bool) -> None:
    assert fstab.is_uuid(text) is is_one


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"# a\n/a none swap sw\n")
    before = oscalls.open_descriptors()
    assert [(line.number, line.spec) for line in fstab.read(str(path))] == [(1, None), (2, "/a")]
    assert fstab.read("/dev/null") == []
    with oscalls.raises(errno.EISDIR, tmp_path):
        fstab.read(str(tmp_path))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with oscalls.raises(errno.EINVAL, fifo, "is not a regular file", whole=True):
        fstab.read(str(fifo))
    with oscalls.raises(errno.EINVAL, "/dev/zero", "is not a regular file", whole=True):
        fstab.read("/dev/zero")
    assert oscalls.open_descriptors() == before


def test_a_disk_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"# a\n")

    def fail(*_args: object, **_keywords: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fstab, "open", fail, raising=False)
    with oscalls.raises(errno.EIO, path):
        fstab.read(str(path))


def declared(options: str) -> fstab.Declaration:
    return fstab.Declaration(fstab.split_options(options))


def test_a_line_declares() -> None:
    (line,) = fstab.parse(
        b"//var/./ghost/ none swap defaults,nofail,noauto,pri=7,discard=once,x-ghost.size=50%,"
        b"x-ghost.label=a\\040b,x-ghost.uuid=0A1b2c3d-0000-4000-8000-000000000003,x-ghost.fallback=xswap,zram,x-ghost.compressor=zstd,"
        b"x-ghost.memory-limit=1G,x-ghost.zswap\n"
    )
    found = fstab.declare(line)
    assert {name: getattr(found, name) for name in fstab.Declaration.__slots__} == {
        "path": "/var/ghost",
        "size": "50%",
        "label": "a b",
        "uuid": "0A1b2c3d-0000-4000-8000-000000000003",
        "priority": 7,
        "discard": "once",
        "fallback": ("xswap", "zram"),
        "skips": False,
        "compressor": "zstd",
        "memory_limit": 1 << 30,
        "zswap": True,
        "nofail": True,
        "noauto": True,
        "warnings": [],
    }


def test_a_line_that_declares_nothing() -> None:
    found = declared("defaults")
    values = {name: getattr(found, name) for name in fstab.Declaration.__slots__}
    assert not any(values.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("x-ghost.szie=1G", "x-ghost.szie is ignored: there is no such option"),
        ("x-ghost.szie", "x-ghost.szie is ignored: there is no such option"),
        ("x-ghost.zswap=no", "x-ghost.zswap=no is ignored: the option takes no value"),
        ("X-ghost.size=1G", "X-ghost.size is not an option of ghostctl"),
        ("x_ghost.size=1G", "x_ghost.size is not an option of ghostctl"),
        ("xghost-fallback=zram", "xghost-fallback is not an option of ghostctl"),
        ("x-ghost.size=1G,x-ghost.size=2G", "x-ghost.size is given twice: the first counts"),
        ("pri=4,pri=3", "pri is given twice: the first counts"),
        ("x-ghost.label=sixteen bytes...", "x-ghost.label is longer than 15 bytes: it is cut"),
    ],
)
def test_what_counts_for_nothing_is_said(options: str, words: str) -> None:
    found = declared(options)
    assert [warning for warning in found.warnings if warning.startswith(words)]
    assert (found.size, found.zswap, found.fallback) in ((None, False, ()), ("1G", False, ()))
    assert found.memory_limit is None
    assert found.priority in (None, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("x-ghost.size=much", "invalid size 'much'"),
        ("x-ghost.size=1", "too small"),
        ("x-ghost.size", "x-ghost.size has no value"),
        ("x-ghost.label=", "x-ghost.label has no value"),
        ("x-ghost.uuid=random", "x-ghost.uuid is not a UUID"),
        ("x-ghost.fallback=tape", "no backend is called 'tape'"),
        ("x-ghost.fallback=skip,zram", "no backend is called 'skip'"),
        ("x-ghost.compressor=", "x-ghost.compressor has no value"),
        ("x-ghost.memory-limit=much", "invalid size 'much'"),
    ],
)
def test_values_of_our_own_have_to_make_sense(options: str, words: str) -> None:
    with pytest.raises(errors.UsageError, match=words):
        declared(options)


@pytest.mark.parametrize(
    ("value", "prio", "words"),
    [
        ("=7", 7, None),
        ("=0", 0, None),
        ("=-1", -1, None),
        ("=32767", 32767, None),
        # as swapon(8) has it
        ("=32768", 32767, "pri=32768 is taken for 32767"),
        ("=123456789", 32767, "pri=123456789 is taken for 32767"),
        ("=+5", 5, "pri=+5 is taken for 5"),
        ("=05", 5, "pri=05 is taken for 5"),
        ("=5x", 5, "pri=5x is taken for 5"),
        ("=00", 0, "pri=00 is taken for 0"),
        ("=-2", None, "pri=-2 is ignored: priorities are 0 to 32767"),
        ("=-", None, "pri=- is ignored: priorities are 0 to 32767"),
        ("=x5", None, "pri=x5 is ignored: priorities are 0 to 32767"),
        ("=", None, "pri= is ignored: priorities are 0 to 32767"),
        ("", None, "pri= is ignored: priorities are 0 to 32767"),
    ],
)
def test_priorities_as_swapon_reads_them(value: str, prio: int | None, words: str | None) -> None:
    found = declared(f"pri{value}")
    assert found.priority == prio
    assert found.warnings == ([words] if words else [])


@pytest.mark.parametrize(
    ("options", "discard", "warnings"),
    [
        ("discard", "all", []),
        ("discard=once", "once", []),
        ("discard=pages", "pages", []),
        ("discard=async", "all", ["discard=async: policies are once and pages; all is discarded"]),
        ("discard=once,discard", "once", ["discard is given twice: the first counts"]),
        ("nodiscard", None, []),
    ],
)
def test_discard_as_swapon_reads_it(options: str, discard: str | None, warnings: list[str]) -> None:
    found = declared(options)
    assert (found.discard, found.warnings) == (discard, warnings)


@pytest.mark.parametrize(
    "options",
    [
        # the same again
        "pri=4,pri=4",
        "x-ghost.zswap,x-ghost.zswap",
        "x-ghost.size=1G,x-ghost.size=1G",
        # not read by anybody here
        "nofail,nofail=1",
        "x-systemd.a=1,x-systemd.a=2",
        "zrm,x-ghost.fallback=zram",
        "x-ghost.fallback=zram,a=b,quiet",
        "x-ghost.fallback=zram,x-systemd.a",
        # a label of 15 bytes
        "x-ghost.label=fifteen bytes..",
        "x-ghost.label=\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc",
        'x-ghost.label="a"',
    ],
)
def test_options_that_nothing_is_wrong_with(options: str) -> None:
    assert declared(options).warnings == []


def test_a_kernel_without_ghosts_is_no_failure() -> None:
    found = declared("x-ghost.fallback=skip")
    assert (found.skips, found.fallback, found.warnings) == (True, (), [])
    found = declared("x-ghost.fallback=zram")
    assert (found.skips, found.fallback) == (False, ("zram",))


def test_a_label_is_cut_at_bytes() -> None:
    found = declared("x-ghost.label=" + 8 * "\u00fc")
    assert found.label == 8 * "\u00fc"
    assert found.warnings == ["x-ghost.label is longer than 15 bytes: it is cut"]


def test_the_first_of_a_kind_counts() -> None:
    found = declared("noauto,x-ghost.label=a,x-ghost.label=b,pri=1,pri=2")
    assert (found.label, found.priority, found.noauto, found.nofail) == ("a", 1, True, False)
    assert len(found.warnings) == 2


@pytest.mark.parametrize("spec", ["ghost", "LABEL=x", "./ghost/"])
def test_what_is_no_path_stays_as_it_is(spec: str) -> None:
    (line,) = fstab.parse(f"{spec} none swap x-ghost.zswap".encode())
    assert fstab.declare(line).path == spec


@pytest.mark.parametrize(
    ("options", "warnings"),
    [
        ('x-ghost.label="a b', ["x-ghost.label: the quote does not end"]),
        ('x-ghost.label="a"b"', ["x-ghost.label: the quote does not end"]),
        ('x-ghost.label="a"', []),
        ('context="a', []),
    ],
)
def test_a_quote_that_does_not_end(options: str, warnings: list[str]) -> None:
    (line,) = fstab.parse(fstab.encode("/g") + b" none swap " + fstab.encode(options) + b"\n")
    assert fstab.declare(line).warnings == warnings


@pytest.mark.parametrize(
    ("options", "fallback", "words"),
    [
        ("x-ghost.fallback=xswap,zrm,nofail", ("xswap",), ["zrm is ignored: no backend is called so"]),
        ("x-ghost.fallback=zram,skip,zrm", ("zram",), ["skip is ignored", "zrm is ignored"]),
        ("x-ghost.fallback=zram,nofail,x-systemd.x,quiet", ("zram",), []),
    ],
)
def test_a_fallback_that_is_no_backend(options: str, fallback: tuple[str, ...], words: list[str]) -> None:
    found = declared(options)
    assert found.fallback == fallback
    assert len(found.warnings) == len(words)
    assert all(warning.startswith(word) for warning, word in zip(found.warnings, words, strict=True))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            b'/g none swap x-ghost.label="a b",x-ghost.zswap 0 0',
            "what follows the options counts for nothing",
        ),
        (b'/g none swap x-ghost.label="a,x-ghost.size=1G 0 0', "x-ghost.label: the quote does not end"),
        (b"/g none swap x-ghost.zswap x-ghost.size=1G", "what follows the options counts for nothing"),
    ],
)
def test_what_a_blank_or_a_quote_cuts_off(raw: bytes, words: str) -> None:
    (line,) = fstab.parse(raw)
    assert any(warning.startswith(words) for warning in fstab.declare(line).warnings)


def test_no_unprintable_values() -> None:
    for option in ("x-ghost.label=a\nb", "x-ghost.compressor=zs\ttd", "x-ghost.size=min(ram,\n1G)"):
        with pytest.raises(errors.UsageError, match="an unprintable character in an option"):
            declared(option)


def test_a_number_of_thousands_of_digits() -> None:
    found = declared(f"pri={'9' * 5000},x-ghost.zswap")
    assert (found.priority, found.zswap) == (32767, True)
    assert declared(f"pri={'0' * 5000}7").priority == 7


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"/dev/sdz9 none swap sw,x-ghost.size=1G", "/dev/sdz9: that is not the path of a file"),
        (b"/dev/../dev/x none swap x-ghost.zswap", "is not the path of a file"),
        (b"/proc/swaps none swap x-ghost.zswap", "is not the path of a file"),
        (b"UUID=1 none swap x-ghost.zswap", "UUID=1: systemd finds no ghost but by its path"),
        (b"/swapfile none swap sw,X-ghost.size=1G", "X-ghost.size is not an option of ghostctl"),
        (
            b"/a none swap sw 0 0 /b none swap x-ghost.size=1G 0 0",
            "what follows the options counts for nothing",
        ),
    ],
)
def test_options_of_ghosts_on_an_ordinary_line(raw: bytes, words: str) -> None:
    (line,) = fstab.parse(raw)
    assert not fstab.declares_ghost(line)
    (warning,) = fstab.misplaced(line)
    assert words in warning


@pytest.mark.parametrize(
    "raw",
    [
        b"/dev/sda2 none swap sw,pri=x 0 0",
        b"/ghost /x ext4 rw 0 0 more",
        b"/a none swap sw 0 0 # x",
        b"# x-ghost.",
        b"/a none swap sw 0 0 more",
        b"/data /x ext4 rw,X-ghost.size=1G",
        b"/a none swap nofail,discard=async,pri=1,pri=2",
        b"/short",
    ],
)
def test_nothing_is_said_of_other_lines(raw: bytes) -> None:
    (line,) = fstab.parse(raw)
    assert fstab.misplaced(line) == []


@pytest.mark.parametrize(
    "path",
    ["/devices", "/dev" + "/shm/ghost", "/process/ghost", "/var/dev/ghost", "/", "/a=b", "ghost", "a/b"],
)
def test_where_files_are(path: str) -> None:
    assert fstab.names_file(path)


@pytest.mark.parametrize(
    "spec",
    [
        "/dev/sda1",
        "//./dev/sda",
        "/dev",
        "/dev" + "/shmem",
        "/proc/shm/x",
        "/proc/swaps",
        "/sys/x",
        "UUID=1",
        "a=b",
    ],
)
def test_where_no_files_are(spec: str) -> None:
    assert not fstab.names_file(spec)


def test_one_entry_a_line() -> None:
    (line,) = fstab.parse(b"/a none swap x-ghost.size=1G 0 0 /b none swap x-ghost.size=2G 0 0\n")
    found = fstab.declare(line)
    assert (found.path, found.size) == ("/a", "1G")
    (warning,) = found.warnings
    assert warning.startswith(
        "what follows the options counts for nothing: another entry needs a line of its own"
    )
    (line,) = fstab.parse(b"/a none swap x-ghost.size=1G 0 0 # 4G once\n")
    assert fstab.declare(line).warnings == []


def test_links_in_the_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/end").symlink_to("elsewhere")
    assert fstab.real_path(f"{tmp_path}/link/ghost") == f"{tmp_path}/real/ghost"
    assert fstab.real_path(f"{tmp_path}/link/end") == f"{tmp_path}/real/end"
    assert fstab.real_path("/link/missing/ghost", str(tmp_path)) == "/real/missing/ghost"
    assert fstab.real_path("/ghost", str(tmp_path)) == "/ghost"
    (line,) = fstab.parse(os.fsencode(f"{tmp_path}//link/./ghost none swap sw\n"))
    assert fstab.is_for(line, f"{tmp_path}/real/ghost")
    assert not fstab.is_for(line, f"{tmp_path}/real/other")
    assert not fstab.is_for(line, "LABEL=x")


def test_a_line_is_for_what_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def is_for(spec: str, file: str) -> bool:
        (line,) = fstab.parse(fstab.format_swap(spec, []))
        return fstab.is_for(line, file)

    assert is_for("LABEL=x", "LABEL=x")
    assert is_for("ghost", "ghost")
    # swapon(8) would look for it in its own directory
    assert not is_for("ghost", f"{tmp_path}/ghost")
    assert is_for(f"{tmp_path}/ghost", "ghost")
    assert is_for(f"{tmp_path}/a/b=c", "a/b=c")
    # a label, whatever files there are
    assert not is_for(f"{tmp_path}/LABEL=x", "LABEL=x")
    assert not is_for("LABEL=x", f"{tmp_path}/LABEL=x")


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("nofail", None, "nofail"),
        ("pri", "1", "pri=1"),
        ("x-ghost.label", "a,b", 'x-ghost.label="a,b"'),
        ("x-ghost.label", "a b", "x-ghost.label=a b"),
        ("x-ghost.size", "min(ram,1G)", "x-ghost.size=min(ram,1G)"),
        ("x-ghost.fallback", "xswap,zram", "x-ghost.fallback=xswap,zram"),
    ],
)
def test_an_option_as_it_is_written(key: str, value: str | None, word: str) -> None:
    assert fstab.option_word(key, value) == word
