# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import oscalls
import pytest
from machine import CAPABILITIES, require, unwritten

from ghostctl import atomic, report, rundir, syscalls
from ghostctl.errors import Busy

TEMPORARY = ".ghostctl-new"
NOBODY = 65534


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    before = oscalls.open_descriptors()
    yield
    assert oscalls.open_descriptors() == before


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /run/ghostctl of the test's own."""
    require("root")
    path = tmp_path / "run"
    monkeypatch.setattr(rundir, "PATH", str(path))
    return path


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# the directory


@pytest.mark.parametrize(
    ("path", "number"),
    [("", errno.ENOENT), ("/etc/", errno.EISDIR), ("a/.", errno.EISDIR), ("..", errno.EISDIR)],
)
def test_a_path_without_a_name(path: str, number: int) -> None:
    with oscalls.raises(number, path), atomic.open_place(path):
        pass


@pytest.mark.parametrize(("path", "number"), [("/none/such", errno.ENOENT), ("/etc/passwd/x", errno.ENOTDIR)])
def test_a_directory_that_is_not_there(path: str, number: int) -> None:
    with oscalls.raises(number, path), atomic.open_place(path):
        pass


def test_a_name_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic.open_place("name") as place:
        assert os.path.samestat(os.fstat(place.dirfd), tmp_path.stat())
        assert (place.name, place.path) == ("name", "name")
        assert not os.get_inheritable(place.dirfd)


def test_two_writers_are_kept_apart(tmp_path: Path, locks: Path) -> None:
    path = tmp_path / "dir" / "name"
    path.parent.mkdir()
    with atomic.open_place(str(path)):
        assert not locks.exists()
    with atomic.place(str(path)) as place:
        assert place.path == str(path)
        (lock,) = locks.iterdir()
        assert lock.name == f"{rundir.lock_name(path.parent.stat())}.lock"
        assert is_locked(lock)
        # another user who can read a directory can lock it, so that lock is not asked for
        assert not is_locked_directory(path.parent)
    assert not list(locks.iterdir())


def is_locked_directory(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_another_user_s_lock_keeps_nobody_away(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"old")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        assert atomic.edit(str(path), lambda data: data + b"new")
    finally:
        os.close(fd)
    assert path.read_bytes() == b"oldnew"


@pytest.mark.usefixtures("locks")
def test_a_lock_that_stays_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "_LOCK_PAUSE", 0)
    path = str(tmp_path / "name")
    with atomic.place(path), pytest.raises(Busy) as caught, atomic.place(path):
        pass
    assert caught.value.path == path


# directories and removal


def test_directories_are_made_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = oscalls.record(monkeypatch, "mkdir", "fsync")
    old = os.umask(0o022)
    try:
        atomic.make_directories(f"{tmp_path}/a/b//c/", 0o700)
    finally:
        os.umask(old)
    made = [tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o755, 0o755, 0o700]
    parents = [path.parent.stat().st_ino for path in made]
    assert calls == [call for parent in parents for call in (("mkdir", 0), ("fsync", parent))]
    calls.clear()
    atomic.make_directories(str(tmp_path / "a/b/c"), 0o711)
    assert calls == []
    assert stat.S_IMODE(made[-1].stat().st_mode) == 0o700


def test_a_directory_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls = oscalls.record(monkeypatch, "fsync")
    atomic.make_directories("a")
    assert (tmp_path / "a").is_dir()
    assert calls == [("fsync", tmp_path.stat().st_ino)]


def test_a_directory_that_another_process_makes_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.mkdir

    def faster(path: str, mode: int) -> None:
        real(path, mode)
        real(path, mode)

    monkeypatch.setattr(os, "mkdir", faster)
    atomic.make_directories(str(tmp_path / "a"))
    assert (tmp_path / "a").is_dir()


def test_what_is_no_directory_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with oscalls.raises(errno.EEXIST, tmp_path / "file"):
        atomic.make_directories(str(tmp_path / "file"))


def test_a_directory_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oscalls.fail(monkeypatch, "fsync", errno.EIO)
    with oscalls.raises(errno.EIO, tmp_path):
        atomic.make_directories(str(tmp_path / "a"))


def test_removal_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "name"
    path.write_bytes(b"x")
    calls = oscalls.record(monkeypatch, "unlink", "fsync")
    atomic.remove(str(path))
    assert not path.exists()
    assert calls == [("unlink", 0), ("fsync", tmp_path.stat().st_ino)]
    with oscalls.raises(errno.ENOENT, path):
        atomic.remove(str(path))


