# SPDX-License-Identifier: GPL-2.0-or-later
"""Real boots by systemd with ghosts in fstab, on a kernel that takes them and on one that does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from machine import GHOSTCTL, ghostctl, require
from vm import lab

GARBAGE = b"""\
# a fstab that people have been at
"quoted path" none swap x-ghost.size=1G 0 0
x-ghost.size
/var/lib/ghost/bad none swap x-ghost.size=lots,nofail,noauto 0 0
\xff\xfe\x00 none swap x-ghost.size=1G,noauto
# getmntent(3), and with it systemd, loses the line behind a NUL
"""
LINES = """\
/var/lib/ghost/two\\040words none swap pri=50,x-ghost.size=64M 0 0
/var/lib/ghost/fallback none swap nofail,pri=10,x-ghost.size=128M,x-ghost.fallback=zram,x-ghost.zswap 0 0
/var/lib/ghost/damaged none swap nofail,pri=5,x-ghost.size=64M 0 0
/var/lib/ghost/later none swap nofail,noauto,x-ghost.size=64M 0 0
"""
LOOK = f"""\
{GHOSTCTL} status --json --no-zswap --output name,type,size,prio,uuid,ghost
systemctl --failed --plain --no-legend >/run/lab/failed
systemd-analyze blame >/run/lab/blame
ls /var/lib/ghost >/run/lab/files
cat /etc/fstab >/run/lab/fstab
cat /sys/module/zswap/parameters/enabled >/run/lab/zswap
"""
RELOAD = """\
systemctl daemon-reload
systemctl start swap.target
cat /proc/swaps >/run/lab/reloaded
systemctl restart var-lib-ghost-swap0.swap
cat /proc/swaps >/run/lab/restarted
systemctl is-system-running >/run/lab/running
"""
# what a power cut or an enthusiast leaves: of the header's fields nothing is right
DAMAGE = "printf 'damaged by somebody' | dd of=/var/lib/ghost/damaged bs=1 seek=1024 conv=notrunc\n"
FILL = """\
rm /var/lib/ghost/later
echo 'a letter' >/var/lib/ghost/foreign
dd if=/dev/zero of=/var/lib/ghost/full bs=1M
# on 7.2 a write of more than there is takes nothing of the rest
dd if=/dev/zero of=/var/lib/ghost/full2 bs=4096
sync
"""


class Booted(NamedTuple):
    boot: lab.Boot
    areas: dict[str, dict[str, Any]]
    """By name, from `ghostctl status`."""
    failed: str
    blame: str
    files: list[str]
    fstab: bytes
    zswap: str

    def log(self, words: str) -> list[str]:
        return [line for line in self.boot.journal.splitlines() if words in line]


def boot(kernel: str, directory: Path, number: int, fstab: bytes, after: str = "") -> Booted:
    _, series = lab.split(kernel)
    require("vm", f"linux-{series}")
    tree, share = directory / "tree", directory / f"share{number}"
    share.mkdir()
    (tree / "etc").mkdir(parents=True, exist_ok=True)
    (tree / "etc/fstab").write_bytes(fstab)
    generators = tree / "etc/systemd/system-generators"
    installed = ghostctl("fstab", "install-generator", "--directory", generators)
    assert installed.returncode == 0, installed.stderr
    disk = directory / "disk"
    if not disk.exists():
        lab.make_disk(disk, 64)
    done = lab.boot(
        kernel,
        f"exec 3>&1 2>/run/lab/stderr\n{LOOK}{after}",
        timeout=900,
        systemd=True,
        # under load an emulated timer fails the kernel's check
        append="no_timer_check",
        tree=tree,
        share=share,
        disk=disk,
    )
    log = lab.CACHE / "log" / f"boot-{kernel}-{number}"
    log.parent.mkdir(parents=True, exist_ok=True)
    read = {name: share / name for name in ("failed", "blame", "files", "fstab", "zswap")}
    blame = read["blame"].read_text() if read["blame"].exists() else ""
    log.write_text(f"{done.console}\n{done.journal}\n{done.output}\n{blame}\n{done.seconds:.1f} s\n")
    assert done.status is not None, f"no end of the boot, see {log}"
    areas = {area["name"]: area for area in json.loads(done.output)["swapareas"]}
    return Booted(
        done,
        areas,
        read["failed"].read_text(),
        blame,
        read["files"].read_text().split("\n"),
        read["fstab"].read_bytes(),
        read["zswap"].read_text().strip(),
    )


def fstab_with(tmp_path: Path, *options: str) -> bytes:
    """The fstab that `ghostctl fstab add` leaves behind."""
    path = tmp_path / "fstab"
    path.write_bytes(GARBAGE + LINES.encode())
    done = ghostctl("fstab", "add", "/var/lib/ghost/swap0", *options, "--nofail", "--zswap", "-T", path)
    assert done.returncode == 0, done.stderr
    data = path.read_bytes()
    assert data == GARBAGE + LINES.encode() + done.stdout.encode()
    return data


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boot")


@pytest.fixture(scope="module")
def first(directory: Path) -> Booted:
    """No ghost is there yet."""
    fstab = fstab_with(directory, "-s", "16G", "-p", "100")
    return boot("ghost-7.2", directory, 1, fstab, RELOAD + DAMAGE)


@pytest.fixture(scope="module")
def second(first: Booted, directory: Path) -> Booted:
    """All are there; one is damaged, one shall have another size."""
    assert first
    fstab = fstab_with(directory, "-s", "8G", "-p", "100")
    return boot("ghost-7.2", directory, 2, fstab, FILL)


@pytest.fixture(scope="module")
def third(second: Booted, directory: Path) -> Booted:
    """The disk is full, a ghost is missing, another file is where one should be."""
    assert second
    fstab = b"""\
