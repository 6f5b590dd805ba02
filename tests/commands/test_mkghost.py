# SPDX-License-Identifier: GPL-2.0-or-later
"""mkghost, label, resize and verify on real filesystems, with real obstacles."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Filesystem
from machine import AS_NOBODY, GHOSTCTL, ghostctl, is_active, require, run, swap_file

from ghostctl import header, rundir, sizes

PAGE = os.sysconf("SC_PAGE_SIZE")
UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def read(path: Path) -> header.Header:
    return header.unpack(path.read_bytes())


def make(path: Path, *options: str, size: str = "1G") -> header.Header:
    done = ghostctl("mkghost", "-s", size, *options, path)
    assert (done.returncode, done.stderr) == (0, "")
    return read(path)


def assert_refused(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    message = [line for line in done.stderr.splitlines() if ": warning: " not in line and "hint:" not in line]
    assert len(message) == 1
    assert message[0].startswith("ghostctl: ")
    assert all(word in message[0] for word in words), message[0]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_private_and_whole(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "ghost"
    done = ghostctl("mkghost", "-s", "1G", path, umask=umask)
    assert (done.returncode, done.stderr) == (0, "")
    st = path.stat()
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o600, os.geteuid(), os.getegid())
    assert (st.st_size, st.st_nlink) == (PAGE, 1)
    assert read(path).size == 1 << 30
    assert os.listdir(tmp_path) == ["ghost"]


CAN_SWAP = [
    ("ext4", (), ""),
    ("ext4", ("-O", "inline_data"), ""),
    ("ext4", ("-b", "1024"), ""),
    ("xfs", (), ""),
    ("btrfs", (), ""),
    ("btrfs", (), "compress-force=zstd"),
    ("vfat", (), ""),
]


@pytest.mark.parametrize(("kind", "mkfs", "options"), CAN_SWAP, ids=str)
def test_filesystems(filesystem: Filesystem, kind: str, mkfs: tuple[str, ...], options: str) -> None:
    directory = filesystem(kind, *mkfs, options=options)
    path = directory / "ghost"
    before = set(os.listdir(directory))
    make(path)
    make(path, "--force", size="2G")
    assert set(os.listdir(directory)) - before == {"ghost"}
    # after the data has reached the disk, and from the disk
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")
    assert read(path).size == 2 << 30
    assert path.stat().st_blocks * 512 >= PAGE
    done = ghostctl("verify", "--json", path)
    assert done.returncode == 0
    (document,) = json.loads(done.stdout)["files"]
    # vfat has no modes of its own
    assert {problem["id"] for problem in document["problems"]} <= ({"mode"} if kind == "vfat" else set())
    done = ghostctl("label", "-L", "changed", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert read(path).label == b"changed"


def test_a_filesystem_that_cannot_swap_is_named(tmpfs: Path) -> None:
    done = ghostctl("mkghost", "-s", "1G", tmpfs / "ghost")
    assert done.returncode == 0
    assert f"{tmpfs}/ghost: warning: no kernel swaps to a file on tmpfs" in done.stderr
    assert ghostctl("verify", tmpfs / "ghost").returncode == 1
    assert_refused(ghostctl("on", tmpfs / "ghost"), 5, "tmpfs")


def fill(directory: Path) -> None:
    with open(directory / "fill", "wb", buffering=0) as file:
        for chunk in (1 << 20, 4096, 512):
            try:
                while True:
                    file.write(bytes(chunk))
            except OSError:
                continue


@pytest.mark.parametrize("kind", ["ext4", "vfat", "tmpfs"])
def test_full_disk(filesystem: Filesystem, tmpfs: Path, kind: str) -> None:
    directory = tmpfs if kind == "tmpfs" else filesystem(kind, size="4M")
    old = directory / "old"
    old.write_bytes(b"text\n")
    fill(directory)
    before = sorted(os.listdir(directory))
    for options, path in ((("--force",), old), ((), directory / "new")):
        done = ghostctl("mkghost", "-q", *options, "-s", "1G", path)
        assert_refused(done, 1, f"ghostctl: {path}: No space left on device")
    assert sorted(os.listdir(directory)) == before
    assert old.read_bytes() == b"text\n"


def test_read_only_filesystem(filesystem: Filesystem) -> None:
    require("areas-readable")
    directory = filesystem("ext4")
    path = directory / "ghost"
    make(path)
    run("mount", "-o", "remount,ro", directory)
    for words in (("mkghost", "-f", "-s", "2G"), ("label", "-L", "x")):
        assert_refused(ghostctl(*words, path), 1, "Read-only file system")
    assert_refused(ghostctl("resize", path, "2G"), 1, "Read-only file system")
    assert ghostctl("mkghost", "--if-needed", "-s", "1G", path).returncode == 0
    assert read(path).size == 1 << 30


def test_directory_without_permission(ghost_dir: Path) -> None:
    require("setpriv")
    ghost_dir.parent.chmod(0o755)
    ghost_dir.chmod(0o755)
    done = ghostctl("mkghost", "-s", "1G", ghost_dir / "ghost", prefix=AS_NOBODY)
    assert_refused(done, 4, "Permission denied")
    assert ghostctl("mkghost", "-n", "-s", "1G", ghost_dir / "ghost", prefix=AS_NOBODY).returncode == 4
    make(ghost_dir / "ghost")
    for words in (("inspect",), ("label",), ("label", "-L", "x"), ("verify",)):
        assert_refused(ghostctl(*words, ghost_dir / "ghost", prefix=AS_NOBODY), 4, "Permission denied")
    assert os.listdir(ghost_dir) == ["ghost"]


def test_setgid_directory(tmp_path: Path) -> None:
    require("root")
    os.chown(tmp_path, -1, 65534)
    tmp_path.chmod(0o2775)
    make(tmp_path / "ghost")
    st = (tmp_path / "ghost").stat()
    assert (st.st_gid, stat.S_IMODE(st.st_mode)) == (os.getegid(), 0o600)


def test_default_acl(filesystem: Filesystem) -> None:
    require("acl", "setpriv")
    directory = filesystem("ext4", options="acl")
    run("setfacl", "-m", "u:65534:rwx,d:u:65534:rwx,d:o::rwx", directory)
    path = directory / "ghost"
    make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    reader = subprocess.run([*AS_NOBODY, "cat", path], capture_output=True, check=False)
    assert reader.returncode != 0
    assert json.loads(ghostctl("verify", "--json", path).stdout)["files"][0]["problems"] == []


def obstacles(directory: Path) -> Iterator[tuple[Path, str]]:
    (directory / "target").write_text("text\n")
    (directory / "link").symlink_to("target")
    yield directory / "link", "symbolic link"
    (directory / "dangling").symlink_to("nowhere")
    yield directory / "dangling", "symbolic link"
    (directory / "dir").mkdir()
    yield directory / "dir", "a directory"
    os.mkfifo(directory / "fifo")
    yield directory / "fifo", "a FIFO"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "socket"))
        yield directory / "socket", "a socket"
    yield Path("/dev/zero"), "a character device"


def test_what_is_never_replaced(tmp_path: Path) -> None:
    for path, what in obstacles(tmp_path):
        before = os.lstat(path)
        for options in ((), ("--force",), ("--force", "--if-needed")):
            assert_refused(ghostctl("mkghost", *options, "-s", "1G", path), 1, str(path), what)
        assert os.lstat(path)[:4] == before[:4]
    assert not (tmp_path / "nowhere").exists()
    assert (tmp_path / "target").read_text() == "text\n"


def test_block_device(ghost_dir: Path, loop_device: Callable[[Path], Path]) -> None:
    device = loop_device(swap_file(ghost_dir / "image"))
    assert_refused(ghostctl("mkghost", "--force", "-s", "1G", device), 1, "a block device")


def test_looking_at_what_is_no_file(tmp_path: Path) -> None:
    """A FIFO must not block, /dev/zero not be read for ever."""
    for path, what in obstacles(tmp_path):
        if path.name in ("link", "dangling"):
            continue
        for command in ("inspect", "verify", "label", "on"):
            assert_refused(ghostctl(command, path), 3, what)
        assert_refused(ghostctl("resize", path, "1G"), 3, what)
    for command in ("inspect", "label", "on", "off", "status"):
        assert ghostctl(command, tmp_path / "dangling").returncode == 3


OTHERS = {
    "text": (b"hello\n", "a text file"),
    "text4k": (b"hello world\n" * 341 + b"1234", "a text file"),
    "empty": (b"", "an empty file"),
    "ext4": (bytes(1080) + b"\x53\xef" + bytes(8192), "an ext2/3/4 image"),
    "ff": (b"\xff" * PAGE, "data"),
    "zero": (bytes(PAGE), "data"),
    "gzip": (b"\x1f\x8b" + bytes(100), "a gzip file"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_existing_files(tmp_path: Path, name: str) -> None:
    data, what = OTHERS[name]
    path = tmp_path / "file"
    path.write_bytes(data)
    before = path.stat()
    assert_refused(ghostctl("mkghost", "-s", "1G", path), 1, f"{path}: exists: it is ", what)
    if data:
        assert_refused(ghostctl("mkghost", "--if-needed", "-s", "1G", path), 1, "exists")
    for command in ("inspect", "label", "on"):
        assert_refused(ghostctl(command, path), 3, f"{path}: not a swap area: it is ", what)
    assert_refused(ghostctl("resize", path, "1G"), 3, "not a swap area")
    assert ghostctl("verify", path).returncode == 1
    assert path.read_bytes() == data
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    make(path, "--force")


def test_ghost_and_swap_file_are_named(ghost_dir: Path) -> None:
    make(ghost_dir / "ghost")
    assert_refused(ghostctl("mkghost", "-s", "1G", ghost_dir / "ghost"), 1, "exists: it is a ghost")
    path = swap_file(ghost_dir / "swap")
    assert_refused(ghostctl("mkghost", "-s", "1G", path), 1, "exists: it is a swap file of 1048576 bytes")
    # for the line of an ordinary area that has options of ghosts
    words = "exists: it is a swap file of 1048576 bytes, which stays as it is"
    assert_refused(ghostctl("mkghost", "--if-needed", "-s", "1G", path), 3, words)
    assert_refused(ghostctl("label", "-L", "x", path), 3, "not a ghost")


def test_force_breaks_no_other_name(tmp_path: Path) -> None:
    """What the name stood for stays with whoever has it under another name."""
    path, other = tmp_path / "ghost", tmp_path / "other"
    path.write_text("precious\n")
    other.hardlink_to(path)
    make(path, "--force")
    assert other.read_text() == "precious\n"


def test_dry_run(tmp_path: Path) -> None:
    done = ghostctl("mkghost", "-n", "-s", "1G", tmp_path / "ghost")
    assert done.returncode == 0
    assert "size = 1024 MiB (1073737728 bytes)" in done.stdout
    assert os.listdir(tmp_path) == []
    make(tmp_path / "ghost")
    before = (tmp_path / "ghost").read_bytes()
    assert ghostctl("mkghost", "-nfs", "2G", tmp_path / "ghost").returncode == 0
    assert (tmp_path / "ghost").read_bytes() == before


def damage_crc(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(1232)
        file.write(struct.pack("=I", 1))


def damage_magic(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(PAGE - 10)
        file.write(bytes(10))


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def nothing(_path: Path) -> None:
    pass


IF_NEEDED: list[tuple[Callable[[Path], object], tuple[str, ...], bool, bytes | None, bool]] = [
    # what happened to the ghost, options, whether the file stays, label after, UUID kept
    (nothing, (), True, b"old", True),
    (nothing, ("-L", "old"), True, b"old", True),
    (nothing, ("-L", "old", "-U", UUID), True, b"old", True),
    (nothing, ("-L", "new"), False, b"new", True),
    (nothing, ("-L", ""), False, b"", True),
    (nothing, ("-U", UUID.replace("0f", "1f")), False, b"old", False),
    (nothing, ("-s", "2G"), False, b"old", True),
    (nothing, ("-p", "64K"), False, b"old", True),
    (lambda path: path.chmod(0o644), (), False, b"old", True),
    (damage_crc, (), False, b"old", True),
    (damage_magic, (), False, b"", False),
    (truncate, (), False, b"", False),
    (os.unlink, (), False, b"", False),
]


@pytest.mark.parametrize(("change", "options", "stays", "label", "uuid_kept"), IF_NEEDED)
def test_if_needed(
    tmp_path: Path,
    change: Callable[[Path], object],
    options: tuple[str, ...],
    stays: bool,
    label: bytes | None,
    uuid_kept: bool,
) -> None:
    path = tmp_path / "ghost"
    make(path, "-L", "old", "-U", UUID)
    change(path)
    before = path.stat() if path.exists() else None
    done = ghostctl("mkghost", "--if-needed", "-s", "1G", *options, path)
    assert done.returncode == 0, done.stderr
    after = path.stat()
    unchanged = before is not None and (after.st_ino, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )
    assert unchanged == stays
    have = read(path)
    assert have.label == label
    assert (have.uuid_text == UUID) == uuid_kept
    assert have.size == (2 << 30 if "2G" in options else 1 << 30)
    assert have.tag.crc == header.crc(have)
    assert stat.S_IMODE(after.st_mode) == 0o600
    # and now it is as asked for
    again = ghostctl("mkghost", "--if-needed", "-s", "1G", *options, path)
    assert again.returncode == 0
    assert path.stat().st_ino == after.st_ino


def test_a_tag_of_the_future(tmp_path: Path) -> None:
    """Shown, kept on relabel, never rewritten silently."""
    path = tmp_path / "ghost"
    have = make(path)
    new = have._replace(tag=have.tag._replace(version=2, length=40, rest=b"tomorrow".ljust(300, b"\0")))
    new = new._replace(tag=new.tag._replace(crc=header.crc(new)))
    path.write_bytes(header.pack(new))
    assert "tag version     2" in ghostctl("inspect", path).stdout
    assert ghostctl("label", "-L", "kept", path).returncode == 0
    assert read(path).tag == new.tag
    assert ghostctl("mkghost", "--if-needed", "-s", "1G", path).returncode == 0
    assert_refused(ghostctl("mkghost", "--if-needed", "-s", "2G", path), 1, "exists")
    assert_refused(ghostctl("resize", path, "2G"), 1, "which this program does not know")
    assert read(path).tag == new.tag


def test_label_and_resize_in_place(tmp_path: Path) -> None:
    path = tmp_path / "ghost"
    have = make(path, "-L", "old")
    inode = path.stat().st_ino
    for words in (
        ("label", "-L", "neu-ä", path),
        ("label", "-U", UUID.upper(), path),
        ("resize", path, "2G"),
    ):
        done = ghostctl(*words)
        assert (done.returncode, done.stderr) == (0, "")
    new = read(path)
    assert (new.label, new.uuid_text, new.size) == ("neu-ä".encode(), UUID, 2 << 30)
    assert new == header.declare(have, new.pages)._replace(uuid=new.uuid, volume_name=new.volume_name)
    assert ghostctl("label", path).stdout == f"LABEL: neu-ä\nUUID:  {UUID}\n"
    assert ghostctl("label", "-L", "", "-U", "clear", path).returncode == 0
    assert ghostctl("label", path).stdout == ""
    assert path.stat().st_ino == inode
    assert ghostctl("verify", path).returncode == 0


def test_label_and_resize_wait_for_each_other(ghost_dir: Path) -> None:
    """What one of them has read is still there when it writes."""
    require("root")
    path = ghost_dir / "ghost"
    make(path, "-L", "old", "-U", UUID)
    with ExitStack() as stack:
        stack.enter_context(rundir.locked(rundir.lock_name(path.stat()), "test"))
        lines = (("label", "-L", "new", path), ("label", "-U", "clear", path), ("resize", path, "2M"))
        waiting = [subprocess.Popen([GHOSTCTL, *line]) for line in lines]
        time.sleep(0.5)
        assert [process.poll() for process in waiting] == [None] * 3
    assert [process.wait(20) for process in waiting] == [0] * 3
    have = read(path)
    assert (have.label, have.uuid, have.size) == (b"new", bytes(16), 2 << 20)


BAD_SIZES = ("0", "-1", "1e9", "9999E", "50%%", "ram**9", "٣G", "", "9" * 9000, b"\xff", "39K", "16T")
BAD_VALUES: list[tuple[str, str | bytes]] = [
    *(("-s", size) for size in BAD_SIZES),
    *(("-p", size) for size in ("4097", "0", "256K")),
    *(("-e", order) for order in ("middle", "")),
    *(("-L", label) for label in ("a\nb", "\x1b[31m", b"half-\xc3")),
    *(
        ("-U", uuid)
        for uuid in ("x", "", UUID[:-1], UUID + "0", UUID.replace("-", ""), f"{{{UUID}}}", "CLEAR")
    ),
]


@pytest.mark.parametrize(("option", "value"), BAD_VALUES, ids=lambda value: ascii(value)[:20])
def test_bad_values(tmp_path: Path, option: str, value: str | bytes) -> None:
    options: list[str | bytes] = [option, value]
    if option != "-s":
        options += ["-s", "1G"]
    done = ghostctl("mkghost", *options, tmp_path / "ghost")
    assert_refused(done, 2)
    assert done.stderr.isprintable() or done.stderr.count("\n") <= 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 500
    assert os.listdir(tmp_path) == []


def test_long_label_is_cut_at_a_character(tmp_path: Path) -> None:
    path = tmp_path / "ghost"
    done = ghostctl("mkghost", "-s", "1G", "-L", "ä" * 8, path)
    assert done.returncode == 0
    assert "warning: label was truncated" in done.stderr
    assert read(path).label == ("ä" * 7).encode()


@pytest.mark.parametrize("size", ["40K", str((2**32 - 1) * PAGE)])
def test_sizes_at_the_edge(tmp_path: Path, size: str) -> None:
    path = tmp_path / "ghost"
    done = ghostctl("mkghost", "-s", size, path)
    assert done.returncode == 0
    assert read(path).size == sizes.parse(size)
    assert path.stat().st_size == PAGE
    assert ("of kernel memory" in done.stderr) == (size != "40K")


EVERY_FIELD = [
    *((1024, 4), (1028, 4), (1032, 4), (1036, 16), (1052, 16), (1068, 128), (1196, 8)),
    *((1204, 8), (1212, 2), (1214, 2), (1216, 8), (1224, 4), (1228, 4), (1232, 4), (1236, 300)),
    *((1536, PAGE - 1546), (PAGE - 10, 10)),
]


@pytest.mark.parametrize(("offset", "length"), EVERY_FIELD)
def test_every_field_at_its_edges(tmp_path: Path, offset: int, length: int) -> None:
    path = tmp_path / "ghost"
    make(path, "-L", "label")
    page = path.read_bytes()
    values = (bytes(length), b"\xff" * length, b"\x1b" * length, b"\x01" + bytes(length - 1))
    paths = [path.with_name(str(number)) for number in range(len(values))]
    for other, value in zip(paths, values, strict=True):
        other.write_bytes(page[:offset] + value + page[offset + length :])
    for words in (("inspect",), ("inspect", "--json"), ("verify",)):
        done = ghostctl(*words, *paths)
        assert done.returncode in (0, 1, 3)
        assert "Traceback" not in done.stderr
        for line in (done.stdout + done.stderr).splitlines():
            assert line.isprintable()
        if words[-1] == "--json":
            json.loads(done.stdout)


@pytest.mark.parametrize("length", [1, 1023, 1500, PAGE - 1, PAGE + 1])
def test_truncated_and_grown(tmp_path: Path, length: int) -> None:
    path = tmp_path / "ghost"
    make(path)
    os.truncate(path, length)
    status = 3 if length < PAGE else 0
    assert ghostctl("inspect", path).returncode == status
    assert ghostctl("verify", path).returncode == 1
    assert ghostctl("label", "-L", "x", path).returncode == 3
    assert ghostctl("on", path).returncode in (1, 3)
    assert not is_active(path)
    assert ghostctl("mkghost", "-f", "-s", "1G", path).returncode == 0


def test_holes_are_reported(ghost_dir: Path) -> None:
    path = ghost_dir / "ghost"
    make(path)
    page = path.read_bytes()
    with open(path, "r+b") as file:
        file.truncate(0)
        file.truncate(PAGE)
    assert "holes" not in ghostctl("verify", path).stdout
    assert ghostctl("mkghost", "-f", "-p", "64K", "-s", "1G", path).returncode == 0
    big = path.read_bytes()
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(big[:4096])
        file.seek(65536 - 4096)
        file.write(big[-4096:])
    assert "the file has holes" in ghostctl("verify", path).stdout
    assert len(page) == PAGE


@pytest.mark.parametrize(
    "words", [("mkghost", "-s", "1G"), ("inspect",), ("status", "--json"), ("--help",), ("--version",)]
)
def test_full_and_closed_stdout(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "ghost"
    old = None
    if words[0] == "inspect":
        make(path)
        old = path.read_bytes()
    args = [*words, path] if words[0] in ("mkghost", "inspect") else list(words)
    with open("/dev/full", "wb") as full:
        done = ghostctl(*args, stdout=full)
    message = "ghostctl: standard output: write error: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, message)
    # mkghost speaks after the fact
    assert path.exists() == (words[0] in ("mkghost", "inspect"))
    if words[0] == "mkghost":
        path.unlink()
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", GHOSTCTL, *args],
        capture_output=True,
        text=True,
        check=False,
    )
    assert closed.returncode == 1
    assert closed.stderr.startswith("ghostctl: standard output: write error: ")
    assert path.exists() == (words[0] in ("mkghost", "inspect"))
    if old is not None:
        assert path.read_bytes() == old


def test_a_reader_that_leaves() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = ghostctl("--help", stdout=pipe)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_closed_stderr_is_not_written_into_the_ghost(tmp_path: Path) -> None:
    path = tmp_path / "ghost"
    subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", GHOSTCTL, "-vv", "mkghost", "-q", "-s", "1G", path],
        check=True,
    )
    assert header.pack(read(path)) == path.read_bytes()
    assert ghostctl("verify", path).returncode == 0
