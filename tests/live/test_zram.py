# SPDX-License-Identifier: GPL-2.0-or-later
"""Ghosts by way of zram, on the running kernel. Each test leaves the devices that it found, and no other."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import random
import shlex
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import oscalls
import pytest
from machine import AS_NOBODY, ghostctl, is_active, require, run
from stepwise import forked
from zramdevices import (
    BLOCK,
    CONTROL,
    LABEL,
    ON,
    PAGE,
    SIZE,
    UUID,
    add_device,
    attribute,
    devices,
    labelled,
    make_active,
    make_ghost,
    off,
    remove_device,
    set_size,
    status,
)

from ghostctl import (
    activation,
    areas,
    backends,
    capacity,
    deactivation,
    errors,
    ghostfile,
    header,
    kernel,
    rundir,
    swaps,
)
from ghostctl.backends import device, zram

FILES = ("backends/zram.py", "backends/device.py", "ghostctl/rundir.py")

pytestmark = pytest.mark.usefixtures("zram")


def test_there_and_back(ghost: Path) -> None:
    name = make_active(ghost)
    (area,) = status(ghost)
    assert area["name"] == name
    assert (area["type"], area["prio"], area["used"]) == ("partition", 100, 0)
    assert area["size"] == SIZE - PAGE
    assert (area["backend"], area["ghost"]) == ("zram", str(ghost))
    assert (area["uuid"], area["label"]) == (UUID, LABEL)
    again = ghostctl(*ON, ghost)
    assert again.returncode == 6
    assert f"is already active as {name}" in again.stderr
    assert run("blkid", "-p", "-s", "UUID", "-s", "LABEL", "-o", "value", name).split() == [LABEL, UUID]
    done = ghostctl("off", ghost)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not is_active(name)
    assert ghostctl("off", ghost).returncode == 3


def test_the_hint_names_it(ghost: Path) -> None:
    require("stock-kernel")
    done = ghostctl("on", ghost)
    assert done.returncode == 5
    assert f"hint: ghostctl on '{ghost}' --fallback zram" in done.stderr


def test_each_try_is_told(ghost: Path) -> None:
    require("stock-kernel")
    done = ghostctl("-v", "on", "--fallback", "xswap,zram", ghost)
    assert done.returncode == 0
    tries = [line for line in done.stderr.splitlines() if "backend " in line]
    release = os.uname().release
    assert tries == [
        "ghostctl: backend file: tried",
        f"ghostctl: backend file: this kernel ({release}) has no ghost swap",
        "ghostctl: backend xswap: tried",
        f"ghostctl: backend xswap: this kernel ({release}) has no xswap",
        "ghostctl: backend zram: tried",
        f"ghostctl: {ghost}: active by backend zram",
    ]
    assert ghostctl("off", ghost).returncode == 0
    done = ghostctl("on", "--fallback", "xswap,ghostswap", ghost)
    assert done.returncode == 5
    assert f"{release}) has no ghost swap; this kernel ({release}) has no xswap; this" in done.stderr
    assert f"hint: ghostctl on --fallback xswap,ghostswap '{ghost}' --fallback zram" in done.stderr


def test_where_no_swap_file_can_be(tmpfs: Path) -> None:
    path = make_ghost(tmpfs / "ghost")
    done = ghostctl("on", path)
    assert done.returncode == 5
    assert "no kernel swaps to a file on tmpfs" in done.stderr
    hint = f"hint: ghostctl on {path} --fallback zram  # or: put ghosts on ext4, xfs or btrfs"
    assert hint in done.stderr
    make_active(path)
    assert ghostctl("off", path).returncode == 0


def test_pages_go_there_and_come_back(ghost: Path) -> None:
    # above the areas of other tests
    name = make_active(ghost, "-p", "32767")
    size = 2 << 20
    content = b"".join(
        random.Random(n).randbytes(16).ljust(PAGE, bytes([n % 251])) for n in range(size // PAGE)
    )
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = content
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    madv_pageout = 21  # include/uapi/asm-generic/mman-common.h
    assert libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), madv_pageout) == 0
    assert status(name)[0]["used"] > size // 4
    stored = int((Path("/sys/block") / Path(name).name / "mm_stat").read_text().split()[0])
    # zswap, which is in front of all areas when it is on, keeps them
    assert stored > size // 4 or Path("/sys/module/zswap/parameters/enabled").read_text() == "Y\n"
    assert memory[: size // 2] == content[: size // 2]
    assert ghostctl("off", ghost).returncode == 0
    assert memory[:] == content


def test_what_is_known_without_a_list_of_areas(ghost: Path) -> None:
    """Its name and size; whether it is active, and how, only /proc/swaps says."""
    name = make_active(ghost)
    assert swaps.Area(name, "partition", SIZE >> 10, 0, 0) in list(zram.BACKEND.made())
    assert ghostctl("off", ghost).returncode == 0


@pytest.mark.parametrize("spec", [f"UUID={UUID.upper()}", f"LABEL={LABEL}", f"-L{LABEL}", "/dev/zram"])
def test_other_names(ghost: Path, spec: str) -> None:
    fstab = ghost.with_name("fstab")
    fstab.write_text(f"{str(ghost).replace(' ', chr(92) + '040')} none swap noauto 0 0\n")
    done = ghostctl(*ON, "-T", fstab, "-U", UUID)
    assert (done.returncode, done.stderr) == (0, "")
    (area,) = (area for area in status() if area["ghost"] == str(ghost))
    spec = area["name"] if spec == "/dev/zram" else spec
    assert status(spec)[0]["ghost"] == str(ghost)
    assert ghostctl("off", spec).returncode == 0


def test_nothing_is_remembered_in_run(ghost: Path) -> None:
    require("mount")
    make_active(ghost)
    alone = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh")
    done = ghostctl("status", "--json", ghost, prefix=alone)
    assert json.loads(done.stdout)["swapareas"][0]["ghost"] == str(ghost)
    assert ghostctl("off", ghost, prefix=alone).returncode == 0


def test_an_active_ghost_is_not_changed(ghost: Path) -> None:
    name = make_active(ghost)
    before = ghost.read_bytes()
    for command in (
        ("resize", ghost, "1M"),
        ("label", "-L", "new", ghost),
        ("mkghost", "--force", "-s", "1M", ghost),
    ):
        done = ghostctl(*command)
        assert done.returncode == 6
        assert f"is an active swap area as {name}" in done.stderr
    assert ghost.read_bytes() == before
    assert ghostctl("off", ghost).returncode == 0


def test_a_ghost_that_moved(ghost: Path) -> None:
    name = make_active(ghost)
    moved = ghost.rename(ghost.with_name("moved"))
    assert status(moved)[0]["name"] == name
    assert ghostctl(*ON, moved).returncode == 6
    assert ghostctl("off", moved).returncode == 0


@pytest.mark.parametrize("by", ["path", "uuid"])
def test_a_ghost_that_was_deleted(ghost: Path, by: str) -> None:
    name = make_active(ghost)
    ghost.unlink()
    assert status(name)[0]["ghost"] is None
    assert ghostctl("off", ghost if by == "path" else f"UUID={UUID}").returncode == 0


def test_another_ghost_in_its_place(ghost: Path) -> None:
    name = make_active(ghost)
    ghost.unlink()
    make_ghost(ghost, uid="0f0e0d0c-0b0a-4908-8706-050403020100")
    assert ghostctl("off", ghost).returncode == 3
    assert ghostctl("off", name).returncode == 0


def test_a_ghost_without_uuid(ghost: Path) -> None:
    make_ghost(ghost, uid=None)
    name = make_active(ghost)
    assert ghostctl(*ON, ghost).returncode == 6
    assert status(ghost)[0]["ghost"] == str(ghost)
    other = ghost.with_name("other")
    other.write_bytes(ghost.read_bytes())
    assert ghostctl("off", other).returncode == 3
    assert is_active(name)
    assert ghostctl("off", ghost).returncode == 0


def test_neither_uuid_nor_a_path_that_fits(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 250)
    directory.mkdir()
    path = directory / ("g" * 250)
    make_ghost(path, uid=None)
    done = ghostctl(*ON, path)
    assert done.returncode == 1
    assert "hint: ghostctl label -U random" in done.stderr
    make_ghost(path)
    make_active(path)
    assert ghostctl("off", path).returncode == 0


def test_big_endian(ghost: Path) -> None:
    have = header.ghost(256, PAGE, label=LABEL.encode(), uuid=bytes(range(16)), byteorder="big")
    ghost.write_bytes(header.pack(have))
    name = make_active(ghost)
    assert status(name)[0]["size"] == (1 << 20) - PAGE
    assert ghostctl("off", ghost).returncode == 0


@pytest.mark.parametrize("how", ["mkswap", "dd"])
def test_a_device_made_by_hand_is_left_alone(ghost: Path, how: str) -> None:
    device = add_device()
    try:
        set_size(device)
        if how == "mkswap":
            run("mkswap", "-q", "-U", UUID, "-L", LABEL, device)
        else:
            device.write_bytes(ghost.read_bytes())
        run("swapon", device)
        assert ghostctl("off", ghost).returncode == 3
        assert status(str(device))[0]["backend"] is None
        name = make_active(ghost)
        assert name != str(device)
        assert ghostctl("off", ghost).returncode == 0
        assert is_active(device)
        assert ghostctl("off", device).returncode == 0
        assert ghostctl("off", ghost).returncode == 3
        assert device.exists()
    finally:
        if is_active(device):
            run("swapoff", device)
        remove_device(device)


def test_an_area_taken_down_by_hand(ghost: Path) -> None:
    name = make_active(ghost)
    run("swapoff", name)
    done = ghostctl("off", ghost)
    assert done.returncode == 3
    assert f"{name}: warning: removed" in done.stderr
    assert not Path(name).exists()


def test_options(ghost: Path) -> None:
    known = Path("/sys/block/zram0/comp_algorithm")
    names = known.read_text().replace("[", "").replace("]", "").split() if known.exists() else ["lzo"]
    for compressor in names:
        name = Path(make_active(ghost, "--compressor", compressor, "--memory-limit", "3M")).name
        attributes = Path("/sys/block") / name
        assert f"[{compressor}]" in (attributes / "comp_algorithm").read_text()
        assert int((attributes / "mm_stat").read_text().split()[3]) == 3 << 20
        assert ghostctl("off", ghost).returncode == 0
    done = ghostctl(*ON, "--compressor", "nonesuch", ghost)
    assert done.returncode == 5
    assert "zram has no compressor nonesuch" in done.stderr
    assert f"this kernel has {', '.join(names)}" in done.stderr


def test_room_of_a_device(ghost: Path) -> None:
    """Its memory limit, at the ratio of what it has; never more than its slots."""
    name = make_active(ghost, "--memory-limit", "1M")

    def held() -> capacity.Held:
        (found,) = (one for one in capacity.held(areas.read(), None) if one.area.name == name)
        return found

    # nothing is in it but the header
    stored, _, used, limit, *_ = map(int, attribute(name, "mm_stat").split())
    assert (stored, limit) == (PAGE, 1 << 20)
    assert held().room == limit - min(stored, used)
    assert ghostctl("off", ghost).returncode == 0
    device = add_device()
    number = int(device.name.removeprefix("zram"))
    attributes = Path("/sys/block") / device.name
    try:
        (attributes / "disksize").write_text("8M")
        (attributes / "mem_limit").write_text("4M")
        pages = b"".join(random.Random(n).randbytes(1000).ljust(PAGE, b"x") for n in range(1536))
        with device.open("r+b") as file:
            file.write(pages)
            file.flush()
            os.fsync(file.fileno())
        stored, _, used, limit, *_ = map(int, attribute(str(device), "mm_stat").split())
        pool = capacity.zram_pool(number)
        assert (pool.stored, pool.used, pool.limit) == (stored, used, 4 << 20)
        assert stored == len(pages) > 2 * used
        assert pool.room == int((limit - used) * (stored / used))
        full = swaps.Area(str(device), "partition", 8 << 10, (8 << 10) - 8, 1)
        assert capacity.Held(full, pool).room == 8 << 10
        (attributes / "mem_limit").write_text("4K")
        assert capacity.zram_pool(number).room == 0
        (attributes / "reset").write_text("1")
        assert capacity.zram_pool(number).stored == 0
    finally:
        remove_device(device)
    assert capacity.zram_pool(number) == capacity.Pool(f"zram{number}", None, None, None, None)
    # without a limit memory is one
    name = make_active(ghost)
    found = held()
    assert (found.pool.limit, found.room) == (None, found.area.size)
    assert ghostctl("off", ghost).returncode == 0


def refuse_a_size(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The kernel makes devices, but gives none a size."""
    write_attribute = kernel.write_attribute

    def write(path: str, value: str) -> None:
        if path.endswith("/disksize"):
            raise OSError(number, os.strerror(number), path)
        write_attribute(path, value)

    monkeypatch.setattr(kernel, "write_attribute", write)


