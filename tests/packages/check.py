#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the packages in clean chroots of Debian, looks at them, installs and purges them.

    tests/packages/check.py                          all checks for bookworm and trixie
    tests/packages/check.py --suite trixie build     some of them, on what the last run has built

Needs root, and mmdebstrap for chroots that are not cached yet (tools/chroot.py). Packages are built by nobody
and without the network. What is built stays in build/packages. Says each check and its time in a line; what a
check prints is shown when it fails, or all with --verbose.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
OUTPUT = REPOSITORY / "build/packages"
SUITES = ("bookworm", "trixie")
BUILD_TOOLS = ["build-essential", "git", "lintian", "rpm"]
SHELLS = ["bash-completion", "file", "fish", "kmod", "man-db", "systemd", "zsh"]
"""What a machine may have that has the package installed."""
WRITTEN_FOR_ALL = 0o777
TIMEOUT = 900
"""Seconds for one check, a new chroot included."""

RPM_MOVES = {
    "/usr/share/zsh/site-functions/": "/usr/share/zsh/vendor-completions/",
    "/lib/systemd/": "/usr/lib/systemd/",
}
DEB_ALONE = {"/usr/share/doc/ghostctl/changelog.gz", "/usr/share/doc/ghostctl/copyright"}
# Debian compiles again when it has another Python
DEB_ALONE |= {"/usr/share/python3/runtime.d/ghostctl.rtupdate"}
RPM_ALONE = ("/licenses/", "/__pycache__")
EITHER = ".dist-info/RECORD"
"""dh_python3 of trixie takes it out, that of bookworm does not."""


class Failed(Exception):
    """A check found something: in its output, or in this text."""


def fields(text: str) -> dict[str, str]:
    """The first paragraph of a control file."""
    found = re.findall(r"^(\S+?): *(.*(?:\n .*)*)", text.partition("\n\n")[0], re.MULTILINE)
    return {name: re.sub(r"\s+", " ", value) for name, value in found}


def names(dependencies: str) -> list[str]:
    """The first package of each dependency, without its version; debhelper-compat is virtual."""
    words = [re.split(r"[ (:|<\[]", part.strip())[0] for part in dependencies.split(",")]
    virtual = {"debhelper-compat": "debhelper", "dh-sequence-python3": "dh-python"}
    return [virtual.get(word, word) for word in words if word]


