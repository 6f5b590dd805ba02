# SPDX-License-Identifier: GPL-2.0-or-later
"""The largest ghost on a machine that is small, and has nothing else in memory."""

from __future__ import annotations

import json

from machine import GHOSTCTL, require
from vm import lab

GHOST = "/var/lib/ghost/swap0"
GIB = 16383
COMMANDS = f"""
echo Y >/sys/module/zswap/parameters/enabled
{GHOSTCTL} -q mkghost -s {GIB}G {GHOST}
{GHOSTCTL} on {GHOST} && {GHOSTCTL} status --json
"""


def test_16_tib_on_512_mib() -> None:
    """Its slots take 384 MiB on 7.2, and 52 GiB on 6.12."""
    require("host", "vm", "linux-7.2")
    booted = lab.boot("ghost-7.2", COMMANDS)
    assert booted.status == 0, booted.output + booted.console
    (area,) = json.loads(booted.output[booted.output.index("{") :])["swapareas"]
    assert area["size"] == (GIB << 30) - 4096
    assert f"swap on {GHOST}. " in booted.console
