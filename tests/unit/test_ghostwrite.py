# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import os
import re
import resource
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import oscalls
import pytest
from machine import require

from ghostctl import atomic, ghostfile, ghostwrite, header, kernel, lookup, report, rundir, sizes, swaps
from ghostctl.errors import Busy, Error, NotAGhost, SizeError
from ghostctl.ghostwrite import Made, Request
from ghostctl.header import Header

PAGE = sizes.page_size()
UUID = bytes(range(16))
OTHER = bytes(range(16, 32))
OTHER_ORDER: header.ByteOrder = "big" if sys.byteorder == "little" else "little"


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    before = oscalls.open_descriptors()
    yield
    assert oscalls.open_descriptors() == before


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /run/ghostctl of the test's own; in it are the locks that have been taken."""
    path = tmp_path / "run"
    monkeypatch.setattr(rundir, "PATH", str(path))
    monkeypatch.setattr(rundir, "_LOCK_PAUSE", 0)
    return path


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(report, "_line", lines.append)
    return lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A name in an empty directory."""
    (tmp_path / "dir").mkdir()
    return tmp_path / "dir" / "ghost"


def make(pages: int = 100, **keywords: object) -> Header:
    return header.ghost(pages, PAGE, **{"uuid": UUID, "label": b"old", **keywords})  # type: ignore[arg-type]


def written(path: Path, have: Header, mode: int = 0o600) -> Path:
    path.write_bytes(header.pack(have))
    path.chmod(mode)
    return path


def read(path: Path) -> Header:
    have = header.unpack(path.read_bytes())
    assert header.pack(have) == path.read_bytes()
    return have


def active(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *paths: Path) -> None:
    """Has /proc/swaps name these as active areas, and the kernel keep others from changing them."""
    lines = ["Filename Type Size Used Priority", *(f"{path} ghost 396 0 -2" for path in paths)]
    listed = tmp_path / "swaps"
    listed.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(swaps.read, "__defaults__", (str(listed),))
    inodes = {path.stat().st_ino for path in paths}

    def copy(_source: int, fd: int, *_range: int) -> int:
        if os.fstat(fd).st_ino in inodes:
            raise OSError(errno.ETXTBSY, os.strerror(errno.ETXTBSY))
        return 0

    monkeypatch.setattr(os, "copy_file_range", copy)


@pytest.fixture(autouse=True)
def can_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever /tmp is on."""
    monkeypatch.setattr(kernel, "CANNOT_SWAP", frozenset())


@pytest.fixture(autouse=True)
def nothing_is_active(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    active(monkeypatch, tmp_path)


# a new ghost


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o200, 0o400, 0o777])
def test_a_new_ghost(path: Path, locks: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        made = ghostwrite.create(str(path), Request(make()))
    finally:
        os.umask(old)
    assert made == Made(make(), changed=True)
    assert read(path) == make()
    st = path.stat()
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o600, os.geteuid(), os.getegid())
    assert st.st_nlink == 1
    assert os.listdir(path.parent) == ["ghost"]
    assert not locks.exists() or os.listdir(locks) == []


def test_a_dry_run_does_nothing(path: Path, locks: Path) -> None:
    made = ghostwrite.create(str(path), Request(make()), dry_run=True)
    assert made == Made(make(), changed=True)
    assert os.listdir(path.parent) == []
    assert not locks.exists()


def test_a_directory_with_the_setgid_bit(path: Path) -> None:
    require("root")
    os.chown(path.parent, -1, 65534)
    path.parent.chmod(0o2755)
    ghostwrite.create(str(path), Request(make()))
    assert path.stat().st_gid == os.getegid()


