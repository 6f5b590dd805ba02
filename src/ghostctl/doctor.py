# SPDX-License-Identifier: GPL-2.0-or-later
"""Can this machine use ghosts, and is it set up well: checks, each with what it saw and what to do."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from . import backends, capacity, fstab, fstabedit, generator, kernel, lookup, plan, sizes, zswap
from .areas import Active
from .errors import Error, NotAGhost, SizeError
from .machine import Ghost, Machine
from .report import describe
from .sizes import human
from .swaps import Area

Status = Literal["OK", "WARN", "FAIL"]

LEAST_POOL_PERCENT = 10
"""A smaller pool is hardly worth the slots of a ghost; the kernel's default is 20."""
_LEAST_THRESHOLD = 50
"""Of accept_threshold_percent, which is 90 by default: a full pool that takes pages again only when it is
nearly empty takes none for long."""
_SLOT_MEMORY_SHARE = 10
_CGROUPS = "sys/fs/cgroup"
_VSWAP = "sys/kernel/debug/vswap"
_TIERS = "sys/kernel/mm/swap/tiers"
_RESUME_CONF = "etc/initramfs-tools/conf.d/resume"


class Finding(NamedTuple):
    """What a check saw."""

    status: Status
    seen: str
    fix: tuple[str, ...] = ()
    """Commands for a shell, to be run in this order."""


def _check_kernel(machine: Machine) -> Iterator[Finding]:
    offers = machine.interfaces
    seen = f"{kernel.release()}: {offers}"
    if os.path.isdir(machine.at(_VSWAP)):
        seen += "; vswap: zswap keeps pages without any area, so a ghost may add nothing"
    others = sorted({str(one.backend) for one in machine.active_ghosts if one.backend != "file"})
    if offers.has_ghosts:
        yield Finding("OK", seen)
    elif others:
        yield Finding("OK", f"{seen}; ghosts are active through {', '.join(others)}")
    elif None in offers[1:]:
        yield Finding("WARN", f"{seen}; {backends.NO_SYSFS}")
    elif offers.file is None:
        yield Finding("WARN", f"{seen}; only a try can tell", ("ghostctl doctor --probe",))
    elif machine.doubtful:
        yield Finding("WARN", f"{seen}; {_doubt(machine)}")
    elif machine.instead is not None:
        seen += f"; no ghost swap, but {machine.instead} can do its work"
        yield Finding("FAIL", seen, _proposal(machine))
    else:
        yield Finding("FAIL", f"{seen}; no ghost swap, and nothing in its place: another kernel is needed")


def _doubt(machine: Machine) -> str:
    names = ", ".join(one.area.name for one in machine.doubtful)
    if all(isinstance(one.doubt, PermissionError) for one in machine.doubtful):
        return f"only root can tell whether {names} was made for a ghost"
    reasons = "; ".join(describe(one.doubt) for one in machine.doubtful if one.doubt)
    return f"cannot tell whether {names} was made for a ghost: {reasons}"


def _proposal(machine: Machine) -> tuple[str, ...]:
    """The commands of ghostctl plan; only the activation of a ghost that is there."""
    if any(ghost.header for ghost in machine.ghosts):
        return _on(machine)
    try:
        now = plan.look(machine.actives, machine.state, machine.root)
        chosen, _ = plan.choose(now, None, 1)
    except NotAGhost:
        # what is in its place is another check's matter
        return ()
    commands = plan.commands(now, chosen, plan.priority(None, machine.areas))
    parent = os.path.dirname(now.path)
    made = parent == lookup.GHOST_DIRECTORY or os.path.isdir(machine.at(parent))
    return (*(() if made else (f"mkdir -p {shlex.quote(parent)}",)), *commands)


def _good_size(machine: Machine) -> str:
    now = plan.look(machine.actives, machine.state, machine.root)
    return f"{plan.choose(now, None, 1)[0].size >> 20}M"


