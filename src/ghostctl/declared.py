# SPDX-License-Identifier: GPL-2.0-or-later
"""A ghost as a line of fstab declares it: made, and activated."""

from __future__ import annotations

import os
from collections.abc import Sequence

from . import (
    activation,
    areas,
    fstab,
    fstabedit,
    ghostfile,
    ghostwrite,
    header,
    labels,
    lookup,
    report,
    sizes,
)
from .areas import Active
from .errors import Error, NotFound, Unsupported, UsageError
from .fstab import Declaration, Line
from .fstabedit import Edit
from .header import Header


def read(line: Line, fstab_path: str) -> Declaration:
    """What a line declares; its warnings are said. Raises `LineError`, `SizeError`, with its number."""
    where = f"{fstab_path}:{line.number}"
    try:
        found = fstab.declare(line)
    except UsageError as error:
        error.path = where
        raise
    for words in found.warnings:
        report.warn(where, words)
    return found


def make(declared: Declaration, path: str) -> bool:
    """Makes the ghost of a line that declares a size, as the boot does; false when it is there already.

    Raises as `ghostwrite.create`.
    """
    page_size = sizes.page_size()
    new = header.ghost(
        sizes.to_pages(sizes.parse(declared.size or ""), page_size),
        page_size,
        uuid=labels.parse_uuid(declared.uuid or "random"),
        label=labels.parse_label(declared.label or ""),
    )
    request = ghostwrite.Request(
        new, if_needed=True, keep_uuid=declared.uuid is None, keep_label=declared.label is None
    )
    return ghostwrite.create(path, request).changed


def locate(spec: str, actives: Sequence[Active], fstab_path: str, *, pass_over: bool) -> str | None:
    """The path of what is to be activated; None for what does not exist, with `pass_over`.

    Raises `OSError`, and as `lookup.resolve`.
    """
    try:
        path = lookup.resolve(spec, actives, fstab_path)
        os.stat(path)
    except (FileNotFoundError, NotFound):
        if not pass_over:
            raise
        report.trace(f"{spec}: does not exist, passed over")
        return None
    return path


def activate(
    line: Line,
    declared: Declaration,
    request: activation.Request,
    fstab_path: str,
    *,
    pass_over: bool = False,
) -> bool:
    """Activates what a line names, as it declares; false when that is active already, or passed over.

    With `pass_over`, and with nofail, what does not exist is. Raises as `activation.activate`.
    """
    path = locate(str(line.spec), areas.read(), fstab_path, pass_over=declared.nofail or pass_over)
    if path is None:
        return False
    try:
        return activation.activate(path, request.declared(declared))
    except Unsupported as error:
        if not declared.skips:
            raise
        report.warn(line.spec, f"skipped: {error.what}")
    return False


def warn_stale(path: str, have: Header) -> None:
    """Warns when fstab still declares another size or label for a ghost that has just been changed."""
    try:
        lines = fstab.read()
    except OSError as error:
        report.trace(report.describe(error))
        return
    for line in fstab.iter_swap(lines):
        if not (fstab.declares_ghost(line) and fstab.is_for(line, os.path.abspath(path))):
            continue
        try:
            declared = fstab.declare(line)
            size = have.size if declared.size is None else sizes.parse(declared.size)
            label = have.label if declared.label is None else header.cut_label(os.fsencode(declared.label))
        except UsageError as error:
            report.trace(f"{fstab.PATH}:{line.number}: {error}")
            continue
        changes = []
        if size // have.page_size != have.pages:
            changes.append(f"x-ghost.size={have.size}")
        if label != have.label:
            changes.append(f"x-ghost.label={have.label_text or ''}")
        if changes:
            what = "size" if changes[0].startswith("x-ghost.size") else "label"
            report.warn(
                path,
                f"line {line.number} of {fstab.PATH} declares another {what}",
                fstabedit.set_command(str(line.spec), changes),
            )


def add(fstab_path: str, path: str, options: fstabedit.Options) -> Edit:
    """Adds the line of a ghost, makes the ghost and activates it.

    When that fails, line and ghost are as they were, unless it has become active. Raises as
    `fstabedit.add`, `make` and `activate`.
    """
    raw = fstab.format_swap(path, options)
    line = Line(raw)
    declared, before = fstab.declare(line), content(fstab_path)
    existed, old = os.path.lexists(path), _header(path)
    try:
        edit = fstabedit.add(fstab_path, path, options)
        made = declared.size is not None and make(declared, path)
        activated = activate(line, declared, activation.Request(if_needed=True), fstab_path)
    except BaseException:
        if (content(fstab_path), os.path.lexists(path), _header(path)) != (before, existed, old):
            _undo(fstab_path, path, raw, before, old, existed=existed)
        raise
    return edit._replace(changed=edit.changed or made or activated)


def content(fstab_path: str) -> bytes | None:
    """The bytes of an fstab; None without one. Raises `OSError`."""
    try:
        return b"".join(line.raw for line in fstab.read(fstab_path))
    except FileNotFoundError:
        return None


def _header(path: str) -> Header | None:
    """That of a ghost; None for anything else."""
    try:
        with ghostfile.look(path) as file:
            return file.header if file.is_ghost else None
    except (OSError, Error):
        return None


def _undo(
    fstab_path: str, path: str, raw: bytes, before: bytes | None, old: Header | None, *, existed: bool
) -> None:
    is_active = _is_active(path)
    if is_active is not False:
        # what failed, or a signal, came after that
        words = "is active" if is_active else "cannot tell whether it is active"
        report.warn(path, f"{words}: its line in {fstab_path} stays")
        return
    try:
        if fstabedit.take_back(fstab_path, raw, before):
            report.warn(path, f"is not active: its line in {fstab_path} was taken back")
        if old is not None:
            ghostwrite.create(path, ghostwrite.Request(old, if_needed=True))
        elif not existed and os.path.lexists(path):
            os.unlink(path)
    except (OSError, Error) as error:
        report.error(error)


def _is_active(path: str) -> bool | None:
    try:
        with ghostfile.look(path) as file:
            return areas.active(file) is not None
    except FileNotFoundError:
        return False
    except (OSError, Error) as error:
        report.trace(report.describe(error))
        return None


def pending(fstab_path: str) -> list[Line]:
    """The lines of ghosts that are to be activated at boot and are not active, so far as can be told."""
    actives = areas.read()
    return [
        line for line in fstab.iter_swap(fstab.read(fstab_path)) if _is_pending(line, actives, fstab_path)
    ]


def _is_pending(line: Line, actives: Sequence[Active], fstab_path: str) -> bool:
    if line.has_option("noauto"):
        return False
    try:
        if not lookup.is_ghost(line, actives, fstab_path):
            return False
        areas.find(str(line.spec), actives, fstab_path)
    except Error:
        # not active, or the activation will say what is wrong
        return True
    report.trace(f"{line.spec}: is already active")
    return False
