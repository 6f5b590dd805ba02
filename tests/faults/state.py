# SPDX-License-Identifier: GPL-2.0-or-later
"""What there is: files, areas, zram devices, parameters. Read without any code of the program under test."""

from __future__ import annotations

import os
import re
import stat
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import NamedTuple

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20
ZSWAP = Path("/sys/module/zswap/parameters")
"""For the program under test a copy: there is only one zswap, and other programs may need it."""
_HOT_REMOVE = Path("/sys/class/zram-control/hot_remove")
_TAG = struct.Struct("=8sHHQIII")


class File(NamedTuple):
    """All of a file that a crash must not mix."""

    mode: int
    owner: tuple[int, int]
    content: bytes


class Area(NamedTuple):
    """A line of /proc/swaps."""

    kind: str
    kib: int
    prio: int
    """-1 for all that the kernel has chosen: it counts down with each area, of whatever program."""


class Device(NamedTuple):
    """A zram device of the campaign."""

    size: int
    limit: int
    compressor: str
    header: bytes
    area: Area | None


class State(NamedTuple):
    """Everything that a command under test may change. Two states are equal when nothing of it differs."""

    files: dict[str, File]
    areas: dict[str, Area]
    """Below the directory of the campaign, by the path in it."""
    devices: tuple[Device, ...]
    """Sorted, without their numbers: which one is free is the kernel's business."""
    zswap: dict[str, str]


def header(
    size: int, uuid: bytes, label: str = "", *, page: int = PAGE, tagged: bool = True, made_for: bytes = b""
) -> bytes:
    """The header page of a swap area; with the tag of a ghost unless it is bare."""
    data = bytearray(page)
    struct.pack_into("=III16s16s", data, 1024, 1, size // page - 1, 0, uuid, label.encode())
    if tagged:
        flags = 1 if made_for else 0
        _TAG.pack_into(data, 1204, b"GHOSTSWP", 1, 32, size // page * page, page, flags, 0)
        data[1236 : 1236 + len(made_for)] = made_for
        struct.pack_into("=I", data, 1232, _checksum(data))
    data[-10:] = b"SWAPSPACE2"
    return bytes(data)


def _checksum(page: bytes | bytearray) -> int:
    copy = bytearray(page)
    copy[1036:1068] = bytes(32)
    copy[1232:1236] = bytes(4)
    copy[-10:] = bytes(10)
    return zlib.crc32(copy)


def header_problem(page: bytes) -> str | None:
    """What is wrong with the header page of a ghost."""
    if not page.endswith(b"SWAPSPACE2"):
        return "no magic"
    version, last_page, bad = struct.unpack_from("=III", page, 1024)
    if version != 1 or last_page == 0 or bad != 0:
        return f"version {version}, last_page {last_page}, nr_badpages {bad}"
    magic, _, _, size, page_size, _, crc = _TAG.unpack_from(page, 1204)
    if magic == bytes(8):
        return None
    if magic != b"GHOSTSWP" or size != (last_page + 1) * page_size or page_size != len(page):
        return f"tag {magic!r}, size {size}, page size {page_size}, last_page {last_page}"
    return None if crc == _checksum(page) else "checksum"


def read_swaps() -> dict[str, Area]:
    """Active areas by name."""
    areas = {}
    for line in Path("/proc/swaps").read_bytes().split(b"\n")[1:-1]:
        # only space, tab, line end and backslash are escaped in a name
        name, kind, kib, _, prio = re.split(rb"[ \t]+", line)
        plain = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), name)
        areas[os.fsdecode(plain)] = Area(kind.decode(), int(kib), max(-1, int(prio)))
    return areas


def zram_numbers() -> list[int]:
    """The zram devices there are."""
    return sorted(int(name[4:]) for name in os.listdir("/sys/block") if re.fullmatch(r"zram\d+", name))


def _first_page(number: int) -> bytes:
    try:
        with open(f"/dev/zram{number}", "rb", buffering=0) as file:
            return file.read(PAGE)
    except OSError:
        return b""