/var/lib/ghost/swap0 none swap nofail,pri=100,x-ghost.size=8G 0 0
/var/lib/ghost/missing none swap nofail,pri=10,x-ghost.size=64M 0 0
/var/lib/ghost/foreign none swap nofail,pri=10,x-ghost.size=64M 0 0
"""
    return boot("ghost-7.2", directory, 3, fstab, "cat /var/lib/ghost/foreign >/run/lab/foreign")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Booted:
    directory = tmp_path_factory.mktemp("stock")
    return boot("stock-7.2", directory, 1, fstab_with(directory, "-s", "16G", "-p", "100"))


def usable(size: int) -> int:
    return size - 4096


def test_first_boot_makes_and_activates_the_ghosts(first: Booted) -> None:
    assert first.boot.state == "running", first.failed
    assert {name: (area["type"], area["size"], area["prio"]) for name, area in first.areas.items()} == {
        "/var/lib/ghost/swap0": ("ghost", usable(16 << 30), 100),
        "/var/lib/ghost/two words": ("ghost", usable(64 << 20), 50),
        "/var/lib/ghost/fallback": ("ghost", usable(128 << 20), 10),
        "/var/lib/ghost/damaged": ("ghost", usable(64 << 20), 5),
    }
    assert first.zswap == "Y"


def test_fstab_is_as_it_was(first: Booted) -> None:
    assert first.fstab.startswith(GARBAGE + LINES.encode())


def test_ghosts_come_before_swap_target(first: Booted) -> None:
    reached, *_ = first.log("Reached target swap.target")
    lines = first.boot.journal.splitlines()
    for unit in ("swap0", "two\\x20words", "damaged"):
        made, *_ = first.log(f"Finished ghostctl-mkghost@var-lib-ghost-{unit}.service")
        active, *_ = first.log(f"Activated swap var-lib-ghost-{unit}.swap")
        assert lines.index(made) < lines.index(active) < lines.index(reached)
    assert first.log("ordering cycle") == []


def test_reload_and_restart(first: Booted, directory: Path) -> None:
    reloaded, restarted, running = (
        (directory / "share1" / name).read_text() for name in ("reloaded", "restarted", "running")
    )
    assert [line.split()[0] for line in reloaded.splitlines()[1:]] == [
        name.replace(" ", "\\040") for name in first.areas
    ]
    assert sorted(restarted.splitlines()) == sorted(reloaded.splitlines())
    assert running == "running\n"


def test_noauto_is_left_alone(first: Booted) -> None:
    assert "later" not in first.files


def test_garbage_is_in_the_log_and_harms_nothing(first: Booted) -> None:
    for number, why in ((3, "at least 3 fields"), (4, "size"), (5, "NUL")):
        # a second one comes with the reload
        line, *_ = first.log(f"/etc/fstab:{number}: ")
        assert why in line
    assert "bad" not in first.files


def test_second_boot_leaves_ghosts_alone_that_are_right(first: Booted, second: Booted) -> None:
    assert second.boot.state == "running", second.failed
    for name in ("/var/lib/ghost/two words", "/var/lib/ghost/fallback"):
        assert second.areas[name] == first.areas[name]


def test_second_boot_changes_the_size(first: Booted, second: Booted) -> None:
    name = "/var/lib/ghost/swap0"
    assert second.areas[name] == first.areas[name] | {"size": usable(8 << 30)}


def test_second_boot_makes_a_damaged_ghost_anew(second: Booted) -> None:
    assert second.areas["/var/lib/ghost/damaged"]["size"] == usable(64 << 20)


def test_a_full_disk_fails_the_ghost_that_is_not_there_and_no_other(third: Booted, directory: Path) -> None:
    assert list(third.areas) == ["/var/lib/ghost/swap0"]
    assert third.boot.state == "degraded"
    units = {line.split()[0] for line in third.failed.splitlines()}
    assert units == {f"ghostctl-mkghost@var-lib-ghost-{name}.service" for name in ("missing", "foreign")}
    assert third.log("ghostctl: /var/lib/ghost/missing: No space left on device")
    assert "missing" not in third.files
    assert (directory / "share3/foreign").read_text() == "a letter\n"


def test_stock_kernel_boots_clean(stock: Booted) -> None:
    assert stock.boot.state == "running", stock.failed
    assert stock.failed == ""
    assert stock.log("Reached target swap.target")


def test_stock_kernel_says_why_in_one_line(stock: Booted) -> None:
    for name in ("swap0", "two words", "damaged"):
        (line,) = stock.log(f"ghostctl: /var/lib/ghost/{name}: ")
        assert "has no ghost swap" in line


def test_stock_kernel_falls_back(stock: Booted) -> None:
    (area,) = stock.areas.values()
    assert area["ghost"] == "/var/lib/ghost/fallback"
    assert area["name"].startswith("/dev/zram")
    assert area["prio"] == 10
