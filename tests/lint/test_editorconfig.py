# SPDX-License-Identifier: GPL-2.0-or-later
"""What .editorconfig tells editors is how the files are."""

from __future__ import annotations

import configparser
import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache

from machine import REPOSITORY, require, run


def _alternatives(pattern: str) -> Iterator[str]:
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    yield from map("".join, itertools.product(*choices))


def _regex(pattern: str) -> str:
    """Without a slash it is about names in every directory."""
    inside = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    return inside if "/" in pattern else f"(?:.*/)?{inside}"


@cache
def _rules() -> list[tuple[list[str], Mapping[str, str]]]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string("[root]\n" + (REPOSITORY / ".editorconfig").read_text())
    return [
        ([*map(_regex, _alternatives(section))], parser[section])
        for section in parser.sections()
        if section != "root"
    ]


def _settings(name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for patterns, settings in _rules():
        if any(re.fullmatch(pattern, name) for pattern in patterns):
            found |= settings
    return found


def _faults(name: str, text: str) -> list[str]:
    wanted, found = _settings(name), []
    if wanted["insert_final_newline"] == "true" and text and not text.endswith("\n"):
        found.append("no newline at the end")
    if wanted["trim_trailing_whitespace"] == "true" and re.search(r"[ \t]$", text, re.MULTILINE):
        found.append("blanks at the end of a line")
    if "\r" in text and wanted["insert_final_newline"] == "true":
        found.append("a line ends with CR")
    # ruff looks at Python, where a string may hold tabs; a comment of C has one blank before its asterisk
    if (
        wanted["indent_style"] == "space"
        and not name.endswith(".py")
        and re.search(r"^\t", text, re.MULTILINE)
    ):
        found.append("a line begins with a tab")
    if wanted["indent_style"] == "tab" and re.search(r"^ (?!\*)", text, re.MULTILINE):
        found.append("a line begins with a blank")
    return found


def test_every_file_is_like_that() -> None:
    require("checkout")
    names = [name for name in run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0") if name]
    paths = {name: REPOSITORY / name for name in names}
    faults = {
        name: found
        for name, path in paths.items()
        if path.is_file() and (found := _faults(name, path.read_bytes().decode(errors="surrogateescape")))
    }
    assert len(names) > 100
    assert faults == {}


def test_every_section_is_about_a_file() -> None:
    require("checkout")
    names = run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0")
    for patterns, _ in _rules():
        for pattern in patterns:
            assert any(re.fullmatch(pattern, name) for name in names), pattern


def test_faults_are_found() -> None:
    assert _faults("README.md", "a\nb") == ["no newline at the end"]
    assert _faults("docs/x.md", "a \n") == ["blanks at the end of a line"]
    assert _faults("src/x.json", "{\r\n}\n") == ["a line ends with CR"]
    assert _faults("src/x.json", "\t{}\n") == ["a line begins with a tab"]
    assert _faults("Makefile", "a:\n    b\n") == ["a line begins with a blank"]
    assert _faults("tests/vm/hog.c", "/*\n * a\n */\n\tb\n") == []
    assert _faults("tests/data/machines/x/proc/swaps", "a \t") == []


def test_length_of_lines() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert _settings("src/x.py")["max_line_length"] == str(project["tool"]["ruff"]["line-length"])
