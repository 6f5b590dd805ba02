# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has pages in swap areas, in trees like those below /proc and /sys/fs/cgroup."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ghostctl import cgroups, usage
from ghostctl.cgroups import Swapped
from ghostctl.cli import usage as command
from ghostctl.errors import Error, NoAreaList, Unsupported
from ghostctl.usage import Process, Total

STATUS = b"""\
Name:\tsome\\nname
Umask:\t0022
State:\tS (sleeping)
Tgid:\t%(pid)d
Ngid:\t0
Pid:\t%(pid)d
PPid:\t1
TracerPid:\t0
Uid:\t1000\t1001\t1002\t1003
Gid:\t0\t0\t0\t0
FDSize:\t256
Groups:\t%(groups)s
NStgid:\t%(pid)d
Kthread:\t0
VmPeak:\t    3060 kB
VmSize:\t    3060 kB
VmLck:\t       0 kB
VmHWM:\t    1776 kB
VmRSS:\t    1776 kB
RssAnon:\t     116 kB
VmPTE:\t      48 kB
VmSwap:\t%(swap)8d kB
HugetlbPages:\t       0 kB
CoreDumping:\t0
Threads:\t1
SigQ:\t0/96365
"""
"""As 6.18 writes it, some lines left out."""

KERNEL_THREAD = b"""\
Name:\tkthreadd
State:\tS (sleeping)
Tgid:\t2
Pid:\t2
Uid:\t0\t0\t0\t0
Groups:\t
Kthread:\t1
Threads:\t1
SigQ:\t0/96365
"""


def status(pid: int, swap: int, groups: str = "4 24 27") -> bytes:
    return STATUS % {b"pid": pid, b"swap": swap, b"groups": groups.encode()}


def make(directory: Path, **files: bytes | str) -> Path:
    """A process with these files."""
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(os.fsencode(content))
    return directory


def swaps(root: Path, *used_kib: int) -> None:
    lines = [f"/swap{number} file 102400 {used} -2" for number, used in enumerate(used_kib)]
    proc = root / "proc"
    proc.mkdir(exist_ok=True)
    (proc / "swaps").write_text("\n".join(["Filename Type Size Used Priority", *lines, ""]))


def test_processes(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    for pid, swap in ((1, 0), (30, 12), (4, 12), (500, 700)):
        make(proc / str(pid), status=status(pid, swap))
    make(proc / "2", status=KERNEL_THREAD)
    # one that has just ended, and what is no process
    make(proc / "77")
    make(proc / "sys", status="x")
    found = usage.read_processes(str(tmp_path))
    assert [(process.pid, process.swap) for process in found.found] == [
        (500, 700 << 10),
        (4, 12 << 10),
        (30, 12 << 10),
    ]
    assert found.found[0] == Process(500, 1001, 700 << 10, 1776 << 10, "some\\nname")
    assert (found.swap, found.unreadable, found.hidden, found.warning) == (724 << 10, 0, False, None)


def test_a_process_in_many_groups(tmp_path: Path) -> None:
    """Its list comes before what is looked for."""
    groups = " ".join(map(str, range(100000, 165536)))
    make(tmp_path / "proc/1", status=status(1, 8, groups))
    assert usage.read_processes(str(tmp_path)).swap == 8 << 10


@pytest.mark.parametrize("end", range(0, len(status(3, 8)), 7))
def test_a_file_that_is_cut_off_is_no_process_without_pages(tmp_path: Path, end: int) -> None:
    whole = status(3, 8)
    make(tmp_path / "proc/3", status=whole[:end])
    make(tmp_path / "proc/1", status=KERNEL_THREAD)
    found = usage.read_processes(str(tmp_path))
    has_number = end >= whole.index(b"VmSwap") + len("VmSwap:\t       8 kB\n")
    assert (len(found.found), found.unreadable) == ((1, 0) if has_number else (0, 1))
    assert (found.warning is None) == has_number


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"       8 kB", b"       x kB"),
        (b"Uid:\t1000\t1001\t1002\t1003\n", b"Uid:\t1000\n"),
        (b"VmRSS:", b"VmXSS:"),
        (b"Pid:\t3\nPPid", b"Pid:\t\nPPid"),
    ],
)
def test_garbage_is_no_process_without_pages(tmp_path: Path, old: bytes, new: bytes) -> None:
    text = status(3, 8)
    assert old in text
    make(tmp_path / "proc/3", status=text.replace(old, new))
    assert usage.read_processes(str(tmp_path)).unreadable == 1


