# SPDX-License-Identifier: GPL-2.0-or-later
"""The swap lines of an fstab beside the machine: which are of ghosts, and what has become of those."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from . import areas, fstab, generator, ghostfile, lookup, sizes
from .areas import Active
from .errors import Denied, Error, NotFound, UsageError
from .fstab import Declaration, Line
from .report import describe, trace

ACTIVE, ONLY_ROOT = "active", "only root can tell"


class SwapLines:
    """All lines of the fstab `path`, and the active areas."""

    def __init__(self, lines: Sequence[Line], actives: Sequence[Active], path: str = fstab.PATH) -> None:
        self.lines = lines
        self.actives = actives
        self.path = path

    @cached_property
    def swap_lines(self) -> list[Line]:
        return list(fstab.iter_swap(self.lines))

    @cached_property
    def first_lines(self) -> dict[str, int]:
        """The number of the first line for each file, by its path without symbolic links."""
        found: dict[str, int] = {}
        for line in self.swap_lines:
            found.setdefault(real_spec(line), line.number)
        return found

    @cached_property
    def declarations(self) -> dict[int, Declaration]:
        """What the swap lines declare, by their numbers; those that make no sense are left out."""
        found = {}
        for line in self.swap_lines:
            try:
                found[line.number] = fstab.declare(line)
            except UsageError as error:
                trace(f"{self.path}:{line.number}: {error}")
        return found

    def declared(self, line: Line) -> Declaration:
        """What a line declares; nothing when it makes no sense."""
        return self.declarations.get(line.number) or Declaration(())

    @cached_property
    def ghost_lines(self) -> list[Line]:
        """Those that declare a ghost or name the file of one, or of what only root can tell apart."""
        return list(filter(self._is_ghost, self.swap_lines))

    def _is_ghost(self, line: Line) -> bool:
        try:
            return lookup.is_ghost(line, self.actives, self.path)
        except Denied:
            return True

    def locate(self, line: Line) -> str:
        """The path that a line names. Raises `NotFound`, `Error`."""
        return lookup.resolve(str(line.spec), self.actives, self.path)

    def size(self, line: Line) -> int | None:
        """What x-ghost.size comes to in bytes; None without one, or when it makes no sense."""
        declared = self.declared(line).size
        return sizes.parse(declared) if declared else None

    def state(self, line: Line) -> str:
        """``active``, ``ready``, ``missing`` or what is in its place."""
        try:
            path = self.locate(line)
            with ghostfile.look(path) as file:
                if not file.is_ghost:
                    return f"not a ghost: {file.describe()}"
        except (FileNotFoundError, NotFound):
            return "missing"
        except (PermissionError, Denied):
            return ONLY_ROOT
        except (OSError, Error) as error:
            return describe(error)
        try:
            areas.find(path, self.actives, self.path)
        except NotFound:
            return "ready"
        except Error as error:
            return error.what
        return ACTIVE

    def require_place(self, line: Line) -> str:
        """Where the boot would make the ghost of a line. Raises `Error` when it would not make one there."""
        where = f"{self.path}:{line.number}"
        first = self.first_lines[real_spec(line)]
        if first != line.number:
            raise Error(f"the same file as in line {first}", path=where)
        if lookup.tag(str(line.spec)):
            return self.locate(line)
        try:
            return generator.boot_path(line)
        except UsageError as error:
            error.path = where
            raise


def real_spec(line: Line) -> str:
    """What a line names, without the symbolic links that lead to a file."""
    spec = str(line.spec)
    return fstab.real_path(fstab.simplify(spec)) if spec.startswith("/") else spec


def count(path: str, actives: Sequence[Active]) -> tuple[int, int] | None:
    """How many ghosts a fstab has active at every boot, and how many of them are not active now.

    None when it cannot be read, or when only root can tell.
    """
    try:
        swaps = SwapLines(fstab.read(path), actives, path)
        states = [swaps.state(line) for line in swaps.ghost_lines if not line.has_option("noauto")]
    except FileNotFoundError:
        return 0, 0
    except (OSError, Error) as error:
        trace(describe(error))
        return None
    return None if ONLY_ROOT in states else (len(states), len(states) - states.count(ACTIVE))
