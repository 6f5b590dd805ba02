# SPDX-License-Identifier: GPL-2.0-or-later
"""Cgroups with a memory limit, in trees like those below /sys/fs/cgroup."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ghostctl import cgroups
from ghostctl.cgroups import Cgroup

MIB = 1 << 20


def make(directory: Path, **files: object) -> Path:
    """A cgroup with these files, of which ``memory_max`` is called memory.max."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name.replace("_", ".", 3)).write_text(f"{content}\n")
    return directory


def make_v2(directory: Path, limit: object, current: int, swap: object, *stat: str, **files: object) -> Path:
    return make(
        directory,
        memory_max=limit,
        memory_current=current,
        memory_swap_current=swap,
        memory_stat="\n".join(stat),
        **files,
    )


def make_v1(directory: Path, limit: int, current: int, *stat: str) -> Path:
    make(directory, memory_stat="\n".join(stat))
    (directory / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (directory / "memory.usage_in_bytes").write_text(f"{current}\n")
    return directory


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """The root of a hierarchy of version 2, which has no memory.max."""
    return make(tmp_path / "sys/fs/cgroup", cgroup_controllers="cpu memory")


def names(root: Path) -> list[str]:
    return [group.name for group in cgroups.iter_limited(str(root))]


def test_all_that_is_read(tmp_path: Path, mount: Path) -> None:
    stat = (
        "anon 1",
        "file 900",
        "swapcached 4096",
        "zswap 7",
        "zswapped 300000",
        "inactive_file 1000",
        "active_file 20",
    )
    files = {"memory_zswap_current": 100000}
    path = make_v2(mount / "system.slice/foo.service", 8 * MIB, 5 * MIB, 400000, *stat, **files)
    make_v2(path.parent, "max", 6 * MIB, 400000)
    assert list(cgroups.iter_limited(str(tmp_path))) == [
        Cgroup(
            "system.slice/foo.service",
            f"{path}/memory.max",
            8 * MIB,
            5 * MIB,
            400000 - 4096,
            100000,
            300000,
            1020,
        )
    ]


def test_version_1(tmp_path: Path) -> None:
    """A hierarchy for each controller; that of version 2 beside them has no memory controller."""
    mount = tmp_path / "sys/fs/cgroup"
    make(mount / "cpu/box", tasks="")
    make(mount / "unified", cgroup_controllers="")
    make(mount / "unified/box", cgroup_controllers="")
    none = 2**63 - 4096
    top = make_v1(mount / "memory", none, 90 * MIB, "total_swap 5000000")
    stat = (
        "swap 1",
        "inactive_file 3",
        "total_swap 4000000",
        "total_inactive_file 1000",
        "total_active_file 20",
    )
    box = make_v1(top / "box", 12 * MIB, 11 * MIB, *stat)
    make_v1(top / "box/free", none, MIB, "total_swap 4000000")
    assert list(cgroups.iter_limited(str(tmp_path))) == [
        Cgroup("box", f"{box}/memory.limit_in_bytes", 12 * MIB, 11 * MIB, 4000000, file=1020)
    ]


def test_version_2_beside_version_1(tmp_path: Path) -> None:
    mount = tmp_path / "sys/fs/cgroup"
    make(mount / "cpu", tasks="")
    make(mount / "unified", cgroup_controllers="memory")
    make_v2(mount / "unified/box", MIB, MIB, MIB)
    assert names(tmp_path) == ["box"]


def test_parents_come_first_and_nothing_is_looked_for_below_no_swap(tmp_path: Path, mount: Path) -> None:
    for name, limit, swap in (
        ("a", MIB, 8192),
        ("a/b", MIB, 4096),
        ("a/b/c", "max", 4096),
        ("a/b/c/d", MIB, 4096),
        ("a/e", MIB, 4096),
        ("f", MIB, 0),
        # which cannot be
        ("f/g", MIB, 4096),
    ):
        make_v2(mount / name, limit, MIB, swap)
    make(mount / "h/i")
    make_v2(mount / "h/i/j", MIB, MIB, 4096)
    assert names(tmp_path) == ["a", "a/b", "a/b/c/d", "a/e"]


def test_inside_a_container_the_root_is_a_cgroup(tmp_path: Path, mount: Path) -> None:
    make_v2(mount, MIB, MIB, MIB)
    assert names(tmp_path) == ["."]


@pytest.mark.parametrize("text", ["", "max", "-1", "1 2", "x", "9" * 30, "\xff", "4096 kB"])
def test_what_is_no_number(tmp_path: Path, mount: Path, text: str) -> None:
    """Garbage is no limit, and no reason to fail."""
    path = make_v2(mount / "box", MIB, MIB, MIB, f"inactive_file {text}", text, f"{text} 7")
    (found,) = cgroups.iter_limited(str(tmp_path))
    assert found.file == 0
    for name in ("memory.max", "memory.current", "memory.swap.current"):
        kept = (path / name).read_text()
        (path / name).write_text(text)
        assert names(tmp_path) == []
        (path / name).write_text(kept)
    assert names(tmp_path) == ["box"]


def test_cgroups_that_go_meanwhile(tmp_path: Path, mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        make_v2(mount / name, MIB, MIB, MIB)
    for path in ("memory.max", "memory.current", "memory.stat", "memory.swap.current"):
        (mount / "a" / path).unlink()
        assert names(tmp_path) == (["a", "b", "c"] if path == "memory.stat" else ["b", "c"])
        make_v2(mount / "a", MIB, MIB, MIB)
    (mount / "b/memory.max").unlink()
    (mount / "b/memory.max").mkdir()
    assert names(tmp_path) == ["a", "c"]
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scan(f"{path}/gone" if path == f"{mount}/a" else path))
    assert names(tmp_path) == ["a", "c"]


@pytest.mark.usefixtures("mount")
def test_none_at_all(tmp_path: Path) -> None:
    assert names(tmp_path) == []
    assert names(tmp_path / "nothing") == []


def test_a_hierarchy_deeper_than_the_stack(tmp_path: Path, mount: Path) -> None:
    """Whoever has a cgroup of his own may make them below it."""
    path = mount
    try:
        for _ in range(1100):
            path /= "d"
            make_v2(path, MIB, MIB, 1)
        assert len(names(tmp_path)) == 1100
    finally:
        # which pytest could not remove
        subprocess.run(["rm", "-r", mount / "d"], check=True)


@pytest.mark.parametrize(
    ("group", "used", "elsewhere", "room", "missing"),
    [
        # its processes were killed: 269 MiB of it in an area, 160 MiB of memory, which was full
        (Cgroup("", "", 160 * MIB, 160 * MIB, 269 * MIB, 80 * MIB, 269 * MIB), 269 * MIB, 0, 0, 189 * MIB),
        (Cgroup("", "", 160 * MIB, 160 * MIB, 269 * MIB), 269 * MIB, 0, 0, 269 * MIB),
        # what its pages take in zswap is charged to it, and comes free
        (Cgroup("", "", 80 * MIB, 75 * MIB, 20 * MIB, 15 * MIB, 20 * MIB), 20 * MIB, 0, 0, 0),
        (Cgroup("", "", 80 * MIB, 75 * MIB, 20 * MIB, 14 * MIB, 20 * MIB), 20 * MIB, 0, 0, MIB),
        # but only half of that for sure, when half of its pages may be those of another area
        (Cgroup("", "", 80 * MIB, 75 * MIB, 20 * MIB, 14 * MIB, 20 * MIB), 20 * MIB, 10 * MIB, 0, 8 * MIB),
        (Cgroup("", "", 80 * MIB, 75 * MIB, 20 * MIB, 14 * MIB, 20 * MIB), 20 * MIB, 90 * MIB, 0, 15 * MIB),
        # no more than is in the area
        (Cgroup("", "", 100 * MIB, 70 * MIB, 269 * MIB), 30 * MIB, 0, 0, 0),
        (Cgroup("", "", 100 * MIB, 70 * MIB, 269 * MIB), 31 * MIB, 0, 0, MIB),
        # its page cache makes room
        (Cgroup("", "", 100 * MIB, 100 * MIB, 30 * MIB, file=30 * MIB), 90 * MIB, 0, 0, 0),
        (Cgroup("", "", 100 * MIB, 100 * MIB, 30 * MIB, file=20 * MIB), 90 * MIB, 0, 0, 10 * MIB),
        # other areas take the rest
        (Cgroup("", "", 100 * MIB, 100 * MIB, 30 * MIB), 90 * MIB, 0, 30 * MIB, 0),
        (Cgroup("", "", 100 * MIB, 100 * MIB, 30 * MIB), 90 * MIB, 0, 10 * MIB, 20 * MIB),
        # a limit that has just been set
        (Cgroup("", "", 60 * MIB, 100 * MIB, 10 * MIB), 90 * MIB, 0, 0, 50 * MIB),
        (Cgroup("", "", 60 * MIB, 10 * MIB, 0), 90 * MIB, 0, 0, 0),
    ],
)
def test_what_is_missing(group: Cgroup, used: int, elsewhere: int, room: int, missing: int) -> None:
    assert group.missing(used, elsewhere, room) == missing
    # with so much more memory nothing is
    command, number, _, path = group._replace(limit_path="/a b/memory.max").raised_by(missing).split(" ", 3)
    assert (command, path) == ("echo", "'/a b/memory.max'")
    assert int(number) % MIB == 0
    assert group._replace(limit=int(number)).missing(used, elsewhere, room) == 0
