# SPDX-License-Identifier: GPL-2.0-or-later
"""fstab check on machines that are directories."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import oscalls
import pytest
from machine import require
from zramdevices import make_ghost

from ghostctl import backends, bootcheck, fstab, header, installation, kernel, zswap
from ghostctl.areas import Active
from ghostctl.bootcheck import Problem
from ghostctl.errors import Error, NotAGhost, UsageError
from ghostctl.swaps import Area

MIB = 1 << 20
GOOD = "nofail,pri=5,x-ghost.size=1M"
NO_FILES = "this kernel has no ghosts"


def last_problems(system: bootcheck.System) -> list[Problem]:
    """Those of the last line, but not that a user owns the file, where a user runs the tests."""
    problems = bootcheck.iter_problems(system.lines[-1], system)
    return [problem for problem in problems if problem.id != "file-owner" or os.geteuid() == 0]


class Machine:
    """One on which a ghost of 1 MiB is at `ghost`, and on which nothing is wrong with the line `GOOD` for it.

    Of 1000 MiB of memory zswap may take 20 percent. All backends are there, but for those in `lacks`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fstab = root / "fstab"
        self.ghost = make_ghost(root / "ghost", MIB)
        self.lacks: dict[str, str] = {}
        self.actives: Sequence[Active] = ()
        self.zswap(enabled="Y", compressor="lzo", max_pool_percent="20")
        self.write("proc/meminfo", "MemTotal: 1024000 kB\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def zswap(self, **parameters: str) -> None:
        for name, value in parameters.items():
            self.write(f"{zswap.PARAMETERS}/{name}", f"{value}\n")

    def system(self, text: str) -> bootcheck.System:
        self.fstab.write_text(text)
        lines = fstab.read(str(self.fstab))
        system = bootcheck.System(lines, self.actives, str(self.fstab), str(self.root))
        system.unavailable = {name: self.lacks.get(name) for name in backends.NAMES}
        return system

    def problems(self, options: str = GOOD, before: str = "", spec: str | None = None) -> list[Problem]:
        """What is wrong with a line for the ghost that comes after these."""
        return last_problems(self.system(f"{before}{spec or self.ghost} none swap {options} 0 0\n"))

    def found(self, options: str = GOOD, before: str = "", spec: str | None = None) -> dict[str, Problem]:
        """The same, by the ids, each of which comes once."""
        problems = self.problems(options, before, spec)
        found = {problem.id: problem for problem in problems}
        assert len(found) == len(problems)
        return found

    def general(self, text: str) -> list[Problem]:
        return list(bootcheck.iter_general_problems(self.system(text)))

    def set_hint(self, *changes: str) -> str:
        return " ".join(("ghostctl fstab set -T", str(self.fstab), str(self.ghost), *changes))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    # the directory may be on a tmpfs
    monkeypatch.setattr(kernel, "filesystem", lambda _fd: "ext4")
    return Machine(tmp_path)


def test_a_good_line(machine: Machine) -> None:
    assert machine.problems() == []
    assert machine.general(f"{machine.ghost} none swap {GOOD}\n") == []


def test_zswap_in_the_next_boot(machine: Machine) -> None:
    root = str(machine.root)
    machine.zswap(enabled="N")
    (problem,) = machine.problems()
    assert (problem.id, problem.severity) == ("zswap", "warning")
    assert problem.message.startswith("zswap is off: ")
    assert problem.hint == machine.set_hint("x-ghost.zswap")
    assert machine.problems(f"{GOOD},x-ghost.zswap") == []
    # the boot turns it on for the ghost
    zswap.persist({"enabled": "Y"}, root)
    assert machine.problems() == []
    zswap.persist({"enabled": "N"}, root)
    assert "zswap" in machine.found()
    machine.write("proc/cmdline", "quiet zswap.enabled=1\n")
    assert machine.problems() == []
    machine.write("proc/cmdline", "zswap.enabled=1 zswap.enabled=0\n")
    assert "booted with zswap.enabled=0" in machine.found()["zswap"].message


@pytest.mark.parametrize(
    ("word", "is_on"), [("1", True), ("Y", True), ("on", True), ("0", False), ("2", False)]
)
def test_zswap_on_the_command_line(machine: Machine, word: str, is_on: bool) -> None:
    for now in ("Y", "N"):
        machine.zswap(enabled=now)
        machine.write("proc/cmdline", f"zswap.enabled={word} zswap.enabled_=x\n")
        assert ("zswap" not in machine.found()) is is_on


def test_a_kernel_without_zswap(machine: Machine) -> None:
    directory = machine.root / zswap.PARAMETERS
    (directory / "enabled").unlink()
    (problem,) = machine.problems()
    assert (problem.id, problem.severity) == ("zswap", "warning")
    assert problem.message.startswith("cannot tell whether zswap is on: ")
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    (problem,) = machine.problems()
    assert (problem.id, problem.severity) == ("zswap", "error")
    assert "has no zswap" in problem.message
    # zram has nothing to do with it
    machine.lacks["file"] = NO_FILES
    assert machine.problems(f"{GOOD},x-ghost.fallback=zram") == []
    assert machine.problems(f"{GOOD},x-ghost.fallback=dm,zram") == []
    assert "has no zswap" in machine.problems(f"{GOOD},x-ghost.fallback=dm")[0].message


@pytest.mark.parametrize(
    ("options", "lacks", "severity", "hint"),
    [
        (GOOD, (), None, None),
        (GOOD, ("file",), "error", "x-ghost.fallback=ghostswap,xswap,dm,zram"),
        (GOOD, ("file", "xswap", "ghostswap", "dm"), "error", "x-ghost.fallback=zram"),
        (GOOD, ("file", "xswap", "ghostswap", "zram"), "error", "x-ghost.fallback=dm"),
        (GOOD, ("file", "xswap", "ghostswap", "dm", "zram"), "error", None),
        (f"{GOOD},x-ghost.fallback=skip", ("file",), "warning", "x-ghost.fallback=ghostswap,xswap,dm,zram"),
        (f"{GOOD},x-ghost.fallback=xswap,zram", ("file", "xswap"), None, None),
        (f"{GOOD},x-ghost.fallback=xswap", ("file", "xswap"), "error", "x-ghost.fallback=ghostswap,dm,zram"),
        (f"{GOOD},x-ghost.fallback=xswap", (), None, None),
    ],
)
def test_a_kernel_without_ghosts(
    machine: Machine, options: str, lacks: tuple[str, ...], severity: str | None, hint: str | None
) -> None:
    machine.lacks = dict.fromkeys(lacks, NO_FILES)
    problems = machine.problems(options)
    if severity is None:
        assert problems == []
        return
    (problem,) = problems
    assert problem == Problem(
        "kernel", severity, f"{NO_FILES}: the line is skipped", machine.set_hint(hint) if hint else None
    )


def test_a_backend_of_which_nothing_can_be_told_may_be_there(machine: Machine) -> None:
    machine.lacks = {"file": NO_FILES, "zram": backends.NO_SYSFS}
    assert machine.problems(f"{GOOD},x-ghost.fallback=zram") == []


def test_a_zram_device_that_is_not_the_first_choice(machine: Machine) -> None:
    """Then the ghost is swapped to through zswap after all."""
    machine.zswap(enabled="N")
    machine.lacks["file"] = NO_FILES
    assert machine.problems(f"{GOOD},x-ghost.fallback=zram,xswap") == []
    (problem,) = machine.problems(f"{GOOD},x-ghost.fallback=xswap,zram")
    assert problem.message.endswith("nothing could be swapped to the ghost, and the boot goes on to zram")
    assert "does not activate it" in machine.problems(f"{GOOD},x-ghost.fallback=xswap")[0].message
    # nor is it asked for where the kernel takes the file
    machine.lacks.clear()
    assert "zswap" in machine.found(f"{GOOD},x-ghost.fallback=zram")


NO_PRIORITY = "no pri= of 0 or more, so the kernel chooses a priority"


def active(name: str, prio: int, kind: str = "file", backend: str | None = None) -> Active:
    return Active(Area(name, kind, 1024, 0, prio), name, backend, name if backend else None)


@pytest.mark.parametrize(
    ("pri", "before", "actives", "message", "hint"),
    [
        ("", "", [], NO_PRIORITY, "pri=100"),
        ("pri=-1,", "", [], NO_PRIORITY, "pri=100"),
        ("pri=0,", "", [], None, None),
        ("pri=5,", "/o none swap pri=4\n", [], None, None),
        ("pri=5,", "/o none swap pri=5\n", [], "used in turn with /o, of the same priority", "pri=6"),
        ("pri=0,", "/o none swap pri=0\n", [], "used in turn with /o, of the same priority", "pri=1"),
        (
            "pri=5,",
            "/o none swap pri=5\n/p none swap pri=5\n",
            [],
            "used in turn with /o, /p, of the same priority",
            "pri=6",
        ),
        (
            "pri=5,",
            "/o none swap pri=6\n/p none swap pri=7\n",
            [],
            "used only after /o (priority 6), /p (priority 7)",
            "pri=8",
        ),
        ("pri=5,", "/o none swap pri=6,noauto\n", [], None, None),
        ("pri=5,", "", [active("/o", 6)], "used only after /o (priority 6)", "pri=7"),
        # what the kernel chose is -2 and below, and the next one gets less
        (
            "",
            "",
            [active("/o", -2)],
            f"{NO_PRIORITY}: it may use the ghost before, or in turn with, /o",
            "pri=100",
        ),
        ("pri=5,", "", [active("/o", -2)], None, None),
        # fstab counts for an area that is in both
        ("pri=5,", "/o none swap pri=4\n", [active("/o", 6)], None, None),
        # areas of other ghosts do not count
        ("pri=5,", "", [active("/dev/zram9", 6, "partition", "zram")], None, None),
        ("pri=5,", "", [active("/other", 6, "ghost", "file")], None, None),
        ("pri=5,", "/other none swap nofail,pri=6,x-ghost.size=1M\n", [], None, None),
    ],
)
def test_the_order(
    machine: Machine, pri: str, before: str, actives: list[Active], message: str | None, hint: str | None
) -> None:
    machine.actives = actives
    problems = machine.problems(f"nofail,{pri}x-ghost.size=1M", before)
    if message is None or hint is None:
        assert problems == []
    else:
        assert problems == [Problem("priority", "warning", message, machine.set_hint(hint))]


def test_an_area_that_fstab_has_by_another_name(machine: Machine) -> None:
    other = machine.write("other", "")
    (machine.root / "link").symlink_to("other")
    machine.actives = [active(str(other), 6)]
    assert machine.problems(before=f"{machine.root}/link none swap pri=4\n") == []
    # a label that nothing has is as good as any name
    (problem,) = machine.problems(before="LABEL=no-such-label none swap pri=7\n")
    assert problem.message == f"used only after {other} (priority 6), LABEL=no-such-label (priority 7)"


def test_areas_that_nothing_has(machine: Machine) -> None:
    before = "LABEL=no-such-a none swap pri=6\nLABEL=no-such-b none swap pri=7\n"
    (problem,) = machine.problems(before=before)
    assert problem.message == "used only after LABEL=no-such-a (priority 6), LABEL=no-such-b (priority 7)"


BIG = "nofail,pri=5,x-ghost.size={}"
BELOW = "/o none swap pri=1\n"


@pytest.mark.parametrize(
    ("options", "before", "changes"),
    [
        # zswap's pool may take 200 MiB, and 500 once it is what ghostctl proposes
        (BIG.format("200M"), BELOW, None),
        (BIG.format("300M"), BELOW, ()),
        (BIG.format("500M"), BELOW, ()),
        (BIG.format("600M"), BELOW, ("x-ghost.size=500M",)),
        # nothing that it would keep from being used
        (BIG.format("600M"), "", None),
        (BIG.format("600M"), "/o none swap pri=1,noauto\n", None),
        # two in one pool
        (BIG.format("150M"), f"{BELOW}/g none swap {BIG.format('150M')}\n", ()),
        (BIG.format("300M"), f"{BELOW}/g none swap {BIG.format('700M')}\n", ("x-ghost.size=150M",)),
        # but only what is active, and has a size
        (BIG.format("150M"), f"{BELOW}/g none swap noauto,{BIG.format('150M')}\n", None),
        (BIG.format("150M"), f"{BELOW}/g none swap x-ghost.fallback=skip\n", None),
        (BIG.format("600M"), f"{BELOW}/g none swap x-ghost.fallback=skip\n", ("x-ghost.size=500M",)),
        (f"noauto,{BIG.format('600M')}", BELOW, None),
        # one by zram has its own
        (BIG.format("150M"), f"{BELOW}/g none swap {BIG.format('150M')},x-ghost.fallback=zram\n", ()),
    ],
)
def test_a_ghost_that_the_pool_cannot_hold(
    machine: Machine, options: str, before: str, changes: tuple[str, ...] | None
) -> None:
    machine.ghost.unlink()
    found = machine.found(options, before)
    assert found.keys() - {"missing"} == (set() if changes is None else {"pool"})
    if changes is not None:
        raised = "ghostctl zswap set max_pool_percent=50 --persist"
        assert found["pool"] == Problem(
            "pool",
            "warning",
            "is above /o and declares more than zswap's pool may take (200 MiB): once that is full, "
            "nothing more is swapped, not even to them",
            " && ".join((raised, machine.set_hint(*changes))) if changes else raised,
        )


def test_a_limit_of_the_pool_that_somebody_has_chosen(machine: Machine) -> None:
    machine.zswap(max_pool_percent="40")
    problem = machine.found(BIG.format("500M"), BELOW)["pool"]
    assert problem.hint == machine.set_hint("x-ghost.size=400M")


def test_a_ghost_for_which_nothing_is_left(machine: Machine) -> None:
    before = f"{BELOW}/huge none swap {BIG.format('4T')}\n"
    problem = machine.found(BIG.format("20M"), before)["pool"]
    assert problem.hint == f"ghostctl fstab remove -T {machine.fstab} {machine.ghost}"


def test_a_size_that_cannot_be_told_is_in_no_pool(machine: Machine) -> None:
    machine.ghost.unlink()
    before = f"{BELOW}/g none swap {BIG.format('600M')}\n"
    assert machine.found("nofail,pri=5,x-ghost.fallback=skip", before).keys() == {"missing"}


def test_the_size_of_a_file_where_fstab_has_none(machine: Machine) -> None:
    make_ghost(machine.ghost, 300 * MIB)
    assert "pool" in machine.found("nofail,pri=5,x-ghost.fallback=skip", BELOW)
    # an ordinary area is in no pool
    page = bytearray(os.sysconf("SC_PAGE_SIZE"))
    page[1024:1032] = (1).to_bytes(4, sys.byteorder) + (1 << 17).to_bytes(4, sys.byteorder)
    page[-10:] = b"SWAPSPACE2"
    other = machine.root / "other"
    other.write_bytes(page)
    os.truncate(other, 2 << 17 + 12)
    system = machine.system(f"{BELOW}{other} none swap pri=5,x-ghost.fallback=skip\n")
    assert system.short == {}


@pytest.mark.parametrize("percent", ["lots", None])
def test_a_pool_whose_limit_is_not_known(machine: Machine, percent: str | None) -> None:
    if percent is None:
        (machine.root / zswap.PARAMETERS / "max_pool_percent").unlink()
    else:
        machine.zswap(max_pool_percent=percent)
    make_ghost(machine.ghost, 600 * MIB)
    assert machine.problems(BIG.format("600M"), BELOW) == []


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        # 1000 MiB of memory, of which a device should have half
        (BIG.format("900M"), None),
        (BIG.format("1100M"), ("x-ghost.memory-limit=500M", "x-ghost.size=500M")),
        (BIG.format("400M") + ",x-ghost.memory-limit=400M", None),
        (
            BIG.format("401M") + ",x-ghost.memory-limit=400M",
            ("x-ghost.memory-limit=400M", "x-ghost.size=400M"),
        ),
        (BIG.format("401M") + ",x-ghost.memory-limit=100M", ("x-ghost.memory-limit=500M",)),
        # more than all memory is no limit
        (
            BIG.format("1001M") + ",x-ghost.memory-limit=8T",
            ("x-ghost.memory-limit=500M", "x-ghost.size=500M"),
        ),
    ],
)
def test_a_ghost_that_its_zram_device_cannot_hold(
    machine: Machine, options: str, changes: tuple[str, ...] | None
) -> None:
    machine.lacks["file"] = NO_FILES
    machine.ghost.unlink()
    # another device is another pool
    before = f"{BELOW}/g none swap pri=5,x-ghost.size=900M,x-ghost.fallback=zram\n"
    for is_there in (True, False):
        found = machine.found(f"{options},x-ghost.fallback=zram", before)
        assert found.keys() - {"missing"} == (set() if changes is None else {"pool"})
        if changes is not None:
            assert "declares more than the memory of zram may take" in found["pool"].message
            assert found["pool"].hint == machine.set_hint(*changes)
        if is_there:
            # without zswap it is the same
            for path in (machine.root / zswap.PARAMETERS).iterdir():
                path.unlink()
            (machine.root / zswap.PARAMETERS).rmdir()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("pri=5,x-ghost.size=1M", ["nofail"]),
        ("noauto,pri=5,x-ghost.size=1M", []),
        (f"{GOOD},x-systemd.makefs", ["makefs"]),
        (f"{GOOD},x-ghost.szie=1M", ["option"]),
        (f"{GOOD},x-ghost.szie=1M,discard=async", ["option", "option"]),
        ("x-ghost.size=much", ["line", "nofail"]),
        ("nofail,x-ghost.size=1M,x-ghost.uuid=1", ["line"]),
        ("nofail,pri=5,x-ghost.size=2M", ["size"]),
        ("nofail,pri=5,x-ghost.size=1048577", []),
        ("nofail,pri=5,x-ghost.fallback=skip", []),
    ],
)
def test_the_options_of_a_line(machine: Machine, options: str, expected: list[str]) -> None:
    assert [problem.id for problem in machine.problems(options)] == expected


