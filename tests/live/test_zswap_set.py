# SPDX-License-Identifier: GPL-2.0-or-later
"""`zswap set` that cannot: the kernel and the file for the next boots both stay as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from machine import AS_NOBODY, ghostctl, require
from unit.test_schemas import SCHEMAS

PARAMETERS = Path("/sys/module/zswap/parameters")
FILE = Path("/etc/tmpfiles.d/ghostctl-zswap.conf")


def parameters() -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in PARAMETERS.iterdir()}


@pytest.fixture(autouse=True)
def nothing_changes() -> Iterator[None]:
    require("mount", "zswap")
    assert not FILE.exists()
    before = parameters()
    yield
    after = parameters()
    for name in sorted(before, key=lambda name: name == "enabled"):
        (PARAMETERS / name).write_text(before[name])
    FILE.unlink(missing_ok=True)
    assert after == before


def in_mounts(*commands: str) -> tuple[str, ...]:
    return ("unshare", "--mount", "sh", "-c", " && ".join((*commands, 'exec "$@"')), "sh")


def other_percent() -> str:
    return "33" if parameters()["max_pool_percent"] != "33" else "34"


def test_read_only_etc() -> None:
    prefix = in_mounts("mkdir -p /etc/tmpfiles.d", "mount -t tmpfs -o ro none /etc/tmpfiles.d")
    done = ghostctl("zswap", "set", f"max_pool_percent={other_percent()}", "--persist", prefix=prefix)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"ghostctl: {FILE}: Read-only file system\n"


def test_a_foreign_file_and_forget() -> None:
    prefix = in_mounts(
        "mkdir -p /etc/tmpfiles.d", "mount -t tmpfs none /etc/tmpfiles.d", f"echo foreign >{FILE}"
    )
    for option in ("--persist", "--forget"):
        done = ghostctl("zswap", "set", f"max_pool_percent={other_percent()}", option, prefix=prefix)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"ghostctl: {FILE}: was not written by ghostctl: left alone\n"


def test_a_full_file_system() -> None:
    prefix = in_mounts(
        "mkdir -p /etc/tmpfiles.d",
        "mount -t tmpfs -o size=4k none /etc/tmpfiles.d",
        "head -c 4096 /dev/zero >/etc/tmpfiles.d/full",
    )
    done = ghostctl("zswap", "set", f"max_pool_percent={other_percent()}", "--persist", prefix=prefix)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"ghostctl: {FILE}: No space left on device\n"


@pytest.mark.parametrize("options", [(), ("--persist",), ("--forget",)])
def test_another_user(options: tuple[str, ...]) -> None:
    require("setpriv")
    # with the value that it has, too
    for percent in (other_percent(), parameters()["max_pool_percent"]):
        done = ghostctl("zswap", "set", f"max_pool_percent={percent}", *options, prefix=AS_NOBODY)
        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr == f"ghostctl: {PARAMETERS}/max_pool_percent: Permission denied\n"


@pytest.mark.parametrize("command", [("show",), ("show", "--json"), ("set", "enabled=yes")], ids=" ".join)
def test_without_sys(command: tuple[str, ...]) -> None:
    done = ghostctl("zswap", *command, prefix=in_mounts("umount -l /sys"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"ghostctl: {PARAMETERS}: /sys is not mounted\n"


def test_changed_is_what_has_changed() -> None:
    def changed(*words: str) -> bool:
        done = ghostctl("zswap", "set", "--json", *words)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        jsonschema.validate(document, SCHEMAS["zswap-set"], jsonschema.Draft202012Validator)
        return bool(document["changed"])

    now = parameters()["max_pool_percent"]
    other = f"max_pool_percent={other_percent()}"
    assert [changed(other), changed(other), changed(other, "--persist"), changed(other, "--persist")] == [
        *(True, False),
        *(True, False),
    ]
    back = f"max_pool_percent={now}"
    assert [changed("--forget"), changed("--forget"), changed(back), changed(back)] == [
        *(True, False),
        *(True, False),
    ]
