# SPDX-License-Identifier: GPL-2.0-or-later
"""What README.md, CONTRIBUTING.md and SECURITY.md name is there."""

from __future__ import annotations

import re

import pytest
from machine import REPOSITORY

PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][\w-]*)(?= |:[^=])", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^(?:override )?([A-Z_]+) *[?:]?=", MAKEFILE, re.MULTILINE))

LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")
PATH = re.compile(
    r"(?<![\w./~-])((?:src|tests|tools|man|docs|debian|packaging|completions|contrib)/[\w./-]*\w)"
)


def read(page: str) -> str:
    return (REPOSITORY / page).read_text()


def unknown(text: str) -> set[str]:
    """Links and paths without a file, and what is not known to make."""
    paths = set(LINK.findall(text)) | set(PATH.findall(text))
    missing = {path for path in paths if ":" not in path and not (REPOSITORY / path).exists()}
    lines = re.findall(r"^    (make .*?)(?:  .*|&&.*|#.*)?$", text, re.MULTILINE)
    lines += re.findall(r"`(make .+?)`", text)
    words = {word for line in lines for word in line.split()[1:]}
    return missing | {
        word for word in words if word not in TARGETS and word.partition("=")[0] not in VARIABLES
    }


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_is_there(page: str) -> None:
    text = read(page)
    assert LINK.findall(text)
    assert unknown(text) == set()


def test_what_is_not_there_is_found() -> None:
    text = "See [x](src/none.py), tests/none.\n\n    make none   does it\n\n`make test NONE=1`, `make lint`\n"
    assert unknown(text) == {"src/none.py", "tests/none", "none", "NONE=1"}


def test_first_screen_of_the_readme() -> None:
    assert len(read("README.md").splitlines()) <= 80
    for command in ("apt install ./dist/ghostctl_*.deb", "pip install .", "make install"):
        assert f"\n    {command}" in read("README.md") or f" && {command}" in read("README.md")


def test_every_page_is_reached_from_the_readme() -> None:
    assert {"CONTRIBUTING.md", "SECURITY.md", "CHANGES"} <= set(LINK.findall(read("README.md")))


@pytest.mark.parametrize("target", sorted(name for name in TARGETS if name.startswith("test")))
def test_every_suite_is_in_contributing(target: str) -> None:
    if not target.startswith(("test-arch-", "test-vm-")):
        assert f"`make {target}`" in read("CONTRIBUTING.md")


def test_names_in_the_recipes() -> None:
    """Names of the code that CONTRIBUTING.md sends to a file stand in that file."""
    found = 0
    for path, names in re.findall(r"\((src/\S+\.py|tests/\S+\.py)\):? ([^.\n]*)", read("CONTRIBUTING.md")):
        for name in re.findall(r"`([A-Z_]\w+)`", names):
            found += 1
            assert re.search(rf"\b{name}\b", (REPOSITORY / path).read_text()), (path, name)
    assert found >= 6
