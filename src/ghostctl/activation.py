# SPDX-License-Identifier: GPL-2.0-or-later
"""swapon: what is checked before the system call, and what its refusals mean."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from . import areas, backends, ghostfile, ghostwrite, kernel, report, rundir, sizes, syscalls, zswap
from .areas import Active
from .errors import Busy, Denied, Error, NoMemory, NotAGhost, Refused, Unsupported
from .report import quote
from .sizes import human

if TYPE_CHECKING:
    from . import fstab
    from .ghostfile import File
    from .header import Header

_LEAST_FULL = 23
"""No kernel has a smaller table of areas: 32 less all that MAX_SWAPFILES (include/linux/swap.h) takes off."""


class Request(NamedTuple):
    """How `activate` is to make an area active."""

    options: backends.Options = backends.Options()
    backend: str = "auto"
    fallback: tuple[str, ...] = ()
    force: bool = False
    enable_zswap: bool = False
    fix_page_size: bool = False
    if_needed: bool = False
    """What is active already is no error."""

    def declared(self, declared: fstab.Declaration) -> Request:
        """The same request with what a line of fstab, or -o, says."""
        options = self.options
        if declared.priority is not None:
            options = options._replace(prio=declared.priority)
        if declared.discard is not None:
            options = options._replace(discard=declared.discard)
        if declared.compressor is not None:
            options = options._replace(compressor=declared.compressor)
        if declared.memory_limit is not None:
            options = options._replace(memory_limit=declared.memory_limit)
        return self._replace(
            options=options,
            fallback=declared.fallback or self.fallback,
            enable_zswap=declared.zswap or self.enable_zswap,
        )


def activate(path: str, request: Request) -> bool:
    """Makes the ghost, swap file or swap device `path` an active area; false when it is one already.

    Raises `NotAGhost`, `Busy`, `Refused`, `NoMemory`, `Denied`, `NoAreaList`, `Error` and `OSError`.
    """
    with ghostfile.look(path) as file:
        have = file.require_header()
        needs_rewrite = file.is_ghost and have.page_size != sizes.page_size()
        if not needs_rewrite:
            return _activate(file, have, request)
        if not request.fix_page_size:
            raise Error(
                f"made for pages of {have.page_size} bytes, this kernel has {sizes.page_size()}",
                path=path,
                hint=report.again("on", "--fixpgsz", otherwise=f"ghostctl on --fixpgsz {quote(path)}"),
            )
        new = ghostwrite.for_page_size(file)
    report.warn(path, f"made for pages of {have.page_size} bytes: rewritten for {sizes.page_size()}")
    ghostwrite.create(path, ghostwrite.Request(new, if_needed=True))
    with ghostfile.look(path) as file:
        return _activate(file, file.require_header(), request)


def _activate(file: File, have: Header, request: Request) -> bool:
    # only behind the lock no other process can be about to activate it
    with rundir.locked(rundir.lock_name(file.st), file.path):
        actives = areas.read()
        if found := areas.active(file, actives):
            if not request.if_needed:
                name = f" as {found.area.name}" if found.area.name != file.path else ""
                raise Busy(f"is already active{name}", path=file.path)
            _warn_other(file, found, request)
            return False
        _warn_twin(file, actives)
        try:
            if file.is_ghost:
                _activate_ghost(file, have, request)
            else:
                _activate_ordinary(file, have, request)
        except PermissionError as error:
            raise _why_denied(file, error, len(actives)) from None
        if file.is_ghost or any(one.backend is not None for one in actives):
            try:
                _warn_order(file)
            except (OSError, Error) as error:
                words = "is active, but whether it keeps another area from being used cannot be told"
                report.warn(file.path, f"{words}: {report.describe(error)}")
    return True


def _warn_other(file: File, found: Active, request: Request) -> None:
    """Says that an area which is active already is so in another way than asked for."""
    report.trace(f"{file.path}: is active already as {found.area.name}")
    prio = request.options.prio
    if prio is None or prio < 0 or prio == found.area.prio:
        return
    report.warn(
        file.path,
        f"is active already, with priority {found.area.prio}, not {prio}",
        _with_priority(file.path, found, prio),
    )


def _with_priority(path: str, found: Active, prio: int) -> str:
    """The commands that give an active area another priority, for a hint."""
    from . import capacity

    held = next(iter(capacity.held([found], zswap.read_or_unknown())), None)
    again = [f"ghostctl off {quote(path)}", f"ghostctl on -p {prio} {quote(path)}"]
    return " && ".join(again if held is None else capacity.again(held, path, prio, None, None))


def _warn_twin(file: File, actives: Sequence[Active]) -> None:
    if twin := areas.twin(file, actives):
        path = quote(file.path)
        on = report.again("on", "--if-needed", otherwise=f"ghostctl on {path}")
        report.warn(
            file.path,
            f"has the UUID of {twin}, which is active: it is a copy",
            f"ghostctl off {path} && ghostctl label -U random {path} && {on}",
        )


def _why_denied(file: File, error: PermissionError, active: int) -> Error | PermissionError:
    if error.errno != errno.EPERM or os.geteuid() != 0:
        return error
    if active >= _LEAST_FULL:
        return Error(f"the kernel has no room for more than {active} areas", path=file.path)
    return Denied(
        str(error.strerror),
        path=file.path,
        hint=backends.WHY_DENIED,
    )


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
    if why := kernel.cannot_swap(kernel.filesystem(file.fd)):
        return why
    if file.st.st_blocks * 512 < file.st.st_size:
        return "the file has holes: write it whole, for example with dd"
    return "the kernel's log (dmesg) may say more"


def _activate_ghost(file: File, have: Header, request: Request) -> None:
    _check_header(file, request.force)
    _warn_permissions(file)
    first = "file" if request.backend == "auto" else request.backend
    names = dict.fromkeys((first, *request.fallback))
    refusals = []
    for name in names:
        backend = backends.get(name)
        report.trace(f"backend {name}: tried")
        try:
            _check_slot_memory(file, have, backend, request.force)
            with _zswap_for(file, request, backend):
                backend.activate(file, request.options)
        except Refused as error:
            report.trace(f"backend {name}: {error.what}")
            refusals.append(error)
            continue
        report.trace(f"{file.path}: active by backend {name}")
        for refusal in refusals:
            if refusal.hint:
                # not for want of ghosts in the kernel: the user can do something about it
                report.warn(
                    file.path, f"{refusal.what}: active by {name} instead", _once_off(file, refusal.hint)
                )
        return
    raise _refusal(file, refusals, names)


def _once_off(file: File, hint: str) -> str:
    # a command that activates it fails while it is active
    return f"ghostctl off {quote(file.path)} && {hint}" if hint.startswith("ghostctl on ") else hint


def _enabling(file: File) -> str:
    """The command that turns zswap on and activates the ghost, for a hint."""
    return report.again("on", "--enable-zswap", otherwise=f"ghostctl on --enable-zswap {quote(file.path)}")


def _refusal(file: File, refusals: list[Refused], tried: Collection[str]) -> Error:
    others = [
        name for name in backends.NAMES if name not in tried and backends.get(name).unavailable() is None
    ]
    reasons = "; ".join(dict.fromkeys(refusal.what for refusal in refusals))
    hints = [refusal.hint for refusal in refusals if refusal.hint]
    if others:
        words = ("--fallback", ",".join(others))
        hints.append(
            report.again("on", *words, otherwise=f"ghostctl on {' '.join(words)} {quote(file.path)}")
        )
    # only what another kernel could do is Unsupported
    kind = Unsupported if all(isinstance(refusal, Unsupported) for refusal in refusals) else Refused
    if "file" in tried and (why := kernel.cannot_swap(kernel.filesystem(file.fd))):
        hints.append(kernel.ON_ANOTHER_FILESYSTEM)
        reasons = why
    if not hints:
        hints.append("this kernel supports none of the fallback backends; boot a kernel with ghost swap")
    return kind(reasons, path=file.path, hint="  # or: ".join(hints))


def _check_header(file: File, force: bool) -> None:
    for problem in ghostfile.verify(file):
        if not problem.stops:
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


def slot_memory(pages: int, backend: backends.Backend) -> kernel.SlotMemory | None:
    """Kernel memory that activation takes at once for so many pages, held against what is available.

    None where that cannot be known.
    """
    try:
        available = kernel.read_meminfo()["MemAvailable"]
    except (OSError, KeyError):
        return None
    extra = pages * backend.extra_slot_bytes
    found = kernel.slot_memory(pages, available - extra)
    return found._replace(size=found.size + extra, limit=available)


def _check_slot_memory(file: File, have: Header, backend: backends.Backend, force: bool) -> None:
    needed = slot_memory(have.pages, backend)
    if needed is None or needed.exceeds is False:
        return
    declares = f"declares {human(have.size, ' ', 'iB')}: its slots"
    size, available = (human(number, " ", "iB") for number in (needed.size, needed.limit))
    if needed.exceeds is None:
        report.warn(
            file.path,
            f"{declares} take up to {size} of kernel memory, {available} are available; it may be far less, "
            "but which kind of kernel this is cannot be told: swapon(2) may fail or be killed",
        )
        return
    text = f"{declares} take about {size} of kernel memory or more, {available} are available"
    if not force:
        path = quote(file.path)
        forced = report.again("on", "--force", otherwise=f"ghostctl on --force {path}")
        raise NoMemory(text, path=file.path, hint=f"ghostctl resize {path} SIZE  # or: {forced}")
    report.warn(file.path, text)


@contextmanager
def _zswap_for(file: File, request: Request, backend: backends.Backend) -> Iterator[None]:
    """Checks zswap, or turns it on, and off again when the backend then cannot activate the ghost."""
    if not backend.needs_zswap:
        yield
        return
    try:
        state = zswap.read_or_unknown() if request.force else zswap.read()
    except (OSError, Error):
        if backend.unavailable() is None:
            raise
        state = zswap.UNKNOWN
    if state is not None and state.enabled:
        yield
        return
    # a refusal that is about to come has a reason that zswap would not cure
    if backend.unavailable() is not None:
        yield
        return
    if state is not None and request.enable_zswap:
        with zswap.applied({"enabled": "Y"}):
            report.trace("zswap turned on")
            yield
        return
    if state is None:
        what, hint = "this kernel has no zswap, so nothing could be swapped to a ghost", None
    elif state.enabled is None:
        what, hint = "cannot tell whether zswap is on: if not, nothing could be swapped to a ghost", None
    else:
        what = "zswap is off, so nothing could be swapped to a ghost"
        hint = _enabling(file)
    if not request.force:
        raise (Unsupported if state is None else Refused)(what, path=file.path, hint=hint)
    report.warn(file.path, what)
    yield


def _warn_order(file: File) -> None:
    """Warns of what keeps the new area, or because of it others, from being used as it should be."""
    from . import capacity

    now, state = areas.read(), zswap.read_or_unknown()
    own = areas.active(file, now)
    if own is None:
        return
    inside = capacity.held(now, state)
    for one in capacity.broken(inside, capacity.ordinary(now), state):
        if one.found.kept and own.area in (one.held.area, *one.found.kept):
            report.warn(one.held.ghost or one.held.area.name, one.problem, one.hint)
    for held in capacity.doubled((one for one in inside if one.area == own.area), state):
        report.warn(
            held.ghost or held.area.name,
            f"zswap is on, in front of {held.area.name}: {capacity.DOUBLED}",
            capacity.undouble(held, now),
        )


def warn_automatic_priority(path: str, request: Request, fstab_path: str) -> None:
    """Warns when a ghost that is now active may be used before, or in turn with, areas of fstab to come."""
    from . import capacity, fstab

    prio = request.options.prio
    if prio is not None and prio >= 0:
        return
    try:
        actives = areas.read()
        own = areas.find(path, actives, fstab_path)
        lines = list(fstab.iter_swap(fstab.read(fstab_path)))
    except (Error, OSError) as error:
        report.trace(str(error))
        return
    active = {os.path.realpath(one.area.name) for one in actives}
    others = [
        str(line.spec)
        for line in lines
        if str(line.spec).startswith("/") and os.path.realpath(str(line.spec)) not in active
        if line.option("pri") is None and not line.has_option("noauto") and not fstab.declares_ghost(line)
    ]
    if not others or own.backend is None:
        return
    higher = capacity.priority_above(one.area for one in actives if one.area != own.area)
    hint = _with_priority(path, own, higher)
    if any(fstab.is_for(line, path) for line in lines):
        from .fstabedit import set_command

        hint = set_command(path, [f"pri={higher}"], fstab_path)
    report.warn(
        path,
        "has no priority: the kernel may use it before, or in turn with, " + ", ".join(others),
        hint,
    )
