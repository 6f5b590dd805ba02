# SPDX-License-Identifier: GPL-2.0-or-later
"""Real boots by systemd with ghosts in fstab, on a kernel that takes them and on one that does not.

What an administrator does with the units is done in steps, for all kinds of lines at once; after each step
every line has to have the area that it declares, or a failed unit that says why. The steps of a boot are one
shell script, which leaves what it saw in the share: a directory per step, see PROLOGUE.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from machine import GHOSTCTL, ghostctl, require
from vm import lab

import ghostctl as package

KERNEL_WITH, KERNEL_WITHOUT = "ghost-7.2", "stock-7.2"
DIR = "/var/lib/ghost"


class Declared(NamedTuple):
    mib: int
    prio: int


class Row(NamedTuple):
    """A kind of line, and what it declares before and after it is edited."""

    spec: str
    file: str
    """By which name the kernel has it."""
    before: Declared
    after: Declared
    options: str = ""
    is_ghost: bool = True
    through: str = ""
    """With which its area's name begins on a kernel without ghosts; empty for one that has none there."""

    @property
    def unit(self) -> str:
        return f"{self.spec.strip('/').replace('/', '-')}.swap"

    def line(self, declared: Declared, options: str = "") -> str:
        words = f"nofail,pri={declared.prio},x-ghost.size={declared.mib}M{self.options}{options}"
        return f"{self.spec} none swap {words} 0 0\n"


ROWS = {
    "plain": Row(f"{DIR}/plain", f"{DIR}/plain", Declared(16 << 10, 100), Declared(24, 90)),
    "fallback": Row(
        f"{DIR}/fallback",
        f"{DIR}/fallback",
        Declared(128, 60),
        Declared(24, 61),
        ",x-ghost.fallback=zram",
        through="/dev/zram",
    ),
    "mapped": Row(
        f"{DIR}/mapped",
        f"{DIR}/mapped",
        Declared(96, 70),
        Declared(8, 71),
        ",x-ghost.fallback=dm,zram",
        through="/dev/dm-",
    ),
    "zswap": Row(f"{DIR}/zswap", f"{DIR}/zswap", Declared(64, 50), Declared(24, 51), ",x-ghost.zswap"),
    "linked": Row("/srv/link/linked", f"{DIR}/linked", Declared(64, 40), Declared(24, 41)),
    "device": Row("/dev/loop0", "/dev/loop0", Declared(64, 30), Declared(32, 31), is_ghost=False),
    "ordinary": Row(f"{DIR}/ordinary", f"{DIR}/ordinary", Declared(64, 20), Declared(32, 21), is_ghost=False),
}
ORDINARY_MIB = 8
"""What the ordinary areas have, whatever their lines declare."""
GHOSTS = {name: row for name, row in ROWS.items() if row.is_ghost}

GARBAGE = b"""\
# a fstab that people have been at
"quoted path" none swap x-ghost.size=1G 0 0
x-ghost.size
/var/lib/ghost/bad none swap x-ghost.size=lots,nofail,noauto 0 0
\xff\xfe\x00 none swap x-ghost.size=1G,noauto
# getmntent(3), and with it systemd, loses the line behind a NUL
"""
OTHERS = """\
/var/lib/ghost/two\\040words none swap pri=3,x-ghost.size=64M,x-ghost.zswap 0 0
/var/lib/ghost/damaged none swap nofail,pri=2,x-ghost.size=64M,x-ghost.zswap 0 0
/var/lib/ghost/later none swap nofail,noauto,x-ghost.size=64M 0 0
"""

AREAS_UNIT = f"""\
[Unit]
Description=The ordinary areas of the lab
DefaultDependencies=no
Before=dev-loop0.swap var-lib-ghost-ordinary.swap shutdown.target
Conflicts=shutdown.target
RequiresMountsFor={DIR}
Before=ghostctl-mkghost@var-lib-ghost-ordinary.service ghostctl-on@var-lib-ghost-ordinary.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'for file in {DIR}/image {DIR}/ordinary; do \\
    test -e $file || (umask 077; head -c {ORDINARY_MIB}M /dev/zero >$file; mkswap $file); done; \\
    losetup /dev/loop0 {DIR}/image'
ExecStop=losetup -d /dev/loop0
"""