def _make(machine: Machine, path: str, size: str | None = None, *options: str) -> str:
    line = machine.line_of(path)
    declared = line.option("x-ghost.size") if line is not None else None
    words = ("ghostctl", "mkghost", *options, "-s", size or declared or _good_size(machine), path)
    parent = os.path.dirname(path)
    # mkghost makes the usual directory
    exists = parent == lookup.GHOST_DIRECTORY or os.path.isdir(machine.at(parent))
    return ("" if exists else f"mkdir -p {shlex.quote(parent)} && ") + shlex.join(words)


def _needs_zswap(machine: Machine) -> bool:
    """Whether the active ghosts are in zswap, or those to come would be."""
    active = machine.active_ghosts
    if active:
        return any(backends.get(str(one.backend)).needs_zswap for one in active)
    return _would_need_zswap(machine)


def _would_need_zswap(machine: Machine) -> bool:
    """Whether ghosts to come would be in zswap."""
    instead = machine.instead
    if machine.interfaces.has_ghosts is not False:
        return True
    return instead is not None and backends.get(instead).needs_zswap


def _check_zswap(machine: Machine) -> Iterator[Finding]:
    state = machine.state
    behind = capacity.doubled((one for one in machine.held if one.is_ghost), state)
    if behind:
        names = ", ".join(one.ghost or one.area.name for one in behind)
        in_zswap = any(one.pool.name == "zswap" for one in machine.held)
        off = tuple(f"ghostctl off {shlex.quote(one.ghost or one.area.name)}" for one in behind)
        yield Finding(
            "WARN",
            f"on, in front of the zram of {names}: {capacity.DOUBLED}; "
            + ("zswap has ghosts of its own" if in_zswap else f"the other way out: {' && '.join(off)}"),
            off if in_zswap else (capacity.DISABLE_ZSWAP,),
        )
    elif state is not None and state.enabled:
        yield Finding("OK", " ".join(filter(None, ("on,", state.compressor, state.zpool))))
    elif not _needs_zswap(machine):
        yield Finding("OK", "not needed: no ghost is in zswap, or could be")
    elif state is None:
        yield Finding("FAIL", "this kernel has no zswap: nothing could be swapped to a ghost")
    else:
        yield Finding(
            "FAIL",
            "is off: nothing can be swapped to a ghost",
            ("ghostctl zswap set enabled=yes --persist",),
        )


def _check_pool(machine: Machine) -> Iterator[Finding]:
    ordinary = capacity.ordinary(machine.actives, machine.held)
    for group in capacity.by_pool(one for one in machine.held if one.is_ghost).values():
        pool = group[0].pool
        if pool.name != "zswap":
            most = "all memory" if pool.limit is None else human(pool.limit)
            ghost = group[0].ghost or group[0].area.name
            yield _pool_finding(pool, f"{pool.name} of {ghost} may take {most}", group, ordinary)
    state = machine.state
    if state is None or not _needs_zswap(machine):
        yield Finding("OK", "no zswap" if state is None else "zswap's is not needed")
        return
    if state.max_pool_percent is None or state.pool_limit is None:
        yield Finding("WARN", "cannot tell what the pool may take: neither /proc/meminfo nor /sys says so")
        return
    percent, memory = state.max_pool_percent, machine.memory
    seen = f"may take {human(state.pool_limit)}, {percent}% of memory"
    fix = f"ghostctl zswap set max_pool_percent={capacity.pool_percent(percent, memory)} --persist"
    if percent < LEAST_POOL_PERCENT:
        yield Finding("FAIL", f"{seen}: too little to be of use", (fix,))
    elif percent > capacity.most_percent(memory):
        yield Finding("WARN", f"{seen}: too little is left beside a full one", (fix,))
    else:
        group = [one for one in machine.held if one.pool.name == "zswap"]
        yield _pool_finding(capacity.zswap_pool(state), seen, group, ordinary)
    threshold = state.accept_threshold_percent
    if threshold is not None and threshold < _LEAST_THRESHOLD:
        yield Finding(
            "WARN",
            f"once full it takes no page until it is below {threshold}% of its limit",
            ("ghostctl zswap set accept_threshold_percent=90 --persist",),
        )


