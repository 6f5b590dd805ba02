# SPDX-License-Identifier: GPL-2.0-or-later
"""The generator where systemd looks for it: found, tried, installed for a ghostctl that pip has installed."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from . import atomic, generator, report
from .errors import Error

NAME = "ghostctl-generator"
LOCAL = "/etc/systemd/system-generators"
"""The administrator's directory."""
DIRECTORIES = (
    "/run/systemd/system-generators",
    LOCAL,
    "/usr/local/lib/systemd/system-generators",
    "/usr/lib/systemd/system-generators",
)
"""Where systemd looks, first come first served (systemd.generator(7))."""

_TIMEOUT = 20
"""Seconds."""


class Tried(NamedTuple):
    """What the generator makes of an fstab."""

    log: str
    units: frozenset[str]
    """Names of the .swap units that it adds to."""
    programs: frozenset[str]
    """What the units run."""


def find(root: str = "/") -> str | None:
    """The path of the generator that systemd runs; None when it has none. Below `root` all is looked for."""
    paths = (os.path.join(root, directory.lstrip("/"), NAME) for directory in DIRECTORIES)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def try_out(path: str, fstab_path: str) -> Tried:
    """Runs a generator on an fstab as a boot does, into a directory of its own.

    Raises `Error` when it cannot be run or fails, and `OSError`.
    """
    import subprocess
    import tempfile

    # as systemd 251 and later set them: in a container, too, the question is what a boot would do
    environment = {"SYSTEMD_FSTAB": fstab_path, "SYSTEMD_SCOPE": "system", "SYSTEMD_IN_INITRD": "0"}
    # and not in the kernel's log
    environment["SYSTEMD_LOG_TARGET"] = "console"
    with tempfile.TemporaryDirectory(prefix="ghostctl-") as directory:
        try:
            done = subprocess.run(
                [path, directory],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
        except OSError as error:
            raise Error(f"cannot be run: {error.strerror}", path=path) from None
        except subprocess.TimeoutExpired:
            raise Error(f"has not ended after {_TIMEOUT} seconds", path=path) from None
        log = done.stdout.strip()
        if done.returncode:
            last = log.splitlines()[-1:] or [f"exit status {done.returncode}"]
            raise Error(f"fails: {last[0]}", path=path)
        names = os.listdir(directory)
        programs = set()
        for name in names:
            if name.endswith(".service"):
                with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
                    programs |= {_program(line) for line in file if line.startswith("ExecStart=")}
        units = frozenset(name.removesuffix(".d") for name in names if name.endswith(".swap.d"))
        return Tried(log, units, frozenset(programs))


def _program(line: str) -> str:
    """The program of a setting such as ExecStart=."""
    import shlex

    word = shlex.split(line.partition("=")[2])[0]
    return word.replace("%%", "%").replace("$$", "$")


def packaged() -> str | None:
    """The generator that a package has brought along; None when there is none."""
    return next((path for path in map(_in, DIRECTORIES[2:]) if os.access(path, os.X_OK)), None)


def install(directory: str = LOCAL) -> str:
    """Writes a generator that runs this ghostctl, and returns its path.

    Raises `Error` for another file in its place and for paths that no script can have, and `OSError`.
    """
    path = _in(directory)
    if os.path.lexists(path):
        _check_own(path)
    package = os.path.dirname(os.path.abspath(generator.__file__))
    with open(os.path.join(package, "ghostctl-generator.in"), encoding="utf-8") as file:
        text = file.read()
    values = {
        "PYTHON": sys.executable,
        "LIBDIR": os.path.dirname(package),
        "GHOSTCTL": generator.find_ghostctl(),
    }
    interpreter = f"#!{sys.executable} -BIS"
    # include/uapi/linux/binfmts.h, BINPRM_BUF_SIZE
    if len(os.fsencode(interpreter)) > 255 or len(interpreter.split()) != 2:
        raise Error("too long, or with a blank: no script can name such an interpreter", path=sys.executable)
    early = {os.stat(path).st_dev for path in ("/", "/usr")}
    for key, value in values.items():
        if any(char in value for char in '"\\\n'):
            raise Error("cannot be written into the generator", path=value)
        text = text.replace(f"@{key}@", value)
        if os.stat(value).st_uid != 0:
            report.warn(value, "belongs to a user, and will run as root in boots")
        if os.stat(value).st_dev not in early:
            report.warn(
                value, "is not on the filesystem of / or /usr: boots may want it before it is mounted"
            )
    atomic.make_directories(directory, 0o755)

    def finish(fd: int) -> None:
        os.fchmod(fd, 0o755)

    with atomic.place(path) as place:
        atomic.write(place, os.fsencode(text), replace=True, finish=finish)
    return path


def _in(directory: str) -> str:
    return os.path.join(directory, NAME)


def remove(directory: str = LOCAL) -> str:
    """Removes what `install` wrote, and returns its path. Raises `Error` for another file, and `OSError`."""
    path = _in(directory)
    _check_own(path)
    atomic.remove(path)
    return path


def _check_own(path: str) -> None:
    with open(path, encoding="utf-8", errors="replace") as file:
        if "ghostctl-generator(8)" not in file.read():
            raise Error("was not made by ghostctl", path=path)
