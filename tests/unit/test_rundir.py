# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks, notes and records of /run/ghostctl, in a directory of the test's own."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import oscalls
import pytest
from machine import require

from ghostctl import report, rundir
from ghostctl.errors import Busy


@pytest.fixture
def run_ghostctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rundir, "PATH", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that are waited: three times, and at once."""
    waited: list[float] = []
    monkeypatch.setattr(rundir, "_LOCK_TRIES", 3)
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another open file description has the lock, as another process would."""
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lock_file(run_ghostctl: Path, name: str = "x") -> Path:
    run_ghostctl.mkdir(mode=0o700)
    path = run_ghostctl / f"{name}.lock"
    path.touch()
    return path


def test_the_wait_for_a_lock_is_some_seconds() -> None:
    assert 3 <= rundir._LOCK_TRIES * rundir._LOCK_PAUSE <= 10


def test_a_lock_has_one_name_for_all_paths(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "other").mkdir()
    name = rundir.lock_name(tmp_path.stat())
    assert name == rundir.lock_name((tmp_path / "link").stat())
    assert name != rundir.lock_name((tmp_path / "other").stat())
    assert "/" not in name


@pytest.mark.usefixtures("impatient")
def test_the_lock_is_held_in_the_block_and_free_behind_it(run_ghostctl: Path) -> None:
    require("root")
    with rundir.locked("x", "what"):
        assert run_ghostctl.stat().st_mode & 0o777 == 0o700
        path = run_ghostctl / "x.lock"
        assert path.stat().st_mode & 0o777 == 0o600
        with path.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # another name is another lock
        with rundir.locked("y", "what"):
            pass
        with pytest.raises(Busy), rundir.locked("x", "what"):
            pass
    before = oscalls.open_descriptors()
    with rundir.locked("x", "what"):
        pass
    assert oscalls.open_descriptors() == before


def test_a_lock_that_stays_taken(run_ghostctl: Path, impatient: list[float]) -> None:
    require("root")
    before = oscalls.open_descriptors()
    with held(lock_file(run_ghostctl)), pytest.raises(Busy) as caught, rundir.locked("x", "/srv/ghost"):
        pytest.fail("taken twice")
    assert str(caught.value) == "/srv/ghost: another process of ghostctl is at work on it"
    assert impatient == [rundir._LOCK_PAUSE] * 3
    assert oscalls.open_descriptors() == before


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_is_given_up_in_time(run_ghostctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("root")
    with lock_file(run_ghostctl).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(file, fcntl.LOCK_UN))
        with rundir.locked("x", "what"), pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.usefixtures("impatient")
