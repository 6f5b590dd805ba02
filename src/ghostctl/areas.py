# SPDX-License-Identifier: GPL-2.0-or-later
"""The active areas, the ghost that each was made for, and which of them a user means.

An area is what /proc/swaps calls it; a ghost is a file, by device and inode. An area belongs to a ghost when
it is that file, or when a backend made it for that file: path and UUID are recorded on it. While a ghost with
that UUID is at that path, no other file is the one; a ghost that was moved is known by its UUID.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from . import fstab, ghostfile, lookup, rundir, swaps
from .errors import Busy, Denied, Error, NoAreaList, NotAGhost, NotFound
from .report import describe, quote, trace
from .swaps import Area

if TYPE_CHECKING:
    from .ghostfile import File


class Active(NamedTuple):
    """An active area and the ghost that it was made for."""

    area: Area
    path: str
    """A path that leads to it, for swapoff(2): its name, or what the user called it."""
    backend: str | None = None
    """None for an ordinary area."""
    ghost: str | None = None
    """Where its ghost was when it became active, if that is known."""
    uuid: str | None = None
    """The UUID of that ghost, where it had one."""
    file: str | None = None
    """What tells the file of that ghost from all others (`rundir.lock_name`), where the kernel says it."""
    doubt: OSError | None = None
    """Why it cannot be told which ghost it was made for, or whether for one."""


def look_at(area: Area) -> Active:
    """One area, as the backend that made it knows it."""
    from . import backends

    for name in backends.NAMES:
        try:
            found = backends.get(name).recognise(area)
        except OSError as error:
            trace(f"{area.name}: {describe(error)}")
            return Active(area, area.name, doubt=error)
        if found is not None:
            return found
    return Active(area, area.name)


def read() -> list[Active]:
    """All active areas, in the kernel's order. Raises `NoAreaList` and `OSError`, as `swaps.read`."""
    actives = list(map(look_at, swaps.read()))
    if any(one.doubt for one in actives):
        # a device that is just being taken down cannot be opened, and is no area any more
        now = swaps.read()
        actives = [one for one in actives if not one.doubt or any(map(one.area.is_same, now))]
    return actives


def identity(st: os.stat_result) -> tuple[int, ...]:
    """What a file or device is, whatever path leads to it."""
    if stat.S_ISBLK(st.st_mode) or stat.S_ISCHR(st.st_mode):
        return stat.S_IFMT(st.st_mode), st.st_rdev
    return st.st_dev, st.st_ino


def _identity_of(area: Area) -> tuple[int, ...] | None:
    """What an area is; None when its name does not lead to it from here: unlinked, or hidden by a mount."""
    paths = [area.name] if area.name.startswith("/") else []
    elsewhere = area.type == "partition" and os.path.dirname(area.name) == "/"
    if elsewhere:
        # /zram1 instead of /dev/zram1: made active in another mount namespace, whose /dev is not this one
        paths.append(f"/dev{area.name}")
    for path in paths:
        with suppress(OSError):
            st = os.stat(path)
            if stat.S_ISBLK(st.st_mode) or not elsewhere:
                return None if _is_swap_file(path, st) is False else identity(st)
    return None


def _is_swap_file(path: str, st: os.stat_result) -> bool | None:
    """Whether the kernel swaps to a file; None where that cannot be asked: by a user, of a device, read-only.

    copy_file_range(2), here of no bytes from the file to itself, refuses the file of an active area with
    ETXTBSY, and changes nothing in another: generic_copy_file_checks() of fs/read_write.c.
    """
    if not stat.S_ISREG(st.st_mode):
        return None
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return None
    except OSError as error:
        # EROFS: it may be only this mount that is read-only, as in a service with ProtectSystem=
        trace(f"{path}: {error.strerror}", 2)
        return None
    try:
        if identity(os.fstat(fd)) != identity(st):
            return None
        os.copy_file_range(fd, fd, 0)
    except OSError as error:
        trace(f"{path}: {error.strerror}", 2)
        return True if error.errno == errno.ETXTBSY else None
    finally:
        os.close(fd)
    return False


def active(file: File, actives: Sequence[Active] | None = None) -> Active | None:
    """The area that an open file is, or that was made for it; None when it is not active.

    Without /proc/swaps the kernel is asked about the file itself, and the backends about what they have made.
    Raises `Denied` and `Error` when it cannot be told.
    """
    if actives is None:
        try:
            actives = read()
        except NoAreaList as error:
            trace(str(error))
            if _is_swap_file(file.path, file.st):
                return Active(Area(file.path, "file", 0, 0, 0), file.path)
            actives = made()
    return _that_is(file.path, file.st, actives) or _made_for(file, actives)


def refuse_active(file: File) -> None:
    """Raises `Busy` when the file is an active area, or one was made for it; else as `active`."""
    if found := active(file):
        raise busy(file, found)


def busy(file: File, found: Active) -> Busy:
    """What keeps a file from being changed while this area is active."""
    name = f" as {found.area.name}" if found.area.name != file.path else ""
    return Busy(f"is an active swap area{name}", path=file.path, hint=f"ghostctl off {quote(file.path)}")


def made() -> list[Active]:
    """What the backends have made and can tell without /proc/swaps; it may be active."""
    from . import backends

    return [look_at(area) for name in backends.NAMES for area in backends.get(name).made()]


