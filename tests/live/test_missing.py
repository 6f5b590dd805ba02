# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command where something is missing: what it then does, and that it never says what it cannot know."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import zramdevices
from machine import active, ghostctl, require, run, swap_file
from without import PREFIXES
from zramdevices import PAGE

from ghostctl import doctor, header

MIB = 1 << 20
UUID = {
    name: f"{os.getpid():08x}-1111-4111-8111-00000000000{n}" for n, name in enumerate(("ghost", "old", "no"))
}
LABEL = f"m{os.getpid()}"

COMMANDS = {
    "mkghost": "mkghost -s 1M {new}",
    "mkghost-own": "mkghost -s 1M {own}/new",
    "mkghost-if-needed": "mkghost --if-needed -s 64M {old}",
    "mkghost-if-needed-own": "mkghost --if-needed -s 64M {own}/old",
    "mkghost-if-needed-active": "mkghost --if-needed -s 8M {ghost}",
    "mkghost-force": "mkghost --force -s 32M {old}",
    "mkghost-force-ghost": "mkghost --force -s 1M {ghost}",
    "mkghost-force-area": "mkghost --force -s 1M {area}",
    "inspect": "inspect {old}",
    "inspect-uuid": "inspect UUID={uuid[ghost]}",
    "verify": "verify {old}",
    "label": "label {old}",
    "label-own": "label {own}/old",
    "label-set": "label -L new {old}",
    "label-set-ghost": "label -L new {ghost}",
    "label-set-area": "label -L new {area}",
    "resize": "resize {old} 32M",
    "resize-ghost": "resize {ghost} 8M",
    "resize-cycle": "resize --cycle {ghost} 8M",
    "on": "on {plain}",
    "on-zram": "on --backend zram {old}",
    "on-area": "on {area}",
    "on-ghost": "on --fallback zram {ghost}",
    "on-uuid": "on UUID={uuid[no]}",
    "on-all": "on -a -T {fstab}",
    "off": "off {area}",
    "off-ghost": "off {ghost}",
    "off-old": "off {old}",
    "off-uuid": "off UUID={uuid[ghost]}",
    "off-no-uuid": "off UUID={uuid[no]}",
    "off-missing": "off {new}",
    # only where nothing can go off: other areas are others'
    "off-all": "off -a --type any",
    "status": "status",
    "status-json": "status --json",
    "status-metrics": "status --openmetrics",
    "status-area": "status {area}",
    "status-ghost": "status {ghost}",
    "status-old": "status {old}",
    "status-uuid": "status UUID={uuid[ghost]}",
    "status-quiet": "-q status {ghost}",
    "status-quiet-old": "-q status {old}",
    "usage": "usage",
    "usage-cgroups": "usage --cgroups",
    "usage-json": "usage --json",
    "doctor-zram": "doctor --require zram",
    "doctor-zswap": "doctor --require zswap",
    "plan": "plan --ratio 3",
    "zswap": "zswap show",
    "zswap-set": "zswap set accept_threshold_percent={threshold}",
    "fstab-list": "fstab list -T {fstab}",
    "fstab-check": "fstab check -T {fstab} {ghost}",
    "fstab-add": "fstab add -T {fstab} --nofail -s 1M {new}",
    "fstab-remove": "fstab remove -T {fstab} {old}",
    "fstab-ensure": "fstab ensure -T {fstab} {old}",
}

NO_LIST = "/proc/swaps: /proc is not mounted"
NO_SYS = "/sys is not mounted"
ONLY_ROOT = "only root can tell"
DENIED = "Permission denied"
REFUSED = "a container or user namespace, or a seccomp filter"
IS_ACTIVE = "is an active swap area"
UNREADABLE = "cannot be read"

LIES = (
    *("not active", "no active", "no longer active", "no such", "No such", "no ghost", "missing"),
    *("has no zswap", "has no zram", "has no xswap", "Traceback", "Input/output error"),
)
"""What may be said only where a row has it as the right answer."""


class Cell(NamedTuple):
    """What a command does without one thing."""

    without: str
    command: str
    status: int = 0
    words: tuple[str, ...] = ()
    """Of stderr, which is empty where none are given."""
    shown: tuple[str, ...] = ()
    """Of stdout."""
    after: str = ""
    """What is different afterwards, as `There.state` says it."""


def cells(missing: str, *rows: str) -> list[Cell]:
    """Rows for each of these missing things: command, exit status, words, words on stdout, what is different.

    Several words are separated by ``&``.
    """
    return [_cell(without, row) for without in missing.split() for row in rows]