def test_a_lock_whose_file_is_removed_by_who_had_it(
    run_ghostctl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one has a file of the same name; a lock of the old one would keep nobody away."""
    require("root")
    path = lock_file(run_ghostctl)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def give_up(_: float) -> None:
            path.unlink()
            fcntl.flock(file, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", give_up)
        before = oscalls.open_descriptors()
        with rundir.locked("x", "what"), path.open() as new, pytest.raises(BlockingIOError):
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert oscalls.open_descriptors() == before


def test_no_lock_leaves_a_file(run_ghostctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("root")
    with rundir.locked("x", "what"):
        pass
    with pytest.raises(KeyError), rundir.locked("x", "what"):
        raise KeyError
    assert os.listdir(run_ghostctl) == []
    with rundir.locked("x", "what"):
        (run_ghostctl / "x.lock").unlink()
    with monkeypatch.context() as patch:
        oscalls.fail(patch, "unlink", errno.EROFS)
        with rundir.locked("x", "what"):
            pass
    # notes and records stay
    with rundir.change("zram") as change:
        change.begin(["1"])
    assert sorted(os.listdir(run_ghostctl)) == ["x.lock", "zram.lock"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "why", ["no /run", "file", "link", "writable", "owner", "full", "lock is a link", "no locks", "not root"]
)
def test_the_work_goes_on_without_a_lock(
    run_ghostctl: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    require("root")
    if why == "no /run":
        monkeypatch.setattr(rundir, "PATH", str(run_ghostctl / "missing" / "dir"))
    elif why == "file":
        run_ghostctl.touch()
    elif why == "link":
        run_ghostctl.with_name("other").mkdir(mode=0o700)
        run_ghostctl.symlink_to("other")
    elif why in ("writable", "owner"):
        run_ghostctl.mkdir()
        run_ghostctl.chmod(0o720 if why == "writable" else 0o700)
        os.chown(run_ghostctl, 65534 if why == "owner" else 0, 0)
    elif why == "full":
        oscalls.fail(monkeypatch, "mkdir", errno.ENOSPC)
    elif why == "lock is a link":
        run_ghostctl.mkdir(mode=0o700)
        (run_ghostctl / "x.lock").symlink_to("/nonesuch/y")
    elif why == "no locks":

        def refuse(_fd: int, _operation: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", refuse)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        run_ghostctl.mkdir(mode=0o700)
        os.chown(run_ghostctl, 1000, 1000)
    before = oscalls.open_descriptors()
    for _ in range(2):
        with rundir.locked("x", "what"), rundir.locked("x", "what"):
            done = True
    assert done
    assert oscalls.open_descriptors() == before
    assert not os.path.isdir(run_ghostctl.with_name("other")) or not os.listdir(
        run_ghostctl.with_name("other")
    )
    if why == "not root":
        assert os.listdir(run_ghostctl) == []


def test_without_a_lock_it_is_told_with_verbose(
    run_ghostctl: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require("root")
    monkeypatch.setattr(report, "verbosity", 1)
    run_ghostctl.touch()
    with rundir.locked("x", "/srv/ghost"):
        pass
    assert capsys.readouterr().err == f"ghostctl: /srv/ghost: no lock: {run_ghostctl}: Not a directory\n"
    run_ghostctl.unlink()
    # what others may only read is as good
    run_ghostctl.mkdir(mode=0o755)
    with rundir.locked("x", "/srv/ghost"):
        assert (run_ghostctl / "x.lock").exists()
    with rundir.change("x") as change:
        assert capsys.readouterr().err == ""
        oscalls.fail(monkeypatch, "ftruncate", errno.EIO)
        change.begin(["1"])
        change.complete()
    assert capsys.readouterr().err.splitlines() == [
        f"ghostctl: {run_ghostctl}: no note of what is there: Input/output error",
        f"ghostctl: {run_ghostctl}: Input/output error",
    ]
    rundir.remove_record("x")
    assert "No such file" in capsys.readouterr().err


def test_a_change_that_was_never_completed(run_ghostctl: Path) -> None:
    require("root")
    with rundir.change("zram") as change:
        assert change.interrupted() is None
        change.begin(["10", "11"])
    with rundir.change("zram") as change:
        assert change.interrupted() == ["10", "11"]
        change.begin(["1"])
        assert change.interrupted() == ["1"]
        change.begin([])
        assert change.interrupted() == []
        change.complete()
        assert change.interrupted() is None
        change.begin(["1"])
        assert change.made_by() is None
        change.made("12")
    with rundir.change("zram") as change:
        assert (change.interrupted(), change.made_by()) == (["1"], "12")
    # cut off: killed while writing it, before anything was changed
    (run_ghostctl / "zram.lock").write_text("10 1")
    with rundir.change("zram") as change:
        assert change.interrupted() is None
        change.begin(["7"])
        assert change.interrupted() == ["7"]


@pytest.mark.usefixtures("impatient")
def test_one_change_at_a_time(run_ghostctl: Path) -> None:
    require("root")
    with (
        held(lock_file(run_ghostctl, "zram")),
        pytest.raises(Busy, match="zram: another process"),
        rundir.change("zram"),
    ):
        pytest.fail("two at once")


def test_a_change_without_run(run_ghostctl: Path) -> None:
    run_ghostctl.touch()
    with rundir.change("zram") as change:
        change.begin(["1"])
        change.made("2")
        assert (change.interrupted(), change.made_by()) == (None, None)
        change.complete()


@pytest.mark.parametrize("how", ["fails", "short"])
def test_a_note_that_does_not_fit_is_none(
    run_ghostctl: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Of a full /run: half a note would name the wrong devices later."""
    require("root")
    pwrite = os.pwrite
    with rundir.change("zram") as change:
        change.begin(["5"])
        if how == "fails":
            oscalls.fail(monkeypatch, "pwrite", errno.ENOSPC)
        else:
            monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:-1], offset))
        change.begin(["10", "11"])
        assert change.interrupted() is None
        assert (run_ghostctl / "zram.lock").read_bytes() == b""


