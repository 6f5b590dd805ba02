# SPDX-License-Identifier: GPL-2.0-or-later
"""Can this machine use ghosts, and is it set up well: checks, each with what it saw and what to do."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from . import backends, capacity, fstab, generator, kernel, lookup, plan, report, sizes
from .areas import Active
from .errors import Error, NotAGhost, SizeError
from .machine import Ghost, Machine
from .report import describe
from .sizes import human
from .swaps import Area

Status = Literal["OK", "WARN", "FAIL"]

LEAST_POOL_PERCENT = 10
"""A smaller pool is hardly worth the slots of a ghost; the kernel's default is 20."""
_POOL_PERCENT = 20
_NEARLY_FULL = 90
_SLOT_MEMORY_SHARE = 10
_LARGEST_PRIORITY = 32767
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
    elif None in (offers.ghostswap, offers.xswap, offers.zram):
        yield Finding("WARN", f"{seen}; {backends.NO_SYSFS}")
    elif offers.file is None:
        yield Finding("WARN", f"{seen}; only a try can tell", ("ghostctl doctor --probe",))
    elif machine.doubtful:
        yield Finding("WARN", f"{seen}; {_doubt(machine)}")
    elif offers.zram:
        make = () if machine.ghosts else (_make(machine, machine.example),)
        yield Finding(
            "FAIL",
            f"{seen}; no ghost swap, but zram can stand in",
            (*make, _on(machine)),
        )
    else:
        yield Finding("FAIL", f"{seen}; no ghost swap, and nothing to stand in: another kernel is needed")


def _doubt(machine: Machine) -> str:
    names = ", ".join(one.area.name for one in machine.doubtful)
    if all(isinstance(one.doubt, PermissionError) for one in machine.doubtful):
        return f"only root can tell whether {names} was made for a ghost"
    reasons = "; ".join(describe(one.doubt) for one in machine.doubtful if one.doubt)
    return f"cannot tell whether {names} was made for a ghost: {reasons}"


def _good_size(machine: Machine) -> str:
    try:
        holds = machine.holds
    except (OSError, Error) as error:
        report.trace(str(error))
        holds = None
    return f"{capacity.recommended_size(holds or sizes.ram_bytes() // 2) >> 20}M"


def _make(machine: Machine, path: str, size: str | None = None, *options: str) -> str:
    line = machine.line_of(path)
    declared = line.option("x-ghost.size") if line is not None else None
    words = ("ghostctl", "mkghost", *options, "-s", size or declared or _good_size(machine), path)
    parent = os.path.dirname(path)
    # mkghost makes the usual directory
    exists = parent == lookup.GHOST_DIRECTORY or os.path.isdir(machine.at(parent))
    return ("" if exists else f"mkdir -p {shlex.quote(parent)} && ") + shlex.join(words)


def _needs_zswap(machine: Machine) -> bool:
    others = [one for one in machine.active_ghosts if one.backend != "zram"]
    return bool(others) or machine.interfaces.has_ghosts is not False


def _check_zswap(machine: Machine) -> Iterator[Finding]:
    state = machine.state
    if state is not None and state.enabled:
        yield Finding("OK", " ".join(filter(None, ("on,", state.compressor, state.zpool))))
    elif not _needs_zswap(machine):
        yield Finding("OK", "not needed: this kernel has no ghost swap")
    elif state is None:
        yield Finding("FAIL", "this kernel has no zswap: nothing could be swapped to a ghost")
    else:
        yield Finding(
            "FAIL",
            "is off: nothing can be swapped to a ghost",
            ("ghostctl zswap set enabled=yes --persist",),
        )


def _check_pool(machine: Machine) -> Iterator[Finding]:
    state = machine.state
    if state is None:
        yield Finding("OK", "no zswap")
        return
    if state.max_pool_percent is None or state.pool_limit is None:
        yield Finding("WARN", "cannot tell what the pool may take: neither /proc/meminfo nor /sys says so")
        return
    seen = f"may take {human(state.pool_limit)}, {state.max_pool_percent}% of memory"
    if state.max_pool_percent < LEAST_POOL_PERCENT:
        fix = f"ghostctl zswap set max_pool_percent={_POOL_PERCENT} --persist"
        yield Finding("FAIL", f"{seen}: too little to be of use", (fix,))
    elif state.fill is not None and state.fill >= _NEARLY_FULL:
        more = min(state.max_pool_percent + 20, 60)
        fixes = (f"ghostctl zswap set max_pool_percent={more}",) if more > state.max_pool_percent else ()
        yield Finding("WARN", f"{seen}, and is {state.fill}% full", fixes)
    else:
        yield Finding("OK", seen if state.fill is None else f"{seen}; {state.fill}% of it is in use")