def _cell(without: str, row: str) -> Cell:
    command, status, words, shown, after = (*map(str.strip, row.split("|")), "", "", "", "")[:5]
    return Cell(without, command, int(status or 0), _words(words), _words(shown), after)


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(" & ")))


_ACTIVE_GHOST = f"6 | {IS_ACTIVE} as /dev/zram"

TABLE = [
    # files: only whether that one is active has to be known
    *cells(
        "proc",
        "mkghost-if-needed",
        f"mkghost-if-needed-active | {_ACTIVE_GHOST}",
        "mkghost-force | 0 | | Setting up ghost swapspace | old: 32M None",
        f"label-set-area | 6 | {IS_ACTIVE}",
        f"resize | 0 | | | old: 32M {LABEL}-old",
        f"resize-ghost | {_ACTIVE_GHOST}",
        "inspect | 0 | | a ghost & 67108864 (64 MiB)",
        "inspect-uuid | 0 | | /ghost: a ghost",
        "verify",
        f"label | 0 | | LABEL: {LABEL}-old",
    ),
    *cells(
        "proc whole-proc proc-and-sys",
        "mkghost | 0 | | Setting up ghost swapspace | new: 1M",
        f"mkghost-force-ghost | {_ACTIVE_GHOST}",
        f"mkghost-force-area | 6 | {IS_ACTIVE}",
        f"label-set-ghost | {_ACTIVE_GHOST}",
    ),
    *cells(
        "sys",
        "mkghost-force | 0 | | Setting up ghost swapspace | old: 32M None",
        f"mkghost-force-ghost | {_ACTIVE_GHOST}",
        "label-set | 0 | | | old: 64M new",
    ),
    # no list of the active areas
    *cells(
        "proc whole-proc",
        f"resize-cycle | 1 | {NO_LIST}",
        f"on-ghost | 1 | {NO_LIST}",
        f"off-ghost | 1 | {NO_LIST}",
        f"off-all | 1 | {NO_LIST}",
        f"status | 1 | {NO_LIST}",
        f"status-quiet | 1 | {NO_LIST}",
        f"usage | 1 | {NO_LIST}",
        f"usage-cgroups | 1 | {NO_LIST}",
        f"usage-json | 1 | {NO_LIST}",
        f"fstab-list | 1 | {NO_LIST}",
    ),
    *cells(
        "proc",
        f"on | 1 | {NO_LIST}",
        f"on-all | 1 | {NO_LIST}",
        f"off | 1 | {NO_LIST}",
        f"off-old | 1 | {NO_LIST}",
        f"off-missing | 1 | {NO_LIST}",
        f"off-no-uuid | 1 | {NO_LIST}",
        f"status-old | 1 | {NO_LIST}",
        f"plan | 1 | {NO_LIST}",
        f"fstab-check | 1 | {NO_LIST}",
        "fstab-add | 0 | | x-ghost.size=1M | fstab: 4",
        "fstab-remove | 0 | | x-ghost.size=64M | fstab: 2",
        "fstab-ensure",
        "zswap | 0 | | max_pool_percent",
        "zswap-set",
        "doctor-zram",
    ),
    # nothing known of what the kernel offers, and no way to change it
    *cells(
        "sys",
        f"resize-cycle | 1 | {NO_SYS}",
        "on | 0 | | | plain: on",
        f"on-zram | 1 | {NO_SYS}",
        "on-ghost | 6 | is already active as /dev/zram",
        f"on-uuid | 1 | cannot tell: {NO_SYS}",
        "off | 0 | | | area: off",
        f"off-ghost | 1 | /dev/zram & is not swap any more & {NO_SYS} & > /sys/class | | zram: none",
        "off-old | 3 | /old: is not active",
        f"off-no-uuid | 1 | cannot tell: {NO_SYS}",
        f"status | 0 | | zswap: cannot tell its state & {NO_SYS}",
        f'status-json | 0 | {NO_SYS} | "zswap": null',
        f"status-metrics | 0 | {NO_SYS} | ghostctl_area_size_bytes",
        "status-quiet-old | 3",
        "usage | 0 | | TOTAL",
        "usage-cgroups | 1 | /sys/fs/cgroup: no cgroups are mounted",
        f"doctor-zram | 1 | it is unknown whether this kernel has zram: {NO_SYS}",
        f"doctor-zswap | 1 | {NO_SYS}",
        f"plan | 1 | {NO_SYS}",
        f"zswap | 1 | {NO_SYS}",
        f"zswap-set | 1 | {NO_SYS}",
        "fstab-list | 0 | | active & ready",
        "fstab-check",
    ),
    # no locks and no notes
    *cells(
        "run room-in-run inodes-in-run",
        f"resize-cycle | 0 | | active again | ghost: 8M {LABEL}-ghost",
        "off-ghost | 0 | | | zram: none",
    ),
    *cells("writable-run room-in-run", "on-zram | 0 | | | zram: ghost, old"),
    *cells("run", "mkghost | 0 | | Setting up | new: 1M", "status-ghost | 0 | | /dev/zram"),
    *cells(
        "writable-run",
        "mkghost-force | 0 | | Setting up | old: 32M None",
        "on | 0 | | | plain: on",
        "off | 0 | | | area: off",
        "fstab-add | 0 | | x-ghost.size=1M | fstab: 4",
    ),
    # labels and UUIDs are in headers, too
    *cells(
        "udev",
        "inspect-uuid | 0 | | /ghost: a ghost",
        "status-uuid | 0 | | /dev/zram",
        "off-uuid | 0 | | | zram: none",
    ),
    # root who may not swap
    *cells(
        "swapon capability",
        f"resize-cycle | 4 | swapoff failed & {REFUSED}",
        f"on | 4 | /plain: swapon failed & {REFUSED}",
        f"on-zram | 4 | /old: swapon failed & {REFUSED}",
        f"off | 4 | /area: swapoff failed & {REFUSED}",
        f"off-ghost | 4 | /dev/zram & swapoff failed & {REFUSED}",
    ),
    *cells(
        "swapon",
        "on-area | 6 | /area: is already active",
        "off-old | 3 | /old: is not active",
        "status-ghost | 0 | | /dev/zram",
    ),
    # nobody
    *cells(
        "root",
        f"mkghost | 4 | {DENIED}",
        "mkghost-own | 0 | | Setting up | new: 1M",
        "mkghost-if-needed-own",
        f"mkghost-force | 4 | {DENIED}",
        f"inspect-uuid | 4 | {ONLY_ROOT} & {UNREADABLE}",
        f"label-own | 0 | | LABEL: {LABEL}-old",
        f"resize | 4 | {DENIED}",
        f"on-ghost | 4 | {DENIED}",
        f"on-all | 32 | {DENIED}",
        f"on-uuid | 4 | {ONLY_ROOT} & {UNREADABLE}",
        "off | 4 | /area: swapoff failed: Operation not permitted",
        f"off-ghost | 4 | /ghost: {ONLY_ROOT} whether it is active",
        f"off-old | 4 | /old: {ONLY_ROOT} whether it is active",
        f"off-missing | 4 | /new: {ONLY_ROOT} whether it is active",
        f"off-no-uuid | 4 | {ONLY_ROOT} & {UNREADABLE}",
        "off-all | 4 | only root can deactivate",
        "status | 0 | | /area",
        "status-area | 0 | | /area",
        f"status-ghost | 4 | /ghost: {ONLY_ROOT} whether it is active",
        f"status-old | 4 | /old: {ONLY_ROOT} whether it is active",
        "status-quiet | 4",
        "status-quiet-old | 4",
        "usage | 0 | | TOTAL",
        f"zswap-set | 4 | {DENIED}",
        f"fstab-list | 0 | | {ONLY_ROOT} & /quiet",
        "fstab-check | 4 | | only root can look at it",
        f"fstab-ensure | 4 | {DENIED}",
    ),
]