def test_an_empty_directory_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, busy = tmp_path / "empty", tmp_path / "busy"
    path.mkdir()
    (busy / "file").mkdir(parents=True)
    for name in (path, path, busy):
        atomic.remove_directory(str(name))
    assert (path.exists(), busy.exists()) == (False, True)
    with monkeypatch.context() as patch:
        oscalls.fail(patch, "rmdir", errno.EROFS)
        atomic.remove_directory(str(path))
    oscalls.fail(monkeypatch, "rmdir", errno.EACCES)
    with pytest.raises(PermissionError):
        atomic.remove_directory(str(busy))


# one file, whole or not at all


WRITTEN = ["write", "fchmod", "fsync", "link", "rename", "unlink"]


@pytest.fixture(params=[False, True], ids=["O_TMPFILE", "named"])
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the unfinished file has a name, as on filesystems without O_TMPFILE."""
    if request.param:
        oscalls.without_tmpfile(monkeypatch)
    return bool(request.param)


def write(path: Path, data: bytes, **keywords: object) -> None:
    with atomic.open_place(str(path)) as place:
        atomic.write(place, data, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize("replace", [False, True])
def test_the_order_of_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool, replace: bool
) -> None:
    """Mode and data are on disk before the file has its name, and the name is before it is said to be."""
    path = tmp_path / "name"
    if replace:
        path.write_bytes(b"old")
    seen = []
    calls = oscalls.record(monkeypatch, *WRITTEN)

    def look(fd: int) -> None:
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o640
        assert os.pread(fd, 10, 0) == b"new"
        assert (path.read_bytes() if path.exists() else b"") == (b"old" if replace else b"")
        seen.append(len(calls))

    write(path, b"new", replace=replace, finish=lambda fd: os.fchmod(fd, 0o640), check=look)
    file, directory = path.stat().st_ino, tmp_path.stat().st_ino
    middle = {
        (False, False): [("link", 0)],
        (False, True): [("link", 0), ("rename", 0)],
        (True, False): [],
        (True, True): [("rename", 0)],
    }[named, replace]
    assert calls == [("write", file), ("fchmod", file), ("fsync", file), *middle, ("fsync", directory)]
    assert seen == [3]
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["name"]


def test_private_from_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    modes = []
    real = os.write

    def watched(fd: int, data: bytes) -> int:
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        assert (tmp_path / TEMPORARY).exists() == named
        return real(fd, data)

    monkeypatch.setattr(os, "write", watched)
    old = os.umask(0)
    try:
        write(tmp_path / "name", b"x", replace=False)
    finally:
        os.umask(old)
    assert modes == [0o600]


@pytest.mark.usefixtures("named")
def test_a_name_that_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "name"
    path.write_bytes(b"theirs")
    with oscalls.raises(errno.EEXIST, path):
        write(path, b"ours", replace=False)
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["name"]


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    write(tmp_path / "name", bytes(range(100)), replace=False)
    assert (tmp_path / "name").read_bytes() == bytes(range(100))


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.usefixtures("named")
def test_a_call_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "name"
    path.write_bytes(b"old")
    oscalls.fail(monkeypatch, call, errno.EIO)
    with oscalls.raises(errno.EIO, str(path)):
        write(path, b"new", replace=True)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["name"]


def test_the_first_error_is_the_one_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oscalls.without_tmpfile(monkeypatch)
    oscalls.fail(monkeypatch, "write", errno.EIO)
    oscalls.fail(monkeypatch, "unlink", errno.EROFS)
    with oscalls.raises(errno.EIO, tmp_path / "name"):
        write(tmp_path / "name", b"new", replace=True)


@pytest.mark.usefixtures("named")
def test_an_interrupt_leaves_no_debris(tmp_path: Path) -> None:
    def interrupt(_fd: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "name", b"new", replace=False, finish=interrupt)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "goes_on"),
    [
        *((number, True) for number in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)),
        *((number, False) for number in (errno.EACCES, errno.EROFS, errno.ENOSPC)),
    ],
)
def test_filesystems_without_o_tmpfile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, goes_on: bool
) -> None:
    path = tmp_path / "name"
    oscalls.fail(monkeypatch, "open", number, when=lambda _path, flags, *_a, **_k: oscalls.has_tmpfile(flags))
    if goes_on:
        write(path, b"x", replace=False)
        assert path.read_bytes() == b"x"
        return
    with oscalls.raises(number, path):
        write(path, b"x", replace=False)


@pytest.mark.parametrize("replace", [False, True])
def test_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool) -> None:
    """Only a link in /proc gives a nameless file a name."""
    path = tmp_path / "name"
    if replace:
        path.write_bytes(b"old")
    oscalls.without_proc(monkeypatch)
    calls = oscalls.record(monkeypatch, "link")
    write(path, b"new", replace=replace)
    assert calls == []
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["name"]


def fake_libc(monkeypatch: pytest.MonkeyPatch, **calls: Callable[..., int]) -> None:
    """A libc that has these calls besides swapon and swapoff."""
    libc = SimpleNamespace(swapon=lambda: 0, swapoff=lambda: 0, **calls)
    syscalls._libc.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: libc)


@pytest.fixture
def libc(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    syscalls._libc.cache_clear()


@pytest.mark.parametrize("number", [None, errno.EINVAL, errno.ENOSYS])
@pytest.mark.parametrize("taken", [False, True])
def test_without_renameat2(tmp_path: Path, libc: pytest.MonkeyPatch, number: int | None, taken: bool) -> None:
    """musl's libc has none (None), and some kernels and filesystems refuse it."""

    def refuse(*_args: object) -> int:
        assert number
        ctypes.set_errno(number)
        return -1

    path = tmp_path / "name"
    oscalls.without_tmpfile(libc)
    fake_libc(libc, **({"renameat2": refuse} if number else {}))
    if taken:
        path.write_bytes(b"theirs")
        with pytest.raises(FileExistsError):
            write(path, b"ours", replace=False)
    else:
        write(path, b"ours", replace=False)
    assert path.read_bytes() == (b"theirs" if taken else b"ours")
    assert path.stat().st_nlink == 1
    assert os.listdir(tmp_path) == ["name"]


