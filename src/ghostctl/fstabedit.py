# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of ghosts in fstab: added, changed and removed, without touching any other byte of it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from . import atomic, fstab, generator, lookup, sizes
from .errors import Busy, Error, NotAGhost, NotFound, UsageError
from .fstab import Line
from .report import quote

Options = list[tuple[str, str | None]]

_PATH = "path"
"""Stands for the first field of a line, in a change."""
_FLAGS = ("nofail", "noauto", "discard", "x-ghost.zswap")
_VALUED = ("pri", "discard", *(f"{fstab.GHOST_PREFIX}{name}" for name in fstab.OPTIONS if name != "zswap"))


class Edit(NamedTuple):
    """What an edit has done, or would do."""

    lines: list[Line]
    """Those that it is about, as they are afterwards; as they were, when they were removed."""
    changed: bool


class Change(NamedTuple):
    """What becomes of one option of a line."""

    key: str
    value: str | None = None
    is_removed: bool = False


def set_command(file: str, changes: Iterable[str], fstab_path: str = fstab.PATH) -> str:
    """The command that makes the changes, for a hint."""
    return command("set", fstab_path, file, *changes)


def command(action: str, fstab_path: str, *words: str) -> str:
    """A command on this fstab, for a hint."""
    where = [] if fstab_path == fstab.PATH else ["-T", quote(fstab_path)]
    return " ".join(["ghostctl", "fstab", action, *where, *map(shlex.quote, words)])


def parse_change(text: str) -> Change:
    """``KEY=VALUE`` sets an option, ``KEY`` a flag; ``KEY=`` and, of flags, ``KEY=no`` remove it.

    Of an option of ghostctl, ``x-ghost.`` may be left out. ``path=PATH`` is for another path. Raises
    `UsageError`.
    """
    key, equals, value = text.partition("=")
    if key == _PATH and value:
        return Change(_PATH, value)
    if key in fstab.OPTIONS:
        key = f"{fstab.GHOST_PREFIX}{key}"
    if equals and not value:
        return Change(key, is_removed=True)
    if key not in _FLAGS and key not in _VALUED and not key.startswith("x-systemd."):
        names = dict.fromkeys(name.removeprefix(fstab.GHOST_PREFIX) for name in (*_VALUED, *_FLAGS))
        raise UsageError(f"no option is called {key!r}", hint=f"options are {', '.join(names)}")
    if key in _FLAGS and value in ("", "yes", "no"):
        return Change(key, is_removed=value == "no")
    if not value and key in _VALUED:
        raise UsageError(f"{key} needs a value")
    if key not in _VALUED and key in _FLAGS:
        raise UsageError(f"{key} takes no value but yes and no")
    if key == "pri" and fstab.priority(value) is None:
        raise UsageError(f"invalid priority {value!r}", hint="priorities are -1 to 32767")
    if key == "discard" and value not in ("once", "pages"):
        raise UsageError(f"unknown discard policy {value!r}", hint="policies are once and pages")
    return Change(key, value.replace(" ", "") if key.endswith(("size", "limit")) else value or None)


def add(fstab_path: str, file: str, options: Options, *, dry_run: bool = False) -> Edit:
    """Adds a line for a ghost; nothing changes when there is one that says the same.

    Raises `Busy` when its line says something else, and `OSError`.
    """
    raw = fstab.format_swap(file, options)
    new = Line(raw)
    found: list[Line] = []

    def change(data: bytes) -> bytes:
        old = next((old for old in fstab.iter_swap(fstab.parse(data)) if fstab.is_for(old, file)), None)
        found[:] = [old or new]
        if old is None:
            return fstab.append(data, raw)
        if changes := _differences(old.options, options):
            raise Busy(
                f"is in line {old.number} of {fstab_path}",
                path=file,
                hint=set_command(str(old.spec), changes, fstab_path),
            )
        return data

    return Edit(found, _edit(fstab_path, change, dry_run))


def _differences(old: Options, new: Options) -> list[str]:
    """The changes that make the old options say what the new ones do."""
    try:
        has = _said(fstab.Declaration(old))
    except UsageError:
        has = {}
    wants, words = _said(fstab.Declaration(new)), dict(new)
    changes = []
    for key in wants:
        if wants[key] != has.get(key, has):
            value = words.get(key)
            changes.append(f"{key}=" if key not in words else key if value is None else f"{key}={value}")
    return changes


def _said(declared: fstab.Declaration) -> dict[str, object]:
    """What a line says, by its options, whichever way it is written."""
    size = declared.size
    return {
        "nofail": declared.nofail,
        "noauto": declared.noauto,
        "pri": declared.priority if declared.priority != -1 else None,
        "discard": declared.discard,
        # a share of the memory is not the same as a number
        "x-ghost.size": sizes.parse(size) if size and size.isalnum() else size,
        "x-ghost.label": declared.label,
        "x-ghost.uuid": declared.uuid and declared.uuid.lower(),
        "x-ghost.fallback": declared.fallback,
        "x-ghost.compressor": declared.compressor,
        "x-ghost.memory-limit": declared.memory_limit,
        "x-ghost.zswap": declared.zswap,
    }


