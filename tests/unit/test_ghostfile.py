# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import oscalls
import pytest
from machine import require, run

from ghostctl import atomic, ghostfile, header, report, sizes
from ghostctl.errors import NotAGhost
from ghostctl.ghostfile import File
from ghostctl.header import Header

PAGE = sizes.page_size()


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    before = oscalls.open_descriptors()
    yield
    assert oscalls.open_descriptors() == before


def ghost(path: Path, have: Header | None = None) -> Path:
    """A ghost of a hundred pages, with the mode and the owner of a good one."""
    path.write_bytes(header.pack(have or header.ghost(100, PAGE, label=b"name")))
    path.chmod(0o600)
    return path


def fake(
    data: bytes,
    mode: int = stat.S_IFREG | 0o600,
    *,
    size: int | None = None,
    blocks: int = PAGE // 512,
    uid: int = 0,
) -> File:
    """A file as `look` would give it, which needs not be one."""
    try:
        have = header.unpack(data)
    except header.HeaderError:
        have = None
    length = len(data) if size is None else size
    st = os.stat_result((mode, 1, 1, 1, uid, 0, length, 0, 0, 0), {"st_blocks": blocks, "st_rdev": 0})
    return File("name", -1, st, data, have)


# looking


@pytest.mark.parametrize("page_size", sizes.PAGE_SIZES)
@pytest.mark.parametrize("magic", [b"SWAPSPACE2", b"SWAP-SPACE", b"S1SUSPEND ", b"LINHIB0001"])
def test_headers_of_every_page_size(tmp_path: Path, page_size: int, magic: bytes) -> None:
    have = header.ghost(100, page_size)._replace(magic=magic, badpages=b"x" * (page_size - 1546))
    page = header.pack(have)
    path = tmp_path / "area"
    path.write_bytes(page + b"more")
    with ghostfile.look(str(path)) as file:
        assert file.header == have
        assert file.data == page
        assert file.path == str(path)
        assert os.path.samestat(file.st, path.stat())
        assert os.path.samestat(os.fstat(file.fd), path.stat())


@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 4097, 200_000])
def test_what_has_no_header(tmp_path: Path, length: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * length)
    with ghostfile.look(str(path)) as file:
        assert file.header is None
        assert file.data == b"x" * min(length, 4096)
        with pytest.raises(NotAGhost, match="not a swap area: it is a") as caught:
            file.require_header()
        assert caught.value.path == str(path)


def test_a_page_that_is_cut_off(tmp_path: Path) -> None:
    """Between two looks at the file it may lose its end."""
    path = tmp_path / "area"
    path.write_bytes(header.pack(header.ghost(100, 65536))[:-1])
    with ghostfile.look(str(path)) as file:
        assert file.header is None


def test_short_reads_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ghost(tmp_path / "ghost")
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: real(fd, min(length, 1000), offset))
    with ghostfile.look(str(path)) as file:
        assert file.data == path.read_bytes()


def test_a_page_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ghost(tmp_path / "ghost")
    calls = oscalls.record(monkeypatch, "pread")
    with ghostfile.look(str(path)) as file:
        assert file.is_ghost
    assert len(calls) == 1


def test_open_for_reading_and_writing(tmp_path: Path) -> None:
    path = ghost(tmp_path / "ghost")
    with ghostfile.look(str(path)) as file:
        flags = fcntl.fcntl(file.fd, fcntl.F_GETFL)
        assert (flags & os.O_ACCMODE, flags & os.O_NONBLOCK) == (os.O_RDONLY, os.O_NONBLOCK)
        assert not os.get_inheritable(file.fd)
        fd = file.fd
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with ghostfile.look(str(path), write=True) as file:
        assert fcntl.fcntl(file.fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR


def test_links_are_followed_but_not_at_a_place(tmp_path: Path) -> None:
    ghost(tmp_path / "ghost")
    (tmp_path / "link").symlink_to("ghost")
    with ghostfile.look(str(tmp_path / "link")) as file:
        assert file.is_ghost
    with (
        atomic.open_place(str(tmp_path / "link")) as place,
        pytest.raises(NotAGhost, match="a symbolic link"),
        ghostfile.look("shown", place=place),
    ):
        pass
    with atomic.open_place(str(tmp_path / "ghost")) as place:
        # the directory has another name now
        tmp_path.rename(tmp_path.with_name("moved"))
        try:
            with ghostfile.look("shown", place=place) as file:
                assert file.is_ghost
                assert file.path == "shown"
        finally:
            tmp_path.with_name("moved").rename(tmp_path)


def others(directory: Path) -> Iterator[tuple[Path, str]]:
    (directory / "dir").mkdir()
    yield directory / "dir", "a directory"
    os.mkfifo(directory / "fifo")
    yield directory / "fifo", "a FIFO"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "socket"))
        yield directory / "socket", "a socket"
    yield Path("/dev/zero"), "a character device"