def test_a_process_that_may_not_be_read(tmp_path: Path) -> None:
    """With hidepid=1 open(2) says EPERM; here it is a loop of links, which root cannot read either."""
    make(tmp_path / "proc/1", status=status(1, 8))
    for pid in (2, 3):
        (make(tmp_path / f"proc/{pid}") / "status").symlink_to("status")
    found = usage.read_processes(str(tmp_path))
    assert (found.swap, found.unreadable) == (8 << 10, 2)
    assert found.warning == "2 processes cannot be read"
    assert found._replace(unreadable=1).warning == "1 process cannot be read"


def test_hidepid(tmp_path: Path) -> None:
    make(tmp_path / "proc/4711", status=status(4711, 8))
    found = usage.read_processes(str(tmp_path))
    assert found.warning == f"only processes of UID {os.geteuid()} can be seen: /proc is mounted with hidepid"


def test_no_proc(tmp_path: Path) -> None:
    with pytest.raises(NoAreaList, match=r"^/proc/swaps: /proc is not mounted$"):
        usage.read_processes(str(tmp_path))
    with pytest.raises(NoAreaList):
        usage.read_total(0, str(tmp_path))


PROCESS = Process(7, 0, 4096, 0, "kworker/u8:2")


@pytest.mark.parametrize(
    ("cmdline", "command"),
    [
        (b"/bin/a\0-b\0c d\0", "/bin/a -b c d"),
        (b"", "[kworker/u8:2]"),
        (b"\0\0", "[kworker/u8:2]"),
        # which has written its own title
        (b"sshd: root@pts/0\0\0\0", "sshd: root@pts/0"),
        (b"\x1b]0;x\x07\0\xff", "\x1b]0;x\x07 \udcff"),
    ],
)
def test_command(tmp_path: Path, cmdline: bytes, command: str) -> None:
    make(tmp_path / "proc/7", cmdline=cmdline)
    assert usage.read_command(PROCESS, str(tmp_path)) == command


def test_command_of_a_process_that_has_ended(tmp_path: Path) -> None:
    assert usage.read_command(PROCESS, str(tmp_path)) == "[kworker/u8:2]"
    assert usage.read_unit(PROCESS, str(tmp_path)) is None


