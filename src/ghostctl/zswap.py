# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap: where the pages of a ghost live (Documentation/admin-guide/mm/zswap.rst)."""

from __future__ import annotations

import os
from typing import NamedTuple

from . import kernel, sizes

PARAMETERS = "sys/module/zswap/parameters"


class Zswap(NamedTuple):
    """State of zswap. Sizes in bytes; None where this kernel does not say."""

    enabled: bool
    compressor: str | None
    max_pool_percent: int | None
    accept_threshold_percent: int | None
    shrinker_enabled: bool | None
    zpool: str | None
    stored: int | None
    """Size of the stored pages before compression (`Zswapped` of proc_meminfo(5))."""
    pool: int | None
    """Memory that the pool takes (`Zswap` of proc_meminfo(5))."""
    pool_limit: int | None
    """What `max_pool_percent` of memory is."""

    @property
    def ratio(self) -> float | None:
        """Stored bytes to pool bytes; None while the pool is empty."""
        return self.stored / self.pool if self.stored and self.pool else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def read(root: str = "/") -> Zswap | None:
    """The state of zswap; None where the kernel has none."""
    directory = os.path.join(root, PARAMETERS)

    def parameter(name: str) -> str | None:
        try:
            with open(os.path.join(directory, name), encoding="ascii", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return None

    enabled = parameter("enabled")
    if enabled is None:
        return None
    try:
        meminfo = kernel.read_meminfo(os.path.join(root, "proc/meminfo"))
    except OSError:
        meminfo = {}
    shrinker = parameter("shrinker_enabled")
    percent = _number(parameter("max_pool_percent"))
    # mm/zswap.c, zswap_max_pages(): whole pages
    page = sizes.page_size()
    total = meminfo.get("MemTotal")
    return Zswap(
        enabled=enabled == "Y",
        compressor=parameter("compressor"),
        max_pool_percent=percent,
        accept_threshold_percent=_number(parameter("accept_threshold_percent")),
        shrinker_enabled=None if shrinker is None else shrinker == "Y",
        zpool=parameter("zpool"),
        stored=meminfo.get("Zswapped"),
        pool=meminfo.get("Zswap"),
        pool_limit=None if percent is None or total is None else total // page * percent // 100 * page,
    )


def enable(root: str = "/") -> None:
    """Turns zswap on. Raises `OSError`."""
    with open(os.path.join(root, PARAMETERS, "enabled"), "w", encoding="ascii") as file:
        file.write("Y")
