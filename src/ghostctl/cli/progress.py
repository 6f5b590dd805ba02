# SPDX-License-Identifier: GPL-2.0-or-later
"""The bar that `off` draws on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from .. import bars, deactivation, output, report
from ..areas import Active
from ..errors import Error
from ..report import escape
from ..sizes import human
from . import Terminated

_CELLS = 26


class Bar:
    """One line on standard error: how much has come back, how fast, how long it will take."""

    def __init__(self, name: str, total: int) -> None:
        self._name = escape(name)
        self._total = total
        self._start = time.monotonic()
        self._drawn = False
        self._fine = bars.is_fine(sys.stderr)

    def update(self, left: int) -> None:
        """Draws the state with `left` bytes still to come."""
        done = max(self._total - left, 0)
        share = done / self._total if self._total else 1
        rate = done / (time.monotonic() - self._start)
        remaining = f"{left / rate:.0f} s left" if rate else "waiting"
        text = (
            f"{bars.bar(share, _CELLS, fine=self._fine)} {share:4.0%}  {human(done)} of {human(self._total)}"
            f"  {human(int(rate))}/s  {remaining}"
        )
        # nothing in the last column: the next line would begin
        cells = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
        name = bars.shorten(self._name, max(cells - len(text) - 2, 1), fine=self._fine)
        sys.stderr.write(f"\r\x1b[K{output.cut(f'{name}: {text}', cells)}")
        sys.stderr.flush()
        self._drawn = True

    def close(self) -> None:
        """Clears the line: what is left to say comes as a message."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def taking_down(active: Active, actives: Sequence[Active], *, force: bool = False) -> None:
    """Deactivates an area; on a terminal with a bar while its pages come back."""
    area = active.area
    bar = Bar(area.name, area.used) if sys.stderr.isatty() and not report.quiet else None
    try:
        deactivation.deactivate(active, actives, force=force, progress=bar.update if bar else None)
    except (KeyboardInterrupt, Terminated, InterruptedError) as interruption:
        if bar:
            bar.close()
        error = Error(f"interrupted, {deactivation.state_of(area)}", path=area.name)
        if isinstance(interruption, InterruptedError):
            raise error from None
        report.error(error)
        raise
    finally:
        if bar:
            bar.close()