PROLOGUE = f"""\
exec 2>/run/lab/stderr
set -x
export PATH={GHOSTCTL.parent}:$PATH
unset PYTHONPATH

# systemctl does not wait for the services of a .swap unit that is inactive, as one is whose area is zram
settle() {{
    while test -n "$(systemctl list-jobs --no-legend)"; do sleep 0.3; done
}}

# what is to be seen after a step, and the exit status of the command before
look() {{
    set -- /run/lab/steps/$1 $?
    settle
    mkdir -p $1
    echo $2 >$1/exit
    ghostctl status --json --no-zswap --output name,type,size,used,prio,uuid,ghost >$1/status
    systemctl --failed --plain --no-legend >$1/failed
    systemctl is-system-running >$1/state
    systemctl list-units --type=swap --plain --no-legend >$1/active
    cat /sys/module/zswap/parameters/enabled >$1/zswap
    journalctl --sync
    journalctl -b -o short-monotonic --no-pager --cursor-file=/run/cursor >$1/journal
    systemctl reset-failed
}}
"""


def words(values: Iterable[str]) -> str:
    return " ".join(values)


UNITS = words(row.unit for row in ROWS.values())
FILES = words(row.file for row in GHOSTS.values())
PLAIN, FALLBACK, ZSWAP, LINKED = (GHOSTS[name] for name in ("plain", "fallback", "zswap", "linked"))

FIRST = f"""\
look boot
ls {DIR} >/run/lab/files
for unit in 'var-lib-ghost-two\\x20words.swap' swap.target; do
    systemctl show -p ActiveEnterTimestampMonotonic --value "$unit"
done >/run/lab/active-since
cat /etc/fstab >/run/lab/fstab

systemctl restart {UNITS}
look restarted

systemctl stop {UNITS}
rm {FILES}
systemctl start {UNITS}
look remade

cp /etc/fstab.after /etc/fstab
systemctl daemon-reload
systemctl restart {UNITS}
look edited

ghostctl off {PLAIN.file} {FALLBACK.file} {LINKED.file}
swapoff {ZSWAP.file}
systemctl start {UNITS}
look off-by-hand

systemctl stop {UNITS}
look stopped
ghostctl on -p {PLAIN.after.prio} {PLAIN.file}
ghostctl on -p {FALLBACK.after.prio} --fallback zram {FALLBACK.file}
systemctl start {UNITS}
look on-by-hand

systemctl stop {PLAIN.unit} {ZSWAP.unit}
echo N >/sys/module/zswap/parameters/enabled
systemctl start {PLAIN.unit}
look zswap-off
systemctl start {ZSWAP.unit}
systemctl start {PLAIN.unit}
look zswap-on

# what a power cut or an enthusiast leaves: of the header's fields nothing is right
printf 'damaged by somebody' | dd of={DIR}/damaged bs=1 seek=1024 conv=notrunc
"""

SECOND = f"""\
look boot-again

swapoff -a
rm {FILES}
systemctl start swap.target
look all-off

systemctl stop {FALLBACK.unit}
settle
mkdir -p /run/ghostctl
flock --no-fork /run/ghostctl/zram.lock sleep 600 &
holder=$!
while flock -n /run/ghostctl/zram.lock true; do sleep 0.2; done
systemctl start {FALLBACK.unit}
look locked
kill $holder
systemctl start {FALLBACK.unit}
look unlocked

sed -i '/fallback/d; /linked/d' /etc/fstab
systemctl daemon-reload
look line-gone
ghostctl off {FALLBACK.file}
look line-gone-off

swapoff -a
cp /etc/fstab.after /etc/fstab
systemctl daemon-reload
systemctl start swap.target
look all-off-edited

# files in memory are there until the end, so what is swapped of them has to come back
seq 12000000 >/dev/shm/data
echo 100M swappiness=200 >/sys/fs/cgroup/system.slice/lab.service/memory.reclaim || true
look data
sync
systemctl reboot
sleep 900
"""

