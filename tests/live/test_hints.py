# SPDX-License-Identifier: GPL-2.0-or-later
"""The command of each hint, run as it is printed: then what the message says is wrong no longer is.

`ELSEWHERE` holds the hints that no test here runs, each with its reason. A hint that is in neither is a
failure, and so is a name that is no longer in the source. Those of fstab's checks are run by
tests/commands/test_fstab_command.py, those of the doctor by its own tests.
"""

from __future__ import annotations

import ast
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import GHOSTCTL, ghostctl, is_active, require, swap_file, swapoff_below
from stepwise import TIMEOUT
from zramdevices import LABEL, ON, PAGE, SIZE, make_active, make_ghost, off, remove_device

import ghostctl as package
from ghostctl import header, swaps

SOURCE = Path(str(package.__file__)).parent
ADVICE = {"report.warn": 2, "warn": 2, "report.hint": 0, "_report_left": 3}
"""What prints a hint, and which of its arguments is the hint."""

VALUES = "names the values that may be given"
WORDS = "no command can do it"
PLACEHOLDER = "the user has to choose a value"
PASSED_ON = "the hint of another place"
KERNEL = "another kernel: tests/vm"
FAULT = "needs a failing kernel or another program at the same moment"
PRESSURE = "needs a machine short of memory"
HOST = "would change the machine's own fstab or systemd"
USAGE = "an option for the command line just typed"

ELSEWHERE = {
    "activation:_why_denied": WORDS,
    "activation:_activate_ordinary#3": "words: of the filesystem, holes or the kernel's log",
    "activation:_activate_ghost": PASSED_ON,
    "activation:_check_slot_memory": PLACEHOLDER,
    "activation:_zswap_for": KERNEL,
    "activation:_warn_order": PASSED_ON,
    "activation:_warn_order#2": "tests/unit/test_capacity.py",
    "activation:warn_automatic_priority": KERNEL,
    "backends/device:Device.remove": FAULT,
    "backends/device:Device.undo": FAULT,
    "backends/device:Device.clear": FAULT,
    "backends/dm:_create": KERNEL,
    "backends/ghostswap:Ghostswap.activate": KERNEL,
    "backends/xswap:_create": KERNEL,
    "backends/xswap:_undo": KERNEL,
    "backends/xswap:_recover": KERNEL,
    "backends/zram:_set_up": PLACEHOLDER,
    "backends/zram:_set_compressor": VALUES,
    "backends/zram:Zram.clear": "tests/live/test_zram.py",
    "bootcheck:check_new": "names the path to give instead",
    "bootcheck:check_new#2": PASSED_ON,
    "cli/fstab:_print_edit": HOST,
    "cli/fstab:check": PASSED_ON,
    "cli/mkghost:_page_size": VALUES,
    "cli/off:command": USAGE,
    "cli/on:command": USAGE,
    "cli/options:_seconds": VALUES,
    "cli/options:parse_backends": VALUES,
    "cli/options:parse_priority": VALUES,
    "cli/plan:_ratio": VALUES,
    "cli/plan:command": PASSED_ON,
    "cli/program:_usage": USAGE,
    "cli/setup:command#2": USAGE,
    "cli/setup:_agreed": USAGE,
    "cli/setup:_examine": PASSED_ON,
    "cli/status:_types": VALUES,
    "cli/usage:_number": VALUES,
    "cli/zswap:set_": USAGE,
    "deactivation:deactivate": WORDS,
    "deactivation:deactivate#2": WORDS,
    "deactivation:_ran_out": PRESSURE,
    "deactivation:_check_room": PRESSURE,
    "deactivation:_check_cgroups": "tests/live/test_off.py, tests/unit/test_deactivation.py",
    "fstabedit:parse_change": VALUES,
    "fstabedit:parse_change#2": VALUES,
    "fstabedit:parse_change#3": VALUES,
    "ghostwrite:_warn_filesystem": WORDS,
    "labels:parse_uuid": VALUES,
    "output:select": VALUES,
    "packages:missing": "installs packages",
    "plan:choose": "needs a machine of little memory",
    "plan:choose#2": PRESSURE,
    "probe:probe": WORDS,
    "resize:_back": FAULT,
    "setup:_persisted": USAGE,
    "setuprecord:_give_up": FAULT,
    "sizes:parse": VALUES,
    "zswap:parse": VALUES,
    "zswap:put_back": "tests/unit/test_zswap.py",
    "zswap:_set": VALUES,
    "zswap:_report_left": PASSED_ON,
    "zswap:_put_back_own": FAULT,
}