@pytest.mark.parametrize("force", [False, True])
def test_a_table_that_memory_does_not_hold(ghost: Path, monkeypatch: pytest.MonkeyPatch, force: bool) -> None:
    """It is known before, or the kernel says so; no memory is really filled for that."""
    refuse_a_size(monkeypatch, errno.ENOMEM)
    if not force:
        monkeypatch.setattr(kernel, "read_meminfo", lambda *_: {"MemAvailable": 1})
    with pytest.raises(errors.NoMemory) as caught:
        activation.activate(str(ghost), activation.Request(backend="zram", force=force))
    assert caught.value.path == str(ghost)
    assert str(caught.value.hint).startswith(f"ghostctl resize {shlex.quote(str(ghost))} SIZE")
    assert errors.exit_status(caught.value) == 7
    assert labelled() == set()


def test_what_only_root_may(ghost: Path) -> None:
    require("setpriv")
    ghost.parent.parent.chmod(0o755)
    ghost.parent.chmod(0o755)
    ghost.chmod(0o644)
    done = ghostctl(*ON, ghost, prefix=AS_NOBODY)
    assert done.returncode == 4, done.stderr


def test_swapon_refused_after_the_set_up(ghost: Path) -> None:
    require("setpriv")
    powerless = ("setpriv", "--bounding-set", "-sys_admin")
    done = ghostctl("on", "--backend", "zram", ghost, prefix=powerless)
    assert done.returncode == 4, done.stderr
    assert "swap" in done.stderr or "Operation not permitted" in done.stderr


