# SPDX-License-Identifier: GPL-2.0-or-later
"""What is checked before swapon(2) and swapoff(2); zswap and the list of areas are the tests' own in some."""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import oscalls
import pytest
from machine import is_active, require, run, swap_file
from zramdevices import LABEL, PAGE, labelled, make_ghost, off

from ghostctl import (
    activation,
    areas,
    backends,
    capacity,
    deactivation,
    errors,
    ghostfile,
    ghostwrite,
    header,
    kernel,
    report,
    rundir,
    swaps,
    zswap,
)
from ghostctl.activation import Request
from ghostctl.swaps import Area

PARAMETERS = "sys/module/zswap/parameters"
MIB = 1 << 20
RAISE = "ghostctl zswap set max_pool_percent=50 --persist"


class Fake(backends.Backend):
    """A backend of this test's: a kernel that takes ghosts, for what comes before it is asked."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason

    def unavailable(self) -> str | None:
        return self.reason

    def recognise(self, area: Area) -> areas.Active | None:
        return None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where zswap and the list of areas are looked for: zswap is off, with a pool of 10 MiB, and no area."""
    root = tmp_path / "root"
    (root / PARAMETERS).mkdir(parents=True)
    (root / PARAMETERS / "enabled").write_text("N\n")
    (root / PARAMETERS / "max_pool_percent").write_text("10\n")
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(f"MemTotal: {100 << 10} kB\nZswap: 0 kB\nZswapped: 0 kB\n")
    # the kernel takes a line end as the end of the value
    write_attribute = kernel.write_attribute
    monkeypatch.setattr(kernel, "write_attribute", lambda path, value: write_attribute(path, f"{value}\n"))
    for function in (
        zswap.read,
        zswap.read_or_unknown,
        zswap.apply,
        zswap.put_back,
        capacity.held,
        capacity.broken,
        inspect.unwrap(zswap.applied),
    ):
        monkeypatch.setattr(function, "__defaults__", (str(root),))
    listed(root)
    for function in (swaps.read, swaps.printed):
        monkeypatch.setattr(function, "__defaults__", (str(root / "proc/swaps"),))
    return root


def listed(root: Path, *lines: str) -> None:
    text = "\n".join(("Filename Type Size Used Priority", *lines))
    (root / "proc/swaps").write_text(f"{text}\n")


def zswap_is(root: Path) -> str:
    return (root / PARAMETERS / "enabled").read_text().strip()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ghostfile.File]:
    with ghostfile.look(str(make_ghost(tmp_path / "ghost"))) as opened:
        yield opened


def through_zswap(file: ghostfile.File, request: Request, backend: backends.Backend | None = None) -> None:
    with activation._zswap_for(file, request, backend or Fake()):
        pass


# -- zswap


def test_zswap_off_is_an_error(machine: Path, file: ghostfile.File) -> None:
    with pytest.raises(errors.Refused) as caught:
        through_zswap(file, Request())
    # nothing that another kernel would cure: a boot must not pass over it
    assert errors.exit_status(caught.value) == 1
    assert str(caught.value) == f"{file.path}: zswap is off, so nothing could be swapped to a ghost"
    assert "--enable-zswap" in str(caught.value.hint)
    assert zswap_is(machine) == "N"


def test_zswap_off_with_force(
    machine: Path, file: ghostfile.File, capsys: pytest.CaptureFixture[str]
) -> None:
    through_zswap(file, Request(force=True))
    assert "warning: zswap is off" in capsys.readouterr().err
    assert zswap_is(machine) == "N"


def test_zswap_on(machine: Path, file: ghostfile.File, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / PARAMETERS / "enabled").write_text("Y\n")
    through_zswap(file, Request())
    through_zswap(file, Request(enable_zswap=True))
    assert capsys.readouterr().err == ""
    assert zswap_is(machine) == "Y"


def test_zswap_is_turned_on(machine: Path, file: ghostfile.File) -> None:
    with activation._zswap_for(file, Request(enable_zswap=True), Fake()):
        assert zswap_is(machine) == "Y"
    assert zswap_is(machine) == "Y"


