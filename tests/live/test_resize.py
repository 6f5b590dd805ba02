# SPDX-License-Identifier: GPL-2.0-or-later
"""resize --cycle of a ghost that is active through zram: as it was but for the size, or just as it was."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from pathlib import Path

import oscalls
import pytest
from machine import ghostctl, is_active
from stepwise import forked
from zramdevices import BLOCK, PAGE, SIZE, attribute, labelled, make_active

from ghostctl import areas, backends, deactivation, errors, ghostfile, kernel
from ghostctl import resize as resizing

NEW = 8 << 20
LIMIT = 3 << 20


def take_down(active: areas.Active, actives: list[areas.Active]) -> None:
    deactivation.deactivate(active, actives)


def resize(ghost: Path, size: int = NEW) -> resizing.Resized:
    with ghostfile.look(str(ghost), write=True) as file:
        return resizing.resize(file, size, take_down)


def declared(ghost: Path) -> int:
    with ghostfile.look(str(ghost)) as file:
        return file.require_header().size


def compressor() -> str:
    """One that is not the kernel's choice, where there is another."""
    text = (BLOCK / "zram0/comp_algorithm").read_text() if (BLOCK / "zram0").exists() else "[lzo]"
    return next((name for name in text.split() if not name.startswith("[")), text.strip("[]\n"))


def state() -> tuple[int, str, str, int]:
    """Size, compressor, memory limit and priority of the one area."""
    (name,) = labelled()
    (one,) = (one for one in areas.read() if one.area.name == f"/dev/{name}")
    limit = attribute(name, "mm_stat").split()[3]
    chosen = re.findall(r"\[(.*)\]", attribute(name, "comp_algorithm"))[0]
    return int(attribute(name, "disksize")), chosen, limit, one.area.prio


@pytest.fixture
def name(ghost: Path) -> str:
    return make_active(ghost, "--compressor", compressor(), "--memory-limit", str(LIMIT), "-p", "77")


@pytest.mark.usefixtures("name")
def test_everything_but_the_size_stays(ghost: Path) -> None:
    assert state() == (SIZE, compressor(), str(LIMIT), 77)
    done = ghostctl("resize", "--cycle", "--json", ghost, str(NEW))
    assert (done.returncode, done.stderr) == (0, "")
    (new,) = labelled()
    assert json.loads(done.stdout) == {
        "file": str(ghost),
        "size": NEW,
        "last_page": NEW // PAGE - 1,
        "changed": True,
        "cycled": True,
        "area": f"/dev/{new}",
    }
    assert state() == (NEW, compressor(), str(LIMIT), 77)
    assert declared(ghost) == NEW
    done = ghostctl("resize", "--cycle", ghost, str(SIZE))
    assert done.returncode == 0
    assert re.search(rf"active again as /dev/zram\d+ with {SIZE} bytes, priority 77\n$", done.stdout)
    assert ghostctl("off", ghost).returncode == 0


def test_the_same_size_is_nothing_to_do(ghost: Path, name: str) -> None:
    device = os.stat(name)
    page, st = ghost.read_bytes(), ghost.stat()
    done = ghostctl("-v", "resize", "--cycle", "--json", ghost, str(SIZE))
    assert done.returncode == 0
    assert "swapoff" not in done.stderr
    document = json.loads(done.stdout)
    assert (document["changed"], document["cycled"], document["area"]) == (False, False, None)
    assert (os.stat(name).st_ino, os.stat(name).st_mtime_ns) == (device.st_ino, device.st_mtime_ns)
    assert (ghost.read_bytes(), ghost.stat().st_mtime_ns) == (page, st.st_mtime_ns)
    assert is_active(name)
    assert ghostctl("off", ghost).returncode == 0


def test_active_without_cycle_is_busy(ghost: Path, name: str) -> None:
    with ghostfile.look(str(ghost), write=True) as file, pytest.raises(errors.Busy) as caught:
        resizing.resize(file, NEW)
    assert str(caught.value) == f"{ghost}: is an active swap area as {name}"
    assert is_active(name)
    assert declared(ghost) == SIZE
    assert ghostctl("off", ghost).returncode == 0


def test_one_that_is_not_active(ghost: Path) -> None:
    done = resize(ghost)
    assert (done.header.size, done.changed, done.active) == (NEW, True, None)
    assert declared(ghost) == NEW
    assert resize(ghost).changed is False
    assert labelled() == set()


def fail_disksize(patch: pytest.MonkeyPatch, sizes: set[int]) -> None:
    """The kernel has no memory for devices of these sizes."""
    write = os.write

    def refuse(fd: int, data: bytes) -> int:
        if data in {str(size).encode() for size in sizes}:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return write(fd, data)

    patch.setattr(os, "write", refuse)


