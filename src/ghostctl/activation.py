# SPDX-License-Identifier: GPL-2.0-or-later
"""Swap areas on and off: what is checked before the system calls, and what their refusals mean."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from . import backends, kernel, lookup, report, sizes, swaps, syscalls, zswap
from .errors import Busy, Error, NoMemory, NotAGhost, Unsupported
from .report import quote
from .sizes import human

if TYPE_CHECKING:
    from .ghostfile import File
    from .header import Header
    from .swaps import Area

_TAKEN_BY_KERNEL = frozenset({"holes", "mode", "owner", "filesystem", "pagesize"})
"""Problems that `verify` reports and that are no reason, or have a reason of their own, not to try."""


class Request(NamedTuple):
    """How `activate` is to make an area active."""

    options: backends.Options = backends.Options()
    backend: str = "auto"
    fallback: tuple[str, ...] = ()
    force: bool = False
    enable_zswap: bool = False
    fix_page_size: bool = False


def activate(path: str, request: Request) -> None:
    """Makes the ghost, swap file or swap device `path` an active area.

    Raises `NotAGhost`, `Busy`, `Unsupported`, `NoMemory`, `Error` and `OSError`.
    """
    from . import ghostfile

    with ghostfile.look(path) as file:
        _refuse_active(file, swaps.find(swaps.read(), file.st))
        have = file.require_header()
        if not file.is_ghost:
            _activate_ordinary(file, have, request)
            return
        needs_rewrite = have.page_size != sizes.page_size()
    if needs_rewrite:
        _fix_page_size(path, request.fix_page_size)
    with ghostfile.look(path) as file:
        _lock(file)
        # only now no other process can be about to activate it
        _activate_ghost(file, file.require_header(), swaps.read(), request)


def _refuse_active(file: File, area: Area | None) -> None:
    if area is not None:
        name = f" as {area.name}" if area.name != file.path else ""
        raise Busy(f"is already active{name}", path=file.path)


def _lock(file: File) -> None:
    try:
        fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy("is being activated by another process", path=file.path) from None
    except OSError as error:
        # a network filesystem locks only what is open for writing
        report.trace(f"{file.path}: no lock: {error.strerror}")


def _activate_ordinary(file: File, have: Header, request: Request) -> None:
    size = file.st.st_size if stat.S_ISREG(file.st.st_mode) else None
    if have.page_size != sizes.page_size():
        raise Error(
            f"made for pages of {have.page_size} bytes, this kernel has {sizes.page_size()}",
            path=file.path,
            hint=f"swapon --fixpgsz {quote(file.path)}",
        )
    if have.hibernation:
        raise Busy(f"holds a hibernation image ({have.hibernation})", path=file.path)
    if size is not None and size < have.size:
        raise Error(
            f"has {size} bytes but declares {have.size}: neither a ghost, which has {have.page_size}, "
            "nor a whole swap file",
            path=file.path,
            hint=f"ghostctl mkghost --force -s {have.size} {quote(file.path)}"
            if have.ghost_version
            else None,
        )
    if request.backend not in ("auto", "file"):
        raise NotAGhost(f"not a ghost: it is {file.describe()}", path=file.path)
    _warn_permissions(file)
    try:
        syscalls.swapon(
            file.fd, file.path, syscalls.swapon_flags(request.options.prio, request.options.discard)
        )
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise Error(str(error.strerror), path=file.path, hint=_why_invalid(file)) from None


def _why_invalid(file: File) -> str:
    fstype = kernel.filesystem(file.fd)
    if kernel.cannot_swap(fstype):
        return f"no kernel swaps to a file on {fstype}"
    if file.st.st_blocks * 512 < file.st.st_size:
        return "the file has holes: write it whole, for example with dd"
    return "the kernel's log (dmesg) may say more"


def _fix_page_size(path: str, allowed: bool) -> None:
    from . import ghostfile, ghostwrite, header

    with ghostfile.look(path) as file:
        have = file.require_header()
    if not allowed:
        raise Error(
            f"made for pages of {have.page_size} bytes, this kernel has {sizes.page_size()}",
            path=path,
            hint="--fixpgsz rewrites it",
        )
    pages = sizes.to_pages(have.size, sizes.page_size())
    new = header.ghost(
        pages, sizes.page_size(), uuid=have.uuid, label=have.label, bare=have.ghost_version == 0
    )
    report.warn(path, f"made for pages of {have.page_size} bytes: rewritten for {sizes.page_size()}")
    ghostwrite.create(path, ghostwrite.Request(new, if_needed=True))


def _activate_ghost(file: File, have: Header, areas: Sequence[Area], request: Request) -> None:
    _refuse_active(file, lookup.active_area(file, areas))
    _check_header(file, request.force)
    _warn_permissions(file)
    first = "file" if request.backend == "auto" else request.backend
    names = dict.fromkeys((first, *request.fallback))
    refusals = []
    for name in names:
        backend = backends.get(name)
        report.trace(f"backend {name}: tried")
        try:
            _check_slot_memory(file, have, backend.EXTRA_SLOT_BYTES, request.force)
            with _zswap_for(file, request, backend):
                backend.activate(file, request.options)
        except Unsupported as error:
            report.trace(f"backend {name}: {error.what}")
            refusals.append(error)
            continue
        report.trace(f"{file.path}: active by backend {name}")
        for refusal in refusals:
            if refusal.hint:
                # not for want of ghosts in the kernel: the user can do something about it
                report.warn(file.path, f"{refusal.what}: active by {name} instead", refusal.hint)
        if backend.NEEDS_ZSWAP:
            _warn_pool(file, areas)
        return
    raise _refusal(file, refusals, names)


def _refusal(file: File, refusals: list[Unsupported], tried: Collection[str]) -> Error:
    others = [
        name for name in backends.NAMES if name not in tried and backends.get(name).unavailable() is None
    ]
    reasons = "; ".join(dict.fromkeys(refusal.what for refusal in refusals))
    hints = [refusal.hint for refusal in refusals if refusal.hint]
    if others:
        hints.append(f"--fallback {','.join(others)} activates it with what this kernel offers")
    fstype = kernel.filesystem(file.fd)
    if "file" in tried and kernel.cannot_swap(fstype):
        hints.insert(0, "put ghosts on ext4, xfs or btrfs")
        reasons = f"no kernel swaps to a file on {fstype}"
    if not hints:
        hints.append("no --fallback of this kernel can stand in; a kernel with ghost swap is needed")
    return Unsupported(reasons, path=file.path, hint="; ".join(hints))


def _check_header(file: File, force: bool) -> None:
    from . import ghostfile

    for problem in ghostfile.verify(file):
        if problem.id in _TAKEN_BY_KERNEL:
            continue
        if problem.severity == "error" and not force:
            raise Error(problem.message, path=file.path, hint=f"ghostctl verify {quote(file.path)}")
        report.warn(file.path, problem.message)


def _warn_permissions(file: File) -> None:
    if not stat.S_ISREG(file.st.st_mode):
        return
    mode = stat.S_IMODE(file.st.st_mode)
    if mode & 0o077:
        report.warn(file.path, f"insecure permissions {mode:04o}, 0600 suggested")
    if file.st.st_uid != 0:
        report.warn(file.path, f"insecure file owner {file.st.st_uid}, 0 (root) suggested")


def _check_slot_memory(file: File, have: Header, extra_slot_bytes: int, force: bool) -> None:
    needed = kernel.slot_memory(have.pages) + have.pages * extra_slot_bytes
    try:
        available = kernel.read_meminfo().get("MemAvailable")
    except OSError:
        return
    if available is None or needed <= available:
        return
    text = (
        f"declares {human(have.size, ' ', 'iB')}: its slots take about {human(needed, ' ', 'iB')} of kernel "
        f"memory, {human(available, ' ', 'iB')} are available"
    )
    if not force:
        raise NoMemory(text, path=file.path, hint=f"ghostctl resize {quote(file.path)} SIZE, or --force")
    report.warn(file.path, text)


@contextmanager
def _zswap_for(file: File, request: Request, backend: backends.Backend) -> Iterator[None]:
    """Checks zswap, or turns it on, and off again when the backend then cannot activate the ghost."""
    state = zswap.read() if backend.NEEDS_ZSWAP else None
    if (
        not backend.NEEDS_ZSWAP
        or (state is not None and state.enabled)
        # the refusal that is about to come has a reason that zswap would not cure
        or backend.unavailable() is not None
    ):
        yield
        return
    if state is not None and request.enable_zswap:
        old = zswap.apply({"enabled": "Y"})
        report.trace("zswap turned on")
        try:
            yield
        except BaseException:
            zswap.apply(old)
            raise
        return
    if state is None:
        what, hint = "this kernel has no zswap, so nothing could be swapped to a ghost", None
    else:
        what = "zswap is off, so nothing could be swapped to a ghost"
        hint = f"--enable-zswap turns it on, as does: echo Y > /{zswap.PARAMETERS}/enabled"
    if not request.force:
        raise Unsupported(what, path=file.path, hint=hint)
    report.warn(file.path, what)
    yield


def _warn_pool(file: File, areas: Sequence[Area]) -> None:
    from . import capacity

    now = swaps.read()
    own = lookup.active_area(file, now)
    found = capacity.measure(now, zswap.read())
    if own is None or found is None or found.holds is None:
        return
    below = [area.name for area in areas if not area.is_ghost and area.prio < own.prio]
    if below and found.size > found.holds:
        fits = found.holds - (found.size - own.size)
        report.warn(
            file.path,
            f"is above {', '.join(below)} and declares more than zswap's pool can hold "
            f"(about {human(found.holds, ' ', 'iB')}): the pool would be full before the kernel goes on to "
            "them",
            f"ghostctl resize --cycle {quote(file.path)} {fits}, or give it a lower priority"
            if fits > 0
            else "give it a lower priority",
        )


def warn_automatic_priority(path: str, later: Sequence[str]) -> None:
    """Warns that a ghost with a priority of the kernel's choice outranks areas that come `later`."""
    if later:
        report.warn(
            path,
            f"has no priority and will outrank {', '.join(later)}, which come later",
            "give priorities with -p or pri= in fstab",
        )


