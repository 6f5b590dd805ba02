# SPDX-License-Identifier: GPL-2.0-or-later
"""Bars and sparklines: how full something is, and how that came to be, in cells of a terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from .output import cut, width

_EIGHTHS = " ▏▎▍▌▋▊▉"
_LEVELS, _ASCII_LEVELS = "▁▂▃▄▅▆▇█", ".:-=+*#"


def is_fine(stream: TextIO) -> bool:
    """Whether a terminal shows the blocks of Unicode, as far as its encoding and TERM say."""
    # the fonts of a console have few of them
    if os.environ.get("TERM", "dumb") in ("linux", "dumb"):
        return False
    try:
        (_EIGHTHS + _LEVELS).encode(stream.encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return stream.isatty()


def bar(share: float, cells: int, *, fine: bool = False) -> str:
    """A bar of so many cells, brackets included: empty below 0, full from 1 on and not before."""
    inside = max(cells - 2, 0)
    eighths = int(8 * inside * min(max(share, 0), 1))
    whole, rest = divmod(eighths, 8)
    if not fine:
        return f"[{'#' * whole}{'.' * (inside - whole)}]"
    filled = "█" * whole + (_EIGHTHS[rest] if rest else "")
    return f"[{filled}{' ' * (inside - len(filled))}]"


def sparkline(values: Sequence[float | None], cells: int, most: float = 0, *, fine: bool = False) -> str:
    """The last of the values, one in a cell, the newest last; None, which is not known, as a blank.

    The highest level is for `most`, or for the largest of them where that is more.
    """
    levels = _LEVELS if fine else _ASCII_LEVELS
    shown = values[-cells:] if cells > 0 else []
    top = max([most, *(value for value in shown if value is not None)])

    def level(value: float | None) -> str:
        if value is None:
            return " "
        # the lowest is for nothing, and what is more than nothing can be seen
        above = -(-value * (len(levels) - 1) // top) if top > 0 else 0
        return levels[int(min(max(above, 0), len(levels) - 1))]

    return "".join(map(level, shown)).rjust(cells)


def shorten(text: str, cells: int, *, fine: bool = False) -> str:
    """As much of the end of the text as fits, behind an ellipsis where something is left out."""
    if width(text) <= cells:
        return text
    mark = "…" if fine else "..."
    return cut(mark, cells) + cut(text[::-1], cells - len(mark))[::-1]