def test_what_to_do_about_a_line(machine: Machine) -> None:
    root, ghost = machine.root, machine.ghost
    assert machine.problems("pri=5,x-ghost.size=1M") == [
        Problem(
            "nofail",
            "warning",
            "without nofail, swap.target fails when the ghost does",
            machine.set_hint("nofail"),
        )
    ]
    (problem,) = machine.problems(f"{GOOD},x-systemd.makefs")
    assert (problem.severity, problem.hint) == ("error", machine.set_hint("x-systemd.makefs="))
    (problem,) = machine.problems(before=f"# a\n{ghost.parent}/./ghost none swap sw\n")[:1]
    assert problem == Problem("duplicate", "error", "line 2 names the same file")
    (problem,) = machine.problems("nofail,pri=5,x-ghost.size=2M")
    assert problem.severity == "warning"
    assert problem.message == f"declares {MIB} bytes, fstab says {2 * MIB}: changed in the next boot"
    assert problem.hint == f"ghostctl resize --cycle {ghost} {2 * MIB}"
    (root / "link").symlink_to(".")
    (problem,) = machine.problems(spec=f"{root}/link/ghost")
    assert (problem.id, problem.severity) == ("link", "warning")
    assert problem.message.endswith(f": the area will be called {ghost}")
    assert problem.hint == f"ghostctl fstab set -T {machine.fstab} {root}/link/ghost path={ghost}"