def test_user() -> None:
    assert usage.read_user(PROCESS) == "root"
    assert usage.read_user(PROCESS._replace(uid=4000000001)) == "4000000001"


ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/", None),
        ("", None),
        ("/system.slice", None),
        ("/system.slice/foo.service", "foo.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        (
            "/system.slice/systemd-fsck@dev-disk-by\\x2duuid-1.service",
            "systemd-fsck@dev-disk-by\\x2duuid-1.service",
        ),
        ("/system.slice/var-lib-ghost-swap0.swap", "var-lib-ghost-swap0.swap"),
        ("/system.slice/tmp.mount", "tmp.mount"),
        ("/init.scope", "init.scope"),
        # delegated: what the service makes below it is its own
        ("/system.slice/foo.service/worker/3", "foo.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-a\\x2db.scope", "app-a\\x2db.scope"),
        (f"/system.slice/docker-{ID}.scope", "docker:0123456789ab"),
        (f"/docker/{ID}", "docker:0123456789ab"),
        (f"/docker/{ID}/system.slice/nginx.service", "docker:0123456789ab/nginx.service"),
        (f"/system.slice/docker-{ID}.scope/init.scope", "docker:0123456789ab/init.scope"),
        (f"/machine.slice/libpod-{ID}.scope/container", "libpod:0123456789ab"),
        (f"/machine.slice/libpod-conmon-{ID}.scope", "libpod-conmon:0123456789ab"),
        (
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
            "libpod:0123456789ab",
        ),
        (f"/kubepods/besteffort/pod0f0e0d0c-0b0a-4908-8706-050403020100/{ID}", "kubepods:0123456789ab"),
        (
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope",
            "cri-containerd:0123456789ab",
        ),
        (f"/{ID}", "container:0123456789ab"),
        ("/lxc/web", "lxc:web"),
        ("/lxc.payload.web/system.slice/cron.service", "lxc:web/cron.service"),
        ("/lxc.monitor.web", "lxc:web"),
        ("/lxc.payload/web/init.scope", "lxc:web/init.scope"),
        (
            "/machine.slice/systemd-nspawn@web.service/payload/system.slice/cron.service",
            "systemd-nspawn@web.service/cron.service",
        ),
        ("/machine.slice/systemd-nspawn@web.service/supervisor", "systemd-nspawn@web.service"),
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator",
            "machine-qemu\\x2d1\\x2dvm.scope",
        ),
        # digits, but not an id
        ("/process_api/5f0417afed9f56f72662a865a104f7b9", None),
        ("/foo.serviced", None),
        ("/.service", None),
    ],
)
def test_unit(path: str, unit: str | None) -> None:
    assert usage.unit(path) == unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/foo.service\n", "foo.service"),
        ("9:name=systemd:/system.slice/foo.service\n8:memory:/docker/x\n0::/\n", "foo.service"),
        # where systemd runs in no mode of its own, the controllers know it
        (f"9:name=systemd:/\n4:memory:/docker/{ID}\n3:cpu,cpuacct:/\n0::/\n", "docker:0123456789ab"),
        (f"4:memory:/docker/{ID}\n0::/system.slice/foo.service\n", "foo.service"),
        ("0::/a:b.service\n", "a:b.service"),
        ("0::/a\udcff.service\n", "a\udcff.service"),
        ("", None),
        ("garbage\n0:\n::\n", None),
    ],
)
def test_unit_of_a_process(tmp_path: Path, text: str, unit: str | None) -> None:
    make(tmp_path / "proc/7", cgroup=text)
    assert usage.read_unit(PROCESS, str(tmp_path)) == unit


HEADING = (
    "       key      shmid perms       size  cpid  lpid nattch   uid   gid    rss                  swap\n"
)
SEGMENT = (
    "         0          %d   600       8192    11    11      1     0     0   4096                  %d\n"
)
SHM = HEADING + SEGMENT % (0, 8192) + SEGMENT % (1, 4096)
"""Some columns left out."""


def test_total(tmp_path: Path) -> None:
    swaps(tmp_path, 100, 28)
    total = usage.read_total(40 << 10, str(tmp_path))
    assert total == Total(2, 128 << 10, 40 << 10, None, None)
    assert (total.other, total.excess) == (88 << 10, 0)
    (tmp_path / "proc/meminfo").write_text("SwapTotal:  9 kB\nSwapCached:  12 kB\n")
    make(tmp_path / "proc/sysvipc", shm=SHM)
    assert usage.read_total(0, str(tmp_path))[3:] == (12 << 10, 12288)
    total = usage.read_total(129 << 10, str(tmp_path))
    assert (total.other, total.excess) == (0, 1 << 10)


@pytest.mark.parametrize("text", ["", "key size\n1 2\n", "\n\n"])
def test_segments_that_the_kernel_does_not_count(tmp_path: Path, text: str) -> None:
    swaps(tmp_path)
    make(tmp_path / "proc/sysvipc", shm=text)
    assert usage.read_total(0, str(tmp_path)) == Total(0, 0, 0, None, None)


ALL = usage.Processes([], 0, False)


