# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole of it in one command: what is there, what is to be there, and the steps between the two.

Size, pool and backend are those of `plan`, the line of fstab is that of `fstab add`. What is there already
stays as it is unless the command line asks for something else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from . import (
    areas,
    backends,
    bootcheck,
    capacity,
    declared,
    fstab,
    fstabedit,
    installation,
    kernel,
    lookup,
    plan,
    setuprecord,
    setupsteps,
    sizes,
    zswap,
)
from .areas import Active
from .errors import Denied, Error, NoMemory, NotFound, Unsupported
from .fstab import Declaration
from .report import again, describe, quote, trace
from .setuprecord import Noted
from .setupsteps import Manner, Step
from .sizes import human
from .swaps import Area, zram_number

_MAKERS = {
    "zram-generator": ("/etc/systemd/zram-generator.conf", "/usr/lib/systemd/zram-generator.conf"),
    "zram-tools": ("/etc/default/zramswap",),
}
"""What makes swap on zram at boot, by its configuration."""


class Asked(NamedTuple):
    """What the command line asks for; None leaves it to `plan`, or to what is there."""

    path: str | None = None
    size: int | None = None
    """In bytes."""
    priority: int | None = None
    fallback: tuple[str, ...] | None = None
    boot: bool = True
    """Also for the next boots."""
    fstab_path: str = fstab.PATH
    may_try: bool = False
    """Whether a throw-away ghost may be swapped on and off to know what the kernel takes."""


class Goal(NamedTuple):
    """What is to be there, and how to come to it."""

    path: str
    backend: str
    why: str
    """The reason for the backend."""
    size: int
    """In bytes, header page included."""
    limit: int | None
    """Bytes of memory that its pages may take, with those of others in the same pool; None: not known."""
    priority: int
    line: str | None
    """That of fstab; None without one."""
    notes: tuple[str, ...]
    """What is there and stays, as sentences."""
    steps: tuple[Step, ...]


class _Found(NamedTuple):
    """What is there."""

    now: plan.Now
    actives: list[Active]
    line: fstab.Line | None
    declared: Declaration | None
    """What the line says."""
    noted: list[Noted]
    """What setup has done before."""


def find(asked: Asked) -> Goal:
    """The goal on this machine. Raises `Unsupported`, `NoMemory`, `NotAGhost`, `Error` and `OSError`."""
    found = _look(asked)
    now = found.now
    size = _size(found, asked)
    percent, limit = _limit(found, asked, size)
    area = now.own and now.own.area
    prio = _priority(found, asked)
    steps: list[Step] = [
        *_zswap(found, asked, percent, size),
        *_ghost(found, size),
        *_area(found, asked, prio, limit),
    ]
    line = None
    if asked.boot:
        changes, line = _boot(found, asked, size, prio, limit)
        steps += changes
    backend = now.instead or "file"
    shown = area.prio if area is not None and asked.priority is None else prio
    notes = tuple(_notes(found, asked, size, shown))
    return Goal(now.path, backend, _why(now, backend, asked), size, limit, shown, line, notes, tuple(steps))


def _look(asked: Asked) -> _Found:
    actives, state = areas.read(), zswap.read()
    path = None
    if asked.path is not None:
        path = _real(asked.path)
    now = plan.look(actives, state, path=path, fstab_path=asked.fstab_path)
    if now.own is None and now.fallback is None and _takes_no_ghosts(actives, asked):
        now = now._replace(fallback=plan.instead(state))
    if asked.fallback is not None and now.fallback is not None:
        now = now._replace(fallback=_first(asked.fallback))
    if now.own is not None and now.declared is None:
        raise NotFound(
            "is active, but the file is not there", path=now.path, hint=f"ghostctl off {quote(now.path)}"
        )
    directory = os.path.dirname(now.path)
    if directory != lookup.GHOST_DIRECTORY and not os.path.isdir(directory):
        raise NotFound("no such directory", path=directory, hint=f"mkdir -p {quote(directory)}")
    line = _line_of(now.path, asked.fstab_path)
    said = None if line is None else declared.read(line, asked.fstab_path)
    return _Found(now, actives, line, said, _noted())


def _real(path: str) -> str:
    """Where a ghost is, as a line of fstab has it: without symbolic links in its directory."""
    return fstab.real_path(fstab.simplify(os.path.abspath(path)))


