# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from machine import require, run_hint

from ghostctl import doctor, fstab, fstabedit, ghostwrite, header, plan
from ghostctl.areas import Active
from ghostctl.doctor import Finding
from ghostctl.ghostfile import Problem
from ghostctl.machine import Ghost, Interfaces, Machine
from ghostctl.swaps import Area

MACHINES = Path(__file__).parent.parent / "data/machines"
MIB = 1 << 20
GHOST = "/var/lib/ghost/swap0"
FSTAB = f"{GHOST} none swap defaults,nofail,pri=100,x-ghost.size=200M 0 0\n"


class Prepared:
    """A machine below a directory: 512 MiB of memory, zswap on, a sound ghost, its line in fstab."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(MACHINES / "linux-6.18", root)
        self.write("proc/meminfo", "MemTotal: 524288 kB\nZswap: 0 kB\nZswapped: 0 kB\n")
        self.write("proc/cmdline", "quiet\n")
        self.write("proc/sys/vm/swappiness", "60\n")
        self.write("sys/module/zswap/parameters/enabled", "Y\n")
        self.write("sys/module/zswap/parameters/max_pool_percent", "50\n")
        self.write("sys/module/zswap/parameters/accept_threshold_percent", "90\n")
        self.write("etc/fstab", FSTAB)
        (root / "var/lib/ghost").mkdir(parents=True)
        self.make(200 * MIB)
        self.areas(f"{GHOST} ghost {200 << 10} 0 100")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def ghost(self) -> Path:
        return self.root / GHOST.lstrip("/")

    def make(self, size: int, page_size: int = 4096) -> None:
        new = header.ghost(size // page_size, page_size, uuid=bytes(range(16)), label=b"swap")
        ghostwrite.create(str(self.ghost), ghostwrite.Request(new, force=True))

    def areas(self, *lines: str) -> None:
        self.write("proc/swaps", "\n".join(("Filename Type Size Used Priority", *lines, "")))

    def find(self, check: str) -> list[Finding]:
        machine = Machine(str(self.root))
        machine.interfaces = Interfaces(file=True, ghostswap=False, xswap=False, dm=False, zram=True)
        return run(machine, check)

    def one(self, check: str) -> Finding:
        (finding,) = self.find(check)
        return finding


def run(machine: Machine, check: str) -> list[Finding]:
    """What one check finds; the others are not run."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(doctor, "CHECKS", [one for one in doctor.CHECKS if one.id == check])
        return [finding for _, finding in doctor.examine(machine)]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    require("pages-4k")
    # what the tests are on may be a tmpfs, which has no swap
    monkeypatch.setattr("ghostctl.kernel.cannot_swap", lambda _: None)
    return Prepared(tmp_path / "root")


@pytest.mark.parametrize("check", [check.id for check in doctor.CHECKS if check.id != "permissions"])
def test_nothing_is_wrong(prepared: Prepared, check: str) -> None:
    assert [finding.status for finding in prepared.find(check)] == ["OK"]


def test_zswap_off(prepared: Prepared) -> None:
    prepared.write("sys/module/zswap/parameters/enabled", "N\n")
    finding = prepared.one("zswap")
    assert finding.status == "FAIL"
    assert finding.fix == ("ghostctl zswap set enabled=yes --persist",)


def test_no_zswap(prepared: Prepared) -> None:
    shutil.rmtree(prepared.root / "sys/module/zswap")
    assert prepared.one("zswap").status == "FAIL"
    assert prepared.one("pool").status == "OK"


@pytest.mark.parametrize(
    ("percent", "status", "seen"),
    [
        (0, "FAIL", "0B, 0%"),
        (1, "FAIL", "5.1M, 1% of memory: too little to be of use"),
        (91, "WARN", "91% of memory: too little is left beside a full one"),
        (100, "WARN", "100%"),
    ],
)
def test_a_limit_that_makes_no_sense(prepared: Prepared, percent: int, status: str, seen: str) -> None:
    prepared.write("sys/module/zswap/parameters/max_pool_percent", f"{percent}\n")
    finding = prepared.one("pool")
    assert finding.status == status
    assert seen in finding.seen
    assert finding.fix == ("ghostctl zswap set max_pool_percent=50 --persist",)
    # the size is judged by the limit that is to be
    assert prepared.one("size").status == "OK"


def test_a_full_pool_that_takes_nothing_until_it_is_empty(prepared: Prepared) -> None:
    prepared.write("sys/module/zswap/parameters/accept_threshold_percent", "1\n")
    fine, finding = prepared.find("pool")
    assert fine.status == "OK"
    assert finding.status == "WARN"
    assert finding.fix == ("ghostctl zswap set accept_threshold_percent=90 --persist",)


def test_a_full_pool(prepared: Prepared) -> None:
    """256 MiB may be taken."""
    prepared.areas(f"{GHOST} ghost {400 << 10} {300 << 10} 100")
    prepared.write("proc/meminfo", "MemTotal: 524288 kB\nZswap: 250000 kB\nZswapped: 300000 kB\n")
    finding = prepared.one("pool")
    assert (finding.status, finding.fix) == ("WARN", ())
    assert "95% full: 85.8M of slots are free in vain" in finding.seen
    # but for slots that end first it is as it should be
    prepared.areas(f"{GHOST} ghost {310 << 10} {300 << 10} 100")
    assert prepared.one("pool").status == "OK"


def test_a_ghost_larger_than_the_pool(prepared: Prepared) -> None:
    prepared.make(1024 * MIB)
    prepared.areas(f"{GHOST} ghost {1024 << 10} 0 100", "/swap file 1048576 0 5")
    finding = prepared.one("size")
    assert finding.status == "FAIL"
    edit = finding.fix[-1]
    assert finding.fix == (f"ghostctl resize --cycle {GHOST} 256M", edit)
    assert "x-ghost.size=256M" in edit
    # the limit is raised first
    prepared.write("sys/module/zswap/parameters/max_pool_percent", "20\n")
    raised = "ghostctl zswap set max_pool_percent=50 --persist"
    assert prepared.one("size").fix == (raised, f"ghostctl resize --cycle {GHOST} 256M", edit)
    prepared.make(200 * MIB)
    prepared.areas(f"{GHOST} ghost {200 << 10} 0 100")
    assert prepared.one("size").fix == (raised,)
    # without a priority it is to be above what is active
    prepared.write("etc/fstab", FSTAB.replace("pri=100,", ""))
    prepared.areas("/swap file 1048576 0 105")
    assert prepared.one("size").fix == (raised,)
    prepared.write("etc/fstab", FSTAB)
    # not active, it declares as much
    prepared.areas()
    assert prepared.one("size").fix == (raised,)
    prepared.areas(f"{GHOST} ghost {1024 << 10} 0 100", "/swap file 1048576 0 105")
    finding = prepared.one("size")
    assert finding.status == "OK"
    assert finding.seen.endswith("; /swap has the higher priority and takes the rest")
    assert prepared.one("priority").status == "OK"


