# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap: where the pages of a ghost live (Documentation/admin-guide/mm/zswap.rst)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from . import kernel, report, signals, sizes
from .errors import Error, Unsupported, UsageError, naming
from .report import describe, trace

PARAMETERS = "sys/module/zswap/parameters"
DEBUG = "sys/kernel/debug/zswap"
TMPFILES = "etc/tmpfiles.d/ghostctl-zswap.conf"
USUAL_POOL_PERCENT = 20
"""max_pool_percent of a kernel that nobody has told another (mm/zswap.c)."""

ALIASES = {"shrinker": "shrinker_enabled"}
_FLAGS = {"enabled", "shrinker_enabled", "same_filled_pages_enabled", "non_same_filled_pages_enabled"}
_PERCENTS = {"max_pool_percent": 1, "accept_threshold_percent": 0}
"""Smallest sensible value; the kernel itself would take 0 and 4294967295."""
_TRUE, _FALSE = {"y", "yes", "1", "on", "true"}, {"n", "no", "0", "off", "false"}

_MARK = "# Written by ghostctl zswap set --persist; ghostctl zswap set --forget removes it."


EVENTS = {
    "pswpin": "pages read from areas, but not those that came from zswap",
    "pswpout": "pages written to areas, but not those that zswap took",
    "zswpin": "pages that came back from zswap",
    "zswpout": "pages that zswap took",
    "zswpwb": "pages that zswap wrote back to an area",
}
"""Counters of /proc/vmstat and what they count."""


class Zswap(NamedTuple):
    """State of zswap. Sizes in bytes; None where this kernel does not say."""

    enabled: bool | None
    """None in `UNKNOWN` only."""
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


UNKNOWN = Zswap(None, None, None, None, None, None, None, None, None)
"""The state of a zswap of which nothing can be told, not even whether the kernel has one."""


def _number(text: str | None) -> int | None:
    return None if text is None else sizes.natural(text)


def _read(path: str) -> str:
    with naming(path), open(path, encoding="ascii", errors="replace") as file:
        return file.read().strip()


def _read_optional(path: str) -> str | None:
    try:
        return _read(path)
    except OSError as error:
        trace(describe(error), 2)
        return None


