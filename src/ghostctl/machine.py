# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine, as far as ghosts are concerned: what the checks of `doctor` look at."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from . import areas, backends, capacity, fstab, ghostfile, kernel, lookup, report, sizes, swaps, zswap
from .areas import Active
from .errors import Error, UsageError
from .swaps import Area

if TYPE_CHECKING:
    from .ghostfile import File, Problem
    from .header import Header


class Interfaces(NamedTuple):
    """What the kernel offers; None: only a try (`probe`) could tell, or it cannot be told without /sys."""

    file: bool | None
    ghostswap: bool | None
    xswap: bool | None
    dm: bool | None
    zram: bool | None

    @property
    def has_ghosts(self) -> bool | None:
        """Whether any kind of ghost swap is there."""
        known = (self.file, self.ghostswap, self.xswap)
        return True if True in known else None if None in known else False

    def __str__(self) -> str:
        words = {True: "yes", False: "no", None: "unknown"}
        return ", ".join(f"{name}: {words[value]}" for name, value in self._asdict().items())


class Ghost(NamedTuple):
    """A file that is, or is to be, a ghost."""

    path: str
    header: Header | None
    problems: tuple[Problem, ...]
    device: int
    block: int | None
    """Its place on the device in pages: what resume_offset= would be."""


class Machine:
    """What the checks look at, read when one asks for it. `root` is not "/" in tests only."""

    def __init__(self, root: str = "/", probed: bool | None = None) -> None:
        self.root = root
        self.probed = probed

    def at(self, path: str) -> str:
        """Where a path of this machine really is."""
        return os.path.join(self.root, path.lstrip("/"))

    def read(self, path: str) -> str:
        """A small file. Raises `OSError`."""
        with open(self.at(path), encoding="utf-8", errors="surrogateescape") as file:
            return file.read()

    def text(self, path: str) -> str:
        """A small file; empty when it is not there."""
        try:
            return self.read(path)
        except (FileNotFoundError, NotADirectoryError):
            return ""

    @cached_property
    def areas(self) -> list[Area]:
        return swaps.read(self.at(swaps.PROC_SWAPS))

    @cached_property
    def memory(self) -> int:
        """In bytes."""
        return kernel.read_memory(self.root)

    @cached_property
    def state(self) -> zswap.Zswap | None:
        return zswap.read(self.root)

    @cached_property
    def actives(self) -> list[Active]:
        return list(map(areas.look_at, self.areas))

    @property
    def active_ghosts(self) -> list[Active]:
        """The areas that were made for ghosts, or for which the kernel has ghosts of its own."""
        return [one for one in self.actives if one.backend is not None]

    @property
    def doubtful(self) -> list[Active]:
        """The areas of which this user cannot tell whether they were made for ghosts."""
        return [one for one in self.actives if one.doubt is not None]

    @cached_property
    def interfaces(self) -> Interfaces:
        file = self.probed
        if file is None:
            try:
                active = self.areas
            except (OSError, Error) as error:
                report.trace(str(error))
                active = []
            file = backends.takes_files(active, self.root)
        others = (backends.offers(name, self.root) for name in ("ghostswap", "xswap", "dm", "zram"))
        return Interfaces(file, *others)

    @property
    def instead(self) -> str | None:
        """The backend that does it on a kernel that takes no ghost files; None without one."""
        offered = (name for name, has in self.interfaces._asdict().items() if has and name != "file")
        return backends.first(offered, has_zswap=self.state is not None)

    @cached_property
    def lines(self) -> list[fstab.Line]:
        try:
            return fstab.read(self.at(fstab.PATH))
        except FileNotFoundError:
            return []

    @cached_property
    def _looked(self) -> tuple[list[Ghost], list[str]]:
        found: dict[str, Ghost] = {}
        denied = [one.area.name for one in self.doubtful if isinstance(one.doubt, PermissionError)]
        for path, is_wanted in self._candidates(denied):
            if path in found or path in denied:
                continue
            try:
                with ghostfile.look(self.at(path)) as file:
                    if file.is_ghost or is_wanted(file):
                        problems = tuple(ghostfile.verify(file))
                        found[path] = Ghost(path, file.header, problems, file.st.st_dev, _block(file))
            except PermissionError:
                denied.append(path)
            except (OSError, Error) as error:
                report.trace(f"{path}: {error}", 2)
        return list(found.values()), denied

    @property
    def ghosts(self) -> list[Ghost]:
        """The ghosts in fstab, in the usual directory, and those that are active."""
        return self._looked[0]

    @property
    def unreadable(self) -> list[str]:
        """Files that may be ghosts, and areas that may be made for one, and that this user may not read."""
        return self._looked[1]

    def _candidates(self, denied: list[str]) -> Iterator[tuple[str, Callable[[File], bool]]]:
        """Paths, and which files there count even if they are no ghosts."""
        for one in self.active_ghosts:
            if one.ghost:
                yield one.ghost, _is_anything
        for line in fstab.iter_swap(self.lines):
            if line.spec is not None and line.spec.startswith("/") and not line.spec.startswith("/dev/"):
                yield line.spec, _is_anything if fstab.declares_ghost(line) else _is_nothing
        try:
            for name in sorted(os.listdir(self.at(lookup.GHOST_DIRECTORY))):
                path = os.path.join(lookup.GHOST_DIRECTORY, name)
                if not name.startswith(".") and stat.S_ISREG(os.lstat(self.at(path)).st_mode):
                    yield path, _is_no_ordinary_area
        except PermissionError:
            denied.append(lookup.GHOST_DIRECTORY)
        except FileNotFoundError:
            return

    def active(self, ghost: Ghost) -> Active | None:
        """The area that was made for a ghost."""
        return next((one for one in self.active_ghosts if one.ghost == ghost.path), None)

    def line_of(self, path: str) -> fstab.Line | None:
        """The line of fstab that names a file."""
        return next((line for line in fstab.iter_swap(self.lines) if fstab.is_for(line, path)), None)

    def declared(self, path: str) -> fstab.Declaration | None:
        """What that line declares: nothing, when it makes no sense; None when there is no line."""
        line = self.line_of(path)
        try:
            return fstab.declare(line) if line is not None else None
        except UsageError:
            return fstab.Declaration(())

    @cached_property
    def held(self) -> list[capacity.Held]:
        """The areas whose pages live in a pool, with it."""
        return capacity.held(self.actives, self.state, self.root)

    @property
    def example(self) -> str:
        """A ghost to name in a command: one of this machine's, one that fstab declares, or the usual one."""
        declared = (str(line.spec) for line in self.lines if fstab.declares_ghost(line))
        first = next((path for path in declared if path.startswith("/")), None)
        ghosts = [ghost.path for ghost in self.ghosts if ghost.header is not None]
        return ghosts[0] if ghosts else first or os.path.join(lookup.GHOST_DIRECTORY, "swap0")


def _is_anything(_: File) -> bool:
    return True


def _is_nothing(_: File) -> bool:
    return False


def _is_no_ordinary_area(file: File) -> bool:
    return file.header is None or file.header.ghost_version > 0


def _block(file: File) -> int | None:
    # include/uapi/linux/fs.h, FIGETBSZ and FIBMAP: root only
    try:
        size = struct.unpack("i", fcntl.ioctl(file.fd, 2, bytes(4)))[0]
        first = struct.unpack("I", fcntl.ioctl(file.fd, 1, bytes(4)))[0]
    except OSError:
        return None
    return int(first * size // sizes.page_size())