def test_a_line_that_only_names_a_ghost(machine: Machine) -> None:
    """Neither its path nor its directory is for the generator."""
    link = machine.root / "link"
    link.symlink_to(".")
    assert machine.found("nofail,pri=5", spec=f"{link}/ghost") == {}


def test_a_ghost_that_is_missing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.ghost.unlink()
    missing = Problem(
        "missing", "warning", "the ghost is missing", f"ghostctl fstab ensure -T {machine.fstab}"
    )
    assert machine.problems() == [missing]
    (problem,) = machine.problems("nofail,pri=5,x-ghost.fallback=skip")
    assert (problem.id, problem.severity, problem.hint) == ("missing", "error", None)
    assert "nothing can make it" in problem.message
    directory = machine.root / "two words"
    spec = f"{machine.root}/two\\040words/ghost"
    problems = machine.problems(spec=spec)
    assert problems == [
        missing,
        Problem(
            "directory",
            "error",
            f"its directory is missing: {directory}; the boot cannot make it",
            f"mkdir -p -m 700 '{directory}'",
        ),
    ]
    directory.mkdir()
    assert machine.problems(spec=spec) == [missing]
    # the usual one is made along with the ghost
    monkeypatch.setattr("ghostctl.lookup.GHOST_DIRECTORY", f"{machine.root}/usual")
    assert machine.problems(spec=f"{machine.root}/usual/ghost") == [missing]