BROKEN_LINES = f"""\
{DIR}/plain none swap nofail,pri=9,x-ghost.size=64M 0 0
{DIR}/fallback none swap nofail,pri=8,x-ghost.size=64M,x-ghost.fallback=zram 0 0
{DIR}/missing none swap noauto,pri=7,x-ghost.size=64M 0 0
{DIR}/foreign none swap noauto,pri=6,x-ghost.size=64M 0 0
/srv/read-only/present none swap noauto,pri=5,x-ghost.size=64M 0 0
/srv/read-only/absent none swap noauto,pri=4,x-ghost.size=64M 0 0
"""
BROKEN = f"""\
look broken
find /opt/lab -newer /opt/lab/made -type f >/run/lab/new

rm /etc/python/click.py
systemctl start swap.target
look repaired

echo 'a letter' >{DIR}/foreign
ghostctl mkghost -s 64M {DIR}/present
dd if=/dev/zero of={DIR}/full bs=1M
# on 7.2 a write of more than there is takes nothing of the rest
dd if=/dev/zero of={DIR}/full2 bs=4096
sync
sed -i '/plain/s/64M/32M/' /etc/fstab
systemctl daemon-reload
systemctl restart var-lib-ghost-plain.swap
look resized
systemctl start var-lib-ghost-missing.swap var-lib-ghost-foreign.swap
look full
ls {DIR} >/run/lab/files
cat {DIR}/foreign >/run/lab/foreign

rm {DIR}/full {DIR}/full2
mkdir -p /srv/read-only
mount -o bind,ro {DIR} /srv/read-only
systemctl start 'srv-read\\x2donly-present.swap' 'srv-read\\x2donly-absent.swap'
look read-only
"""


class Area(NamedTuple):
    name: str
    type: str
    size: int
    used: int
    prio: int
    uuid: str | None


class Step(NamedTuple):
    """What was to be seen after a step."""

    exit: int
    """Of its last command."""
    areas: dict[str, Area]
    """By the file that they are made for; other areas by name."""
    failed: set[str]
    """Units."""
    state: str
    active: set[str]
    """Swap units."""
    zswap: str
    journal: list[str]
    """What came since the step before."""

    def log(self, text: str) -> list[str]:
        return [line for line in self.journal if text in line]


class Booted(NamedTuple):
    boot: lab.Boot
    steps: dict[str, Step]
    share: Path

    def read(self, name: str) -> str:
        return (self.share / name).read_text(errors="surrogateescape")


def read_step(directory: Path) -> Step:
    def read(name: str) -> str:
        return (directory / name).read_text()

    areas = {}
    for area in json.loads(read("status"))["swapareas"]:
        ghost = area.pop("ghost")
        areas[ghost or area["name"]] = Area(**area)
    return Step(
        exit=int(read("exit")),
        areas=areas,
        failed={line.split()[0] for line in read("failed").splitlines()},
        state=read("state").strip(),
        active={line.split()[0] for line in read("active").splitlines()},
        zswap=read("zswap").strip(),
        journal=read("journal").splitlines(),
    )


def boot(kernel: str, directory: Path, name: str, script: str, *, append: str = "") -> Booted:
    """A boot with what is below `directory`: the tree, and the disk, which is made if it is not there."""
    share, disk = directory / name, directory / "disk"
    share.mkdir()
    if not disk.exists():
        lab.make_disk(disk, 64)
    done = lab.boot(
        kernel,
        PROLOGUE + script,
        timeout=900,
        systemd=True,
        # under load an emulated timer fails the kernel's check
        append=f"no_timer_check {append}",
        tree=directory / "tree",
        share=share,
        disk=disk,
    )
    directories = sorted((share / "steps").glob("*"), key=lambda path: path.stat().st_mtime_ns)
    journal = "".join(f"\n{path.name}\n{(path / 'journal').read_text()}" for path in directories)
    log = lab.CACHE / "log" / f"boot-{kernel}-{name}"
    log.parent.mkdir(parents=True, exist_ok=True)
    stderr = (share / "stderr").read_text() if (share / "stderr").exists() else ""
    log.write_text(f"{done.console}\n{journal}\n{stderr}\n{done.seconds:.1f} s\n")
    assert not done.timed_out, f"no end of the boot, see {log}"
    return Booted(done, {path.name: read_step(path) for path in directories}, share)