def _takes_no_ghosts(actives: Sequence[Active], asked: Asked) -> bool:
    """Whether a try has shown it; it is made where the symbols of the kernel do not tell."""
    if not asked.may_try or backends.takes_files(one.area for one in actives) is not None:
        return False
    from . import probe

    try:
        return not probe.probe()
    except (Error, OSError) as error:
        trace(f"whether this kernel takes ghosts is not known: {describe(error)}")
        return False


def _noted() -> list[Noted]:
    try:
        return setuprecord.read()
    except PermissionError as error:
        # of the dry run of a user
        trace(describe(error))
        return []


def _first(fallback: tuple[str, ...]) -> str:
    """The first of these backends that the kernel has."""
    reasons = []
    for name in fallback:
        reason = backends.get(name).unavailable()
        if reason is None:
            return name
        reasons.append(reason)
    raise Unsupported("; ".join(reasons))


def _fallback(found: _Found, asked: Asked) -> tuple[str, ...]:
    """The backends that are asked for, or those of its line and the one that this kernel needs."""
    if asked.fallback is not None:
        return asked.fallback
    said = found.declared.fallback if found.declared is not None else ()
    needed = found.now.instead
    return said if needed is None or needed in said else (*said, needed)


def _line_of(path: str, fstab_path: str) -> fstab.Line | None:
    try:
        lines = fstab.read(fstab_path)
    except FileNotFoundError:
        return None
    return next((line for line in fstab.iter_swap(lines) if fstab.is_for(line, path)), None)


def _size(found: _Found, asked: Asked) -> int:
    """In bytes: that which is asked for, declared, there, or planned."""
    if asked.size is not None:
        return _whole_pages(asked.size)
    return _declared_size(found) or found.now.declared or plan.choose(found.now, None, 1)[0].size


def _declared_size(found: _Found) -> int | None:
    """That which its line declares, in bytes."""
    if found.declared is None or found.declared.size is None:
        return None
    return _whole_pages(sizes.parse(found.declared.size))


def _whole_pages(size: int) -> int:
    page = sizes.page_size()
    return sizes.to_pages(size, page) * page


def _limit(found: _Found, asked: Asked, size: int) -> tuple[int | None, int | None]:
    """The limit of zswap's pool in percent of memory, None where it stays, and the limit in bytes."""
    now = found.now
    most = zswap.pool_limit(capacity.most_percent(now.memory), now.memory)
    if asked.size is not None and size + now.promised > most:
        rest = max(most - now.promised, 0)
        most_size = plan.written(rest >> 20 << 20)
        raise NoMemory(
            f"{human(size, ' ', 'iB')} are more than the memory that its pages may take "
            f"({human(rest, ' ', 'iB')}): once that is full, the machine hangs",
            path=now.path,
            hint=again("setup", "--size", most_size, otherwise=f"ghostctl setup --size {most_size}")
            if rest >> 20
            else None,
        )
    if now.is_zram:
        have = now.own.pool.limit if now.own is not None else found.declared and found.declared.memory_limit
        return None, have if have and have >= size else min(capacity.whole(size), most)
    percent = now.state.max_pool_percent if now.state is not None else None
    is_planned = asked.size is None and now.declared is None and _declared_size(found) is None
    wanted = plan.choose(now, None, 1)[0].percent if is_planned else percent or 0
    while zswap.pool_limit(wanted, now.memory) < min(size + now.promised, most):
        wanted += 1
    return None if wanted == percent else wanted, zswap.pool_limit(wanted, now.memory)


def _priority(found: _Found, asked: Asked) -> int:
    if asked.priority is not None:
        return asked.priority
    if found.declared is not None and (found.declared.priority or -1) >= 0:
        return int(found.declared.priority or 0)
    now = found.now
    return plan.priority(now.own and now.own.area, [*now.ordinary, *(one.area for one in now.others)])


def _zswap(found: _Found, asked: Asked, percent: int | None, size: int) -> Iterator[Step]:
    now, state = found.now, found.now.state
    if state is None:
        return
    values = {}
    if now.is_zram:
        if state.enabled and not _uses_zswap(now, found.actives):
            # what zswap takes never comes to zram
            values["enabled"] = "N"
    else:
        if not state.enabled:
            values["enabled"] = "Y"
        if percent is not None:
            values["max_pool_percent"] = str(percent)
    stays = _unpersisted(now, size, values, found.noted, asked)
    if not values and not stays:
        return
    old = setupsteps.read_zswap([*values, *stays])
    persisted = _persisted() if asked.boot else {}
    before = {name: persisted.get(name) for name in old} if asked.boot else None
    yield setupsteps.Zswap(old, {**values, **stays}, before)