def read_device(number: int, areas: dict[str, Area]) -> Device | None:
    """A zram device; None when it is gone."""
    directory = Path(f"/sys/block/zram{number}")
    try:
        size = int((directory / "disksize").read_text())
        # Documentation/admin-guide/blockdev/zram.rst: the limit is the fourth figure
        limit = int((directory / "mm_stat").read_text().split()[3])
        compressor = (directory / "comp_algorithm").read_text()
    except OSError:
        return None
    chosen = re.search(r"\[(.*)\]", compressor)
    return Device(
        size, limit, chosen[1] if chosen else "", _first_page(number), areas.get(f"/dev/zram{number}")
    )


class Observer:
    """Reads states, and puts the machine back. Keeps the numbers of zram devices that the campaign made."""

    def __init__(self, base: Path, roots: dict[str, Path], uuid: bytes) -> None:
        self.base = base
        self.roots = roots
        self.uuid = uuid
        self.made: set[int] = set()
        self.zswap = read_zswap()

    def note_zram(self, made: set[int], removed: set[int]) -> None:
        """What a trace says about devices."""
        self.made = (self.made | made) - removed

    def numbers(self) -> list[int]:
        """Our devices: with our UUID in their header, or made in a traced run and still without one.

        A number alone says nothing: another program may have removed the device and made a new one.
        """
        self.made &= set(zram_numbers())
        pages = {number: _first_page(number) for number in zram_numbers()}
        return [
            number
            for number, page in pages.items()
            if page[1036:1052] == self.uuid or (number in self.made and not page.strip(b"\0"))
        ]

    def read(self) -> State:
        """The state now."""
        return self.read_with_numbers()[1]

    def read_with_numbers(self) -> tuple[tuple[int, ...], State]:
        """The numbers of our devices, in the order in which they are in the state, and the state."""
        files = {}
        for root, directory in self.roots.items():
            for parent, directories, names in os.walk(directory):
                for name in names + directories:
                    path = Path(parent, name)
                    st = path.lstat()
                    content = b""
                    if stat.S_ISREG(st.st_mode):
                        # in the record of setup stands which runs there were; what counts is what it undoes
                        content = b"" if name == "setup.json" else path.read_bytes()
                    elif stat.S_ISLNK(st.st_mode):
                        content = os.readlink(os.fsencode(path))
                    key = os.path.join(root, path.relative_to(directory))
                    files[key] = File(st.st_mode, (st.st_uid, st.st_gid), content)
        areas = read_swaps()
        devices = [(device, n) for n in self.numbers() if (device := read_device(n, areas))]
        devices.sort(key=repr)
        return tuple(n for _, n in devices), State(
            files,
            {name: area for name, area in areas.items() if name.startswith(f"{self.base}/")},
            tuple(device for device, _ in devices),
            read_zswap(),
        )

    def put_back(self) -> None:
        """Takes down and removes all of ours."""
        deadline = time.monotonic() + 10
        while ours := self._ours(read_swaps()):
            # it fails when another program was faster, and then is not needed
            done = [subprocess.run(["swapoff", name], check=False, timeout=60) for name in ours]
            if time.monotonic() > deadline:
                raise OSError(f"{done[0].args[1]} stays active")
        for number in self.numbers():
            if not _remove(number):
                print(f"/dev/zram{number} stays: another program has it open", file=sys.stderr)
        self.made.clear()
        for name, value in self.zswap.items():
            (ZSWAP / name).write_text(f"{value}\n")
        for directory in (*self.roots.values(), Path("/run/ghostctl")):
            _empty(directory)

    def _ours(self, areas: dict[str, Area]) -> list[str]:
        devices = {f"/dev/zram{number}" for number in self.numbers()}
        # in the namespace of the campaign, /var/lib is a directory of the campaign
        places = (f"{self.base}/", "/var/lib/")
        return [
            name for name in areas if name in devices or (name.startswith(places) and os.path.exists(name))
        ]


def read_zswap() -> dict[str, str]:
    """Parameters of zswap."""
    return {path.name: path.read_text().strip() for path in ZSWAP.iterdir()}


def _remove(number: int) -> bool:
    """Removes a zram device; another program may look at it for a moment."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            _HOT_REMOVE.write_text(str(number))
        except OSError:
            if Path(f"/sys/block/zram{number}").exists():
                continue
        return True
    return False


def _empty(directory: Path) -> None:
    if not directory.is_dir():
        return
    for parent, directories, names in os.walk(directory, topdown=False):
        for name in names:
            Path(parent, name).unlink()
        for name in directories:
            path = Path(parent, name)
            path.unlink() if path.is_symlink() else path.rmdir()