def test_nothing_else_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO would wait for a writer, a tape would be wound back."""
    opened = []
    real = os.open

    def watched(path: str, flags: int, *args: int, **keywords: int) -> int:
        opened.append(flags & os.O_PATH)
        return real(path, flags, *args, **keywords)

    monkeypatch.setattr(os, "open", watched)
    for path, what in others(tmp_path):
        with pytest.raises(NotAGhost, match=what) as caught, ghostfile.look(str(path)):
            pass
        assert caught.value.path == str(path)
    assert opened == [os.O_PATH] * 4


@pytest.mark.parametrize(
    ("kind", "device"), [(stat.S_IFBLK, os.makedev(240, 9)), (stat.S_IFCHR, os.makedev(1, 13))]
)
def test_devices_that_can_have_a_header_are_opened(tmp_path: Path, kind: int, device: int) -> None:
    require("root", "initial-user-namespace")
    path = tmp_path / "device"
    os.mknod(path, kind | 0o600, device)
    # there is none with such a number
    with oscalls.raises(errno.ENXIO, path), ghostfile.look(str(path)):
        pass


def test_a_file_of_proc_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some wait for what is to come, and take it away from those who wait for it."""
    calls = oscalls.record(monkeypatch, "pread")
    with ghostfile.look("/proc/self/status") as file:
        assert file.data == b""
        assert file.describe() == "an empty file"
        assert [problem.id for problem in ghostfile.verify(file)] == ["magic"]
    assert calls == []


@pytest.mark.parametrize("number", [errno.EIO, errno.EINTR, errno.ENOMEM])
def test_errors_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    path = ghost(tmp_path / "ghost")
    for call in ("pread", "fstat", "open"):
        with monkeypatch.context() as patch:
            oscalls.fail(patch, call, number)
            with oscalls.raises(number, path), ghostfile.look(str(path)):
                pass
    with monkeypatch.context() as patch:
        oscalls.fail(patch, "open", number, when=lambda name, *_a, **_k: str(name).startswith("/proc/"))
        with oscalls.raises(number, path), ghostfile.look(str(path)):
            pass
    with oscalls.raises(errno.ENOENT, tmp_path / "none"), ghostfile.look(str(tmp_path / "none")):
        pass


def test_what_goes_wrong_later_is_not_the_file_s(tmp_path: Path) -> None:
    path = ghost(tmp_path / "ghost")
    with oscalls.raises(errno.EIO, "other"), ghostfile.look(str(path)):
        raise OSError(errno.EIO, "broken", "other")


def test_what_is_read_is_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(report, "_line", lines.append)
    for verbosity in (1, 2):
        monkeypatch.setattr(report, "verbosity", verbosity)
        with ghostfile.look(str(ghost(tmp_path / "ghost"))):
            assert lines == [f"read {PAGE} bytes of {tmp_path}/ghost"] * (verbosity - 1)


# without /proc


@pytest.mark.parametrize("with_place", [False, True])
@pytest.mark.parametrize("write", [False, True])
def test_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_place: bool, write: bool) -> None:
    path = ghost(tmp_path / "ghost")
    oscalls.without_proc(monkeypatch)
    with (
        atomic.open_place(str(path)) as place,
        ghostfile.look(str(path), place=place if with_place else None, write=write) as file,
    ):
        assert file.is_ghost
        access = fcntl.fcntl(file.fd, fcntl.F_GETFL) & os.O_ACCMODE
        assert access == (os.O_RDWR if write else os.O_RDONLY)
        assert not os.get_inheritable(file.fd)


@pytest.mark.parametrize("with_place", [False, True])
def test_without_proc_a_file_that_was_replaced_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_place: bool
) -> None:
    path = ghost(tmp_path / "ghost")
    oscalls.without_proc(monkeypatch)
    real = os.fstat

    def replaced(fd: int) -> os.stat_result:
        monkeypatch.setattr(os, "fstat", real)
        st = real(fd)
        ghost(tmp_path / "other").rename(path)
        return st

    with atomic.open_place(str(path)) as place:
        monkeypatch.setattr(os, "fstat", replaced)
        there = place if with_place else None
        with oscalls.raises(errno.ESTALE, path, "replaced"), ghostfile.look(str(path), place=there):
            pass