def test_an_owner_that_the_filesystem_gives(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user of a process that has another effective one."""
    require("root")
    path.parent.chmod(0o777)
    owners = []
    real = os.fchown

    def chown(fd: int, user: int, group: int) -> None:
        owners.append((user, group))
        real(fd, user, group)

    monkeypatch.setattr(os, "fchown", chown)
    ghostwrite.create(str(path), Request(make()))
    assert owners == []
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    ghostwrite.create(str(path.with_name("second")), Request(make()))
    assert owners == [(65534, os.getegid())]


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_usual_directory_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool) -> None:
    directory = tmp_path / "lib" / "ghost"
    monkeypatch.setattr(lookup, "GHOST_DIRECTORY", str(directory))
    calls = oscalls.record(monkeypatch, "fsync")
    made = ghostwrite.create(str(directory / "swap0"), Request(make()), dry_run=dry_run)
    assert made == Made(make(), changed=True)
    assert directory.exists() != dry_run
    if dry_run:
        return
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    synced = [inode for _, inode in calls]
    assert synced == [
        path.stat().st_ino for path in (tmp_path, directory.parent, directory / "swap0", directory)
    ]
    # and is used when it is there
    directory.chmod(0o755)
    assert ghostwrite.create(str(directory / "swap1"), Request(make())).changed
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_another_directory_is_not_made(tmp_path: Path) -> None:
    with oscalls.raises(errno.ENOENT, tmp_path / "none" / "ghost"):
        ghostwrite.create(str(tmp_path / "none" / "ghost"), Request(make()))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo"])
@pytest.mark.parametrize("force", [False, True])
def test_what_is_never_replaced(path: Path, kind: str, force: bool) -> None:
    if kind in ("link", "dangling"):
        path.symlink_to("target")
        if kind == "link":
            written(path.with_name("target"), make())
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    what = {"directory": "a directory", "fifo": "a FIFO"}.get(kind, "a symbolic link")
    before = os.lstat(path)
    for dry_run in (False, True):
        with pytest.raises(Error, match=f"is {what}: not replaced") as caught:
            ghostwrite.create(str(path), Request(make(), force, if_needed=True), dry_run=dry_run)
        assert caught.value.path == str(path)
    assert os.lstat(path) == before


def test_an_error_of_stat_names_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oscalls.fail(monkeypatch, "stat", errno.EIO, when=lambda name, **_k: name == "ghost")
    with oscalls.raises(errno.EIO, path):
        ghostwrite.create(str(path), Request(make()))


def test_a_filesystem_that_cannot_swap(
    tmpfs: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(kernel, "CANNOT_SWAP", frozenset({"tmpfs"}))
    for dry_run in (True, False):
        warnings.clear()
        assert ghostwrite.create(str(tmpfs / "ghost"), Request(make()), dry_run=dry_run).changed
        assert warnings == [
            f"ghostctl: {tmpfs}/ghost: warning: no kernel swaps to a file on tmpfs".removeprefix(
                "ghostctl: "
            ),
            "hint: put ghosts on ext4, xfs or btrfs",
        ]


def test_what_a_write_would_raise(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("root")
    real = os.fstatvfs

    def read_only(fd: int) -> os.statvfs_result:
        fields = list(real(fd))
        fields[8] |= os.ST_RDONLY
        return os.statvfs_result(fields)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstatvfs", read_only)
        with oscalls.raises(errno.EROFS, path):
            ghostwrite.create(str(path), Request(make()), dry_run=True)
    assert ghostwrite.create(str(path), Request(make()), dry_run=True).changed
    path.parent.chmod(0o755)
    for parent in list(path.parents)[:-1]:
        if parent.stat().st_uid == 0 and parent != path.parent:
            parent.chmod(parent.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        for dry_run in (True, False):
            with oscalls.raises(errno.EACCES, path):
                ghostwrite.create(str(path), Request(make()), dry_run=dry_run)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("blocks", [PAGE // 512 - 1, PAGE // 512])
def test_blocks_that_are_not_allocated(
    path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str], blocks: int
) -> None:
    """Looked at when the data is on disk: before, some filesystems have allocated nothing yet."""
    synced = []
    real_sync, real_stat = os.fsync, os.fstat

    def sync(fd: int) -> None:
        real_sync(fd)
        synced.append(fd)

    def holes(fd: int) -> os.stat_result:
        st = real_stat(fd)
        allocated = blocks if synced else 0
        return os.stat_result(tuple(st)[:10], {"st_blocks": allocated})

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "fstat", holes)
    ghostwrite.create(str(path), Request(make()))
    text = f"{path}: warning: the filesystem has not allocated the whole page: swapon(8) will refuse it"
    assert warnings == ([text] if blocks * 512 < PAGE else [])


# one that exists


def test_an_existing_file_is_refused(path: Path) -> None:
    path.write_bytes(b"text\n")
    for dry_run in (False, True):
        with pytest.raises(Error, match="exists: it is a text file") as caught:
            ghostwrite.create(str(path), Request(make()), dry_run=dry_run)
        assert (caught.value.path, caught.value.hint) == (str(path), f"mv -n {path} {path}.old")
    with pytest.raises(Error, match="exists: it is a text file"):
        ghostwrite.create(str(path), Request(make(), if_needed=True))
    assert path.read_bytes() == b"text\n"
    assert ghostwrite.create(str(path), Request(make(), force=True), dry_run=True) == Made(
        make(), changed=True
    )
    assert path.read_bytes() == b"text\n"
    assert ghostwrite.create(str(path), Request(make(), force=True)) == Made(make(), changed=True)
    assert read(path) == make()


def test_replacing_breaks_no_other_name(path: Path) -> None:
    path.write_bytes(b"precious")
    path.with_name("other").hardlink_to(path)
    ghostwrite.create(str(path), Request(make(), force=True))
    assert path.with_name("other").read_bytes() == b"precious"


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(("force", "if_needed"), [(False, False), (True, False), (False, True)])
def test_an_active_area_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool, if_needed: bool, dry_run: bool
) -> None:
    written(path, make())
    active(monkeypatch, tmp_path, path)
    with pytest.raises(Busy, match="is an active swap area") as caught:
        ghostwrite.create(str(path), Request(make(200), force, if_needed), dry_run=dry_run)
    assert (caught.value.path, caught.value.hint) == (str(path), f"ghostctl off {path}")
    assert read(path) == make()


def test_an_active_ghost_of_the_same_size_is_left_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str], locks: Path
) -> None:
    written(path, make())
    active(monkeypatch, tmp_path, path)
    wanted = Request(make(label=b"new"), if_needed=True)
    assert ghostwrite.create(str(path), wanted) == Made(make(), changed=False)
    text = f"{path}: warning: is active and left alone, though it is not quite the ghost asked for"
    assert warnings == [text]
    assert not locks.exists()
    active(monkeypatch, tmp_path)
    assert ghostwrite.create(str(path), wanted) == Made(make(label=b"new"), changed=True)


def test_an_active_swap_file_is_no_ghost_of_the_same_size(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path, make())
    os.truncate(path, 100 * PAGE)
    active(monkeypatch, tmp_path, path)
    with pytest.raises(Busy, match="is an active swap area"):
        ghostwrite.create(str(path), Request(make(label=b"new"), if_needed=True))


def damaged(have: Header) -> Header:
    return have._replace(tag=have.tag._replace(crc=have.tag.crc ^ 1))


def foreign(have: Header) -> Header:
    have = have._replace(tag=have.tag._replace(version=2))
    return have._replace(tag=have.tag._replace(crc=header.crc(have)))


KEEP: dict[str, bool] = {"keep_uuid": True, "keep_label": True}
IF_NEEDED: list[tuple[str, Header, Header, dict[str, bool], int, bool]] = [
    # what is there, what is asked for, its mode, whether it stays
    ("the same", make(), make(), {}, 0o600, True),
    ("kept", make(), make(uuid=OTHER, label=b"new"), KEEP, 0o600, True),
    ("a UUID", make(), make(uuid=OTHER), {"keep_label": True}, 0o600, False),
    ("a label", make(), make(label=b"new"), {"keep_uuid": True}, 0o600, False),
    ("another UUID, kept label", make(), make(uuid=UUID, label=b"new"), {"keep_label": True}, 0o600, True),
    ("another label, kept UUID", make(), make(uuid=OTHER, label=b"old"), {"keep_uuid": True}, 0o600, True),
    ("size", make(), make(101), KEEP, 0o600, False),
    ("byte order", make(), make(byteorder=OTHER_ORDER), KEEP, 0o600, False),
    ("mode 640", make(), make(), {}, 0o640, False),
    ("mode 400", make(), make(), {}, 0o400, False),
    ("bare is enough", make(bare=True), make(), KEEP, 0o600, True),
    ("bare wanted", make(), make(bare=True), KEEP, 0o600, True),
    ("damaged", damaged(make()), make(), KEEP, 0o600, False),
    ("foreign", foreign(make()), make(), KEEP, 0o600, True),
    ("version", make(bare=True)._replace(version=2), make(), KEEP, 0o600, False),
    ("bad pages", make(bare=True)._replace(nr_badpages=1), make(), KEEP, 0o600, False),
    ("end of the label", make()._replace(volume_name=b"old\0rest".ljust(16, b"\0")), make(), {}, 0o600, True),
]


@pytest.mark.parametrize(
    ("have", "wanted", "keep", "mode", "stays"),
    [line[1:] for line in IF_NEEDED],
    ids=[line[0] for line in IF_NEEDED],
)
def test_if_needed(
    path: Path, locks: Path, have: Header, wanted: Header, keep: dict[str, bool], mode: int, stays: bool
) -> None:
    require("root")
    written(path, have, mode)
    inode = path.stat().st_ino
    request = Request(wanted, if_needed=True, **keep)
    result = wanted._replace(
        uuid=have.uuid if "keep_uuid" in keep else wanted.uuid,
        volume_name=have.volume_name if "keep_label" in keep else wanted.volume_name,
    )
    made = ghostwrite.create(str(path), request, dry_run=True)
    assert made == (Made(have, changed=False) if stays else Made(result, changed=True))
    assert path.read_bytes() == header.pack(have)
    assert ghostwrite.create(str(path), request) == made
    assert (path.stat().st_ino == inode) == stays
    assert read(path) == made.header
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # what is right is found right without a lock
    assert locks.exists() != stays
    assert ghostwrite.create(str(path), request) == Made(made.header, changed=False)


def test_what_is_right_waits_for_no_lock(path: Path) -> None:
    require("root")
    written(path, make())
    with atomic.place(str(path)):
        made = ghostwrite.create(str(path), Request(make(), if_needed=True))
        with pytest.raises(Busy, match="another process"):
            ghostwrite.create(str(path), Request(make(200), if_needed=True))
    assert made == Made(make(), changed=False)


def test_under_the_lock_it_is_looked_at_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process was faster, and has made what is asked for."""
    require("root")
    import fcntl

    real = fcntl.flock

    def lock(fd: int, operation: int) -> None:
        written(path, make())
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", lock)
    assert ghostwrite.create(str(path), Request(make(), if_needed=True)) == Made(make(), changed=False)
    path.write_bytes(b"")
    # or something else
    with pytest.raises(Error, match="exists: it is a ghost"):
        ghostwrite.create(str(path), Request(make()))


def test_a_hole_is_filled(path: Path) -> None:
    """Half of the pages of a file for larger pages are zero."""
    require("holes")
    large = header.ghost(100, 65536)
    page = header.pack(large)
    with path.open("wb") as file:
        file.write(page[:4096])
        file.seek(61440)
        file.write(page[61440:])
    path.chmod(0o600)
    assert path.stat().st_blocks * 512 < 65536
    request = Request(large, if_needed=True)
    assert ghostwrite.create(str(path), request).changed
    assert path.stat().st_blocks * 512 >= 65536
    assert not ghostwrite.create(str(path), request).changed


@pytest.mark.parametrize(
    ("content", "replaced"),
    [
        (b"", True),
        (header.pack(make())[:-10] + bytes(10), True),
        (header.pack(make())[:-10] + bytes(11), False),
        (bytes(1204) + b"GHOSTSWP" + bytes(PAGE - 1212), True),
        (bytes(1205) + b"GHOSTSWP" + bytes(PAGE - 1213), False),
        # a text with the word at that place
        (b"x" + bytes(1203) + b"GHOSTSWP" + bytes(PAGE - 1212), False),
        (bytes(1023) + b"x" + bytes(180) + b"GHOSTSWP" + bytes(PAGE - 1212), False),
        (bytes(1024) + b"x" + bytes(179) + b"GHOSTSWP" + bytes(PAGE - 1212), True),
        (bytes(PAGE), False),
        (header.pack(foreign(make())), False),
        (header.pack(make()) + b"more", False),
    ],
)
def test_what_is_left_of_a_ghost_is_replaced(path: Path, content: bytes, replaced: bool) -> None:
    path.write_bytes(content)
    request = Request(make(200), if_needed=True, keep_uuid=True, keep_label=True)
    if replaced:
        assert ghostwrite.create(str(path), request).changed
        assert read(path) == make(200)
        return
    with pytest.raises(Error, match="exists"):
        ghostwrite.create(str(path), request)
    assert path.read_bytes() == content
    # nothing of it goes over to what takes its place
    wanted = request._replace(header=make(200, uuid=OTHER, label=b""), if_needed=False, force=True)
    assert ghostwrite.create(str(path), wanted).header == wanted.header


# no room for a new file


ROOM: list[tuple[str, Header, Header, int, bool]] = [
    # what is there, what is asked for, errno of write(2), whether it is changed in place
    ("size", make(), make(200), errno.ENOSPC, True),
    ("quota", make(), make(200), errno.EDQUOT, True),
    ("memory", make(), make(200), errno.ENOMEM, True),
    ("label and UUID", make(), make(200, label=b"new", uuid=OTHER), errno.ENOSPC, True),
    ("bare", make(bare=True), make(200, bare=True), errno.ENOSPC, True),
    ("another version", make(bare=True), make(200), errno.ENOSPC, False),
    ("another byte order", make(byteorder=OTHER_ORDER), make(200), errno.ENOSPC, False),
    ("damaged", damaged(make()), make(200), errno.ENOSPC, False),
    ("another tag", foreign(make()), make(200), errno.ENOSPC, False),
    ("bad pages", make(bare=True)._replace(nr_badpages=1), make(200, bare=True), errno.ENOSPC, False),
    ("a broken disk", make(), make(200), errno.EIO, False),
]


@pytest.mark.parametrize(
    ("have", "wanted", "number", "in_place"), [line[1:] for line in ROOM], ids=[line[0] for line in ROOM]
)
def test_without_room(
    path: Path, monkeypatch: pytest.MonkeyPatch, have: Header, wanted: Header, number: int, in_place: bool
) -> None:
    written(path, have)
    inode = path.stat().st_ino
    oscalls.fail(monkeypatch, "write", number, when=lambda _fd, data: len(data) == PAGE)
    request = Request(wanted, force=True, if_needed=True)
    if in_place:
        assert ghostwrite.create(str(path), request) == Made(wanted, changed=True)
        assert read(path) == wanted
    else:
        with oscalls.raises(number, path):
            ghostwrite.create(str(path), request)
        assert read(path) == have
    assert path.stat().st_ino == inode
    assert os.listdir(path.parent) == ["ghost"]


def test_without_room_garbage_stays_and_is_accounted_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checksum covers the whole page, of which one sector is written."""
    have = make()._replace(bootbits=b"x" * 1024)
    have = have._replace(tag=have.tag._replace(crc=header.crc(have)))
    written(path, have)
    oscalls.fail(monkeypatch, "write", errno.ENOSPC, when=lambda _fd, data: len(data) == PAGE)
    made = ghostwrite.create(str(path), Request(make(200), if_needed=True))
    assert made.header == header.declare(have, 200)
    assert read(path) == made.header


@pytest.mark.parametrize("force", [False, True])
def test_without_room_a_forced_one_is_not_changed_in_place(
    path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    """With --force another name of the file must keep what it has."""
    if force:
        written(path, make())
    oscalls.fail(monkeypatch, "write", errno.ENOSPC, when=lambda _fd, data: len(data) == PAGE)
    with oscalls.raises(errno.ENOSPC, path):
        ghostwrite.create(str(path), Request(make(200), force))
    assert (read(path) if force else None) == (make() if force else None)


def test_without_room_in_the_directory_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file had its name already: the old one, which is gone, is not the one to change."""
    written(path, make())
    oscalls.fail(monkeypatch, "fsync", errno.ENOSPC, when=lambda fd: stat.S_ISDIR(os.fstat(fd).st_mode))
    with oscalls.raises(errno.ENOSPC, path):
        ghostwrite.create(str(path), Request(make(200), if_needed=True))
    assert read(path) == make(200)


# in place


def test_rewrite_touches_one_sector(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(path, make())
    calls = oscalls.record(monkeypatch, "pwrite", "fsync")
    with ghostfile.look(str(path), write=True) as file:
        ghostwrite.rewrite(file, make(200, label=b"new"))
    inode = path.stat().st_ino
    assert calls == [("pwrite", inode), ("fsync", inode)]
    assert read(path) == make(200, label=b"new")


@pytest.fixture
def file(path: Path) -> Iterator[ghostfile.File]:
    with ghostfile.look(str(written(path, make())), write=True) as opened:
        yield opened


@pytest.mark.parametrize("limit", [1024, 1025, 1100, 1535])
def test_a_short_write_is_put_back(file: ghostfile.File, path: Path, limit: int) -> None:
    """What the limit leaves room for is written, and the rest is not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with oscalls.raises(errno.EFBIG, path, "File too large", whole=True):
            ghostwrite.rewrite(file, make(200, label=b"new"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read(path) == make()


def test_short_writes_that_go_on(file: ghostfile.File, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:100], offset))
    ghostwrite.rewrite(file, make(200, label=b"new"))
    assert read(path) == make(200, label=b"new")


def test_a_write_of_nothing(file: ghostfile.File, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with oscalls.raises(errno.EIO, path):
        ghostwrite.rewrite(file, make(200))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ETXTBSY])
def test_a_failing_sync_is_put_back(
    file: ghostfile.File, path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    synced: list[Header] = []
    real = os.fsync

    def sync(fd: int) -> None:
        synced.append(read(path))
        if len(synced) == 1:
            raise OSError(number, os.strerror(number))
        real(fd)

    monkeypatch.setattr(os, "fsync", sync)
    with oscalls.raises(number, path):
        ghostwrite.rewrite(file, make(200))
    assert synced == [make(200), make()]
    assert read(path) == make()


def test_what_cannot_be_put_back_is_said(
    file: ghostfile.File, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    oscalls.fail(monkeypatch, "fsync", errno.EIO)
    left = 1

    def once(fd: int, data: bytes, offset: int) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.EROFS, "read-only")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", once)
    text = "Input/output error, and the old header could not be put back"
    with oscalls.raises(errno.EIO, path, text):
        ghostwrite.rewrite(file, make(200))


def test_what_cannot_be_read_may_not_have_been_put_back(
    file: ghostfile.File, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oscalls.fail(monkeypatch, "pwrite", errno.ENOSPC)
    with oscalls.raises(errno.ENOSPC, path):
        ghostwrite.rewrite(file, make(200))
    oscalls.fail(monkeypatch, "pread", errno.EIO)
    with oscalls.raises(errno.ENOSPC, path, "could not be put back"):
        ghostwrite.rewrite(file, make(200))


def test_what_is_done_is_traced(
    file: ghostfile.File, path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(report, "verbosity", 1)
    ghostwrite.rewrite(file, make(200))
    assert warnings == [f"{path}: 512 bytes written at 1024"]


# headers that are to be written


def look(path: Path, have: Header, size: int | None = None) -> ghostfile.File:
    written(path, have)
    if size is not None:
        os.truncate(path, size)
    with ghostfile.look(str(path)) as file:
        return file


CHANGES: list[tuple[Callable[[ghostfile.File], Header], bool]] = [
    # what makes the new header, and whether it writes the tag anew
    (ghostwrite.require_sound_ghost, False),
    (lambda file: ghostwrite.relabelled(file, b"new", None), False),
    (lambda file: ghostwrite.resized(file, 1 << 20), True),
    (ghostwrite.for_page_size, True),
]


@pytest.mark.parametrize(("change", "writes_tag"), CHANGES)
def test_only_a_sound_ghost_is_changed(
    path: Path, change: Callable[[ghostfile.File], Header], writes_tag: bool
) -> None:
    require("root")
    change(look(path, make()))
    change(look(path, make(bare=True)))
    # what the kernel does not mind may stay as it is
    path.chmod(0o644)
    with ghostfile.look(str(path)) as file:
        change(file)
    with pytest.raises(NotAGhost, match="not a swap area"):
        change(look(path, make(), size=0))
    with pytest.raises(NotAGhost, match=f"not a ghost: it is a swap file of {PAGE + 1} bytes"):
        change(look(path, make(), size=PAGE + 1))
    with pytest.raises(Busy, match=re.escape("holds a hibernation image (S1SUSPEND)")):
        change(look(path, make()._replace(magic=b"S1SUSPEND\0")))
    with pytest.raises(NotAGhost, match="not a ghost"):
        change(look(path, make()._replace(magic=b"SWAP-SPACE")))
    for bad in (
        damaged(make()),
        make()._replace(last_page=50),
        make(bare=True)._replace(version=2),
        make(bare=True)._replace(nr_badpages=1),
    ):
        with pytest.raises(Error, match="is damaged: ") as caught:
            change(look(path, bad))
        assert (caught.value.path, caught.value.hint) == (str(path), f"ghostctl verify {path}")
    later = look(path, foreign(make()))
    if not writes_tag:
        assert change(later).tag == foreign(make()).tag
        return
    with pytest.raises(
        Error, match="has a ghost tag of version 2, which this program does not know"
    ) as caught:
        change(later)
    assert caught.value.path == str(path)


def test_resized(path: Path) -> None:
    require("root")
    assert ghostwrite.resized(look(path, make()), 1 << 20) == make((1 << 20) // PAGE)
    large = header.ghost(100, 65536, uuid=UUID)
    assert ghostwrite.resized(look(path, large), 1 << 20) == header.ghost(16, 65536, uuid=UUID)
    with pytest.raises(SizeError):
        ghostwrite.resized(look(path, make()), PAGE)


def test_relabelled(path: Path) -> None:
    require("root")
    file = look(path, make())
    assert ghostwrite.relabelled(file, None, None) == make()
    assert ghostwrite.relabelled(file, b"new", None) == make(label=b"new")
    assert ghostwrite.relabelled(file, b"", None) == make(label=b"")
    assert ghostwrite.relabelled(file, None, OTHER) == make(uuid=OTHER)
    assert ghostwrite.relabelled(file, None, bytes(16)) == make(uuid=bytes(16))


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_for_page_size(path: Path, bare: bool, byteorder: header.ByteOrder) -> None:
    """A label without NUL, which other programs leave, is cut."""
    require("root")
    have = header.ghost(100, PAGE * 2, uuid=UUID, byteorder=byteorder, bare=bare)
    have = have._replace(volume_name=b"x" * 14 + "ü".encode())
    new = ghostwrite.for_page_size(look(path, have))
    assert new == make(200, label=b"x" * 14, bare=bare)


def test_for_page_size_without_enough_pages(path: Path) -> None:
    require("root")
    with pytest.raises(SizeError):
        ghostwrite.for_page_size(look(path, header.ghost(4, PAGE * 2)))


# SELinux


CONTEXT = b"system_u:object_r:var_lib_t:s0:c1,c2\0"
SWAPFILE = b"system_u:object_r:swapfile_t:s0:c1,c2\0"


@pytest.fixture
def selinux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has it enabled, as far as its filesystem says so."""
    require("root")
    (tmp_path / "selinux").mkdir()
    (tmp_path / "selinux" / "enforce").write_text("1")
    monkeypatch.setattr(kernel, "SELINUX", str(tmp_path / "selinux"))


def context(path: Path) -> bytes | None:
    return os.getxattr(path, "security.selinux") if "security.selinux" in os.listxattr(path) else None


@pytest.mark.parametrize(
    ("own", "result"),
    [
        (CONTEXT, SWAPFILE),
        (b"user_u:object_r:tmp_t", b"user_u:object_r:swapfile_t"),
        (b"unlabelled", None),
        (b"one:two", None),
        (None, None),
    ],
)
@pytest.mark.usefixtures("selinux")
def test_a_new_ghost_gets_the_type_of_swap_files(path: Path, own: bytes | None, result: bytes | None) -> None:
    """The user, role and level are those that the file has, or its directory where it has none yet."""
    if own is not None:
        os.setxattr(path.parent, "security.selinux", own)
    ghostwrite.create(str(path), Request(make()))
    assert context(path) == result


@pytest.mark.usefixtures("selinux")
def test_what_the_kernel_gave_to_the_file_comes_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.setxattr(path.parent, "security.selinux", b"directory:object_r:tmp_t:s0")
    real = os.open

    def label(name: str, flags: int, *args: int, **keywords: int) -> int:
        fd = real(name, flags, *args, **keywords)
        if oscalls.has_tmpfile(flags):
            os.setxattr(fd, "security.selinux", CONTEXT)
        return fd

    monkeypatch.setattr(os, "open", label)
    ghostwrite.create(str(path), Request(make()))
    assert context(path) == SWAPFILE


def test_without_selinux_there_is_no_type(path: Path) -> None:
    require("root", "no-selinux")
    os.setxattr(path.parent, "security.selinux", CONTEXT)
    ghostwrite.create(str(path), Request(make()))
    assert context(path) is None


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.usefixtures("selinux")
def test_the_type_of_a_replaced_file_is_kept(path: Path, force: bool) -> None:
    os.setxattr(path.parent, "security.selinux", b"directory:object_r:tmp_t:s0")
    written(path, make())
    os.setxattr(path, "security.selinux", CONTEXT)
    ghostwrite.create(str(path), Request(make(200), force, if_needed=not force))
    assert context(path) == CONTEXT
    assert read(path) == make(200)


@pytest.mark.parametrize(
    ("number", "fails"), [(errno.EOPNOTSUPP, False), (errno.EPERM, True), (errno.EINVAL, True)]
)
@pytest.mark.usefixtures("selinux")
def test_a_type_that_cannot_be_set(
    path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str], number: int, fails: bool
) -> None:
    os.setxattr(path.parent, "security.selinux", CONTEXT)
    oscalls.fail(monkeypatch, "setxattr", number)
    if fails:
        with oscalls.raises(number, path):
            ghostwrite.create(str(path), Request(make()))
        assert not path.exists()
    else:
        ghostwrite.create(str(path), Request(make()))
        assert warnings == [
            f"{path}: warning: attribute security.selinux cannot be set: Operation not supported"
        ]
