# SPDX-License-Identifier: GPL-2.0-or-later
"""The same for each of several items: a failure is reported, and the others still have their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from .. import report
from ..errors import ALL_FAILED, SOME_FAILED, Error, exit_status
from . import OutputError

Item = TypeVar("Item")


def _attempt(
    items: Iterable[Item],
    action: Callable[[Item], None],
    failed: Callable[[Item, Error | OSError], None] | None = None,
) -> list[int]:
    statuses = []
    for item in items:
        try:
            action(item)
        except OutputError:
            raise
        except (Error, OSError) as error:
            report.error(error)
            if failed is not None:
                failed(item, error)
            statuses.append(exit_status(error))
        else:
            statuses.append(0)
    return statuses


def each(
    items: Iterable[Item],
    action: Callable[[Item], None],
    failed: Callable[[Item, Error | OSError], None] | None = None,
) -> int:
    """Does it for each; the exit status is that of the first that failed.

    `failed` gets what could not be done, and why, for --json.
    """
    return next((status for status in _attempt(items, action, failed) if status), 0)


def every(
    items: Iterable[Item],
    action: Callable[[Item], None],
    failed: Callable[[Item, Error | OSError], None] | None = None,
) -> int:
    """Does it for each, as --all does: exit status 32 when all failed, 64 when some did."""
    statuses = _attempt(items, action, failed)
    failures = sum(1 for status in statuses if status)
    if not failures:
        return 0
    return ALL_FAILED if failures == len(statuses) else SOME_FAILED
