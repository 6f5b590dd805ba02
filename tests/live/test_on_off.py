# SPDX-License-Identifier: GPL-2.0-or-later
"""on, off and status of ordinary swap areas, and the refusal of a ghost, on the running kernel."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from machine import AS_NOBODY, ghostctl, is_active, require, swap_file, with_swaps
from unit.test_schemas import SCHEMAS

UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def areas() -> dict[str, list[str]]:
    """The lines of /proc/swaps below their names, as the kernel writes them."""
    with open("/proc/swaps", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        lines = [re.split("[ \t]+", line.rstrip("\n")) for line in file][1:]
    return {line[0]: line[1:] for line in lines}


def test_there_and_back(swap_dir: Path) -> None:
    path = swap_file(swap_dir / "swap")
    done = ghostctl("on", "-p", "5", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert areas()[str(path)] == ["file", "1020", "0", "5"]
    status = ghostctl("status", path)
    assert status.returncode == 0
    assert status.stdout.splitlines()[1].split() == [str(path), "file", "1020K", "0B", "5"]
    assert ghostctl("on", path).returncode == 6
    done = ghostctl("off", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not is_active(path)
    assert ghostctl("status", path).returncode == 3
    assert ghostctl("off", path).returncode == 3


NAMES = [
    b"two  words ",
    b"line\nbreak",
    b"tab\tbackslash\\040",
    "größe-交換".encode(),
    b"not-utf8-\xff\xfe",
    b"bell\a-escape\x1b[31m",
    b"carriage\rreturn\v\f",
    b"-n",
    b"#hash",
    b"(deleted)",
    b"x (deleted)",
    b"LABEL=x",
    b"n" * 255,
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_odd_names(swap_dir: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(swap_dir), name)
    swap_file(Path(os.fsdecode(path)))
    done = ghostctl("on", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert is_active(path)
    assert ghostctl("status", path).returncode == 0
    again = ghostctl("on", path)
    assert again.returncode == 6
    (line,) = [line for line in again.stderr.splitlines() if "hint:" not in line]
    assert line.isprintable()
    document = json.loads(ghostctl("status", "--json", path).stdout)
    assert [os.fsencode(area["name"]) for area in document["swapareas"]] == [path]
    done = ghostctl("off", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not is_active(path)


def test_a_name_in_the_directory(swap_dir: Path) -> None:
    swap_file(swap_dir / "swap")
    assert ghostctl("on", "swap", cwd=swap_dir).returncode == 0
    assert is_active(swap_dir / "swap")
    assert ghostctl("status", "./swap", cwd=swap_dir).returncode == 0
    assert ghostctl("off", "swap", cwd=swap_dir).returncode == 0
    assert not is_active(swap_dir / "swap")


def test_another_way_to_the_same_file(swap_dir: Path) -> None:
    path = swap_file(swap_dir / "swap")
    (swap_dir / "link").symlink_to("swap")
    (swap_dir / "hard").hardlink_to(path)
    (swap_dir / "dir").mkdir()
    others: list[Path | str] = [
        swap_dir / "link",
        swap_dir / "hard",
        f"{swap_dir}/dir/../swap",
        f"/{swap_dir}//swap",
    ]
    assert ghostctl("on", swap_dir / "link").returncode == 0
    assert is_active(path)
    for other in others:
        assert ghostctl("status", "-q", other).returncode == 0
        assert ghostctl("on", other).returncode == 6
    assert ghostctl("mkghost", "-f", "-s", "1G", swap_dir / "hard").returncode == 6
    assert ghostctl("off", swap_dir / "hard").returncode == 0
    assert not is_active(path)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ((), "0x0"),
        (("-p", "0"), "0x8000"),
        (("-p", "32767"), "0xffff"),
        (("-p", "-1"), "0x0"),
        (("-d",), "0x10000"),
        (("--discard=once",), "0x30000"),
        (("--discard=pages", "-p", "3"), "0x58003"),
        (("-o", "pri=7,discard=once,defaults,x-unknown"), "0x38007"),
        (("-o", "discard"), "0x10000"),
    ],
    ids=str,
)
def test_flags_of_swapon(swap_dir: Path, options: tuple[str, ...], flags: str) -> None:
    path = swap_file(swap_dir / "swap")
    done = ghostctl("-v", "on", *options, path)
    assert done.returncode == 0
    assert f", {flags})" in done.stderr
    prio = int(areas()[str(path)][3])
    assert prio == int(flags, 16) & 0x7FFF if int(flags, 16) & 0x8000 else prio < 0


@pytest.mark.parametrize(
    "options",
    [
        ("-p", "32768"),
        ("-p", "-2"),
        ("-p", "1.0"),
        ("-p", ""),
        ("-p", "٣"),
        ("-p", "9" * 5000),
        ("-o", "x-ghost.fallback=tape"),
        ("--discard=some",),
        ("--backend", "ramdisk"),
        ("--fallback", "zram,"),
        ("-a",),
        ("--no-such-option",),
    ],
    ids=lambda options: " ".join(options)[:20],
)
def test_bad_usage(swap_dir: Path, options: tuple[str, ...]) -> None:
    path = swap_file(swap_dir / "swap")
    done = ghostctl("on", *options, path)
    assert done.returncode == 2
    assert done.stderr.startswith("ghostctl: ")
    assert "Traceback" not in done.stderr
    assert not is_active(path)


def test_partition(swap_dir: Path, loop_device: Callable[[Path], Path]) -> None:
    image = swap_file(swap_dir / "image", 1 << 20, "-L", "ghostctl-part", "-U", UUID)
    device = loop_device(image)
    assert ghostctl("on", "-p", "3", "-L", "ghostctl-part").returncode == 0
    assert areas()[str(device)] == ["partition", "1020", "0", "3"]
    done = ghostctl("status", "--raw", "--noheadings", "-o", "NAME,UUID,LABEL,BACKING", device)
    assert done.stdout == f"{device} {UUID} ghostctl-part loop:\\x20{image}\n"
    assert ghostctl("on", f"UUID={UUID}").returncode == 6
    assert ghostctl("label", device).stdout == f"LABEL: ghostctl-part\nUUID:  {UUID}\n"
    # not the image under its feet, and not through the device
    assert ghostctl("label", "-L", "x", device).returncode in (3, 6)
    assert ghostctl("off", f"UUID={UUID.upper()}").returncode == 0
    assert not is_active(device)


def test_two_with_one_label(swap_dir: Path, loop_device: Callable[[Path], Path]) -> None:
    swap_file(swap_dir / "one", 1 << 20, "-L", "ghostctl-two")
    swap_file(swap_dir / "two", 1 << 20, "-L", "ghostctl-two")
    devices = sorted(str(loop_device(swap_dir / name)) for name in ("one", "two"))
    done = ghostctl("on", "LABEL=ghostctl-two")
    assert done.returncode == 1
    assert all(device in done.stderr for device in devices)
    assert not any(map(is_active, devices))


def test_label_of_an_active_file(swap_dir: Path) -> None:
    path = swap_file(swap_dir / "swap", 1 << 20, "-L", "ghostctl-file", "-U", UUID)
    assert ghostctl("on", "LABEL=ghostctl-file").returncode == 3
    assert ghostctl("on", path).returncode == 0
    assert ghostctl("status", "-q", "LABEL=ghostctl-file").returncode == 0
    assert ghostctl("off", "-U", UUID).returncode == 0
    assert not is_active(path)


def test_label_that_fstab_knows(swap_dir: Path) -> None:
    path = swap_file(swap_dir / "swap", 1 << 20, "-L", "ghostctl-file")
    fstab = swap_dir / "fstab"
    fstab.write_text(f"{path} none swap noauto 0 0\n")
    assert ghostctl("on", "-T", fstab, "LABEL=ghostctl-file").returncode == 0
    assert is_active(path)


def ghost(path: Path, *options: str) -> bytes:
    done = ghostctl("mkghost", "-q", "-s", "1G", *options, path)
    assert (done.returncode, done.stderr) == (0, "")
    return path.read_bytes()


@pytest.fixture
def stock_dir(swap_dir: Path) -> Path:
    require("stock-kernel")
    return swap_dir


def test_a_stock_kernel_refuses_a_ghost(stock_dir: Path) -> None:
    path = stock_dir / "ghost"
    page = ghost(path)
    before = path.stat()
    done = ghostctl("on", path)
    assert done.returncode == 5
    message, hint = done.stderr.splitlines()
    assert message == f"ghostctl: {path}: this kernel ({os.uname().release}) has no ghost swap"
    assert hint.startswith("ghostctl: hint: ")
    assert "--fallback" in hint
    assert not is_active(path)
    assert path.read_bytes() == page
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_mode,
    )


def test_all_of_fstab(stock_dir: Path) -> None:
    good, ghost_path, plain = stock_dir / "good", stock_dir / "ghost", stock_dir / "plain"
    fstab = stock_dir / "fstab"
    ghost(ghost_path)
    swap_file(plain)
    # an ordinary area counts when its line declares a ghost: it is what a fallback may be
    swap_file(good)
    fstab.write_text(f"{plain} none swap sw 0 0\n{ghost_path} none swap noauto 0 0\n")
    assert ghostctl("on", "-a", "-T", fstab).returncode == 0
    assert not is_active(plain)
    fstab.write_text(f"{good} none swap pri=9,x-ghost.size=1M 0 0\n")
    assert ghostctl("on", "-a", "-T", fstab).returncode == 0
    assert areas()[str(good)][3] == "9"
    # active ones are passed over
    assert ghostctl("on", "-a", "-T", fstab).returncode == 0
    assert ghostctl("off", good).returncode == 0
    missing = stock_dir / "missing"
    fstab.write_text(
        f"{good} none swap x-ghost.size=1M 0 0\n{ghost_path} none swap sw 0 0\n"
        f"{missing} none swap nofail,x-ghost.size=1M 0 0\n"
    )
    done = ghostctl("on", "-a", "-T", fstab)
    assert done.returncode == 64
    assert is_active(good)
    fstab.write_text(f"{ghost_path} none swap sw 0 0\n{missing} none swap x-ghost.size=1G 0 0\n")
    done = ghostctl("on", "-a", "-T", fstab)
    assert done.returncode == 32
    assert str(missing) in done.stderr
    fstab.write_text(f"{missing} none swap x-ghost.size=1G 0 0\n")
    assert ghostctl("on", "-a", "-T", fstab).returncode == 32
    assert ghostctl("on", "-a", "-e", "-T", fstab).returncode == 0


def test_missing(swap_dir: Path) -> None:
    path = swap_dir / "missing"
    done = ghostctl("on", path)
    assert (done.returncode, done.stderr) == (3, f"ghostctl: {path}: No such file or directory\n")
    for options in (("-e",), ("--ifexists",), ("-o", "nofail")):
        done = ghostctl("on", *options, path)
        assert (done.returncode, done.stderr) == (0, "")
    # but nofail hides nothing else
    path.write_text("text\n")
    assert ghostctl("on", "-o", "nofail", path).returncode == 3
    assert ghostctl("on", "-T", path.with_name("no-fstab"), "-a").returncode == 3


def test_of_two_the_first_failure_is_the_status(swap_dir: Path) -> None:
    path = swap_file(swap_dir / "swap")
    (swap_dir / "text").write_text("hello\n")
    done = ghostctl("on", swap_dir / "text", path)
    assert done.returncode == 3
    assert f"{swap_dir}/text: not a swap area: it is a text file" in done.stderr
    assert is_active(path)


def test_truncated_file(swap_dir: Path) -> None:
    path = swap_file(swap_dir / "swap")
    os.truncate(path, 8192)
    done = ghostctl("on", path)
    assert done.returncode == 1
    assert "8192 bytes but declares 1048576" in done.stderr


def test_insecure_mode_is_said(swap_dir: Path) -> None:
    path = swap_file(swap_dir / "swap")
    path.chmod(0o644)
    done = ghostctl("on", path)
    assert done.returncode == 0
    assert "warning: insecure permissions 0644, 0600 suggested" in done.stderr
    assert ghostctl("off", path).returncode == 0
    done = ghostctl("-q", "on", path)
    assert (done.returncode, done.stderr) == (0, "")


def test_not_root(swap_dir: Path) -> None:
    require("setpriv")
    path = swap_file(swap_dir / "swap")
    swap_dir.chmod(0o755)
    swap_dir.parent.chmod(0o755)
    done = ghostctl("on", path, prefix=AS_NOBODY)
    assert (done.returncode, done.stderr) == (4, f"ghostctl: {path}: Permission denied\n")
    os.chown(path, 65534, 65534)
    done = ghostctl("on", path, prefix=AS_NOBODY)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1] == f"ghostctl: {path}: swapon failed: Operation not permitted"
    assert ghostctl("on", path).returncode == 0
    done = ghostctl("off", path, prefix=AS_NOBODY)
    assert done.returncode == 4
    assert is_active(path)
    # the table needs no permission; what the header says is left out
    done = ghostctl("status", "--raw", "--noheadings", "-o", "NAME,TYPE,SIZE", path, prefix=AS_NOBODY)
    assert (done.returncode, done.stdout) == (0, f"{path} file 1020K\n")


@pytest.mark.parametrize(
    "words", [("-d=once",), ("-donce",), ("--discard=once",), ("-ed",), ("-vd",), ("-d",)]
)
def test_discard_as_swapon_takes_it(
    swap_dir: Path, loop_device: Callable[[Path], Path], words: tuple[str, ...]
) -> None:
    device = loop_device(swap_file(swap_dir / "image"))
    done = ghostctl("-v", "on", *words, device)
    assert done.returncode == 0, done.stderr
    assert ("0x30000" if "once" in words[0] else "0x10000") in done.stderr


def test_what_fstab_says_wrong_is_named_by_its_line(tmp_path: Path) -> None:
    ghost, fstab = tmp_path / "ghost", tmp_path / "fstab"
    assert ghostctl("-q", "mkghost", "-s", "1M", ghost).returncode == 0
    fstab.write_text(
        f"# \n{ghost} none swap nofail,x-ghost.memory-limit={'9' * 5000} 0 0\n"
        f"{ghost}2 none swap x-ghost.fallback=tape 0 0\n"
    )
    done = ghostctl("on", "-a", "-T", fstab)
    assert done.returncode == 32
    assert f"ghostctl: {fstab}:2: invalid size" in done.stderr
    assert f"ghostctl: {fstab}:3: x-ghost.fallback: no backend is called 'tape'" in done.stderr


def test_the_lines_on_zswap_are_of_all_areas(tmp_path: Path) -> None:
    """Also when only some are shown: what zswap does does not depend on that."""
    require("mount")
    inside = with_swaps(tmp_path / "swaps", "/g ghost 1048572 0 5", "/f file 1048572 0 1")
    for words in ((), ("--type", "ghost")):
        state = json.loads(ghostctl("status", "--json", *words, prefix=inside).stdout)
        assert state["zswap"]["ghosts_free"] == 1048572 << 10
        text = ghostctl("status", "--openmetrics", "--type", "file", prefix=inside).stdout
        assert "ghostctl_ghosts_free_bytes 1073737728" in text
        assert 'name="/g"' not in text
    shown = ghostctl("status", "--zswap", prefix=inside).stdout
    assert (
        ghostctl("status", "--zswap", "--type", "ghost", prefix=inside).stdout.splitlines()[2:]
        == (shown.splitlines()[3:])
    )


def test_resize_takes_no_ordinary_area_down(swap_dir: Path) -> None:
    path = swap_file(swap_dir / "swap")
    assert ghostctl("on", "-p", "3", path).returncode == 0
    done = ghostctl("-v", "resize", "--cycle", path, "2M")
    assert done.returncode == 3
    assert "not a ghost" in done.stderr
    assert "swapoff" not in done.stderr
    assert is_active(path)
    done = ghostctl("mkghost", "--if-needed", "-s", "1M", path)
    assert done.returncode == 6


def _json(*words: str | Path, command: str, status: int = 0) -> Any:
    done = ghostctl(command, "--json", *words)
    assert done.returncode == status, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMAS[command], jsonschema.Draft202012Validator)
    return document


def test_json_says_what_has_changed(swap_dir: Path) -> None:
    path, other = swap_file(swap_dir / "swap"), swap_dir / "other"
    on = partial(_json, command="on")
    off = partial(_json, command="off")
    done = on(path)
    document = {"spec": str(path), "file": str(path), "area": str(path), "backend": None}
    assert done == {"areas": [{**document, "changed": True, "error": None}], "changed": True}
    again = on("--if-needed", path)
    assert again == {"areas": [{**document, "changed": False, "error": None}], "changed": False}
    # what failed is there, too
    mixed = on(path, other, status=6)
    assert [area["changed"] for area in mixed["areas"]] == [False, False]
    assert "already active" in mixed["areas"][0]["error"]
    assert "No such file" in mixed["areas"][1]["error"]
    passed_over = on("--ifexists", other)
    assert passed_over["areas"][0] == {
        "spec": str(other),
        "file": None,
        "area": None,
        "backend": None,
        "changed": False,
        "error": None,
    }
    down = off(path)
    assert down["areas"][0] == {
        **{key: document[key] for key in ("spec", "area", "backend")},
        "changed": True,
        "error": None,
    }
    gone = off(path, status=3)
    assert (gone["changed"], gone["areas"][0]["changed"]) == (False, False)
    assert "not active" in gone["areas"][0]["error"]


def test_json_of_a_ghost_that_this_kernel_refuses(ghost_dir: Path) -> None:
    require("root", "swap", "zswap")
    path = ghost_dir / "ghost"
    assert ghostctl("mkghost", "-s", "1M", path).returncode == 0
    done = _json("--backend", "ghostswap", path, command="on", status=5)
    assert done["areas"][0]["error"]
    assert not done["changed"]