def _pool_finding(
    pool: capacity.Pool, seen: str, group: list[capacity.Held], ordinary: list[Area]
) -> Finding:
    """A pool is too full where that keeps free slots from being used."""
    # with zswap off that is what is wrong
    if group and pool.most and (alarm := capacity.alarm(group, ordinary)):
        return Finding("WARN", f"{seen}; {alarm}")
    return Finding("OK", seen if pool.fill is None else f"{seen}; {pool.fill}% of it is in use")


def _inactive(machine: Machine) -> Iterator[capacity.Held]:
    """The ghosts that are not active, as the areas that they would be in zswap's pool."""
    if not _would_need_zswap(machine):
        return
    pool = capacity.zswap_pool(machine.state)
    for ghost in machine.ghosts:
        if ghost.header is not None and machine.active(ghost) is None:
            size = ghost.header.size - ghost.header.page_size
            prio = _priority_to_be(machine, ghost.path)
            yield capacity.Held(Area(ghost.path, "ghost", size >> 10, 0, prio), pool, ghost.path)


def _priority_to_be(machine: Machine, path: str) -> int:
    """That of its line in fstab, or the one to make it active with."""
    declared = machine.declared(path)
    prio = declared.priority if declared is not None else None
    return plan.priority(None, machine.areas) if prio is None or prio < 0 else prio


def _settled(machine: Machine) -> zswap.Zswap | None:
    """zswap as it is once the check of the pool has been obeyed."""
    state = machine.state
    if state is None or state.max_pool_percent is None:
        return state
    memory = machine.memory
    if LEAST_POOL_PERCENT <= state.max_pool_percent <= capacity.most_percent(memory):
        return state
    percent = capacity.pool_percent(state.max_pool_percent, memory)
    limit = zswap.pool_limit(percent, memory)
    return state._replace(max_pool_percent=percent, pool_limit=limit)


def _check_size(machine: Machine) -> Iterator[Finding]:
    state, ordinary = _settled(machine), capacity.ordinary(machine.actives)
    # an area without a file, or with one that this user may not read, declares as much as any
    ghosts = [one for one in capacity.held(machine.actives, state, machine.root) if one.is_ghost]
    ghosts += [one._replace(pool=capacity.zswap_pool(state)) for one in _inactive(machine)]
    broken = capacity.broken(ghosts, ordinary, state, machine.root)
    for group in capacity.by_pool(ghosts).values():
        limit, declared = capacity.limit_of(group[0].pool), sum(one.area.size for one in group)
        if limit is None:
            yield Finding("OK", "this kernel does not say what their pool may take")
            continue
        of = "zswap's pool" if group[0].pool.name == "zswap" else group[0].pool.name
        headers = len(group) * sizes.page_size()
        seen = f"{human(declared + headers)} declared, {of} may take {human(limit)}"
        wrong = [one for one in broken if one.held in group]
        if wrong:
            fixes = [command for one in wrong for command in (*one.fix, *_edit_size(machine, one))]
            seen += ": once that is full, nothing goes on to another area"
            yield Finding("FAIL", seen, tuple(dict.fromkeys(fixes)))
        elif declared > limit:
            names = ", ".join(area.name for area in ordinary)
            yield Finding("OK", f"{seen}; {names} has the higher priority and takes the rest")
        else:
            yield Finding("OK", seen)
    if not ghosts:
        yield Finding("OK", "no ghost declares anything")


def _edit_size(machine: Machine, one: capacity.Broken) -> list[str]:
    """What has fstab declare the same."""
    path, size = one.held.ghost, one.found.share
    declared = machine.declared(path) if path is not None else None
    if path is None or declared is None:
        return []
    changes = []
    if size and declared.size is not None:
        changes.append(f"x-ghost.size={size >> 20}M")
    if one.limit:
        changes.append(f"x-ghost.memory-limit={one.limit >> 20}M")
    return _edit_fstab(path, *changes) if changes else []


def _edit_fstab(path: str, *changes: str) -> list[str]:
    """The command; none for a name that no terminal shows as it is."""
    return [fstabedit.set_command(path, changes)] if path.isprintable() else []