@pytest.mark.parametrize(
    ("blocks", "inodes", "free_inodes", "is_full"),
    [
        (9, 9, 9, False),
        (0, 9, 9, True),
        (9, 9, 0, True),
        # btrfs counts none
        (9, 0, 0, False),
        (0, 0, 0, True),
    ],
)
def test_a_full_filesystem(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    blocks: int,
    inodes: int,
    free_inodes: int,
    is_full: bool,
) -> None:
    machine.ghost.unlink()
    real = os.statvfs(machine.root)
    values = list(real)
    values[4], values[5], values[7] = blocks, inodes, free_inodes
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(values))
    assert ("full" in machine.found()) is is_full


@pytest.mark.parametrize(
    ("content", "id", "severity"),
    [(b"a letter\n", "not-a-ghost", "error"), (None, "symlink", "error"), (b"", "not-a-ghost", "error")],
)
def test_what_is_in_its_place(machine: Machine, content: bytes | None, id: str, severity: str) -> None:  # noqa: A002
    if content is None:
        machine.ghost.rename(machine.root / "moved")
        machine.ghost.symlink_to("moved")
    else:
        machine.ghost.write_bytes(content)
    (problem,) = machine.problems()
    assert (problem.id, problem.severity) == (id, severity)
    assert str(machine.root / "moved") in problem.message or content is not None
    # whatever the link leads to
    machine.write("moved", "a letter\n")
    assert [problem.id for problem in machine.problems()] == [id]


