# SPDX-License-Identifier: GPL-2.0-or-later
"""What the next boot makes of a fstab line that is a ghost, and what could go wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from . import (
    backends,
    capacity,
    fstab,
    generator,
    ghostfile,
    installation,
    kernel,
    lookup,
    sizes,
    zswap,
)
from .areas import Active
from .errors import Denied, Error, NotAGhost, NotFound, UsageError
from .fstab import Declaration
from .fstabedit import command, set_command
from .report import describe, quote, warn
from .swaplines import SwapLines, real_spec
from .swaps import Area

_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "sshfs", "9p", "afs"})
_YES, _NO = ("1", "y", "yes", "t", "true", "on"), ("0", "n", "no", "f", "false", "off")
_LATE_OPTIONS = ("_netdev", "noauto", "x-systemd.automount")


class Problem(NamedTuple):
    """Something `check` found."""

    id: str
    severity: str
    """``error`` or ``warning``."""
    message: str
    hint: str | None = None


class System(SwapLines):
    """What the lines are checked against: all of fstab, the active areas, and the kernel, asked once.

    `root` is that of /proc, /sys and the generator's directories.
    """

    def __init__(
        self,
        lines: Sequence[fstab.Line],
        actives: Sequence[Active],
        path: str = fstab.PATH,
        root: str = "/",
    ) -> None:
        super().__init__(lines, actives, path)
        self.root = root

    @cached_property
    def ordinary(self) -> list[Area]:
        """The areas that no ghost is: those that are active, and those of fstab; sizes are left out."""
        ordinary = [one.area for one in self.actives if one.backend is None and one.area.is_ordinary]
        found = {os.path.realpath(area.name): (area.name, max(area.prio, -1)) for area in ordinary}
        ghosts = {line.number for line in self.ghost_lines}
        for line in self.swap_lines:
            if line.number not in ghosts and not line.has_option("noauto"):
                # by whatever name, it is the area that is active now
                found[_place(line, self)] = str(line.spec), _priority(line, self)
        return [Area(name, "file", 0, 0, prio) for name, prio in found.values()]

    @cached_property
    def short(self) -> dict[str, tuple[capacity.Overcommitted, str]]:
        """By spec, the ghosts of fstab that declare more than their pool may take, and its name."""
        lines = {str(line.spec): line for line in self.ghost_lines if not self.declared(line).noauto}
        ghosts = [
            Area(spec, "ghost", size >> 10, 0, _priority(line, self))
            for spec, line in lines.items()
            if (size := _size(line, self)) is not None
        ]
        found = {}
        own = [ghost for ghost in ghosts if _is_by_zram(lines[ghost.name], self)]
        for ghost in own:
            limit = self.declared(lines[ghost.name]).memory_limit
            most = min(limit or self.memory, self.memory)
            target = capacity.zram_limit(limit, self.memory)
            for one in capacity.overcommitted([ghost], self.ordinary, most, target):
                found[ghost.name] = one, "zram"
        state = self.zswap
        if state is None or state.pool_limit is None:
            return found
        shared = [ghost for ghost in ghosts if ghost not in own]
        target = zswap.pool_limit(capacity.pool_percent(state.max_pool_percent, self.memory), self.memory)
        for one in capacity.overcommitted(shared, self.ordinary, state.pool_limit, target):
            found[one.ghost.name] = one, "zswap"
        return found

    @cached_property
    def memory(self) -> int:
        return kernel.read_memory(self.root)

    @cached_property
    def mounts(self) -> list[fstab.Line]:
        return [line for line in self.lines if line.file.startswith("/") and not fstab.is_swap(line)]

    @cached_property
    def unavailable(self) -> dict[str, str | None]:
        """Why the running kernel does not have a backend, by name; None when it may."""
        return {name: backends.get(name).unavailable() for name in backends.NAMES}

    @cached_property
    def zswap(self) -> zswap.Zswap | None:
        return zswap.read(self.root)


def _place(line: fstab.Line, system: System) -> str:
    """Where the area of a line is, without links; what the line says where that cannot be told."""
    try:
        return os.path.realpath(system.locate(line))
    except (OSError, Error):
        return str(line.spec)


def _priority(line: fstab.Line, system: System) -> int:
    """That which the area gets; -1 is the kernel's choice."""
    prio = system.declared(line).priority
    return -1 if prio is None else prio