def _unpersisted(
    now: plan.Now, size: int, values: Mapping[str, str], noted: Sequence[Noted], asked: Asked
) -> dict[str, str]:
    """Parameters that the ghost needs, and that are right now but not set for the next boots."""
    if not asked.boot:
        return {}
    wanted: dict[str, str] = {}
    for entry in noted:
        if isinstance(entry.step, setupsteps.Zswap):
            wanted |= entry.step.new
    percent = now.state.max_pool_percent if now.state is not None else None
    if not now.is_zram and percent is not None:
        usual = zswap.pool_limit(zswap.USUAL_POOL_PERCENT, now.memory)
        if size + now.promised > usual:
            wanted["max_pool_percent"] = str(percent)
    running, persisted = zswap.read_parameters(), _persisted() if wanted else {}
    return {
        name: value
        for name, value in wanted.items()
        if name not in values and running.get(name) == value and persisted.get(name) != value
        # what the kernel was booted with it may be booted with again
        if bootcheck.boot_parameter(f"zswap.{name}") != value
    }


def _persisted() -> dict[str, str]:
    try:
        return zswap.read_persistent()
    except Error as error:
        path = str(error.path)
        without = again("setup", "--no-boot", otherwise="ghostctl setup --no-boot")
        hint = f"mv -n {quote(path)} {quote(f'{path}.old')}  # or: {without}"
        raise Error(error.what, path=path, hint=hint) from None


def _uses_zswap(now: plan.Now, actives: list[Active]) -> bool:
    """Whether another area has its pages in zswap, or could."""
    return any(
        zram_number(one.area) is None for one in actives if now.own is None or one.area != now.own.area
    )


def _ghost(found: _Found, size: int) -> Iterator[Step]:
    now, said = found.now, found.declared
    if now.declared is None:
        uuid = said.uuid if said is not None and said.uuid else _new_uuid()
        label = said.label if said is not None and said.label else ""
        has_directory = os.path.isdir(os.path.dirname(now.path))
        yield setupsteps.Ghost(now.path, size, uuid, label, has_directory)
    elif now.declared != size:
        yield setupsteps.Resize(now.path, now.declared, size)


def _new_uuid() -> str:
    import uuid

    return str(uuid.uuid4())


def _area(found: _Found, asked: Asked, prio: int, limit: int | None) -> Iterator[Step]:
    now = found.now
    limit = limit if now.is_zram else None
    if now.own is None:
        said = found.declared or Declaration(())
        manner = Manner("auto", _fallback(found, asked), prio, said.discard, said.compressor, limit)
        yield setupsteps.Area(now.path, manner, None)
        return
    backend = now.own.backend or "file"
    active = next(one for one in found.actives if one.area == now.own.area)
    have = backends.get(backend).options(active)
    old = Manner(backend, (), *have)
    new = old
    if asked.priority is not None:
        new = replace(new, prio=prio)
    if asked.size is not None and now.is_zram and have.memory_limit and have.memory_limit < asked.size:
        new = replace(new, memory_limit=limit)
    if new != old:
        yield setupsteps.Area(now.path, new, old)


def _boot(found: _Found, asked: Asked, size: int, prio: int, limit: int | None) -> tuple[list[Step], str]:
    """The steps for the next boots, and the line of fstab in the end."""
    now, steps = found.now, list[Step]()
    limit = limit if now.is_zram and limit else capacity.whole(size)
    if found.line is None:
        options = plan.fstab_options(size, prio, _fallback(found, asked), limit)
        path = bootcheck.check_new(now.path, options, asked.fstab_path)
        raw, text = fstab.format_swap(path, options), declared.content(asked.fstab_path)
        is_open = bool(text) and not (text or b"").endswith(b"\n")
        line = os.fsdecode(raw)
        steps.append(setupsteps.Line(path, asked.fstab_path, line, None, text is None, is_open))
    else:
        line = os.fsdecode(found.line.raw)
        words = _changes(found, asked, size, limit)
        if words:
            changes = [fstabedit.parse_change(word) for word in words]
            edit = fstabedit.change(asked.fstab_path, now.path, changes, dry_run=True)
            new = os.fsdecode(edit.lines[0].raw)
            if new != line:
                steps.append(setupsteps.Line(now.path, asked.fstab_path, new, line, False, False))
                line = new
    is_for_systemd = asked.fstab_path == fstab.PATH and os.path.isdir("/run/systemd/system")
    if is_for_systemd and installation.find() is None:
        steps.append(setupsteps.Generator(installation.LOCAL))
    return steps, line.rstrip("\n")