def test_a_ghost_of_a_machine_with_other_pages(machine: Machine) -> None:
    """What fstab says is too small for it: no matter for this machine."""
    require("pages-4k")
    page_size = 65536
    have = header.ghost(16, page_size, uuid=bytes(16), label=b"")
    machine.ghost.write_bytes(header.pack(have))
    assert machine.found("nofail,pri=5,x-ghost.size=100K").keys() == {"file-pagesize"}
    assert machine.found("nofail,pri=5,x-ghost.size=1M").keys() == {"file-pagesize"}


def test_each_backend_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Backend(backends.Backend):
        def __init__(self, name: str) -> None:
            self.name = name

        def unavailable(self) -> str | None:
            asked.append(self.name)
            return NO_FILES if self.name == "file" else None

    monkeypatch.setattr(backends, "get", Backend)
    system = bootcheck.System([], (), root=str(tmp_path))
    for _ in range(2):
        assert system.unavailable == {"file": NO_FILES, **dict.fromkeys(backends.NAMES[1:])}
    assert asked == list(backends.NAMES)


def test_a_damaged_ghost(machine: Machine) -> None:
    data = bytearray(machine.ghost.read_bytes())
    # its last page
    data[1028:1032] = bytes(4)
    machine.ghost.write_bytes(data)
    machine.ghost.chmod(0o644)
    found = machine.found()
    assert found.keys() >= {"file-crc", "file-mode"}
    assert found["file-crc"].severity == "error"
    assert found["file-mode"].severity == "warning"
    assert found["file-crc"].hint == f"ghostctl verify {machine.ghost}"