def _check_slots(machine: Machine) -> Iterator[Finding]:
    ghosts = [ghost for ghost in machine.ghosts if ghost.header]
    total = sizes.ram_bytes()
    pages = sum(ghost.header.pages for ghost in ghosts if ghost.header)
    extra = sum(
        ghost.header.pages * backends.get(active.backend).extra_slot_bytes
        for ghost in ghosts
        if ghost.header and (active := machine.active(ghost)) and active.backend
    )
    needed = kernel.slot_memory(pages, total // _SLOT_MEMORY_SHARE - extra, machine.at(kernel.KALLSYMS))
    seen = f"{human(needed.size + extra)} of kernel memory for the slots of {_count(len(ghosts), 'ghost')}"
    if needed.exceeds is not False:
        unknown = "" if needed.exceeds else ", or far less: the kernel's symbols do not tell which kind it is"
        yield Finding("WARN", f"{seen}: more than {100 // _SLOT_MEMORY_SHARE}% of {human(total)}{unknown}")
    elif machine.unreadable:
        yield Finding("WARN", _only_root(machine))
    else:
        yield Finding("OK", f"at most {seen}")


def _file_check(ids: frozenset[str] | None, fine: str) -> Callable[[Machine], Iterator[Finding]]:
    """A check for some problems of `ghostfile.verify`; None takes those of no other check."""

    def check(machine: Machine) -> Iterator[Finding]:
        found = False
        for ghost in machine.ghosts:
            problems = [p for p in ghost.problems if (p.id in ids if ids else p.id not in _OWN_CHECK)]
            if not problems:
                continue
            found = True
            fixes = dict.fromkeys(_fix_file(machine, ghost, problem.id) for problem in problems)
            is_ours = ghost.header is not None or machine.line_of(ghost.path) or machine.active(ghost)
            yield Finding(
                "FAIL" if is_ours and any(problem.severity == "error" for problem in problems) else "WARN",
                f"{ghost.path}: {'; '.join(problem.message for problem in problems)}",
                tuple(filter(None, fixes)),
            )
        if machine.unreadable:
            yield Finding("WARN", _only_root(machine))
        elif not found:
            yield Finding("OK", fine.format(_count(len(machine.ghosts), "ghost")))

    return check


_OWN_CHECK = frozenset({"pagesize", "holes", "mode", "owner"})


def _only_root(machine: Machine) -> str:
    return f"only root can look at {', '.join(machine.unreadable)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _fix_file(machine: Machine, ghost: Ghost, problem: str) -> str:
    path, quoted = ghost.path, shlex.quote(ghost.path)
    if problem == "mode":
        return f"chmod 600 {quoted}"
    if problem == "owner":
        return f"chown root: {quoted}"
    if problem == "hibernation":
        return ""
    declared = machine.declared(path)
    size = declared.size if declared is not None else None
    if ghost.header is None:
        # whatever it is, it is not thrown away; in the usual directory it would be taken for a ghost again
        directory, name = os.path.split(path)
        away = os.path.dirname(directory) if directory == lookup.GHOST_DIRECTORY else directory
        move = f"mv -n {quoted} {shlex.quote(os.path.join(away, f'{name}.old'))}"
        return f"{move} && {_make(machine, path, size)}" if declared is not None else move
    if ghost.header.pages >= sizes.MIN_PAGES:
        size = str(ghost.header.size)
    if problem == "filesystem":
        path = os.path.join(lookup.GHOST_DIRECTORY, os.path.basename(path))
    make = _make(machine, path, size, "--if-needed")
    held = next((one for one in machine.held if one.ghost == ghost.path), None)
    if held is None or path != ghost.path:
        return make
    down, on = capacity.again(held, path, held.area.prio, None, None)
    return f"{down} && {make} && {on}"


def _check_active(machine: Machine) -> Iterator[Finding]:
    if machine.active_ghosts:
        yield Finding("OK", ", ".join(one.ghost or one.area.name for one in machine.active_ghosts))
    elif machine.doubtful:
        yield Finding("WARN", _doubt(machine))
    elif not machine.ghosts and machine.unreadable:
        yield Finding("WARN", f"only root can tell: {', '.join(machine.unreadable)} cannot be read")
    elif not machine.ghosts:
        yield Finding("WARN", "no ghost is there", _proposal(machine))
    else:
        yield Finding("WARN", "no ghost is active", _on(machine))


def _on(machine: Machine) -> tuple[str, ...]:
    """The commands that make the ghost of the machine active."""
    path = machine.example
    quoted, declared = shlex.quote(path), machine.declared(path)
    options, before = [], []
    instead = machine.instead if machine.interfaces.has_ghosts is False else None
    if instead is not None and instead != "zram":
        options.append(f"--fallback {instead}")
    elif instead is not None:
        given = declared.memory_limit if declared is not None else None
        limit = given or capacity.zram_limit(None, machine.memory)
        size = next((ghost.header.size for ghost in machine.ghosts if ghost.header), limit)
        options.append("--fallback zram")
        if declared is not None and declared.compressor:
            options.append(f"--compressor {shlex.quote(declared.compressor)}")
        options.append(f"--memory-limit {capacity.whole(min(size, limit)) >> 20}M")
        if size > limit:
            before.append(f"ghostctl resize {quoted} {limit >> 20}M")
        if machine.state is not None and machine.state.enabled:
            before.append(capacity.DISABLE_ZSWAP)
    options.append(f"-p {_priority_to_be(machine, path)}")
    return (*before, " ".join(("ghostctl on", *options, quoted)))


def _check_priority(machine: Machine) -> Iterator[Finding]:
    found = False
    ordinary = [one.area for one in machine.actives if one.backend is None and one.area.is_ordinary]
    for ghost in machine.active_ghosts:
        above = [area for area in ordinary if area.prio > ghost.area.prio]
        if _is_overflow(machine, ghost, above):
            above = []
        beside = [area for area in ordinary if area.prio == ghost.area.prio]
        fix = tuple(_raise(machine, ghost, above + beside)) if above + beside else ()
        for others, words in ((above, "is above"), (beside, "has the same priority as")):
            if not others:
                continue
            found = True
            names = ", ".join(other.name for other in others)
            kind = "compresses as well" if any(map(_is_zram, others)) else "is slower"
            then = "gets pages only once it is full" if others is above else "and it get pages in turn"
            yield Finding(
                "WARN",
                f"{names} {words} {ghost.ghost or ghost.area.name} and {kind}: the ghost {then}",
                fix,
            )
            fix = ()
    if not found:
        text = ", ".join(f"{area.name} {area.prio}" for area in machine.areas) or "no active area"
        tiers = " ".join(machine.text(_TIERS).split())
        yield Finding("OK", f"{text}; tiers by priority: {tiers}" if tiers else text)


def _is_zram(area: Area) -> bool:
    return area.name.startswith("/dev/zram")


def _is_overflow(machine: Machine, ghost: Active, above: list[Area]) -> bool:
    """An ordinary area above ghosts that declare more than their pool may take is how it should be."""
    group = next(
        (
            group
            for group in capacity.by_pool(machine.held).values()
            if any(one.area == ghost.area for one in group)
        ),
        [],
    )
    if not group or any(map(_is_zram, above)):
        return False
    limit = group[0].pool.limit
    return limit is not None and sum(one.area.size for one in group if one.is_ghost) > limit


def _raise(machine: Machine, ghost: Active, above: list[Area]) -> Iterator[str]:
    held = next((one for one in machine.held if one.area == ghost.area), None)
    if ghost.ghost is None or held is None:
        return
    # -1 would leave it to the kernel again
    higher = max(0, *(other.prio + 1 for other in above))
    if higher <= fstab.LARGEST_PRIORITY:
        yield from capacity.again(held, ghost.ghost, higher, None, None)
        if machine.line_of(ghost.ghost) is not None:
            yield from _edit_fstab(ghost.ghost, f"pri={higher}")
        return
    for other in above:
        quoted = shlex.quote(other.name)
        yield f"ghostctl off {quoted}"
        yield f"ghostctl on -p {max(ghost.area.prio - 1, 0)} {quoted}"


def _check_fstab(machine: Machine) -> Iterator[Finding]:
    lines = [line for line in fstab.iter_swap(machine.lines) if _is_ghost_line(line)]
    found = False
    for line in lines:
        for finding in _check_line(machine, line):
            found = True
            yield finding
    for line in machine.lines:
        for words in fstab.misplaced(line) if line not in lines else ():
            found = True
            yield Finding("WARN", f"line {line.number}: {words}")
    if not found:
        yield Finding("OK", f"{_count(len(lines), 'line')} for ghosts")


def _is_ghost_line(line: fstab.Line) -> bool:
    return fstab.declares_ghost(line) or str(line.spec).startswith(lookup.GHOST_DIRECTORY + "/")


def _check_line(machine: Machine, line: fstab.Line) -> Iterator[Finding]:
    path = str(line.spec)
    where = f"line {line.number}, {path}"
    size = line.option("x-ghost.size")
    try:
        declared = fstab.declare(line)
        if fstab.declares_ghost(line):
            generator.boot_path(line)
        for words in declared.warnings:
            yield Finding("WARN", f"{where}: {words}")
    except SizeError as error:
        size = _good_size(machine)
        yield Finding("FAIL", f"{where}: {error.what}", tuple(_edit_fstab(path, f"x-ghost.size={size}")))
    except fstab.LineError as error:
        yield Finding("FAIL", f"{where}: {error.what}")
    if path.startswith("/"):
        yield from _check_path(machine, path, where, size)
    if line.has_option("x-systemd.makefs"):
        edit = _edit_fstab(path, "x-systemd.makefs=")
        yield Finding("FAIL", f"{where}: systemd refuses x-systemd.makefs of a file", tuple(edit))
    if not line.has_option("nofail") and not line.has_option("noauto"):
        edit = _edit_fstab(path, "nofail")
        yield Finding("WARN", f"{where}: no nofail, so swap.target fails when the ghost does", tuple(edit))


def _check_path(machine: Machine, path: str, where: str, size: str | None) -> Iterator[Finding]:
    from . import ghostfile

    if not os.path.lexists(machine.at(path)):
        yield Finding("FAIL", f"{where}: the file does not exist", (_make(machine, path, size),))
        return
    try:
        with ghostfile.look(machine.at(path)):
            pass
    except NotAGhost as error:
        yield Finding("FAIL", f"{where}: {error.what}")
    except OSError as error:
        yield Finding("WARN", f"{where}: {error.strerror}")


def _assignments(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in text.split())}


