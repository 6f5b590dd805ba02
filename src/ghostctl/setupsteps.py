# SPDX-License-Identifier: GPL-2.0-or-later
"""What `setup` does, in steps that can be taken back, and the record of them in /var/lib.

A step is noted before it begins: after a kill at any moment there is nothing that the record does not name.
Whether it came to its end is noted, too; taking back one that did not is no failure.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import UnionType
from typing import Any, ClassVar, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from . import (
    activation,
    areas,
    atomic,
    backends,
    fstab,
    fstabedit,
    ghostfile,
    ghostwrite,
    header,
    installation,
    labels,
    report,
    signals,
    sizes,
    zswap,
)
from . import resize as resizing
from .errors import Error, NotAGhost, NotFound
from .report import describe
from .resize import TakeDown
from .sizes import human

PATH = "/var/lib/ghostctl/setup.json"

_VERSION = 1

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the machine, by what is to be known to make it and to take it back."""

    id: ClassVar[str]

    def do(self, take_down: TakeDown, /) -> None:
        """Makes the change. Raises `Error` and `OSError`."""
        raise NotImplementedError

    def undo(self, take_down: TakeDown, /, *, is_done: bool) -> bool:
        """Takes it back as far as it has come, with `is_done` to its end; false for what is left alone.

        What that is, and why, is said. Raises `Error` and `OSError`.
        """
        raise NotImplementedError

    def what(self) -> str:
        """What it does, in words for people."""
        raise NotImplementedError

    def back(self) -> str:
        """What taking it back does."""
        raise NotImplementedError


def path_of(step: Step) -> str | None:
    """The ghost that a step is about; None for what is there for all of them."""
    return getattr(step, "path", None)


@dataclass(frozen=True, slots=True)
class Zswap(Step):
    """Other values for parameters of zswap."""

    old: dict[str, str]
    new: dict[str, str]
    persisted: dict[str, str | None] | None
    """What they were set to for the next boots; None: this is for the running kernel only."""

    id: ClassVar[str] = "zswap"

    def do(self, _take_down: TakeDown, /) -> None:
        with zswap.applied(self.new):
            if self.persisted is not None:
                zswap.persist(self.new)

    def undo(self, _take_down: TakeDown, /, *, is_done: bool) -> bool:
        del is_done
        now = read_zswap(self.new)
        left = [name for name, value in now.items() if value not in (self.new[name], self.old[name])]
        for name in left:
            report.warn(None, f"{name} of zswap is {now[name]} by now, not {self.new[name]}: left alone")
        zswap.apply({name: self.old[name] for name, value in self.new.items() if now[name] == value})
        if self.persisted is None:
            return not left
        try:
            zswap.withdraw(self.new, self.persisted)
        except Error as error:
            # somebody else's file
            report.warn(error.path, error.what)
            return False
        return not left

    def what(self) -> str:
        when = "" if self.persisted is None else ", now and in the next boots"
        return f"zswap: {zswap_words(self.new, self.old)}{when}"

    def back(self) -> str:
        return f"zswap: {zswap_words(self.old, self.new)}"


def read_zswap(names: Iterable[str]) -> dict[str, str]:
    """These parameters of zswap. Raises `Error` when they cannot be read."""
    have = zswap.read_parameters()
    values = {name: have[name] for name in names if name in have}
    if any(name not in have for name in names):
        raise Error("the parameters cannot be read", path=f"/{zswap.PARAMETERS}")
    return values