def _size(line: fstab.Line, system: System) -> int | None:
    """Bytes that the ghost of a line has after the next boot; None when that cannot be told."""
    try:
        if (declared := system.size(line)) is not None:
            return declared
        with ghostfile.look(system.locate(line)) as file:
            return file.header.size if file.is_ghost and file.header else None
    except (OSError, Error):
        return None


def check_new(file: str, options: list[tuple[str, str | None]], path: str) -> str:
    """The path for a new line in the fstab `path`, without symbolic links.

    Raises `Error` for a line that would not boot, and warns of what else would go wrong.
    """
    line = fstab.Line(fstab.format_swap(fstab.simplify(file) if file.startswith("/") else file, options))
    try:
        declared, spec = fstab.declare(line), generator.boot_path(line)
        if line.options != options:
            raise UsageError('fstab cannot hold a value with "')
        if not fstab.names_file(spec):
            raise UsageError("is where the kernel has files of its own: no ghost can be there")
    except UsageError as error:
        error.path = error.path or str(line.spec)
        raise
    real = fstab.real_path(spec)
    if real != spec:
        warn(spec, f"a directory of its path is a symbolic link: the line is for {real}")
        line = fstab.Line(fstab.format_swap(real, options))
    if os.path.islink(real):
        raise Error("is a symbolic link", path=real, hint=f"name {quote(os.path.realpath(real))}")
    try:
        with ghostfile.look(real) as found:
            if not found.is_ghost:
                raise NotAGhost(f"not a ghost: it is {found.describe()}", path=real)
    except FileNotFoundError:
        if declared.size is None:
            raise UsageError("does not exist, so the line needs a --size", path=real) from None
        for problem in _check_directory(real):
            warn(real, problem.message, problem.hint)
    lines = fstab.read(path) if os.path.exists(path) else []
    for problem in _check_mount(line, System([*lines, line], (), path)):
        if problem.severity == "error" and problem.id in ("mount", "filesystem"):
            raise Error(problem.message, path=real)
        if problem.id == "tmpfs":
            warn(real, problem.message)
    return real


def iter_problems(line: fstab.Line, system: System) -> Iterator[Problem]:
    """What is wrong with one line that is one of the `System.ghost_lines`."""
    first = list(_check_line(line, system))
    yield from first
    if any(problem.id == "line" for problem in first):
        # what it would declare is not known
        return
    yield from _check_file(line, system)
    yield from _check_kernel(line, system)
    yield from _check_zswap(line, system)
    yield from _check_priority(line, system)
    yield from _check_mount(line, system)


def iter_general_problems(system: System) -> Iterator[Problem]:
    """What is wrong with fstab as a whole or with the machine."""
    for line in system.lines:
        if fstab.declares_ghost(line):
            continue
        for words in fstab.misplaced(line):
            kind = ("syntax", "error") if line.error else ("ignored", "warning")
            yield Problem(*kind, f"line {line.number}: {words}")
    if not system.ghost_lines:
        return
    for name, what in (("systemd.swap", "activates no swap area"), ("fstab", "does not read fstab")):
        value = boot_parameter(name, system.root)
        if value is not None and value.lower() in _NO:
            yield Problem("cmdline", "error", f"the kernel is booted with {name}={value}: systemd {what}")
    yield from _check_generator(system)