def _check_resume(machine: Machine) -> Iterator[Finding]:
    words = _assignments(machine.read("proc/cmdline"))
    configured = _assignments(machine.text(_RESUME_CONF))
    sources = (
        (words.get("resume"), words.get("resume_offset"), "kernel command line"),
        (configured.get("RESUME"), None, f"/{_RESUME_CONF}"),
    )
    found = False
    for resume, offset, source in sources:
        if resume is None:
            continue
        ghost = next((ghost for ghost in machine.ghosts if _is_resume(ghost, resume, offset)), None)
        if ghost is None:
            continue
        found = True
        if source.startswith("/"):
            fixes = [f"echo RESUME=none > {source}", "update-initramfs -u"]
        else:
            script = 's|resume_offset=[^" ]* *||g; s|resume=[^" ]* *||g'
            fixes = [f"sed -i '{script}' /etc/default/grub", "update-grub", "reboot"]
        seen = f"{source}: resume={resume} is the ghost {ghost.path}, which can hold no hibernation image"
        yield Finding("FAIL", seen, tuple(fixes))
    if not found:
        yield Finding("OK", "no resume= leads to a ghost")


def _is_resume(ghost: Ghost, resume: str, offset: str | None) -> bool:
    if resume in (ghost.path, f"file:{ghost.path}"):
        return True
    tag = lookup.tag(resume)
    if ghost.header is not None and tag is not None and offset is None:
        names = {"LABEL": ghost.header.label_text, "UUID": ghost.header.uuid_text}
        return tag[1] == names.get(tag[0])
    return offset is not None and offset.isdecimal() and int(offset) == ghost.block


