#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Says what a checkout lacks to be released, or else the commands that release it; it changes nothing.

    tools/release.py                    everything; to build sdist and wheel, pip needs the network
    tools/release.py --no-build         all but that

The version is that of pyproject.toml; CHANGES, debian/changelog and packaging/rpm/ghostctl.spec have to have
the same. Exit status 1: something is lacking, one line each.
"""

from __future__ import annotations

import argparse
import datetime
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent

MAN = ("ghostctl.5", "ghostctl.8", "ghostctl-generator.8")
WHEEL = (
    *(f"share/man/man{page[-1]}/{page}" for page in MAN),
    "share/bash-completion/completions/ghostctl",
    "share/zsh/site-functions/_ghostctl",
    "share/fish/vendor_completions.d/ghostctl.fish",
    "licenses/LICENSE",
    "ghostctl/py.typed",
    "ghostctl/schemas/status.json",
)
"""How names in the wheel end."""
SDIST = (
    *(f"man/{page}" for page in MAN),
    "completions/ghostctl.bash",
    "completions/_ghostctl",
    "completions/ghostctl.fish",
    *(
        "LICENSE",
        "REUSE.toml",
        "CHANGES",
        "Makefile",
        "debian/control",
        "tests/conftest.py",
        "tools/install.py",
    ),
)


class Tree:
    """A checkout that is to be released."""

    def __init__(self, path: Path) -> None:
        self.path = path
        project = tomllib.loads(self.read("pyproject.toml"))
        self.version = str(project["project"]["version"])
        self.build_requires = [str(one) for one in project["build-system"]["requires"]]

    def read(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def git(self, *words: str) -> str:
        command = ["git", "-C", str(self.path), *words]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    @property
    def tag(self) -> str:
        return f"v{self.version}"


def lacks(tree: Tree) -> Iterator[str]:
    """What can be seen without building anything."""
    yield from _state(tree)
    released = _date(tree)
    if isinstance(released, str):
        yield released
    yield from _packages(tree)
    yield from _man(tree, None if isinstance(released, str) else released)


def _state(tree: Tree) -> Iterator[str]:
    branch = tree.git("rev-parse", "--abbrev-ref", "HEAD")
    if branch != "main":
        yield f"the branch is {branch}, not main"
    if changed := tree.git("status", "--porcelain"):
        yield f"not committed: {', '.join(line[2:].strip() for line in changed.splitlines())}"
    if tree.git("tag", "--list", tree.tag):
        yield f"the tag {tree.tag} exists: the version in pyproject.toml has been released"


def _date(tree: Tree) -> datetime.date | str:
    """When CHANGES says that this version is released; or what is wrong there."""
    top = next((line for line in tree.read("CHANGES").splitlines() if re.match(r"\d", line)), "")
    version, _, date = top.partition(", ")
    if version != tree.version:
        return f"CHANGES: begins with {version or 'no version'}, pyproject.toml has {tree.version}"
    try:
        found = datetime.date.fromisoformat(date)
    except ValueError:
        return f"CHANGES: {top}: no date, as in {version}, {datetime.date.today()}"
    if found > datetime.date.today():
        return f"CHANGES: {top}: that is in the future"
    return found


def _packages(tree: Tree) -> Iterator[str]:
    top = tree.read("debian/changelog").split("\n", 1)[0]
    match = re.match(r"ghostctl \((\S+?)(?:-\w+)?\) (\S+);", top)
    if match is None or match[1] != tree.version:
        yield f"debian/changelog: begins with {top!r}, not with version {tree.version}"
    elif match[2] == "UNRELEASED":
        yield "debian/changelog: UNRELEASED"
    spec = re.search(r"^Version:\s*(\S+)$", tree.read("packaging/rpm/ghostctl.spec"), re.MULTILINE)
    if spec is None or spec[1] != tree.version:
        yield f"packaging/rpm/ghostctl.spec: Version is {spec and spec[1]}, not {tree.version}"


def _man(tree: Tree, released: datetime.date | None) -> Iterator[str]:
    for page in MAN:
        text = re.search(r"^\.Dd (.+)$", tree.read(f"man/{page}"), re.MULTILINE)
        try:
            dated = datetime.datetime.strptime(text[1] if text else "", "%B %d, %Y").date()
        except ValueError:
            yield f"man/{page}: no date in .Dd"
            continue
        changed = datetime.date.fromisoformat(tree.git("log", "-1", "--format=%cs", "--", f"man/{page}"))
        if dated < changed:
            yield f"man/{page}: .Dd says {dated}, the last change is of {changed}"
        elif released and dated > released:
            yield f"man/{page}: .Dd says {dated}, which is after the release"


def built(tree: Tree, where: Path) -> Iterator[str]:
    """What sdist and wheel of the last commit lack, built in two directories."""
    hatchling = where / "hatchling"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(hatchling), *tree.build_requires], check=True)
    archive = subprocess.run(
        ["git", "-C", str(tree.path), "archive", "HEAD"], stdout=subprocess.PIPE, check=True
    ).stdout
    env = {
        **os.environ,
        "PYTHONPATH": str(hatchling),
        "SOURCE_DATE_EPOCH": tree.git("log", "-1", "--format=%ct"),
    }
    results: list[dict[str, bytes]] = []
    for name, umask in (("one", 0o022), ("another/directory", 0o077)):
        source, dist = where / name, where / f"dist-{umask:o}"
        source.mkdir(parents=True)
        # not tarfile: extractall() wants a filter, which Python 3.11.2 does not know
        subprocess.run(["tar", "-xf", "-", "-C", str(source)], input=archive, check=True)
        build = [sys.executable, "-m", "hatchling", "build", "-d", str(dist)]
        subprocess.run(build, cwd=source, env=env, umask=umask, stdout=subprocess.DEVNULL, check=True)
        results.append({file.name: file.read_bytes() for file in sorted(dist.iterdir())})
    first, second = results
    for name, content in first.items():
        if second.get(name) != content:
            yield f"{name}: differs when it is built in another directory"
        missing = _missing(name, content)
        if missing:
            yield f"{name}: has no {', '.join(missing)}"
    if len(first) != 2:
        yield f"hatchling made {', '.join(first)}: a wheel and an sdist were expected"


def _missing(name: str, content: bytes) -> list[str]:
    file = io.BytesIO(content)
    if name.endswith(".whl"):
        with zipfile.ZipFile(file) as wheel:
            wanted, names = WHEEL, wheel.namelist()
    else:
        with tarfile.open(fileobj=file) as tar:
            wanted, names = SDIST, tar.getnames()
    return [one for one in wanted if not any(name.endswith(f"/{one}") or name == one for name in names)]


def commands(tree: Tree) -> list[str]:
    """What releases it. Nothing here is run."""
    return [
        "make test check-packages test-vm",
        f"git tag -s {tree.tag} -m 'ghostctl {tree.version}'",
        f"git push origin {tree.tag}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-build", action="store_true", help="do not build sdist and wheel")
    arguments = parser.parse_args()
    tree = Tree(CHECKOUT)
    found = list(lacks(tree))
    if not arguments.no_build:
        with tempfile.TemporaryDirectory(prefix="ghostctl-release-") as name:
            found += built(tree, Path(name))
    for lack in found:
        print(f"release: {lack}", file=sys.stderr)
    if found:
        return 1
    print(f"Nothing is lacking for {tree.version}. Then:\n")
    print("\n".join(f"    {command}" for command in commands(tree)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