def _check_size(machine: Machine) -> Iterator[Finding]:
    holds = machine.holds
    ghosts = [ghost for ghost in machine.ghosts if ghost.header and not _by_zram(machine, ghost)]
    if holds is None or not _needs_zswap(machine):
        yield Finding("OK", "no zswap to hold them")
        return
    # an area without a file, or with one that this user may not read, promises as much as any
    known = [one.area for one in map(machine.active, ghosts) if one]
    others = [area for area in machine.areas if area.is_ghost and area not in known]
    declared = sum(ghost.header.size for ghost in ghosts if ghost.header) + sum(area.size for area in others)
    seen = f"{human(declared)} declared, zswap's pool holds about {human(holds)}"
    if declared <= holds:
        yield Finding("OK", seen)
        return
    above = [
        area.name
        for area in machine.areas
        if area.is_ordinary
        and len(known) == len(ghosts)
        and all(area.prio > other.prio for other in (*known, *others))
    ]
    if above and not any(capacity.overcommitted(machine.areas, machine.state)):
        yield Finding("OK", f"{seen}; {', '.join(above)} has the higher priority and takes the rest")
        return
    largest = max(ghosts, key=lambda ghost: ghost.header.size if ghost.header else 0, default=None)
    size = largest.header.size if largest and largest.header else 0
    fits = f"{capacity.recommended_size(max(holds - (declared - size), 0)) >> 20}M"
    fixes = []
    if largest and fits != "0M":
        quoted = shlex.quote(largest.path)
        cycle = "--cycle " if machine.active(largest) else ""
        fixes.append(f"ghostctl resize {cycle}{quoted} {fits}")
        line = machine.line_of(largest.path)
        if line is not None and line.option("x-ghost.size"):
            fixes += _edit_fstab(largest.path, r"x-ghost\.size=[^,[:space:]]*", f"x-ghost.size={fits}")
    yield Finding("FAIL", f"{seen}: once that is full, nothing goes on to another area", tuple(fixes))


def _by_zram(machine: Machine, ghost: Ghost) -> bool:
    active = machine.active(ghost)
    return active is not None and active.backend == "zram"


_OPTIONS = r"\([[:space:]]swap[[:space:]]\{1,\}\)"
"""What stands before the options of a line, for sed."""


def _edit_fstab(path: str, pattern: str, replacement: str) -> list[str]:
    """The command; none for a name that no terminal shows as it is."""
    if not path.isprintable():
        return []
    name = fstab.encode(path).decode("utf-8", "surrogateescape")
    # the text is a pattern of sed, in which | stands for nothing
    literal = "".join(f"\\{char}" if char in ".*^$[]\\|" else char for char in name)
    script = f"\\|^[[:space:]]*{literal}[[:space:]]|s|{pattern}|{replacement}|"
    return [f"sed -i {shlex.quote(script)} /{fstab.PATH.lstrip('/')}"]