def _read_directory(path: str) -> dict[str, str]:
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        trace(describe(error), 2)
        return {}
    values = {name: _read_optional(os.path.join(path, name)) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _parameter(name: str, root: str) -> str:
    return os.path.join(root, PARAMETERS, name)


def _exists(root: str) -> bool:
    """Whether the kernel has zswap. Raises `OSError`, and `Error` without /sys, where it cannot be told."""
    path = os.path.join(root, PARAMETERS)
    try:
        os.stat(path)
    except FileNotFoundError:
        if not os.path.isdir(os.path.join(root, "sys/module")):
            raise Error("/sys is not mounted", path=path) from None
        return False
    return True


def read_parameters(root: str = "/") -> dict[str, str]:
    """Every parameter of zswap that can be read, as the kernel prints it; empty without zswap."""
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
    """The state of zswap; None where the kernel has none.

    Raises `OSError`, and `Error` without /sys, where that cannot be told.
    """

    def parameter(name: str) -> str | None:
        return _read_optional(_parameter(name, root))

    if not _exists(root):
        return None
    enabled = _read(_parameter("enabled", root))
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


def read_or_unknown(root: str = "/") -> Zswap | None:
    """As `read`, for what can be done without the state: `UNKNOWN` where it cannot be told."""
    try:
        return read(root)
    except (Error, OSError) as error:
        trace(describe(error))
        return UNKNOWN


def pool_limit(percent: int, total: int) -> int:
    """Bytes that the pool may take of `total` bytes of memory: mm/zswap.c, zswap_max_pages(), whole pages.

    The kernel takes any percentage; there is no more than all of it.
    """
    page = sizes.page_size()
    return total // page * min(percent, 100) // 100 * page


def compressors(root: str = "/") -> list[str]:
    """The compressors that the kernel has loaded; others may be in modules, and only a try tells."""
    found, name = set(), None
    for line in (_read_optional(os.path.join(root, "proc/crypto")) or "").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "name":
            name = value
        elif key == "type" and value in ("scomp", "acomp", "compression") and name:
            found.add(name)
    return sorted(found)


def parse(assignments: Mapping[str, str], root: str = "/") -> dict[str, str]:
    """Parameters by the kernel's names and in its notation, from what a user writes.

    Raises `Unsupported` for a parameter that this kernel does not have, `UsageError` for a value that
    makes no sense, and as `read` where the kernel cannot be asked.
    """
    if not _exists(root):
        raise Unsupported("this kernel has no zswap")
    known = sorted(os.listdir(os.path.join(root, PARAMETERS)))
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
    if not values:
        return {}
    # what cannot be read could not be put back
    old = {name: _read(_parameter(name, root)) for name in ("enabled", *values)}
    steps = [(name, value) for name, value in values.items() if name != "enabled"]
    wanted = values.get("enabled")
    # a zswap that never ran takes any name for a compressor: only a running one tries it
    tries = old["enabled"] == "N" and not values.keys().isdisjoint(("compressor", "zpool"))
    if wanted == "Y" or tries:
        steps.insert(0, ("enabled", "Y"))
    if wanted == "N" or (tries and wanted is None):
        steps.append(("enabled", "N"))
    touched: dict[str, str] = {}
    try:
        for name, value in steps:
            touched[name] = old[name]
            _set(name, value, root)
    except BaseException:
        put_back(touched, root)
        raise
    return {name: old[name] for name in values}


@contextmanager
def applied(values: Mapping[str, str], root: str = "/") -> Iterator[dict[str, str]]:
    """Sets parameters as `apply`; when the block fails they are put back. Signals wait for its end."""
    with signals.deferred():
        old = apply(values, root)
        try:
            yield old
        except BaseException:
            put_back(old, root)
            raise


def _set(name: str, value: str, root: str) -> None:
    path = _parameter(name, root)
    try:
        kernel.write_attribute(path, value)
    except OSError as error:
        if error.errno == errno.ENOENT and name in ("compressor", "zpool"):
            hint = f"loaded are: {', '.join(compressors(root))}" if name == "compressor" else None
            raise Unsupported(f"this kernel has no {name} {value!r}", hint=hint) from None
        raise
    taken = _read(path)
    if taken != value:
        raise Error(f"the kernel took {taken!r} for {value!r}", path=path)


def put_back(old: Mapping[str, str], root: str = "/") -> None:
    """Sets parameters to what `apply` says they were. Says which one cannot be; the others still are."""
    # a compressor is tried by a running zswap only
    for name in sorted(old, key=lambda name: name == "enabled"):
        path = _parameter(name, root)
        try:
            if _read_optional(path) != old[name]:
                _set(name, old[name], root)
        except (Error, OSError) as error:
            _report_left(path, old[name], error, f"echo {old[name]} > {report.quote(path)}")


def _report_left(path: str, old: str, error: Error | OSError, hint: str | None) -> None:
    # an error, which --quiet does not silence: the state is not what it was
    reason = error.strerror if isinstance(error, OSError) else error.what
    report.error(Error(f"cannot be put back to {old!r}: {reason}", path=path, hint=hint))


def command_line(values: Mapping[str, str]) -> str:
    """The words of the kernel command line that set these parameters from the first moment on."""
    return " ".join(f"zswap.{name}={value}" for name, value in values.items())


def _tmpfiles(root: str) -> str:
    return os.path.join(root, TMPFILES)


def _read_own(path: str) -> bytes:
    """The file of `persist`; empty when it is not there. Raises `Error` for a foreign one."""
    data = b""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return data
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    else:
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                with naming(path), open(fd, "rb", closefd=False) as file:
                    data = file.read()
        finally:
            os.close(fd)
    _check_own(data, path)
    return data


def _check_own(data: bytes, path: str) -> None:
    if not data.startswith(_MARK.encode()):
        raise Error("was not written by ghostctl: left alone", path=path)


def _parse_own(data: bytes) -> dict[str, str]:
    lines = map(str.split, data.decode("utf-8", "replace").splitlines())
    return {os.path.basename(words[1]): words[6] for words in lines if len(words) == 7 and words[0] == "w"}


def read_persistent(root: str = "/") -> dict[str, str]:
    """The parameters that `persist` has written for the next boots. Raises `Error` for a foreign file."""
    return _parse_own(_read_own(_tmpfiles(root)))


def persist(values: Mapping[str, str], root: str = "/") -> str:
    """Has systemd-tmpfiles set these parameters, and those persisted before, at every boot.

    Returns the path of its own tmpfiles.d(5) file, which a failure leaves as it was. Raises `OSError`, and
    `Error` for a foreign file.
    """
    return _change_own(lambda have: {**have, **values}, root)


def withdraw(values: Mapping[str, str], before: Mapping[str, str | None], root: str = "/") -> None:
    """Puts back what `persist` has made of these parameters; one that has another value by now stays.

    `before` is what they were, None for those that were not persisted. Raises as `persist`.
    """

    def change(have: dict[str, str]) -> dict[str, str]:
        back = {name: before.get(name) for name, value in values.items() if have.get(name) == value}
        return {name: value for name, value in {**have, **back}.items() if value is not None}

    if not change(read_persistent(root)):
        forget(root)
    else:
        _change_own(change, root)


def _change_own(change: Callable[[dict[str, str]], dict[str, str]], root: str) -> str:
    from . import atomic

    path = _tmpfiles(root)
    _read_own(path)
    old = new = b""

    def merge(data: bytes) -> bytes:
        nonlocal old, new
        if data:
            _check_own(data, path)
        merged = change(_parse_own(data))
        lines = [_MARK, *(f"w /{PARAMETERS}/{name} - - - - {value}" for name, value in merged.items())]
        old, new = data, "".join(line + "\n" for line in lines).encode()
        return new

    try:
        atomic.make_directories(os.path.dirname(path))
        atomic.edit(path, merge)
    except BaseException:
        _put_back_own(path, old, new)
        raise
    return path


def forget(root: str = "/") -> str | None:
    """Removes the file of `persist`, and only that; returns its path, None when there was none.

    A failure leaves it as it was. Raises `OSError`, and `Error` for a foreign file.
    """
    from . import atomic

    path = _tmpfiles(root)
    old = _read_own(path)
    if not old:
        return None
    try:
        atomic.remove(path)
    except BaseException:
        _put_back_own(path, old, b"")
        raise
    return path


def _put_back_own(path: str, old: bytes, new: bytes) -> None:
    """After a failure puts the file back, where it is the new one already: fsync(2) comes last.

    Empty data stands for no file.
    """
    from . import atomic

    try:
        if old == new or _read_own(path) != new:
            return
        if old:
            atomic.edit(path, lambda _: old)
        else:
            atomic.remove(path)
    except (Error, OSError) as error:
        with suppress(Error, OSError):
            if _read_own(path) == old:
                return
        if old:
            _report_left(path, command_line(_parse_own(old)), error, None)
        else:
            report.error(Error("should not be there", path=path, hint=f"rm {report.quote(path)}"))
