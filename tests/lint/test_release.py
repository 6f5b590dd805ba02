# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/release.py names each thing that a release lacks."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import REPOSITORY, require, run

TODAY = datetime.date.today()
IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def git(tree: Path, *words: str) -> None:
    run("git", "-C", tree, *IDENTITY, *words)


def edit(tree: Path, name: str, pattern: str, text: str) -> None:
    path = tree / name
    new, count = re.subn(pattern, text, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1, (name, pattern)
    path.write_text(new)


def commit(tree: Path) -> None:
    git(tree, "commit", "--quiet", "--all", "--message", "one more")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of these files, in the state of a release."""
    require("checkout")
    tree = tmp_path_factory.mktemp("release") / "tree"
    for name in run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0"):
        if name and (REPOSITORY / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, tree / name, follow_symlinks=False)
    edit(tree, "CHANGES", r"^(\d[\d.]+), .*$", rf"\1, {TODAY}")
    edit(tree, "debian/changelog", r"UNRELEASED;|unstable;", "unstable;")
    for page in (tree / "man").iterdir():
        edit(tree, f"man/{page.name}", r"^\.Dd .*$", f".Dd {TODAY:%B %-d, %Y}")
    git(tree, "init", "--quiet", "--initial-branch=main")
    git(tree, "add", "--all", "--force")
    commit(tree)
    return tree


@pytest.fixture
def tree(original: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "tree"
    shutil.copytree(original, copy, symlinks=True)
    return copy


def lacks(tree: Path, *options: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, tree / "tools/release.py", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # pip may have warnings of its own
    lines = done.stderr.splitlines()
    found = [line.removeprefix("release: ") for line in lines if line.startswith("release: ")]
    assert done.returncode == bool(found), done.stderr
    assert ("git tag" in done.stdout) != bool(found)
    return found


def test_nothing_is_lacking(tree: Path) -> None:
    before = run("git", "-C", tree, "for-each-ref")
    assert lacks(tree, "--no-build") == []
    assert run("git", "-C", tree, "for-each-ref") == before


LACKS: list[tuple[Callable[[Path], object], str]] = [
    (lambda tree: (tree / "new").touch(), "not committed: new"),
    (lambda tree: (tree / "README.md").write_text("changed\n"), "not committed: README.md"),
    (lambda tree: git(tree, "checkout", "--quiet", "-b", "topic"), "the branch is topic, not main"),
    (lambda tree: git(tree, "tag", "v0.1.0"), "the tag v0.1.0 exists"),
    (
        lambda tree: edit(tree, "CHANGES", r"^\d.*$", "0.1.0, not released yet"),
        "CHANGES: 0.1.0, not released yet",
    ),
    (
        lambda tree: edit(tree, "CHANGES", r"^\d.*$", "0.1.0, 2999-01-01"),
        "CHANGES: 0.1.0, 2999-01-01: that is in",
    ),
    (lambda tree: edit(tree, "CHANGES", r"^\d.*$", f"9.0, {TODAY}"), "CHANGES: begins with 9.0"),
    (lambda tree: edit(tree, "CHANGES", r"^(\d.*)$", f"9.0, {TODAY}\n\n\\1"), "CHANGES: begins with 9.0"),
    (lambda tree: edit(tree, "debian/changelog", r"\(.*?\)", "(9.0-1)"), "debian/changelog: begins with"),
    (lambda tree: edit(tree, "debian/changelog", "unstable;", "UNRELEASED;"), "debian/changelog: UNRELEASED"),
    (
        lambda tree: edit(tree, "packaging/rpm/ghostctl.spec", r"^Version:.*$", "Version: 9.0"),
        "packaging/rpm/ghostctl.spec: Version is 9.0",
    ),
    (
        lambda tree: edit(tree, "man/ghostctl.5", r"^\.Dd .*$", ".Dd January 2, 2020"),
        "man/ghostctl.5: .Dd says 2020-01-02, the last change",
    ),
    (
        lambda tree: edit(tree, "man/ghostctl.8", r"^\.Dd .*$", ".Dd January 2, 2999"),
        "man/ghostctl.8: .Dd says 2999",
    ),
    (lambda tree: edit(tree, "man/ghostctl.8", r"^\.Dd .*$", ".Dd today"), "man/ghostctl.8: no date in .Dd"),
]


@pytest.mark.parametrize(("change", "lack"), LACKS, ids=[lack for _, lack in LACKS])
def test_what_is_lacking_is_said(tree: Path, change: Callable[[Path], object], lack: str) -> None:
    change(tree)
    if not lack.startswith("not committed"):
        git(tree, "commit", "--quiet", "--all", "--allow-empty", "--message", "one more")
    (found,) = lacks(tree, "--no-build")
    assert found.startswith(lack)


def test_what_is_built(tree: Path) -> None:
    """Both are the same wherever they are built; a file that is left out is named."""
    require("pypi")
    assert lacks(tree) == []
    edit(tree, "pyproject.toml", r'^"completions/_ghostctl".*\n', "")
    edit(tree, "pyproject.toml", r'^exclude = \["/\.ci"\]$', 'exclude = ["/.ci", "/man/ghostctl.5"]')
    commit(tree)
    wheel, sdist = sorted(lacks(tree), key=lambda lack: "tar.gz" in lack)
    assert wheel.endswith(".whl: has no share/zsh/site-functions/_ghostctl")
    assert sdist.endswith(".tar.gz: has no man/ghostctl.5")