def deactivate(area: Area, *, force: bool = False, progress: Callable[[int], None] | None = None) -> None:
    """Takes an area down, and what a backend set up for it.

    Refuses with `NoMemory` when its used pages fit neither in memory nor in the other areas, unless
    `force`. While pages come back, `progress` is called from another thread with the bytes still in use,
    several times a second. Raises `OSError`; EINTR after a signal, with the area active as before.
    """
    if not force:
        _check_room(area)
    protect_from_oom_killer()
    realisation = backends.find([area]).get(area.name)
    take_down = backends.get(realisation.backend if realisation else "file").deactivate
    if progress is None:
        take_down(area)
        return
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(area.name, done, progress), daemon=True)
    watcher.start()
    try:
        take_down(area)
    finally:
        done.set()
        watcher.join()


def _watch(name: str, done: threading.Event, progress: Callable[[int], None]) -> None:
    while not done.wait(0.2):
        area = next((area for area in swaps.read() if area.name == name), None)
        if area is not None:
            progress(area.used)


def _check_room(area: Area) -> None:
    free = sum(other.size - other.used for other in swaps.read() if other.name != area.name)
    try:
        available = kernel.read_meminfo().get("MemAvailable", 0)
    except OSError:
        return
    if area.used > available + free:
        raise NoMemory(
            f"{human(area.used, ' ', 'iB')} are in use: more than available memory "
            f"({human(available, ' ', 'iB')}) and the other areas ({human(free, ' ', 'iB')}) can take",
            path=area.name,
            hint="end what uses memory, activate another area, or try with --force",
        )


def protect_from_oom_killer() -> None:
    """Asks the kernel not to kill this process for memory (proc_pid_oom_score_adj(5)); root only."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("-1000")
    except OSError as error:
        report.trace(f"/proc/self/oom_score_adj: {os.strerror(error.errno or 0)}")