class There:
    """What is there before each command: a ghost active through zram, a swap file that is active, others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names = {
            name: directory / name
            for name in ("new", "old", "ghost", "quiet", "plain", "area", "fstab", "own")
        }
        for path in (directory, directory.parent):
            path.chmod(0o755)
        own = self.names["own"]
        own.mkdir()
        self.make("old", self.names["old"])
        for path in (self.make("old", own / "old"), own):
            os.chown(path, 65534, 65534)
        self.make("ghost", self.names["ghost"])
        self.make("old", self.names["quiet"])
        for name in ("plain", "area"):
            swap_file(self.names[name])
        self.words = {name: str(path) for name, path in self.names.items()}
        threshold = Path("/sys/module/zswap/parameters/accept_threshold_percent")
        self.words["threshold"] = threshold.read_text().strip() if threshold.exists() else "90"
        self.put_back()

    @staticmethod
    def make(name: str, path: Path) -> Path:
        """A new ghost, whatever was there."""
        return zramdevices.make_ghost(
            path, {"old": 64 * MIB, "ghost": 4 * MIB}[name], UUID[name], f"{LABEL}-{name}"
        )

    def command(self, name: str) -> list[str]:
        return [word.format(uuid=UUID, **self.words) for word in COMMANDS[name].split(" ")]

    def state(self) -> dict[str, str]:
        """What a command may have changed."""
        names = set(active())
        return {
            "new": ", ".join(_declared(path)[0] for path in self._new() if path.exists()),
            "old": " ".join(_declared(self.names["old"])),
            "ghost": " ".join(_declared(self.names["ghost"])),
            "zram": ", ".join(ghost for ghost, is_on, _ in _devices(names) if is_on) or "none",
            "plain": "on" if os.fsencode(self.names["plain"]) in names else "off",
            "area": "on" if os.fsencode(self.names["area"]) in names else "off",
            "fstab": str(len(self.names["fstab"].read_text().splitlines())),
            "else": " ".join(sorted(set(os.listdir(self.directory)) - self.names.keys())),
        }

    def _new(self) -> tuple[Path, Path]:
        return self.names["new"], self.names["own"] / "new"

    def put_back(self) -> None:
        """As it was before the first command."""
        for path in self._new():
            path.unlink(missing_ok=True)
        self.names["fstab"].write_text(
            "{old} none swap nofail,noauto,pri=5,x-ghost.size=64M 0 0\n"
            "{quiet} none swap nofail,noauto 0 0\n"
            "{ghost} none swap nofail,pri=32767,x-ghost.size=4M,x-ghost.fallback=zram 0 0\n".format(
                **self.names
            )
        )
        names = set(active())
        if os.fsencode(self.names["plain"]) in names:
            run("swapoff", self.names["plain"])
        if os.fsencode(self.names["area"]) not in names:
            run("swapon", self.names["area"])
        self.make("old", self.names["old"])
        is_right = [device[:2] for device in _devices(names)] == [("ghost", True)]
        if is_right and _declared(self.names["ghost"])[0] == "4M":
            return
        remove_devices()
        self.make("ghost", self.names["ghost"])
        done = ghostctl("on", "--backend", "zram", "-p", "100", self.names["ghost"])
        assert done.returncode == 0, done.stderr


def _declared(path: Path) -> tuple[str, str]:
    have = header.unpack(path.read_bytes())
    return f"{have.size // MIB}M", str(have.label_text)


def _devices(names: set[bytes]) -> list[tuple[str, bool, str]]:
    """The zram devices of these tests: of which ghost, whether it is active, and the name."""
    found = []
    for directory in zramdevices.BLOCK.glob("zram*"):
        name = directory.name
        try:
            with open(f"/dev/{name}", "rb") as device:
                match = re.search(rb"%s-(\w+)" % LABEL.encode(), device.read(PAGE))
        except OSError:
            continue
        if match:
            # swapped on in another mount namespace it has no /dev in its name
            is_on = not names.isdisjoint((f"/dev/{name}".encode(), f"/{name}".encode()))
            found.append((match[1].decode(), is_on, name))
    return sorted(found)


def remove_devices() -> None:
    """Takes down and removes the zram devices of these tests."""
    for _, is_on, name in _devices(set(active())):
        if is_on:
            run("swapoff", f"/dev/{name}")
        zramdevices.remove_device(Path(name))


@pytest.fixture(scope="module")
def made(swap_parent: Path) -> Iterator[There]:
    require("mount", "setpriv", "zram")
    with tempfile.TemporaryDirectory(dir=swap_parent) as name:
        try:
            with zramdevices.as_they_were():
                there = There(Path(name))
            yield there
        finally:
            with zramdevices.as_they_were():
                remove_devices()
            for path in ("plain", "area"):
                # whatever its name is now
                subprocess.run(["swapoff", Path(name) / path], capture_output=True, check=False)


@pytest.fixture
def there(made: There) -> Iterator[There]:
    """What is there, and is there again afterwards."""
    with zramdevices.as_they_were():
        try:
            yield made
        finally:
            made.put_back()


def prefix(without: str) -> tuple[str, ...]:
    """For `ghostctl`; skips the test where it cannot be done."""
    if without == "capability":
        require("user-namespace")
    if without == "swapon":
        require("seccomp")
    return PREFIXES[without]


def test_every_command_is_in_the_table() -> None:
    assert {cell.command for cell in TABLE} == COMMANDS.keys()
    assert {cell.without for cell in TABLE} == PREFIXES.keys()


@pytest.mark.parametrize("cell", TABLE, ids=lambda cell: f"{cell.command}-without-{cell.without}")
def test_without(there: There, cell: Cell) -> None:
    if cell.command == "on":
        require("swap-on-root")
    before = there.state()
    command = there.command(cell.command)
    done = ghostctl(*command, prefix=prefix(cell.without))
    after = there.state()
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == cell.status, said
    for word in cell.words:
        assert word in done.stderr
    for word in cell.shown:
        assert word in done.stdout
    if not cell.words:
        assert done.stderr == ""
    if NO_LIST in cell.words:
        why = " as a whole, but with subset=pid" if cell.without == "whole-proc" else ""
        assert done.stderr == f"ghostctl: {NO_LIST}{why}\n"
    assert [lie for lie in LIES if lie in said and not any(lie in word for word in cell.words)] == []
    # no other file is named, but those that fstab names, or that may have a UUID
    named = set(re.findall(rf"{re.escape(str(there.directory))}/[\w/]+", done.stderr))
    others = {"{fstab}": {"ghost"}, "uuid": {"area"}}
    allowed = {
        there.words[name] for key, names in others.items() if key in COMMANDS[cell.command] for name in names
    }
    assert named <= {*command, *allowed}
    changed = [f"{name}: {after[name]}" for name in after if after[name] != before[name]]
    assert changed == ([cell.after] if cell.after else [])
    # what is left behind is named, so that it can be removed
    assert all(f"/dev/{name}" in done.stderr for _, is_on, name in _devices(set(active())) if not is_on)


_AREAS = "kernel size slots page-size holes permissions header active priority"
CANNOT_TELL = {
    "proc": f"{_AREAS} pool resume swappiness",
    "whole-proc": f"{_AREAS} pool resume swappiness",
    "proc-and-sys": f"{_AREAS} pool resume swappiness zswap cgroup",
    "sys": "zswap pool size cgroup",
    "root": "slots page-size holes permissions header active",
}
"""The checks of doctor that then have no answer."""


@pytest.mark.parametrize("without", [name for name in PREFIXES if "run" not in name or name == "room-in-run"])
def test_doctor_without(there: There, without: str) -> None:
    done = ghostctl("doctor", "--json", prefix=prefix(without))
    document = json.loads(done.stdout)
    checks = {check["id"]: check for check in document["checks"]}
    assert list(checks) == [check.id for check in doctor.CHECKS]
    assert done.returncode == (1 if "FAIL" in {check["status"] for check in document["checks"]} else 0)
    assert done.stderr == ""
    for name in CANNOT_TELL.get(without, "").split():
        assert checks[name]["status"] == "WARN"
        assert re.match("cannot tell|only root can", checks[name]["seen"]) or NO_SYS in checks[name]["seen"]
    if "sys" in without:
        assert [document["kernel"][name] for name in ("ghostswap", "xswap", "zram")] == [None] * 3
    if without not in CANNOT_TELL:
        assert there.words["ghost"] in checks["active"]["seen"]


@pytest.mark.parametrize(
    ("without", "status", "words"),
    [
        ("proc", 1, f"ghostctl: {NO_LIST}\n"),
        ("whole-proc", 1, f"ghostctl: {NO_LIST} as a whole, but with subset=pid\n"),
        ("swapon", 4, f"Operation not permitted\nghostctl: hint: this root may not: it is one of {REFUSED}"),
        (
            "capability",
            4,
            f"Operation not permitted\nghostctl: hint: this root may not: it is one of {REFUSED}",
        ),
        ("root", 4, "ghostctl: --probe: only root can swap a ghost on\n"),
    ],
)
def test_doctor_without_a_probe(there: There, without: str, status: int, words: str) -> None:
    """The report is there all the same; why there was no probe decides the exit status."""
    require("swap-on-root")
    done = ghostctl("doctor", "--probe", "-v", prefix=prefix(without))
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    shown = [line.split()[1] for line in done.stdout.splitlines()[2:] if line[:4].strip()]
    assert list(dict.fromkeys(shown)) == [check.id for check in doctor.CHECKS]
    assert there.state()["else"] == ""