def test_what_is_said_of_the_rest() -> None:
    def said(total: Total, processes: usage.Processes = ALL) -> str:
        return "\n".join(usage.explain_processes(processes, total))

    assert said(Total(1, 4096, 4096, 8192, 0)) == ""
    assert said(Total(0, 0, 0, 0, 0)) == "no active swap area"
    text = said(Total(1, 8192, 4096, 4096, 8192))
    assert "shared memory and tmpfs (System V: 8K)\n" in text
    assert "(up to 4K)\n" in text
    assert "cannot be seen" not in text
    assert "swap cache: in memory again\n" in said(Total(1, 8192, 4096, None, None))
    assert "swap cache" not in said(Total(1, 8192, 4096, 0, None))
    assert "cannot be seen" in said(Total(1, 8192, 4096, 0, 0), usage.Processes([], 3, False))
    assert "have 4K more" in said(Total(1, 4096, 8192, 0, 0))


def test_what_is_said_of_the_rest_of_cgroups() -> None:
    def said(total: Total) -> str:
        return "\n".join(usage.explain_cgroups(total))

    assert said(Total(1, 4096, 4096, 8192, 0)) == ""
    assert said(Total(0, 0, 0, 0, 0)) == "no active swap area"
    assert "in the root cgroup" in said(Total(1, 8192, 4096, 0, 0))
    assert "have 4K more" in said(Total(1, 4096, 8192, 0, 0))


# cgroups


