# SPDX-License-Identifier: GPL-2.0-or-later
"""Who holds the rights to a file and what its licence is: what `reuse lint` (reuse.software) asks for."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from typing import Any

from machine import REPOSITORY, require, run

IDENTIFIER = re.compile(r"SPDX-License-Identifier[:] (\S+)")
CAN_NAME_IT = (".py", ".sh", ".c", ".in", ".bash", ".fish", ".service", ".timer", ".5", ".8")
"""Files that have comments, and no need to be without one. JSON and what tests compare with have none."""


def _annotations() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((REPOSITORY / "REUSE.toml").read_text())["annotations"]
    return found


def _files() -> list[str]:
    require("checkout")
    names = run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0")
    return [name for name in names if name and (REPOSITORY / name).is_file()]


def _named(name: str) -> list[str]:
    """The licences in the first lines of a file."""
    head = (REPOSITORY / name).read_bytes()[:1000].decode(errors="replace")
    return IDENTIFIER.findall("\n".join(head.splitlines()[:5]))


def test_every_source_names_its_licence() -> None:
    sources = [
        name
        for name in _files()
        if (name.endswith(CAN_NAME_IT) or name == "Makefile")
        and not name.startswith("tests/golden/")
        and (REPOSITORY / name).stat().st_size
    ]
    assert len(sources) > 150
    assert [name for name in sources if _named(name) != ["GPL-2.0-or-later"]] == []


def test_every_other_file_is_in_reuse_toml() -> None:
    everywhere, *others = _annotations()
    assert everywhere["path"] == "**"
    assert {*everywhere} == {"path", "SPDX-FileCopyrightText", "SPDX-License-Identifier"}
    names = _files()
    for annotation in others:
        assert any(fnmatch(name, annotation["path"]) for name in names), annotation["path"]


def test_the_texts_are_those_of_the_licences_in_use() -> None:
    used = {annotation["SPDX-License-Identifier"] for annotation in _annotations()}
    used |= {licence for name in _files() for licence in _named(name)}
    texts = [*(REPOSITORY / "LICENSES").iterdir()]
    assert {text.name for text in texts} == {f"{licence}.txt" for licence in used}
    # both are version 2 of the GPL; whether a later one may be chosen is said in the files
    assert {text.read_text() for text in texts} == {(REPOSITORY / "LICENSE").read_text()}


def test_debian_says_the_same() -> None:
    text = (REPOSITORY / "debian/copyright").read_text()
    for annotation in _annotations():
        path = "*" if annotation["path"] == "**" else annotation["path"]
        stanza = next(part for part in text.split("\n\n") if part.startswith(f"Files: {path}\n"))
        holders = annotation["SPDX-FileCopyrightText"]
        for holder in [holders] if isinstance(holders, str) else holders:
            assert holder in stanza
        assert f"\nLicense: {annotation['SPDX-License-Identifier']}\n" in f"{stanza}\n"