def test_renameat2_that_fails(tmp_path: Path, libc: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    oscalls.without_tmpfile(libc)
    fake_libc(libc, renameat2=fail)
    with oscalls.raises(errno.EIO, str(tmp_path / "name")):
        write(tmp_path / "name", b"ours", replace=False)
    assert os.listdir(tmp_path) == []


# what has the name of the unfinished file


@pytest.mark.usefixtures("named")
def test_debris_of_a_killed_run_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / TEMPORARY).write_bytes(b"half")
    write(tmp_path / "name", b"new", replace=False)
    assert os.listdir(tmp_path) == ["name"]


@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "other"])
@pytest.mark.usefixtures("named")
def test_what_is_not_ours_is_in_the_way(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / TEMPORARY, tmp_path / "target"
    target.write_bytes(b"precious")
    if kind == "link":
        path.symlink_to("target")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        require("root")
        path.write_bytes(b"theirs")
        os.chown(path, NOBODY, NOBODY)
    before = os.lstat(path)
    with oscalls.raises(errno.EEXIST, tmp_path / "name", f"{TEMPORARY} in its directory is in the way"):
        write(tmp_path / "name", b"new", replace=False)
    assert os.lstat(path) == before
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / "name").exists()


@pytest.mark.parametrize("replace", [False, True])
def test_what_another_process_put_there_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """Two processes without a lock: the other one removes our file as debris, and makes its own."""
    oscalls.without_tmpfile(monkeypatch)
    path, unfinished = tmp_path / "name", tmp_path / TEMPORARY
    if replace:
        path.write_bytes(b"old")

    def other(_fd: int) -> None:
        unfinished.unlink()
        unfinished.write_bytes(b"half")

    with oscalls.raises(errno.ESTALE, path, "another process"):
        write(path, b"new", replace=replace, check=other)
    assert unfinished.read_bytes() == b"half"
    assert (path.read_bytes() if path.exists() else None) == (b"old" if replace else None)


# files of others, edited


