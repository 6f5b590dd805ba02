# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ghostctl import atomic


def test_edit_keeps_everything_but_the_content(tmp_path: Path) -> None:
    real = tmp_path / "real" / "fstab"
    real.parent.mkdir()
    real.write_bytes(b"old\n")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1, 2)
    os.setxattr(real, "user.note", b"kept")
    # tag, permissions and id of user::rw- user:1:r-- group::r-- mask::r-- other::---
    entries = ((1, 6, -1), (2, 4, 1), (4, 4, -1), (16, 4, -1), (32, 0, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(real, "system.posix_acl_access", acl)
    before = real.stat()
    link = tmp_path / "fstab"
    link.symlink_to("real/fstab")

    assert atomic.edit(str(link), lambda data: data + b"new\n")

    after = real.stat()
    assert link.is_symlink()
    assert real.read_bytes() == b"old\nnew\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert os.getxattr(real, "user.note") == b"kept"
    assert os.getxattr(real, "system.posix_acl_access") == acl
    assert after.st_ino != before.st_ino
    assert sorted(os.listdir(tmp_path)) == ["fstab", "real"]
    assert os.listdir(real.parent) == ["fstab"]


def test_same_content_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"x")
    before = path.stat()
    assert not atomic.edit(str(path), lambda data: data)
    assert path.stat() == before


def test_a_new_file_gets_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    old = os.umask(0o077)
    try:
        assert atomic.edit(str(path), lambda data: data + b"x")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o7777 == 0o644
    assert path.read_bytes() == b"x"


def test_a_change_by_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"old")

    def change(data: bytes) -> bytes:
        path.write_bytes(b"theirs")
        return data + b"ours"

    with pytest.raises(OSError, match="changed") as caught:
        atomic.edit(str(path), change)
    assert caught.value.errno == errno.ESTALE
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["fstab"]


def test_debris_of_a_killed_run_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"old")
    (tmp_path / ".ghostctl-new").symlink_to("/etc/passwd")
    passwd = Path("/etc/passwd").read_bytes()
    assert atomic.edit(str(path), lambda _: b"new")
    assert os.listdir(tmp_path) == ["fstab"]
    assert path.read_bytes() == b"new"
    assert Path("/etc/passwd").read_bytes() == passwd


def test_an_error_leaves_the_old_file_and_no_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="full"):
        atomic.edit(str(path), lambda _: b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["fstab"]


ADD_ONE = """
import sys, time
from ghostctl import atomic

def change(data):
    time.sleep(0.01)
    return data + b"x"

for _ in range(20):
    atomic.edit(sys.argv[1], change)
    # the lock is polled: the others must find it free now and then
    time.sleep(0.05)
"""


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"")
    running = [subprocess.Popen([sys.executable, "-c", ADD_ONE, path]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert path.read_bytes() == b"x" * 60


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
    for i in range(15):
        process = subprocess.Popen([sys.executable, "-c", FLIP, path], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.001 * i)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert path.read_bytes() in (b"A" * 100_000, b"B" * 100_000)
        assert set(os.listdir(tmp_path)) <= {"fstab", ".ghostctl-new"}