@pytest.mark.parametrize("name", ["swap0", "my.sw*p [1]", "x|y&z"])
def test_the_edit_of_fstab_changes_one_option(prepared: Prepared, name: str) -> None:
    other = "/var/lib/ghost/swap1 none swap x-ghost.size=5G,nofail 0 0\n"
    path = f"/var/lib/ghost/{name}"
    field = path.replace(" ", "\\040")
    prepared.ghost.rename(prepared.root / path.lstrip("/"))
    line = f"{field} none swap nofail,x-ghost.size=1G,pri=3 0 0\n"
    prepared.write("etc/fstab", other + line)
    prepared.areas()
    new = header.ghost(1024 * MIB // 4096, 4096)
    ghostwrite.create(str(prepared.root / path.lstrip("/")), ghostwrite.Request(new, force=True))
    run_hint(prepared.one("size").fix[1], prepared.root / "etc/fstab")
    assert (prepared.root / "etc/fstab").read_text() == other + line.replace("1G", "256M")


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ("/dev/zram0 partition 1024 0 200", "WARN"),
        ("/swap file 1024 0 200", "WARN"),
        ("/dev/zram0 partition 1024 0 99", "OK"),
        ("/swap file 1024 0 99", "OK"),
        ("/swap file 1024 0 -1", "OK"),
        ("/swap file 1024 0 -2", "OK"),
    ],
)
def test_priorities(prepared: Prepared, other: str, status: str) -> None:
    prepared.areas(f"{GHOST} ghost {200 << 10} 0 100", other)
    finding = prepared.one("priority")
    assert finding.status == status
    if status == "WARN":
        assert finding.fix[:2] == (f"ghostctl off {GHOST}", f"ghostctl on -p 201 {GHOST}")
        assert "pri=201" in finding.fix[2]


@pytest.mark.parametrize(("prio", "fix"), [(100, 101), (-1, 0), (-2, -1)])
def test_the_same_priority(prepared: Prepared, prio: int, fix: int) -> None:
    prepared.areas(f"{GHOST} ghost {200 << 10} 0 {prio}", f"/swap file 1024 0 {prio}", "/deep file 1024 0 -3")
    finding = prepared.one("priority")
    assert finding.status == "WARN"
    assert finding.seen.startswith(f"/swap has the same priority as {GHOST} and is slower: the ghost and it")
    assert finding.fix[:2] == (f"ghostctl off {GHOST}", f"ghostctl on -p {max(fix, 0)} {GHOST}")
    # of a ghost that is too large, both are said, and the commands for the size come first
    prepared.make(1024 * MIB)
    prepared.areas(f"{GHOST} ghost {1024 << 10} 0 {prio}", f"/swap file 1024 0 {prio}")
    assert prepared.one("priority").status == "WARN"
    assert prepared.one("size").status == "FAIL"


def test_a_priority_in_what_is_printed(prepared: Prepared) -> None:
    """Without one the ghost may get that of the others."""
    prepared.areas("/swap file 1024 0 -1", "/other file 1024 0 -2")
    assert prepared.one("active").fix == (f"ghostctl on -p 100 {GHOST}",)
    prepared.write("etc/fstab", FSTAB.replace("pri=100,", ""))
    prepared.areas("/swap file 1024 0 7")
    assert prepared.one("active").fix == (f"ghostctl on -p 8 {GHOST}",)
    prepared.areas()
    assert prepared.one("active").fix == (f"ghostctl on -p 100 {GHOST}",)


def test_zram_has_a_table_of_its_own_for_the_slots(prepared: Prepared) -> None:
    """16 bytes a page beside the 3.25 of the kernel at most: 200 MiB have 51,200 pages."""
    machine = Machine(str(prepared.root))
    machine.interfaces = Interfaces(False, False, False, False, True)
    device = Area("/dev/zram7", "partition", (200 << 10) - 4, 0, 100)
    machine.actives = [Active(device, device.name, "zram", GHOST)]
    found = dict(doctor.examine(machine))["slots"]
    assert found.seen == "at most 962.5K of kernel memory for the slots of 1 ghost"


@pytest.mark.parametrize(
    ("pages", "symbols", "status", "words"),
    [
        # 52 MiB, or 1.5 MiB, where a tenth of memory is 51.2
        (16 << 20, None, "WARN", "or far less: the kernel's symbols do not tell"),
        (16 << 20, "0 T add_swap_count_continuation\n", "WARN", "more than 10% of"),
        (16 << 20, "0 T swap_retry_table_alloc\n", "OK", "at most 1.5M of kernel memory"),
        (1 << 20, None, "OK", "at most 3.3M of kernel memory"),
        (1 << 30, "", "WARN", "96M of kernel memory for the slots of 1 ghost: more than 10% of"),
    ],
)
def test_memory_for_slots(
    prepared: Prepared,
    monkeypatch: pytest.MonkeyPatch,
    pages: int,
    symbols: str | None,
    status: str,
    words: str,
) -> None:
    monkeypatch.setattr("ghostctl.sizes.ram_bytes", lambda: 512 * MIB)
    prepared.make(pages * 4096)
    if symbols is not None:
        prepared.write("proc/kallsyms", symbols)
    finding = prepared.one("slots")
    assert finding.status == status
    assert words in finding.seen


def test_other_kinds_of_kernels(prepared: Prepared) -> None:
    """vswap, in which zswap needs no area; swap tiers, made by priority; a new word for a ghost."""
    prepared.write("sys/kernel/debug/vswap/used", "0\n")
    prepared.write("sys/kernel/mm/swap/tiers", "zram:100\nhdd:-1\n")
    prepared.areas(f"{GHOST} spectre {200 << 10} 0 100", "vswap0 vswap 1024 0 100")
    assert "a ghost may add nothing" in prepared.one("kernel").seen
    assert prepared.one("active").seen.startswith(GHOST)
    seen = prepared.one("priority").seen
    assert seen == f"{GHOST} 100, vswap0 100; tiers by priority: zram:100 hdd:-1"
    # of lxcfs, in a container: no ghost that declares 8 GiB
    prepared.areas("none virtual 8388608 0 0")
    assert prepared.one("size").seen.startswith("200M declared")


def test_page_size(prepared: Prepared) -> None:
    prepared.make(200 * MIB, 16384)
    finding = prepared.one("page-size")
    assert finding.status == "FAIL"
    make = f"ghostctl mkghost --if-needed -s {200 * MIB} {GHOST}"
    # not while it is active
    assert finding.fix == (f"ghostctl off {GHOST} && {make} && ghostctl on -p 100 {GHOST}",)
    prepared.areas()
    assert prepared.one("page-size").fix == (make,)


def test_permissions(prepared: Prepared) -> None:
    prepared.ghost.chmod(0o644)
    finding = prepared.one("permissions")
    assert finding.status == "WARN"
    assert f"chmod 600 {GHOST}" in finding.fix


def test_header(prepared: Prepared) -> None:
    with prepared.ghost.open("r+b") as file:
        file.seek(1028)
        file.write(b"\x01\x02")
    finding = prepared.one("header")
    assert finding.status == "FAIL"
    assert "CRC" in finding.seen


def test_a_file_that_is_no_ghost_is_moved_away(prepared: Prepared) -> None:
    prepared.ghost.write_text("precious\n")
    finding = prepared.one("header")
    command = f"mv -n {GHOST} /var/lib/swap0.old && ghostctl mkghost -s 200M {GHOST}"
    assert (finding.status, finding.fix) == ("FAIL", (command,))


def test_an_ordinary_swap_file_beside_it_is_none_of_its_business(prepared: Prepared) -> None:
    page = header.pack(header.ghost(1 << 20, 4096, bare=True))
    for path in (prepared.ghost.with_name("real"), prepared.root / "swapfile"):
        path.write_bytes(page + bytes(4096))
    prepared.write("etc/fstab", FSTAB + "/swapfile none swap sw 0 0\n/no-more none swap sw 0 0\n")
    prepared.write("no-more", "text\n")
    for check in ("size", "header", "fstab"):
        assert prepared.one(check).status == "OK"


