# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ghostctl import capacity, zswap
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


def test_no_zswap(tmp_path: Path) -> None:
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


def test_apply_says_what_was(machine: Path) -> None:
    set_file(machine, "max_pool_percent", "20")
    assert zswap.apply({"max_pool_percent": "30"}, str(machine)) == {"max_pool_percent": "20"}
    assert get_file(machine, "max_pool_percent") == "30"


def test_loaded_compressors(machine: Path) -> None:
    assert zswap.compressors(str(machine)) == ["deflate", "lzo", "lzo-rle"]


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
    # zbud keeps two pages in one at most
    assert capacity.ratio(state) == (2, False)


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
