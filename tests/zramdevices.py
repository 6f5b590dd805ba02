# SPDX-License-Identifier: GPL-2.0-or-later
"""Ghosts that are active through zram: made, looked for, and cleared away, beside those of others."""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import ghostctl, is_active, run

from ghostctl import areas, deactivation, header

PAGE = mmap.PAGESIZE
SIZE = 4 << 20
LABEL = f"zram-{os.getpid()}"
UUID = str(uuid.uuid4())
CONTROL = Path("/sys/class/zram-control")
BLOCK = Path("/sys/block")
ON = ("on", "--backend", "zram", "-p", "100")


def make_ghost(path: Path, size: int = SIZE, uid: str | None = UUID, label: str = LABEL) -> Path:
    """A sound ghost."""
    have = header.ghost(
        size // PAGE, PAGE, uuid=uuid.UUID(uid).bytes if uid else bytes(16), label=label.encode()
    )
    path.write_bytes(header.pack(have))
    path.chmod(0o600)
    return path


def _header(name: str) -> bytes | None:
    try:
        with open(f"/dev/{name}", "rb") as device:
            return device.read(PAGE)
    except OSError:
        return None


def devices() -> set[str]:
    """The zram devices that are unused or made by these tests: others may come and go."""
    pages = {directory.name: _header(directory.name) for directory in BLOCK.glob("zram*")}
    return {
        name
        for name, page in pages.items()
        if page is not None and (not page.strip(b"\0") or LABEL.encode() in page)
    }


def labelled() -> set[str]:
    """The zram devices made for ghosts of these tests."""
    return {name for name in devices() if LABEL.encode() in (_header(name) or b"")}


@contextmanager
def as_they_were() -> Iterator[None]:
    """The block has to remove the devices of its ghosts; those that it left without a header are removed.

    One process at a time: what another one makes cannot be told from what is left behind.
    """
    with open("/run/lock/ghostctl-test-zram", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = devices()
        try:
            yield
            left = labelled()
            assert left == set()
        finally:
            for name in labelled():
                if is_active(f"/dev/{name}"):
                    run("swapoff", f"/dev/{name}")
                remove_device(Path(name))
            # a program that was killed had not yet written whose it is
            for name in devices() - before:
                if attribute(name, "disksize") == "0":
                    remove_device(Path(name))


def make_active(path: Path, *options: str) -> str:
    """Activates the ghost; returns the name of its area."""
    before = labelled()
    done = ghostctl(*ON, *options, path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
    (name,) = labelled() - before
    assert is_active(f"/dev/{name}")
    return f"/dev/{name}"


def off(spec: str | Path, fstab: str | Path = "/dev/null") -> None:
    """Takes down what `ghostctl off` would; without a process for it."""
    actives = areas.read()
    deactivation.deactivate(areas.find(str(spec), actives, str(fstab)), actives)


def status(*args: str | Path) -> list[dict[str, Any]]:
    """What `ghostctl status` says of these."""
    done = ghostctl("status", "--json", *args)
    assert done.returncode == 0, done.stderr
    areas: list[dict[str, Any]] = json.loads(done.stdout)["swapareas"]
    return areas


def add_device() -> Path:
    """A zram device made by hand."""
    return Path(f"/dev/zram{(CONTROL / 'hot_add').read_text().strip()}")


def set_size(device: Path) -> None:
    """Gives it a size, with which it can be written."""
    (BLOCK / device.name / "disksize").write_text(str(SIZE))


def remove_device(device: Path) -> None:
    """Away with it; it must not be active. Whoever is just looking at it keeps it for a moment."""
    deadline = time.monotonic() + 10
    while True:
        try:
            (CONTROL / "hot_remove").write_text(device.name.removeprefix("zram"))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def attribute(name: str, attribute: str) -> str:
    """What sysfs says of the device /dev/zramN."""
    return (BLOCK / Path(name).name / attribute).read_text().strip()
