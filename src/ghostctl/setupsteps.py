# SPDX-License-Identifier: GPL-2.0-or-later
"""What `setup` does, in steps that can be taken back."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

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
    sizes,
    zswap,
)
from . import resize as resizing
from .errors import Error, NotAGhost, NotFound
from .resize import TakeDown
from .sizes import human


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
            atomic.remove_directory(os.path.dirname(self.path))
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


KINDS: dict[str, type[Step]] = {kind.id: kind for kind in (Zswap, Ghost, Resize, Area, Line, Generator)}
"""The kinds of steps by their ids."""