def make_cgroup(directory: Path, swap: object, **files: object) -> Path:
    """A cgroup of version 2 with these files, of which ``zswap_max`` is called memory.zswap.max."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {"swap_current": swap, **files}.items():
        (directory / f"memory.{name.replace('_', '.')}").write_text(f"{content}\n")
    return directory


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """The root of a hierarchy of version 2, which has no numbers."""
    path = tmp_path / "sys/fs/cgroup"
    path.mkdir(parents=True)
    (path / "cgroup.controllers").write_text("cpu memory\n")
    return path


def test_cgroups_are_a_tree_with_the_largest_first(tmp_path: Path, mount: Path) -> None:
    for name, swap in (
        ("a", 10),
        ("a/z", 4),
        ("a/y", 6),
        ("a/y/x", 1),
        ("b", 30),
        ("c", 0),
        # which cannot be
        ("c/d", 7),
        ("e", 10),
    ):
        make_cgroup(mount / name, swap)
    # without the controller
    make_cgroup(mount / "f/g", 7)
    tree = cgroups.swapped(str(tmp_path))
    assert [(group.name, group.depth, group.swap) for group in tree.groups] == [
        ("b", 0, 30),
        ("a", 0, 10),
        ("a/y", 1, 6),
        ("a/y/x", 2, 1),
        ("a/z", 1, 4),
        ("e", 0, 10),
    ]
    assert (tree.swap, tree.unreadable, tree.warning) == (50, 0, None)
    assert [group.indented for group in tree.groups[2:4]] == ["  y", "    x"]
    for limit, names in (
        (0, []),
        (1, ["b"]),
        (2, ["b", "a"]),
        (3, ["b", "a", "e"]),
        (4, ["b", "a", "a/y", "e"]),
        (9, [group.name for group in tree.groups]),
        (None, [group.name for group in tree.groups]),
    ):
        assert [group.name for group in tree.largest(limit)] == names


def test_what_version_2_has(tmp_path: Path, mount: Path) -> None:
    stat = "anon 1\nswapcached 4096\nzswap 7\nzswapped 300000"
    files = {"stat": stat, "zswap_current": 100000, "zswap_max": 0, "zswap_writeback": 0}
    make_cgroup(mount / "a", 400000, swap_max="max", **files)
    make_cgroup(mount / "a/b", 400000, swap_max=500000, zswap_max="max", zswap_writeback=1)
    make_cgroup(mount / "c", 4096, swap_max="", zswap_max="x")
    make_cgroup(mount / "d", 1, zswap_writeback=1)
    assert cgroups.swapped(str(tmp_path)).groups == [
        Swapped("a", 0, 400000, 300000, 100000, "max", 0, False),
        # not where the one above it may not
        Swapped("a/b", 1, 400000, None, None, 500000, "max", False),
        Swapped("c", 0, 4096),
        Swapped("d", 0, 1, writeback=True),
    ]


def test_version_1_counts_the_swap_cache_apart(tmp_path: Path) -> None:
    mount = tmp_path / "sys/fs/cgroup"
    for name, stat in (
        ("memory", "swap 1\ntotal_swap 500\ntotal_swapcached 24"),
        ("memory/a", "total_swap 0\ntotal_swapcached 24"),
        ("memory/b", "swap 0\ntotal_swap 500"),
        ("memory/c", "total_swap 0"),
    ):
        (mount / name).mkdir(parents=True)
        (mount / name / "memory.limit_in_bytes").write_text("9223372036854771712\n")
        (mount / name / "memory.stat").write_text(f"{stat}\n")
    # the hybrid's version 2 has no memory controller
    (mount / "unified/a").mkdir(parents=True)
    (mount / "unified/cgroup.controllers").write_text("\n")
    tree = cgroups.swapped(str(tmp_path))
    assert tree.groups == [Swapped("/", 0, 524), Swapped("b", 1, 500), Swapped("a", 1, 24)]
    assert tree.swap == 524


def test_version_2_beside_version_1(tmp_path: Path) -> None:
    mount = tmp_path / "sys/fs/cgroup"
    (mount / "cpu").mkdir(parents=True)
    make_cgroup(mount / "unified", 7)
    (mount / "unified/cgroup.controllers").write_text("memory\n")
    make_cgroup(mount / "unified/box", 4)
    assert cgroups.swapped(str(tmp_path)).groups == [Swapped("/", 0, 7), Swapped("box", 1, 4)]


def test_cgroups_that_count_no_swap(tmp_path: Path, mount: Path) -> None:
    """Which is not the same as having none."""
    (mount / "a").mkdir()
    with pytest.raises(Unsupported, match=r"^/sys/fs/cgroup: no cgroup counts"):
        cgroups.swapped(str(tmp_path))
    make_cgroup(mount / "a", 0)
    assert cgroups.swapped(str(tmp_path)) == cgroups.Tree([], 0)
    with pytest.raises(Error, match=r"^/sys/fs/cgroup: no cgroups are mounted"):
        cgroups.swapped(str(tmp_path / "sys"))


def test_cgroups_that_may_not_be_read(tmp_path: Path, mount: Path) -> None:
    """Here it is a loop of links, which root cannot read either."""
    make_cgroup(mount / "a", 5)
    make_cgroup(mount / "b", 5)
    (mount / "b/memory.swap.current").unlink()
    (mount / "b/memory.swap.current").symlink_to("memory.swap.current")
    tree = cgroups.swapped(str(tmp_path))
    assert ([group.name for group in tree.groups], tree.warning) == (["a"], "1 cgroup cannot be read")
    assert tree._replace(unreadable=2).warning == "2 cgroups cannot be read"


def test_a_hierarchy_deeper_than_the_stack(tmp_path: Path, mount: Path) -> None:
    path = mount
    try:
        for _ in range(1100):
            path /= "d"
            make_cgroup(path, 1)
        assert len(cgroups.swapped(str(tmp_path)).groups) == 1100
    finally:
        # which pytest could not remove
        subprocess.run(["rm", "-r", mount / "d"], check=True)


def test_the_lines_of_cgroups_add_up(tmp_path: Path, mount: Path) -> None:
    for name, swap in (("a", 40), ("a/b", 30), ("c", 20), ("d", 9), ("d/e", 9)):
        make_cgroup(mount / name, swap << 10)
    swaps(tmp_path, 100)
    found = command._Cgroups(str(tmp_path))

    def shown(limit: int) -> list[list[str]]:
        return [line.split()[:4] for line in found.lines(command._Style(is_explained=False), limit)[1:]]

    total = [["(other)", "31K"], ["TOTAL", "100K"]]
    rows = [["a", "40K"], ["b", "30K"], ["c", "20K"], ["d", "9K"], ["e", "9K"]]
    assert shown(9) == [*rows, *total]
    # what is below one that is shown is part of it
    assert shown(4) == [*rows[:4], *total]
    assert shown(3) == [*rows[:3], ["(1", "more", "cgroup)", "9K"], *total]
    assert shown(1) == [rows[0], ["(2", "more", "cgroups)", "29K"], *total]
    assert shown(0) == [["(3", "more", "cgroups)", "69K"], *total]
