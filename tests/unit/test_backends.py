# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import inspect
import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import IO

import oscalls
import pytest

from ghostctl import areas, backends, errors, ghostfile, header, kernel, rundir, swaps
from ghostctl.backends import device, ghostswap, xswap, zram
from ghostctl.swaps import Area

GHOST = header.ghost(100, 4096, uuid=bytes(range(16)), label=b"label")


def put(root: Path, path: str, text: str = "") -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


@pytest.fixture
def run_ghostctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rundir, "PATH", str(tmp_path / "run"))
    return tmp_path / "run"


def test_every_backend_has_the_whole_interface() -> None:
    for name in backends.NAMES:
        backend = backends.get(name)
        kind, *bases, _ = type(backend).__mro__
        own = {method for method, value in vars(kind).items() if inspect.isfunction(value)}
        assert all(any(hasattr(base, method) for base in bases) for method in own)
        assert {"unavailable", "activate", "recognise"} <= own
        assert backend is backends.get(name)
    assert [name for name in backends.NAMES if not backends.get(name).needs_zswap] == ["zram"]
    assert {name: backends.get(name).extra_slot_bytes for name in backends.NAMES if name != "zram"} == {
        "file": 0,
        "ghostswap": 0,
        "xswap": 0,
        "dm": 0,
    }
    assert backends.get("zram").extra_slot_bytes == 16


def test_what_is_no_area_of_a_backend() -> None:
    for name in backends.NAMES:
        backend = backends.get(name)
        assert list(backends.Backend.made(backend)) == []
        for area in (
            Area("/srv/swap", "file", 4092, 0, 5),
            Area("/dev/sda2", "partition", 4092, 0, 5),
            Area("/srv/zram0", "file", 4092, 0, 5),
            Area("xswap", "xswap", 4092, 0, 5),
            Area("xswap-1", "xswap", 4092, 0, 5),
            Area("yswap1", "xswap", 4092, 0, 5),
            Area("xswap1", "file", 4092, 0, 5),
        ):
            assert backend.recognise(area) is None, (name, area)


def test_a_ghost_file_is_its_own_area() -> None:
    for name, kind, is_ghost in (
        ("/srv/ghost", "ghost", True),
        ("/srv/ghost", "file", False),
        ("/dev/ghostswap", "ghost", False),
        ("ghost", "ghost", False),
    ):
        area = Area(name, kind, 4092, 0, 5)
        expected = areas.Active(area, name, "file", name) if is_ghost else None
        assert backends.get("file").recognise(area) == expected


def test_the_device_of_ghostswap_only(run_ghostctl: Path) -> None:
    backend = backends.get("ghostswap")
    run_ghostctl.mkdir()
    rundir.write_record("ghostswap", rundir.Record("", "uuid", "/srv/ghost"))
    # character devices, but others; a file; nothing; no path
    for name in ("/dev/null", "/etc/passwd", "/nonesuch", "ghostswap"):
        assert backend.recognise(Area(name, "ghost", 4092, 0, 5)) is None
        assert backend.recognise(Area(name, "xswap", 4092, 0, 5)) is None


def test_recover_forgets_the_ghost_of_an_area_that_is_gone(run_ghostctl: Path) -> None:
    run_ghostctl.mkdir()
    backends.get("ghostswap").recover()
    rundir.write_record("ghostswap", rundir.Record("", "uuid", "/srv/ghost"))
    backends.get("ghostswap").recover()
    assert rundir.read_record("ghostswap") is None


def test_options_are_the_priority() -> None:
    active = areas.Active(Area("/g", "ghost", 4092, 0, 7), "/g", "file")
    assert backends.get("file").options(active) == backends.Options(prio=7)


@pytest.mark.parametrize(
    ("backend", "path", "text"),
    [
        (xswap.BACKEND, "sys/kernel/mm/xswap/create", ""),
        (
            ghostswap.BACKEND,
            "sys/dev/char/1:13/uevent",
            "MAJOR=1\nMINOR=13\nDEVNAME=ghostswap\nDEVMODE=0660\n",
        ),
        (ghostswap.BACKEND, "sys/dev/char/1:13/uevent", "MAJOR=1\nMINOR=13\nDEVNAME=xswap\n"),
    ],
)
def test_what_a_kernel_offers(
    tmp_path: Path, backend: xswap.Xswap | ghostswap.Ghostswap, path: str, text: str
) -> None:
    # without /sys nothing is known of the kernel
    assert backend.unavailable(str(tmp_path)) == backends.NO_SYSFS
    (tmp_path / "sys/kernel").mkdir(parents=True)
    assert kernel.release() in str(backend.unavailable(str(tmp_path)))
    put(tmp_path, path, text)
    assert backend.unavailable(str(tmp_path)) is None