def test_fstab_line_without_file(prepared: Prepared) -> None:
    prepared.ghost.unlink()
    finding = prepared.one("fstab")
    assert (finding.status, finding.fix) == ("FAIL", (f"ghostctl mkghost -s 200M {GHOST}",))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("x-ghost.size=many,nofail", "invalid size"),
        ("x-ghost.size=1G,nofail,x-systemd.makefs", "makefs"),
        ("x-ghost.size=1G", "no nofail"),
    ],
)
def test_fstab_lines(prepared: Prepared, options: str, words: str) -> None:
    prepared.write("etc/fstab", f"{GHOST} none swap {options} 0 0\n")
    finding = prepared.one("fstab")
    assert words in finding.seen
    path = prepared.root / "etc/fstab"
    run_hint(finding.fix[0], path)
    assert prepared.one("fstab").status == "OK"


@pytest.mark.parametrize(
    "word", [GHOST, "UUID=00010203-0405-0607-0809-0a0b0c0d0e0f", "LABEL=swap", f"file:{GHOST}"]
)
def test_resume(prepared: Prepared, word: str) -> None:
    prepared.write("proc/cmdline", f"root=/dev/vda resume={word} quiet\n")
    finding = prepared.one("resume")
    assert finding.status == "FAIL"
    grub = prepared.root / "grub"
    grub.write_text(f'GRUB_CMDLINE_LINUX_DEFAULT="resume={word} quiet"\n')
    subprocess.run(finding.fix[0].replace("/etc/default/grub", str(grub)), shell=True, check=True)
    assert grub.read_text() == 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'
    prepared.write("proc/cmdline", "resume=/dev/sda2 noresume\n")
    assert prepared.one("resume").status == "OK"


def test_resume_of_initramfs_tools(prepared: Prepared) -> None:
    prepared.write("etc/initramfs-tools/conf.d/resume", f"RESUME={GHOST}\n")
    finding = prepared.one("resume")
    assert finding.fix == ("echo RESUME=none > /etc/initramfs-tools/conf.d/resume", "update-initramfs -u")


def test_swappiness(prepared: Prepared) -> None:
    prepared.write("proc/sys/vm/swappiness", "0\n")
    assert prepared.one("swappiness").status == "WARN"


def test_cgroup(prepared: Prepared) -> None:
    prepared.write("sys/fs/cgroup/a/memory.zswap.max", "0\n")
    prepared.write("sys/fs/cgroup/a/memory.swap.max", "max\n")
    prepared.write("sys/fs/cgroup/b/memory.zswap.max", "0\n")
    prepared.write("sys/fs/cgroup/b/memory.swap.max", "0\n")
    finding = prepared.one("cgroup")
    assert finding.fix == ("echo max > /sys/fs/cgroup/a/memory.zswap.max",)
    # a service that may have 64 MiB in swap, and 5 in zswap
    prepared.write("sys/fs/cgroup/a/memory.zswap.max", "5242880\n")
    prepared.write("sys/fs/cgroup/a/memory.swap.max", "67108864\n")
    assert "/sys/fs/cgroup/a (5M)" in prepared.one("cgroup").seen
    prepared.write("sys/fs/cgroup/a/memory.zswap.max", "67108864\n")
    assert prepared.one("cgroup").status == "OK"


def test_noauto_fails_no_boot(prepared: Prepared) -> None:
    prepared.write("etc/fstab", FSTAB.replace("nofail,", ""))
    assert prepared.one("fstab").status == "WARN"
    prepared.write("etc/fstab", FSTAB.replace("nofail,", "noauto,"))
    assert prepared.one("fstab").status == "OK"


def interfaces(prepared: Prepared, offers: Interfaces) -> dict[str, Finding]:
    machine = Machine(str(prepared.root))
    machine.interfaces = offers
    return dict(doctor.examine(machine))


def test_a_kernel_without_ghosts(prepared: Prepared) -> None:
    prepared.areas()
    found = interfaces(prepared, Interfaces(False, False, False, False, True))
    assert found["kernel"].status == "FAIL"
    on = f"ghostctl on --fallback zram --memory-limit 200M -p 100 {GHOST}"
    # what zswap takes never comes to zram
    assert found["kernel"].fix == ("ghostctl zswap set enabled=no --persist", on)
    prepared.write("sys/module/zswap/parameters/enabled", "N\n")
    assert interfaces(prepared, Interfaces(False, False, False, False, True))["zswap"].status == "OK"
    # with what its line says, and no larger than that allows
    options = "x-ghost.compressor=zstd,x-ghost.memory-limit=64M,"
    prepared.write("etc/fstab", FSTAB.replace("pri=100,", f"pri=7,{options}"))
    assert interfaces(prepared, Interfaces(False, False, False, False, True))["active"].fix == (
        f"ghostctl resize {GHOST} 64M",
        f"ghostctl on --fallback zram --compressor zstd --memory-limit 64M -p 7 {GHOST}",
    )
    assert interfaces(prepared, Interfaces(None, False, False, False, True))["kernel"].status == "WARN"
    assert interfaces(prepared, Interfaces(False, False, False, False, False))["kernel"].fix == ()


def test_a_kernel_with_the_device_mapper_instead(prepared: Prepared) -> None:
    offers = Interfaces(False, False, False, True, True)
    prepared.areas()
    found = interfaces(prepared, offers)
    assert found["kernel"].status == "FAIL"
    assert "no ghost swap, but dm can do its work" in found["kernel"].seen
    # in zswap, which stays as it is
    assert found["kernel"].fix == (f"ghostctl on --fallback dm -p 100 {GHOST}",)
    assert "200M declared, zswap's pool may take" in found["size"].seen
    prepared.write("sys/module/zswap/parameters/enabled", "N\n")
    assert interfaces(prepared, offers)["zswap"].status == "FAIL"


@pytest.mark.parametrize(
    ("symbols", "xswap", "expected"),
    [
        ("0 B nr_real_swapfiles\n", False, True),
        ("0 B nr_real_swapfiles\n", True, None),
        ("0 B nr_swapfiles\n", False, False),
        ("", False, None),
    ],
)
def test_what_the_symbols_say(prepared: Prepared, symbols: str, xswap: bool, expected: bool | None) -> None:
    prepared.areas()
    prepared.write("proc/kallsyms", symbols)
    if xswap:
        prepared.write("sys/kernel/mm/xswap/create", "")
    assert Machine(str(prepared.root)).interfaces.file is expected
    assert Machine(str(prepared.root), probed=True).interfaces.file is True


def test_an_active_ghost_proves_it(prepared: Prepared) -> None:
    prepared.write("proc/kallsyms", "")
    assert Machine(str(prepared.root)).interfaces.file is True


def test_every_check_is_explained() -> None:
    assert len({check.id for check in doctor.CHECKS}) == len(doctor.CHECKS)
    assert all(len(check.explanation) > 60 for check in doctor.CHECKS)


def test_an_area_without_a_file_counts(prepared: Prepared) -> None:
    prepared.ghost.unlink()
    prepared.write("etc/fstab", "")
    prepared.areas("/dev/ghostswap ghost 197132288 0 100")
    finding = prepared.one("size")
    assert finding.status == "FAIL"
    assert finding.seen.startswith("188G declared, zswap's pool may take 256M")


def test_somebody_elses_file_is_no_failure_and_only_moved(prepared: Prepared) -> None:
    (prepared.ghost.parent / "notes.txt").write_text("a letter\n")
    finding = prepared.one("header")
    assert (finding.status, finding.fix) == (
        "WARN",
        ("mv -n /var/lib/ghost/notes.txt /var/lib/notes.txt.old",),
    )