def _check_slots(machine: Machine) -> Iterator[Finding]:
    ghosts = [ghost for ghost in machine.ghosts if ghost.header]
    total = sizes.ram_bytes()
    pages = sum(ghost.header.pages for ghost in ghosts if ghost.header)
    needed = kernel.slot_memory(pages, total // _SLOT_MEMORY_SHARE, machine.at(kernel.KALLSYMS))
    seen = f"{human(needed.size)} of kernel memory for the slots of {_count(len(ghosts), 'ghost')}"
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
    line = machine.line_of(path)
    size = line.option("x-ghost.size") if line else None
    if ghost.header is None:
        # whatever it is, it is not thrown away
        away = path.replace(f"{lookup.GHOST_DIRECTORY}/", f"{os.path.dirname(lookup.GHOST_DIRECTORY)}/", 1)
        move = f"mv -n {quoted} {shlex.quote(away + '.old')}"
        return f"{move} && {_make(machine, path, size)}" if line else move
    if ghost.header.pages >= sizes.MIN_PAGES:
        size = str(ghost.header.size)
    if problem == "filesystem":
        path = os.path.join(lookup.GHOST_DIRECTORY, os.path.basename(path))
    return _make(machine, path, size, "--if-needed")


def _check_active(machine: Machine) -> Iterator[Finding]:
    if machine.active_ghosts:
        yield Finding("OK", ", ".join(one.ghost or one.area.name for one in machine.active_ghosts))
    elif machine.doubtful:
        yield Finding("WARN", _doubt(machine))
    elif not machine.ghosts and machine.unreadable:
        yield Finding("WARN", f"only root can tell: {', '.join(machine.unreadable)} cannot be read")
    elif not machine.ghosts:
        yield Finding("WARN", "no ghost is there", (_make(machine, machine.example), _on(machine)))
    else:
        yield Finding("WARN", "no ghost is active", (_on(machine),))


def _on(machine: Machine) -> str:
    fallback = "--fallback zram " if machine.interfaces.has_ghosts is False else ""
    line = machine.line_of(machine.example)
    prio = fstab.priority(line.option("pri") or "") if line is not None else None
    # without one, the kernel may use it in turn with what is active
    priority = f"-p {plan.priority(None, machine.areas) if prio is None else prio} " if machine.areas else ""
    return f"ghostctl on {fallback}{priority}{shlex.quote(machine.example)}"


def _check_priority(machine: Machine) -> Iterator[Finding]:
    found = False
    ordinary = [one.area for one in machine.actives if one.backend is None and one.area.is_ordinary]
    # where a ghost gets pages that it cannot keep, what is wrong is its size
    ghosts = machine.active_ghosts
    short = [one.ghost for one in capacity.overcommitted(machine.areas, machine.state)] if ghosts else []
    for ghost in ghosts:
        above = [area for area in ordinary if area.prio > ghost.area.prio]
        if _is_overflow(machine, above):
            above = []
        beside = [area for area in ordinary if area.prio == ghost.area.prio and ghost.area not in short]
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


def _is_overflow(machine: Machine, above: list[Area]) -> bool:
    """An ordinary area above a ghost that is larger than the pool is how it should be."""
    found = capacity.measure(machine.areas, machine.state)
    return (
        found is not None
        and bool(found.holds)
        and found.size > (found.holds or 0)
        and not any(map(_is_zram, above))
    )


def _raise(machine: Machine, ghost: Active, above: list[Area]) -> Iterator[str]:
    if ghost.ghost is None:
        return
    # -1 would leave it to the kernel again
    higher = max(0, *(other.prio + 1 for other in above))
    if higher <= _LARGEST_PRIORITY:
        quoted = shlex.quote(ghost.ghost)
        fallback = "" if ghost.backend == "file" else f"--fallback {ghost.backend} "
        yield f"ghostctl off {quoted}"
        yield f"ghostctl on {fallback}-p {higher} {quoted}"
        line = machine.line_of(ghost.ghost)
        if line is not None and line.option("pri"):
            yield from _edit_fstab(ghost.ghost, "pri=-*[0-9]*", f"pri={higher}")
        elif line is not None:
            yield from _edit_fstab(ghost.ghost, _OPTIONS, rf"\1pri={higher},")
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
    if not found:
        yield Finding("OK", f"{_count(len(lines), 'line')} for ghosts")


def _is_ghost_line(line: fstab.Line) -> bool:
    return fstab.declares_ghost(line) or str(line.spec).startswith(lookup.GHOST_DIRECTORY + "/")


def _check_line(machine: Machine, line: fstab.Line) -> Iterator[Finding]:
    path = str(line.spec)
    where = f"line {line.number}, {path}"
    size = line.option("x-ghost.size")
    try:
        if fstab.declares_ghost(line):
            generator.units(line, fstab.PATH, "ghostctl")
    except SizeError as error:
        size = _good_size(machine)
        edit = _edit_fstab(path, r"x-ghost\.size=[^,[:space:]]*", f"x-ghost.size={size}")
        yield Finding("FAIL", f"{where}: {error.what}", tuple(edit))
    except generator.LineError as error:
        yield Finding("FAIL", f"{where}: {error.what}")
    if path.startswith("/"):
        yield from _check_path(machine, path, where, size)
    if line.has_option("x-systemd.makefs"):
        edit = _edit_fstab(path, "x-systemd.makefs,*", "")
        yield Finding("FAIL", f"{where}: systemd refuses x-systemd.makefs of a file", tuple(edit))
    if not line.has_option("nofail"):
        edit = _edit_fstab(path, _OPTIONS, r"\1nofail,")
        yield Finding(
            "WARN", f"{where}: no nofail, so a kernel without ghost swap fails the boot", tuple(edit)
        )


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
        return tag[1] == (names.get(tag[0]) or "")
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
    limited = []
    for directory, _, files in os.walk(machine.at(_CGROUPS)):
        if "memory.zswap.max" in files:
            name = os.path.relpath(directory, machine.root)
            if (
                machine.text(f"{name}/memory.zswap.max").strip() == "0"
                and machine.text(f"{name}/memory.swap.max").strip() != "0"
            ):
                limited.append("/" + name)
    if limited:
        yield Finding(
            "WARN",
            f"{len(limited)} cgroups may swap but not to zswap, so to no ghost: {', '.join(limited[:3])}",
            tuple(f"echo max > {shlex.quote(name + '/memory.zswap.max')}" for name in limited[:3]),
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
        "on and off, or from the kernel's symbols. Any kernel with zram can stand in: ghostctl on "
        "--fallback zram, or x-ghost.fallback=zram in fstab.",
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
        "Declare no more than the pool limit times the compression ratio. Then the slots run out before the "
        "pool does, and the kernel goes on to the next area or kills for memory in time. When the pool runs "
        "out first, the kernel keeps trying the ghost: the machine stalls or kills for memory, with free "
        "swap in free(1). "
        "Otherwise give an ordinary area the higher priority. The ratio is measured once a few MiB are in "
        "zswap, before that assumed; ghostctl plan says more.",
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
        "and a boot with resume= on a ghost looks for an image that cannot be there.",
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
