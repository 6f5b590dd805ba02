# SPDX-License-Identifier: GPL-2.0-or-later
"""Another declared size for a ghost, also for one that is active: off, resized, and on again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from . import activation, areas, backends, deactivation, ghostwrite, report, signals
from .areas import Active
from .errors import Error, NoMemory, Unsupported
from .ghostfile import File
from .report import describe, quote
from .sizes import human

if TYPE_CHECKING:
    from .header import Header

TakeDown = Callable[[Active, list[Active]], None]


class Resized(NamedTuple):
    """What `resize` has done."""

    header: Header
    changed: bool
    active: Active | None
    """The area that was taken down and made again; None when the ghost was not active."""


def resize(file: File, size: int, take_down: TakeDown | None = None) -> Resized:
    """Changes the declared size of a ghost, open for writing, to `size` bytes; the rest stays.

    An active one is refused with `Busy`, unless `take_down` deactivates it: then it is made active again as
    it was, with the new size or, when that fails, with the old one. The message of an `Error` says which.
    Raises as `ghostwrite.resized`, and `OSError`.
    """
    old, active = file.require_header(), areas.active(file)
    if active is not None and take_down is None:
        raise areas.busy(file, active)
    new = ghostwrite.resized(file, size)
    if new.size == old.size:
        return Resized(old, False, None)
    if active is None:
        ghostwrite.rewrite(file, new)
        return Resized(new, True, None)
    assert take_down is not None
    backend = backends.get(active.backend or "file")
    everything = areas.read()
    request = activation.Request(backend.options(active), active.backend or "file", force=True)
    _check(file, old, new, backend)

    def interrupted(error: Error | OSError | None) -> None:
        if error is not None:
            report.error(error)
        else:
            report.warn(file.path, f"interrupted, but active again, with the new size of {new.size} bytes")

    with signals.deferred(interrupted):
        try:
            take_down(active, everything)
        except (OSError, Error) as error:
            if deactivation.is_active(active.area) is not False:
                raise
            _back(file, old, request, describe(error))
        _again(file, old, new, request)
        return Resized(new, True, areas.active(file))


def _check(file: File, old: Header, new: Header, backend: backends.Backend) -> None:
    """Everything that would keep the ghost from being active again, as far as it can be known before."""
    if reason := backend.unavailable():
        raise Unsupported(reason, path=file.path)
    more = activation.slot_memory(max(new.pages - old.pages, 0), backend)
    if more is None or more.exceeds is not False:
        amount = f"about {human(more.size, ' ', 'iB')}" if more else "an unknown amount"
        raise NoMemory(
            f"its slots may take {amount} more of kernel memory, which may not be available",
            path=file.path,
        )


def _again(file: File, old: Header, new: Header, request: activation.Request) -> None:
    try:
        ghostwrite.rewrite(file, new)
        activation.activate(file.path, request)
    except (OSError, Error) as error:
        _back(file, old, request, describe(error))


def _back(file: File, old: Header, request: activation.Request, why: str) -> None:
    """Makes the ghost active with its old size; raises `Error` in any case."""
    try:
        ghostwrite.rewrite(file, old)
        activation.activate(file.path, request)
    except (OSError, Error) as error:
        raise Error(
            f"is not active any more: the new size failed ({why}), "
            f"and so did the old one ({describe(error)})",
            path=file.path,
            hint=f"ghostctl on --backend {request.backend} {quote(file.path)}",
        ) from None
    raise Error(f"is active again with the old size, {old.size} bytes: {why}", path=file.path)