def _check_generator(system: System) -> Iterator[Problem]:
    """Whether systemd finds the generator, and whether that makes units for the lines."""
    wanted = [line for line in system.ghost_lines if fstab.declares_ghost(line) and _is_bootable(line)]
    path = installation.find(system.root)
    if path is None:
        is_systemd = os.path.exists(os.path.join(system.root, "run/systemd/system"))
        if is_systemd and any(system.declared(line).size for line in wanted):
            yield Problem(
                "generator",
                "warning",
                "systemd does not have ghostctl's generator: missing ghosts are not made in the boot",
                "ghostctl fstab install-generator",
            )
        return
    if generator.is_elsewhere({"SYSTEMD_IN_INITRD": "0"}, system.root.rstrip("/")):
        # a container, where it has nothing to do
        return
    hint = "ghostctl fstab install-generator"
    try:
        tried = installation.try_out(path, os.path.abspath(system.path))
    except (Error, OSError) as error:
        yield Problem("generator", "error", f"the generator does not work: {describe(error)}", hint)
        return
    names = {f"{generator.escape_path(generator.boot_path(line))}.swap": line for line in wanted}
    for name in sorted(names.keys() - tried.units):
        line = names[name]
        where = f"{system.path}:{line.number}: "
        said = (words.partition(where)[2] for words in tried.log.splitlines() if where in words)
        last = tried.log.splitlines()[-1:] or [f"{path} makes no units for {line.spec}"]
        yield Problem("generator", "error", f"the generator does not work: {next(said, last[0])}", hint)
    for program in sorted(tried.programs):
        if not os.access(program, os.X_OK):
            yield Problem("generator", "error", f"{path}: its units run {program}, which is not there", hint)


def _is_bootable(line: fstab.Line) -> bool:
    try:
        fstab.declare(line)
        generator.boot_path(line)
    except UsageError:
        return False
    return True


def _check_line(line: fstab.Line, system: System) -> Iterator[Problem]:
    spec = str(line.spec)
    try:
        declared = fstab.declare(line)
        if fstab.declares_ghost(line):
            path = generator.boot_path(line)
            real = fstab.real_path(path)
            if real != path:
                yield Problem(
                    "link",
                    "warning",
                    f"a directory of its path is a symbolic link: the area will be called {real}",
                    set_command(spec, [f"path={real}"], system.path),
                )
    except UsageError as error:
        declared = Declaration(())
        yield Problem("line", "error", f"no ghost is made in the boot: {error}")
    for words in declared.warnings:
        yield Problem("option", "warning", words)
    if line.has_option("x-systemd.makefs"):
        yield Problem(
            "makefs",
            "error",
            "x-systemd.makefs: systemd makes no swap area on a file and fails the line",
            set_command(spec, ["x-systemd.makefs="], system.path),
        )
    first = system.first_lines[real_spec(line)]
    if first != line.number:
        yield Problem("duplicate", "error", f"line {first} names the same file")
    if not line.has_option("nofail") and not line.has_option("noauto"):
        yield Problem(
            "nofail",
            "warning",
            "without nofail, swap.target fails when the ghost does",
            set_command(spec, ["nofail"], system.path),
        )


def _check_file(line: fstab.Line, system: System) -> Iterator[Problem]:
    declared = system.declared(line).size
    try:
        path = system.locate(line)
        if os.path.islink(path):
            yield Problem("symlink", "error", f"is a symbolic link, to {os.path.realpath(path)}")
            return
        with ghostfile.look(path) as file:
            if not file.is_ghost:
                yield Problem("not-a-ghost", "error", f"not a ghost: it is {file.describe()}")
                return
            for problem in ghostfile.verify(file):
                # where it is, matters to some backends only: `_check_mount`
                if problem.id != "filesystem":
                    hint = f"ghostctl verify {quote(path)}"
                    yield Problem(f"file-{problem.id}", problem.severity, problem.message, hint)
            have = file.require_header()
    except (FileNotFoundError, NotFound):
        if declared:
            yield Problem("missing", "warning", "the ghost is missing", command("ensure", system.path))
            if str(line.spec).startswith("/"):
                yield from _check_directory(str(line.spec))
        else:
            yield Problem(
                "missing", "error", "the ghost is missing, and without x-ghost.size nothing can make it"
            )
        return
    except (PermissionError, Denied) as error:
        yield Problem("denied", "error", f"only root can look at it: {describe(error)}")
        return
    except (OSError, Error) as error:
        yield Problem("file", "error", describe(error))
        return
    try:
        wanted = (
            sizes.to_pages(sizes.parse(declared), have.page_size) * have.page_size if declared else have.size
        )
    except UsageError:
        return
    if wanted != have.size:
        yield Problem(
            "size",
            "warning",
            f"declares {have.size} bytes, fstab says {wanted}: changed in the next boot",
            f"ghostctl resize --cycle {quote(path)} {wanted}",
        )


