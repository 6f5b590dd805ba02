# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ghostctl import errors, output, report
from ghostctl.errors import UsageError
from ghostctl.output import Column

Row = tuple[str | None, int | None, int | None]
COLUMNS: list[Column[Row]] = [
    Column("NAME", "a name", lambda row: row[0]),
    Column("SIZE", "a size", lambda row: row[1], "size"),
    Column("USE%", "a share", lambda row: row[2], "percent"),
]
# text as it comes out of os.fsdecode(): any bytes
NAMES = st.binary(max_size=30).map(os.fsdecode)


def rows_of(names: list[str]) -> list[Row]:
    return [(name, 1, 2) for name in names]


def test_table() -> None:
    rows: list[Row] = [("/swap", 1 << 30, 5), ("/a longer one", None, 100), (None, 1536, None)]
    assert output.table(COLUMNS, rows) == [
        "NAME          SIZE USE%",
        "/swap           1G   5%",
        "/a longer one      100%",
        "              1.5K",
    ]
    assert output.table(COLUMNS, rows, headings=False, in_bytes=True) == [
        "/swap         1073741824   5%",
        "/a longer one            100%",
        "                    1536",
    ]
    assert output.table(COLUMNS, rows, raw=True, in_bytes=True) == [
        "NAME SIZE USE%",
        "/swap 1073741824 5%",
        "/a\\x20longer\\x20one  100%",
        " 1536 ",
    ]


def test_what_looks_like_an_escape_is_one() -> None:
    row: Row = ("/a\\x0a\n\\", None, None)
    assert output.table(COLUMNS, [row])[1] == "/a\\x5cx0a\\x0a\\"


def test_an_escape_of_systemd_is_left_alone() -> None:
    columns: list[Column[str]] = [Column("UNIT", "", str, "cgroup")]
    name = "a\\x2db.service\x1b\udcff"
    assert output.table(columns, [name]) == ["UNIT", "a\\x2db.service\\x1b\\xff"]
    assert output.table(columns, [name], raw=True, headings=False) == ["a\\x5cx2db.service\\x1b\\xff"]
    assert output.objects(columns, [name]) == [{"unit": name}]


def test_yes_and_no() -> None:
    columns: list[Column[bool | None]] = [
        Column("ON", "", lambda value: value),
        Column("X", "", lambda _: 1, "size"),
    ]
    assert output.table(columns, [True, False, None], headings=False) == ["yes 1B", "no  1B", "    1B"]
    assert [row["on"] for row in output.objects(columns, [True, False, None])] == [True, False, None]


def test_no_rows_no_headings() -> None:
    assert output.table(COLUMNS, []) == []
    assert output.table(COLUMNS, [], raw=True) == []


@given(st.lists(NAMES, min_size=1, max_size=4))
@example(["/a\\x41"])
def test_raw_is_unambiguous(names: list[str]) -> None:
    lines = output.table(COLUMNS, rows_of(names), raw=True, headings=False)
    for line, name in zip(lines, names, strict=True):
        assert line.isascii()
        assert line.isprintable()
        first, *rest = line.split(" ")
        assert rest == ["1B", "2%"]
        data = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), first.encode())
        assert os.fsdecode(data) == name


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_table_is_safe_on_a_terminal(names: list[str]) -> None:
    lines = output.table(COLUMNS, rows_of(names))
    assert len(lines) == 1 + len(names)
    for line in lines:
        assert line.isprintable()
        line.encode("utf-8")


@given(NAMES)
def test_escape(text: str) -> None:
    safe = report.escape(text)
    assert safe.isprintable()
    safe.encode("utf-8")
    if text.isprintable():
        assert safe == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain größe 交換", "plain größe 交換"),
        ("a\nb\tc\0", "a\\x0ab\\x09c\\x00"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\udcff", "\\xff"),
        ("\x85\u202e\u2028", "\\xc2\\x85\\xe2\\x80\\xae\\xe2\\x80\\xa8"),
    ],
)
def test_escapes(text: str, safe: str) -> None:
    assert report.escape(text) == safe


def names(columns: list[Column[Row]]) -> list[str]:
    return [column.name for column in columns]


def test_select() -> None:
    assert names(output.select(COLUMNS, "size,NAME")) == ["SIZE", "NAME"]
    assert names(output.select(COLUMNS, " use% ")) == ["USE%"]
    assert names(output.select(COLUMNS, "+SIZE", ("NAME",))) == ["NAME", "SIZE"]
    assert names(output.select(COLUMNS, "NAME,NAME")) == ["NAME", "NAME"]


