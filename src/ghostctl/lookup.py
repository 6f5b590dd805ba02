# SPDX-License-Identifier: GPL-2.0-or-later
"""From what a user calls an area (path, LABEL=, UUID=, name in /proc/swaps) to the file or device."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from . import fstab
from .errors import Error, NotFound
from .report import trace
from .swaps import Area

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
        raise Error(f"is ambiguous: {' and '.join(sorted(matches.values()))} have it", path=spec)
    return next(iter(matches.values()))


def _identity(st: os.stat_result) -> tuple[int, ...]:
    return (st.st_rdev,) if stat.S_ISBLK(st.st_mode) else (st.st_dev, st.st_ino)


def _candidates(areas: Sequence[Area], fstab_path: str) -> Iterator[str]:
    yield from (area.path for area in areas if area.name.startswith("/"))
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

    by_name = next((area for area in areas if area.path == spec), None)
    if by_name:
        return by_name
    path = resolve(spec, areas, fstab_path)
    try:
        st = os.stat(path)
    except OSError as error:
        raise NotFound(f"not active, and {error.strerror}", path=spec) from None
    for area in areas:
        if area.is_file(st):
            return area
    for realisation in backends.find(areas).values():
        try:
            if realisation.ghost and os.path.samestat(os.stat(realisation.ghost), st):
                return realisation.area
        except OSError:
            continue
    raise NotFound("is not active", path=spec)