def test_without_proc_a_link_in_its_place_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ghost(tmp_path / "ghost")
    oscalls.without_proc(monkeypatch)
    real = os.fstat

    def replaced(fd: int) -> os.stat_result:
        monkeypatch.setattr(os, "fstat", real)
        st = real(fd)
        path.rename(tmp_path / "moved")
        path.symlink_to("moved")
        return st

    with atomic.open_place(str(path)) as place:
        monkeypatch.setattr(os, "fstat", replaced)
        with oscalls.raises(errno.ELOOP, path), ghostfile.look(str(path), place=place):
            pass


IN_FORKS = """
import construct, os, sys, uuid
from ghostctl.cli import inspect, label, main, mkghost, verify
assert not os.path.exists("/proc/self")
for line in sys.stdin.read().splitlines():
    pid = os.fork()
    if pid == 0:
        sys.argv = ["ghostctl", *line.split()]
        main()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), line, flush=True)
"""
COMMANDS = [
    "mkghost -q -s 1M new",
    "inspect -q new",
    "verify new",
    "label -L other new",
    "mkghost -q --if-needed -s 1M new",
    "mkghost -q --if-needed -s 2M new",
    "label new",
    "mkghost -q --force -L third -s 3M new",
    "inspect new",
]


def test_image_builds_without_proc(tmp_path: Path) -> None:
    require("mount")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh", sys.executable, "-c", IN_FORKS],
        input="\n".join(COMMANDS),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if line[2:] in COMMANDS] == [
        f"0 {command}" for command in COMMANDS
    ]
    assert "LABEL: other\n" in done.stdout
    assert "label           third\n" in done.stdout
    assert "size            3145728 (3 MiB)\n" in done.stdout
    assert os.listdir(tmp_path) == ["new"]


# the page cache is for others


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Two MiB on a disk, of which nothing is in the page cache."""
    require("page-cache")
    path = tmp_path / "large"
    path.write_bytes(b"\xff" * (2 << 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert cached(path) == 0
    return path


def cached(path: Path) -> int:
    """Bytes of a file in the page cache."""
    return int(run("fincore", "--bytes", "--noheadings", "--output", "RES", path))


def test_a_look_reads_little(large: Path) -> None:
    """The first page, and the pages in which a header of another page size would end."""
    with ghostfile.look(str(large)) as file:
        assert cached(large) <= len(sizes.PAGE_SIZES) * max(PAGE, 4096)
        file.describe()
    assert cached(large) <= (len(sizes.PAGE_SIZES) + 1) * max(PAGE, 4096)


def test_a_look_drops_nothing_but_the_header(large: Path) -> None:
    large.read_bytes()
    assert cached(large) == 2 << 20
    with ghostfile.look(str(large)):
        assert cached(large) == 2 << 20
    # what somebody has written into the cache only, as swapon(2) does, is not what is shown
    advice: list[tuple[int, ...]] = []

    def advise(_fd: int, *given: int) -> None:
        advice.append(given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_fadvise", advise)
        with ghostfile.look(str(large)):
            pass
    assert advice == [(0, 0, os.POSIX_FADV_RANDOM), (0, PAGE, os.POSIX_FADV_DONTNEED)]


def test_advice_that_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without CONFIG_ADVISE_SYSCALLS."""
    oscalls.fail(monkeypatch, "posix_fadvise", errno.ENOSYS)
    with ghostfile.look(str(ghost(tmp_path / "ghost"))) as file:
        assert file.is_ghost


# what it is


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        (stat.S_IFREG, "a regular file"),
        (stat.S_IFDIR, "a directory"),
        (stat.S_IFLNK, "a symbolic link"),
        (stat.S_IFBLK, "a block device"),
        (stat.S_IFCHR, "a character device"),
        (stat.S_IFIFO, "a FIFO"),
        (stat.S_IFSOCK, "a socket"),
    ],
)
def test_kinds(mode: int, kind: str) -> None:
    assert ghostfile.kind_of(mode | 0o600) == kind


def at(offset: int, magic: bytes, length: int = 4096) -> bytes:
    return b"\xff" * offset + magic + b"\xff" * (length - offset - len(magic))