def make_tree(directory: Path, before: bytes, after: bytes = b"") -> Path:
    """A tree with this fstab, the one that it is changed to, and the generator."""
    _, series = lab.split(KERNEL_WITH)
    require("vm", f"linux-{series}")
    tree = directory / "tree"
    generators = tree / "etc/systemd/system-generators"
    generators.mkdir(parents=True)
    (tree / "etc/fstab").write_bytes(before)
    (tree / "etc/fstab.after").write_bytes(after)
    installed = ghostctl("fstab", "install-generator", "--directory", generators)
    assert installed.returncode == 0, installed.stderr
    return tree


def fstab_before(directory: Path) -> bytes:
    """The first of the lines comes from `ghostctl fstab add`. The boot finds zswap off: all turn it on."""
    lines = "".join(row.line(row.before, ",x-ghost.zswap") for row in ROWS.values() if row != PLAIN)
    given = GARBAGE + OTHERS.encode() + lines.encode()
    path = directory / "fstab"
    path.write_bytes(given)
    options = ("-s", f"{PLAIN.before.mib}M", "-p", str(PLAIN.before.prio), "--nofail", "--zswap")
    done = ghostctl("fstab", "add", PLAIN.file, *options, "-T", path)
    assert done.returncode == 0, done.stderr
    data = path.read_bytes()
    assert data == given + done.stdout.encode()
    return data


class Boots(NamedTuple):
    kernel: str
    first: Booted
    second: Booted

    @property
    def has_ghosts(self) -> bool:
        return self.kernel == KERNEL_WITH

    def step(self, name: str) -> Step:
        return (self.first.steps | self.second.steps)[name]


def boot_twice(kernel: str, directory: Path) -> Boots:
    """With the same disk, on which nothing is before the first."""
    edited = "".join(row.line(row.after) for row in ROWS.values())
    tree = make_tree(directory, fstab_before(directory), OTHERS.encode() + edited.encode())
    units = tree / "etc/systemd/system"
    (units / "sysinit.target.wants").mkdir(parents=True)
    (units / "lab-areas.service").write_text(AREAS_UNIT)
    (units / "sysinit.target.wants/lab-areas.service").symlink_to("../lab-areas.service")
    (tree / "srv").mkdir()
    (tree / "srv/link").symlink_to(DIR)
    first = boot(kernel, directory, "first", FIRST)
    return Boots(kernel, first, boot(kernel, directory, "second", SECOND))


@pytest.fixture(scope="module")
def ghosts(tmp_path_factory: pytest.TempPathFactory) -> Boots:
    return boot_twice(KERNEL_WITH, tmp_path_factory.mktemp("ghost"))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Boots:
    return boot_twice(KERNEL_WITHOUT, tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module", params=["ghosts", "stock"])
def boots(request: pytest.FixtureRequest) -> Boots:
    found: Boots = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Booted:
    """The units' Python cannot import click; the generator runs from a copy of the package."""
    directory = tmp_path_factory.mktemp("broken")
    tree = make_tree(directory, BROKEN_LINES.encode())
    (tree / "etc/python").mkdir()
    (tree / "etc/python/click.py").write_text('raise ImportError("half of an upgrade")\n')
    (tree / "etc/systemd/system.conf.d").mkdir()
    environment = "[Manager]\nDefaultEnvironment=PYTHONPATH=/etc/python\n"
    (tree / "etc/systemd/system.conf.d/python.conf").write_text(environment)
    source = Path(package.__file__).parent
    copy = tree / "opt/lab/ghostctl"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "opt/lab/made").touch()
    generator = tree / "etc/systemd/system-generators/ghostctl-generator"
    text = generator.read_text()
    assert text.count(f'"{source.parent}"') == 1
    generator.write_text(text.replace(f'"{source.parent}"', '"/opt/lab"'))
    return boot(KERNEL_WITH, directory, "broken", BROKEN, append="zswap.enabled=1")


BEFORE = (
    *("boot", "restarted", "remade"),
    *("boot-again", "all-off", "locked", "unlocked", "line-gone", "line-gone-off"),
)
AFTER = (
    *("edited", "off-by-hand", "stopped", "on-by-hand", "zswap-off", "zswap-on"),
    *("all-off-edited", "data"),
)
STARTS = (
    *("boot", "restarted", "remade", "edited", "off-by-hand", "on-by-hand"),
    *("boot-again", "all-off", "all-off-edited"),
)
"""Steps in which all lines are started."""


def usable(mib: int) -> int:
    return (mib << 20) - 4096


