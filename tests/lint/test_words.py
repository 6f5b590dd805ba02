# SPDX-License-Identifier: GPL-2.0-or-later
"""Words that puzzle, in what users read: one thing has one name, and it is said plainly."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import REPOSITORY

BANNED = {
    r"(?:stand(?:s|ing)?|stood)[ -]in\b": 'made for a ghost, or "in place of"',
    r"reali[sz](?:e[sd]?|ing|ations?)\b": '"active through zram"',
    r"kills? for memory": '"the OOM killer ends processes"',
    r"swapped to no more": '"is no longer swap"',
    r"no ghost the next time": '"is not accepted at the next activation"',
    r"all that print facts": '"every command that reports something"',
}
"""What must not be read, and what to write instead."""

TEXTS = ("README.md", "CHANGES", "man", "completions", "docs", "packaging", "systemd", "contrib")
"""What users read as it is."""


def _files(*places: str) -> Iterator[Path]:
    for place in places:
        path = REPOSITORY / place
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in found if one.is_file() and "__pycache__" not in one.parts)


def _strings(source: str) -> Iterator[str]:
    """The string literals of a Python source: messages, helps, docstrings; not names in the code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _comments(source: str) -> Iterator[str]:
    yield from re.findall(r"(?:^|\s)# (.+)$", source, re.MULTILINE)


def _faults(text: str) -> list[str]:
    text = " ".join(text.split())
    return [
        f"{found[0]!r}: {instead}"
        for pattern, instead in BANNED.items()
        for found in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize(
    "place", [*TEXTS, "src/ghostctl/schemas", "src/ghostctl/ghostctl-generator.in", "tools"]
)
def test_texts(place: str) -> None:
    files = [file for file in _files(place) if file.suffix not in (".png", ".gz")]
    assert files
    assert {file.name: found for file in files if (found := _faults(file.read_text()))} == {}


def test_strings_and_comments_of_the_program() -> None:
    sources = [file for file in _files("src") if file.suffix == ".py"]
    assert len(sources) > 40
    faults = {}
    for file in sources:
        text = file.read_text()
        found = [fault for part in (*_strings(text), *_comments(text)) for fault in _faults(part)]
        if found:
            faults[file.name] = found
    assert faults == {}


@pytest.mark.parametrize(
    "text",
    [
        "a device that stands in",
        "a stand-in",
        "who stood\nin",
        "realised by",
        "Realisation",
        "kills for memory",
    ],
)
def test_such_words_are_found(text: str) -> None:
    assert _faults(text)


@pytest.mark.parametrize("text", ["really", "in the standard input", "it stands there"])
def test_others_are_not(text: str) -> None:
    assert not _faults(text)
