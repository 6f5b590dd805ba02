# SPDX-License-Identifier: GPL-2.0-or-later
"""What a zram device stores and takes: mm_stat in Documentation/admin-guide/blockdev/zram.rst."""

from __future__ import annotations

import os
from typing import NamedTuple

from .report import describe, trace
from .sizes import natural


class MmStat(NamedTuple):
    """Sizes in bytes, `same_pages` and `huge_pages` in pages; None for what this kernel does not print."""

    orig_data_size: int
    """Pages that are stored, before compression: DATA of zramctl(8)."""
    compr_data_size: int
    mem_used_total: int
    """Memory that they take: TOTAL of zramctl(8)."""
    mem_limit: int | None = None
    """0 is no limit."""
    same_pages: int | None = None
    """Pages of one repeated word, which take no memory."""
    huge_pages: int | None = None
    """Pages that do not compress, which take a page each."""


def read_mm_stat(number: int, root: str = "/") -> MmStat | None:
    """The counters of /dev/zramN; None without them: no such device, or one that is being reset."""
    path = os.path.join(root, f"sys/block/zram{number}/mm_stat")
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return parse(file.read())
    except OSError as error:
        trace(describe(error))
        return None


def parse(text: str) -> MmStat | None:
    """The counters in the text of mm_stat, of which old kernels have fewer; None when it is something else.

    Its fields are orig_data_size, compr_data_size, mem_used_total, mem_limit, mem_used_max, same_pages,
    pages_compacted, huge_pages and, on newer kernels, more.
    """
    numbers = [natural(word) for word in text.split()]
    if len(numbers) < 3 or None in numbers[:3]:
        return None
    numbers += [None] * (8 - len(numbers))
    stored, compressed, used, limit, _, same, _, huge = numbers[:8]
    assert stored is not None
    assert compressed is not None
    assert used is not None
    return MmStat(stored, compressed, used, limit, same, huge)