CONTENTS = [
    (b"", "an empty file"),
    (b"text\n", "a text file"),
    (b"text without an end", "a text file"),
    ("früh\n".encode(), "a text file"),
    # the first 4096 bytes end within a character
    (b"x" * 4000 + b"\n" + b"y" * 94 + "ü".encode(), "a text file"),
    (b"x" * 4095 + "ü".encode(), "a file of 4097 bytes of data"),
    (b"text\n\0", "a file of 6 bytes of data"),
    (b"\xff\xfe", "a file of 2 bytes of data"),
    (bytes(5000), "a file of 5000 bytes of data"),
    (at(1080, b"\x53\xef"), "an ext2/3/4 image"),
    (at(1081, b"\x53\xef"), "a file of 4096 bytes of data"),
    (at(0, b"XFSB"), "an XFS image"),
    (at(65600, b"_BHRfS_M", 70000), "a btrfs image"),
    (at(65600, b"_BHRfS_N", 70000), "a file of 70000 bytes of data"),
    (at(0, b"LUKS\xba\xbe"), "a LUKS image"),
    (at(0, b"QFI\xfb"), "a qcow2 image"),
    (at(0, b"hsqs"), "a squashfs image"),
    (at(510, b"\x55\xaa"), "a disk image"),
    (at(510, b"\x55\xaa", 512), "a disk image"),
    (at(0, b"\x7fELF"), "an ELF file"),
    (at(0, b"\x1f\x8b", 2), "a gzip file"),
    (at(0, b"\x28\xb5\x2f\xfd"), "a zstd file"),
    (at(0, b"SQLite format 3\0"), "an SQLite database"),
]