def test_a_kernel_that_has_zram_or_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the control directory modprobe(8) is asked, which knows where modules are."""
    backend = zram.BACKEND
    would_load = kernel.modprobe("--dry-run", "--quiet", "zram")
    assert backend.unavailable(str(tmp_path)) == backends.NO_SYSFS
    (tmp_path / "sys/kernel").mkdir(parents=True)
    reason = backend.unavailable(str(tmp_path))
    assert reason == (None if would_load else f"this kernel ({kernel.release()}) has no zram")
    assert kernel.modprobe("--dry-run", "--quiet", "ghostctl-nonesuch") is False
    monkeypatch.setattr(kernel, "modprobe", lambda *_: True)
    assert backend.unavailable(str(tmp_path)) is None
    monkeypatch.setattr(kernel, "modprobe", lambda *_: False)
    assert kernel.release() in str(backend.unavailable(str(tmp_path)))
    put(tmp_path, "sys/class/zram-control/hot_add")
    assert backend.unavailable(str(tmp_path)) is None


def test_what_modprobe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel names the program; one without modules does not."""
    program = put(tmp_path, "own", '#!/bin/sh\necho "$@" >>$0.ran\ntest -z "$(cat)" && test $2 = there\n')
    program.chmod(0o755)
    named = put(tmp_path, "modprobe", f"{program}\n")

    def open_other(path: str, **keywords: str) -> IO[str]:
        assert path == "/proc/sys/kernel/modprobe"
        return named.open(**keywords)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(kernel, "open", open_other, raising=False)
    assert [kernel.modprobe("zram", "there"), kernel.modprobe("zram", "none")] == [True, False]
    assert Path(f"{program}.ran").read_text() == "zram there\nzram none\n"
    # as a parent may leave it: then nobody says how it ended
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert kernel.modprobe("zram", "none") is True
    finally:
        signal.signal(signal.SIGCHLD, old)
    program.unlink()
    assert kernel.modprobe("zram", "there") is False
    named.unlink()
    assert kernel.modprobe("zram", "there") is False


@pytest.mark.parametrize(("loads", "appears"), [(False, False), (True, False), (False, True), (True, True)])
def test_zram_is_there_once_its_module_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loads: bool, appears: bool
) -> None:
    monkeypatch.setattr(zram, "_CONTROL", str(tmp_path / "control")[1:])
    monkeypatch.setattr(zram, "has_sysfs", lambda: True)
    asked: list[tuple[str, ...]] = []

    def modprobe(*arguments: str) -> bool:
        asked.append(arguments)
        if appears:
            put(tmp_path, "control/hot_add")
        return loads

    monkeypatch.setattr(kernel, "modprobe", modprobe)
    if loads and appears:
        zram._load()
        zram._load()
    else:
        with pytest.raises(errors.Unsupported, match="has no zram"):
            zram._load()
    # with a device for nobody it would not be asked
    assert asked == [("--quiet", "zram", "num_devices=0")]


def test_a_device_without_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zram, "_CONTROL", str(tmp_path)[1:])
    path = put(tmp_path, "hot_add", "7\n")
    calls = oscalls.record(monkeypatch, "read")
    assert zram._hot_add() == 7
    # each is a device
    assert [name for name, _ in calls] == ["read"]
    path.write_text("none\n")
    with pytest.raises(errors.Error, match="gave no number: 'none'"):
        zram._hot_add()


@pytest.mark.parametrize(
    ("answers", "raised", "calls"),
    [
        ((0,), None, 1),
        ((errno.ENODEV,), None, 1),
        ((errno.EBUSY, errno.EBUSY, 0), None, 3),
        ((errno.EBUSY,) * 5, errors.Busy, 3),
        ((errno.EACCES, 0), PermissionError, 1),
    ],
)
def test_a_device_goes_once(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[int, ...], raised: type[BaseException] | None, calls: int
) -> None:
    """After that its number may be another one's."""
    left = list(answers)

    def write(path: str, value: str) -> None:
        assert (path, value) == ("/sys/class/zram-control/hot_remove", "77")
        if number := left.pop(0):
            raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(kernel, "write_attribute", write)
    monkeypatch.setattr(zram, "has_sysfs", lambda: True)
    monkeypatch.setattr(device, "_REMOVE_TRIES", 3)
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(raised) if raised else nullcontext():
        zram.BACKEND.remove(77)
    assert len(answers) - len(left) == calls
    assert len(pauses) == calls - 1


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (errors.NotAGhost("is a directory"), None),
        (OSError(errno.EBUSY, "busy"), None),
        (OSError(errno.EIO, "broken"), OSError),
    ],
)
def test_what_cannot_be_read_is_nobody_s_only_when_it_goes(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[BaseException] | None
) -> None:
    def look(path: str) -> None:
        assert path == "/dev/zram77"
        raise error

    monkeypatch.setattr(ghostfile, "look", look)
    with pytest.raises(raised) if raised else nullcontext():
        assert zram._read(77) is None


def test_no_devices_where_there_is_no_directory_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    oscalls.fail(monkeypatch, "listdir", errno.ENOENT)
    assert zram.BACKEND.numbers() == []


