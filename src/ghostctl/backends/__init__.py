# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes a declared area active. One module for each way a kernel offers; this is their registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from ..fstab import BACKENDS
from ..report import trace

if TYPE_CHECKING:
    from ..ghostfile import File
    from ..swaps import Area

NAMES = BACKENDS
"""All backends, in the order in which `auto` and hints name them."""


class Options(NamedTuple):
    """How an area is made active."""

    prio: int | None = None
    """0..32767; None or -1 leave it to the kernel."""
    discard: str | None = None
    """A key of `syscalls.DISCARD_FLAGS`."""
    compressor: str | None = None
    """Of zram; None leaves it to the kernel."""
    memory_limit: int | None = None
    """Bytes of memory that zram may take; None is no limit."""


class Realisation(NamedTuple):
    """An active area and the ghost that it realises."""

    area: Area
    backend: str
    ghost: str | None
    """Where the ghost file was when the area became active, if that is known."""
    uuid: str | None
    """Its UUID, where it had one."""


class Backend(Protocol):
    """The functions that a module of this package has."""

    NEEDS_ZSWAP: bool
    EXTRA_SLOT_BYTES: int
    """Kernel memory for each page, besides what swapon(2) takes."""

    def unavailable(self) -> str | None:
        """Why the running kernel cannot offer this; None when it can, or when only a try will tell."""

    def activate(self, file: File, options: Options) -> None:
        """Makes the ghost an active area.

        Raises `Unsupported` when the kernel does not offer this, `OSError` for other refusals.
        """

    def find(self, areas: Sequence[Area]) -> Iterator[Realisation]:
        """The active areas that this backend made, in the order given."""
        ...

    def deactivate(self, area: Area) -> None:
        """Takes down an area that `find` yields, and what was set up for it. Raises `OSError`."""

    def recover(self) -> None:
        """Clears away, or names to the user, what a killed process left behind."""


def get(name: str) -> Backend:
    """The backend of that name."""
    return cast("Backend", import_module(f".{name}", __package__))


def find(areas: Sequence[Area]) -> dict[str, Realisation]:
    """What realises ghosts among the active areas, by the areas' names."""
    if not areas:
        # where nothing is active, no backend need be imported
        return {}
    return {found.area.name: found for name in NAMES for found in get(name).find(areas)}


def recover() -> None:
    """Clears away what killed processes left behind, as far as this user may."""
    for name in NAMES:
        try:
            get(name).recover()
        except PermissionError as error:
            trace(f"backend {name}: {error}")