def test_edit_keeps_everything_but_the_content(tmp_path: Path) -> None:
    real = tmp_path / "real" / "fstab"
    real.parent.mkdir()
    real.write_bytes(b"old\n")
    attributes = {"user.note": b"kept"}
    if os.geteuid() == 0:
        os.chown(real, 1, 2)
        attributes["security.selinux"] = b"system_u:object_r:etc_t:s0\0"
        if not CAPABILITIES["initial-user-namespace"]():
            attributes["trusted.note"] = b"kept"
    # the group's bit would go with a change of the owner
    real.chmod(0o2750)
    # tag, permissions and id of user::rwx user:1:r-- group::r-x mask::r-x other::---
    entries = ((1, 7, -1), (2, 4, 1), (4, 5, -1), (16, 5, -1), (32, 0, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    attributes["system.posix_acl_access"] = acl
    for name, value in attributes.items():
        os.setxattr(real, name, value)
    before = real.stat()
    link = tmp_path / "fstab"
    link.symlink_to("real/fstab")

    assert atomic.edit(str(link), lambda data: data + b"new\n")

    after = real.stat()
    assert link.is_symlink()
    assert real.read_bytes() == b"old\nnew\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert {name: os.getxattr(real, name) for name in attributes} == attributes
    assert after.st_ino != before.st_ino
    assert sorted(os.listdir(tmp_path)) == ["fstab", "real"]
    assert os.listdir(real.parent) == ["fstab"]


def test_a_signature_of_the_old_content_is_not_kept(tmp_path: Path) -> None:
    require("security-attributes")
    path = tmp_path / "fstab"
    path.write_bytes(b"old")
    os.setxattr(path, "security.ima", b"\x04\x04" + bytes(32))
    assert atomic.edit(str(path), lambda _: b"new")
    assert os.listxattr(path) == []


def test_attributes_are_synced_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"old")
    os.setxattr(path, "user.note", b"kept")
    calls = oscalls.record(monkeypatch, "write", "fchown", "fchmod", "setxattr", "fsync")
    assert atomic.edit(str(path), lambda _: b"new")
    file, directory = path.stat().st_ino, tmp_path.stat().st_ino
    names = ["write", "fchown", "fchmod", "setxattr", "fsync"]
    assert calls == [*((name, file) for name in names), ("fsync", directory)]


@pytest.fixture
def fstab(tmp_path: Path) -> Path:
    path = tmp_path / "fstab"
    path.write_bytes(b"old")
    return path


ATTRIBUTES = [
    # attribute, errno of setxattr(2), whether the edit fails
    ("user.note", errno.EOPNOTSUPP, False),
    ("user.note", errno.EPERM, False),
    ("user.note", errno.ENOSPC, True),
    ("security.selinux", errno.EOPNOTSUPP, False),
    ("security.selinux", errno.EPERM, True),
]


@pytest.mark.parametrize(("name", "number", "fails"), ATTRIBUTES)
def test_an_attribute_that_cannot_be_set(
    fstab: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    number: int,
    fails: bool,
) -> None:
    if not name.startswith("user."):
        require("root")
    os.setxattr(fstab, name, b"kept")
    oscalls.fail(monkeypatch, "setxattr", number)
    if fails:
        with oscalls.raises(number, fstab):
            atomic.edit(str(fstab), lambda _: b"new")
        assert fstab.read_bytes() == b"old"
        return
    assert atomic.edit(str(fstab), lambda _: b"new")
    assert fstab.read_bytes() == b"new"
    text = f"ghostctl: {fstab}: warning: attribute {name} cannot be set: {os.strerror(number)}\n"
    assert capfd.readouterr().err == text


def test_an_attribute_that_the_mount_gives_to_all_files(
    fstab: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """mount -o context=: every file has the type, and setxattr(2) is refused."""
    real = os.setxattr

    def refuse(fd: int, name: str, value: bytes) -> None:
        real(fd, name, value)
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    real(fstab, "user.note", b"same")
    monkeypatch.setattr(os, "setxattr", refuse)
    assert atomic.edit(str(fstab), lambda _: b"new")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("number", "fails"), [(errno.EOPNOTSUPP, False), (errno.EIO, True)])
def test_attributes_that_cannot_be_listed(
    fstab: Path, monkeypatch: pytest.MonkeyPatch, number: int, fails: bool
) -> None:
    oscalls.fail(monkeypatch, "listxattr", number)
    if fails:
        with oscalls.raises(number, fstab):
            atomic.edit(str(fstab), lambda _: b"new")
    else:
        assert atomic.edit(str(fstab), lambda _: b"new")
    assert fstab.read_bytes() == (b"old" if fails else b"new")


@pytest.mark.parametrize(
    ("number", "fails"), [(errno.ENODATA, False), (errno.EOPNOTSUPP, False), (errno.EIO, True)]
)
def test_an_attribute_that_cannot_be_read(
    fstab: Path, monkeypatch: pytest.MonkeyPatch, number: int, fails: bool
) -> None:
    os.setxattr(fstab, "user.note", b"x")
    oscalls.fail(monkeypatch, "getxattr", number)
    if fails:
        with oscalls.raises(number, fstab):
            atomic.edit(str(fstab), lambda _: b"new")
    else:
        assert atomic.edit(str(fstab), lambda _: b"new")
        assert os.listxattr(fstab) == []


def test_same_content_is_left_alone(fstab: Path) -> None:
    before = unwritten(fstab)
    assert not atomic.edit(str(fstab), lambda data: data)
    assert unwritten(fstab) == before


def test_a_new_file_gets_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    old = os.umask(0o077)
    try:
        assert atomic.edit(str(path), lambda data: data + b"x")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o7777 == 0o644
    assert path.read_bytes() == b"x"


def test_nothing_new_makes_no_file(tmp_path: Path) -> None:
    assert not atomic.edit(str(tmp_path / "fstab"), lambda data: data)
    assert os.listdir(tmp_path) == []


def test_a_file_that_appears_in_the_meantime_stays(tmp_path: Path) -> None:
    path = tmp_path / "fstab"

    def change(_data: bytes) -> bytes:
        path.write_bytes(b"theirs")
        return b"ours"

    with pytest.raises(FileExistsError):
        atomic.edit(str(path), change)
    assert path.read_bytes() == b"theirs"


def _rewritten(path: Path) -> None:
    """As long as before, and with its old time: only the time of the last change of the inode tells."""
    st = path.stat()
    path.write_bytes(b"OLD")
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def _replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"OLD")
    st = path.stat()
    os.utime(other, ns=(st.st_atime_ns, st.st_mtime_ns))
    other.rename(path)


