# SPDX-License-Identifier: GPL-2.0-or-later
"""Beside the tools whose work this is for ordinary swap: the same bytes, the same words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import ghostctl, require, run, with_swaps

from ghostctl import header

UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("page_size", [4096, 8192, 65536])
@pytest.mark.parametrize("label", [None, "x", "fifteen bytes ä"[:14], "größe"])
@pytest.mark.parametrize("kib", [640, 1048576, 17179869180])
def test_a_bare_ghost_is_what_mkswap_writes(
    tmp_path: Path, page_size: int, label: str | None, kib: int
) -> None:
    require("mkswap")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.write_bytes(bytes(page_size))
    theirs.chmod(0o600)
    options = ["-p", str(page_size), "-U", UUID, *(("-L", label) if label else ())]
    run("mkswap", "-f", *options, theirs, str(kib))
    done = ghostctl("mkghost", "-q", "--bare", "-s", f"{kib}K", *options, ours)
    assert (done.returncode, done.stderr) == (0, "")
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.stat().st_size == page_size


@pytest.mark.parametrize(
    "kib", [640, 999, 1000, 1023, 1024, 1029, 10239, 1048575, 1048576, 1100000, 2**31 + 77, 2**34 - 4]
)
def test_sizes_in_the_words_of_mkswap(tmp_path: Path, kib: int) -> None:
    require("mkswap")
    path = tmp_path / "file"
    path.write_bytes(bytes(PAGE))
    path.chmod(0o600)
    theirs = re.search("size = .*", run("mkswap", "-f", path, str(kib)))
    ours = re.search("size = .*", ghostctl("mkghost", "-f", "-s", f"{kib}K", path).stdout)
    assert theirs
    assert ours
    assert ours[0] == theirs[0]


@pytest.mark.parametrize("options", [(), ("--bare",)], ids=str)
def test_what_others_read_in_a_ghost(tmp_path: Path, options: tuple[str, ...]) -> None:
    require("mkswap", "file")
    path = tmp_path / "ghost"
    assert ghostctl("mkghost", "-s", "1G", "-L", "a label", "-U", UUID, *options, path).returncode == 0
    assert run("file", "-b", path).strip() == (
        f"Linux swap file, 4k page size, {sys.byteorder} endian, version 1, size 262143 pages, 0 bad pages, "
        f"LABEL=a label, UUID={UUID}"
    )
    # they look at no area of fewer than ten pages
    os.truncate(path, 10 * PAGE)
    assert run("swaplabel", path) == ghostctl("label", path).stdout == f"LABEL: a label\nUUID:  {UUID}\n"
    # that of util-linux 2.40 and later says more
    found = set(run("blkid", "-p", "-o", "export", path).splitlines())
    assert found >= {"LABEL=a\\ label", f"UUID={UUID}", "VERSION=1", "TYPE=swap", "USAGE=other"}
    run("swaplabel", "-L", "theirs", path)
    have = header.unpack(path.read_bytes())
    assert have.label == b"theirs"
    # the tag stays good
    assert options or have.tag.crc == header.crc(have)


NAMES = [
    b"/dev/sda2",
    b"/swapfile",
    b"/a\\040b",
    b"/tab\\011newline\\012backslash\\134x41",
    "/größe".encode(),
    b"/\xff\xfe",
    b"/dev/mapper/vg-swap_1",
    b"xswap0",
    b"/escape\x1b[31m",
    b"/" + b"long" * 30,
]
SIZES = [0, 4, 999, 1023, 1024, 1535, 1536, 1600, 10188, 10240, 1048572, 1153433, 1677721, 2**33, 2**42 + 7]


def some_areas(names: list[bytes]) -> Iterator[bytes]:
    for number, name in enumerate(names):
        kind = (b"partition", b"file", b"ghost", b"xswap")[number % 4]
        size, used = SIZES[-1 - number % len(SIZES)], SIZES[number % len(SIZES)]
        yield b"%-39s %s\t%d\t\t%d\t\t%d" % (name, kind, size, used, number - 2)


def swapon_show(prefix: tuple[str, ...], *options: str) -> bytes:
    command = [*prefix, "swapon", "--show=NAME,TYPE,SIZE,USED,PRIO", *options]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, capture_output=True, check=True, env=environment).stdout


OPTIONS = [("--raw",), ("--raw", "--bytes", "--noheadings"), (), ("--noheadings",), ("--bytes",)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_table_of_swapon(tmp_path: Path, options: tuple[str, ...]) -> None:
    require("mount", "swap")
    prefix = with_swaps(tmp_path / "swaps", *some_areas(NAMES))
    done = ghostctl("status", "--no-zswap", *options, prefix=prefix, env={"LC_ALL": "C.UTF-8"})
    assert (done.returncode, done.stderr) == (0, "")
    theirs = swapon_show(prefix, *options).decode("utf-8", "surrogateescape")
    # up to 2.40, it made room for headings that it does not show
    compared = str.split if options == ("--noheadings",) else str.rstrip
    assert list(map(compared, done.stdout.splitlines())) == list(map(compared, theirs.split("\n")[:-1]))


def test_a_name_of_a_deleted_file_stays_whole(tmp_path: Path) -> None:
    """Where swapon(8) leaves out the kernel's mark, two areas could have one name."""
    require("mount", "swap")
    prefix = with_swaps(tmp_path / "swaps", *some_areas([b"/x", b"/x\\040(deleted)"]))
    done = ghostctl("status", "--raw", "--noheadings", "-o", "NAME", prefix=prefix)
    assert done.stdout == "/x\n/x\\x20(deleted)\n"
    theirs = swapon_show(prefix, "--raw", "--noheadings").decode()
    assert [line.split()[0] for line in theirs.splitlines()] == ["/x", "/x"]


def test_no_areas(tmp_path: Path) -> None:
    require("mount", "swap")
    prefix = with_swaps(tmp_path / "swaps")
    done = ghostctl("status", "--raw", prefix=prefix)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert swapon_show(prefix, "--raw") == b""
