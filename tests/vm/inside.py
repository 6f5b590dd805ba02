# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest seen from its tests: swap areas, zswap, counters and memory pressure, without ghostctl."""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import IO, ClassVar, NamedTuple, cast

import pytest

KERNEL = os.environ.get("GHOSTCTL_GUEST", "")
HAS_GHOSTS = not KERNEL.startswith("stock")
HAS_TABLES = not KERNEL.endswith("-6.12")
"""Slots are in tables that come when they are used."""
AUTOMATIC = (-1, -1) if HAS_TABLES else (-2, -3)
"""Priorities of the kernel's choice: all the same, or falling in the order of swapon."""
DIR = Path("/var/lib/ghost")
ZSWAP = Path("/sys/module/zswap/parameters")
XSWAP = Path("/sys/kernel/mm/xswap")
PAGE = os.sysconf("SC_PAGE_SIZE")

needs_ghosts = pytest.mark.skipif(not HAS_GHOSTS, reason="stock kernel")
needs_stock = pytest.mark.skipif(HAS_GHOSTS, reason="a kernel with ghosts")
newest = pytest.mark.skipif(not HAS_TABLES, reason="shows nothing on 6.12 that it does not on 7.2")


def write_area(
    path: Path,
    last_page: int,
    *,
    size: int = PAGE,
    version: int = 1,
    order: str = "<",
    badpages: tuple[int, ...] = (),
    nr_badpages: int | None = None,
) -> Path:
    page = bytearray(PAGE)
    count = len(badpages) if nr_badpages is None else nr_badpages
    struct.pack_into(f"{order}III", page, 1024, version, last_page, count)
    struct.pack_into(f"{order}{len(badpages)}I", page, 1536, *badpages)
    page[-10:] = b"SWAPSPACE2"
    path.touch(mode=0o600)
    with path.open("r+b") as file:
        file.write(page[:size])
        file.truncate(size)
        os.fsync(file.fileno())
    return path


_libc = ctypes.CDLL(None, use_errno=True)


def swapon(path: str | Path, flags: int = 0) -> None:
    if _libc.swapon(os.fsencode(path), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))


def swapoff(path: str | Path) -> None:
    if _libc.swapoff(os.fsencode(path)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))


class Swap(NamedTuple):
    path: str
    type: str
    size_kib: int
    used_kib: int
    priority: int


def swaps() -> list[Swap]:
    lines = Path("/proc/swaps").read_text().splitlines()[1:]
    return [Swap(f[0], f[1], int(f[2]), int(f[3]), int(f[4])) for f in map(str.split, lines)]


def used_mib() -> dict[str, int]:
    """MiB in use of each area, by file name."""
    return {Path(swap.path).name: swap.used_kib >> 10 for swap in swaps()}


class Done(NamedTuple):
    status: int
    out: str
    err: str


def run(*command: str | Path, timeout: float = 120) -> Done:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def must(*command: str | Path, timeout: float = 120) -> str:
    done = run(*command, timeout=timeout)
    assert done.status == 0, (command, done)
    return done.out


def kernel_log() -> str:
    return must("dmesg")


def counters(path: str) -> dict[str, int]:
    found = re.findall(r"^(\w+):?\s+(\d+)", Path(path).read_text(), re.MULTILINE)
    return {name: int(value) for name, value in found}


def debug(name: str) -> int:
    """One of zswap's counters that only root can see."""
    return int((Path("/sys/kernel/debug/zswap") / name).read_text())


def set_zswap(
    *, enabled: bool = True, compressor: str = "lz4", percent: int = 20, shrinker: bool = False
) -> None:
    for name, value in (
        ("compressor", compressor),
        ("max_pool_percent", str(percent)),
        ("shrinker_enabled", "Y" if shrinker else "N"),
        ("enabled", "Y" if enabled else "N"),
    ):
        (ZSWAP / name).write_text(value)


def swapoff_all() -> None:
    for area in swaps():
        if area.path.startswith("/"):
            must("/sbin/swapoff", area.path)
        else:
            (XSWAP / "destroy").write_text(area.path.removeprefix("xswap"))


def clean() -> None:
    """Leave the machine as it booted."""
    for hog in list(Hog.running):
        hog.end()
    swapoff_all()
    set_zswap(enabled=False)
    for path in DIR.iterdir():
        if path.is_file():
            path.unlink()
    must("dmesg", "--clear")


def make_file(path: Path, mib: int) -> Path:
    """An ordinary swap file."""
    must("fallocate", "-l", f"{mib}MiB", path)
    path.chmod(0o600)
    must("/sbin/mkswap", path)
    return path