@pytest.mark.parametrize(
    ("number", "id", "message"),
    [
        (errno.EACCES, "denied", "only root can look at it: "),
        (errno.EIO, "file", "Input/output error"),
    ],
)
def test_a_file_that_cannot_be_read(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    id: str,  # noqa: A002
    message: str,
) -> None:
    system = machine.system(f"{machine.ghost} none swap {GOOD}\n")
    oscalls.fail(monkeypatch, "open", number, when=lambda path, *_a, **_k: str(path).endswith("/ghost"))
    (problem,) = last_problems(system)
    assert (problem.id, problem.severity) == (id, "error")
    assert message in problem.message


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("LABEL=x {} ext4 defaults\n", None),
        ("tmpfs {} tmpfs size=1G\n", ("tmpfs", "{} is a tmpfs in the boot: no ghost can be on it")),
        ("nas:/x {} nfs defaults\n", ("mount", "{} is mounted after the swap areas are activated")),
        ("LABEL=x {} ext4 _netdev\n", ("mount", "{} is mounted after the swap areas are activated")),
        ("LABEL=x {} ext4 noauto\n", ("mount", "{} is mounted after the swap areas are activated")),
        ("LABEL=x {} ext4 x-systemd.automount\n", ("mount", "{} is mounted after")),
        # the one that is nearest counts, whatever the order
        ("LABEL=x {} ext4 defaults\nnas:/x / nfs defaults\n", None),
        ("nas:/x / nfs defaults\nLABEL=x {} ext4 defaults\n", None),
        ("LABEL=x / ext4 defaults\nnas:/x {} nfs defaults\n", ("mount", "{} is mounted after")),
        # beside it
        ("nas:/x {}/other nfs defaults\n", None),
        ("nas:/x {}x nfs defaults\n", None),
        ("nas:/x none nfs defaults\n", None),
        # swap lines are for no mount, whatever is in their second field
        ("/o {} swap noauto,pri=1\n", None),
        ("tmpfs {}/ tmpfs defaults\n", ("tmpfs", "{}/ is a tmpfs")),
    ],
)
def test_where_its_filesystem_is_mounted(
    machine: Machine, mounts: str, expected: tuple[str, str] | None
) -> None:
    problems = machine.problems(before=mounts.replace("{}", str(machine.root)))
    if expected is None:
        assert problems == []
        return
    (problem,) = problems
    assert (problem.id, problem.severity) == (expected[0], "error")
    assert problem.message.startswith(expected[1].replace("{}", str(machine.root)))


