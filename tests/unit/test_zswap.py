# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import oscalls
import pytest

from ghostctl import atomic, kernel, zswap
from ghostctl.errors import Error, Unsupported, UsageError

MACHINES = Path(__file__).parent.parent / "data/machines"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    shutil.copytree(MACHINES / "linux-6.18", tmp_path / "root")
    return tmp_path / "root"


def set_file(root: Path, name: str, text: str) -> None:
    (root / zswap.PARAMETERS / name).write_text(text + "\n")


def get_file(root: Path, name: str) -> str:
    return (root / zswap.PARAMETERS / name).read_text().strip()


def fail_writes(monkeypatch: pytest.MonkeyPatch, root: Path, name: str, number: int, after: int = 0) -> None:
    """The parameter can be written so many times, and then no more."""
    written = 0

    def is_refused(path: object, flags: int, *_: object, **__: object) -> bool:
        nonlocal written
        if str(path) != str(root / zswap.PARAMETERS / name) or not flags & os.O_WRONLY:
            return False
        written += 1
        return written > after

    oscalls.fail(monkeypatch, "open", number, when=is_refused)


def fail_reads(monkeypatch: pytest.MonkeyPatch, root: Path, name: str, number: int) -> None:
    path = str(root / zswap.PARAMETERS / name)
    real = open

    def call(file: object, mode: str = "r", **keywords: object) -> object:
        if str(file) == path and "r" in mode:
            raise OSError(number, os.strerror(number))
        return real(file, mode, **keywords)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", call)


def test_no_zswap(tmp_path: Path) -> None:
    (tmp_path / "sys/module").mkdir(parents=True)
    assert zswap.read(str(tmp_path)) is None
    assert zswap.read_parameters(str(tmp_path)) == {}
    assert zswap.read_debug(str(tmp_path)) == {}
    with pytest.raises(Unsupported, match="no zswap"):
        zswap.parse({"enabled": "y"}, str(tmp_path))


def test_parse_normalises(machine: Path) -> None:
    asked = {"enabled": "on", "shrinker": "0", "max_pool_percent": "35%", "compressor": "zstd"}
    assert zswap.parse(asked, str(machine)) == {
        "enabled": "Y",
        "shrinker_enabled": "N",
        "max_pool_percent": "35",
        "compressor": "zstd",
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("enabled", "maybe"),
        ("enabled", ""),
        ("max_pool_percent", "0"),
        ("max_pool_percent", "101"),
        ("max_pool_percent", "-1"),
        ("max_pool_percent", "1.5"),
        ("max_pool_percent", "\u0663"),
        ("accept_threshold_percent", "101"),
        ("compressor", ""),
        ("compressor", "a b"),
        ("compressor", "lz4\nlzo"),
        ("compressor", "z" * 64),
        ("compressor", "l\u00e4"),
    ],
)
def test_parse_refuses(machine: Path, name: str, text: str) -> None:
    with pytest.raises(UsageError, match=name):
        zswap.parse({name: text}, str(machine))


def test_parse_names_what_the_kernel_has(machine: Path) -> None:
    with pytest.raises(Unsupported, match="'zpool'") as caught:
        zswap.parse({"zpool": "zbud"}, str(machine))
    assert "compressor, enabled" in str(caught.value.hint)


def test_apply_puts_back_what_it_set(machine: Path) -> None:
    set_file(machine, "max_pool_percent", "20")
    before = zswap.read_parameters(str(machine))
    # a directory refuses to be written as a file, whoever writes
    (machine / zswap.PARAMETERS / "shrinker_enabled").unlink()
    (machine / zswap.PARAMETERS / "shrinker_enabled").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        zswap.apply({"max_pool_percent": "30", "shrinker_enabled": "Y"}, str(machine))
    assert str(caught.value.filename).endswith("shrinker_enabled")
    del before["shrinker_enabled"]
    assert zswap.read_parameters(str(machine)) == before