def test_what_may_not_be_read_is_not_fine() -> None:
    require("root", "pages-4k")
    # pytest's own directories are closed to others
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        prepared = Prepared(Path(name) / "root")
        for path in (Path(name), prepared.root, *prepared.root.rglob("*")):
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
        prepared.ghost.chmod(0o600)
        os.seteuid(65534)
        try:
            header_check, size = prepared.one("header"), prepared.one("size")
        finally:
            os.seteuid(0)
    assert header_check == Finding("WARN", f"only root can look at {GHOST}")
    assert size.seen.startswith("200M declared")


@pytest.mark.parametrize("name", ["a^b", "a.b", "a*b", "a[b]", "a$b", "a|b", "a b"])
def test_the_edit_of_fstab_is_of_that_line(prepared: Prepared, name: str, tmp_path: Path) -> None:
    path = f"/{name}"
    others = "/a1/other none swap x-ghost.size=2G\n/aXb none swap x-ghost.size=2G\n"
    encoded = fstab.encode(path).decode()
    prepared.write("etc/fstab", f"{others}{encoded} none swap nofail,x-ghost.size=lots\n")
    (command, *_) = (finding.fix[0] for finding in prepared.find("fstab") if "invalid size" in finding.seen)
    copy = tmp_path / "fstab"
    copy.write_text((prepared.root / "etc/fstab").read_text())
    run_hint(command, copy)
    assert copy.read_text().startswith(others + encoded)
    assert "lots" not in copy.read_text()


def test_no_command_for_a_name_that_cannot_be_shown(prepared: Prepared) -> None:
    prepared.write("etc/fstab", "/x\\012y none swap x-ghost.size=lots\n")
    assert [finding.fix for finding in prepared.find("fstab") if "line end" in finding.seen] == []
    assert not any("fstab set" in command for finding in prepared.find("fstab") for command in finding.fix)


def test_what_in_fstab_can_be_no_ghost(prepared: Prepared) -> None:
    (prepared.root / "directory").mkdir()
    prepared.write("etc/fstab", FSTAB + "/directory none swap nofail,x-ghost.size=1G\n")
    assert "is a directory" in prepared.one("fstab").seen
    prepared.write("etc/fstab", FSTAB + "LABEL=x none swap nofail,x-ghost.size=1G\n")
    assert "LABEL=x: systemd finds no ghost but by its path" in prepared.one("fstab").seen


def test_the_verdict(prepared: Prepared) -> None:
    def verdict(*statuses: doctor.Status, **offers: bool | None) -> str:
        machine = Machine(str(prepared.root))
        known = {"file": True, "ghostswap": False, "xswap": False, "dm": False, "zram": True}
        machine.interfaces = Interfaces(**{**known, **offers})
        return doctor.verdict(machine, statuses)

    assert verdict("OK", "OK") == "1 ghost is active; all is well"
    assert verdict("OK", "WARN", "FAIL", "WARN") == "1 ghost is active; 1 wrong, 2 to look at"
    prepared.areas()
    assert verdict("WARN") == "ghosts can be used, and none is active; 1 to look at"
    prepared.ghost.unlink()
    # declared is as good as there
    assert verdict("FAIL") == "ghosts can be used, and none is active; 1 wrong"
    prepared.write("etc/fstab", "")
    assert verdict("WARN") == 'ghosts can be used, and none is set up: "ghostctl setup" does it; 1 to look at'
    assert verdict("WARN", file=False).startswith("ghosts can be used through zram, and none is set up")
    assert verdict("WARN", file=None).startswith("whether this kernel takes ghosts is not known")
    assert "can use no ghosts" in verdict("FAIL", file=False, zram=False)
    (prepared.root / "proc/swaps").unlink()
    assert verdict("WARN").startswith("whether a ghost is active cannot be told (")


WITH_FILES = Interfaces(file=True, ghostswap=False, xswap=False, dm=False, zram=True)
ZRAM_ONLY = Interfaces(file=False, ghostswap=False, xswap=False, dm=False, zram=True)
SWAP_ON = Active(Area(GHOST, "ghost", 200 << 10, 0, 100), GHOST, "file", GHOST)


def on_zram(size: int = 200 << 10, prio: int = 100, ghost: str | None = GHOST, number: int = 4711) -> Active:
    """A ghost that is active as a zram device that no machine has."""
    area = Area(f"/dev/zram{number}", "partition", size, 0, prio)
    return Active(area, area.name, "zram", ghost)


def look(
    prepared: Prepared,
    check: str,
    *actives: Active,
    offers: Interfaces = WITH_FILES,
    ghosts: list[Ghost] | None = None,
    unreadable: tuple[str, ...] = (),
) -> list[Finding]:
    """What a check finds with these areas active, and with these ghosts when they are given."""
    machine = Machine(str(prepared.root))
    machine.interfaces = offers
    machine.actives = list(actives)
    machine.areas = [one.area for one in actives]
    if ghosts is not None or unreadable:
        machine._looked = (ghosts or [], list(unreadable))
    return run(machine, check)