def _check_swappiness(machine: Machine) -> Iterator[Finding]:
    value = machine.read("proc/sys/vm/swappiness").strip()
    if value == "0":
        yield Finding(
            "WARN",
            "vm.swappiness is 0: the kernel swaps only when nothing else is left",
            ("sysctl -w vm.swappiness=60",),
        )
    else:
        yield Finding("OK", f"vm.swappiness is {value}")


def _check_cgroup(machine: Machine) -> Iterator[Finding]:
    if not backends.has_sysfs(machine.root):
        raise Error(backends.NO_SYSFS)
    if not _needs_zswap(machine):
        yield Finding("OK", "no ghost is in zswap")
        return
    limited = []
    most = machine.memory
    for directory, _, _ in os.walk(machine.at(_CGROUPS)):
        name = os.path.relpath(directory, machine.root)
        zswap_max = sizes.natural(machine.text(f"{name}/memory.zswap.max").strip())
        swap_max = sizes.natural(machine.text(f"{name}/memory.swap.max").strip())
        # "max" is no number, nor is what is not there
        if zswap_max is not None and zswap_max < most and (swap_max is None or swap_max > zswap_max):
            limited.append((f"/{name}", zswap_max))
    if limited:
        names = ", ".join(f"{name} ({human(limit)})" for name, limit in limited[:3])
        yield Finding(
            "WARN",
            f"{_count(len(limited), 'cgroup')} may have more in swap than in zswap, so in a ghost: {names}; "
            "what zswap does not take stays in memory",
            tuple(f"echo max > {shlex.quote(name + '/memory.zswap.max')}" for name, _ in limited),
        )
    else:
        yield Finding("OK", "no cgroup is kept from zswap")