@pytest.mark.parametrize("text", ["", ",", "NAME,", "+", "NOPE", "NAME;SIZE"])
def test_unknown_columns(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        output.select(COLUMNS, text, ("NAME",))
    assert caught.value.hint == "columns are NAME,SIZE,USE%"


def test_objects_are_exact() -> None:
    row: Row = ("/a", 2**60 + 1, None)
    document = output.objects(COLUMNS, [row])
    assert json.loads(output.json_text(document)) == [{"name": "/a", "size": 2**60 + 1, "use%": None}]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Error("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.SizeError("x"), 2),
        (errors.NotFound("x"), 3),
        (errors.NotAGhost("x"), 3),
        (errors.Denied("x"), 4),
        (errors.Unsupported("x"), 5),
        (errors.Busy("x"), 6),
        (errors.NoMemory("x"), 7),
        (OSError(errno.ENOENT, ""), 3),
        (OSError(errno.EPERM, ""), 4),
        (OSError(errno.EACCES, ""), 4),
        (OSError(errno.ENOSYS, ""), 5),
        (OSError(errno.EBUSY, ""), 6),
        (OSError(errno.ETXTBSY, ""), 6),
        (OSError(errno.ENOMEM, ""), 7),
        (OSError(errno.EIO, ""), 1),
        (OSError("no errno"), 1),
        (ValueError("x"), 1),
    ],
    ids=repr,
)
def test_exit_status(error: Exception, status: int) -> None:
    assert errors.exit_status(error) == status


def test_messages(capsys: pytest.CaptureFixture[str]) -> None:
    report.error(errors.Error("is wrong\x1b", path="/a\nb", hint="do\tit"))
    report.error(OSError(errno.ENOSPC, "No space left on device", b"/\xff"))
    report.error(OSError(errno.EIO, "Input/output error"))
    report.error(OSError(errno.ENOENT, "No such file or directory", ""))
    report.error(OSError(errno.ENOENT, "No such file or directory", Path("/a"), None, "/b"))
    report.error(OSError("no errno"))
    assert capsys.readouterr() == (
        "",
        "ghostctl: /a\\x0ab: is wrong\\x1b\n"
        "ghostctl: hint: do\\x09it\n"
        "ghostctl: /\\xff: No space left on device\n"
        "ghostctl: Input/output error\n"
        "ghostctl: '': No such file or directory\n"
        "ghostctl: /a: No such file or directory\n"
        "ghostctl: no errno\n",
    )


def test_wide_characters_take_two_cells() -> None:
    assert output.width("a\u65e5\u672ce\u0301") == 6
    assert output.cut("a\u65e5\u672c", 4) == "a\u65e5"
    assert output.cut("ascii", 3) == "asc"
    columns: list[Column[str]] = [Column("A", "", str), Column("B", "", lambda _: "x")]
    assert output.table(columns, ["\u65e5\u672c", "abcd"]) == ["A    B", "\u65e5\u672c x", "abcd x"]


def test_messages_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stderr", full)
        report.error(errors.Error("is wrong"))
        report.warn("/a", "is odd", "do it")
        # what is buffered would fail again
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), full.fileno())


def test_quiet_and_verbose(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    report.warn("/a", "is odd", "do it")
    report.trace("not said")
    monkeypatch.setattr(report, "verbosity", 1)
    report.trace("said")
    report.trace("not said", 2)
    monkeypatch.setattr(report, "quiet", True)
    report.warn(None, "is odd", "do it")
    report.error(errors.Error("is wrong"))
    assert capsys.readouterr().err == (
        "ghostctl: /a: warning: is odd\nghostctl: hint: do it\nghostctl: said\nghostctl: is wrong\n"
    )


def test_a_path_is_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel names and what a header says differ in what their characters are."""
    columns: list[Column[str]] = [
        Column("NAME", "", lambda _: name, "path"),
        Column("LABEL", "", lambda label: label),
    ]
    for encoding in ("utf-8", "ascii", "iso-8859-1"):
        monkeypatch.setattr(os, "fsencode", lambda text: text.encode(encoding, "surrogateescape"))  # noqa: B023
        name = "/gr\u00f6\u00dfe".encode().decode(encoding, "surrogateescape")
        assert output.table(columns, ["gr\u00fcn"], raw=True, headings=False) == [
            "/gr\\xc3\\xb6\\xc3\\x9fe gr\\xc3\\xbcn"
        ]
        assert output.objects(columns, ["gr\u00fcn"]) == [{"name": "/gr\u00f6\u00dfe", "label": "gr\u00fcn"}]
        assert output.table(columns, ["x", "longer"], headings=False)[0].endswith(" x")
    assert output.path_text("/\udcff") == "/\udcff"


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ((), "other"),
        (("on", "/a b"), "ghostctl on '/a b' --force"),
        (
            ("-v", "--color", "on", "on", "-p", "7", "--", "-g"),
            "ghostctl -v --color on on -p 7 --force -- -g",
        ),
        (("resize", "--cycle", "on"), "other"),
        (("--color", "on"), "other"),
    ],
)
def test_the_command_again(command: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "command", command)
    assert report.again("on", "--force", otherwise="other") == line
