# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of what `setup` has done, in /var/lib: steps are done, noted, and taken back.

A step is noted before it begins: after a kill at any moment there is nothing that the record does not name.
Whether it came to its end is noted, too; taking back one that did not is no failure.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from . import atomic, report, setupsteps, signals
from .errors import Error
from .report import describe
from .resize import TakeDown
from .setupsteps import Step

PATH = "/var/lib/ghostctl/setup.json"

_VERSION = 1

Made = TypeVar("Made")


class Noted(NamedTuple):
    """A step in the record."""

    step: Step
    is_done: bool


def read() -> list[Noted]:
    """The steps that can be taken back, the first one first.

    Raises `Error` for a record that cannot be understood, and `OSError`.
    """
    try:
        with open(PATH, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    hint = f"mv {PATH} {PATH}.old"
    try:
        document = json.loads(data)
        version = document["version"]
        if version != _VERSION:
            raise Error(f"is of version {version}, which this ghostctl does not know", path=PATH, hint=hint)
        return [
            Noted(_decode(entry["step"], entry["values"]), bool(entry["done"])) for entry in document["steps"]
        ]
    except (ValueError, KeyError, TypeError):
        raise Error("cannot be understood: what setup has made is not known", path=PATH, hint=hint) from None


def _decode(kind: str, values: dict[str, Any]) -> Step:
    if kind == setupsteps.Area.id:
        for key in ("new", "old"):
            values[key] = None if values[key] is None else _checked(setupsteps.Manner, values[key])
    return _checked(setupsteps.KINDS[kind], values)


def _checked(kind: type[Made], values: dict[str, Any]) -> Made:
    """A record of this kind. Raises `TypeError` for values that it cannot have."""
    for name, hint in get_type_hints(kind).items():
        if name in values and not _is(values[name], hint):
            raise TypeError(name)
    return kind(**values)


def _is(value: object, hint: Any) -> bool:
    if get_origin(hint) is UnionType:
        return any(_is(value, one) for one in get_args(hint))
    # JSON has no tuples
    return isinstance(value, list if get_origin(hint) is tuple else get_origin(hint) or hint)


def _write(entries: Sequence[Noted]) -> None:
    directory = os.path.dirname(PATH)
    if not entries:
        with suppress(FileNotFoundError):
            atomic.remove(PATH)
        atomic.remove_directory(directory)
        return
    steps = [{"step": one.step.id, "done": one.is_done, "values": asdict(one.step)} for one in entries]
    text = json.dumps({"version": _VERSION, "steps": steps}, indent=1) + "\n"
    atomic.make_directories(directory, 0o700)
    atomic.edit(PATH, lambda _: text.encode())


class Progress:
    """How far `carry_out` has come."""

    def __init__(self) -> None:
        self.done = 0
        """Steps that came to their end."""
        self.left: list[Step] = []
        """After a failure: those that could not be taken back."""


def carry_out(steps: Iterable[Step], take_down: TakeDown, progress: Progress) -> None:
    """Does the steps, each noted; when one fails, it and those before it are taken back.

    Raises as the steps, and `Error` and `OSError` for the record.
    """
    noted = read()
    before = len(noted)
    try:
        for step in steps:
            noted.append(Noted(step, is_done=False))
            _write(noted)
            step.do(take_down)
            noted[-1] = Noted(step, is_done=True)
            _write(noted)
            progress.done += 1
    except BaseException:
        with signals.deferred():
            _give_up(noted, before, take_down)
        progress.left = [entry.step for entry in noted[before:] if entry.is_done]
        raise


def settle() -> None:
    """For a machine that is as it is to be: no step of the record is in doubt any more.

    Without steps the directory of the record is removed, too. Raises `Error` and `OSError`.
    """
    noted = read()
    if not noted or not all(entry.is_done for entry in noted):
        _write([Noted(entry.step, is_done=True) for entry in noted])


def _give_up(noted: list[Noted], before: int, take_down: TakeDown) -> None:
    try:
        for entry in in_order(noted[before:]):
            entry.step.undo(take_down, is_done=entry.is_done)
            noted.remove(entry)
        _write(noted)
    except (OSError, Error) as error:
        left = [entry.step.what() for entry in noted[before:] if entry.is_done]
        doubtful = [f"perhaps {entry.step.what()}" for entry in noted[before:] if not entry.is_done]
        words = "; ".join([*left, *doubtful])
        what = f"not all has been taken back: {describe(error)}" + (
            f"; this is left: {words}" if words else ""
        )
        report.error(Error(what, hint="ghostctl setup --undo"))


def _interrupted(error: Error | OSError | None) -> None:
    if error is not None:
        report.error(error)


def in_order(entries: Iterable[Noted]) -> list[Noted]:
    """The order to take them back in: the last one first, but areas before all, which alone may refuse."""
    last_first = list(entries)[::-1]
    return sorted(last_first, key=lambda entry: entry.step.id != setupsteps.Area.id)


def take_back(entries: Iterable[Noted], take_down: TakeDown, done: Callable[[Step, bool], None]) -> None:
    """Takes back steps of the record, in this order.

    After each `done` is called with the step and whether it has been taken back, not left alone. Signals come
    between two steps. Raises as the steps, `Error` and `OSError`: a step that is not done with stays noted.
    """
    for entry in entries:
        with signals.deferred(_interrupted):
            noted = read()
            if not os.access(os.path.dirname(PATH), os.W_OK):
                raise OSError(errno.EROFS, "cannot be written, so nothing is taken back", PATH)
            changed = entry.step.undo(take_down, is_done=entry.is_done)
            done(entry.step, changed)
            noted.remove(entry)
            _write(noted)