@pytest.mark.parametrize("why", [errors.Unsupported("no"), KeyboardInterrupt()])
def test_and_off_again_when_the_ghost_is_refused(
    machine: Path, file: ghostfile.File, why: BaseException
) -> None:
    def refused() -> None:
        with activation._zswap_for(file, Request(enable_zswap=True), Fake()):
            assert zswap_is(machine) == "Y"
            raise why

    with pytest.raises(type(why)):
        refused()
    assert zswap_is(machine) == "N"


def test_no_zswap_at_all(machine: Path, file: ghostfile.File, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / PARAMETERS).rename(machine / "gone")
    for request in (Request(), Request(enable_zswap=True)):
        with pytest.raises(errors.Unsupported, match="this kernel has no zswap"):
            through_zswap(file, request)
    through_zswap(file, Request(force=True))
    assert "warning: this kernel has no zswap" in capsys.readouterr().err


def test_zswap_that_cannot_be_read(
    machine: Path, file: ghostfile.File, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine / PARAMETERS / "enabled").unlink()
    (machine / PARAMETERS / "enabled").mkdir()
    with pytest.raises(IsADirectoryError):
        through_zswap(file, Request())
    through_zswap(file, Request(force=True))
    assert "warning: cannot tell whether zswap is on" in capsys.readouterr().err


def test_who_needs_no_zswap(machine: Path, file: ghostfile.File, capsys: pytest.CaptureFixture[str]) -> None:
    through_zswap(file, Request(enable_zswap=True), backends.get("zram"))
    # nor does one that will refuse anyway, for a better reason
    through_zswap(file, Request(enable_zswap=True), Fake("this kernel has none"))
    assert zswap_is(machine) == "N"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("size", "prio", "other", "before", "advice"),
    [
        # 10 MiB, which may be 50
        (40 * MIB, 10, "", "file 1024 0 5", RAISE),
        (60 * MIB, 10, "", "file 1024 0 5", f"{RAISE} && ghostctl resize --cycle {{}} 50M"),
        # of 75 MiB, in two ghosts
        (40 * MIB, 10, "/h ghost 35840 0 5", "file 1024 0 5", f"{RAISE} && ghostctl resize --cycle {{}} 26M"),
        (9 * MIB, 10, "/h ghost 30720 0 5", "file 1024 0 5", RAISE),
        (10 * MIB, 10, "", "file 1024 0 5", ""),
        (11 * MIB, 10, "", "partition 1024 0 9", RAISE),
        (40 * MIB, 10, "", "file 1024 0 10", RAISE),
        (40 * MIB, -1, "", "file 1024 0 -1", RAISE),
        (40 * MIB, -1, "", "file 1024 0 -2", RAISE),
        (40 * MIB, -2, "", "file 1024 0 -1", ""),
        (40 * MIB, 32767, "", "file 1024 0 32767", RAISE),
        (40 * MIB, 10, "", "file 1024 0 11", ""),
        # nothing is kept from being used
        (40 * MIB, 10, "", "ghost 1024 0 5", ""),
    ],
)
def test_a_ghost_larger_than_the_pool_above_a_real_area(
    machine: Path,
    file: ghostfile.File,
    capsys: pytest.CaptureFixture[str],
    size: int,
    prio: int,
    other: str,
    before: str,
    advice: str,
) -> None:
    (machine / PARAMETERS / "enabled").write_text("Y\n")
    lower = int(before.rsplit(maxsplit=1)[-1])
    lines = [f"/real {before}", f"xswap0 xswap {size >> 10} 0 {prio}", *filter(None, [other])]
    listed(machine, *lines)
    directory = machine / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rundir, "PATH", str(directory))
        have = file.require_header()
        rundir.write_record("xswap0", rundir.Record("", have.uuid_text, file.path))
        activation._warn_order(file)
    err = capsys.readouterr().err
    if advice == "":
        assert err == ""
        return
    place = (
        "is above" if lower < prio else "has no priority, like" if prio < 0 else "has the same priority as"
    )
    assert f"warning: {place} /real and declares more than zswap's pool may take (10 MiB)" in err
    assert f"hint: {advice.format(file.path)}\n" in err