def is_down(boots: Boots, step: str, name: str) -> bool:
    """Whether what the step does leaves no area for the line."""
    row = ROWS[name]
    return (
        step == "stopped"
        or (row.is_ghost and not row.through and not boots.has_ghosts)
        or (step == "zswap-off" and name in ("plain", "zswap"))
        or (step == "locked" and name == "fallback" and not boots.has_ghosts)
        or (step == "line-gone-off" and name == "fallback")
    )


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("step", [*BEFORE, *AFTER])
def test_area_is_what_the_line_declares(boots: Boots, step: str, name: str) -> None:
    seen, row = boots.step(step), ROWS[name]
    area = seen.areas.get(row.file)
    if is_down(boots, step, name):
        assert area is None
        return
    assert area is not None
    declared = row.before if step in BEFORE else row.after
    assert area.prio == declared.prio
    if row.is_ghost and not boots.has_ghosts:
        assert (area.name.startswith(row.through), area.size) == (True, usable(declared.mib))
        return
    assert area.name == row.file
    if row.is_ghost:
        assert (area.type, area.size) == ("ghost", usable(declared.mib))
    else:
        # parts of pages in an extent of a file count for nothing
        assert usable(ORDINARY_MIB) - 65536 < area.size <= usable(ORDINARY_MIB)
    if name != "linked":
        # systemd knows that one by its other name
        assert row.unit in seen.active


@pytest.mark.parametrize("step", [*BEFORE, *AFTER])
def test_nothing_else_fails(boots: Boots, step: str) -> None:
    expected = set()
    if step == "zswap-off" and boots.has_ghosts:
        expected = {"ghostctl-on@var-lib-ghost-plain.service"}
    if step == "locked" and not boots.has_ghosts:
        expected = {"ghostctl-on@var-lib-ghost-fallback.service"}
    seen = boots.step(step)
    assert (seen.exit != 0) == bool(expected)
    if step == "off-by-hand":
        # it is active, which keeps mkghost from looking what it is
        expected = {"ghostctl-mkghost@var-lib-ghost-ordinary.service"}
    assert (seen.failed, seen.state) == (expected, "degraded" if expected else "running")
    assert seen.log("ordering cycle") == []


def test_nothing_but_the_lines_is_active(boots: Boots) -> None:
    expected = {row.file for name, row in ROWS.items() if not is_down(boots, "boot", name)}
    if boots.has_ghosts:
        expected |= {f"{DIR}/two words", f"{DIR}/damaged"}
    for step in ("boot", "boot-again", "all-off-edited"):
        assert boots.step(step).areas.keys() == expected


def test_zswap_is_turned_on(ghosts: Boots) -> None:
    assert [ghosts.step(step).zswap for step in ("boot", "zswap-off", "zswap-on")] == ["Y", "N", "Y"]


def test_zswap_that_is_off_is_in_the_log(ghosts: Boots) -> None:
    (line,) = ghosts.step("zswap-off").log(f"ghostctl: {PLAIN.file}: ")
    assert "zswap is off" in line


@pytest.mark.parametrize("step", [step for step in STARTS if step != "on-by-hand"])
def test_stock_kernel_says_why_in_one_line(stock: Boots, step: str) -> None:
    for row in (PLAIN, ZSWAP, LINKED):
        lines = stock.step(step).log(f"ghostctl: {row.file}: ")
        assert len([line for line in lines if "has no ghost swap" in line]) == 1


def test_lock_of_another_process_is_in_the_log(stock: Boots) -> None:
    assert stock.step("locked").log("another process of ghostctl is at work")


def test_ordinary_areas_are_in_the_log(boots: Boots) -> None:
    for step in ("boot", "boot-again"):
        assert len(boots.step(step).log("/dev/loop0: that is not the path of a file")) == 1
        (line,) = boots.step(step).log(f"ghostctl: {ROWS['ordinary'].file}: ")
        assert "it is a swap file" in line


def test_ghosts_come_before_swap_target(ghosts: Boots) -> None:
    seen, on = ghosts.step("boot"), "ghostctl-on@var-lib-ghost-two\\x20words.service"
    made, *_ = seen.log(f"Finished {on.replace('-on@', '-mkghost@')}")
    starting, *_ = seen.log(f"Starting {on}")
    assert seen.journal.index(made) < seen.journal.index(starting)
    # the .swap unit is active with its area, which may be before `ghostctl on` has ended
    active, reached = map(int, ghosts.first.read("active-since").split())
    assert 0 < active <= reached


