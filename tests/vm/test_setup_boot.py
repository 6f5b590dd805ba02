# SPDX-License-Identifier: GPL-2.0-or-later
"""setup, a boot by systemd with what it made, usage, setup again, and setup --undo: as it was before."""

from __future__ import annotations

import json
import shutil
from typing import Any, NamedTuple

import pytest
from machine import require
from vm import lab
from vm.test_boot import Booted, boot

KERNELS = ("ghost-7.2", "ghost-6.12", "stock-7.2", "stock-6.12")
GHOST = "/var/lib/ghost/swap0"
FSTAB = b"# without a line end behind the last line\nnone /srv tmpfs noauto 0 0"
KEPT = (
    "etc/fstab",
    "etc/tmpfiles.d/ghostctl-zswap.conf",
    "etc/systemd/system-generators/ghostctl-generator",
    "var/lib/ghostctl/setup.json",
)
"""What a disk would keep between the boots, besides the ghost."""

STATE = """\
state() {
    mkdir -p /run/lab/$1
    cp /etc/fstab /run/lab/$1/fstab
    grep -r . /sys/module/zswap/parameters >/run/lab/$1/zswap
    cat /proc/swaps >/run/lab/$1/swaps
    ls /sys/block >/run/lab/$1/devices
    ls -a /var/lib/ghost /var/lib/ghostctl /etc/tmpfiles.d /etc/systemd/system-generators >/run/lab/$1/files
}
"""
FIRST = f"""\
{STATE}
mkdir -p /etc/tmpfiles.d /etc/systemd/system-generators
state before
ghostctl setup --yes --json >/run/lab/setup
look setup
ghostctl setup --yes --json >/run/lab/again
ghostctl fstab check >/run/lab/check
for file in {" ".join(KEPT)}; do
    if test -e /$file; then cp --parents /$file /run/lab/kept; fi
done
"""
SECOND = f"""\
{STATE}
mkdir -p /etc/tmpfiles.d /etc/systemd/system-generators
look boot
cat >/run/user.py <<'END'
import os, time
data = os.urandom(1 << 20) * 40
print(flush=True)
time.sleep(600)
END
python3 /run/user.py >/run/ready &
user=$!
until test -s /run/ready; do sleep 0.3; done
echo 60M swappiness=200 >/sys/fs/cgroup/system.slice/lab.service/memory.reclaim || true
echo $user >/run/lab/user
ghostctl usage --json >/run/lab/usage
ghostctl usage --cgroups --json >/run/lab/cgroups
ghostctl usage -n 5 >/run/lab/usage-text
ghostctl setup --yes --json >/run/lab/again
ghostctl setup --undo --yes --json >/run/lab/undo
state after
kill $user
"""


class Boots(NamedTuple):
    kernel: str
    first: Booted
    second: Booted

    @property
    def has_ghosts(self) -> bool:
        return self.kernel.startswith("ghost")


@pytest.fixture(scope="module", params=KERNELS)
def boots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Boots:
    kernel: str = request.param
    _, series = lab.split(kernel)
    require("vm", f"linux-{series}")
    directory = tmp_path_factory.mktemp(kernel)
    tree = directory / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/fstab").write_bytes(FSTAB)
    first = boot(kernel, directory, "first", f"mkdir -p /run/lab/kept\n{FIRST}")
    shutil.copytree(first.share / "kept", tree, dirs_exist_ok=True)
    return Boots(kernel, first, boot(kernel, directory, "second", SECOND))


def read(booted: Booted, name: str) -> Any:
    return json.loads(booted.read(name))


def test_setup_makes_it_active(boots: Boots) -> None:
    done = read(boots.first, "setup")
    area = boots.first.steps["setup"].areas[GHOST]
    assert done["changed"]
    assert done["backend"] == ("file" if boots.has_ghosts else "dm")
    assert (area.prio, area.size) == (done["priority"], done["size"] - 4096)
    steps = [step["id"] for step in done["steps"]]
    assert steps == ["zswap", "ghost", "area", "fstab", "generator"]


def test_setup_again_changes_nothing(boots: Boots) -> None:
    for booted in boots.first, boots.second:
        again = read(booted, "again")
        assert (again["changed"], again["steps"]) == (False, [])


def test_the_boot_has_it(boots: Boots) -> None:
    booted, step = read(boots.first, "setup"), boots.second.steps["boot"]
    assert step.areas[GHOST][1:5] == boots.first.steps["setup"].areas[GHOST][1:5]
    assert step.failed == set()
    assert step.zswap == "Y"
    assert booted["line"].encode() in (boots.first.share / "kept/etc/fstab").read_bytes()
    assert boots.first.read("check") == ""


def test_usage_names_the_process(boots: Boots) -> None:
    pid = int(boots.second.read("user"))
    rows = read(boots.second, "usage")["processes"]
    (own,) = [row for row in rows if row["pid"] == pid]
    assert own["swap"] > 20 << 20
    assert own["unit"] == "lab.service"
    assert str(pid) in boots.second.read("usage-text")
    groups = read(boots.second, "cgroups")["cgroups"]
    assert any("lab.service" in json.dumps(group) for group in groups)


def test_undo_leaves_the_machine_as_it_was(boots: Boots) -> None:
    assert read(boots.second, "undo")["changed"]
    for name in ("fstab", "zswap", "swaps", "files"):
        assert boots.second.read(f"after/{name}") == boots.first.read(f"before/{name}"), name
    before, after = boots.first.read("before/devices").split(), boots.second.read("after/devices").split()
    assert set(after) <= set(before)