def test_a_filesystem_that_cannot_swap(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def filesystem(fd: int) -> str:
        asked.append(os.readlink(f"/proc/self/fd/{fd}"))
        return "tmpfs"

    monkeypatch.setattr(kernel, "filesystem", filesystem)
    before = oscalls.open_descriptors()
    problem = machine.found(spec=f"{machine.root}/a/b/ghost")["filesystem"]
    assert (problem.severity, problem.message) == ("error", "no kernel swaps to a file on tmpfs")
    assert problem.hint == "put ghosts on ext4, xfs or btrfs"
    # that of the directory in which the missing ones would be made
    assert asked == [os.path.realpath(machine.root)]
    assert oscalls.open_descriptors() == before
    # a mapping or a zram device does not swap to the file
    machine.lacks["file"] = NO_FILES
    for fallback in ("dm", "zram"):
        assert machine.problems(f"{GOOD},x-ghost.fallback={fallback}") == []


def test_a_read_only_filesystem(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstatvfs(0)
    values = list(real)
    values[8] = os.ST_RDONLY
    monkeypatch.setattr(os, "fstatvfs", lambda _fd: os.statvfs_result(values))
    (problem,) = machine.problems()
    assert (problem.id, problem.severity) == ("read-only", "warning")
    # zram only reads the file
    machine.lacks["file"] = NO_FILES
    assert machine.problems(f"{GOOD},x-ghost.fallback=zram") == []


def test_a_directory_that_cannot_be_opened(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    system = machine.system(f"{machine.ghost} none swap {GOOD}\n")
    oscalls.fail(monkeypatch, "open", errno.EACCES, when=lambda path, *_a, **_k: path == str(machine.root))
    assert last_problems(system) == []


def test_fstab_as_a_whole(machine: Machine) -> None:
    line = f"{machine.ghost} none swap {GOOD}\n"
    assert machine.general(
        "# x\n/dev/sdz9 none swap sw,x-ghost.size=1G\nx-ghost.size=1G\n/swapfile none swap pri=x\n" + line
    ) == [
        Problem(
            "ignored",
            "warning",
            "line 2: /dev/sdz9: that is not the path of a file: its x-ghost options are ignored",
        ),
        Problem("syntax", "error", "line 3: an entry has at least 3 fields, this one has 1"),
    ]
    # what is wrong with the line of a ghost is said of that
    assert machine.general(f"{machine.ghost} none swap {GOOD},x-ghost.szie=1G\n") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("quiet", None),
        ("systemd.swap=0", "systemd.swap=0: systemd activates no swap area"),
        ("systemd.swap=No", "systemd.swap=No: systemd activates no swap area"),
        ("systemd.swap=0 systemd.swap=1", None),
        ("fstab=off", "fstab=off: systemd does not read fstab"),
        ("systemd.swap", None),
        ("xsystemd.swap=0", None),
    ],
)
def test_a_command_line_that_keeps_ghosts_off(machine: Machine, words: str, expected: str | None) -> None:
    machine.write("proc/cmdline", f"root=/dev/vda {words} quiet\n")
    problems = machine.general(f"{machine.ghost} none swap {GOOD}\n")
    if expected is None:
        assert problems == []
    else:
        assert problems == [Problem("cmdline", "error", f"the kernel is booted with {expected}")]
    # without a ghost it is no matter
    assert machine.general("/swapfile none swap sw\n") == []


MAKES = """\
#!/bin/sh
mkdir -p "$1/{unit}.swap.d"
printf '[Service]\\nExecStart={program} on\\n' >"$1/ghostctl-on@x.service"
{more}
"""


class Installed:
    """A machine with systemd, and a script in place of the generator."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.unit = str(machine.ghost).strip("/").replace("-", "\\\\x2d").replace("/", "-")
        self.line = f"{machine.ghost} none swap {GOOD}\n"
        (machine.root / "run/systemd/system").mkdir(parents=True)

    def script(self, text: str) -> Path:
        path = self.machine.write(f"{installation.LOCAL.lstrip('/')}/{installation.NAME}", text)
        path.chmod(0o755)
        return path

    def makes(self, *, program: str = "/bin/sh", more: str = "", unit: str | None = None) -> Path:
        return self.script(MAKES.format(unit=unit or self.unit, program=program, more=more))

    def problems(self, before: str = "") -> list[Problem]:
        return self.machine.general(before + self.line)


@pytest.fixture
def installed(machine: Machine) -> Installed:
    return Installed(machine)


INSTALL = "ghostctl fstab install-generator"


def test_systemd_without_the_generator(installed: Installed) -> None:
    (problem,) = installed.problems()
    assert (problem.id, problem.severity, problem.hint) == ("generator", "warning", INSTALL)
    machine = installed.machine
    # nothing would be made
    assert machine.general(f"{machine.ghost} none swap nofail,pri=5,x-ghost.fallback=skip\n") == []
    assert machine.general(f"{machine.ghost} none swap nofail,x-ghost.size=much\n") == []
    assert machine.general(f"{machine.ghost} none swap nofail\n") == []
    (machine.root / "run/systemd/system").rmdir()
    assert installed.problems() == []


def test_the_generator_is_tried(installed: Installed) -> None:
    installed.makes()
    assert installed.problems() == []
    path = installed.makes(unit="another")
    last = Problem(
        "generator",
        "error",
        f"the generator does not work: {path} makes no units for {installed.machine.ghost}",
        INSTALL,
    )
    assert installed.problems() == [last]
    # what it says of the line is why, before what else it says
    where = f"{installed.machine.fstab}:1: "
    installed.makes(unit="another", more=f"echo 'x: {where}too late' >&2; echo bye >&2")
    assert installed.problems() == [last._replace(message="the generator does not work: too late")]
    installed.makes(unit="another", more="echo hello >&2; echo bye >&2")
    assert installed.problems() == [last._replace(message="the generator does not work: bye")]
    # no units are wanted for a line that is no good
    line = f"{installed.machine.ghost} none swap nofail,x-ghost.size=much\n"
    assert installed.machine.general(line) == []
    relative = "ghost none swap nofail,x-ghost.size=1M\n"
    assert installed.machine.general(relative) == []


def test_a_generator_that_cannot_be_run(installed: Installed) -> None:
    require("native")
    path = installed.script("#!/gone/python\n")
    (problem,) = installed.problems()
    assert problem == Problem(
        "generator",
        "error",
        f"the generator does not work: {path}: cannot be run: No such file or directory",
        INSTALL,
    )
    # in a container it has nothing to do
    installed.machine.write("run/systemd/container", "docker\n")
    assert installed.problems() == []


def test_a_program_that_is_gone(installed: Installed) -> None:
    path = installed.makes(program="/gone/ghostctl")
    (problem,) = installed.problems()
    assert problem.message == f"{path}: its units run /gone/ghostctl, which is not there"
    assert (problem.severity, problem.hint) == ("error", INSTALL)


def test_the_next_boot_has_no_kernel_parameters(machine: Machine) -> None:
    """/proc/cmdline is not there: nothing is known to be wrong."""
    assert bootcheck.boot_parameter("fstab", str(machine.root)) is None


@pytest.mark.parametrize(
    ("words", "value"),
    [("", None), ("a=1", "1"), ("a=1 a=2", "2"), ("a=b=c", "b=c"), ("a", None), ("ba=1", None), ("a=", "")],
)
def test_kernel_parameters(machine: Machine, words: str, value: str | None) -> None:
    machine.write("proc/cmdline", f"x {words} y\n")
    assert bootcheck.boot_parameter("a", str(machine.root)) == value


def new(machine: Machine, *options: str, file: Path | str | None = None) -> str:
    """The path for a new line."""
    words = fstab.split_options(",".join(options) or "defaults")
    return bootcheck.check_new(str(file or machine.ghost), words, str(machine.fstab))


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.removeprefix("ghostctl: ") for line in capsys.readouterr().err.splitlines()]


def test_a_new_line(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    ghost, root = machine.ghost, machine.root
    assert new(machine) == str(ghost)
    assert new(machine, "x-ghost.size=1M", file=f"{root}//./missing/") == f"{root}/missing"
    assert said(capsys) == []
    (root / "link").symlink_to(".")
    assert new(machine, file=root / "link/ghost") == str(ghost)
    assert said(capsys) == [
        f"{root}/link/ghost: warning: a directory of its path is a symbolic link: the line is for {ghost}"
    ]
    assert new(machine, "x-ghost.size=1M", file=root / "gone/ghost") == f"{root}/gone/ghost"
    assert said(capsys) == [
        f"{root}/gone/ghost: warning: its directory is missing: {root}/gone; the boot cannot make it",
        f"hint: mkdir -p -m 700 {root}/gone",
    ]


@pytest.mark.parametrize(
    ("file", "options", "kind", "message"),
    [
        ("ghost", "", UsageError, "ghost: not an absolute path"),
        ("{}/ghost", "x-ghost.size=much", UsageError, "{}/ghost: invalid size 'much'"),
        (
            "/proc/ghost",
            "x-ghost.size=1M",
            UsageError,
            "/proc/ghost: is where the kernel has files of its own",
        ),
        ("{}/missing", "", UsageError, "{}/missing: does not exist, so the line needs a --size"),
        ("{}/letter", "", NotAGhost, "{}/letter: not a ghost: it is a text file"),
        ("{}/link", "", Error, "{}/link: is a symbolic link"),
    ],
)
def test_a_new_line_that_would_not_boot(
    machine: Machine, file: str, options: str, kind: type[Error], message: str
) -> None:
    (machine.root / "link").symlink_to("ghost")
    machine.write("letter", "a letter\n")
    with pytest.raises(kind) as caught:
        new(machine, options, file=file.replace("{}", str(machine.root)))
    assert str(caught.value).startswith(message.replace("{}", str(machine.root)))
    if file.endswith("link"):
        assert caught.value.hint == f"name {machine.ghost}"


def test_a_new_line_on_another_filesystem(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = machine.root
    machine.fstab.write_text(f"nas:/x {root} nfs defaults\n")
    with pytest.raises(Error, match="is mounted after the swap areas") as caught:
        new(machine)
    assert caught.value.path == str(machine.ghost)
    # this may be another one in the boot
    machine.fstab.write_text(f"tmpfs {root} tmpfs defaults\n")
    assert new(machine) == str(machine.ghost)
    assert said(capsys) == [f"{machine.ghost}: warning: {root} is a tmpfs in the boot: no ghost can be on it"]
    machine.fstab.write_text(f"LABEL=x {root} ext4 defaults\n")
    monkeypatch.setattr(kernel, "filesystem", lambda _fd: "tmpfs")
    with pytest.raises(Error, match="no kernel swaps to a file on tmpfs"):
        new(machine)