def test_no_warning_of_what_is_not_known(
    machine: Path, file: ghostfile.File, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The area is down again already, or the size of the pool cannot be told."""
    real = "/real file 1024 0 5"
    listed(machine, real, "/elsewhere ghost 999999 0 10")
    activation._warn_order(file)
    listed(machine, real, "/elsewhere file 999999 0 10")
    activation._warn_order(file)
    listed(machine, real, "xswap0 xswap 999999 0 10")
    monkeypatch.setattr(rundir, "PATH", str(machine / "run"))
    rundir.write_record("xswap0", rundir.Record("", file.require_header().uuid_text, file.path))
    (machine / PARAMETERS / "enabled").unlink()
    (machine / PARAMETERS / "enabled").mkdir()
    activation._warn_order(file)
    assert capsys.readouterr().err == ""


def test_what_cannot_be_told_afterwards_is_no_failure(
    machine: Path, file: ghostfile.File, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The area is active."""

    class Last(Fake):
        def activate(self, file: ghostfile.File, options: object) -> None:
            (machine / "proc/swaps").unlink()

    monkeypatch.setattr(backends, "get", lambda _: Last())
    (machine / PARAMETERS / "enabled").write_text("Y\n")
    assert activation.activate(file.path, Request()) is True
    assert f"{file.path}: warning: is active, but whether it keeps another area" in capsys.readouterr().err


def test_a_priority_of_the_kernels_choice(
    machine: Path,
    file: ghostfile.File,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed(machine, "xswap0 xswap 1024 0 -2", "/d file 1024 0 7")
    monkeypatch.setattr(rundir, "PATH", str(machine / "run"))
    rundir.write_record("xswap0", rundir.Record("", file.require_header().uuid_text, file.path))
    path = tmp_path / "fstab"

    def said(lines: str, request: Request = Request()) -> str:  # noqa: B008
        path.write_text(lines)
        activation.warn_automatic_priority(file.path, request, str(path))
        return capsys.readouterr().err

    others = (
        "/a none swap sw\n/b none swap nofail\n/c none swap pri=1\n/d none swap sw\n/e none swap noauto\n"
    )
    words = "warning: has no priority: the kernel may use it before, or in turn with, /a, /b\n"
    commands = f"ghostctl off {file.path} && ghostctl on --backend xswap -p 8 {file.path}"
    assert said(others) == f"ghostctl: {file.path}: {words}ghostctl: hint: {commands}\n"
    hint = f"hint: ghostctl fstab set -T {path} {file.path} pri=8\n"
    assert said(f"{others}{file.path} none swap x-ghost.zswap\n").endswith(hint)
    assert said(others, Request(backends.Options(prio=3))) == ""
    assert said("/c none swap pri=1\n") == ""


# -- memory


@pytest.mark.parametrize("tables", [True, False, None])
@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_memory_for_the_slots(
    file: ghostfile.File,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tables: bool | None,
    spare: int,
) -> None:
    """Enough for an array of all slots, or just not: it depends on the kernel then."""
    have, zram = file.require_header(), backends.get("zram")
    available = have.pages * 13 // 4 + 16 * have.pages + spare
    monkeypatch.setattr(kernel, "read_meminfo", lambda: {"MemAvailable": available})
    asked = []

    def has_swap_tables(path: str) -> bool | None:
        asked.append(path)
        return tables

    monkeypatch.setattr(kernel, "has_swap_tables", has_swap_tables)
    words = f"{file.path}: warning: declares 4 MiB: its slots take"
    if spare >= 0 or tables:
        activation._check_slot_memory(file, have, zram, False)
        assert capsys.readouterr().err == ""
    elif tables is None:
        activation._check_slot_memory(file, have, zram, False)
        assert f"{words} up to 19.3 KiB of kernel memory" in capsys.readouterr().err
    else:
        with pytest.raises(errors.NoMemory, match=r"its slots take about 19\.3 KiB") as caught:
            activation._check_slot_memory(file, have, zram, False)
        path = file.path
        assert caught.value.hint == f"ghostctl resize {path} SIZE  # or: ghostctl on --force {path}"
        activation._check_slot_memory(file, have, zram, True)
        assert f"{words} about 19.3 KiB" in capsys.readouterr().err
    # the symbols are read only where they decide
    assert bool(asked) == (spare < 0)
    monkeypatch.setattr(kernel, "read_meminfo", lambda: open("/proc/none"))
    activation._check_slot_memory(file, have, zram, False)
    assert capsys.readouterr().err == ""


def test_no_memory_for_the_slots(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "read_meminfo", lambda *_: {"MemAvailable": 100, "SwapTotal": 0})
    with pytest.raises(errors.NoMemory, match="its slots take about"):
        activation.activate(str(ghost), Request(backend="zram"))
    assert labelled() == set()


# -- the next backend


def test_why_it_is_not_the_first_one(
    ghost: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is said when the user can change it."""
    tried = []

    class Refusing(Fake):
        needs_zswap = False

        def __init__(self, name: str, hint: str | None) -> None:
            super().__init__()
            self.name, self.hint = name, hint

        def activate(self, file: ghostfile.File, options: object) -> None:
            tried.append(self.name)
            raise errors.Unsupported(f"not by {self.name}", path=file.path, hint=self.hint)

    real = backends.get
    fakes = {"file": Refusing("file", "first do this"), "xswap": Refusing("xswap", None)}
    monkeypatch.setattr(backends, "get", lambda name: fakes.get(name) or real(name))
    monkeypatch.setattr(kernel, "cannot_swap", lambda _: None)
    activation.activate(str(ghost), Request(fallback=("xswap", "file", "zram")))
    assert tried == ["file", "xswap"]
    err = capsys.readouterr().err
    assert err.splitlines() == [
        f"ghostctl: {ghost}: warning: not by file: active by zram instead",
        "ghostctl: hint: first do this",
    ]
    off(ghost)
    with pytest.raises(errors.Unsupported, match="not by file; not by xswap") as caught:
        activation.activate(str(ghost), Request(fallback=("xswap",)))
    hints = str(caught.value.hint).split("  # or: ")
    assert hints[0] == "first do this"
    assert hints[-1].startswith("ghostctl on --fallback ")
    assert "zram" in hints[-1]
    # where there is nothing that could be tried
    monkeypatch.setattr(backends, "get", lambda name: Refusing(name, None))
    with pytest.raises(errors.Unsupported, match="not by file") as caught:
        activation.activate(str(ghost), Request())
    assert str(caught.value.hint).startswith("ghostctl on --fallback ghostswap,xswap,dm,zram ")
    monkeypatch.setattr(Refusing, "unavailable", lambda self: f"no {self.name}")
    with pytest.raises(errors.Unsupported, match="not by file") as caught:
        activation.activate(str(ghost), Request())
    assert caught.value.hint == (
        "this kernel supports none of the fallback backends; boot a kernel with ghost swap"
    )


def test_symbols_are_not_read_when_zswap_is_on(
    machine: Path, file: ghostfile.File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The try then tells what the kernel has; with zswap off, they tell which of two reasons to give."""

    class Through(Fake):
        def unavailable(self) -> str | None:
            asked.append(self)
            return None

        def activate(self, file: ghostfile.File, options: object) -> None:
            pass

    asked: list[object] = []
    monkeypatch.setattr(backends, "get", lambda _: Through())
    (machine / PARAMETERS / "enabled").write_text("Y\n")
    activation.activate(file.path, Request())
    assert not asked
    (machine / PARAMETERS / "enabled").write_text("N\n")
    with pytest.raises(errors.Refused, match="zswap is off"):
        activation.activate(file.path, Request())
    assert asked


# -- /run/ghostctl


def test_another_process_at_work_on_the_same_file(
    file: ghostfile.File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for, then given up; what is right already needs no lock."""
    require("root")
    monkeypatch.setattr(rundir, "PATH", str(tmp_path / "run"))
    monkeypatch.setattr(rundir, "_LOCK_TRIES", 1)
    monkeypatch.setattr(rundir, "_LOCK_PAUSE", 0)
    path = Path(file.path)
    with contextlib.ExitStack() as stack:
        for st in (path.stat(), path.parent.stat()):
            stack.enter_context(rundir.locked(rundir.lock_name(st), "test"))
        with pytest.raises(
            errors.Busy, match=f"{path}: another process of ghostctl is at work on it"
        ) as caught:
            activation.activate(str(path), Request(backend="zram"))
        assert errors.exit_status(caught.value) == 6
        same = ghostwrite.Request(file.require_header(), if_needed=True)
        assert ghostwrite.create(str(path), same).changed is False
        other = ghostwrite.Request(header.declare(file.require_header(), 99), if_needed=True)
        with pytest.raises(errors.Busy, match="another process"):
            ghostwrite.create(str(path), other)


def test_a_full_run(ghost: Path, tmpfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither notes nor locks can be written there; zram needs none of them."""
    (tmpfs / "run").mkdir(mode=0o700)
    (tmpfs / "run/zram.lock").touch()
    monkeypatch.setattr(rundir, "PATH", str(tmpfs / "run"))
    with (tmpfs / "full").open("wb", buffering=0) as full, contextlib.suppress(OSError):
        while full.write(bytes(1 << 16)):
            pass
    with pytest.raises(OSError, match="No space left on device"):
        (tmpfs / "run/zram.lock").write_bytes(b"1")
    activation.activate(str(ghost), Request(backend="zram"))
    actives = areas.read()
    found = areas.find(str(ghost), actives)
    # what has to be remembered there names its file
    with oscalls.raises(errno.ENOSPC, tmpfs / "run/xswap7"):
        rundir.write_record("xswap7", rundir.Record("1", None, str(ghost)))
    deactivation.deactivate(found, actives)
    assert labelled() == set()


# -- ordinary areas


def test_what_an_ordinary_area_is_refused_for(tmp_path: Path) -> None:
    require("root")
    have = header.ghost(256, PAGE, uuid=bytes(range(16)))
    path = tmp_path / "swap"

    def refusal(page: bytes, size: int, request: Request = Request()) -> errors.Error:  # noqa: B008
        path.write_bytes(page.ljust(size, b"\0"))
        with pytest.raises(errors.Error) as caught:
            activation.activate(str(path), request)
        return caught.value

    error = refusal(header.pack(header.ghost(256, 8192, uuid=bytes(range(16)))), 256 * 8192)
    assert f"made for pages of 8192 bytes, this kernel has {PAGE}" in str(error)
    assert error.hint == f"swapon --fixpgsz {path}"
    error = refusal(header.pack(have._replace(magic=b"S1SUSPEND\0")), 256 * PAGE)
    assert (type(error), "holds a hibernation image" in str(error)) == (errors.Busy, True)
    error = refusal(header.pack(have), 256 * PAGE - 1)
    assert f"has {256 * PAGE - 1} bytes but declares {256 * PAGE}" in str(error)
    assert error.hint == f"ghostctl mkghost --force -s {256 * PAGE} {path}"
    error = refusal(header.pack(header.ghost(256, PAGE, bare=True)), 2 * PAGE)
    assert error.hint is None
    error = refusal(header.pack(have), 256 * PAGE, Request(backend="zram"))
    assert (type(error), "not a ghost: it is a swap file" in str(error)) == (errors.NotAGhost, True)
    error = refusal(b"text\n", 5)
    assert type(error) is errors.NotAGhost


def test_nothing_is_wrong_with_the_file(file: ghostfile.File) -> None:
    """Whatever the kernel has against it then, only the kernel can say."""
    assert "dmesg" in activation._why_invalid(file)


def test_no_room_for_more_areas_or_no_permission(
    file: ghostfile.File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MAX_SWAPFILES of include/linux/swap.h is 32, less what the kernel's options take, but at most nine."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    error = PermissionError(errno.EPERM, os.strerror(errno.EPERM), file.path)
    assert type(activation._why_denied(file, error, 22)) is errors.Denied
    assert "no room for more than 23 areas" in str(activation._why_denied(file, error, 23))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert activation._why_denied(file, error, 23) is error


def test_why_a_file_is_invalid(swap_dir: Path, tmpfs: Path) -> None:
    """The kernel says EINVAL for each of them."""
    for path, why in (
        (swap_dir / "holes", "the file has holes"),
        (tmpfs / "swap", "swaps to a file on tmpfs"),
    ):
        path.write_bytes(header.pack(header.ghost(64, PAGE, bare=True)))
        os.truncate(path, 64 * PAGE)
        with pytest.raises(errors.Error, match="Invalid argument") as caught:
            activation.activate(str(path), Request())
        assert why in str(caught.value.hint)
        assert caught.value.path == str(path)


def test_owner_and_mode(swap_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = swap_file(swap_dir / "swap")
    for mode, owner, warnings in (
        (0o600, 0, []),
        (0o640, 0, ["permissions 0640"]),
        (0o600, 1, ["file owner 1"]),
    ):
        path.chmod(mode)
        os.chown(path, owner, 0)
        activation.activate(str(path), Request())
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == len(warnings), lines
        assert all(warning in line for warning, line in zip(warnings, lines, strict=True))
        run("swapoff", path)


def test_a_damaged_ghost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require("areas-readable")
    path = make_ghost(tmp_path / "ghost")
    page = bytearray(path.read_bytes())
    page[1232] ^= 1
    path.write_bytes(page)
    with ghostfile.look(str(path)) as file:
        with pytest.raises(errors.Error, match="CRC of the ghost tag") as caught:
            activation._check_header(file, False)
        assert caught.value.hint == f"ghostctl verify {path}"
        activation._check_header(file, True)
    assert "warning: CRC of the ghost tag" in capsys.readouterr().err
    with pytest.raises(errors.Error, match="CRC of the ghost tag"):
        activation.activate(str(path), Request(backend="zram"))


def test_devices_may_be_for_a_group(file: ghostfile.File, capsys: pytest.CaptureFixture[str]) -> None:
    device = os.stat_result((0o060660, 1, 1, 1, 0, 6, 0, 0, 0, 0))
    activation._warn_permissions(file._replace(st=device))
    assert capsys.readouterr().err == ""


def test_mode_of_a_ghost(ghost: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ghost.chmod(0o644)
    activation.activate(str(ghost), Request(backend="zram"))
    assert capsys.readouterr().err == (
        f"ghostctl: {ghost}: warning: insecure permissions 0644, 0600 suggested\n"
    )
    off(ghost)


def test_fixpgsz(ghost: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require("root")
    have = header.ghost(512, 8192, uuid=bytes(range(16)), label=LABEL.encode())
    ghost.write_bytes(header.pack(have))
    with pytest.raises(errors.Error, match=f"made for pages of 8192 bytes, this kernel has {PAGE}") as caught:
        activation.activate(str(ghost), Request(backend="zram"))
    assert caught.value.hint == f"ghostctl on --fixpgsz '{ghost}'"
    assert ghost.stat().st_size == 8192
    activation.activate(str(ghost), Request(backend="zram", fix_page_size=True))
    assert "warning: made for pages of 8192 bytes: rewritten for" in capsys.readouterr().err
    with ghostfile.look(str(ghost)) as file:
        new = file.require_header()
    assert (new.page_size, new.size, new.label, new.uuid) == (PAGE, have.size, have.label, have.uuid)
    off(ghost)


# -- off


def test_pages_that_fit_nowhere() -> None:
    available = kernel.read_meminfo()["MemAvailable"]
    gone = areas.Active(Area("/nonesuch", "file", available >> 9, available >> 9, 1), "/nonesuch")
    for others in ([], [gone]):
        with pytest.raises(errors.NoMemory, match="are in use: more than available memory") as caught:
            deactivation.deactivate(gone, others)
        assert caught.value.path == "/nonesuch"
    # room elsewhere, or by force: then swapoff(2) is tried
    large = areas.Active(gone.area._replace(name="/large", used_kib=0), "/large")
    with oscalls.raises(errno.ENOENT, "/nonesuch"):
        deactivation.deactivate(gone, [gone, large])
    with oscalls.raises(errno.ENOENT, "/nonesuch"):
        deactivation.deactivate(gone, [], force=True)


def test_memory_that_cannot_be_read_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = areas.Active(Area("/nonesuch", "file", 1 << 40, 1 << 40, 1), "/nonesuch")
    monkeypatch.setattr(kernel, "read_meminfo", lambda: open("/proc/none"))
    with oscalls.raises(errno.ENOENT, "/nonesuch"):
        deactivation.deactivate(gone, [])


def test_an_empty_ghost_is_no_room_for_a_full_area(machine: Path) -> None:
    available = kernel.read_meminfo()["MemAvailable"]
    full = areas.Active(Area("/nonesuch", "file", available >> 9, available >> 9, 1), "/nonesuch")
    ghost = areas.Active(Area("/ghost", "ghost", available >> 8, 0, 2), "/ghost", "file", "/ghost")
    assert capacity.net_room([ghost], zswap.read()) == 0
    with pytest.raises(errors.NoMemory):
        deactivation.deactivate(full, [full, ghost])
    assert zswap_is(machine) == "N"


def test_a_doubt_is_not_taken_down() -> None:
    """swapoff(2) alone would leave behind what may have been set up for it."""
    one = areas.Active(Area("/nonesuch", "file", 1, 0, 1), "/nonesuch")
    with pytest.raises(errors.Error, match="cannot tell what it was made for: /nonesuch: Input") as caught:
        deactivation.deactivate(
            one._replace(doubt=OSError(errno.EIO, os.strerror(errno.EIO), "/nonesuch")), []
        )
    assert caught.value.path == "/nonesuch"
    # a user may not do it anyway, and swapoff(2) says so
    with oscalls.raises(errno.ENOENT, "/nonesuch"):
        deactivation.deactivate(one._replace(doubt=PermissionError(errno.EACCES, "no", "/nonesuch")), [])


def test_root_that_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a container, for example: EPERM says nothing that such a user could understand."""
    one = areas.Active(Area("/nonesuch", "file", 1, 0, 1), "/nonesuch")
    for number, uid, is_told in (
        (errno.EPERM, 0, True),
        (errno.EPERM, 1000, False),
        (errno.EACCES, 0, False),
    ):
        with monkeypatch.context() as patch:
            oscalls.fail(patch, "open", number, when=lambda path, *_a, **_k: path == "/nonesuch")
            patch.setattr(os, "geteuid", lambda uid=uid: uid)
            with pytest.raises(errors.Denied if is_told else PermissionError) as caught:
                deactivation.deactivate(one, [])
            error = caught.value
            assert not isinstance(error, errors.Error) or error.hint == backends.WHY_DENIED
            assert errors.exit_status(error) == 4


def test_whether_an_area_is_still_there(machine: Path) -> None:
    area = Area("/a", "file", 1024, 0, 1)
    assert deactivation.is_active(area) is False
    listed(machine, "/a file 1024 7 1")
    assert deactivation.is_active(area) is True
    listed(machine, "/a file 1024 7 2")
    assert deactivation.is_active(area) is False
    (machine / "proc/swaps").unlink()
    assert deactivation.is_active(area) is None
    (machine / "proc/swaps").mkdir()
    assert deactivation.is_active(area) is None


def test_progress(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in use, from another thread, until the area is down; a list that cannot be read is no end."""
    monkeypatch.setattr(deactivation, "_INTERVAL", 0.001)
    area = Area("/a", "file", 1024, 900, 1)
    seen: list[int] = []
    came = threading.Event()

    def progress(used: int) -> None:
        seen.append(used)
        came.set()

    def wait() -> None:
        came.clear()
        assert came.wait(10)

    failed = threading.Event()
    read = swaps.printed

    def read_or_tell() -> list[Area]:
        try:
            return read()
        except errors.NoAreaList:
            failed.set()
            raise

    monkeypatch.setattr(swaps, "printed", read_or_tell)
    (machine / "proc/swaps").unlink()
    threads = threading.active_count()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with deactivation._watched(area, progress):
        assert failed.wait(10)
        # signals are for this thread still
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        listed(machine, "/b file 1024 5 1", "/a file 1024 800 1")
        wait()
        listed(machine, "/a file 1024 700 1")
        while seen[-1] != 700 << 10:
            wait()
    assert threading.active_count() == threads
    assert set(seen) == {800 << 10, 700 << 10}
    with deactivation._watched(area, None):
        assert threading.active_count() == threads


def test_off_asks_for_protection_from_the_oom_killer(
    swap_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it begins; root of a container may not, and goes on without."""
    path = swap_file(swap_dir / "swap")
    run("swapon", path)
    score = Path("/proc/self/oom_score_adj")
    monkeypatch.setattr(report, "verbosity", 1)
    off(path)
    refused = f"ghostctl: {score}: Permission denied"
    lines = [line for line in capsys.readouterr().err.splitlines() if line == refused or "swapoff(" in line]
    assert lines[-1] == f"ghostctl: swapoff('{path}')"
    assert score.read_text() == "-1000\n" or lines[0] == refused
    assert not is_active(path)