RUN: dict[str, Callable[[Path], None]] = {}
"""By the hint that it runs, in an empty directory."""


def runs(site: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """The function makes the command print the hint, runs it and sees the problem gone."""

    def register(function: Callable[[Path], None]) -> Callable[[Path], None]:
        RUN[site] = function
        return function

    return register


def _hints(call: ast.Call) -> Iterator[ast.expr]:
    found = [word.value for word in call.keywords if word.arg in ("hint", "advice")]
    found += call.args[ADVICE.get(ast.unparse(call.func), len(call.args)) :][:1]
    yield from (hint for hint in found if not isinstance(hint, ast.Constant) or hint.value is not None)


def _functions(node: ast.AST, names: tuple[str, ...] = ()) -> Iterator[str]:
    """For each hint below the node the function that has it."""
    for child in ast.iter_child_nodes(node):
        # a function of a function is a part of it
        is_named = isinstance(child, ast.ClassDef) or (
            isinstance(child, ast.FunctionDef) and not any(name.islower() for name in names)
        )
        if isinstance(child, ast.Call):
            yield from (".".join(names) for _ in _hints(child))
        yield from _functions(child, (*names, child.name) if is_named else names)  # type: ignore[attr-defined]


def sites() -> Iterator[str]:
    """``module:function`` of each hint in the source; from its second one on with ``#2`` and so on."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.stem == "doctor":
            continue
        count: Counter[str] = Counter()
        for function in _functions(ast.parse(path.read_bytes())):
            name = f"{path.relative_to(SOURCE).with_suffix('')}:{function}"
            count[name] += 1
            yield name if count[name] == 1 else f"{name}#{count[name]}"


def hinted(*args: str | Path, status: int = 1, prefix: tuple[str | Path, ...] = ()) -> str:
    """The only hint of a command, which ends with this status."""
    done = ghostctl(*args, prefix=prefix)
    assert done.returncode == status, done
    (hint,) = (line.partition("hint: ")[2] for line in done.stderr.splitlines() if ": hint: " in line)
    return hint


def paste(hint: str, status: int = 0, prefix: tuple[str | Path, ...] = ()) -> str:
    """Runs it in a shell; returns what it prints."""
    done = subprocess.run(
        [*prefix, "sh", "-c", hint],
        env={**os.environ, "PATH": f"{GHOSTCTL.parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == status, f"{hint}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def in_place_of(path: str, directory: Path) -> tuple[str | Path, ...]:
    """What to put before a command that is to find this directory there, and not the machine's."""
    return ("unshare", "-m", "sh", "-ec", f'mount --bind "$0" {path}; exec "$@"', directory)


@runs("activation:activate")
def _page_size(directory: Path) -> None:
    ghost = directory / "ghost"
    ghost.write_bytes(header.pack(header.ghost(512, 2 * PAGE, uuid=bytes(range(16)), label=LABEL.encode())))
    ghost.chmod(0o600)
    paste(hinted(*ON, ghost))
    assert ghost.stat().st_size == PAGE
    off(ghost)


@runs("activation:_warn_other")
def _other_priority(directory: Path) -> None:
    ghost = make_ghost(directory / "ghost")
    make_active(ghost)
    paste(hinted("on", "--if-needed", "-p", "50", ghost, status=0))
    assert [area.prio for area in swaps.read() if area.name.startswith("/dev/zram")] == [50]
    off(ghost)


@runs("activation:_warn_twin")
def _copy(directory: Path) -> None:
    ghost, copy = make_ghost(directory / "ghost"), make_ghost(directory / "copy")
    make_active(ghost)
    paste(hinted(*ON, copy, status=0))
    assert ghost.read_bytes() != copy.read_bytes()
    off(copy)
    off(ghost)


@runs("activation:_activate_ordinary")
def _page_size_of_a_file(directory: Path) -> None:
    file = swap_file(directory / "swap", 4 << 20, "-p", str(2 * PAGE))
    paste(hinted("on", file))
    assert is_active(file)


@runs("activation:_activate_ordinary#2")
def _size_of_the_file(directory: Path) -> None:
    ghost = make_ghost(directory / "ghost")
    ghost.write_bytes(ghost.read_bytes() + bytes(PAGE))
    paste(hinted("on", ghost))
    assert ghostctl("verify", ghost).returncode == 0


@runs("activation:_refusal")
def _fallback(directory: Path) -> None:
    ghost = make_ghost(directory / "ghost")
    paste(hinted("on", "-p", "7", ghost, status=5))
    assert [area.prio for area in swaps.read() if area.name.startswith("/dev/zram")] == [7]
    off(ghost)


def _damaged(directory: Path) -> Path:
    ghost = make_ghost(directory / "ghost")
    page = bytearray(ghost.read_bytes())
    # of the tag, so that the checksum is wrong
    page[1232] ^= 1
    ghost.write_bytes(page)
    return ghost


@runs("activation:_check_header")
def _damage(directory: Path) -> None:
    assert "CRC" in paste(hinted(*ON, _damaged(directory)), status=1)


@runs("ghostwrite:require_sound_ghost")
def _damage_to_write(directory: Path) -> None:
    assert "CRC" in paste(hinted("label", "-L", "other", _damaged(directory)), status=1)


@runs("ghostwrite:_checked")
def _in_the_way(directory: Path) -> None:
    path = directory / "ghost"
    path.write_text("a letter\n")
    paste(hinted("mkghost", "-s", "1M", path))
    assert ghostctl("verify", path).returncode == 0


@runs("areas:busy")
def _busy(directory: Path) -> None:
    ghost = make_ghost(directory / "ghost")
    name = make_active(ghost)
    paste(hinted("label", "-L", LABEL, ghost, status=6))
    assert not is_active(name)
    assert ghostctl("label", "-L", LABEL, ghost).returncode == 0


@runs("backends/zram:Zram.activate")
def _no_name(directory: Path) -> None:
    ghost = directory / ("d" * 250) / ("g" * 250)
    ghost.parent.mkdir()
    make_ghost(ghost, uid=None)
    paste(hinted(*ON, ghost))
    make_active(ghost)
    off(ghost)


@runs("backends/device:Device.deactivate")
def _held_open(directory: Path) -> None:
    ghost = make_ghost(directory / "ghost")
    name = make_active(ghost)
    try:
        with open(name, "rb"):
            hint = hinted("off", ghost)
        paste(hint)
        assert not os.path.exists(f"/sys/block/{Path(name).name}")
    finally:
        remove_device(Path(name))


@runs("cli/fstab:add")
def _nofail(directory: Path) -> None:
    fstab, ghost = directory / "fstab", make_ghost(directory / "ghost")
    fstab.touch()
    paste(hinted("fstab", "add", "-T", fstab, "-s", str(SIZE), "-p", "1", ghost, status=0).splitlines()[0])
    assert "nofail" in fstab.read_text()


@runs("fstabedit:add")
def _another_line(directory: Path) -> None:
    fstab, ghost = directory / "fstab", make_ghost(directory / "ghost")
    fstab.touch()
    words = ("fstab", "add", "-T", fstab, "--nofail", "-p", "1")
    assert ghostctl(*words, "-s", "1M", ghost).returncode == 0
    paste(hinted(*words, "-s", "2M", ghost, status=6))
    done = ghostctl(*words, "-s", "2M", ghost)
    assert (done.returncode, fstab.read_text().count("size=2M")) == (0, 1)


@runs("declared:warn_stale")
def _line_of_the_machine(directory: Path) -> None:
    require("mount")
    ghost, etc = make_ghost(directory / "ghost"), directory / "etc"
    etc.mkdir()
    word = str(ghost).replace(" ", "\\040")
    (etc / "fstab").write_text(f"{word} none swap nofail,pri=1,x-ghost.size=1M 0 0\n")
    there = in_place_of("/etc", etc)
    paste(hinted("label", "-L", LABEL, ghost, status=0, prefix=there), prefix=there)
    assert f"x-ghost.size={SIZE}" in (etc / "fstab").read_text()


def _record(directory: Path, text: str) -> None:
    require("mount")
    record = directory / "ghostctl" / "setup.json"
    record.parent.mkdir()
    record.write_text(text)
    there = in_place_of("/var/lib", directory)
    paste(hinted("setup", "--undo", "--yes", prefix=there), prefix=there)
    assert not record.exists()
    assert "setup.json" not in ghostctl("setup", "--undo", "--yes", prefix=there).stderr


@runs("setuprecord:read")
def _record_of_another_version(directory: Path) -> None:
    _record(directory, '{"version": 99, "steps": []}')


@runs("setuprecord:read#2")
def _broken_record(directory: Path) -> None:
    _record(directory, "{")


@runs("setup:_look")
def _file_is_gone(directory: Path) -> None:
    ghost = make_ghost(directory / "ghost")
    name = make_active(ghost)
    ghost.unlink()
    fstab = directory / "fstab"
    fstab.touch()
    paste(hinted("setup", "--dry-run", "-T", fstab, ghost, status=3))
    assert not is_active(name)


@runs("setup:_look#2")
def _no_directory(directory: Path) -> None:
    ghost, fstab = directory / "ghosts" / "ghost", directory / "fstab"
    fstab.touch()
    words = ("setup", "--dry-run", "--no-boot", "-T", fstab, ghost)
    paste(hinted(*words, status=3))
    done = ghostctl(*words)
    assert (done.returncode, "no such directory" in done.stderr) == (0, False)


@runs("plan:_in_the_way")
def _something_in_the_way(directory: Path) -> None:
    there, fstab = directory / "ghost", directory / "fstab"
    there.write_text("a letter\n")
    fstab.touch()
    words = ("setup", "--dry-run", "-T", fstab, there)
    paste(hinted(*words, status=3))
    assert ghostctl(*words).returncode == 0
    assert (directory / "ghost.old").read_text() == "a letter\n"


@runs("setup:_limit")
def _too_large(directory: Path) -> None:
    fstab = directory / "fstab"
    fstab.touch()
    paste(hinted("setup", "--dry-run", "-T", fstab, "-s", "ram*2", directory / "ghost", status=7))


@runs("cli/setup:command")
def _json_asks_nobody(directory: Path) -> None:
    ghost, fstab = directory / "ghost", directory / "fstab"
    fstab.touch()
    paste(hinted("setup", "--json", "-T", fstab, "-s", "4M", ghost, status=2))
    assert ghost.exists()
    assert ghostctl("setup", "--undo", "--yes").returncode == 0


def test_every_hint_is_run_or_has_a_reason() -> None:
    found = set(sites())
    assert not RUN.keys() & ELSEWHERE.keys()
    known = RUN.keys() | ELSEWHERE.keys()
    assert sorted(found - known) == [], "hints that no test runs"
    assert sorted(known - found) == [], "hints that are not in the source"


@pytest.mark.parametrize("site", sorted(RUN))
def test_hint(site: str, tmp_path: Path, zram: None) -> None:  # noqa: ARG001
    require("root", "swap")
    # a name that a shell would take apart
    directory = tmp_path / "it's a $HOME"
    directory.mkdir()
    try:
        RUN[site](directory)
    finally:
        swapoff_below(directory)