def test_fstab_is_as_it_was(boots: Boots) -> None:
    assert (boots.first.share / "fstab").read_bytes().startswith(GARBAGE + OTHERS.encode())


def test_noauto_is_left_alone(boots: Boots) -> None:
    assert "later" not in boots.first.read("files").splitlines()


def test_garbage_is_in_the_log_and_harms_nothing(boots: Boots) -> None:
    for number, why in ((3, "at least 3 fields"), (4, "size"), (5, "NUL")):
        (line,) = boots.step("boot").log(f"/etc/fstab:{number}: ")
        assert why in line
    assert "bad" not in boots.first.read("files").splitlines()


def test_second_boot_leaves_ghosts_alone_that_are_right(ghosts: Boots) -> None:
    file = f"{DIR}/two words"
    assert ghosts.step("boot-again").areas[file] == ghosts.step("boot").areas[file]


def test_a_ghost_that_is_changed_keeps_its_uuid(boots: Boots) -> None:
    uuids = {step: boots.step(step).areas[FALLBACK.file].uuid for step in ("remade", "edited", "boot-again")}
    assert len(set(uuids.values())) == 1
    assert uuids["edited"] != boots.step("boot").areas[FALLBACK.file].uuid


def test_second_boot_makes_a_damaged_ghost_anew(ghosts: Boots) -> None:
    assert ghosts.step("boot-again").areas[f"{DIR}/damaged"].size == usable(64)


def test_shutdown_with_data_in_the_ghosts(boots: Boots) -> None:
    for row in GHOSTS.values():
        if boots.has_ghosts or row.through:
            assert boots.step("data").areas[row.file].used > 1 << 20
    console = boots.second.boot.console
    assert "reboot: Restarting system" in console
    for trouble in ("Failed deactivating swap", "Failed unmounting", "stop job is running", "Out of memory"):
        assert trouble not in console


def test_broken_python_fails_the_units(broken: Booted) -> None:
    seen = broken.steps["broken"]
    assert seen.areas == {}
    assert seen.state == "degraded"
    assert seen.failed == {
        f"ghostctl-{command}@var-lib-ghost-{name}.service"
        for command in ("mkghost", "on")
        for name in ("plain", "fallback")
    }
    assert len(seen.log("ImportError: half of an upgrade")) == 4


def test_mended_python_activates_them(broken: Booted) -> None:
    seen = broken.steps["repaired"]
    assert {name: area.size for name, area in seen.areas.items()} == {
        f"{DIR}/plain": usable(64),
        f"{DIR}/fallback": usable(64),
    }
    assert (seen.failed, seen.state) == (set(), "running")


def test_generator_leaves_no_bytecode(broken: Booted) -> None:
    assert broken.read("new") == ""


def test_ghost_on_a_full_disk_is_changed_in_place(broken: Booted) -> None:
    before, seen = broken.steps["repaired"], broken.steps["resized"]
    file = f"{DIR}/plain"
    assert seen.areas[file] == before.areas[file]._replace(size=usable(32))
    assert (seen.exit, seen.failed) == (0, set())


def test_full_disk_fails_what_is_not_there_and_nothing_else(broken: Booted) -> None:
    seen = broken.steps["full"]
    assert seen.areas == broken.steps["resized"].areas
    assert seen.exit != 0
    assert {f"ghostctl-mkghost@var-lib-ghost-{name}.service" for name in ("missing", "foreign")} < seen.failed
    assert seen.log(f"ghostctl: {DIR}/missing: No space left on device")
    assert "missing" not in broken.read("files").splitlines()
    assert broken.read("foreign") == "a letter\n"


def test_ghost_on_a_read_only_mount_is_a_failed_unit(broken: Booted) -> None:
    seen = broken.steps["read-only"]
    assert seen.areas == broken.steps["resized"].areas
    assert seen.exit != 0
    for name, why in (("absent", "Read-only file system"), ("present", "is on a read-only filesystem")):
        assert f"ghostctl-on@srv-read\\x2donly-{name}.service" in seen.failed
        assert seen.log(f"ghostctl: /srv/read-only/{name}: {why}")
