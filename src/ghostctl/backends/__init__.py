# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes a declared area active. One module for each way a kernel offers; this is their registry."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

from .. import kernel, syscalls
from ..errors import Error
from ..fstab import BACKENDS
from ..report import describe, trace

if TYPE_CHECKING:
    from ..areas import Active
    from ..ghostfile import File
    from ..swaps import Area

NAMES = BACKENDS
"""All backends, in the order in which `auto` and hints name them."""

NO_SYSFS = "/sys is not mounted"

WHY_DENIED = "this root may not: it is one of a container or user namespace, or a seccomp filter forbids it"
"""A hint when root gets EPERM from swapon(2) or swapoff(2)."""


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


class Backend:
    """One way to make a ghost active. What a backend has nothing to say to is answered here."""

    needs_zswap = True
    """Whether its pages are in zswap and nowhere else."""
    extra_slot_bytes = 0
    """Kernel memory for each page, besides what swapon(2) takes."""

    def unavailable(self) -> str | None:
        """Why the running kernel cannot offer this; None when it can, or when only a try will tell."""
        raise NotImplementedError

    def activate(self, file: File, options: Options) -> None:
        """Makes the ghost an active area.

        Raises `Unsupported` when the kernel does not offer this, `Refused` when another backend may do it,
        `Error` and `OSError` for other failures; then nothing is left of the try, or a warning names it.
        """
        raise NotImplementedError

    def recognise(self, area: Area) -> Active | None:
        """The area and its ghost, when this backend made it; None when it did not.

        Raises `OSError` when that cannot be told.
        """
        raise NotImplementedError

    def made(self) -> Iterator[Area]:
        """Areas that may be active, by other signs than /proc/swaps, for systems without that."""
        yield from ()

    def options(self, active: Active) -> Options:
        """How an area that it made is active, so that it can be made so again. Raises `OSError`, `Error`."""
        return Options(prio=active.area.prio)

    def deactivate(self, active: Active) -> None:
        """Takes down an area, and what was set up for it.

        Raises `OSError`, and `Error` which names what is left when the area itself is down.
        """
        take_down(active.path)

    def recover(self) -> None:
        """Clears away, or names to the user, what a killed process left behind. Raises `OSError`, `Error`."""


def has_sysfs(root: str = "/") -> bool:
    """Whether what the kernel offers there can be seen; without it nothing is known of most backends."""
    return os.path.isdir(os.path.join(root, "sys/kernel"))


def take_down(path: str) -> None:
    """swapoff(2) on what is at this path now. Raises `OSError` and `Error`, as `syscalls.apart`."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        syscalls.swapoff_apart(fd, path)
    finally:
        os.close(fd)


def get(name: str) -> Backend:
    """The backend of that name."""
    return cast("Backend", import_module(f".{name}", __package__).BACKEND)


def first(names: Iterable[str], *, has_zswap: bool) -> str | None:
    """The first of these backends that is of use with zswap, or without; None when none is."""
    return next((name for name in names if has_zswap or not get(name).needs_zswap), None)


def offers(name: str, root: str = "/") -> bool | None:
    """Whether the kernel has what a backend needs, or may have it; None where only /sys could tell."""
    return get(name).unavailable() is None if has_sysfs(root) else None


def takes_files(areas: Iterable[Area], root: str = "/") -> bool | None:
    """Whether the kernel takes ghost files, as an active one proves; None where only a try could tell."""
    file = get("file")
    if any(map(file.recognise, areas)):
        return True
    found = kernel.may_have_ghosts(os.path.join(root, kernel.KALLSYMS.lstrip("/")))
    # that interface has the same symbol
    return None if found and os.path.isdir(os.path.join(root, "sys/kernel/mm/xswap")) else found


def recover() -> None:
    """Clears away what killed processes left behind, as far as possible; what comes after goes on anyway."""
    for name in NAMES:
        try:
            get(name).recover()
        except (OSError, Error) as error:
            trace(f"backend {name}: {describe(error)}")