def _that_is(path: str, st: os.stat_result, actives: Sequence[Active]) -> Active | None:
    """The area that swapon(2) of the file or device itself has made."""
    own = identity(st)
    lost = []
    for one in actives:
        other = _identity_of(one.area)
        if other == own:
            return one._replace(path=path)
        if other is None and one.area.type not in ("partition", "xswap"):
            lost.append(one)
    if not lost or not stat.S_ISREG(st.st_mode):
        return None
    is_one = _is_swap_file(path, st)
    if is_one is None:
        if os.geteuid() == 0:
            raise Error("cannot tell whether it is active: the kernel does not say", path=path)
        raise Denied("only root can tell whether it is active", path=path)
    if not is_one:
        return None
    if len(lost) > 1:
        names = " or ".join(one.area.name for one in lost)
        raise Error(f"is active, but it cannot be told whether as {names}", path=path)
    return lost[0]._replace(path=path)


def is_listed(st: os.stat_result) -> bool:
    """Whether /proc/swaps lists this very file or device. Raises as `swaps.read`."""
    return any(_identity_of(area) == identity(st) for area in swaps.read())


def _made_for(file: File, actives: Sequence[Active]) -> Active | None:
    """The area that a backend has made for a ghost."""
    doubtful = None
    for one in actives:
        if one.doubt is not None:
            doubtful = one.doubt
        elif one.backend not in (None, "file") and _is_ghost_of(one, file):
            return one
    if doubtful is not None and stat.S_ISREG(file.st.st_mode):
        raise _cannot_tell(file.path, doubtful)
    return None


def _is_ghost_of(one: Active, file: File) -> bool:
    # it would have the UUID, whatever is at the area's own path
    if file.header is None or file.header.uuid_text != one.uuid:
        return False
    original = _original(one)
    return one.uuid is not None if original is None else original == identity(file.st)


def _original(one: Active) -> tuple[int, ...] | None:
    """The ghost that is where the area's was and has its UUID; None when there is no such file any more.

    Raises `Denied` and `Error` when it cannot be looked at.
    """
    if one.ghost is None:
        return None
    try:
        with ghostfile.look(one.ghost) as file:
            same = file.header is not None and (
                file.header.uuid_text == one.uuid
                if one.file is None
                else rundir.lock_name(file.st) == one.file
            )
            return identity(file.st) if same else None
    except (FileNotFoundError, NotADirectoryError, NotAGhost):
        return None
    except OSError as error:
        raise _cannot_tell(one.ghost, error) from None


def _cannot_tell(path: str, why: OSError) -> Error:
    if isinstance(why, PermissionError):
        return Denied("only root can tell whether it is active", path=path)
    reason = why.strerror if why.filename == path else describe(why)
    return Error(f"cannot tell whether it is active: {reason}", path=path)


def ghost_of(one: Active, actives: Sequence[Active], fstab_path: str = fstab.PATH) -> str | None:
    """Where the ghost of an area is now; None when it is nowhere to be found, or only root could find it."""
    try:
        if one.backend is None or one.ghost == one.area.name or _original(one) is not None:
            return one.ghost
        if one.uuid is None:
            return None
        path = lookup.resolve(f"UUID={one.uuid}", actives, fstab_path)
    except (OSError, Error) as error:
        trace(str(error))
        return None
    return None if path == one.area.name else path


def find(spec: str, actives: Sequence[Active], fstab_path: str = fstab.PATH) -> Active:
    """The area that `spec` names: a path, a label or UUID, or a name in /proc/swaps that is no path.

    Raises `NotFound` when nothing is active there, `Denied` and `Error` when that cannot be told.
    """
    named = next((one for one in actives if one.area.name == spec), None)
    if named is not None and not spec.startswith("/"):
        return named
    path = lookup.resolve(spec, actives, fstab_path)
    try:
        st = os.stat(path)
    except OSError as error:
        found = named or _by_place(path, actives)
        if found is not None:
            return found
        doubtful = next((one.doubt for one in actives if one.doubt), None)
        if isinstance(error, FileNotFoundError | NotADirectoryError) and doubtful is None:
            raise NotFound(f"not active, and {error.strerror}", path=spec) from None
        raise _cannot_tell(spec, doubtful or error) from None
    found = _that_is(path, st, actives)
    # only what a backend has made or may have made is worth a look into the file
    if found is None and any(one.backend or one.doubt for one in actives):
        try:
            with ghostfile.look(path) as file:
                found = _made_for(file, actives)
        except NotAGhost:
            pass
        except OSError as error:
            raise _cannot_tell(spec, error) from None
    if found is None:
        raise NotFound("is not active", path=spec)
    return found


def _by_place(path: str, actives: Sequence[Active]) -> Active | None:
    """The area that was made for the ghost that is gone from this place."""
    place = os.path.realpath(path)
    return next((one for one in actives if one.ghost == place), None)


def twin(file: File, actives: Sequence[Active]) -> str | None:
    """The ghost of an active area that has the UUID of this file, of which one is a copy of the other."""
    if file.header is None or file.header.uuid_text is None:
        return None
    for one in actives:
        if one.ghost is not None and _uuid(one) == file.header.uuid_text:
            return one.ghost
    return None


def _uuid(one: Active) -> str | None:
    if one.ghost != one.area.name:
        return one.uuid
    try:
        with ghostfile.look(one.area.name) as file:
            return file.header and file.header.uuid_text
    except (OSError, Error) as error:
        trace(f"{one.area.name}: {error}")
        return None