def _became_a_link(path: Path) -> None:
    path.rename(path.with_name("OLD"))
    path.symlink_to("OLD")


@pytest.mark.parametrize("how", [_rewritten, _replaced, _became_a_link])
def test_a_change_by_somebody_else_is_not_overwritten(fstab: Path, how: Callable[[Path], None]) -> None:
    def change(data: bytes) -> bytes:
        how(fstab)
        return data + b"ours"

    with oscalls.raises(errno.ESTALE, fstab, "changed by another program"):
        atomic.edit(str(fstab), change)
    assert fstab.read_bytes().upper() == b"OLD"
    assert not (fstab.parent / TEMPORARY).exists()


@pytest.mark.parametrize("kind", ["fifo", "directory", "/dev/null"])
def test_only_regular_files_are_edited(tmp_path: Path, kind: str) -> None:
    path = Path(kind) if kind.startswith("/") else tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    with oscalls.raises(errno.EINVAL, path, "is not a regular file"):
        atomic.edit(str(path), lambda data: data + b"x")


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "link"
    path.symlink_to("fstab")
    (tmp_path / "fstab").write_bytes(b"x")
    oscalls.fail(monkeypatch, "open", errno.EACCES, when=lambda name, *_a, **_k: name == "fstab")
    with oscalls.raises(errno.EACCES, path):
        atomic.edit(str(path), lambda data: data + b"x")


def test_what_is_done_is_traced(fstab: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    monkeypatch.setattr(report, "verbosity", 1)
    lines: list[str] = []
    monkeypatch.setattr(report, "_line", lines.append)
    assert atomic.edit(str(fstab), lambda _: b"new")
    how = "as .ghostctl-new, then renamed" if named else "with O_TMPFILE, then linked"
    assert f"{fstab}: 3 bytes written {how}" in lines


ADD_ONE = """
import sys, time
from ghostctl import atomic

def change(data):
    time.sleep(0.01)
    return data + b"x"

for _ in range(10):
    atomic.edit(sys.argv[1], change)
    # the lock is polled: the others must find it free now and then
    time.sleep(0.05)
"""


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    require("root")
    path = tmp_path / "fstab"
    path.write_bytes(b"")
    running = [subprocess.Popen([sys.executable, "-c", ADD_ONE, path]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert path.read_bytes() == b"x" * 30


FLIP = """
import sys
from ghostctl import atomic
print(flush=True)
while True:
    atomic.edit(sys.argv[1], lambda data: (b"B" if data[:1] == b"A" else b"A") * 100_000)
"""


def test_killed_at_any_instant(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"A" * 100_000)
    for i in range(10):
        process = subprocess.Popen([sys.executable, "-c", FLIP, path], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.001 * i)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert path.read_bytes() in (b"A" * 100_000, b"B" * 100_000)
        assert set(os.listdir(tmp_path)) <= {"fstab", TEMPORARY}
