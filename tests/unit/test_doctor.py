# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from machine import require, run_hint

from ghostctl import doctor, fstab, ghostwrite, header
from ghostctl.areas import Active
from ghostctl.doctor import Finding
from ghostctl.machine import Interfaces, Machine
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
        machine.interfaces = Interfaces(file=True, ghostswap=False, xswap=False, zram=True)
        return [finding for name, finding in doctor.examine(machine) if name == check]

    def one(self, check: str) -> Finding:
        (finding,) = self.find(check)
        return finding


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    require("pages-4k")
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
    machine.interfaces = Interfaces(False, False, False, True)
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
    found = interfaces(prepared, Interfaces(False, False, False, True))
    assert found["kernel"].status == "FAIL"
    on = f"ghostctl on --fallback zram --memory-limit 200M -p 100 {GHOST}"
    # what zswap takes never comes to zram
    assert found["kernel"].fix == ("ghostctl zswap set enabled=no --persist", on)
    prepared.write("sys/module/zswap/parameters/enabled", "N\n")
    assert interfaces(prepared, Interfaces(False, False, False, True))["zswap"].status == "OK"
    # with what its line says, and no larger than that allows
    options = "x-ghost.compressor=zstd,x-ghost.memory-limit=64M,"
    prepared.write("etc/fstab", FSTAB.replace("pri=100,", f"pri=7,{options}"))
    assert interfaces(prepared, Interfaces(False, False, False, True))["active"].fix == (
        f"ghostctl resize {GHOST} 64M",
        f"ghostctl on --fallback zram --compressor zstd --memory-limit 64M -p 7 {GHOST}",
    )
    assert interfaces(prepared, Interfaces(None, False, False, True))["kernel"].status == "WARN"
    assert interfaces(prepared, Interfaces(False, False, False, False))["kernel"].fix == ()


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
        known = {"file": True, "ghostswap": False, "xswap": False, "zram": True}
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
