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
    try:
        path = lookup.resolve(str(line.spec), areas.read(), fstab_path)
        return activation.activate(path, request.declared(declared))
    except (FileNotFoundError, NotFound):
        if not (declared.nofail or pass_over):
            raise
        report.trace(f"{line.spec}: does not exist, passed over")
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


def start(edit: Edit, path: str, fstab_path: str) -> Edit:
    """Makes and activates the ghost of a line that has just been added.

    When that fails, the line and a file that it made are taken back, and what it raised goes on.
    """
    (line,) = edit.lines
    declared = fstab.declare(line)
    existed, made = os.path.lexists(path), False
    try:
        made = declared.size is not None and make(declared, path)
        request = activation.Request(if_needed=True)
        activated = activate(line, declared, request, fstab_path)
    except BaseException:
        is_active = _is_active(path)
        if is_active is not False:
            # what failed, or a signal, came after that
            words = "is active" if is_active else "cannot tell whether it is active"
            report.warn(path, f"{words}: its line in {fstab_path} stays")
            raise
        if edit.changed:
            fstabedit.take_back(fstab_path, edit)
            report.warn(path, f"is not active: its line in {fstab_path} was taken back")
        if made and not existed:
            os.unlink(path)
        raise
    return edit._replace(changed=edit.changed or made or activated)


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