@pytest.mark.parametrize("what", ["swapoff fails", "somebody else has it"])
def test_only_what_is_off_and_ours_is_removed(
    ghost: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    make_active(ghost)
    actives = areas.read()
    found = areas.find(str(ghost), actives)
    removed: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(zram.BACKEND, "remove", removed.append)
        if what == "swapoff fails":
            oscalls.fail(patch, "open", errno.ENOMEM, when=lambda path, *_a, **_k: path == found.area.name)
            with pytest.raises(OSError, match="Cannot allocate memory"):
                deactivation.deactivate(found, actives)
        else:
            patch.setattr(zram, "_read", lambda _: None)
            deactivation.deactivate(found, actives)
    assert removed == []
    # the next command finds it
    assert ghostctl("off", ghost).returncode == (0 if what == "swapoff fails" else 3)
    assert labelled() == set()


def test_a_device_that_somebody_has_open(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """swapoff(2) has done its work, and the device stays: which it is, and how to be rid of it."""
    name = make_active(ghost)
    monkeypatch.setattr(device, "_REMOVE_TRIES", 2)
    with open(name, "rb"), ghostfile.look(str(ghost)) as file:
        found = areas.active(file)
        assert found is not None
        with pytest.raises(errors.Error) as caught:
            backends.get("zram").deactivate(found)
    error = caught.value
    assert str(error) == (
        f"{name}: is not swap any more, but still there: another process has it open; {ghost} is off"
    )
    assert error.hint == f"echo {name.removeprefix('/dev/zram')} > {CONTROL}/hot_remove"
    assert errors.exit_status(error) == 1
    assert not is_active(name)
    done = ghostctl("off", ghost)
    assert done.returncode == 3
    assert f"{name}: warning: removed" in done.stderr


def test_fstab(ghost: Path) -> None:
    fstab = ghost.with_name("fstab")
    spec = str(ghost).replace(" ", "\\040")
    fstab.write_text(f"{spec} none swap pri=7,x-ghost.size=4M,x-ghost.fallback=zram 0 0\n")
    done = ghostctl("on", "--all", "-T", fstab)
    assert (done.returncode, done.stderr) == (0, "")
    (area,) = status(ghost)
    assert (area["backend"], area["prio"]) == ("zram", 7)
    done = ghostctl("on", "--all", "-T", fstab)
    assert (done.returncode, done.stderr) == (0, "")
    assert ghostctl("off", ghost).returncode == 0


def test_many_at_once(ghost: Path) -> None:
    def at_once(*args: str | Path) -> list[int]:
        with ThreadPoolExecutor(5) as pool:
            return sorted(done.returncode for done in pool.map(lambda _: ghostctl(*args), range(5)))

    before = devices()
    assert at_once(*ON, ghost) == [0, 6, 6, 6, 6]
    assert len(devices() - before) == 1
    statuses = at_once("off", ghost)
    assert statuses[0] == 0
    assert devices() == before


ODD_SIZE = SIZE + os.getpid() % 4096 * PAGE
"""By which a device can be told that has no header yet."""


def made_here() -> set[str]:
    """The devices of these tests that have a size or a header."""
    sized = set()
    for directory in BLOCK.glob("zram*"):
        # others come and go
        with suppress(OSError):
            if attribute(directory.name, "disksize") == str(ODD_SIZE):
                sized.add(directory.name)
    return sized | labelled()


def clear_named(text: str) -> None:
    """Removes the devices of ours that a message names as perhaps left over, as its hint says."""
    for name in made_here():
        if f"/dev/{name}: warning: may be left" in text and not is_active(f"/dev/{name}"):
            hint = f"hint: echo {name.removeprefix('zram')} > {CONTROL}/hot_remove  # if so"
            assert hint in text
            run("sh", "-c", hint.partition("hint: ")[2])


def activate(ghost: Path) -> None:
    activation.activate(str(ghost), activation.Request(backend="zram"))


@pytest.mark.parametrize(
    ("killed", "number", "step"),
    [("on", signal.SIGKILL, 2), ("off", signal.SIGKILL, 2), ("on", signal.SIGTERM, 7)],
    ids=["on-SIGKILL", "off-SIGKILL", "on-SIGTERM"],
)
def test_killed_between_any_two_steps(
    ghost: Path, killed: str, number: signal.Signals, step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a killed command leaves is cleared away, or at least named, by the next one."""
    make_ghost(ghost, ODD_SIZE)
    ends = []
    for kill_at in range(1, 500, step):
        if killed == "off":
            activate(ghost)
        command = ("off", ghost) if killed == "off" else (*ON, ghost)
        first = forked(*command, files=FILES, kill_at=kill_at, number=number)
        ends.append(first.status)
        # which is what the next command begins with
        backends.recover()
        with suppress(errors.NotFound):
            off(ghost)
        clear_named(first.err + capsys.readouterr().err)
        assert made_here() == set(), (kill_at, first)
        if first.status != -number:
            break
    assert ends[-1] == 0
    assert len(ends) * step > 30
    activate(ghost)
    off(ghost)


def test_a_device_that_nothing_names(ghost: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a process that was killed before it wrote the header: which devices were there before is known."""
    with rundir.change("zram") as change:
        change.begin([path.name.removeprefix("zram") for path in BLOCK.glob("zram*")])
        device = add_device()
    try:
        number = device.name.removeprefix("zram")
        activate(ghost)
        err = capsys.readouterr().err
        assert f"{device}: warning: may be left from a killed run: nothing on it says so" in err
        assert f"ghostctl: hint: echo {number} > {CONTROL}/hot_remove  # if so" in err
        assert "/dev/zram0: warning" not in err
        assert device.exists()
        # once is enough
        off(ghost)
        activate(ghost)
        assert str(device) not in capsys.readouterr().err
        off(ghost)
    finally:
        remove_device(device)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("disksize", "Input/output error"),
        ("pwrite", "the header could not be written"),
        ("fsync", "Input/output error"),
    ],
)
def test_a_device_that_cannot_be_set_up(
    ghost: Path, monkeypatch: pytest.MonkeyPatch, call: str, text: str
) -> None:
    before = devices()
    with monkeypatch.context() as patch:
        if call == "pwrite":
            patch.setattr(os, "pwrite", lambda _fd, data, _offset: len(data) - 1)
        elif call == "fsync":
            # with a memory limit that has no room for the header, too
            oscalls.fail(patch, "fsync", errno.EIO)
        else:
            refuse_a_size(patch, errno.EIO)
        with pytest.raises(OSError, match=text) as caught:
            activation.activate(str(ghost), activation.Request(backend="zram"))
    assert "zram" in caught.value.filename
    assert devices() == before


def test_a_device_that_stays_after_a_failure_is_named(
    ghost: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    request = activation.Request(backends.Options(compressor="lzo"), "zram")
    left: list[int] = []

    def busy(number: int) -> None:
        left.append(number)
        raise errors.Busy("another process has it open")

    def refuse(_path: str, _value: str) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), "comp_algorithm")

    with monkeypatch.context() as patch:
        patch.setattr(zram.BACKEND, "remove", busy)
        patch.setattr(kernel, "write_attribute", refuse)
        # not a compressor that the kernel does not know
        with pytest.raises(OSError, match="busy"):
            activation.activate(str(ghost), request)
    (number,) = left
    remove_device(Path(f"zram{number}"))
    assert capsys.readouterr().err.splitlines() == [
        f"ghostctl: /dev/zram{number}: warning: is left: another process has it open",
        f"ghostctl: hint: echo {number} > {CONTROL}/hot_remove",
    ]


