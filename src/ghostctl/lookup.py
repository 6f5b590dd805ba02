# SPDX-License-Identifier: GPL-2.0-or-later
"""From what a user calls an area (path, LABEL=, UUID=, name in /proc/swaps) to the file or device."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from . import fstab, swaps
from .errors import Error, NotFound
from .report import trace
from .swaps import Area

if TYPE_CHECKING:
    from .backends import Realisation
    from .ghostfile import File

GHOST_DIRECTORY = "/var/lib/ghost"
"""The usual place for ghosts."""

_LINKS = {"PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel", "ID": "by-id"}


def tag(spec: str) -> tuple[str, str] | None:
    """``("LABEL", "x")`` of ``LABEL=x`` or ``LABEL="x"``; None for anything else."""
    key, equals, value = spec.partition("=")
    if equals and key in ("LABEL", "UUID", *_LINKS):
        return key, value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return None


def resolve(spec: str, areas: Sequence[Area] = (), fstab_path: str = fstab.PATH) -> str:
    """The path (or name in /proc/swaps) of an area.

    Labels and UUIDs are looked up among the active `areas`, the files that the swap lines of fstab name,
    `GHOST_DIRECTORY`, and block devices. Raises `NotFound`, and `Error` when two have the same.
    """
    found = tag(spec)
    if found is None:
        return spec
    key, value = found
    if key in _LINKS:
        return f"/dev/disk/{_LINKS[key]}/{value}"
    wanted = (key, value.lower() if key == "UUID" else value)
    from . import ghostfile

    matches: dict[tuple[int, ...], str] = {}
    for path in _candidates(areas, fstab_path):
        try:
            with ghostfile.look(path) as file:
                own = file.header and {"LABEL": file.header.label_text, "UUID": file.header.uuid_text}.get(
                    key
                )
                if own == wanted[1]:
                    matches.setdefault(_identity(file.st), path)
        except (OSError, Error) as error:
            trace(f"{spec}: passed over {path}: {error}", 2)
    for path in _devices(key, wanted[1]):
        matches.setdefault(_identity(os.stat(path)), path)
    if not matches:
        raise NotFound("no such swap area", path=spec)
    if len(matches) > 1:
        # a device that stands in for the ghost found is not another one
        matches = {key: path for key, path in matches.items() if not _stands_in(path)} or matches
    if len(matches) > 1:
        raise Error(f"is ambiguous: {' and '.join(sorted(matches.values()))} have it", path=spec)
    return next(iter(matches.values()))


def _stands_in(path: str) -> bool:
    from . import ghostfile

    if not path.startswith("/dev/"):
        return False
    try:
        with ghostfile.look(path) as file:
            return file.header is not None and file.header.stands_in_for is not None
    except (OSError, Error):
        return False


def _identity(st: os.stat_result) -> tuple[int, ...]:
    return (st.st_rdev,) if stat.S_ISBLK(st.st_mode) else (st.st_dev, st.st_ino)


def _candidates(areas: Sequence[Area], fstab_path: str) -> Iterator[str]:
    yield from (area.path for area in areas if area.name.startswith("/"))
    if areas:
        from . import backends

        yield from (found.ghost for found in backends.find(areas).values() if found.ghost)
    try:
        for line in fstab.iter_swap(fstab.read(fstab_path)):
            if line.spec is not None and line.spec.startswith("/"):
                yield line.spec
    except OSError as error:
        trace(f"{fstab_path}: {error.strerror}", 2)
    try:
        with os.scandir(GHOST_DIRECTORY) as entries:
            yield from sorted(entry.path for entry in entries if entry.is_file(follow_symlinks=False))
    except OSError as error:
        trace(f"{GHOST_DIRECTORY}: {error.strerror}", 2)


def _devices(key: str, value: str) -> Iterator[str]:
    from . import blockdev

    for device in blockdev.iter_swap():
        if (device.label if key == "LABEL" else device.uuid) == value:
            yield device.path


def find_active(spec: str, areas: Sequence[Area], fstab_path: str = fstab.PATH) -> Area:
    """The active area that `spec` names, or that realises the ghost it names. Raises `NotFound`."""
    from . import backends

    by_name = next((area for area in areas if spec in (area.path, area.name)), None)
    if by_name:
        return by_name
    path = resolve(spec, areas, fstab_path)
    what = "is not active"
    try:
        st = os.stat(path)
    except OSError as error:
        what = f"not active, and {error.strerror}"
        deleted = os.path.realpath(path)
        found = next((found for found in backends.find(areas).values() if found.ghost == deleted), None)
        area = found and found.area
    else:
        area = swaps.find(areas, st) or _standing_in_for(path, areas)
    if area is None:
        raise NotFound(what, path=spec)
    return area


def _standing_in_for(path: str, areas: Sequence[Area]) -> Area | None:
    from . import backends, ghostfile

    realisations = backends.find(areas)
    if not realisations:
        return None
    try:
        with ghostfile.look(path) as file:
            return realising(file, realisations)
    except (OSError, Error) as error:
        trace(f"{path}: {error}")
        return None


def active_area(file: File, areas: Sequence[Area]) -> Area | None:
    """The active area that `file` is, or that realises it."""
    from . import backends

    return swaps.find(areas, file.st) or realising(file, backends.find(areas))


def realising(file: File, realisations: Mapping[str, Realisation]) -> Area | None:
    """The active area that realises the ghost `file`: known by UUID or, without one, by its path."""
    uuid = file.header and file.header.uuid_text
    for found in realisations.values():
        if found.uuid == uuid and (uuid is not None or _is_at(file, found.ghost)):
            return found.area
    return None


def _is_at(file: File, path: str | None) -> bool:
    try:
        return path is not None and os.path.samestat(os.stat(path), file.st)
    except OSError:
        return False


def ghost_of(realisation: Realisation, areas: Sequence[Area]) -> str | None:
    """Path of the ghost file that an area realises, which may have moved; None when it is gone."""
    from . import ghostfile

    if realisation.ghost == realisation.area.path:
        return realisation.ghost
    if realisation.ghost is not None:
        try:
            with ghostfile.look(realisation.ghost) as file:
                if realising(file, {"": realisation}):
                    return realisation.ghost
        except (OSError, Error) as error:
            trace(f"{realisation.area.name}: {error}")
    if realisation.uuid is None:
        return None
    try:
        path = resolve(f"UUID={realisation.uuid}", areas)
    except (OSError, Error) as error:
        trace(str(error))
        return None
    return None if _stands_in(path) else path


def is_ghost(line: fstab.Line, areas: Sequence[Area], fstab_path: str) -> bool:
    """Whether a swap line declares a ghost or names the file of one."""
    if fstab.declares_ghost(line):
        return True
    from . import ghostfile

    try:
        with ghostfile.look(resolve(str(line.spec), areas, fstab_path)) as file:
            return file.is_ghost
    except (OSError, Error):
        return False
