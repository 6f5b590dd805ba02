# SPDX-License-Identifier: GPL-2.0-or-later
"""Edits of fstab: what is named changes, and no other byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostctl import errors, fstab, fstabedit

LINE = (
    b'  /g\\040x\tnone  swap\tsw,pri=3,x-ghost.size=1G,pri=4,x-ghost.label="a,b",opt=\\134x 0\t0  # end\r\n'
)
PATH = "/g x"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fstab"
    path.write_bytes(b"# first\n" + LINE + b"/other none swap x-ghost.size=1G 0 0")
    return path


def change(path: Path, *changes: str, file: str = PATH) -> fstabedit.Edit:
    return fstabedit.change(str(path), file, [fstabedit.parse_change(text) for text in changes])


@pytest.mark.parametrize(
    ("changes", "old", "new"),
    [
        (["pri=5"], b"pri=3,x-ghost.size=1G,pri=4", b"pri=5,x-ghost.size=1G"),
        (["pri="], b"pri=3,x-ghost.size=1G,pri=4", b"x-ghost.size=1G"),
        (["size=2G"], b"size=1G", b"size=2G"),
        (["x-ghost.size=min(ram/2, 4G)"], b"size=1G", b"size=min(ram/2,4G)"),
        (["label="], b',x-ghost.label="a,b"', b""),
        (["label=c d"], b'"a,b"', b"c\\040d"),
        (["nofail"], b"opt=\\134x", b"opt=\\134x,nofail"),
        (["nofail=yes", "zswap"], b"opt=\\134x", b"opt=\\134x,nofail,x-ghost.zswap"),
        (["nofail=no", "zswap=no", "opt="], b",opt=\\134x", b""),
        (["fallback=xswap,zram"], b"opt=\\134x", b"opt=\\134x,x-ghost.fallback=xswap,zram"),
        (["discard", "discard=once"], b"opt=\\134x", b"opt=\\134x,discard=once"),
        (["size=1G"], b"", b""),
    ],
)
def test_change(path: Path, changes: list[str], old: bytes, new: bytes) -> None:
    before = path.read_bytes()
    edit = change(path, *changes)
    assert path.read_bytes() == before.replace(old, new, 1)
    assert edit.changed is (old != new)
    assert edit.lines[0].raw == LINE.replace(old, new, 1)
    # the same again changes nothing
    assert change(path, *changes).changed is False


def test_a_line_without_options(path: Path) -> None:
    path.write_bytes(b"/g none swap\n/x-ghost none swap x-ghost.zswap")
    change(path, "zswap=", "size=1G", file="/x-ghost")
    assert path.read_bytes() == b"/g none swap\n/x-ghost none swap x-ghost.size=1G"


def test_the_last_option_goes(path: Path) -> None:
    path.write_bytes(b"/g none swap x-ghost.zswap 0 0\n")
    change(path, "zswap=", file="/g")
    assert path.read_bytes() == b"/g none swap defaults 0 0\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("szie=1G", "no option is called 'szie'"),
        ("x-ghost.szie=1G", "no option is called 'x-ghost.szie'"),
        ("size", "x-ghost.size needs a value"),
        ("zswap=maybe", "takes no value but yes and no"),
        ("pri=x", "invalid priority 'x'"),
        ("pri=32768", "invalid priority"),
        ("discard=some", "unknown discard policy"),
    ],
)
def test_changes_that_make_no_sense(text: str, words: str) -> None:
    with pytest.raises(errors.UsageError, match=words):
        fstabedit.parse_change(text)


@pytest.mark.parametrize(
    ("file", "changes", "kind", "words"),
    [
        (PATH, ["size=much"], errors.UsageError, "invalid size"),
        (PATH, ["uuid=x"], errors.UsageError, "not a UUID"),
        ("/none", ["nofail"], errors.NotFound, "no swap line"),
        ("/disk", ["nofail"], errors.NotAGhost, "is not for a ghost"),
        ("/twice", ["nofail"], errors.Error, "lines 4 and 5 of"),
    ],
)
def test_what_cannot_be_changed(
    path: Path, file: str, changes: list[str], kind: type[errors.Error], words: str
) -> None:
    before = b"/disk none swap sw\n" + path.read_bytes() + b"\n" + b"/twice none swap x-ghost.size=1G\n" * 2
    before = before.replace(b"/other none swap x-ghost.size=1G 0 0\n", b"")
    path.write_bytes(before)
    with pytest.raises(kind, match=words):
        change(path, *changes, file=file)
    assert path.read_bytes() == before


OPTIONS = st.lists(
    st.sampled_from(
        [
            "sw",
            "pri=1",
            "pri=2",
            "nofail",
            'x-ghost.label="a,b"',
            "x-ghost.size=min(1G,2G)",
            "a\\040b",
            '"',
            "x=\\054y",
        ]
    ),
    min_size=1,
)


@given(OPTIONS)
def test_other_options_stay_as_they_are_written(words: list[str]) -> None:
    raw = b"/g none swap x-ghost.zswap," + ",".join(words).encode() + b" 0 0\n"
    line = fstab.Line(raw)
    try:
        new = fstabedit._changed(line, [fstabedit.Change("pri", "9")])
    except errors.Error:
        assert "\\054" in ",".join(words)
        return
    rest = [option for option in line.options if option[0] != "pri"]
    assert [option for option in new.options if option[0] != "pri"] == rest
    assert new.option("pri") == "9"
    assert fstab.Declaration(new.options).priority == 9


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("pri=3,pri=4,x-ghost.size=1M", "pri=4,x-ghost.size=1M", ["pri=4"]),
        ("x-ghost.size=1M,x-ghost.size=2M", "x-ghost.size=2M", ["x-ghost.size=2M"]),
        ("x-ghost.size=1024K,pri=-1,sw", "defaults,x-ghost.size=1M", []),
        ("x-ghost.size=50%", "x-ghost.size=51%", ["x-ghost.size=51%"]),
        ("x-ghost.zswap,x-ghost.fallback=skip", "x-ghost.zswap", []),
        (
            "x-ghost.fallback=zram,discard,nofail",
            "x-ghost.zswap",
            ["nofail=", "discard=", "x-ghost.fallback=", "x-ghost.zswap"],
        ),
        ("x-ghost.size=lots", "x-ghost.size=1M", None),
    ],
)
def test_what_differs(tmp_path: Path, old: str, new: str, changes: list[str] | None) -> None:
    path = tmp_path / "fstab"
    path.write_text(f"/g none swap {old} 0 0\n")
    options = fstab.split_options(new)
    try:
        found = fstabedit.add(str(path), "/g", options)
    except errors.Busy as error:
        hint = str(error.hint).split(" /g ")[1].split()
        assert changes is None or hint == changes
        change(path, *hint, file="/g")
        found = fstabedit.add(str(path), "/g", options)
    else:
        assert changes == []
    assert found.changed is False


def test_another_path(path: Path) -> None:
    before = path.read_bytes()
    change(path, "path=/new place", file="/other")
    assert path.read_bytes() == before.replace(b"/other", b"/new\\040place")
    with pytest.raises(errors.UsageError, match="not an absolute path"):
        change(path, "path=g")


def test_a_name_that_one_line_has_just_so_is_that_line(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_text("/g none swap x-ghost.size=1G\n//g none swap x-ghost.size=2G\n")
    change(path, "size=3G", file="//g")
    assert path.read_text() == "/g none swap x-ghost.size=1G\n//g none swap x-ghost.size=3G\n"
    with pytest.raises(errors.Error, match="lines 1 and 2 of"):
        change(path, "size=3G", file="/./g")
    fstabedit.remove(str(path), "/g")
    assert path.read_text() == "//g none swap x-ghost.size=3G\n"


def test_an_ordinary_line_becomes_a_ghosts(tmp_path: Path) -> None:
    path, file = tmp_path / "fstab", tmp_path / "file"
    path.write_text(f"{file} none swap sw 0 0\n")
    with pytest.raises(errors.NotAGhost):
        change(path, "nofail", file=str(file))
    change(path, "size=1M", file=str(file))
    assert path.read_text() == f"{file} none swap sw,x-ghost.size=1M 0 0\n"
    path.write_text(f"{file} none swap sw 0 0\n")
    file.write_text("a letter\n")
    with pytest.raises(errors.NotAGhost):
        change(path, "size=1M", file=str(file))


@pytest.mark.parametrize("text", ['label=x "y', "x-systemd.foo=a,x-ghost.zswap", 'compressor="'])
def test_values_that_fstab_cannot_hold(path: Path, text: str) -> None:
    before = path.read_bytes()
    with pytest.raises(errors.UsageError, match="fstab cannot hold this value"):
        change(path, text)
    assert path.read_bytes() == before


def test_take_back_what_was_added(path: Path) -> None:
    before = path.read_bytes()
    line = b"/new none swap defaults,x-ghost.size=1G 0 0\n"
    options: fstabedit.Options = [("defaults", None), ("x-ghost.size", "1G")]
    fstabedit.add(str(path), "/new", options)
    assert path.read_bytes() == before + b"\n" + line
    # somebody else adds a line in between
    with path.open("ab") as file:
        file.write(b"# more\n")
    assert fstabedit.take_back(str(path), line, before)
    assert path.read_bytes() == before + b"\n# more\n"
    assert not fstabedit.take_back(str(path), line, before)
    path.write_bytes(before)
    fstabedit.add(str(path), "/new", options)
    assert fstabedit.take_back(str(path), line, before)
    assert path.read_bytes() == before
    # a line that was there stays, and a file that was not goes
    path.write_bytes(line)
    assert not fstabedit.take_back(str(path), line, line)
    assert path.read_bytes() == line
    assert fstabedit.take_back(str(path), line, None)
    assert not path.exists()


def test_the_hint_of_a_line_that_says_something_else(path: Path) -> None:
    """Obeyed, the same `add` is content."""
    wanted: fstabedit.Options = [("defaults", None), ("nofail", None), ("x-ghost.size", "2G")]
    with pytest.raises(errors.Busy) as caught:
        fstabedit.add(str(path), PATH, wanted)
    hint = str(caught.value.hint)
    assert hint == f"ghostctl fstab set -T {path} '{PATH}' nofail pri= x-ghost.size=2G x-ghost.label="
    change(path, *hint.split("'")[2].split())
    assert fstabedit.add(str(path), PATH, wanted).changed is False


def test_replace_one_line_as_it_is_written(path: Path) -> None:
    before = path.read_bytes()
    old = next(line for line in fstab.parse(before) if line.spec == PATH).raw
    assert fstabedit.replace(str(path), old, b"# another\n")
    assert path.read_bytes() == before.replace(old, b"# another\n")
    assert not fstabedit.replace(str(path), old, b"")
    assert not fstabedit.replace(str(path.with_name("none")), old, b"")
    assert not path.with_name("none").exists()
