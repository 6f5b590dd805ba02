# SPDX-License-Identifier: GPL-2.0-or-later
"""The role of contrib/ansible where systemd runs and the kernel takes ghosts: zswap and the metrics timer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from machine import GHOSTCTL, REPOSITORY, require
from vm.test_boot import Booted, boot

KERNEL = "ghost-7.2"
GHOST = "/var/lib/ghost/swap0"
FSTAB = b"# without a line end behind the last line\nnone /srv tmpfs noauto 0 0"
METRICS = "/var/lib/prometheus/node-exporter"

SCRIPT = f"""\
export ANSIBLE_TRANSPORT=local ANSIBLE_PIPELINING=1 LC_ALL=C.UTF-8
export ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3 ANSIBLE_ROLES_PATH={REPOSITORY}/contrib/ansible/roles
ln -s {GHOSTCTL} /usr/local/bin/ghostctl
mkdir -p {METRICS} /etc/systemd/system-generators
rm -f {METRICS}/*

play() {{
    ansible-playbook --inventory localhost, --diff {REPOSITORY}/contrib/ansible/playbook.yml \\
        -e ghostctl_install=none -e ghostctl_size=64M "$@"
}}
state() {{
    mkdir -p /run/lab/seen/$1
    cp /etc/fstab /run/lab/seen/$1/fstab
    grep -r . /sys/module/zswap/parameters >/run/lab/seen/$1/zswap
    cat /proc/swaps >/run/lab/seen/$1/swaps
    find /etc/systemd /etc/tmpfiles.d /var/lib/ghost /var/lib/ghostctl | sort >/run/lab/seen/$1/files
    systemctl list-timers --all --plain --no-legend 'ghostctl*' >/run/lab/seen/$1/timers
}}

state before
play --check >/run/lab/checked
state checked
play >/run/lab/done
look done
state done
play >/run/lab/again
systemctl is-enabled ghostctl-metrics.timer >/run/lab/enabled
until test -e {METRICS}/ghostctl.prom || systemctl is-failed ghostctl-metrics.service; do sleep 0.5; done
cp {METRICS}/ghostctl.prom /run/lab/
play -e ghostctl_state=absent >/run/lab/back
look back
state back
"""
PARTS = ("fstab", "zswap", "swaps", "files", "timers")


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Booted:
    require("vm", "linux-7.2", "ansible")
    directory = tmp_path_factory.mktemp("ansible")
    (directory / "tree/etc").mkdir(parents=True)
    (directory / "tree/etc/fstab").write_bytes(FSTAB)
    return boot(KERNEL, directory, "only", SCRIPT)


def changed(booted: Booted, name: str) -> bool:
    output = booted.read(name)
    recap = re.search(r"^localhost .* changed=(\d+) .* failed=0 ", output, re.MULTILINE)
    assert recap is not None, output
    return int(recap[1]) > 0


def test_there(booted: Booted) -> None:
    assert changed(booted, "done")
    area = booted.steps["done"].areas[GHOST]
    assert (area.type, area.size) == ("ghost", (64 << 20) - 4096)
    assert booted.steps["done"].zswap == "Y"
    assert booted.steps["done"].failed == set()
    for name in ("checked", "done"):
        assert re.search(rf"^\+{GHOST} none swap .*x-ghost.size=64M", booted.read(name), re.MULTILINE)
        assert re.search(r"^zswap: .*on", booted.read(name), re.MULTILINE)


def test_the_timer_writes_metrics(booted: Booted) -> None:
    assert booted.read("enabled") == "enabled\n"
    assert "ghostctl-metrics.timer" in booted.read("seen/done/timers")
    assert f'ghost="{GHOST}"' in booted.read("ghostctl.prom")


def test_again(booted: Booted) -> None:
    assert not changed(booted, "again"), booted.read("again")


def test_checked_is_not_done(booted: Booted) -> None:
    assert changed(booted, "checked")
    for part in PARTS:
        assert booted.read(f"seen/checked/{part}") == booted.read(f"seen/before/{part}"), part


def test_as_it_was(booted: Booted) -> None:
    assert changed(booted, "back")
    assert booted.steps["back"].failed == set()
    for part in PARTS:
        assert booted.read(f"seen/back/{part}") == booted.read(f"seen/before/{part}"), part
    assert Path(booted.share, "seen/back/fstab").read_bytes() == FSTAB