def zswap_words(values: dict[str, str], before: dict[str, str]) -> str:
    """Parameters of zswap in words for people."""
    words = []
    for name, value in values.items():
        if name == "enabled":
            words.append("on" if value == "Y" else "off")
        else:
            words.append(f"{name} {value}" + (f" (was {before[name]})" if before[name] != value else ""))
    return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Ghost(Step):
    """A ghost that is made."""

    path: str
    size: int
    """In bytes, header page included."""
    uuid: str
    """By which it is known again."""
    label: str
    had_directory: bool

    id: ClassVar[str] = "ghost"

    def do(self, _take_down: TakeDown, /) -> None:
        page_size = sizes.page_size()
        pages = sizes.to_pages(self.size, page_size)
        uuid, label = labels.parse_uuid(self.uuid), labels.parse_label(self.label)
        new = header.ghost(pages, page_size, uuid=uuid, label=label)
        ghostwrite.create(self.path, ghostwrite.Request(new))

    def undo(self, _take_down: TakeDown, /, *, is_done: bool) -> bool:
        del is_done
        with suppress(FileNotFoundError), ghostfile.look(self.path) as file:
            have = file.header if file.is_ghost else None
            # one that a boot has made anew has another UUID
            if have is None or (have.uuid_text != self.uuid and have.size != self.size):
                report.warn(self.path, "is not the ghost that was made: left alone")
                return False
            areas.refuse_active(file)
            atomic.remove(self.path)
        if not self.had_directory:
            with suppress(OSError):
                os.rmdir(os.path.dirname(self.path))
        return True

    def what(self) -> str:
        return f"make the ghost {self.path}, {human(self.size, ' ', 'iB')}"

    def back(self) -> str:
        return f"remove the ghost {self.path}"


@dataclass(frozen=True, slots=True)
class Resize(Step):
    """Another declared size for a ghost, in bytes."""

    path: str
    old: int
    new: int

    id: ClassVar[str] = "resize"

    def do(self, take_down: TakeDown, /) -> None:
        self._resize(self.new, take_down)

    def undo(self, take_down: TakeDown, /, *, is_done: bool) -> bool:
        del is_done
        try:
            self._resize(self.old, take_down)
        except FileNotFoundError:
            report.warn(self.path, "is not there any more, and gets back no size")
            return False
        return True

    def _resize(self, size: int, take_down: TakeDown) -> None:
        with ghostfile.look(self.path, write=True) as file:
            resizing.resize(file, size, take_down)

    def what(self) -> str:
        old, new = human(self.old, " ", "iB"), human(self.new, " ", "iB")
        return f"change the size of {self.path} from {old} to {new}"

    def back(self) -> str:
        return Resize(self.path, self.new, self.old).what()


@dataclass(frozen=True, slots=True)
class Manner:
    """How an area is active."""

    backend: str
    fallback: tuple[str, ...]
    prio: int | None
    discard: str | None = None
    compressor: str | None = None
    memory_limit: int | None = None
    """Bytes of memory that a zram device may take."""

    def request(self) -> activation.Request:
        """The same for `activation.activate`."""
        options = backends.Options(self.prio, self.discard, self.compressor, self.memory_limit)
        return activation.Request(options, self.backend, tuple(self.fallback), if_needed=True)

    def words(self) -> str:
        """The same for people, each word behind a comma; empty where all is as usual."""
        through = self.fallback[0] if self.fallback else self.backend
        parts = [f"through {through}"] if through not in ("auto", "file") else []
        if self.prio is not None and self.prio >= 0:
            parts.append(f"priority {self.prio}")
        if self.memory_limit:
            parts.append(f"at most {human(self.memory_limit, ' ', 'iB')} of memory")
        return "".join(f", {part}" for part in parts)


@dataclass(frozen=True, slots=True)
class Area(Step):
    """A ghost that is made active, or active in another manner."""

    path: str
    new: Manner
    old: Manner | None

    id: ClassVar[str] = "area"

    def do(self, take_down: TakeDown, /) -> None:
        if self.old is not None:
            self._take_down(take_down)
        activation.activate(self.path, self.new.request())

    def undo(self, take_down: TakeDown, /, *, is_done: bool) -> bool:
        was_active = self._take_down(take_down)
        # what somebody else has taken down stays so
        if self.old is not None and (was_active or not is_done):
            activation.activate(self.path, self.old.request())
        return self.old is None or was_active or not is_done

    def _take_down(self, take_down: TakeDown) -> bool:
        actives = areas.read()
        try:
            found = areas.find(self.path, actives)
        except NotFound:
            backends.recover()
            return False
        take_down(found, actives)
        return True

    def what(self) -> str:
        down = "" if self.old is None else f"take down {self.path}, then "
        return f"{down}make {self.path} active{self.new.words()}"

    def back(self) -> str:
        down = f"take down {self.path}"
        return down if self.old is None else f"{down}, then make it active{self.old.words()}"