def _check_directory(path: str) -> Iterator[Problem]:
    """Whether a missing ghost can be made; its usual directory is made along with it."""
    directory = os.path.dirname(path)
    if os.path.isdir(directory):
        found = os.statvfs(directory)
        # what is reserved for root may do, or not
        if not found.f_bavail or (found.f_files and not found.f_favail):
            yield Problem("full", "warning", "its filesystem is full: the boot may be unable to make it")
    elif directory != lookup.GHOST_DIRECTORY:
        yield Problem(
            "directory",
            "error",
            f"its directory is missing: {directory}; the boot cannot make it",
            f"mkdir -p -m 700 {quote(directory)}",
        )


def _fallbacks(line: fstab.Line, system: System) -> list[str]:
    """The backends of x-ghost.fallback that the running kernel may have."""
    names = system.declared(line).fallback
    return [name for name in names if system.unavailable[name] in (None, backends.NO_SYSFS)]


def _check_kernel(line: fstab.Line, system: System) -> Iterator[Problem]:
    reason = system.unavailable["file"]
    if reason is None or _fallbacks(line, system):
        return
    others = [name for name, why in system.unavailable.items() if why is None]
    yield Problem(
        "kernel",
        "warning" if system.declared(line).skips else "error",
        f"{reason}: the line is skipped",
        set_command(str(line.spec), [f"x-ghost.fallback={','.join(others)}"], system.path)
        if others
        else None,
    )


def _backend(line: fstab.Line, system: System) -> str | None:
    """What makes the ghost active when this kernel is booted: the first of use; None without one."""
    if not system.unavailable["file"]:
        return "file"
    names = _fallbacks(line, system)
    try:
        has_zswap = system.zswap is not None
    except (OSError, Error):
        has_zswap = True
    # with none, it is zswap that is missing
    return backends.first(names, has_zswap=has_zswap) or next(iter(names), None)


def _is_by_zram(line: fstab.Line, system: System) -> bool:
    """Whether that is zram, which has a pool of its own."""
    return _backend(line, system) == "zram"


def _check_zswap(line: fstab.Line, system: System) -> Iterator[Problem]:
    if _is_by_zram(line, system):
        return
    try:
        now, persisted = system.zswap, zswap.read_persistent(system.root)
    except (OSError, Error) as error:
        yield Problem("zswap", "warning", f"cannot tell whether zswap is on: {describe(error)}")
        return
    if now is None:
        yield Problem("zswap", "error", "this kernel has no zswap, so nothing could be swapped to the ghost")
        return
    if system.declared(line).zswap or persisted.get("enabled") == "Y":
        return
    at_boot = boot_parameter("zswap.enabled", system.root)
    if at_boot is None:
        enabled, why = now.enabled, "zswap is off"
    else:
        enabled, why = (
            at_boot.lower() in _YES,
            f"the kernel is booted with zswap.enabled={at_boot}",
        )
    if not enabled:
        other = backends.first(_fallbacks(line, system), has_zswap=False)
        then = f"goes on to {other}" if other is not None else "does not activate it"
        yield Problem(
            "zswap",
            "warning",
            f"{why}: nothing could be swapped to the ghost, and the boot {then}",
            set_command(str(line.spec), ["x-ghost.zswap"], system.path),
        )