def test_the_node_of_a_device_is_a_block_device_of_that_number(tmp_path: Path) -> None:
    """Whatever else has its name in /dev is not written to."""
    before = oscalls.open_descriptors()
    put(tmp_path, "dev", "1:3\n")
    # the numbers of a character device are no block device's
    for path in (put(tmp_path, "zram7"), Path("/dev/null")):
        with pytest.raises(errors.Error, match=f"{path}: is not the block device 1:3"):
            zram._open(str(path), str(tmp_path))
    assert oscalls.open_descriptors() == before


def test_the_path_of_the_ghostswap_device(tmp_path: Path) -> None:
    assert ghostswap._path(str(tmp_path)) is None
    put(tmp_path, "sys/dev/char/1:13/uevent", "MAJOR=1\nMINOR=13\n")
    assert ghostswap._path(str(tmp_path)) is None
    put(tmp_path, "sys/dev/char/1:13/uevent", "MAJOR=1\nDEVNAME=ghostswap\nMINOR=13\n")
    assert ghostswap._path(str(tmp_path)) == "/dev/ghostswap"


def test_xswap_areas_and_their_records(
    tmp_path: Path, run_ghostctl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ghostctl.mkdir()
    # below / like the kernel's, which has no such directory here
    monkeypatch.setattr(xswap, "_DIRECTORY", str(tmp_path / "xswap").lstrip("/"))
    backend = xswap.BACKEND
    assert list(backend.made()) == []
    one, two, three = (Area(name, "xswap", 4092, 0, 5) for name in ("xswap0", "xswap1", "xswap12"))
    for number in (0, 12):
        limit = put(tmp_path, f"xswap/type{number}/limit")
        inode = str(os.stat(limit.parent).st_ino)
        rundir.write_record(f"xswap{number}", rundir.Record(inode, "uuid" if number else None, "/a\nb"))
    put(tmp_path, "xswap/create")
    # of an area that had the same number before
    rundir.write_record("xswap1", rundir.Record("1", "uuid", "/stale"))
    assert [backend.recognise(area) for area in (one, two, three)] == [
        areas.Active(one, "xswap0", "xswap", "/a\nb", None),
        areas.Active(two, "xswap1", "xswap", None, None),
        areas.Active(three, "xswap12", "xswap", "/a\nb", "uuid"),
    ]
    assert sorted(area.name for area in backend.made()) == ["xswap0", "xswap12"]
    assert all(area.type == "xswap" for area in backend.made())


def test_header_of_a_device() -> None:
    device = header.for_device(GHOST, "/srv/ghost \udcff")
    assert header.unpack(header.pack(device)) == device
    assert device.made_for == "/srv/ghost \udcff"
    assert (device.uuid, device.label, device.size) == (GHOST.uuid, GHOST.label, GHOST.size)
    assert header.for_device(GHOST, "/" + 299 * "x").made_for == "/" + 299 * "x"
    assert header.for_device(GHOST, "/" + 300 * "x").made_for == ""
    foreign = GHOST._replace(volume_name=16 * b"l", byteorder="big")
    assert header.for_device(foreign, "/g").label == 15 * b"l"


def test_what_is_of_no_device() -> None:
    assert GHOST.made_for is None
    device = header.for_device(GHOST, "/srv/ghost")
    assert device._replace(last_page=7).made_for is None
    relabelled = device._replace(uuid=bytes(16), volume_name=bytes(16))
    assert relabelled.made_for == "/srv/ghost"
    assert header.ghost(100, 4096, bare=True).made_for is None


@pytest.mark.parametrize("word", ["ghost", "xswap", "spectre"])
def test_an_active_ghost_proves_what_symbols_only_suggest(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the kernel calls it; areas of other interfaces prove nothing."""
    backend = backends.get("file")
    asked = []

    def may_have_ghosts() -> bool:
        asked.append(word)
        return False

    monkeypatch.setattr(kernel, "may_have_ghosts", may_have_ghosts)
    listed = [Area("/srv/g", word, 4092, 0, -1)]
    monkeypatch.setattr(swaps, "read", lambda: listed)
    found = backend.recognise(listed[0])
    assert found is not None
    assert (found.backend, found.ghost) == ("file", "/srv/g")
    assert backend.unavailable() is None
    assert not asked
    for other in (
        Area("xswap0", word, 1, 0, 5),
        Area("/dev/ghostswap", word, 1, 0, 5),
        Area("/f", "file", 1, 0, 5),
    ):
        listed[:] = [other]
        assert backend.unavailable() == f"this kernel ({os.uname().release}) has no ghost swap"
    assert len(asked) == 3


def test_without_a_list_the_symbols_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def unlisted() -> list[Area]:
        raise errors.NoAreaList("/proc is not mounted")

    monkeypatch.setattr(swaps, "read", unlisted)
    for answer in (True, None):
        monkeypatch.setattr(kernel, "may_have_ghosts", lambda answer=answer: answer)
        assert backends.get("file").unavailable() is None
    monkeypatch.setattr(kernel, "may_have_ghosts", lambda: False)
    assert backends.get("file").unavailable()
