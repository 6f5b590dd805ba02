# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from machine import require
from vm import lab

GHOST = "/var/lib/ghost/swap0"
PROGRAM = Path(sys.executable).with_name("ghostctl")

HIBERNATE = f"""
cd /run
echo 50 >/sys/module/zswap/parameters/max_pool_percent
{PROGRAM} -q mkghost -s 1G {GHOST}
{PROGRAM} on --backend dm --enable-zswap {GHOST}
cp /bin/busybox /run/lab/hog {GHOST} /run
cat >script <<'EOF'
# all in memory: the root by 9p does not come back from the image
( while ! test -e go; do ./busybox sleep 1; done ) | ./hog 450 1000 1 >out &
while ! test -s out; do ./busybox sleep 1; done
./busybox grep dm-0 /proc/swaps >/dev/kmsg
./busybox cat /sys/block/dm-0/dev >/sys/power/resume
echo reboot >/sys/power/disk
echo disk >/sys/power/state 2>err
./busybox cat err >/dev/kmsg
./busybox cmp swap0 {GHOST} && echo the header is the same >/dev/kmsg
>go
wait
./busybox cat out >/dev/kmsg
./busybox swapoff /dev/dm-0 && echo it is off >/dev/kmsg
echo b >/proc/sysrq-trigger
EOF
exec ./busybox sh ./script
"""

OBEY = f"""
export PATH={PROGRAM.parent}:$PATH
ghostctl mkghost -s 64M {GHOST}
ghostctl doctor --json >/run/lab/before
mkdir /run/bin && export PATH=/run/bin:$PATH
printf '#!/bin/sh\\ncp /etc/default/grub /run/lab/grub\\n' >/run/bin/update-grub
printf '#!/bin/sh\\ntouch /run/lab/rebooted\\n' >/run/bin/reboot
chmod 755 /run/bin/*
{sys.executable} -c '
import json, os
for check in json.load(open("/run/lab/before"))["checks"]:
    if check["id"] == "resume":
        for command in check["fix"]:
            assert os.system(command) == 0
'
"""


def resume(path: Path) -> dict[str, str]:
    (check,) = [check for check in json.loads(path.read_text())["checks"] if check["id"] == "resume"]
    return dict(check)


def test_resume_on_the_command_line_is_gone_with_the_next_boot(tmp_path: Path) -> None:
    require("host", "vm", "linux-7.2")
    tree, share = tmp_path / "tree", tmp_path / "share"
    (tree / "etc/default").mkdir(parents=True)
    share.mkdir()
    words = f"quiet resume={GHOST} resume_offset=0"
    (tree / "etc/default/grub").write_text(f'GRUB_CMDLINE_LINUX_DEFAULT="{words}"\n')
    disk = lab.make_disk(tmp_path / "disk")
    booted = lab.boot("stock-7.2", OBEY, tree=tree, share=share, disk=disk, append=words)
    assert booted.status == 0, booted.output + booted.console
    assert resume(share / "before")["status"] == "FAIL"
    assert (share / "rebooted").exists()
    grub = (share / "grub").read_text()
    assert grub == 'GRUB_CMDLINE_LINUX_DEFAULT="quiet "\n'
    words = grub.split('"')[1]
    lab.boot("stock-7.2", f"{PROGRAM} doctor --json >/run/lab/after", share=share, disk=disk, append=words)
    assert resume(share / "after")["status"] == "OK"


@pytest.mark.parametrize("series", lab.SERIES)
def test_hibernation_to_a_mapping_fails_and_loses_nothing(series: str) -> None:
    """The first page of the image cannot be written, and the kernel goes on."""
    require("host", "vm", f"linux-{series}")
    booted = lab.boot(f"stock-{series}", HIBERNATE, cpus=2, timeout=180)
    lines = [line.partition("] ")[2] for line in booted.console.splitlines()]
    assert not booted.timed_out, booted.console
    for text in ("PM: hibernation: hibernation exit", "the header is the same", "it is off"):
        assert text in lines, booted.console
    assert any("write error: Input/output error" in line for line in lines), booted.console
    assert any(line.endswith("wrong 0") for line in lines), booted.console
