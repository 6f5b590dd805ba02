# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import oscalls
import pytest
from machine import require, run

from ghostctl import kernel, report, syscalls


def test_an_attribute_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "attribute"
    path.write_text("old value\n")
    lines: list[str] = []
    monkeypatch.setattr(report, "verbosity", 1)
    monkeypatch.setattr(report, "_line", lines.append)
    calls = oscalls.record(monkeypatch, "write")
    before = oscalls.open_descriptors()
    kernel.write_attribute(str(path), "new")
    assert calls == [("write", path.stat().st_ino)]
    # sysfs(5) has no length to be cut
    assert path.read_text() == "new value\n"
    assert lines == [f"'new' > {path}"]
    assert oscalls.open_descriptors() == before


def test_an_attribute_that_takes_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "attribute"
    path.write_text("")
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:-1]))
    before = oscalls.open_descriptors()
    with oscalls.raises(errno.EIO, path, "took only a part of what was written"):
        kernel.write_attribute(str(path), "new")
    assert oscalls.open_descriptors() == before


def test_an_attribute_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "attribute"
    with oscalls.raises(errno.ENOENT, path):
        kernel.write_attribute(str(path), "new")
    assert not path.exists()
    path.write_text("")
    oscalls.fail(monkeypatch, "write", errno.EINVAL)
    with oscalls.raises(errno.EINVAL, path):
        kernel.write_attribute(str(path), "new")


def test_the_filesystem_of_an_open_file(tmp_path: Path) -> None:
    with open("/proc/self/status", "rb") as file:
        assert kernel.filesystem(file.fileno()) == "proc"
    with (tmp_path / "file").open("wb") as file:
        # of mounts over one another the last is the one that is seen
        kinds = run("findmnt", "-n", "-o", "FSTYPE", "-T", tmp_path).split()
        assert kernel.filesystem(file.fileno()) == kinds[-1]
    reader, writer = os.pipe()
    # on no mount that is listed
    assert kernel.filesystem(reader) is None
    os.close(reader)
    os.close(writer)
    # no such file, as without /proc
    assert kernel.filesystem(10**6) is None


def test_the_topmost_mount_counts(tmpfs: Path) -> None:
    """Two filesystems, one over the other: the file tells by its mount, not by its path."""
    with (tmpfs / "file").open("wb") as file:
        run("mount", "-t", "ramfs", "ghostctl-test", tmpfs)
        try:
            assert kernel.filesystem(file.fileno()) == "tmpfs"
            with (tmpfs / "file").open("wb") as other:
                assert kernel.filesystem(other.fileno()) == "ramfs"
        finally:
            run("umount", tmpfs)


@pytest.mark.parametrize(
    ("fstype", "cannot"),
    [("tmpfs", True), ("fuse", True), ("fuse.sshfs", True), ("nfs4", True), ("ext4", False), (None, False)],
)
def test_filesystems_that_cannot_swap(fstype: str | None, cannot: bool) -> None:
    assert kernel.cannot_swap(fstype) == cannot


def test_selinux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "SELINUX", str(tmp_path))
    assert not kernel.has_selinux()
    (tmp_path / "enforce").write_text("0")
    assert kernel.has_selinux()


def test_renameat2(tmp_path: Path) -> None:
    if not hasattr(ctypes.CDLL(None), "renameat2"):
        pytest.skip("libc has no renameat2")
    fd = os.open(tmp_path, os.O_RDONLY)
    name = os.fsdecode(b"odd \xff name")
    try:
        (tmp_path / "old").write_text("old")
        syscalls.renameat2(fd, "old", name, syscalls.RENAME_NOREPLACE)
        assert os.listdir(tmp_path) == [name]
        (tmp_path / "second").write_text("second")
        with oscalls.raises(errno.EEXIST, name, "rename failed: File exists"):
            syscalls.renameat2(fd, "second", name, syscalls.RENAME_NOREPLACE)
        syscalls.renameat2(fd, "second", name, 0)
        assert (tmp_path / name).read_text() == "second"
    finally:
        os.close(fd)


def test_write_attribute_of_this_kernel() -> None:
    require("root")
    path = "/proc/self/oom_score_adj"
    with open(path, encoding="ascii") as file:
        old = file.read()
    kernel.write_attribute(path, old)
    with oscalls.raises(errno.EINVAL, path):
        kernel.write_attribute(path, "none")