class Check(NamedTuple):
    """One entry of the table of checks."""

    id: str
    run: Callable[[Machine], Iterator[Finding]]
    explanation: str


CHECKS = (
    Check(
        "kernel",
        _check_kernel,
        "A ghost needs a kernel with ghost swap. Three interfaces exist, none of them in mainline: swapon(2) "
        "of a ghost file (file), the device /dev/ghostswap (ghostswap), and /sys/kernel/mm/xswap (xswap). "
        "Whether files are taken is known from an active ghost, from --probe, which swaps a throw-away ghost "
        "on and off, or from the kernel's symbols. Any kernel with the device mapper or zram can do without: "
        "ghostctl on --fallback dm,zram, or x-ghost.fallback=dm,zram in fstab.",
    ),
    Check(
        "zswap",
        _check_zswap,
        "A ghost has no storage: its pages live in zswap, or nowhere. With zswap off a page that gets a slot "
        "stays in memory, so that the swap looks used and nothing is gained. "
        "--persist keeps it on at the next boots.",
    ),
    Check(
        "pool",
        _check_pool,
        "max_pool_percent of memory is what zswap may take for compressed pages. A full pool of a ghost "
        "cannot be written back to anything: it refuses pages until some of them are needed again or freed.",
    ),
    Check(
        "size",
        _check_size,
        "Declare no more than the pool may take: zswap's, or the zram device of the ghost. A page never "
        "takes more than a page of it, so the slots run out before the pool does, and the kernel goes on to "
        "the next area or ends a process in time. When the pool runs out first, pages keep their slots and "
        "stay in memory: the machine stalls, or the OOM killer ends processes, with free swap in free(1). "
        "An ordinary area of higher priority makes a larger ghost harmless. ghostctl plan says how much "
        "memory compression leaves.",
    ),
    Check(
        "slots",
        _check_slots,
        "swapon(2) takes kernel memory for the slots that an area declares, whether they are used or not: "
        "about 0.8 MiB for each GiB on Linux 6.12, 24 KiB on 7.2. Which of them this kernel is like is "
        "looked up only when it matters.",
    ),
    Check(
        "page-size",
        _file_check(frozenset({"pagesize"}), "right in {}"),
        "A ghost is one page of the kernel that activates it: the magic stands at the end of the page. One "
        "made for pages of another size (arm64 has 4, 16 or 64 KiB) must be rewritten.",
    ),
    Check(
        "holes",
        _file_check(frozenset({"holes"}), "none in {}"),
        "swapon(8) refuses a file whose allocated blocks are fewer than its size. Copying with cp --sparse "
        "or restoring a backup makes such files on filesystems with small blocks.",
    ),
    Check(
        "permissions",
        _file_check(frozenset({"mode", "owner"}), "right on {}"),
        "Only root may read or write a swap area: mode 0600, owner root. Whoever can write a ghost can "
        "change what the next boot declares.",
    ),
    Check(
        "header",
        _file_check(None, "sound in {}"),
        "What else ghostctl verify finds: signature, version, CRC of the tag, size, filesystem.",
    ),
    Check("active", _check_active, "A declared area does nothing until it is active: ghostctl on."),
    Check(
        "priority",
        _check_priority,
        "The kernel fills the area of highest priority first. zram above a ghost compresses the same pages "
        "and leaves the ghost empty; a disk above it is slower, and right only where the ghost declares "
        "more than the pool holds. Areas of equal priority are used in turn. The kernel's own priorities "
        "fall in the order of swapon on Linux 6.12, and are all -1 on 7.2: set pri= in fstab.",
    ),
    Check(
        "fstab",
        _check_fstab,
        "The lines of fstab that declare ghosts: their files exist or x-ghost.size says how to make them, "
        "sizes make sense, and nofail keeps a boot going on a kernel without ghost swap. ghostctl fstab "
        "check looks closer at each line.",
    ),
    Check(
        "resume",
        _check_resume,
        "Hibernation writes memory to a swap area on disk. A ghost has no disk: the kernel leaves it out, "
        "and a boot with resume= on a ghost looks for an image that cannot be there. A ghost by dm is a "
        "device like others to what chooses an area by itself; hibernation to it fails, and the machine goes "
        "on: set resume= to a real area.",
    ),
    Check(
        "swappiness",
        _check_swappiness,
        "vm.swappiness weighs swapping against dropping file pages. Swapping to memory is cheap: the "
        "default of 60 is fine, up to 200 makes sense, 0 keeps ghosts empty until memory has run out.",
    ),
    Check(
        "cgroup",
        _check_cgroup,
        "memory.zswap.max=0 keeps the pages of a cgroup out of zswap. With a ghost as the only area, what "
        "runs in it is killed when it should be swapped.",
    ),
)


