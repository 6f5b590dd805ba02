# SPDX-License-Identifier: GPL-2.0-or-later
"""Another processor, and pages of 16 KiB: whatever has to do with their size (`make test-vm-arm64`)."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from machine import hog_in
from vm import program
from vm.inside import DIR, PAGE, Cgroup, Swap, must, swaps, used_mib
from vm.program import UUID, ghostctl

GUEST = {"kernels": ["stock-arm64"], "timeout": 1500, "memory_mib": 1024}

SIZE = 64 << 20
WORDS = ("-s", "64M", "-L", "pagan", "-U", UUID)


def make(name: str, *words: str) -> Path:
    program.must("-q", "mkghost", *WORDS, *words, DIR / name)
    return DIR / name


def inspected(path: Path) -> dict[str, Any]:
    (found,) = json.loads(program.must("inspect", "--json", path))["headers"]
    return dict(found)


def test_the_guest_is_another_machine() -> None:
    assert (os.uname().machine, PAGE) == ("aarch64", 16384)


@pytest.mark.parametrize("words", [(), ("-e", "big")], ids=["little", "big"])
def test_a_ghost_is_one_page_of_this_kernel(words: tuple[str, ...]) -> None:
    path = make("g", *words)
    assert path.stat().st_size == PAGE
    assert path.read_bytes()[-10:] == b"SWAPSPACE2"
    found = inspected(path)
    assert (found["page_size"], found["last_page"], found["size"]) == (PAGE, SIZE // PAGE - 1, SIZE)
    assert found["tag"]["crc_ok"] is True
    assert program.must("verify", path) == ""
    program.must("resize", path, "96M")
    program.must("label", "-L", "other", path)
    found = inspected(path)
    assert (found["last_page"], found["label"], found["uuid"]) == ((96 << 20) // PAGE - 1, "other", UUID)
    assert program.must("verify", path) == ""


def test_others_read_it() -> None:
    path = make("g")
    assert "16k page size, little endian, version 1, size 4095 pages" in must("file", "-b", path)
    # they look at no area of fewer than ten pages
    os.truncate(path, 10 * PAGE)
    assert must("swaplabel", path) == f"LABEL: pagan\nUUID:  {UUID}\n"


def test_mkswap_writes_the_same() -> None:
    ours, theirs = make("ours", "--bare"), DIR / "theirs"
    theirs.write_bytes(bytes(PAGE))
    theirs.chmod(0o600)
    must("mkswap", "-q", "-f", "-L", "pagan", "-U", UUID, theirs, str(SIZE >> 10))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_ghost_for_smaller_pages() -> None:
    path = make("g", "-p", "4096")
    done = ghostctl("on", "--fallback", "zram", path)
    assert (done.status, swaps()) == (1, [])
    assert "made for pages of 4096 bytes, this kernel has 16384" in done.err
    assert "--fixpgsz" in done.err
    program.must("on", "--fallback", "zram", "--fixpgsz", path)
    assert [swap.size_kib for swap in swaps()] == [(SIZE - PAGE) >> 10]
    assert path.stat().st_size == PAGE
    program.must("off", path)


def test_this_kernel_has_no_ghosts() -> None:
    done = ghostctl("on", make("g"))
    assert (done.status, swaps()) == (5, [])
    assert "has no ghost swap" in done.err
    assert "zram" in done.err.partition("--fallback ")[2]


def test_pages_go_out_and_come_back() -> None:
    path = make("g")
    program.must("on", "-p", "11", "--fallback", "zram", path)
    (area,) = program.status(path)
    assert swaps() == [Swap(area["name"], "partition", (SIZE - PAGE) >> 10, 0, 11)]
    assert (area["size"], area["backend"], area["label"]) == (SIZE - PAGE, "zram", "pagan")
    pages = program.must("status", "--noheadings", "--raw", "-o", "PAGES", path)
    assert pages == f"{SIZE // PAGE - 1}\n"
    with Cgroup("box") as box, hog_in(box.path) as hog:
        with suppress(BlockingIOError):  # what cannot be reclaimed
            (box.path / "memory.reclaim").write_text("24M")
        (used,) = used_mib().values()
        assert used > 16
        assert program.one_area(path)["used"] >> 20 >= 16
        program.must("off", path)
        assert swaps() == []
        out, _ = hog.communicate(timeout=120)
        assert out == b"intact\n"


def test_what_it_says_of_the_machine() -> None:
    """What is compressed to learn the ratio, are pages of this machine."""
    make("g")
    planned = json.loads(program.must("plan", "--json"))
    assert planned["page_size"] == PAGE
    assert planned["memory"] == os.sysconf("SC_PHYS_PAGES") * PAGE
    assert planned["ratio"] > 1
    for words in (("doctor",), ("zswap",), ("fstab", "check"), ("usage",), ("status",)):
        done = ghostctl(*words)
        assert 0 <= done.status < 64, (words, done)
        assert "Traceback" not in done.err