def boot_parameter(name: str, root: str = "/") -> str | None:
    """A parameter that the kernel was booted with, the last of its kind; None without one."""
    try:
        with open(os.path.join(root, "proc/cmdline"), encoding="utf-8", errors="replace") as file:
            words = file.read().split()
    except OSError:
        return None
    return next((word.partition("=")[2] for word in reversed(words) if word.startswith(f"{name}=")), None)


def _check_priority(line: fstab.Line, system: System) -> Iterator[Problem]:
    own = _priority(line, system)
    hint = set_command(str(line.spec), [f"pri={capacity.priority_above(system.ordinary)}"], system.path)
    above = [f"{area.name} (priority {area.prio})" for area in system.ordinary if area.prio > own]
    beside = ", ".join(area.name for area in system.ordinary if area.prio == own)
    if above:
        yield Problem("priority", "warning", f"used only after {', '.join(above)}", hint)
    if own < 0:
        order = f": it may use the ghost before, or in turn with, {beside}" if beside else ""
        yield Problem(
            "priority", "warning", f"no pri= of 0 or more, so the kernel chooses a priority{order}", hint
        )
    elif beside:
        yield Problem("priority", "warning", f"used in turn with {beside}, of the same priority", hint)
    try:
        found = system.short.get(str(line.spec))
    except (OSError, Error):
        return  # what is wrong with zswap is another problem
    if found is not None and found[0].kept:
        short, pool = found
        yield Problem("pool", "warning", short.problem(pool), _smaller(line, short, pool, system))


def _smaller(line: fstab.Line, short: capacity.Overcommitted, pool: str, system: System) -> str:
    """What gives a ghost and its pool the same limit."""
    commands, changes = [], []
    if pool == "zswap":
        now = system.zswap.max_pool_percent if system.zswap is not None else None
        percent = capacity.pool_percent(now, system.memory)
        if percent != now:
            commands.append(f"ghostctl zswap set max_pool_percent={percent} --persist")
    else:
        limit = capacity.zram_limit(system.declared(line).memory_limit, system.memory)
        changes.append(f"x-ghost.memory-limit={limit >> 20}M")
    if short.share == 0:
        return command("remove", system.path, str(line.spec))
    if short.share is not None:
        changes.append(f"x-ghost.size={short.share >> 20}M")
    if changes:
        commands.append(set_command(str(line.spec), changes, system.path))
    return " && ".join(commands)


def _check_mount(line: fstab.Line, system: System) -> Iterator[Problem]:
    path = str(line.spec)
    below = (mount for mount in system.mounts if _is_below(path, mount.file))
    mount = max(below, key=lambda mount: len(mount.file), default=None)
    if mount is not None and mount.vfstype == "tmpfs":
        yield Problem("tmpfs", "error", f"{mount.file} is a tmpfs in the boot: no ghost can be on it")
    elif mount is not None and (mount.vfstype in _REMOTE or any(map(mount.has_option, _LATE_OPTIONS))):
        yield Problem("mount", "error", f"{mount.file} is mounted after the swap areas are activated")
    directory = os.path.dirname(path)
    while not os.path.isdir(directory) and directory not in ("", "/"):
        directory = os.path.dirname(directory)
    try:
        fd = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        why = kernel.cannot_swap(kernel.filesystem(fd))
        is_read_only = bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)
    finally:
        os.close(fd)
    # other backends do not swap to the file
    if why and _backend(line, system) in ("file", None):
        yield Problem("filesystem", "error", why, kernel.ON_ANOTHER_FILESYSTEM)
    elif is_read_only and not _is_by_zram(line, system):
        yield Problem("read-only", "warning", "its filesystem is read-only: no kernel swaps to a file there")


def _is_below(path: str, directory: str) -> bool:
    return (
        os.path.commonpath((path, directory)) == os.path.normpath(directory)
        if path.startswith("/")
        else False
    )