@pytest.mark.usefixtures("run_ghostctl")
def test_what_was_made_is_not_noted_where_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    require("root")
    with rundir.change("zram") as change:
        change.begin(["5"])
        oscalls.fail(monkeypatch, "pwrite", errno.ENOSPC)
        change.made("6")
        assert (change.interrupted(), change.made_by()) == (["5"], None)


def test_a_note_that_cannot_be_removed_fails_nothing(
    run_ghostctl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later run warns for nothing; what was changed is complete."""
    require("root")
    with rundir.change("zram") as change:
        change.begin(["1"])
        with monkeypatch.context() as patch:
            oscalls.fail(patch, "ftruncate", errno.EIO)
            change.complete()
        assert change.interrupted() == ["1"]
    assert run_ghostctl.is_dir()


def test_a_signal_waits_for_the_end_of_a_change(run_ghostctl: Path) -> None:
    require("root")
    script = (
        "import os, signal; from ghostctl import rundir; rundir.PATH = os.sys.argv[1]\n"
        "with rundir.change('zram'): os.kill(os.getpid(), signal.SIGTERM); print('done', flush=True)\n"
        "print('never')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, run_ghostctl], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "done\n")


@pytest.mark.parametrize("data", [b"", b"1", b"1\n", b"1\nuuid"])
def test_a_damaged_record_is_none(run_ghostctl: Path, data: bytes) -> None:
    run_ghostctl.mkdir()
    (run_ghostctl / "xswap0").write_bytes(data)
    assert rundir.read_record("xswap0") is None


def test_records(run_ghostctl: Path) -> None:
    assert rundir.read_record("xswap0") is None
    for record in (
        rundir.Record("7", None, "/x\udcff\n\n"),
        rundir.Record("", "u", "/y"),
        rundir.Record("8", "v", "/" + 3000 * "z"),
        rundir.Record("", None, "/y"),
    ):
        rundir.write_record("xswap0", record)
        assert rundir.read_record("xswap0") == record
        assert os.listdir(run_ghostctl) == ["xswap0"]
        assert (run_ghostctl / "xswap0").stat().st_mode & 0o777 == 0o600
    rundir.remove_record("xswap0")
    rundir.remove_record("xswap0")
    assert rundir.read_record("xswap0") is None


def test_a_record_that_cannot_be_read_is_not_none(run_ghostctl: Path) -> None:
    (run_ghostctl / "xswap0").mkdir(parents=True)
    with oscalls.raises(errno.EISDIR, run_ghostctl / "xswap0"):
        rundir.read_record("xswap0")


@pytest.mark.parametrize("how", ["fails", "short", "rename"])
def test_a_record_is_written_whole_or_not_at_all(
    run_ghostctl: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    old = rundir.Record("1", "old", "/old")
    rundir.write_record("xswap0", old)
    write = os.write
    if how == "fails":
        oscalls.fail(monkeypatch, "write", errno.ENOSPC)
    elif how == "short":
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:-1]))
    else:
        oscalls.fail(monkeypatch, "rename", errno.ENOSPC)
    before = oscalls.open_descriptors()
    with oscalls.raises(errno.ENOSPC, run_ghostctl / "xswap0"):
        rundir.write_record("xswap0", rundir.Record("2", "new", "/new"))
    assert rundir.read_record("xswap0") == old
    assert oscalls.open_descriptors() == before


def test_records_need_a_directory_of_ones_own(run_ghostctl: Path) -> None:
    run_ghostctl.mkdir()
    run_ghostctl.chmod(0o777)
    with oscalls.raises(errno.EACCES, run_ghostctl, "can be written by others"):
        rundir.write_record("xswap0", rundir.Record("1", None, "/g"))
    assert os.listdir(run_ghostctl) == []
