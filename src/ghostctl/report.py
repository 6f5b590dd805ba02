# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes to standard error: errors, hints, warnings and the trace of `--verbose`."""

from __future__ import annotations

import os
import sys

from .errors import Error

quiet = False
verbosity = 0
command: tuple[str, ...] = ()
"""The words after the name of the program; none where the package is used as a library."""


def escape(text: str) -> str:
    """Text that is safe on a terminal: control characters and undecodable bytes as ``\\xNN``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def quote(path: str) -> str:
    """A path as a word of a command in a hint."""
    from shlex import quote

    return quote(f"./{path}" if path.startswith("-") else path)


def again(name: str, *options: str, otherwise: str) -> str:
    """The command that the user gave, with more options; `otherwise` where it is not the command `name`."""
    given = iter(command)
    for word in given:
        if word == "--color":
            next(given, None)
        elif not word.startswith("-"):
            if word != name:
                break
            end = command.index("--") if "--" in command else len(command)
            from shlex import join

            return join(("ghostctl", *command[:end], *options, *command[end:]))
    return otherwise


def _line(text: str) -> None:
    try:
        print(f"ghostctl: {escape(text)}", file=sys.stderr, flush=True)
    except OSError:
        pass  # there is nowhere left to say it


def describe(error: Error | OSError) -> str:
    """One line for an error: ``PATH: what is wrong``."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.filename is None:
        return error.strerror
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    return f"{name or quote(name)}: {error.strerror}"


def error(error: Error | OSError) -> None:
    """Prints an error and its hint."""
    _line(describe(error))
    if isinstance(error, Error) and error.hint:
        hint(error.hint)


def hint(text: str) -> None:
    """Prints what to do."""
    _line(f"hint: {text}")


def warn(path: str | None, text: str, advice: str | None = None) -> None:
    """Prints a warning that `--quiet` silences."""
    if not quiet:
        _line(f"{path}: warning: {text}" if path is not None else f"warning: {text}")
        if advice:
            hint(advice)


def trace(text: str, level: int = 1) -> None:
    """Prints what is being done, when `--verbose` was given at least `level` times."""
    if verbosity >= level:
        _line(text)