def _changes(found: _Found, asked: Asked, size: int, limit: int) -> list[str]:
    """The options that its line must get or change."""
    said, now = found.declared, found.now
    assert said is not None
    words = []
    if asked.size is not None and _declared_size(found) != size:
        words.append(f"x-ghost.size={plan.written(size)}")
    if asked.priority is not None and said.priority != asked.priority:
        words.append(f"pri={asked.priority}")
    if (fallback := _fallback(found, asked)) != said.fallback:
        words.append(f"x-ghost.fallback={','.join(fallback)}")
    if now.is_zram and (said.memory_limit is None or (asked.size and said.memory_limit < size)):
        words.append(f"x-ghost.memory-limit={plan.written(limit)}")
    return words


def _why(now: plan.Now, backend: str, asked: Asked) -> str:
    release = kernel.release()
    if now.own is not None:
        return "it is active already"
    if backend == "file":
        return f"this kernel ({release}) takes ghosts, whose pages are in zswap"
    why = f"this kernel ({release}) takes no ghosts"
    if asked.fallback is not None:
        return f"{why}, and {backend} is the first that it has of those asked for"
    if backend == "dm":
        return f"{why}; with dm their pages are in zswap all the same, and charged to their cgroups"
    lacking = "there is no zswap" if now.state is None else backends.get("dm").unavailable()
    return f"{why}; {lacking}" if backend == "zram" and lacking is not None else why


def _notes(found: _Found, asked: Asked, size: int, prio: int) -> Iterator[str]:
    now = found.now
    if asked.size is None and now.declared == size:
        yield from _kept_size(now, size)
    said = found.declared.priority if found.declared is not None else None
    if now.own is not None and asked.priority is None and said not in (None, -1, prio):
        yield f"its line in {asked.fstab_path} has priority {said}, which the next boot gives it"
    for one in found.actives:
        if now.own is None or one.area != now.own.area:
            yield f"{one.ghost or one.area.name} ({_kind(one)}) stays: {_order(one.area, prio)}"
    if found.declared is not None and found.declared.noauto:
        yield f"its line in {asked.fstab_path} has noauto: boots do not activate it"
    if now.is_zram and now.state is not None and now.state.enabled and _uses_zswap(now, found.actives):
        yield f"zswap stays on for the other areas, in front of zram: {capacity.DOUBLED}"


def _kept_size(now: plan.Now, size: int) -> Iterator[str]:
    try:
        planned = plan.choose(now, None, 1)[0].size
    except Error as error:
        trace(describe(error))
        return
    have, better = human(size, " ", "iB"), human(planned, " ", "iB")
    if have != better:
        yield (
            f"{now.path} declares {have}, which stays; plan proposes {better}: --size {plan.written(planned)}"
        )


def _kind(one: Active) -> str:
    kind = f"{one.area.type}, {human(one.area.size, ' ', 'iB')}, priority {one.area.prio}"
    if one.backend is None and zram_number(one.area) is not None:
        for maker, paths in _MAKERS.items():
            if any(map(os.path.exists, paths)):
                return f"{kind}, of {maker}"
    return kind


def _order(area: Area, prio: int) -> str:
    if area.prio == prio:
        return "it is used in turn with the ghost"
    return f"it is used {'before' if area.prio > prio else 'after'} the ghost"


def made(path: str | None) -> list[Noted]:
    """The steps of the record, in the order to take them back in; of a `path`, those for this ghost.

    With its last ghost the rest goes, too. Raises `NotFound` for another path, `Error` and `OSError`.
    """
    try:
        entries = setuprecord.in_order(setuprecord.read())
    except PermissionError:
        raise Denied("only root can tell what setup has made", path=setuprecord.PATH) from None
    if path is None:
        return entries
    real = _real(path)
    paths = {setupsteps.path_of(entry.step) for entry in entries} - {None}
    if real not in paths:
        raise NotFound("setup has not made it", path=path)
    return [entry for entry in entries if paths == {real} or setupsteps.path_of(entry.step) == real]
