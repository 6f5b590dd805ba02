# SPDX-License-Identifier: GPL-2.0-or-later
"""Python packages of others that the program needs: what is said where one is missing."""

from __future__ import annotations

from .errors import Error

_NAMES = ("click", "construct", "psutil", "pyudev")
"""Each is imported where it is used, so that what does not use it runs without."""


class Missing(Error):
    """A Python package that is not there, or that cannot be used."""


def missing(error: ImportError) -> Missing | None:
    """What a failed import means to the user; None where the module is no such package's."""
    name = (error.name or "").partition(".")[0]
    if name not in _NAMES:
        return None
    is_there = error.name != name or not isinstance(error, ModuleNotFoundError)
    return Missing(
        f"the Python package {name} cannot be used: {error}"
        if is_there
        else f"the Python package {name} is missing",
        hint=f"install python3-{name} (Debian, Fedora), or {name} with pip",
    )