class Checks:
    """The checks of one suite."""

    def __init__(self, suite: str, verbose: bool) -> None:
        self.suite = suite
        self.verbose = verbose
        self.output = OUTPUT / suite
        self.log = ""

    def run(self, command: Sequence[str], status: int = 0) -> str:
        """What a command prints, which must end with this status."""
        shown = None if self.verbose else subprocess.PIPE
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=shown and subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
        self.log += done.stdout
        if self.verbose:
            print(done.stdout, end="")
        if done.returncode != status:
            raise Failed(f"exit status {done.returncode}")
        return done.stdout

    def chroot(self, packages: Sequence[str], options: Sequence[str], command: Sequence[str]) -> str:
        program = [str(REPOSITORY / "tools/chroot.py"), "--include", ",".join(packages)]
        return self.run([*program, *options, self.suite, "--", *command])

    def to_build(self, command: str) -> str:
        """Runs a command of sh on a copy of the sources, as nobody, without the network."""
        control = fields((REPOSITORY / "debian/control").read_text())
        packages = [*BUILD_TOOLS, *names(control["Build-Depends"])]
        options = ["--no-network", "--user", "nobody", "--bind", f"{self.output}:/out"]
        options += ["--copy", f"{REPOSITORY}:/tmp/ghostctl"]
        return self.chroot(packages, options, ["sh", "-ec", command])

    def file(self, pattern: str) -> Path:
        found = sorted(self.output.glob(pattern))
        if len(found) != 1:
            raise Failed(f"{self.output}/{pattern}: {len(found)} files")
        return found[0]

    def to_install(self, options: Sequence[str], command: Sequence[str]) -> str:
        """Runs a command in a chroot with what the package depends on, but not the package."""
        control = subprocess.run(
            ["dpkg-deb", "-f", str(self.file("*.deb"))], capture_output=True, text=True, check=True
        )
        packages = [*SHELLS, *names(fields(control.stdout)["Depends"])]
        sources = [f"--bind={REPOSITORY / name}:/sources/{name}:ro" for name in ("debian", "tests/packages")]
        return self.chroot(
            packages, ["--no-network", f"--bind={self.output}:/out:ro", *sources, *options], command
        )

    def build(self) -> None:
        """Both packages, and the source package."""
        shutil.rmtree(self.output, ignore_errors=True)
        self.output.mkdir(parents=True)
        self.output.chmod(WRITTEN_FOR_ALL)
        self.to_build("make deb DEBFLAGS='-us -uc'; make rpm; cp dist/* /out/")
        self.output.chmod(0o755)

    def lintian(self) -> None:
        self.to_build("lintian --info --fail-on error,warning /out/*.changes >&2")

    def rpm(self) -> None:
        """It has the files of the other package, where its distributions want them, and bytecode."""
        listed = self.to_build("rpm --dbpath /tmp/rpm -qlp /out/*.rpm")
        in_rpm = {name for name in listed.splitlines() if name.startswith("/")}
        in_deb = {
            line.split(maxsplit=5)[5].removeprefix(".")
            for line in self.run(["dpkg-deb", "-c", str(self.file("*.deb"))]).splitlines()
            if line.startswith("-")
        }
        only = {_plain(name) for name in in_deb - DEB_ALONE if not name.endswith(EITHER)} ^ {
            _plain(name)
            for name in in_rpm
            if not name.endswith(EITHER) and not any(part in name for part in RPM_ALONE)
        }
        directories = {str(parent) for name in in_rpm for parent in Path(name).parents}
        if differences := sorted(only - directories):
            raise Failed("not in both: " + " ".join(differences))

    def installed(self) -> None:
        """Installs it, uses it as people do, removes and purges it: nothing is left."""
        self.to_install([], ["python3", "/sources/tests/packages/installed.py"])

    def swap(self) -> None:
        """The test of debian/tests that activates areas."""
        command = "apt-get install -qy /out/*.deb && AUTOPKGTEST_TMP=/tmp /sources/debian/tests/swap"
        self.to_install(["--devices"], ["sh", "-ec", command])


def _plain(name: str) -> str:
    """A file of either package by the name that both have in common."""
    for wanted, instead in RPM_MOVES.items():
        if name.startswith(wanted):
            name = instead + name.removeprefix(wanted)
    return name.removesuffix(".gz") if "/man/" in name or "/doc/" in name else name


CHECKS: dict[str, Callable[[Checks], None]] = {
    "build": Checks.build,
    "lintian": Checks.lintian,
    "rpm": Checks.rpm,
    "installed": Checks.installed,
    "swap": Checks.swap,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--suite", action="append", choices=SUITES)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; default: all")
    options = parser.parse_args()
    if unknown := set(options.checks) - set(CHECKS):
        parser.error(f"no check: {', '.join(sorted(unknown))}")
    passed = failed = 0
    for suite in options.suite or SUITES:
        for name in options.checks or CHECKS:
            checks, start, problem = Checks(suite, options.verbose), time.monotonic(), ""
            try:
                CHECKS[name](checks)
                passed += 1
            except (Failed, subprocess.SubprocessError) as error:
                problem = str(error)
                failed += 1
                print("" if options.verbose else checks.log, end="")
            seconds = time.monotonic() - start
            print(f"{suite:9} {name:10} {seconds:6.1f} s  {problem or 'ok'}", flush=True)
            if problem and name == "build":
                break
    print(f"{passed} passed, {failed} failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