def examine(machine: Machine) -> Iterator[tuple[str, Finding]]:
    """Every check's findings, one or more each, in the order of the table; one that fails costs no other."""
    for check in CHECKS:
        try:
            for finding in check.run(machine):
                yield check.id, finding
        except (OSError, Error) as error:
            yield check.id, Finding("WARN", f"cannot tell: {describe(error)}")


def verdict(machine: Machine, statuses: Iterable[Status]) -> str:
    """What all of it comes to, in one sentence without a full stop."""
    found = list(statuses)
    counts = ((found.count("FAIL"), "wrong"), (found.count("WARN"), "to look at"))
    rest = ", ".join(f"{count} {what}" for count, what in counts if count) or "all is well"
    return f"{_state(machine)}; {rest}"


def _state(machine: Machine) -> str:
    try:
        active = machine.active_ghosts
        if not active and machine.doubtful:
            return _doubt(machine)
    except (OSError, Error) as error:
        return f"whether a ghost is active cannot be told ({describe(error)})"
    if active:
        others = sorted({str(one.backend) for one in active if one.backend != "file"})
        through = f" through {', '.join(others)}" if others else ""
        return f"{_count(len(active), 'ghost')} {'is' if len(active) == 1 else 'are'} active{through}"
    offers = machine.interfaces
    if offers.has_ghosts is None:
        can = "whether this kernel takes ghosts is not known"
    elif offers.has_ghosts or machine.instead is not None:
        can = "ghosts can be used" + ("" if offers.has_ghosts else f" through {machine.instead}")
    else:
        return f"this kernel ({kernel.release()}) can use no ghosts"
    there = bool(machine.ghosts) or any(map(fstab.declares_ghost, machine.lines))
    return f"{can}, and none is active" if there else f'{can}, and none is set up: "ghostctl setup" does it'
