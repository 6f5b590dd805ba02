# SPDX-License-Identifier: GPL-2.0-or-later
"""Columns and rows to a table, raw text or JSON: one table of columns feeds them all, and the help."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar

from . import sizes
from .errors import UsageError
from .report import escape

Row = TypeVar("Row")
Value = str | int | float | bool | None
Kind = Literal["text", "path", "cgroup", "number", "size", "percent"]

_PATHS = ("path", "cgroup")
_LEFT = ("text", *_PATHS)


class Column(NamedTuple, Generic[Row]):
    """One column: its name in --output, what it shows, and how to get it from a row."""

    name: str
    help: str
    get: Callable[[Row], Value]
    kind: Kind = "text"
    """``size`` is in bytes; ``path`` is bytes in truth, which `os.fsdecode` made text of, and ``cgroup`` is
    one in which systemd has escaped what it did not like."""


def select(columns: Sequence[Column[Row]], names: str, default: Sequence[str] = ()) -> list[Column[Row]]:
    """The columns of a comma-separated list, in its order and any case; "+LIST" adds to the default."""
    known = {column.name: column for column in columns}
    chosen = list(default) if names.startswith("+") else []
    for name in names.removeprefix("+").split(","):
        if name.strip().upper() not in known:
            raise UsageError(f"unknown column {name!r}", hint=f"columns are {','.join(known)}")
        chosen.append(name.strip().upper())
    return [known[name] for name in chosen]


def _text(value: Value, kind: Kind, in_bytes: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if kind == "size" and not in_bytes and isinstance(value, int):
        return sizes.human(value)
    if kind == "percent":
        return f"{value}%"
    return str(value)


def _raw(text: str, kind: Kind) -> str:
    # as libsmartcols does: bytes, whatever the locale
    data = os.fsencode(text) if kind in _PATHS else text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E and byte != 0x5C else f"\\x{byte:02x}" for byte in data)


def _shown(text: str, kind: Kind) -> str:
    # what looks like an escape is one; of a unit, systemd's: its name is to be pasted
    return escape(text if kind == "cgroup" else text.replace("\\x", "\\x5cx"))


def width(text: str) -> int:
    """Cells of a terminal that the text takes: East Asian wide characters take two, accents none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, cells: int) -> str:
    """As much of the start of the text as fits."""
    cells = max(cells, 0)
    while width(text) > cells:
        text = text[: cells if text.isascii() else -1]
    return text


def fold(text: str, cells: int, indent: int = 2) -> list[str]:
    """A sentence as lines that fit, those after the first indented; as it is with 0 cells."""
    if not cells or width(text) <= cells:
        return [text]
    from textwrap import wrap

    return wrap(text, max(cells, indent + 1), subsequent_indent=" " * indent, break_on_hyphens=False)


def table(
    columns: Sequence[Column[Row]],
    rows: Iterable[Row],
    *,
    headings: bool = True,
    raw: bool = False,
    in_bytes: bool = False,
) -> list[str]:
    """The lines of a table as swapon(8) --show prints it; `raw`: one blank between, escaped as \\xNN."""
    cells = [[_text(column.get(row), column.kind, in_bytes) for column in columns] for row in rows]
    if cells:
        cells.insert(0, [column.name for column in columns])
    shown = slice(0 if headings else 1, None)
    if raw:
        kinds: list[Kind] = [column.kind for column in columns]
        return [" ".join(map(_raw, line, kinds)) for line in cells[shown]]
    cells = [
        [_shown(cell, column.kind) for cell, column in zip(line, columns, strict=True)] for line in cells
    ]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]

    def pad(cell: str, to: int, column: Column[Row]) -> str:
        blanks = " " * (to - width(cell))
        return cell + blanks if column.kind in _LEFT else blanks + cell

    return [" ".join(map(pad, line, widths, columns)).rstrip() for line in cells[shown]]


def objects(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> list[dict[str, Value]]:
    """The rows as JSON objects: column names in lower case, sizes in bytes, null for what is absent."""

    def exact(column: Column[Row], row: Row) -> Value:
        value = column.get(row)
        return path_text(value) if column.kind in _PATHS and isinstance(value, str) else value

    return [{column.name.lower(): exact(column, row) for column in columns} for row in rows]


def path_text(path: str) -> str:
    """A path for JSON: UTF-8 whatever the locale, other bytes as surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def json_text(document: object) -> str:
    """A JSON document as it is printed."""
    import json

    return json.dumps(document, indent=2)