@pytest.mark.parametrize(
    ("data", "kind"), CONTENTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_contents(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with ghostfile.look(str(path)) as file:
        assert file.describe() == kind


def test_a_content_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(70000))
    with ghostfile.look(str(path)) as file:
        oscalls.fail(monkeypatch, "pread", errno.EIO)
        with oscalls.raises(errno.EIO, path):
            file.describe()


def test_areas() -> None:
    page = header.pack(header.ghost(100, 4096))
    later = header.ghost(100, 4096)
    later = later._replace(tag=later.tag._replace(version=7))
    cases = [
        (fake(page), True, "a ghost"),
        (fake(header.pack(header.ghost(100, 65536))), True, "a ghost"),
        (fake(header.pack(later)), True, "a ghost with a tag of version 7"),
        (fake(page, size=4097), False, "a swap file of 4097 bytes"),
        (fake(page, size=4095), False, "a swap file of 4095 bytes"),
        (fake(page[:-10] + b"SWAP-SPACE"), False, "a swap file of 4096 bytes"),
        (fake(page[:-10] + b"S1SUSPEND\0"), False, "a swap file with a hibernation image (S1SUSPEND)"),
        (
            fake(header.TUXONICE_MAGIC + page[8:]),
            False,
            "a swap file with a hibernation image (TuxOnIce)",
        ),
        (fake(page, stat.S_IFBLK | 0o600), False, "a block device with a swap area"),
        (fake(bytes(4096), stat.S_IFBLK | 0o600), False, "a block device"),
        (fake(page, stat.S_IFCHR | 0o600, size=4096), False, "a character device with a swap area"),
    ]
    for file, is_ghost, kind in cases:
        assert (file.is_ghost, file.describe()) == (is_ghost, kind)


def test_three_sizes() -> None:
    file = fake(header.pack(header.ghost(100, 4096)), size=8192, blocks=24)
    assert file.header
    assert (file.header.size, file.st.st_size, file.allocated) == (409600, 8192, 12288)
    assert file.require_header() is file.header


# what is wrong with it


Change = Callable[[Header], Header]


def tag(**fields: object) -> Change:
    return lambda have: have._replace(tag=have.tag._replace(**fields))  # type: ignore[arg-type]


def sealed(change: Change) -> Change:
    """With a tag that agrees with the header, and the right checksum."""

    def seal(have: Header) -> Header:
        have = change(have)
        have = have._replace(tag=have.tag._replace(size=have.size))
        return have._replace(tag=have.tag._replace(crc=header.crc(have)))

    return seal


def having(**fields: object) -> Change:
    return lambda have: have._replace(**fields)  # type: ignore[arg-type]


def bare(**fields: object) -> Change:
    return lambda have: having(**fields)(have._replace(tag=header.Tag()))


ZERO = bytes(136)
CORRUPTIONS: list[tuple[str, Change, list[tuple[str, str]], str]] = [
    ("nothing", having(), [], ""),
    ("a bare one", bare(), [], ""),
    (
        "the old magic",
        having(magic=b"SWAP-SPACE", last_page=0),
        [("magic", "error")],
        "SWAP-SPACE: no kernel since 2.6",
    ),
    ("suspended", having(magic=b"S1SUSPEND "), [("hibernation", "error")], "a hibernation image (S1SUSPEND)"),
    (
        "TuxOnIce",
        sealed(having(bootbits=header.TUXONICE_MAGIC.ljust(1024, b"\0"))),
        [("hibernation", "error")],
        "a hibernation image (TuxOnIce)",
    ),
    (
        "version 0",
        sealed(having(version=0)),
        [("version", "error")],
        "header version 0: kernels know version 1",
    ),
    (
        "version 2",
        sealed(having(version=2)),
        [("version", "error")],
        "header version 2: kernels know version 1",
    ),
    ("no pages", sealed(having(last_page=0)), [("last_page", "error")], "last_page is 0: the area is empty"),
    (
        "2 pages",
        sealed(having(last_page=1)),
        [("last_page", "warning")],
        "2 pages: mkswap makes no area so small",
    ),
    (
        "9 pages",
        sealed(having(last_page=8)),
        [("last_page", "warning")],
        "9 pages: mkswap makes no area so small",
    ),
    ("10 pages", sealed(having(last_page=9)), [], ""),
    ("the most", sealed(having(last_page=2**32 - 2)), [], ""),
    (
        "too many",
        sealed(having(last_page=2**32 - 1)),
        [("last_page", "warning")],
        "4294967296 pages: no kernel counts more than 4294967295",
    ),
    (
        "bad pages",
        sealed(having(nr_badpages=1)),
        [("nr_badpages", "error")],
        "nr_badpages is 1: a ghost has none",
    ),
    ("word 33", sealed(having(padding=ZERO[:-1] + b"x")), [("padding", "warning")], "libblkid hides"),
    (
        "word 32",
        sealed(having(padding=ZERO[:-8] + b"x" + ZERO[:7])),
        [("padding", "warning")],
        "libblkid hides",
    ),
    (
        "word 31",
        sealed(having(padding=ZERO[:-9] + b"x" + ZERO[:8])),
        [("garbage", "warning")],
        "should be zero",
    ),
    (
        "word 0",
        sealed(having(padding=b"x" + ZERO[1:])),
        [("garbage", "warning")],
        "bytes that should be zero",
    ),
    (
        "bootbits",
        sealed(having(bootbits=b"x".rjust(1024, b"\0"))),
        [("garbage", "warning")],
        "should be zero",
    ),
    (
        "badpages",
        sealed(lambda have: have._replace(badpages=b"x".rjust(len(have.badpages), b"\0"))),
        [("garbage", "warning")],
        "should be zero",
    ),
    ("label", having(volume_name=b"x" * 16), [("label", "warning")], "the label is not terminated"),
    ("label of 15", having(volume_name=b"x" * 15 + b"\0"), [], ""),
    ("bare garbage", bare(tag=header.Tag(size=1)), [("garbage", "warning")], "where the ghost tag would be"),
    (
        "bare bootbits",
        bare(bootbits=b"x".rjust(1024, b"\0")),
        [("garbage", "warning")],
        "bytes that should be zero are not",
    ),
    (
        "a later tag",
        sealed(tag(version=2)),
        [("tag", "warning")],
        "of version 2: this program knows version 1",
    ),
    ("version 0 of it", sealed(tag(version=0)), [("tag", "warning")], "of version 0: this program knows"),
    (
        "a longer tag",
        sealed(tag(version=2, length=40, rest=b"x" * 300, flags=9)),
        [("tag", "warning")],
        "ghost tag of version 2",
    ),
    (
        "a shorter tag",
        sealed(tag(version=2, length=31)),
        [("tag", "warning"), ("tag", "error")],
        "ghost tag of 31 bytes, not 32",
    ),
    ("flags", sealed(tag(flags=2)), [("tag", "warning")], "flags of the ghost tag are 0x2: a ghost has none"),
    (
        "rest",
        sealed(tag(rest=b"x".rjust(300, b"\0"))),
        [("garbage", "warning")],
        "bytes behind the ghost tag",
    ),
    ("length 31", sealed(tag(length=31)), [("tag", "error")], "ghost tag of 31 bytes, not 32"),
    ("length 33", sealed(tag(length=33)), [("tag", "error")], "ghost tag of 33 bytes, not 32"),
    ("the checksum", tag(crc=7), [("crc", "error")], "CRC of the ghost tag is 00000007, should be "),
    (
        "the size",
        lambda have: sealed(having())(have)._replace(last_page=200),
        [("crc", "error"), ("size", "error")],
        f"the tag declares {100 * PAGE} bytes, the header {201 * PAGE}",
    ),
    (
        "the page size",
        sealed(tag(page_size=PAGE * 2)),
        [("size", "error")],
        f"the tag has pages of {PAGE * 2} bytes, the header {PAGE}",
    ),
]
DAMAGE = {"version", "nr_badpages", "crc", "size"}


@pytest.mark.parametrize(
    ("change", "ids", "text"), [line[1:] for line in CORRUPTIONS], ids=[line[0] for line in CORRUPTIONS]
)
def test_each_corruption_has_its_problems(change: Change, ids: list[tuple[str, str]], text: str) -> None:
    problems = list(ghostfile.verify(fake(header.pack(change(header.ghost(100, PAGE))))))
    assert [(problem.id, problem.severity) for problem in problems] == ids
    if problems:
        assert text in problems[-1].message
    for problem in problems:
        assert problem.stops
        assert problem.damage == (problem.severity == "error" and problem.id in DAMAGE | {"tag"}), problem


FILES: list[tuple[str, File, list[tuple[str, str, bool]], str]] = [
    ("nothing", fake(header.pack(header.ghost(100, PAGE))), [], ""),
    (
        "no area",
        fake(b"XFSB".ljust(4096)),
        [("magic", "error", True)],
        "no swap signature: it is an XFS image",
    ),
    (
        "larger",
        fake(header.pack(header.ghost(100, PAGE)), size=PAGE + 1, blocks=PAGE // 512 + 8),
        [("filesize", "error", True)],
        f"the file has {PAGE + 1} bytes: a ghost has one page, {PAGE}",
    ),
    (
        "holes",
        fake(header.pack(header.ghost(100, PAGE)), blocks=PAGE // 512 - 1),
        [("holes", "error", False)],
        "the file has holes: swapon(8) refuses it",
    ),
    (
        "a device",
        fake(header.pack(header.ghost(100, PAGE)), stat.S_IFBLK | 0o666, size=0, blocks=0),
        [("type", "error", True)],
        "is a block device: a ghost is a regular file",
    ),
    (
        "another page size",
        fake(header.pack(header.ghost(100, PAGE * 2)), blocks=1000),
        [("pagesize", "error", False)],
        f"made for pages of {PAGE * 2} bytes, this kernel has {PAGE}",
    ),
    *(
        (
            f"mode {mode:04o}",
            fake(header.pack(header.ghost(100, PAGE)), stat.S_IFREG | mode),
            [("mode", "warning", False)],
            f"insecure permissions {mode:04o}, 0600 suggested",
        )
        for mode in (0o601, 0o640, 0o4604)
    ),
]


@pytest.mark.parametrize(
    ("file", "problems", "text"), [line[1:] for line in FILES], ids=[line[0] for line in FILES]
)
def test_each_fault_of_the_file_has_its_problem(
    file: File, problems: list[tuple[str, str, bool]], text: str
) -> None:
    found = list(ghostfile.verify(file))
    assert [(problem.id, problem.severity, problem.stops) for problem in found] == problems
    assert [problem.message for problem in found] == ([text] if problems else [])
    assert not any(problem.damage for problem in found)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o000])
def test_private_modes(mode: int) -> None:
    file = fake(header.pack(header.ghost(100, PAGE)), stat.S_IFREG | mode)
    assert list(ghostfile.verify(file)) == []


def test_the_page_size_of_another_kernel() -> None:
    file = fake(header.pack(header.ghost(100, 8192)), blocks=100)
    assert [problem.id for problem in ghostfile.verify(file, 8192)] == []
    assert [problem.id for problem in ghostfile.verify(file, 16384)] == ["pagesize"]


def test_the_owner() -> None:
    (problem,) = ghostfile.verify(fake(header.pack(header.ghost(100, PAGE)), uid=65534))
    assert problem == ("owner", "warning", "owned by user 65534, 0 (root) suggested", False, False)


def test_the_filesystem(tmpfs: Path) -> None:
    with ghostfile.look(str(ghost(tmpfs / "ghost"))) as file:
        (problem,) = ghostfile.verify(file)
    assert problem == ("filesystem", "error", "no kernel swaps to a file on tmpfs", False, False)
