# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest

from ghostctl import backends, header, kernel, rundir
from ghostctl.backends import ghostswap, xswap, zram
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
    functions = [name for name in vars(backends.Backend) if not name.startswith("_")]
    assert set(functions) == {"unavailable", "activate", "find", "deactivate", "recover"}
    for name in backends.NAMES:
        module = backends.get(name)
        assert all(callable(getattr(module, function)) for function in functions)
        assert isinstance(module.NEEDS_ZSWAP, bool)
        assert module.EXTRA_SLOT_BYTES >= 0


@pytest.mark.parametrize(
    ("backend", "path", "text"),
    [
        (zram, "sys/class/zram-control/hot_add", ""),
        (zram, f"lib/modules/{kernel.release()}/modules.dep", "kernel/drivers/block/zram/zram.ko.xz: x.ko"),
        (xswap, "sys/kernel/mm/xswap/create", ""),
        (ghostswap, "sys/dev/char/1:13/uevent", "MAJOR=1\nMINOR=13\nDEVNAME=ghostswap\nDEVMODE=0660\n"),
        (ghostswap, "sys/dev/char/1:13/uevent", "MAJOR=1\nMINOR=13\nDEVNAME=xswap\n"),
    ],
)
def test_what_a_kernel_offers(tmp_path: Path, backend: object, path: str, text: str) -> None:
    assert backend in (zram, xswap, ghostswap)
    unavailable = backend.unavailable
    assert kernel.release() in unavailable(str(tmp_path))
    put(tmp_path, path, text)
    assert unavailable(str(tmp_path)) is None


def test_another_module_with_zram_in_its_name_is_not_zram(tmp_path: Path) -> None:
    put(tmp_path, f"lib/modules/{kernel.release()}/modules.dep", "kernel/xzram.ko: y.ko\n")
    assert zram.unavailable(str(tmp_path)) is not None


def test_xswap_areas_and_their_records(tmp_path: Path, run_ghostctl: Path) -> None:
    run_ghostctl.mkdir()
    one, two, three = (Area(name, "xswap", 4092, 0, 5) for name in ("xswap0", "xswap1", "xswap12"))
    others = [
        Area("/srv/xswap3", "file", 4092, 0, 5),
        Area("/dev/xswap", "xswap", 4092, 0, 5),
        Area("xswap", "xswap", 4092, 0, 5),
        Area("/srv/g", "ghost", 4092, 0, 5),
    ]
    for number in (0, 12):
        limit = put(tmp_path, f"sys/kernel/mm/xswap/type{number}/limit")
        inode = str(os.stat(limit.parent).st_ino)
        rundir.write_record(f"xswap{number}", rundir.Record(inode, "uuid" if number else None, "/a\nb"))
    rundir.write_record("xswap1", rundir.Record("1", "uuid", "/stale"))
    found = list(xswap.find([one, two, three, *others], str(tmp_path)))
    assert found == [
        backends.Realisation(one, "xswap", "/a\nb", None),
        backends.Realisation(two, "xswap", None, None),
        backends.Realisation(three, "xswap", "/a\nb", "uuid"),
    ]


@pytest.mark.parametrize("data", [b"", b"1", b"1\n", b"1\nuuid"])
def test_a_damaged_record_is_none(run_ghostctl: Path, data: bytes) -> None:
    run_ghostctl.mkdir()
    (run_ghostctl / "xswap0").write_bytes(data)
    assert rundir.read_record("xswap0") is None


def test_records(run_ghostctl: Path) -> None:
    run_ghostctl.mkdir()
    for record in (rundir.Record("7", None, "/x\udcff\n\n"), rundir.Record("", "u", "/y")):
        rundir.write_record("xswap0", record)
        assert rundir.read_record("xswap0") == record
        assert os.listdir(run_ghostctl) == ["xswap0"]
        assert (run_ghostctl / "xswap0").stat().st_mode & 0o777 == 0o600
    rundir.remove_record("xswap0")
    rundir.remove_record("xswap0")
    assert rundir.read_record("xswap0") is None


def test_journal(run_ghostctl: Path) -> None:
    with rundir.locked("zram") as journal:
        assert journal.read() is None
        journal.write(["10", "11"])
    with rundir.locked("zram") as journal:
        assert journal.read() == ["10", "11"]
        journal.write(["1"])
        assert journal.read() == ["1"]
        journal.write([])
        assert journal.read() == []
        journal.clear()
        assert journal.read() is None
    # cut off: killed while writing it, before anything was done
    (run_ghostctl / "zram.lock").write_text("10 1")
    with rundir.locked("zram") as journal:
        assert journal.read() is None
    assert run_ghostctl.stat().st_mode & 0o777 == 0o700


def test_stand_in() -> None:
    device = header.stand_in(GHOST, "/srv/ghost \udcff")
    assert header.unpack(header.pack(device)) == device
    assert device.stands_in_for == "/srv/ghost \udcff"
    assert (device.uuid, device.label, device.size) == (GHOST.uuid, GHOST.label, GHOST.size)
    assert header.stand_in(GHOST, "/" + 299 * "x").stands_in_for == "/" + 299 * "x"
    assert header.stand_in(GHOST, "/" + 300 * "x").stands_in_for == ""
    foreign = GHOST._replace(volume_name=16 * b"l", byteorder="big")
    assert header.stand_in(foreign, "/g").label == 15 * b"l"


def test_what_does_not_stand_in() -> None:
    assert GHOST.stands_in_for is None
    device = header.stand_in(GHOST, "/srv/ghost")
    assert device._replace(last_page=7).stands_in_for is None
    relabelled = device._replace(uuid=bytes(16), volume_name=bytes(16))
    assert relabelled.stands_in_for == "/srv/ghost"
    assert header.ghost(100, 4096, bare=True).stands_in_for is None
