# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap: where the pages of a ghost live (Documentation/admin-guide/mm/zswap.rst)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from . import kernel, sizes
from .errors import Error, Unsupported, UsageError
from .report import describe, trace

PARAMETERS = "sys/module/zswap/parameters"
DEBUG = "sys/kernel/debug/zswap"
TMPFILES = "etc/tmpfiles.d/ghostctl-zswap.conf"

ALIASES = {"shrinker": "shrinker_enabled"}
_FLAGS = {"enabled", "shrinker_enabled", "same_filled_pages_enabled", "non_same_filled_pages_enabled"}
_PERCENTS = {"max_pool_percent": 1, "accept_threshold_percent": 0}
"""Smallest sensible value; the kernel itself would take 0 and 4294967295."""
_TRUE, _FALSE = {"y", "yes", "1", "on", "true"}, {"n", "no", "0", "off", "false"}

_MARK = "# Written by ghostctl zswap set --persist; ghostctl zswap set --forget removes it."


EVENTS = {
    "pswpin": "pages read from swap areas",
    "pswpout": "pages written to swap areas",
    "zswpin": "pages that came back from zswap",
    "zswpout": "pages that zswap took",
    "zswpwb": "pages that zswap wrote back to an area",
}
"""Counters of /proc/vmstat and what they count."""


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

    @property
    def fill(self) -> int | None:
        """The pool in percent of its limit."""
        if self.pool is None or not self.pool_limit:
            return None
        return 100 * self.pool // self.pool_limit


def _number(text: str | None) -> int | None:
    return None if text is None else sizes.natural(text)