@pytest.fixture
def any_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is proposed depends on the kernel that is described, not on the one that runs the test."""
    monkeypatch.setattr(plan, "_fallback", lambda _: None)


DENIED = PermissionError(errno.EACCES, "Permission denied", "/dev/zram4711")
BROKEN = OSError(errno.EIO, "Input/output error", "/dev/zram4711")


@pytest.mark.parametrize(
    ("offers", "actives", "status", "words", "fix"),
    [
        (WITH_FILES, (), "OK", "", ()),
        (Interfaces(False, True, False, False, False), (), "OK", "", ()),
        (ZRAM_ONLY, (on_zram(),), "OK", "; ghosts are active through zram", ()),
        # what is active says nothing of other kinds
        (ZRAM_ONLY, (SWAP_ON,), "FAIL", "; no ghost swap, but zram can do its work", None),
        (Interfaces(None, None, None, False, None), (), "WARN", "; /sys is not mounted", ()),
        (Interfaces(False, False, False, False, None), (), "WARN", "; /sys is not mounted", ()),
        (
            Interfaces(None, False, False, False, True),
            (),
            "WARN",
            "; only a try can tell",
            ("ghostctl doctor --probe",),
        ),
        (
            ZRAM_ONLY,
            (on_zram()._replace(backend=None, doubt=DENIED),),
            "WARN",
            "; only root can tell whether /dev/zram4711 was made for a ghost",
            (),
        ),
        (
            ZRAM_ONLY,
            (
                on_zram()._replace(backend=None, doubt=BROKEN),
                on_zram(number=4712)._replace(backend=None, doubt=DENIED),
            ),
            "WARN",
            "; cannot tell whether /dev/zram4711, /dev/zram4712 was made for a ghost: "
            "/dev/zram4711: Input/output error; /dev/zram4711: Permission denied",
            (),
        ),
        (Interfaces(False, False, False, False, False), (), "FAIL", "another kernel is needed", ()),
    ],
)
def test_what_the_kernel_offers(
    prepared: Prepared,
    offers: Interfaces,
    actives: tuple[Active, ...],
    status: str,
    words: str,
    fix: tuple[str, ...] | None,
) -> None:
    (finding,) = look(prepared, "kernel", *actives, offers=offers)
    assert finding.status == status
    assert finding.seen.endswith(words or f": {offers}")
    assert fix is None or finding.fix == fix


@pytest.mark.usefixtures("any_kernel")
def test_what_is_proposed_where_nothing_is(prepared: Prepared) -> None:
    """As ghostctl plan does, with the directory where that is another one."""
    prepared.ghost.unlink()
    prepared.write("etc/fstab", "")
    make, on = "ghostctl mkghost -s 256M {}", "ghostctl on -p 100 {}"
    commands = (make.format(GHOST), on.format(GHOST))
    assert look(prepared, "active") == [Finding("WARN", "no ghost is there", commands)]
    prepared.write("etc/fstab", "/swap/g none swap x-ghost.size=1G\n")
    commands = (make.format("/swap/g"), on.format("/swap/g"))
    (finding,) = look(prepared, "active")
    assert finding.fix == ("mkdir -p /swap", *commands)
    (prepared.root / "swap").mkdir()
    (finding,) = look(prepared, "active")
    assert finding.fix == commands
    # what is in its place is said by another check
    prepared.write("swap/g", "a letter\n")
    (finding,) = look(prepared, "kernel", offers=ZRAM_ONLY)
    assert (finding.status, finding.fix) == ("FAIL", ())


@pytest.mark.usefixtures("any_kernel")
@pytest.mark.parametrize(
    ("line", "command"),
    [
        (f"{GHOST} none swap nofail", f"ghostctl mkghost -s 256M {GHOST}"),
        (f"{GHOST} none swap nofail,x-ghost.size=1G", f"ghostctl mkghost -s 1G {GHOST}"),
        ("/swap/g none swap nofail,x-ghost.size=1G", "mkdir -p /swap && ghostctl mkghost -s 1G /swap/g"),
        ("/etc/g none swap nofail,x-ghost.size=1G", "ghostctl mkghost -s 1G /etc/g"),
    ],
)
def test_how_a_missing_file_is_made(prepared: Prepared, line: str, command: str) -> None:
    prepared.ghost.unlink()
    prepared.write("etc/fstab", f"{line} 0 0\n")
    prepared.areas()
    (finding,) = look(prepared, "fstab")
    assert (finding.status, finding.fix) == ("FAIL", (command,))


def test_zswap_in_front_of_zram(prepared: Prepared) -> None:
    zram = on_zram()
    (finding,) = look(prepared, "zswap", zram, offers=ZRAM_ONLY)
    assert finding.status == "WARN"
    assert finding.seen.startswith(f"on, in front of the zram of {GHOST}: pages are compressed twice")
    assert finding.seen.endswith(f"; the other way out: ghostctl off {GHOST}")
    assert finding.fix == ("ghostctl zswap set enabled=no --persist",)
    # another ghost needs it
    other = SWAP_ON._replace(area=SWAP_ON.area._replace(name="/g"), ghost="/g")
    (finding,) = look(prepared, "zswap", zram._replace(ghost=None), other)
    assert finding.seen.endswith("; zswap has ghosts of its own")
    assert finding.fix == ("ghostctl off /dev/zram4711",)
    # a device that was made for no ghost is none of its business
    assert look(prepared, "zswap", zram._replace(backend=None)) == [Finding("OK", "on, lzo")]
    prepared.write("sys/module/zswap/parameters/enabled", "N\n")
    assert [one.status for one in look(prepared, "zswap", zram, offers=ZRAM_ONLY)] == ["OK"]


@pytest.mark.parametrize(
    ("mm_stat", "seen"),
    [
        ("0 0 0 134217728 0 0 0 0", "zram4711 of {} may take 128M; 0% of it is in use"),
        ("90000000 60000000 67108864 134217728 0 0 0 0", "zram4711 of {} may take 128M; 50% of it is in use"),
        ("90000000 60000000 67108864 0 0 0 0 0", "zram4711 of {} may take all memory; 12% of it is in use"),
        (None, "zram4711 of {} may take all memory"),
    ],
)
@pytest.mark.parametrize(("ghost", "name"), [(GHOST, GHOST), (None, "/dev/zram4711")])
def test_the_pool_of_a_zram_device(
    prepared: Prepared, mm_stat: str | None, seen: str, ghost: str | None, name: str
) -> None:
    if mm_stat is not None:
        prepared.write("sys/block/zram4711/mm_stat", f"{mm_stat}\n")
    own, rest = look(prepared, "pool", on_zram(ghost=ghost), offers=ZRAM_ONLY)
    assert own == Finding("OK", seen.format(name))
    assert rest == Finding("OK", "zswap's is not needed")
    # nor by a ghost that could have been in it
    assert look(prepared, "pool", on_zram(ghost=ghost)) == [own, rest]
    assert look(prepared, "active", on_zram(ghost=ghost)) == [Finding("OK", name)]
    # of one that was made for no ghost nothing is said
    assert look(prepared, "pool", on_zram()._replace(backend=None), offers=ZRAM_ONLY) == [rest]


@pytest.mark.parametrize(
    ("percent", "status", "size"),
    [
        (9, "FAIL", "256M"),
        (10, "OK", "51.2M"),
        # 128 MiB beside it
        (75, "OK", "384M"),
        (76, "WARN", "256M"),
    ],
)
def test_sensible_limits(prepared: Prepared, percent: int, status: str, size: str) -> None:
    prepared.write("sys/module/zswap/parameters/max_pool_percent", f"{percent}\n")
    (finding,) = look(prepared, "pool", SWAP_ON)
    assert finding.status == status
    (finding,) = look(prepared, "size", SWAP_ON)
    assert finding.seen.startswith(f"200M declared, zswap's pool may take {size}")


@pytest.mark.parametrize(("threshold", "found"), [(None, 1), (0, 2), (49, 2), (50, 1), (100, 1)])
def test_when_a_full_pool_takes_pages_again(prepared: Prepared, threshold: int | None, found: int) -> None:
    path = prepared.root / "sys/module/zswap/parameters/accept_threshold_percent"
    path.write_text(f"{threshold}\n")
    if threshold is None:
        path.unlink()
    assert len(look(prepared, "pool", SWAP_ON)) == found


def test_a_limit_that_cannot_be_told(prepared: Prepared) -> None:
    unknown = Finding("WARN", "cannot tell what the pool may take: neither /proc/meminfo nor /sys says so")
    meminfo = (prepared.root / "proc/meminfo").read_text()
    prepared.write("proc/meminfo", "Zswap: 0 kB\nZswapped: 0 kB\n")
    assert look(prepared, "pool", SWAP_ON) == [unknown]
    prepared.write("proc/meminfo", meminfo)
    (prepared.root / "sys/module/zswap/parameters/max_pool_percent").unlink()
    assert look(prepared, "pool", SWAP_ON) == [unknown]
    assert look(prepared, "size", SWAP_ON) == [
        Finding("OK", "this kernel does not say what their pool may take")
    ]


def test_the_pool_of_a_zswap_that_is_off(prepared: Prepared) -> None:
    """Free slots are in vain, but what is wrong is that it is off."""
    prepared.write("sys/module/zswap/parameters/enabled", "N\n")
    assert look(prepared, "pool", SWAP_ON) == [Finding("OK", "may take 256M, 50% of memory")]


def test_what_is_declared(prepared: Prepared) -> None:
    fits = Finding("OK", "200M declared, zswap's pool may take 256M")
    # once, whether it is active or not
    active = SWAP_ON._replace(area=SWAP_ON.area._replace(size_kib=(200 << 10) - 4))
    assert look(prepared, "size", active) == look(prepared, "size") == [fits]
    # where no zswap could have it, a file is no more than a file
    nothing = Finding("OK", "no ghost declares anything")
    assert look(prepared, "size", offers=ZRAM_ONLY) == [nothing]
    assert look(prepared, "size", on_zram()._replace(backend=None), offers=ZRAM_ONLY) == [nothing]
    # the pool and no more: the slots run out first
    whole = SWAP_ON._replace(area=SWAP_ON.area._replace(size_kib=256 << 10))
    assert look(prepared, "size", whole) == [Finding("OK", "256M declared, zswap's pool may take 256M")]
    # a file that is no ghost declares nothing
    prepared.ghost.write_text("precious\n")
    assert look(prepared, "size") == [nothing]
    # an unknown limit of one pool is no reason to be silent about the other
    prepared.write("sys/block/zram4711/mm_stat", "0 0 0\n")
    assert look(prepared, "size", on_zram(), whole) == [
        Finding("OK", "this kernel does not say what their pool may take"),
        Finding("OK", "256M declared, zswap's pool may take 256M"),
    ]


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ("x-ghost.size=1G", ["x-ghost.size=256M", "x-ghost.memory-limit=256M"]),
        ("pri=3", ["x-ghost.memory-limit=256M"]),
        (None, []),
    ],
)
def test_a_ghost_larger_than_its_device(prepared: Prepared, options: str | None, changes: list[str]) -> None:
    prepared.write("sys/block/zram4711/mm_stat", "0 0 0 0 0 0 0 0\n")
    prepared.write("etc/fstab", "" if options is None else f"{GHOST} none swap nofail,{options} 0 0\n")
    (finding,) = look(prepared, "size", on_zram(1 << 20), offers=ZRAM_ONLY)
    assert finding.status == "FAIL"
    assert finding.seen.startswith("1G declared, zram4711 may take 512M: once that is full")
    commands = (
        f"ghostctl off {GHOST}",
        f"ghostctl resize {GHOST} 256M",
        f"ghostctl on --backend zram --memory-limit 256M -p 100 {GHOST}",
    )
    edit = (fstabedit.set_command(GHOST, changes),) if changes else ()
    assert finding.fix == (*commands, *edit)


def test_a_ghost_larger_than_the_pool_without_a_line(prepared: Prepared) -> None:
    large = SWAP_ON._replace(area=SWAP_ON.area._replace(size_kib=1 << 20))
    prepared.write("etc/fstab", "")
    resize = f"ghostctl resize --cycle {GHOST} 256M"
    assert [one.fix for one in look(prepared, "size", large)] == [(resize,)]
    # the line says nothing of a size
    prepared.write("etc/fstab", f"{GHOST} none swap nofail 0 0\n")
    assert [one.fix for one in look(prepared, "size", large)] == [(resize,)]


def test_slots_of_all_ghosts(prepared: Prepared) -> None:
    """3.25 bytes for each of 51,200 pages; a file that is no ghost has none."""
    (prepared.ghost.parent / "notes").write_text("a letter\n")
    ghost = Finding("OK", "at most 162.5K of kernel memory for the slots of 1 ghost")
    assert look(prepared, "slots") == look(prepared, "slots", SWAP_ON) == [ghost]
    shutil.copy(prepared.ghost, prepared.ghost.with_name("swap1"))
    both = Finding("OK", "at most 325K of kernel memory for the slots of 2 ghosts")
    assert look(prepared, "slots") == [both]
    assert look(prepared, "slots", unreadable=(GHOST,)) == [Finding("WARN", f"only root can look at {GHOST}")]


def test_what_only_root_can_look_at(prepared: Prepared) -> None:
    paths = ("/a", "/b")
    for check in ("slots", "page-size", "holes", "permissions", "header"):
        found = look(prepared, check, unreadable=paths)
        assert found == [Finding("WARN", "only root can look at /a, /b")]
    found = look(prepared, "active", unreadable=paths)
    assert found == [Finding("WARN", "only root can tell: /a, /b cannot be read")]
    doubtful = on_zram()._replace(backend=None, doubt=DENIED)
    found = look(prepared, "active", doubtful, unreadable=paths)
    assert found == [Finding("WARN", "only root can tell whether /dev/zram4711 was made for a ghost")]


def ghost(path: str = GHOST, pages: int | None = 51200, *problems: tuple[str, str]) -> Ghost:
    have = None if pages is None else header.ghost(10, 4096)._replace(last_page=pages - 1)
    return Ghost(path, have, tuple(Problem(name, kind, f"{name}!") for name, kind in problems), 0, 1234)


@pytest.mark.parametrize(
    ("problem", "check", "status", "fix"),
    [
        (("mode", "warning"), "permissions", "WARN", (f"chmod 600 {GHOST}",)),
        (("owner", "warning"), "permissions", "WARN", (f"chown root: {GHOST}",)),
        (("hibernation", "error"), "header", "FAIL", ()),
        (("label", "warning"), "header", "WARN", (f"ghostctl mkghost --if-needed -s {200 * MIB} {GHOST}",)),
        (("crc", "error"), "header", "FAIL", (f"ghostctl mkghost --if-needed -s {200 * MIB} {GHOST}",)),
        (("holes", "error"), "holes", "FAIL", (f"ghostctl mkghost --if-needed -s {200 * MIB} {GHOST}",)),
        (
            ("pagesize", "error"),
            "page-size",
            "FAIL",
            (f"ghostctl mkghost --if-needed -s {200 * MIB} {GHOST}",),
        ),
    ],
)
def test_whose_problem_it_is(
    prepared: Prepared, problem: tuple[str, str], check: str, status: str, fix: tuple[str, ...]
) -> None:
    found = look(prepared, check, ghosts=[ghost(GHOST, 51200, problem)])
    assert found == [Finding(status, f"{GHOST}: {problem[0]}!", fix)]  # type: ignore[arg-type]
    for other in {"permissions", "header", "holes", "page-size"} - {check}:
        assert [one.status for one in look(prepared, other, ghosts=[ghost(GHOST, 51200, problem)])] == ["OK"]


@pytest.mark.usefixtures("any_kernel")
@pytest.mark.parametrize(
    ("pages", "line", "size"),
    [
        (10, "x-ghost.size=1G", "40960"),
        # too small to be meant: what fstab says, or what is good
        (9, "x-ghost.size=1G", "1G"),
        (9, "pri=3", "256M"),
        (9, None, "256M"),
    ],
)
def test_the_size_of_a_ghost_that_is_made_again(
    prepared: Prepared, pages: int, line: str | None, size: str
) -> None:
    prepared.write("etc/fstab", "" if line is None else f"{GHOST} none swap nofail,{line}\n")
    (finding,) = look(prepared, "header", ghosts=[ghost(GHOST, pages, ("crc", "error"))])
    assert finding.fix == (f"ghostctl mkghost --if-needed -s {size} {GHOST}",)


def test_a_ghost_where_no_ghost_can_be(prepared: Prepared) -> None:
    broken = ghost("/ram/g 1", 51200, ("filesystem", "error"), ("crc", "error"))
    quoted = "'/ram/g 1'"
    # the other problem is mended at the place where it is
    elsewhere = f"ghostctl mkghost --if-needed -s {200 * MIB} '/var/lib/ghost/g 1'"
    here = f"mkdir -p /ram && ghostctl mkghost --if-needed -s {200 * MIB} {quoted}"
    (finding,) = look(prepared, "header", ghosts=[broken])
    assert (finding.status, finding.fix) == ("FAIL", (elsewhere, here))
    assert finding.seen == "/ram/g 1: filesystem!; crc!"
    area = Area("/ram/g 1", "ghost", 4, 0, 7)
    (finding,) = look(prepared, "header", Active(area, area.name, "file", area.name), ghosts=[broken])
    cycle = f"ghostctl off {quoted} && {here} && ghostctl on -p 7 {quoted}"
    assert finding.fix == (elsewhere, cycle)


@pytest.mark.parametrize(
    ("path", "away"),
    [
        # out of the directory, in which it would be taken for a ghost again
        ("/var/lib/ghost/a b", "/var/lib/a b.old"),
        ("/var/lib/ghost/sub/a", "/var/lib/ghost/sub/a.old"),
        ("/srv/var/lib/ghost/a", "/srv/var/lib/ghost/a.old"),
        ("/a", "/a.old"),
    ],
)
def test_where_what_is_no_ghost_is_moved(prepared: Prepared, path: str, away: str) -> None:
    broken = ghost(path, None, ("magic", "error"))
    move = f"mv -n {shlex.quote(path)} {shlex.quote(away)}"
    (finding,) = look(prepared, "header", ghosts=[broken])
    assert (finding.status, finding.fix) == ("WARN", (move,))
    # one that a line of fstab means, or the kernel
    area = Area("/elsewhere", "ghost", 4, 0, 7)
    (finding,) = look(prepared, "header", Active(area, area.name, "file", path), ghosts=[broken])
    assert (finding.status, finding.fix) == ("FAIL", (move,))


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ("pri=0", "-p 0"),
        ("pri=7", "-p 7"),
        # the kernel's choice could be that of another area
        ("pri=-1", "-p 100"),
        ("x-ghost.size=1G", "-p 100"),
    ],
)
def test_the_priority_of_what_is_to_be_active(prepared: Prepared, options: str, command: str) -> None:
    prepared.write("etc/fstab", f"{GHOST} none swap nofail,{options} 0 0\n")
    assert look(prepared, "active") == [
        Finding("WARN", "no ghost is active", (f"ghostctl on {command} {GHOST}",))
    ]
    prepared.write("etc/fstab", "")
    (finding,) = look(prepared, "active")
    assert finding.fix == (f"ghostctl on -p 100 {GHOST}",)


@pytest.mark.parametrize(
    ("size", "options", "fix"),
    [
        (200, "pri=7", ("on --fallback zram --memory-limit 200M -p 7",)),
        (256, "pri=7", ("on --fallback zram --memory-limit 256M -p 7",)),
        (300, "pri=7", ("resize", "256M", "on --fallback zram --memory-limit 256M -p 7")),
        (
            200,
            "pri=7,x-ghost.memory-limit=100M,x-ghost.compressor=lz4",
            ("resize", "100M", "on --fallback zram --compressor lz4 --memory-limit 100M -p 7"),
        ),
    ],
)
@pytest.mark.parametrize("zswap", ["Y", "N", None])
def test_a_ghost_on_a_kernel_with_zram_only(
    prepared: Prepared, size: int, options: str, fix: tuple[str, ...], zswap: str | None
) -> None:
    prepared.make(size * MIB)
    prepared.write("etc/fstab", f"{GHOST} none swap nofail,{options} 0 0\n")
    if zswap is None:
        shutil.rmtree(prepared.root / "sys/module/zswap")
    else:
        prepared.write("sys/module/zswap/parameters/enabled", f"{zswap}\n")
    *resize, on = fix
    commands = [f"ghostctl {resize[0]} {GHOST} {resize[1]}"] if resize else []
    commands += ["ghostctl zswap set enabled=no --persist"] if zswap == "Y" else []
    (finding,) = look(prepared, "active", offers=ZRAM_ONLY)
    assert finding.fix == (*commands, f"ghostctl {on} {GHOST}")


def area(name: str, prio: int, kind: str = "file") -> Active:
    return Active(Area(name, kind, 1024, 0, prio), name)


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        (
            area("/swap", 101),
            f"/swap is above {GHOST} and is slower: the ghost gets pages only once it is full",
        ),
        (
            area("/dev/zram0", 101, "partition"),
            f"/dev/zram0 is above {GHOST} and compresses as well: the ghost gets pages only once it is full",
        ),
        (
            area("/dev/zram0", 100, "partition"),
            f"/dev/zram0 has the same priority as {GHOST} and compresses as well: "
            "the ghost and it get pages in turn",
        ),
        (area("/swap", 99), None),
        # another ghost, in a pool of its own or not
        (on_zram(prio=101, ghost="/g"), None),
        (Active(Area("/g", "ghost", 1024, 0, 101), "/g", "file", "/g"), None),
        # an area of no use, of a kernel in which zswap needs none
        (area("vswap0", 101, "vswap"), None),
    ],
)
def test_what_is_used_first(prepared: Prepared, other: Active, seen: str | None) -> None:
    found = look(prepared, "priority", SWAP_ON, other)
    if seen is None:
        assert found == [Finding("OK", f"{GHOST} 100, {other.area.name} {other.area.prio}")]
    else:
        assert [(one.status, one.seen) for one in found] == [("WARN", seen)]
    assert look(prepared, "priority") == [Finding("OK", "no active area")]


@pytest.mark.parametrize(
    ("above", "commands"),
    [
        (101, [f"ghostctl off {GHOST}", f"ghostctl on -p 102 {GHOST}"]),
        (32766, [f"ghostctl off {GHOST}", f"ghostctl on -p 32767 {GHOST}"]),
        # nothing is above the highest: the other one comes down
        (32767, ["ghostctl off '/a swap'", "ghostctl on -p 99 '/a swap'"]),
    ],
)
def test_a_priority_above_the_others(prepared: Prepared, above: int, commands: list[str]) -> None:
    other = area("/a swap", above)
    edit = [fstabedit.set_command(GHOST, [f"pri={above + 1}"])] if above < 32767 else []
    assert [list(one.fix) for one in look(prepared, "priority", SWAP_ON, other)] == [[*commands, *edit]]
    prepared.write("etc/fstab", "")
    assert [list(one.fix) for one in look(prepared, "priority", SWAP_ON, other)] == [commands]
    # where the file is not known there is no command
    lost = SWAP_ON._replace(area=SWAP_ON.area._replace(name="/dev/ghostswap"), ghost=None)
    (finding,) = look(prepared, "priority", lost, other)
    assert (finding.status, finding.fix) == ("WARN", ())
    assert "is above /dev/ghostswap and is slower" in finding.seen


def test_above_and_beside(prepared: Prepared) -> None:
    """One command for both; the lowest that a ghost can have is 0."""
    low = SWAP_ON._replace(area=SWAP_ON.area._replace(prio=0))
    above, beside = look(prepared, "priority", low, area("/a", 5), area("/b", 0), area("/c", 7))
    assert above.seen.startswith("/a, /c is above ")
    assert above.fix[:2] == (f"ghostctl off {GHOST}", f"ghostctl on -p 8 {GHOST}")
    assert beside.seen.startswith("/b has the same priority as ")
    assert beside.fix == ()
    (finding,) = look(prepared, "priority", low, area("/a", 32767))
    assert finding.fix == ("ghostctl off /a", "ghostctl on -p 0 /a")


@pytest.mark.parametrize(
    ("size", "others", "status"),
    [
        # more than the pool may take: the other one takes the rest
        (257 << 10, (area("/swap", 101),), "OK"),
        (256 << 10, (area("/swap", 101),), "WARN"),
        (100 << 10, (area("/swap", 101),), "WARN"),
        # two ghosts have one pool
        (
            200 << 10,
            (area("/swap", 101), Active(Area("/g", "ghost", 100 << 10, 0, 100), "/g", "file", "/g")),
            "OK",
        ),
        # zram takes memory as well
        (257 << 10, (area("/dev/zram0", 101, "partition"),), "WARN"),
    ],
)
def test_an_area_for_what_the_pool_cannot_take(
    prepared: Prepared, size: int, others: tuple[Active, ...], status: str
) -> None:
    large = SWAP_ON._replace(area=SWAP_ON.area._replace(size_kib=size))
    assert {one.status for one in look(prepared, "priority", large, *others)} == {status}
    # a device without a limit may take all
    prepared.write("sys/block/zram4711/mm_stat", "0 0 0 0 0 0 0 0\n")
    (finding,) = look(prepared, "priority", on_zram(size), others[0])
    assert finding.status == "WARN"


@pytest.mark.usefixtures("any_kernel")
@pytest.mark.parametrize(
    ("line", "status", "seen"),
    [
        ("/swapfile none swap sw,x-ghost.szie=1G", "WARN", "line 1, /swapfile: x-ghost.szie is ignored"),
        ("/dev/sda2 none swap x-ghost.size=1G", "WARN", "line 1: /dev/sda2: that is not the path of a file"),
        ("/data /data ext4 defaults", "OK", "0 lines for ghosts"),
        (f"{GHOST} none swap nofail", "OK", "1 line for ghosts"),
        (f"{GHOST} none swap defaults", "WARN", f"line 1, {GHOST}: no nofail"),
        (f"{GHOST} none swap nofail,x-ghost.szie=1G", "WARN", f"line 1, {GHOST}: x-ghost.szie is ignored"),
        (f"{GHOST} none swap nofail,x-ghost.size=1K", "FAIL", f"line 1, {GHOST}: "),
        ("/a/../b none swap nofail,x-ghost.size=1G", "FAIL", "line 1, /a/../b: '..' in the path"),
        ("/a none swap nofail,x-ghost.size=1G", "FAIL", "line 1, /a: is a directory"),
        (
            "/loop none swap nofail,x-ghost.size=1G",
            "WARN",
            "line 1, /loop: Too many levels of symbolic links",
        ),
    ],
)
def test_what_a_line_says(prepared: Prepared, line: str, status: str, seen: str) -> None:
    (prepared.root / "loop").symlink_to("loop")
    prepared.write("b", "")
    (prepared.root / "a").mkdir()
    prepared.write("etc/fstab", f"{line} 0 0\n")
    found = look(prepared, "fstab", SWAP_ON)
    assert found[0].status == status
    assert found[0].seen.startswith(seen)


@pytest.mark.parametrize(
    ("words", "is_wrong"),
    [
        ("resume=LABEL=swap", True),
        ("resume=LABEL=other", False),
        ("resume=UUID=00010203-0405-0607-0809-0a0b0c0d0e0f", True),
        # what a ghost does not have is not what it is
        ("resume=PARTLABEL=swap", False),
        ("resume=PARTUUID=", False),
        # with an offset it is the device that is named, and the offset that tells
        ("resume=LABEL=swap resume_offset=7", False),
        ("resume=/dev/sda2 resume_offset=1234", True),
        ("resume=/dev/sda2 resume_offset=12x4", False),
        ("resume=/dev/sda2 resume_offset=", False),
        ("resume_offset=1234", False),
        ("resume=/dev/sda2", False),
    ],
)
def test_where_an_image_is_looked_for(prepared: Prepared, words: str, is_wrong: bool) -> None:
    have = header.ghost(51200, 4096, uuid=bytes(range(16)), label=b"swap")
    # one that cannot be read as a ghost is at no offset, and has no label
    ghosts = [ghost("/broken", None)._replace(block=None), ghost()._replace(header=have)]
    prepared.write("proc/cmdline", f"root=/dev/sda1 {words} quiet\n")
    found = look(prepared, "resume", ghosts=ghosts)
    assert [one.status for one in found] == (["FAIL"] if is_wrong else ["OK"])
    assert ghosts[1].path in found[0].seen or not is_wrong


def test_both_places_of_resume(prepared: Prepared) -> None:
    prepared.write("proc/cmdline", f"resume={GHOST}\n")
    prepared.write("etc/initramfs-tools/conf.d/resume", f"RESUME=file:{GHOST}\n")
    found = look(prepared, "resume", ghosts=[ghost()])
    assert [one.seen.partition(":")[0] for one in found] == [
        "kernel command line",
        "/etc/initramfs-tools/conf.d/resume",
    ]
    prepared.write("etc/initramfs-tools/conf.d/resume", "RESUME=/dev/sda2\n")
    (finding,) = look(prepared, "resume", ghosts=[ghost()])
    assert finding.seen.startswith("kernel command line: ")


@pytest.mark.parametrize(("value", "status"), [(0, "WARN"), (1, "OK"), (60, "OK"), (200, "OK")])
def test_which_swappiness(prepared: Prepared, value: int, status: str) -> None:
    prepared.write("proc/sys/vm/swappiness", f"{value}\n")
    (finding,) = look(prepared, "swappiness")
    assert finding.status == status
    assert finding.seen.startswith(f"vm.swappiness is {value}")


@pytest.mark.parametrize(
    ("in_zswap", "in_swap", "is_limited"),
    [
        ("0", "max", True),
        ("0", None, True),
        ("1000", "1001", True),
        ("1000", "1000", False),
        ("max", "max", False),
        # half of all memory is a limit, all of it is none
        (str(256 * MIB), "max", True),
        (str(512 * MIB), "max", False),
    ],
)
def test_which_cgroups_are_kept_from_zswap(
    prepared: Prepared, in_zswap: str, in_swap: str | None, is_limited: bool
) -> None:
    prepared.write("sys/fs/cgroup/memory.stat", "")
    prepared.write("sys/fs/cgroup/a/b c/memory.zswap.max", f"{in_zswap}\n")
    if in_swap is not None:
        prepared.write("sys/fs/cgroup/a/b c/memory.swap.max", f"{in_swap}\n")
    (finding,) = look(prepared, "cgroup", SWAP_ON)
    fix = ("echo max > '/sys/fs/cgroup/a/b c/memory.zswap.max'",) if is_limited else ()
    assert finding.fix == fix
    assert finding.status == ("WARN" if is_limited else "OK")
    assert look(prepared, "cgroup", on_zram(), offers=ZRAM_ONLY) == [Finding("OK", "no ghost is in zswap")]


def test_of_many_cgroups_three_are_named(prepared: Prepared) -> None:
    for number in range(5):
        prepared.write(f"sys/fs/cgroup/{number}/memory.zswap.max", "0\n")
    (finding,) = look(prepared, "cgroup", SWAP_ON)
    assert finding.seen.startswith("5 cgroups may have more in swap")
    assert finding.seen.count(" (0B)") == 3
    assert len(finding.fix) == 5


def test_nothing_is_known_of_cgroups_without_sys(prepared: Prepared) -> None:
    shutil.rmtree(prepared.root / "sys/kernel")
    assert look(prepared, "cgroup", SWAP_ON) == [Finding("WARN", "cannot tell: /sys is not mounted")]


def test_the_verdict_on_what_is_active(prepared: Prepared) -> None:
    def verdict(*actives: Active) -> str:
        machine = Machine(str(prepared.root))
        machine.interfaces = ZRAM_ONLY
        machine.actives = list(actives)
        return doctor.verdict(machine, [])

    assert verdict(SWAP_ON, area("/swap", 5)) == "1 ghost is active; all is well"
    assert verdict(SWAP_ON, on_zram()) == "2 ghosts are active through zram; all is well"
    doubtful = on_zram()._replace(backend=None, doubt=DENIED)
    assert verdict(doubtful).startswith("only root can tell whether /dev/zram4711 was made for a ghost; ")
    # one is known to be
    assert verdict(doubtful, SWAP_ON) == "1 ghost is active; all is well"