@pytest.mark.usefixtures("name")
def test_the_old_size_when_the_new_one_fails(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fail_disksize(patch, {NEW})
        with pytest.raises(errors.Error) as caught:
            resize(ghost)
    assert str(caught.value) == (
        f"{ghost}: is active again with the old size, {SIZE} bytes: "
        f"{ghost}: zram has no memory for a table of so many pages"
    )
    assert errors.exit_status(caught.value) == 1
    assert state() == (SIZE, compressor(), str(LIMIT), 77)
    assert declared(ghost) == SIZE
    assert ghostctl("off", ghost).returncode == 0


@pytest.mark.usefixtures("name")
def test_neither_size(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fail_disksize(patch, {NEW, SIZE})
        with pytest.raises(errors.Error) as caught:
            resize(ghost)
    why = f"({ghost}: zram has no memory for a table of so many pages)"
    assert str(caught.value) == (
        f"{ghost}: is not active any more: the new size failed {why}, and so did the old one {why}"
    )
    assert caught.value.hint == f"ghostctl on --backend zram '{ghost}'"
    assert errors.exit_status(caught.value) == 1
    assert labelled() == set()
    assert declared(ghost) == SIZE
    assert ghostctl("on", "--backend", "zram", ghost).returncode == 0
    assert ghostctl("off", ghost).returncode == 0


@pytest.mark.usefixtures("name")
def test_a_file_that_cannot_be_written(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The area is down by then; it comes back as it was."""
    with monkeypatch.context() as patch:
        oscalls.fail(patch, "rename", errno.EIO, times=1)
        oscalls.fail(patch, "link", errno.EIO, times=1)
        oscalls.fail(patch, "pwrite", errno.EIO, times=1, when=lambda _fd, data, _at: len(data) == PAGE)
        oscalls.fail(patch, "write", errno.EIO, times=1, when=lambda _fd, data: len(data) == PAGE)
        with pytest.raises(errors.Error, match="is active again with the old size") as caught:
            resize(ghost)
        assert "Input/output error" in str(caught.value)
    assert state() == (SIZE, compressor(), str(LIMIT), 77)
    assert declared(ghost) == SIZE
    assert ghostctl("verify", ghost).returncode == 0
    assert ghostctl("off", ghost).returncode == 0


def test_what_cannot_be_taken_down_is_left(ghost: Path, name: str) -> None:
    def refuse(active: areas.Active, actives: list[areas.Active]) -> None:
        assert active.area.name == name
        assert name in {one.area.name for one in actives}
        raise errors.NoMemory("no room", path=active.area.name)

    with ghostfile.look(str(ghost), write=True) as file, pytest.raises(errors.NoMemory, match="no room"):
        resizing.resize(file, NEW, refuse)
    assert is_active(name)
    assert declared(ghost) == SIZE
    assert ghostctl("off", ghost).returncode == 0


@pytest.mark.usefixtures("name")
def test_down_but_with_something_left(ghost: Path) -> None:
    """Off has failed halfway: the area is gone, and comes back as it was."""

    def half(active: areas.Active, actives: list[areas.Active]) -> None:
        take_down(active, actives)
        raise errors.Error("is left", path="this")

    with ghostfile.look(str(ghost), write=True) as file, pytest.raises(errors.Error) as caught:
        resizing.resize(file, NEW, half)
    assert str(caught.value) == f"{ghost}: is active again with the old size, {SIZE} bytes: this: is left"
    assert state() == (SIZE, compressor(), str(LIMIT), 77)
    assert ghostctl("off", ghost).returncode == 0


def test_what_can_be_known_before_is_known_before(
    ghost: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for the slots, of which the machine is said to have just enough, or a byte less."""
    zram = backends.get("zram")
    pages = (NEW - SIZE) // PAGE
    more = pages * 13 // 4 + pages * zram.extra_slot_bytes
    monkeypatch.setattr(kernel, "has_swap_tables", lambda *_: False)
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "read_meminfo", lambda *_: {"MemAvailable": more - 1})
        with pytest.raises(errors.NoMemory, match="more of kernel memory") as caught:
            resize(ghost, NEW)
    assert caught.value.path == str(ghost)
    with pytest.raises(errors.SizeError):
        resize(ghost, PAGE)
    assert is_active(name)
    assert declared(ghost) == SIZE
    with monkeypatch.context() as patch:
        patch.setattr(resizing, "_again", lambda *_: None)
        patch.setattr(kernel, "read_meminfo", lambda *_: {"MemAvailable": more})
        resize(ghost, NEW)
    assert not is_active(name)


class Missing(backends.Backend):
    """What the running kernel does not offer any more."""

    def unavailable(self) -> str | None:
        return "gone"


def test_a_backend_that_is_gone(ghost: Path) -> None:
    with ghostfile.look(str(ghost)) as file:
        have = file.require_header()
        with pytest.raises(errors.Unsupported, match="gone"):
            resizing._check(file, have, have, Missing())
        resizing._check(file, have, have, backends.get("zram"))


@pytest.mark.parametrize(
    ("number", "files", "step"),
    [
        (signal.SIGTERM, ["ghostctl/resize.py"], 3),
        (signal.SIGINT, ["ghostctl/activation.py", "backends/zram.py", "backends/device.py"], 17),
    ],
)
def test_a_signal_leaves_it_active(ghost: Path, number: signal.Signals, files: list[str], step: int) -> None:
    """At whatever line it comes: the area is there at the end, with one size or the other."""
    make_active(ghost)
    ends = []
    for kill_at in range(1, 1000, step):
        size = NEW if declared(ghost) == SIZE else SIZE
        done = forked("resize", "--cycle", ghost, str(size), files=files, kill_at=kill_at, number=number)
        ends.append(done.status)
        (one,) = (one for one in areas.read() if one.ghost == str(ghost))
        assert (one.area.size, one.area.prio) == (declared(ghost) - PAGE, 100), (kill_at, done)
        if declared(ghost) == size and done.status:
            assert f"interrupted, but active again, with the new size of {size} bytes" in done.err
        if done.status == 0:
            break
        assert done.status == -number, (kill_at, done)
    assert ends[-1] == 0
    assert len(ends) > 5
    assert ghostctl("off", ghost).returncode == 0