def _read_text(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _read_directory(path: str) -> dict[str, str]:
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return {}
    values = {name: _read_text(os.path.join(path, name)) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def read_parameters(root: str = "/") -> dict[str, str]:
    """Every parameter that this kernel's zswap has, as it prints them; empty without zswap."""
    return _read_directory(os.path.join(root, PARAMETERS))


def read_debug(root: str = "/") -> dict[str, int]:
    """The counters in debugfs, by the kernel's names: root only, and empty until zswap first ran."""
    counters = _read_directory(os.path.join(root, DEBUG))
    numbers = {name: _number(value) for name, value in counters.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def read_events(root: str = "/") -> dict[str, int]:
    """Those of `EVENTS` that this kernel counts, in pages."""
    try:
        counters = kernel.read_vmstat(os.path.join(root, "proc/vmstat"))
    except OSError as error:
        trace(describe(error))
        return {}
    return {name: counters[name] for name in EVENTS if name in counters}


def read(root: str = "/") -> Zswap | None:
    """The state of zswap; None where the kernel has none."""
    directory = os.path.join(root, PARAMETERS)

    def parameter(name: str) -> str | None:
        return _read_text(os.path.join(directory, name))

    enabled = parameter("enabled")
    if enabled is None:
        return None
    page = sizes.page_size()
    try:
        meminfo = kernel.read_meminfo(os.path.join(root, "proc/meminfo"))
    except OSError:
        meminfo = {}
    stored, pool = meminfo.get("Zswapped"), meminfo.get("Zswap")
    if pool is None:
        # before Linux 5.19 only debugfs says
        debug = read_debug(root)
        pool = debug.get("pool_total_size")
        stored = debug["stored_pages"] * page if "stored_pages" in debug else None
    shrinker = parameter("shrinker_enabled")
    percent = _number(parameter("max_pool_percent"))
    total = meminfo.get("MemTotal")
    return Zswap(
        enabled=enabled == "Y",
        compressor=parameter("compressor"),
        max_pool_percent=percent,
        accept_threshold_percent=_number(parameter("accept_threshold_percent")),
        shrinker_enabled=None if shrinker is None else shrinker == "Y",
        zpool=parameter("zpool"),
        stored=stored,
        pool=pool,
        pool_limit=None if percent is None or total is None else pool_limit(percent, total),
    )


def pool_limit(percent: int, total: int) -> int:
    """Bytes that the pool may take of `total` bytes of memory: mm/zswap.c, zswap_max_pages(), whole pages.

    The kernel takes any percentage; there is no more than all of it.
    """
    page = sizes.page_size()
    return total // page * min(percent, 100) // 100 * page


def compressors(root: str = "/") -> list[str]:
    """The compressors that the kernel has loaded; others may be in modules, and only a try tells."""
    found, name = set(), None
    for line in (_read_text(os.path.join(root, "proc/crypto")) or "").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "name":
            name = value
        elif key == "type" and value in ("scomp", "acomp", "compression") and name:
            found.add(name)
    return sorted(found)


def parse(assignments: Mapping[str, str], root: str = "/") -> dict[str, str]:
    """Parameters by the kernel's names and in its notation, from what a user writes.

    Raises `Unsupported` for a parameter that this kernel does not have, `UsageError` for a value that
    makes no sense.
    """
    known = read_parameters(root)
    if not known:
        raise Unsupported("this kernel has no zswap")
    values = {}
    for alias, text in assignments.items():
        name = ALIASES.get(alias, alias)
        if name not in known:
            raise Unsupported(
                f"zswap of this kernel has no parameter {alias!r}", hint=f"it has {', '.join(known)}"
            )
        values[name] = _parse_value(name, text)
    return values


def _parse_value(name: str, text: str) -> str:
    if name in _FLAGS:
        if text.lower() not in _TRUE | _FALSE:
            raise UsageError(f"{name} is yes or no, not {text!r}")
        return "Y" if text.lower() in _TRUE else "N"
    if name in _PERCENTS:
        number = _number(text.removesuffix("%"))
        if number is None or not _PERCENTS[name] <= number <= 100:
            raise UsageError(f"{name} is {_PERCENTS[name]} to 100, not {text!r}")
        return str(number)
    if not text or not text.isascii() or not text.isprintable() or " " in text or len(text) > 63:
        raise UsageError(f"{name} is a name of the kernel's crypto interface, not {text!r}")
    return text


def apply(values: Mapping[str, str], root: str = "/") -> dict[str, str]:
    """Sets parameters, all or none, and returns what they were.

    When the kernel refuses one, or takes another value instead, the others are put back. Raises
    `Unsupported` for a compressor that the kernel does not have, `Error` and `OSError`.
    """
    old = read_parameters(root)
    steps = [(name, value) for name, value in values.items() if name != "enabled"]
    wanted, has = values.get("enabled"), old.get("enabled")
    # a zswap that never ran takes any name for a compressor: only a running one tries it
    tries = has == "N" and not values.keys().isdisjoint(("compressor", "zpool"))
    if wanted == "Y" or tries:
        steps.insert(0, ("enabled", "Y"))
    if wanted == "N" or (tries and wanted is None):
        steps.append(("enabled", "N"))
    touched: dict[str, None] = {}
    try:
        for name, value in steps:
            touched[name] = None
            _set(name, value, root)
    except BaseException:
        for name in sorted(touched.keys() & old.keys(), key="enabled".__eq__):
            with suppress(OSError):
                kernel.write_attribute(os.path.join(root, PARAMETERS, name), old[name])
        raise
    return {name: old[name] for name in values}


def _set(name: str, value: str, root: str) -> None:
    try:
        kernel.write_attribute(os.path.join(root, PARAMETERS, name), value)
    except OSError as error:
        if error.errno == errno.ENOENT and name in ("compressor", "zpool"):
            hint = f"loaded are: {', '.join(compressors(root))}" if name == "compressor" else None
            raise Unsupported(f"this kernel has no {name} {value!r}", hint=hint) from None
        raise
    taken = _read_text(os.path.join(root, PARAMETERS, name))
    if taken != value:
        raise Error(f"the kernel took {taken!r} for {value!r}", path=os.path.join(root, PARAMETERS, name))


def command_line(values: Mapping[str, str]) -> str:
    """The words of the kernel command line that set these parameters from the first moment on."""
    return " ".join(f"zswap.{name}={value}" for name, value in values.items())


def _tmpfiles(root: str) -> str:
    return os.path.join(root, TMPFILES)


def _read_own(path: str) -> str | None:
    text = ""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    else:
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                text = os.read(fd, 1 << 16).decode("utf-8", "replace")
        finally:
            os.close(fd)
    if not text.startswith(_MARK):
        raise Error("was not written by ghostctl: left alone", path=path)
    return text


def read_persistent(root: str = "/") -> dict[str, str]:
    """The parameters that `persist` has written for the next boots. Raises `Error` for a foreign file."""
    values = {}
    for line in (_read_own(_tmpfiles(root)) or "").splitlines():
        fields = line.split()
        if len(fields) == 7 and fields[0] == "w":
            values[os.path.basename(fields[1])] = fields[6]
    return values


def persist(values: Mapping[str, str], root: str = "/") -> str:
    """Has systemd-tmpfiles set these parameters, and those persisted before, at every boot.

    Returns the path of its own tmpfiles.d(5) file. Raises `OSError`, and `Error` for a foreign file.
    """
    from . import atomic

    path = _tmpfiles(root)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with atomic.place(path) as place:
        merged = {**read_persistent(root), **values}
        lines = [_MARK, *(f"w /{PARAMETERS}/{name} - - - - {value}" for name, value in merged.items())]
        data = "".join(line + "\n" for line in lines).encode("ascii")
        atomic.write(place, data, replace=os.path.lexists(path), finish=lambda fd: os.fchmod(fd, 0o644))
    return path


def forget(root: str = "/") -> str | None:
    """Removes the file of `persist`, and only that; returns its path, None when there was none."""
    path = _tmpfiles(root)
    if _read_own(path) is None:
        return None
    os.unlink(path)
    return path
