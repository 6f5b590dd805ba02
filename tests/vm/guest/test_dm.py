# SPDX-License-Identifier: GPL-2.0-or-later
"""A ghost by way of the device mapper, on kernels without ghosts: its device, and what becomes of pages."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import AS_NOBODY, GHOSTCTL
from stepwise import forked
from vm.inside import (
    DIR,
    PAGE,
    counters,
    kernel_log,
    make_file,
    must,
    pressure,
    set_zswap,
    swapoff,
    swapoff_all,
    swaps,
)
from vm.program import SIZE, UUID, ghostctl, make_ghost, one_area, status
from vm.program import must as ghostctl_must

from ghostctl import areas, backends, errors, ghostfile
from ghostctl.backends import device, dm

GUEST = {"kernels": ["stock-6.12", "stock-7.2"], "timeout": 1500, "cpus": 2}

FILES = ("backends/dm.py", "backends/device.py", "ghostctl/rundir.py")
OTHER = "ghost-of-another"
"""A mapping that is not ours, whatever its name says."""


def mappings() -> list[str]:
    lines = must("dmsetup", "ls").splitlines()
    return [name for line in lines if (name := line.split()[0]) not in ("No", OTHER)]


def loops() -> str:
    return must("losetup", "--list", "--noheadings")


@pytest.fixture(autouse=True)
def prepared() -> Iterator[None]:
    """Each test leaves the kernel as it was."""
    set_zswap(percent=50)
    must("dmsetup", "create", OTHER, "--table", "0 8 error")
    before = loops()
    yield
    swapoff_all()
    ghostctl("-q", "off", DIR / "none")
    assert OTHER in must("dmsetup", "ls")
    must("dmsetup", "remove", OTHER)
    assert (mappings(), loops()) == ([], before)


@pytest.fixture
def ghost() -> Path:
    return make_ghost("swap0", "-U", UUID, "-L", "lab")


def turn_on(path: Path, *options: str) -> str:
    done = ghostctl("on", "--backend", "dm", "-p", "100", *options, path)
    assert (done.status, done.out, done.err) == (0, "", "")
    return str(one_area(path)["name"])


def test_the_device(ghost: Path) -> None:
    name = turn_on(ghost)
    (mapping,) = mappings()
    assert mapping.startswith("ghost-swap0-")
    sectors = SIZE // 512
    table = must("dmsetup", "table", mapping)
    assert table.splitlines() == [
        f"0 {PAGE // 512} linear 7:0 0",
        f"{PAGE // 512} {sectors - PAGE // 512} error ",
    ]
    assert UUID in must("dmsetup", "info", "-c", "--noheadings", "-o", "uuid", mapping)
    area = one_area(ghost)
    assert (area["type"], area["backing"], area["label"]) == ("partition", f"dm: {mapping}", "lab")
    # there is no head to move, whatever disk the file is on
    assert Path("/sys/block/vda/queue/rotational").read_text() == "1\n"
    assert Path(f"/sys/block/{Path(name).name}/queue/rotational").read_text() == "0\n"
    with open(name, "rb", buffering=0) as opened:
        assert opened.read(PAGE) == ghost.read_bytes()
        with pytest.raises(OSError, match="Input/output error"):
            opened.read(PAGE)


def test_the_first_of_those_that_do_without_ghosts(ghost: Path) -> None:
    done = ghostctl("on", ghost)
    assert done.status == 5
    assert "--fallback dm,zram" in done.err
    ghostctl_must("on", "--fallback", "dm,zram", ghost)
    assert one_area(ghost)["backend"] == "dm"
    done = ghostctl("-q", "doctor", "--require", "dm")
    assert done.status == 0


def test_without_root_it_is_known(ghost: Path) -> None:
    DIR.chmod(0o755)
    name = turn_on(ghost)
    text = must(*AS_NOBODY, str(GHOSTCTL), "status", "--json")
    (area,) = json.loads(text)["swapareas"]
    assert (area["name"], area["backend"]) == (name, "dm")


@pytest.mark.parametrize("change", ["moved", "deleted", "another in its place", "/run is lost"])
def test_it_is_found(ghost: Path, change: str) -> None:
    turn_on(ghost)
    spec = str(ghost)
    if change == "moved":
        spec = str(ghost.rename(DIR / "moved (deleted)"))
    elif change == "deleted":
        ghost.unlink()
    elif change == "another in its place":
        ghost.rename(DIR / "moved")
        make_ghost("swap0")
        assert ghostctl("status", ghost).status == 3
        spec = str(DIR / "moved")
    else:
        must("rm", "-rf", "/run/ghostctl")
    (area,) = status(spec)
    assert (area["backend"], area["ghost"]) == ("dm", None if change == "deleted" else spec)
    (area,) = status(f"UUID={UUID}")
    assert area["backend"] == "dm"
    done = ghostctl("off", spec)
    assert (done.status, done.err) == (0, "")
    assert swaps() == []


def test_a_ghost_without_uuid() -> None:
    path = make_ghost("swap0", "-U", "clear")
    turn_on(path)
    (area,) = status(path)
    assert (area["ghost"], area["uuid"]) == (str(path), None)
    assert ghostctl("off", path).status == 0


def test_names_that_are_alike() -> None:
    names = ("a b\n\\x20\u00e9", "a b\n\\x20\u00e8", "x" * 255)
    paths = [make_ghost(name) for name in names]
    for path in paths:
        done = ghostctl("on", "--backend", "dm", path)
        assert (done.status, done.err) == (0, "")
    assert [area["ghost"] for area in status()] == list(map(str, paths))
    assert len(set(mappings())) == len(paths)
    assert ghostctl("off", "--all").status == 0


def test_other_filesystems() -> None:
    """Nothing is swapped to the file, so that it can be where no swap file can be."""
    path = Path("/run/ghost")
    ghostctl_must("-q", "mkghost", "-s", "16M", path)
    done = ghostctl("on", "--backend", "dm", path)
    assert done.status == 0, done
    assert ghostctl("off", path).status == 0
    path.unlink()


def test_a_read_only_filesystem(ghost: Path) -> None:
    must("mount", "-o", "remount,ro", DIR)
    try:
        done = ghostctl("on", "--backend", "dm", ghost)
        assert done.status == 1
        assert "read-only filesystem" in done.err
    finally:
        must("mount", "-o", "remount,rw", DIR)


def test_what_it_cannot_do_without(ghost: Path) -> None:
    control = Path("/dev/mapper/control")
    away = control.rename("/dev/control")
    try:
        done = ghostctl("on", "--backend", "dm", ghost)
        assert done.status == 5
        assert f"there is no {control}" in done.err
        # what else there is does not depend on it
        ghostctl_must("on", "--fallback", "dm,zram", "-p", "1", ghost)
        assert one_area(ghost)["backend"] == "zram"
        ghostctl_must("off", ghost)
    finally:
        away.rename(control)


@pytest.mark.parametrize(
    ("killed", "number", "step"),
    [("on", signal.SIGKILL, 3), ("off", signal.SIGKILL, 3), ("on", signal.SIGTERM, 7)],
)
def test_killed_between_any_two_steps(ghost: Path, killed: str, number: signal.Signals, step: int) -> None:
    """What a killed command leaves is cleared away by the next one."""
    ends = []
    for kill_at in range(1, 900, step):
        if killed == "off":
            turn_on(ghost)
        command = ("off", ghost) if killed == "off" else ("on", "--backend", "dm", ghost)
        first = forked(*command, files=FILES, kill_at=kill_at, number=number)
        ends.append(first.status)
        ghostctl("off", ghost)
        assert (mappings(), swaps(), loops()) == ([], [], ""), (kill_at, first)
        if first.status != -number:
            break
    assert ends[-1] == 0
    assert len(ends) * step > 30
    turn_on(ghost)


@pytest.mark.parametrize("table", [False, True])
def test_only_ours_are_cleared_away(ghost: Path, table: bool) -> None:
    """A mapping that a killed process left, without a table or with one; that of another program stays."""
    with ghostfile.look(str(ghost)) as file:
        mapping = dm._create(file, file.require_header())
    if table:
        must("dmsetup", "load", mapping.name, "--table", "0 8 error")
        must("dmsetup", "resume", mapping.name)
    done = ghostctl("off", ghost)
    assert done.status == 3
    assert (
        f"/dev/dm-{os.minor(mapping.dev)}: warning: removed: it was left from an area that is gone"
        in done.err
    )


def test_an_area_taken_down_by_hand(ghost: Path) -> None:
    swapoff(turn_on(ghost))
    assert len(mappings()) == 1
    done = ghostctl("on", "--backend", "dm", ghost)
    assert done.status == 0
    assert "warning: removed: it was left from an area that is gone" in done.err
    assert len(mappings()) == 1


def test_a_device_that_somebody_has_open(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = turn_on(ghost)
    monkeypatch.setattr(device, "_REMOVE_TRIES", 2)
    with open(name, "rb", buffering=0):
        found = areas.find(str(ghost), areas.read())
        with pytest.raises(errors.Error) as caught:
            backends.get("dm").deactivate(found)
    assert "is not swap any more, but still there: another process has it open" in str(caught.value)
    assert caught.value.hint == f"ghostctl off {name}"
    assert swaps() == []
    done = ghostctl("off", name)
    assert (done.status, mappings()) == (3, [])
    assert f"{name}: warning: removed" in done.err


def test_what_cannot_be_written_back_is_not_lost(ghost: Path) -> None:
    """A full pool writes pages of the ghost back; none goes, and each byte is still there."""
    ghostctl_must("resize", ghost, "240M")
    turn_on(ghost)
    real = make_file(DIR / "real", 700)
    must("/sbin/swapon", "-p", "1", real)
    before = counters("/proc/vmstat")["zswpwb"]
    # zswap's own work may not come to it in one of them
    for _ in range(4):
        outcome = pressure(700, 3000, 240)
        assert outcome.end == "survived", outcome
        if counters("/proc/vmstat")["zswpwb"] > before:
            break
    assert counters("/proc/vmstat")["zswpwb"] > before
    assert "Write-error on swap-device" in kernel_log()


def test_what_zswap_refuses_is_not_lost(ghost: Path) -> None:
    """Without zswap, every page that gets a slot stays in memory; the slots end first."""
    ghostctl_must("resize", ghost, "40M")
    turn_on(ghost)
    set_zswap(enabled=False)
    real = make_file(DIR / "real", 700)
    must("/sbin/swapon", "-p", "1", real)
    outcome = pressure(600, 4096, 240)
    assert outcome.end == "survived", outcome
    assert outcome.written > 50
    assert "Write-error on swap-device" in kernel_log()


def test_a_new_file_in_the_place_of_a_deleted_one() -> None:
    """Without UUIDs, only the kernel knows that it is another one."""
    path = make_ghost("swap0", "-U", "clear")
    turn_on(path)
    path.unlink()
    assert status(path)[0]["backend"] == "dm"
    make_ghost("swap0", "-U", "clear")
    assert ghostctl("status", path).status == 3
    turn_on(path)
    assert len(swaps()) == 2
    ghostctl_must("off", path)
    assert len(swaps()) == 1


def test_a_mapping_with_an_odd_name(ghost: Path) -> None:
    """The kernel takes any bytes but a slash."""
    name = b"other-\xff\xfe \n"
    dm._ioctl(dm._DM_DEV_CREATE, name=os.fsdecode(name))
    try:
        turn_on(ghost)
        assert ghostctl("off", ghost).status == 0
    finally:
        dm._ioctl(dm._DM_DEV_REMOVE, name=os.fsdecode(name))


def test_no_priority_beside_a_disk_area_to_come(ghost: Path) -> None:
    fstab = Path("/run/fstab")
    fstab.write_text("/dev/vdb none swap sw 0 0\n")
    done = ghostctl("on", "-T", fstab, "--backend", "dm", ghost)
    assert done.status == 0
    assert "has no priority: the kernel may use it before, or in turn with, /dev/vdb" in done.err


class Refused(RuntimeError):
    """The kernel says no."""


def test_a_failure_leaves_nothing(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The undoing is that of each step after which something is there."""
    for step in ("_create", "_set_up", "_swap_on"):

        def fail(*_: object) -> None:
            raise Refused

        with monkeypatch.context() as patch:
            patch.setattr(dm, step, fail)
            with pytest.raises(Refused), ghostfile.look(str(ghost)) as file:
                backends.get("dm").activate(file, backends.Options())
        assert (mappings(), loops()) == ([], "")