@dataclass(frozen=True, slots=True)
class Line(Step):
    """A line that is added to fstab, or put in the place of another."""

    path: str
    fstab_path: str
    new: str
    old: str | None
    """The line that was there."""
    was_missing: bool
    """There was no fstab."""
    was_open: bool
    """Its last line had no line end."""

    id: ClassVar[str] = "fstab"

    def do(self, _take_down: TakeDown, /) -> None:
        if self.old is None:
            line = fstab.Line(os.fsencode(self.new))
            fstabedit.add(self.fstab_path, self.path, line.options)
        elif not fstabedit.replace(self.fstab_path, os.fsencode(self.old), os.fsencode(self.new)):
            raise Error(f"its line in {self.fstab_path} has just been changed: try again", path=self.path)

    def undo(self, _take_down: TakeDown, /, *, is_done: bool) -> bool:
        new = os.fsencode(self.new)
        try:
            lines = [line.raw for line in fstab.read(self.fstab_path)]
        except FileNotFoundError:
            return True
        if self.old is not None:
            if not fstabedit.replace(self.fstab_path, new, os.fsencode(self.old)) and is_done:
                report.warn(self.path, f"its line in {self.fstab_path} has been changed since: left alone")
                return False
        elif new in lines:
            at = len(lines) - 1 - lines[::-1].index(new)
            before = b"".join(lines[:at] + lines[at + 1 :])
            if self.was_open and at == len(lines) - 1:
                before = before.removesuffix(b"\n")
            fstabedit.take_back(self.fstab_path, new, None if self.was_missing and not before else before)
        elif is_done:
            # edited since, but without the ghost of no use
            with suppress(NotFound, NotAGhost):
                fstabedit.remove(self.fstab_path, self.path)
        return True

    def what(self) -> str:
        verb = "add to" if self.old is None else "change in"
        return f"{verb} {self.fstab_path}: {self.new.rstrip()}"

    def back(self) -> str:
        if self.old is None:
            return f"remove the line of {self.path} from {self.fstab_path}"
        return f"change in {self.fstab_path}: {self.old.rstrip()}"


@dataclass(frozen=True, slots=True)
class Generator(Step):
    """systemd's generator, installed."""

    directory: str

    id: ClassVar[str] = "generator"

    def do(self, _take_down: TakeDown, /) -> None:
        installation.install(self.directory)

    def undo(self, _take_down: TakeDown, /, *, is_done: bool) -> bool:
        del is_done
        with suppress(FileNotFoundError):
            installation.remove(self.directory)
        return True

    def what(self) -> str:
        return f"install {self.directory}/{installation.NAME}, which makes a missing ghost in boots"

    def back(self) -> str:
        return f"remove {self.directory}/{installation.NAME}"


_KINDS: dict[str, type[Step]] = {kind.id: kind for kind in (Zswap, Ghost, Resize, Area, Line, Generator)}


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
    if kind == Area.id:
        for key in ("new", "old"):
            values[key] = None if values[key] is None else _checked(Manner, values[key])
    return _checked(_KINDS[kind], values)


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
        try:
            with suppress(FileNotFoundError):
                atomic.remove(PATH)
        finally:
            with suppress(OSError):
                os.rmdir(directory)
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

    Raises `Error` and `OSError`.
    """
    noted = read()
    if not all(entry.is_done for entry in noted):
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


def in_order(entries: Iterable[Noted]) -> list[Noted]:
    """The order to take them back in: the last one first, but areas before all, which alone may refuse."""
    last_first = list(entries)[::-1]
    return sorted(last_first, key=lambda entry: entry.step.id != Area.id)


def take_back(entries: Iterable[Noted], take_down: TakeDown, done: Callable[[Step, bool], None]) -> None:
    """Takes back steps of the record, in this order.

    After each `done` is called with the step and whether it has been taken back, not left alone. Signals come
    between two steps. Raises as the steps, `Error` and `OSError`: a step that is not done with stays noted.
    """
    for entry in entries:
        with signals.deferred():
            noted = read()
            if not os.access(os.path.dirname(PATH), os.W_OK):
                raise OSError(errno.EROFS, "cannot be written, so nothing is taken back", PATH)
            changed = entry.step.undo(take_down, is_done=entry.is_done)
            done(entry.step, changed)
            noted.remove(entry)
            _write(noted)
