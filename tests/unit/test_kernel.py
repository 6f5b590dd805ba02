# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import oscalls
import pytest
from machine import require, run

from ghostctl import kernel, report, rundir, syscalls


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
    assert kernel.cannot_swap(fstype) == (f"no kernel swaps to a file on {fstype}" if cannot else None)


def test_selinux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "SELINUX", str(tmp_path))
    assert not kernel.has_selinux()
    (tmp_path / "enforce").write_text("0")
    assert kernel.has_selinux()


def test_renameat2(tmp_path: Path) -> None:
    require("renameat2")
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


OLD = "ffffffff8165fa10 T add_swap_count_continuation\nffffffff816af410 T swap_cgroup_swapon\n"
NEW = "ffffffff8139c070 T swap_retry_table_alloc\n"


@pytest.mark.parametrize(
    ("symbols", "tables"),
    [
        (OLD, False),
        (NEW, True),
        (NEW.replace("ffffffff8139c070", "0" * 16), True),
        ("0000000000000000 T add_swap_count_continuation\n", False),
        (OLD + NEW, None),
        (
            "0000000000000000 T swap_retry_table_alloc_more\n0000000000000000 t my_swap_retry_table_alloc\n",
            None,
        ),
        ("0000000000000000 T start_kernel\n", None),
        ("", None),
        (None, None),
    ],
    ids=[
        "array",
        "tables",
        "no addresses",
        "one is enough",
        "both",
        "look-alikes",
        "neither",
        "empty",
        "none",
    ],
)
def test_which_kind_of_slots(tmp_path: Path, symbols: str | None, tables: bool | None) -> None:
    path = tmp_path / "kallsyms"
    if symbols is not None:
        path.write_text(symbols)
    assert kernel.has_swap_tables(str(path)) is tables
    require("pages-4k")
    pages = 1 << 28
    least, most = 24 << 20, 832 << 20
    # where both kinds, or neither, fit into the limit, nothing is looked up
    assert kernel.slot_memory(pages, most, "/none") == (most, False, most)
    assert kernel.slot_memory(pages, least - 1, "/none") == (least, True, least - 1)
    expected = {True: (least, False), False: (most, True), None: (most, None)}[tables]
    assert kernel.slot_memory(pages, most - 1, str(path)) == (*expected, most - 1)
    assert kernel.slot_memory(pages, least, str(path)) == (*expected, least)


def test_symbols_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.mkdir()
    assert kernel.has_swap_tables(str(path)) is None
    assert kernel.may_have_ghosts(str(path)) is None


def test_symbols_of_ghosts(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("0000000000000000 d nr_real_swapfiles\n")
    assert kernel.may_have_ghosts(str(path)) is True
    other = tmp_path / "other"
    other.write_text(OLD)
    assert kernel.may_have_ghosts(str(other)) is False


# -- the name by which the kernel's log calls an area


@pytest.fixture
def rooted() -> Iterator[Path]:
    """A directory that only root can change, nor any above it."""
    require("root")
    with tempfile.TemporaryDirectory(dir="/var/lib") as name:
        yield Path(name)


def own_name(path: Path) -> str | None:
    fd = os.open(path, os.O_RDONLY)
    try:
        return syscalls._own_name(fd, str(path))
    finally:
        os.close(fd)


def test_the_path_where_only_root_can_change_it(rooted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rooted / "a ghost"
    path.touch()
    assert own_name(path) == str(path)
    (rooted / "link").symlink_to(path)
    assert own_name(rooted / "link") == str(path)
    monkeypatch.chdir(rooted)
    assert own_name(Path("a ghost")) == str(path)
    # whose it is does not matter then
    os.chown(path, 65534, 65534)
    assert own_name(path) == str(path)


@pytest.mark.parametrize(
    ("mode", "owner", "entry", "safe"),
    [
        (0o755, 0, 0, True),
        (0o755, 65534, 0, False),
        (0o775, 0, 0, False),
        (0o757, 0, 0, False),
        # sticky: others can rename neither root's files nor make them again
        (0o1777, 0, 0, True),
        (0o1777, 0, 65534, False),
        (0o1777, 65534, 0, False),
    ],
)
def test_the_descriptor_where_others_can(rooted: Path, mode: int, owner: int, entry: int, safe: bool) -> None:
    directory = rooted / "directory"
    path = directory / "below/ghost"
    path.parent.mkdir(parents=True)
    path.touch()
    os.chown(path.parent, entry, 0)
    directory.chmod(mode)
    os.chown(directory, owner, 0)
    assert own_name(path) == (str(path) if safe and entry == 0 else None)
    (directory / "ghost").touch()
    os.chown(directory / "ghost", entry, 0)
    assert own_name(directory / "ghost") == (str(directory / "ghost") if safe else None)


def test_a_path_that_leads_elsewhere(rooted: Path) -> None:
    path, other = rooted / "ghost", rooted / "other"
    path.touch()
    other.touch()
    fd = os.open(path, os.O_RDONLY)
    try:
        assert syscalls._own_name(fd, str(other)) is None
        assert syscalls._own_name(fd, str(rooted / "none")) is None
        path.unlink()
        assert syscalls._own_name(fd, str(path)) is None
    finally:
        os.close(fd)


@pytest.fixture
def symbols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of symbols of this test's kernel, which has those of ghosts."""
    require("root")
    path = tmp_path / "kallsyms"
    path.write_text("0 B nr_real_swapfiles\n")
    monkeypatch.setattr(kernel, "KALLSYMS", str(path))
    monkeypatch.setattr(rundir, "PATH", str(tmp_path / "run"))
    return path


def read_symbols(path: Path) -> set[str]:
    """As another process would."""
    return set(kernel._symbols.__wrapped__(str(path)) or ())


def test_symbols_are_read_once_in_a_boot(symbols: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_symbols(symbols) == {"nr_real_swapfiles"}
    symbols.write_text("0 T swap_retry_table_alloc\n")
    assert read_symbols(symbols) == {"nr_real_swapfiles"}
    # another kernel's, bound there
    other = symbols.with_name("other")
    other.write_text("0 T swap_cgroup_swapon\n")
    other.rename(symbols)
    assert read_symbols(symbols) == {"swap_cgroup_swapon"}
    symbols.write_text("0 T swap_retry_table_alloc\n")
    assert read_symbols(symbols) == {"swap_cgroup_swapon"}
    # what a user reads is not root's, and a user keeps nothing
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    assert read_symbols(symbols) == {"swap_retry_table_alloc"}


@pytest.mark.parametrize("wrong", ["other boot", "empty", "others write", "a directory", "no directory"])
def test_kept_symbols_that_are_no_good(symbols: Path, wrong: str) -> None:
    run = symbols.with_name("run")
    assert read_symbols(symbols) == {"nr_real_swapfiles"}
    kept = run / "symbols"
    if wrong == "other boot":
        boot, _, rest = kept.read_text().partition(" ")
        kept.write_text(f"{boot[::-1]} {rest}")
    elif wrong == "empty":
        kept.write_text("")
    elif wrong == "others write":
        run.chmod(0o777)
    elif wrong == "a directory":
        kept.unlink()
        kept.mkdir()
    else:
        shutil.rmtree(run)
        run.write_text("")
    symbols.write_text("0 T swap_retry_table_alloc\n")
    assert read_symbols(symbols) == {"swap_retry_table_alloc"}