def change(fstab_path: str, file: str, changes: Sequence[Change], *, dry_run: bool = False) -> Edit:
    """Changes options of the line of a ghost, in their places; the other options stay as they are written.

    Raises `NotFound`, `NotAGhost`, `Error` when fstab has several lines for it, `LineError`, `SizeError` when
    the new line would declare no ghost, `OSError`.
    """
    found: list[Line] = []

    def edit(data: bytes) -> bytes:
        lines = fstab.parse(data)
        named = _lines_of(lines, file, fstab_path, changes)
        if len(named) > 1:
            numbers = " and ".join(str(line.number) for line in named)
            raise Error(f"lines {numbers} of {fstab_path} are for it: remove all but one", path=file)
        new = _changed(named[0], changes)
        try:
            fstab.declare(new)
            if any(one.key == _PATH for one in changes):
                generator.boot_path(new)
        except UsageError as error:
            error.path = error.path or file
            raise
        found[:] = [new]
        return b"".join(new.raw if line is named[0] else line.raw for line in lines)

    return Edit(found, _edit(fstab_path, edit, dry_run))


def _lines_of(
    lines: Sequence[Line], file: str, fstab_path: str, changes: Sequence[Change] = ()
) -> list[Line]:
    """The lines of a ghost: the one that names it just so, or all that lead to it.

    A line is a ghost's also when the changes make it one, for a file that is not there. Raises `NotFound`,
    `NotAGhost`.
    """
    named = [line for line in fstab.iter_swap(lines) if fstab.is_for(line, file)]
    if not named:
        raise NotFound(f"no swap line of {fstab_path} names it", path=file)
    exact = [line for line in named if line.spec == file]
    named = exact if len(exact) == 1 else named
    is_made = any(one.key.startswith(fstab.GHOST_PREFIX) for one in changes) and not os.path.lexists(file)
    ghosts = [line for line in named if is_made or lookup.is_ghost(line, (), fstab_path)]
    if not ghosts:
        raise NotAGhost(f"line {named[0].number} of {fstab_path} is not for a ghost", path=file)
    return ghosts


def _changed(line: Line, changes: Sequence[Change]) -> Line:
    """The line with other options. Raises `Error` for one whose options cannot be told apart as written."""
    body = line.raw.rstrip(b" \t\r\n")
    parts = re.split(rb"([ \t]+)", body.lstrip(b" \t"))
    text = os.fsdecode(parts[6]) if len(parts) > 6 else ""
    words = [word for word in fstab.option_words(text) if word]
    wanted = Line(line.raw).options if text else []
    if [fstab.split_option(fstab.decode(word)) for word in words] != wanted:
        raise Error("its options have escapes that cannot be edited", path=line.spec)
    for one in changes:
        if one.key == _PATH:
            parts[0] = fstab.encode(str(one.value))
            continue
        new = (
            None
            if one.is_removed
            else fstab.encode(fstab.option_word(one.key, one.value)).decode("utf-8", "surrogateescape")
        )
        at = [i for i, word in enumerate(words) if fstab.split_option(fstab.decode(word))[0] == one.key]
        if new is not None and at:
            words[at[0]] = new
        elif new is not None:
            words.append(new)
        for i in reversed(at[1:] if new is not None else at):
            del words[i]
    field = os.fsencode(",".join(words) or "defaults")
    if len(parts) > 6:
        parts[6] = field
    else:
        parts += [b" ", field]
    indent = body[: len(body) - len(body.lstrip(b" \t"))]
    made = Line(indent + b"".join(parts) + line.raw[len(body) :], line.number)
    for one in {one.key: one for one in changes}.values():
        has = made.spec if one.key == _PATH else made.option(one.key)
        if has != one.value or (made.has_option(one.key) is one.is_removed and one.key != _PATH):
            raise UsageError(f"fstab cannot hold this value of {one.key}: {one.value}", path=line.spec)
    return made


def remove(fstab_path: str, file: str, *, dry_run: bool = False) -> Edit:
    """Removes the lines of a ghost. Raises `NotFound`, `NotAGhost`, `OSError`."""
    removed: list[Line] = []

    def change(data: bytes) -> bytes:
        lines = fstab.parse(data)
        removed[:] = _lines_of(lines, file, fstab_path)
        return b"".join(line.raw for line in lines if line not in removed)

    return Edit(removed, _edit(fstab_path, change, dry_run))


def replace(fstab_path: str, old: bytes, new: bytes) -> bool:
    """Puts one line, as it is written, in the place of another; false where that is not. Raises `OSError`."""

    def edit(data: bytes) -> bytes:
        return b"".join(new if line.raw == old else line.raw for line in fstab.parse(data))

    return atomic.edit(fstab_path, edit)


def take_back(fstab_path: str, raw: bytes, before: bytes | None) -> bool:
    """Removes a line that was added to what fstab was before (None: not there); false when it was not added.

    Raises `OSError`.
    """

    def change(data: bytes) -> bytes:
        lines = [line.raw for line in fstab.parse(data)]
        if lines.count(raw) <= [line.raw for line in fstab.parse(before or b"")].count(raw):
            return data
        del lines[len(lines) - 1 - lines[::-1].index(raw)]
        rest = b"".join(lines)
        # the last line got an ending for it
        return before if before is not None and rest == before + b"\n" else rest

    changed = atomic.edit(fstab_path, change)
    if changed and before is None and not os.path.getsize(fstab_path):
        atomic.remove(os.path.realpath(fstab_path))
    return changed


def _edit(fstab_path: str, change: Callable[[bytes], bytes], dry_run: bool) -> bool:
    if not dry_run:
        return atomic.edit(fstab_path, change)
    try:
        data = b"".join(line.raw for line in fstab.read(fstab_path))
    except FileNotFoundError:
        data = b""
    return change(data) != data
