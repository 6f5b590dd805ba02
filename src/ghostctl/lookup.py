# SPDX-License-Identifier: GPL-2.0-or-later
"""From what a user calls an area (path, LABEL=, UUID=) to the path of the file or device."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from . import blockdev, fstab, ghostfile, sizes
from .errors import Denied, Error, NotFound
from .report import trace

if TYPE_CHECKING:
    from .areas import Active

GHOST_DIRECTORY = "/var/lib/ghost"
"""The usual place for ghosts."""

_LINKS = {"PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel", "ID": "by-id"}


def tag(spec: str) -> tuple[str, str] | None:
    """``("LABEL", "x")`` of ``LABEL=x``, ``LABEL="x"`` or ``LABEL='x'``; None for anything else.

    As blkid_parse_tag_string() of libblkid reads them: a value ends at the last quote of the kind that it
    begins with, and without one it is no tag.
    """
    key, equals, value = spec.partition("=")
    if not equals or key not in ("LABEL", "UUID", *_LINKS):
        return None
    if value.startswith(("'", '"')):
        value, quote, _ = value[1:].rpartition(value[0])
        if not quote:
            return None
    return key, value


class _Named(NamedTuple):
    """A file or device that has a label and a UUID."""

    path: str
    label: str | None
    uuid: str | None
    is_made: bool = False
    """A device that a backend made for a ghost, and that has the names of the ghost."""


def resolve(spec: str, actives: Sequence[Active] = (), fstab_path: str = fstab.PATH) -> str:
    """The path of an area.

    Labels and UUIDs are looked up among the `actives`, the files that the swap lines of fstab name,
    `GHOST_DIRECTORY`, and block devices. Raises `NotFound`, `Denied` when only root could look, and `Error`
    when two have the same.
    """
    found = tag(spec)
    if found is None:
        return spec
    key, value = found
    if key in _LINKS:
        return f"/dev/disk/{_LINKS[key]}/{blockdev.encode(value)}"
    denied: list[str] = []
    names = chain(_iter_files(actives, fstab_path, denied), _iter_devices(denied))
    if key == "UUID":
        having = [named for named in names if named.uuid == value.lower()]
    else:
        label = value.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        having = [named for named in names if named.label == label]
    matches = {_identity(named.path): named.path for named in reversed(having) if not named.is_made}
    # the device that was made for a ghost counts only when the ghost is gone
    matches = matches or {_identity(named.path): named.path for named in having}
    if len(matches) > 1:
        raise Error(f"is ambiguous: {' and '.join(sorted(matches.values()))} have it", path=spec)
    if matches:
        return next(iter(matches.values()))
    # what root may not read, by a device cgroup for example, it cannot swap to either
    if denied and os.geteuid() != 0:
        raise Denied(f"only root can tell: {', '.join(dict.fromkeys(denied))} cannot be read", path=spec)
    if not os.path.isdir("/sys/class/block"):
        raise Error("cannot tell: /sys is not mounted, which lists the block devices", path=spec)
    raise NotFound("no such swap area", path=spec)


def _identity(path: str) -> tuple[int, ...]:
    st = os.stat(path)
    return (st.st_rdev,) if stat.S_ISBLK(st.st_mode) else (st.st_dev, st.st_ino)


def _iter_files(actives: Sequence[Active], fstab_path: str, denied: list[str]) -> Iterator[_Named]:
    """What may be a ghost, and the active areas; what only root may read goes into `denied`."""
    made = {one.area.name for one in actives if one.backend is not None and one.ghost != one.area.name}
    for path in dict.fromkeys(_candidates(actives, fstab_path, denied)):
        try:
            with ghostfile.look(path) as file:
                have = file.header
        except PermissionError:
            denied.append(path)
        except (OSError, Error) as error:
            trace(f"passed over {path}: {error}", 2)
        else:
            if have is not None:
                yield _Named(path, have.label_text, have.uuid_text, path in made or have.made_for is not None)


def _iter_devices(denied: list[str]) -> Iterator[_Named]:
    for device in blockdev.iter_swap(denied):
        yield _Named(device.path, device.label, device.uuid, device.is_made)


def _candidates(actives: Sequence[Active], fstab_path: str, denied: list[str]) -> Iterator[str]:
    for one in actives:
        if one.area.name.startswith("/"):
            yield one.area.name
        if one.ghost is not None:
            yield one.ghost
    try:
        for line in fstab.iter_swap(fstab.read(fstab_path)):
            if line.spec is not None and line.spec.startswith("/"):
                yield line.spec
    except OSError as error:
        trace(f"{fstab_path}: {error.strerror}", 2)
    try:
        with os.scandir(GHOST_DIRECTORY) as entries:
            yield from sorted(entry.path for entry in entries if entry.is_file(follow_symlinks=False))
    except PermissionError:
        denied.append(GHOST_DIRECTORY)
    except OSError as error:
        trace(f"{GHOST_DIRECTORY}: {error.strerror}", 2)


def is_ghost(line: fstab.Line, actives: Sequence[Active], fstab_path: str) -> bool:
    """Whether a swap line declares a ghost or names the file of one.

    Raises `Denied` when only root can tell.
    """
    if fstab.declares_ghost(line):
        return True
    path = str(line.spec)
    try:
        path = resolve(path, actives, fstab_path)
        with ghostfile.look(path) as file:
            return file.is_ghost
    except PermissionError:
        denied = [path]
    except Denied:
        # a label or UUID: a block device that has it is no ghost
        denied = []
        for _ in _iter_files(actives, fstab_path, denied):
            pass
    except (OSError, Error) as error:
        trace(f"{line.spec}: {error}")
        return False
    if any(map(_may_be_ghost, denied)):
        raise Denied("only root can tell whether it is a ghost", path=line.spec)
    return False


def _may_be_ghost(path: str) -> bool:
    """Whether what only root may read can be a ghost, a regular file of one page, or a directory with one."""
    try:
        st = os.stat(path)
    except OSError:
        return True
    return path == GHOST_DIRECTORY or (stat.S_ISREG(st.st_mode) and st.st_size in sizes.PAGE_SIZES)