def test_without_sys_nothing_is_said_of_zswap(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    for action in (zswap.read, lambda root: zswap.parse({"enabled": "y"}, root)):
        with pytest.raises(Error, match="/sys is not mounted") as caught:
            action(str(tmp_path))
        assert not isinstance(caught.value, Unsupported)
        assert caught.value.path == str(tmp_path / zswap.PARAMETERS)
    assert zswap.read_or_unknown(str(tmp_path)) == zswap.UNKNOWN
    assert set(zswap.UNKNOWN) == {None}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_what_cannot_be_read_is_not_absent(
    machine: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fail_reads(monkeypatch, machine, "enabled", number)
    with oscalls.raises(number, machine / zswap.PARAMETERS / "enabled"):
        zswap.read(str(machine))
    assert zswap.read_or_unknown(str(machine)) == zswap.UNKNOWN
    # it is a parameter all the same
    assert zswap.parse({"enabled": "y"}, str(machine)) == {"enabled": "Y"}


def test_with_a_state_nothing_is_unknown(machine: Path) -> None:
    assert zswap.read_or_unknown(str(machine)) == zswap.read(str(machine)) != zswap.UNKNOWN
    assert zswap.read_or_unknown(str(MACHINES / "linux-6.1-cloud")) is None


def test_apply_of_a_parameter_that_cannot_be_read(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_file(machine, "max_pool_percent", "20")
    before = zswap.read_parameters(str(machine))
    with monkeypatch.context() as patched:
        fail_reads(patched, machine, "compressor", errno.EACCES)
        with oscalls.raises(errno.EACCES, machine / zswap.PARAMETERS / "compressor"):
            zswap.apply({"max_pool_percent": "30", "compressor": "lzo"}, str(machine))
    assert zswap.read_parameters(str(machine)) == before


@pytest.mark.parametrize("was", ["Y", "N"])
def test_apply_puts_back_all_that_it_can(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], was: str
) -> None:
    wanted = {"max_pool_percent": "30", "accept_threshold_percent": "80", "shrinker_enabled": "Y"}
    for name, value in {"enabled": was, "max_pool_percent": "20", "shrinker_enabled": "N"}.items():
        set_file(machine, name, value)
    before = zswap.read_parameters(str(machine))
    with monkeypatch.context() as patched:
        fail_writes(patched, machine, "shrinker_enabled", errno.EIO)
        fail_writes(patched, machine, "max_pool_percent", errno.EPERM, after=1)
        with oscalls.raises(errno.EIO, machine / zswap.PARAMETERS / "shrinker_enabled"):
            zswap.apply({"enabled": "Y", **wanted}, str(machine))
    assert zswap.read_parameters(str(machine)) == {**before, "max_pool_percent": "30"}
    path = machine / zswap.PARAMETERS / "max_pool_percent"
    assert capsys.readouterr().err == (
        f"ghostctl: {path}: cannot be put back to '20': Operation not permitted\n"
        f"ghostctl: hint: echo 20 > {path}\n"
    )


def test_apply_puts_back_when_interrupted(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_file(machine, "max_pool_percent", "20")
    before = zswap.read_parameters(str(machine))
    real = os.write

    def interrupted(fd: int, data: bytes) -> int:
        if data == b"Y":
            os.kill(os.getpid(), signal.SIGINT)
        return real(fd, data)

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        zswap.apply({"max_pool_percent": "30", "shrinker_enabled": "Y"}, str(machine))
    assert zswap.read_parameters(str(machine)) == before


def test_applied_until_the_block_fails(machine: Path) -> None:
    set_file(machine, "max_pool_percent", "20")
    with zswap.applied({"max_pool_percent": "30"}, str(machine)) as old:
        assert old == {"max_pool_percent": "20"}
    assert get_file(machine, "max_pool_percent") == "30"

    def fail() -> None:
        with zswap.applied({"max_pool_percent": "40"}, str(machine)):
            assert get_file(machine, "max_pool_percent") == "40"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert get_file(machine, "max_pool_percent") == "30"


def test_a_signal_finds_kernel_and_file_both_changed(machine: Path) -> None:
    set_file(machine, "max_pool_percent", "20")
    root = str(machine)

    def change() -> None:
        with zswap.applied({"max_pool_percent": "30"}, root):
            os.kill(os.getpid(), signal.SIGINT)
            zswap.persist({"max_pool_percent": "30"}, root)

    with pytest.raises(KeyboardInterrupt):
        change()
    assert get_file(machine, "max_pool_percent") == "30"
    assert zswap.read_persistent(root) == {"max_pool_percent": "30"}


def test_nothing_to_apply_needs_no_zswap(tmp_path: Path) -> None:
    with zswap.applied({}, str(tmp_path)) as old:
        assert old == {}


def test_apply_says_what_was(machine: Path) -> None:
    set_file(machine, "max_pool_percent", "20")
    assert zswap.apply({"max_pool_percent": "30"}, str(machine)) == {"max_pool_percent": "20"}
    assert get_file(machine, "max_pool_percent") == "30"


def test_loaded_compressors(machine: Path) -> None:
    assert zswap.compressors(str(machine)) == ["deflate", "lzo", "lzo-rle"]


def test_withdraw_puts_back_what_persist_has_made(machine: Path) -> None:
    root = str(machine)
    path = Path(zswap.persist({"enabled": "N", "compressor": "lzo"}, root))
    before = path.read_bytes()
    new = {"enabled": "Y", "max_pool_percent": "50"}
    zswap.persist(new, root)
    zswap.withdraw(new, {"enabled": "N", "max_pool_percent": None}, root)
    assert path.read_bytes() == before
    # what was set again by now stays
    zswap.persist(new, root)
    zswap.persist({"enabled": "N", "max_pool_percent": "40"}, root)
    zswap.withdraw(new, {"enabled": "X", "max_pool_percent": None}, root)
    assert zswap.read_persistent(root) == {"enabled": "N", "compressor": "lzo", "max_pool_percent": "40"}
    zswap.forget(root)
    zswap.persist(new, root)
    zswap.withdraw(new, {}, root)
    assert not path.exists()
    zswap.withdraw(new, {}, root)
    assert not path.exists()


def test_persist_and_forget(machine: Path) -> None:
    root = str(machine)
    assert zswap.forget(root) is None
    path = Path(zswap.persist({"enabled": "Y", "compressor": "lzo"}, root))
    assert zswap.persist({"compressor": "zstd", "max_pool_percent": "40"}, root) == str(path)
    assert path.stat().st_mode & 0o7777 == 0o644
    assert path.read_text().splitlines()[1:] == [
        "w /sys/module/zswap/parameters/enabled - - - - Y",
        "w /sys/module/zswap/parameters/compressor - - - - zstd",
        "w /sys/module/zswap/parameters/max_pool_percent - - - - 40",
    ]
    assert zswap.read_persistent(root) == {"enabled": "Y", "compressor": "zstd", "max_pool_percent": "40"}
    assert zswap.forget(root) == str(path)
    assert os.listdir(path.parent) == []


def own_file(machine: Path) -> bytes | None:
    path = machine / zswap.TMPFILES
    return path.read_bytes() if path.exists() else None


def is_directory(fd: int) -> bool:
    return os.path.isdir(f"/proc/self/fd/{fd}")


@pytest.mark.parametrize("before", [{}, {"enabled": "Y", "max_pool_percent": "20"}])
@pytest.mark.parametrize("action", ["persist", "forget"])
def test_the_file_is_as_it_was_when_it_does_not_reach_the_disk(
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: dict[str, str],
    action: str,
) -> None:
    """The last fsync(2), that of the directory, comes when the file has changed already."""
    root, path = str(machine), machine / zswap.TMPFILES
    path.parent.mkdir(parents=True)
    if before:
        zswap.persist(before, root)
        with path.open("ab") as file:
            file.write(b"# \xff\n")
    old = own_file(machine)
    with monkeypatch.context() as patched:
        oscalls.fail(patched, "fsync", errno.EIO, when=is_directory)
        if action == "persist":
            with oscalls.raises(errno.EIO, path):
                zswap.persist({"max_pool_percent": "40"}, root)
        elif before:
            with oscalls.raises(errno.EIO, path):
                zswap.forget(root)
        else:
            assert zswap.forget(root) is None
    assert own_file(machine) == old
    # of which there is nothing to say
    assert capsys.readouterr().err == ""
    assert os.listdir(path.parent) == ([path.name] if before else [])


@pytest.mark.parametrize("before", [{}, {"enabled": "Y"}])
def test_a_file_that_cannot_be_put_back_is_said(
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: dict[str, str],
) -> None:
    root, path = str(machine), machine / zswap.TMPFILES
    path.parent.mkdir(parents=True)
    if before:
        zswap.persist(before, root)
    renamed = 0

    def is_second(*_: object, **__: object) -> bool:
        nonlocal renamed
        renamed += 1
        return renamed > 1

    oscalls.fail(monkeypatch, "fsync", errno.EIO, when=is_directory)
    oscalls.fail(monkeypatch, "rename", errno.EROFS, when=is_second)
    oscalls.fail(monkeypatch, "unlink", errno.EROFS, when=lambda name, **_: name == path.name)
    with oscalls.raises(errno.EIO, path):
        zswap.persist({"max_pool_percent": "40"}, root)
    said = capsys.readouterr().err
    if before:
        assert said == f"ghostctl: {path}: cannot be put back to 'zswap.enabled=Y': Read-only file system\n"
    else:
        assert said == f"ghostctl: {path}: should not be there\nghostctl: hint: rm {path}\n"


def test_what_another_process_wrote_is_not_taken_back(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, path = str(machine), machine / zswap.TMPFILES
    zswap.persist({"enabled": "Y"}, root)
    theirs = path.read_bytes() + b"# theirs\n"

    def is_told(fd: int) -> bool:
        if is_directory(fd):
            path.write_bytes(theirs)
        return is_directory(fd)

    oscalls.fail(monkeypatch, "fsync", errno.EIO, when=is_told)
    with oscalls.raises(errno.EIO, path):
        zswap.persist({"max_pool_percent": "40"}, root)
    assert path.read_bytes() == theirs


def test_directories_and_removal_are_synced(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "etc").mkdir(exist_ok=True)
    directory = (machine / zswap.TMPFILES).parent
    calls = oscalls.record(monkeypatch, "mkdir", "fsync", "link", "rename")
    zswap.persist({"enabled": "Y"}, str(machine))
    assert calls[:2] == [("mkdir", 0), ("fsync", (machine / "etc").stat().st_ino)]
    assert calls[-1] == ("fsync", directory.stat().st_ino)
    calls = oscalls.record(monkeypatch, "unlink", "fsync")
    zswap.forget(str(machine))
    assert calls == [("unlink", 0), ("fsync", directory.stat().st_ino)]


@pytest.mark.parametrize("content", [b"w /sys/module/zswap/parameters/enabled - - - - Y\n", b"\xff", b""])
def test_a_foreign_file_stays(machine: Path, content: bytes) -> None:
    path = machine / zswap.TMPFILES
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(Error, match="not written by ghostctl"):
        zswap.forget(str(machine))
    with pytest.raises(Error, match="not written by ghostctl"):
        zswap.persist({"enabled": "Y"}, str(machine))
    assert path.read_bytes() == content


def test_command_line() -> None:
    words = zswap.command_line({"enabled": "Y", "compressor": "zstd"})
    assert words == "zswap.enabled=Y zswap.compressor=zstd"


def test_state(machine: Path) -> None:
    (machine / "proc/meminfo").write_text(
        "MemTotal:  1000000 kB\nZswap:  50000 kB\nZswapped: 150000 kB\n", encoding="ascii"
    )
    set_file(machine, "max_pool_percent", "20")
    state = zswap.read(str(machine))
    assert state is not None
    assert state.ratio == 3
    # whole pages: 250000 of 4 KiB, a fifth
    assert state.pool_limit == 50000 * 4096
    assert state.fill == 25


def test_linux_6_1() -> None:
    """With allocators to choose from, and flags that later kernels do not have."""
    root = str(MACHINES / "linux-6.1")
    state = zswap.read(root)
    assert state is not None
    assert (state.enabled, state.compressor, state.zpool, state.shrinker_enabled) == (
        True,
        "lzo",
        "zbud",
        None,
    )
    assert (state.stored, state.pool) == (0, 0)
    assert set(zswap.read_parameters(root)) == {
        "accept_threshold_percent",
        "compressor",
        "enabled",
        "max_pool_percent",
        "non_same_filled_pages_enabled",
        "same_filled_pages_enabled",
        "zpool",
    }
    assert zswap.parse({"same_filled_pages_enabled": "off"}, root) == {"same_filled_pages_enabled": "N"}
    assert "duplicate_entry" in zswap.read_debug(root)
    with pytest.raises(Unsupported):
        zswap.parse({"shrinker": "on"}, root)


def test_zswap_is_compiled_out() -> None:
    root = str(MACHINES / "linux-6.1-cloud")
    assert zswap.read(root) is None
    assert "Zswap" not in (MACHINES / "linux-6.1-cloud/proc/meminfo").read_text()


def test_before_meminfo_had_it(machine: Path) -> None:
    """Linux 5.18 and earlier say how full the pool is in debugfs only."""
    path = machine / "proc/meminfo"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "Zswap" not in line))
    for name, value in (("pool_total_size", 8192), ("stored_pages", 6)):
        (machine / zswap.DEBUG / name).write_text(f"{value}\n")
    state = zswap.read(str(machine))
    assert state is not None
    assert (state.stored, state.pool) == (6 * os.sysconf("SC_PAGE_SIZE"), 8192)
    shutil.rmtree(machine / zswap.DEBUG)
    state = zswap.read(str(machine))
    assert state is not None
    assert (state.stored, state.pool, state.ratio) == (None, None, None)


@pytest.mark.parametrize("kind", ["directory", "fifo", "symlink"])
def test_what_is_no_file_is_foreign_too(machine: Path, kind: str) -> None:
    path = machine / zswap.TMPFILES
    path.parent.mkdir(parents=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/etc/passwd")
    for action in (zswap.forget, lambda root: zswap.persist({"enabled": "Y"}, root)):
        with pytest.raises(Error, match="was not written by ghostctl"):
            action(str(machine))
    assert path.is_symlink() or path.exists()


def test_more_than_all_of_memory_is_all_of_it() -> None:
    assert zswap.pool_limit(2**32 - 1, 1 << 30) == 1 << 30


def test_what_kernels_have_when_nobody_told_them_another() -> None:
    """The machines are stored as they booted."""
    for name in ("linux-6.1", "linux-6.12-ghost", "linux-6.18"):
        state = zswap.read(str(MACHINES / name))
        assert state is not None
        assert state.max_pool_percent == zswap.USUAL_POOL_PERCENT


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_pool_percent", "1", "1"),
        ("max_pool_percent", "100", "100"),
        ("max_pool_percent", "007%", "7"),
        ("accept_threshold_percent", "0", "0"),
        ("enabled", "TRUE", "Y"),
        ("enabled", "1", "Y"),
        ("enabled", "No", "N"),
        ("enabled", "off", "N"),
        ("shrinker_enabled", "y", "Y"),
        # as long as the kernel's names can be
        ("compressor", "z" * 63, "z" * 63),
        ("compressor", "lzo-rle", "lzo-rle"),
    ],
)
def test_parse_takes(machine: Path, name: str, text: str, value: str) -> None:
    assert zswap.parse({name: text}, str(machine)) == {name: value}


@pytest.mark.parametrize(
    ("stored", "pool", "limit", "ratio", "fill"),
    [
        (None, None, None, None, None),
        (0, 0, 1000, None, 0),
        # stored pages that no pool is known for, and a pool that is no longer needed
        (4096, 0, 1000, None, 0),
        (0, 4096, 8192, None, 50),
        (3000, 2000, 3000, 1.5, 66),
        (3000, 2000, None, 1.5, None),
        (3000, 2000, 0, 1.5, None),
        (3000, None, 3000, None, None),
        (300000, 200000, 200000, 1.5, 100),
    ],
)
def test_ratio_and_fill(
    stored: int | None, pool: int | None, limit: int | None, ratio: float | None, fill: int | None
) -> None:
    state = zswap.UNKNOWN._replace(stored=stored, pool=pool, pool_limit=limit)
    assert (state.ratio, state.fill) == (ratio, fill)


@pytest.mark.parametrize(("text", "is_on"), [("Y", True), ("N", False)])
def test_flags_are_read_as_the_kernel_prints_them(machine: Path, text: str, is_on: bool) -> None:
    for name in ("enabled", "shrinker_enabled"):
        set_file(machine, name, text)
    state = zswap.read(str(machine))
    assert state is not None
    assert (state.enabled, state.shrinker_enabled) == (is_on, is_on)


def test_a_limit_needs_memory_and_a_percentage(machine: Path) -> None:
    """Not that the rest could not be told without them."""
    (machine / zswap.PARAMETERS / "max_pool_percent").unlink()
    state = zswap.read(str(machine))
    assert state is not None
    assert (state.max_pool_percent, state.pool_limit, state.pool) == (None, None, 0)
    set_file(machine, "max_pool_percent", "20")
    (machine / "proc/meminfo").unlink()
    state = zswap.read(str(machine))
    assert state is not None
    assert (state.max_pool_percent, state.pool_limit, state.enabled) == (20, None, False)


def test_events(tmp_path: Path) -> None:
    """By kernels that have zswap, that are older than a counter, and that have none; and without /proc."""
    assert zswap.read_events(str(MACHINES / "linux-6.18")) == {
        "pswpin": 0,
        "pswpout": 1,
        "zswpin": 0,
        "zswpout": 0,
        "zswpwb": 0,
    }
    assert "zswpwb" not in zswap.read_events(str(MACHINES / "linux-6.1"))
    assert zswap.read_events(str(tmp_path)) == {}


def test_debug_counters_are_numbers(machine: Path) -> None:
    (machine / zswap.DEBUG / "pool_total_size").write_text("8192\n")
    (machine / zswap.DEBUG / "words").write_text("not yet\n")
    found = zswap.read_debug(str(machine))
    assert found["pool_total_size"] == 8192
    assert "words" not in found


CRYPTO = """\
name         : zstd
driver       : zstd-scomp
type         : scomp

name         : sha256
module       : compression
type         : shash

name         : lzo
type         : compression

name         : lz4
type         : acomp

name         : lz4
type         : scomp

name         : cbc(aes)
type         : skcipher
"""


def test_compressors_by_type(tmp_path: Path) -> None:
    assert zswap.compressors(str(tmp_path)) == []
    (tmp_path / "proc").mkdir()
    # an entry without a name is nobody's
    (tmp_path / "proc/crypto").write_text("type         : scomp\n\n" + CRYPTO)
    assert zswap.compressors(str(tmp_path)) == ["lz4", "lzo", "zstd"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written into parameters, as ``NAME=VALUE``, in order."""
    words: list[str] = []
    real = kernel.write_attribute

    def write(path: str, value: str) -> None:
        words.append(f"{os.path.basename(path)}={value}")
        real(path, value)

    monkeypatch.setattr(kernel, "write_attribute", write)
    return words


@pytest.mark.parametrize(
    ("was", "values", "order"),
    [
        ("Y", {"compressor": "lz4"}, ["compressor=lz4"]),
        # only a zswap that runs says whether it has a compressor
        ("N", {"compressor": "lz4"}, ["enabled=Y", "compressor=lz4", "enabled=N"]),
        ("N", {"zpool": "zsmalloc"}, ["enabled=Y", "zpool=zsmalloc", "enabled=N"]),
        ("N", {"compressor": "lz4", "enabled": "Y"}, ["enabled=Y", "compressor=lz4"]),
        ("N", {"enabled": "N", "compressor": "lz4"}, ["enabled=Y", "compressor=lz4", "enabled=N"]),
        ("N", {"max_pool_percent": "30"}, ["max_pool_percent=30"]),
        ("N", {"max_pool_percent": "30", "enabled": "Y"}, ["enabled=Y", "max_pool_percent=30"]),
        ("Y", {"enabled": "N", "max_pool_percent": "30"}, ["max_pool_percent=30", "enabled=N"]),
    ],
)
def test_the_order_of_apply(
    tmp_path: Path, written: list[str], was: str, values: dict[str, str], order: list[str]
) -> None:
    machine = tmp_path / "root"
    shutil.copytree(MACHINES / "linux-6.12-ghost", machine)
    set_file(machine, "enabled", was)
    before = {name: get_file(machine, name) for name in values}
    assert zswap.apply(values, str(machine)) == before
    assert written == order
    after = {"enabled": was, **values}
    assert {name: get_file(machine, name) for name in after} == after


@pytest.mark.parametrize(
    ("name", "hint"), [("compressor", "loaded are: deflate, lzo, lzo-rle"), ("zpool", None)]
)
def test_a_name_that_the_kernel_does_not_know(
    machine: Path, written: list[str], monkeypatch: pytest.MonkeyPatch, name: str, hint: str | None
) -> None:
    set_file(machine, "zpool", "zbud")
    set_file(machine, "max_pool_percent", "20")
    set_file(machine, "enabled", "N")
    before = zswap.read_parameters(str(machine))
    with monkeypatch.context() as patched:
        fail_writes(patched, machine, name, errno.ENOENT)
        with pytest.raises(Unsupported, match=f"this kernel has no {name} 'zzz'") as caught:
            zswap.apply({"max_pool_percent": "30", name: "zzz"}, str(machine))
    assert caught.value.hint == hint
    assert zswap.read_parameters(str(machine)) == before
    # it is off again at the end: what was tried was so by a zswap that runs
    assert written == [
        "enabled=Y",
        "max_pool_percent=30",
        f"{name}=zzz",
        "max_pool_percent=20",
        "enabled=N",
    ]


@pytest.mark.parametrize(
    ("name", "number"), [("max_pool_percent", errno.ENOENT), ("compressor", errno.EINVAL)]
)
def test_other_refusals_are_those_of_the_kernel(
    machine: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    set_file(machine, "enabled", "Y")
    fail_writes(monkeypatch, machine, name, number)
    with oscalls.raises(number, machine / zswap.PARAMETERS / name):
        zswap.apply({name: "1"}, str(machine))


def test_a_kernel_that_takes_another_value(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = kernel.write_attribute
    set_file(machine, "max_pool_percent", "20")
    monkeypatch.setattr(
        kernel, "write_attribute", lambda path, value: real(path, "25" if value == "30" else value)
    )
    with pytest.raises(Error, match="the kernel took '25' for '30'") as caught:
        zswap.apply({"max_pool_percent": "30"}, str(machine))
    assert caught.value.path == str(machine / zswap.PARAMETERS / "max_pool_percent")
    assert get_file(machine, "max_pool_percent") == "20"


def test_what_somebody_wrote_into_the_file_by_hand(machine: Path) -> None:
    root = str(machine)
    path = Path(zswap.persist({"enabled": "Y"}, root))
    with path.open("a") as file:
        file.write(
            "# w /sys/module/zswap/parameters/compressor - - - - lz4\n"
            "w+ /sys/module/zswap/parameters/zpool - - - - zbud\n"
            "w /sys/module/zswap/parameters/compressor - - - - two words\n"
            "w /sys/module/zswap/parameters/compressor - - - -\n"
            "w /sys/module/zswap/parameters/max_pool_percent  -  -  -  -  40\n"
        )
    files = oscalls.open_descriptors()
    assert zswap.read_persistent(root) == {"enabled": "Y", "max_pool_percent": "40"}
    assert oscalls.open_descriptors() == files


def test_a_file_that_cannot_be_opened_is_not_foreign(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zswap.persist({"enabled": "Y"}, str(machine))
    oscalls.fail(monkeypatch, "open", errno.EACCES, when=lambda name, *_a, **_k: name == path)
    with pytest.raises(PermissionError):
        zswap.read_persistent(str(machine))


def test_a_foreign_file_that_comes_meanwhile_stays(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine / zswap.TMPFILES
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(atomic, "make_directories", lambda _: path.write_text("theirs\n"))
    with pytest.raises(Error, match="not written by ghostctl"):
        zswap.persist({"enabled": "Y"}, str(machine))
    assert path.read_text() == "theirs\n"