class Hog:
    """The pressure program, running; it dies first when memory ends, not the test."""

    running: ClassVar[list[Hog]] = []

    def __init__(
        self, mib: int, noise: int | str = 1000, passes: int = 1, *, wrapper: tuple[str, ...] = ()
    ) -> None:
        self.process = subprocess.Popen(
            [*wrapper, "choom", "-n", "1000", "--", "/run/lab/hog", str(mib), str(noise), str(passes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        Hog.running.append(self)

    def _read(self, timeout: float) -> str | None:
        stdout = cast(IO[bytes], self.process.stdout)
        ready, _, _ = select.select([stdout], [], [], max(0, timeout))
        return stdout.readline().decode() if ready else None

    def fill(self, timeout: float = 300) -> str:
        """How filling ended: "filled", "killed", "stuck", or the status of a program that gave up."""
        line = self._read(timeout)
        if line is None:
            return "stuck"
        if line.startswith("filled"):
            return "filled"
        status = self.process.wait()
        return "killed" if status == -signal.SIGKILL else f"status {status}"

    def check(self, timeout: float = 300) -> int | None:
        """Wrong pages seen in all passes; None: no answer."""
        cast(IO[bytes], self.process.stdin).close()
        deadline = time.monotonic() + timeout
        wrong = None
        while (line := self._read(deadline - time.monotonic())) is not None:
            if not line:
                self.process.wait()
                break
            wrong = int(line.rpartition(" ")[2])
        return wrong if self.process.poll() is not None and self.process.returncode in (0, 1) else None

    def end(self) -> None:
        Hog.running.remove(self)
        self.process.kill()
        self.process.wait()


class Outcome(NamedTuple):
    """What became of a workload."""

    end: str
    """``survived`` with every byte as it was, ``killed``, ``stuck``, or how many pages were wrong."""
    written: int
    """MiB written to the disk of `DIR`."""
    seconds: float


def written_mib() -> int:
    """MiB written to the disk of `DIR` since boot."""
    return int(Path("/sys/block/vda/stat").read_text().split()[6]) >> 11


def pressure(mib: int, noise: int, limit: float) -> Outcome:
    """Fills so much memory and reads it back; what has come to no end after `limit` seconds is ended."""
    before, start = written_mib(), time.monotonic()
    hog = Hog(mib, noise)
    end = hog.fill(limit)
    if end == "filled":
        wrong = hog.check(limit - (time.monotonic() - start))
        if wrong is not None:
            end = f"{wrong} wrong pages" if wrong else "survived"
        else:
            end = "stuck" if hog.process.poll() is None else "killed"
    outcome = Outcome(end, written_mib() - before, round(time.monotonic() - start, 1))
    hog.end()
    return outcome


class Cgroup:
    """A memory cgroup for commands that shall be short of memory without the whole guest being so."""

    def __init__(self, name: str, **limits: str) -> None:
        self.path = Path("/sys/fs/cgroup") / name
        (self.path.parent / "cgroup.subtree_control").write_text("+memory")
        self.path.mkdir()
        for key, value in limits.items():
            (self.path / f"memory.{key.replace('_', '.')}").write_text(value)

    def __enter__(self) -> Cgroup:
        return self

    def __exit__(self, *_: object) -> None:
        (self.path / "cgroup.kill").write_text("1")
        while counters(str(self.path / "cgroup.events"))["populated"]:
            time.sleep(0.05)
        self.path.rmdir()

    def hog(self, mib: int, noise: int | str = 1000, passes: int = 1) -> Hog:
        return Hog(
            mib, noise, passes, wrapper=("sh", "-c", f'echo $$ >{self.path}/cgroup.procs; exec "$@"', "sh")
        )

    def event(self, name: str) -> int:
        return counters(str(self.path / "memory.events"))[name]


def kernel_int(symbol: str) -> int:
    """An int variable of the running kernel, out of /proc/kcore."""
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, _, name = line.split()[:3]
        if name == symbol:
            break
    else:
        raise LookupError(symbol)
    with open("/proc/kcore", "rb") as core:
        header = core.read(64)
        offset, size, count = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
        core.seek(offset)
        for _ in range(count):
            segment = core.read(size)
            kind, _, where, start, _, length = struct.unpack_from("<IIQQQQ", segment)
            if kind == 1 and start <= int(address, 16) < start + length:
                core.seek(where + int(address, 16) - start)
                return int(struct.unpack("<i", core.read(4))[0])
    raise LookupError(f"{symbol} is at {address}, not in /proc/kcore")