def test_a_set_up_that_failed_leaves_no_note(ghost: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The device is gone, and no other is taken for it."""
    request = activation.Request(backends.Options(compressor="nonesuch"), "zram")
    with pytest.raises(errors.Unsupported, match="zram has no compressor nonesuch"):
        activation.activate(str(ghost), request)
    device = add_device()
    try:
        activate(ghost)
        assert capsys.readouterr().err == ""
        off(ghost)
    finally:
        remove_device(device)


def test_what_was_left_is_removed_by_off(ghost: Path) -> None:
    """A device with its header written whose maker was killed before swapon(2)."""
    device = add_device()
    set_size(device)
    have = header.unpack(ghost.read_bytes())
    device.write_bytes(header.pack(header.for_device(have, str(ghost))))
    done = ghostctl("off", ghost)
    assert done.returncode == 3
    assert f"{device}: warning: removed: it was left" in done.stderr
    assert not device.exists()


def test_resize_by_label_finds_the_file_behind_the_device(ghost: Path) -> None:
    make_active(ghost)
    done = ghostctl("-q", "resize", "--cycle", f"LABEL={LABEL}", "8M")
    assert (done.returncode, done.stderr) == (0, "")
    (area,) = status(ghost)
    assert (area["size"], area["prio"], area["ghost"]) == ((8 << 20) - PAGE, 100, str(ghost))
    assert ghostctl("verify", f"LABEL={LABEL}").returncode == 0
    assert ghostctl("off", ghost).returncode == 0


@pytest.mark.parametrize("why", ["damaged", "too small"])
def test_nothing_goes_down_that_cannot_be_resized(ghost: Path, why: str) -> None:
    name = make_active(ghost)
    if why == "damaged":
        with ghost.open("r+b") as file:
            file.seek(1234)
            file.write(b"XX")
    done = ghostctl("-v", "resize", "--cycle", ghost, "8M" if why == "damaged" else "1")
    assert done.returncode == (1 if why == "damaged" else 2)
    assert "swapoff" not in done.stderr
    assert is_active(name)
    assert ghostctl("off", name).returncode == 0


def test_if_needed_leaves_an_active_one_alone(ghost: Path) -> None:
    make_active(ghost)
    before = ghost.read_bytes()
    done = ghostctl("mkghost", "--if-needed", "-s", str(SIZE), "-L", "another", ghost)
    assert done.returncode == 0
    assert "is active and left alone" in done.stderr
    done = ghostctl("mkghost", "--if-needed", "-s", str(SIZE * 2), ghost)
    assert done.returncode == 6
    assert ghost.read_bytes() == before
    assert ghostctl("off", ghost).returncode == 0


def test_in_another_mount_namespace(ghost: Path) -> None:
    """Whose /dev is not this one: /proc/swaps has /zramN there."""
    inside = ("unshare", "--mount", "sh", "-c", 'mount --bind /dev /dev && exec "$@"', "sh")
    done = ghostctl(*ON, ghost, prefix=inside)
    assert (done.returncode, done.stderr) == (0, "")
    (area,) = status(ghost)
    assert (area["backend"], area["ghost"]) == ("zram", str(ghost))
    again = ghostctl(*ON, ghost)
    assert again.returncode == 6
    done = ghostctl("off", ghost)
    assert (done.returncode, done.stderr) == (0, "")


def test_on_a_read_only_filesystem(filesystem: Callable[..., Path], ghost: Path) -> None:
    point = filesystem("ext4")
    path = point / "ghost"
    path.write_bytes(ghost.read_bytes())
    path.chmod(0o600)
    run("mount", "-o", "remount,ro", point)
    make_active(path)
    assert ghostctl("off", path).returncode == 0
