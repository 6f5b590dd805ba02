# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl fstab, on files of the test's own."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from machine import GHOSTCTL, ghostctl, require, run, run_hint, swap_file, unwritten, with_swaps
from zramdevices import make_ghost

from ghostctl import generator, kernel, sizes

# everything that one finds in the field; none of it may change
ODD = (
    b"# <file system>\t<mount point> \xe2\x80\xa6\n"
    b"UUID=0a1b2c3d-0000-4000-8000-000000000001 / ext4 errors=remount-ro 0 1\r\n"
    b"\n \t \n"
    b'"/not quoted" none swap sw\n'
    b"/caf\xe9\\040x none\tswap sw,pri=1 0 0  # trailing\n"
    b"/dup none swap sw 0 0\n/dup none swap sw 0 0\n"
    b"LABEL=x none swap sw\rnot a line end\n"
    b"nonsense\n\0\0\n"
    b"tmpfs /scratch tmpfs size=10% 0 0"
)


@pytest.fixture
def fstab(tmp_path: Path) -> Path:
    path = tmp_path / "fstab"
    path.write_bytes(ODD)
    path.chmod(0o640)
    return path


@pytest.fixture
def ghost(ghost_dir: Path) -> Path:
    return ghost_dir / "ghost"


def add(fstab: Path, *args: str | bytes | Path) -> Any:
    return ghostctl("fstab", "add", "-T", fstab, *args)


def check(fstab: Path, *args: str | Path) -> dict[str, dict[str, Any]]:
    """The problems by their ids, when each comes once."""
    done = ghostctl("fstab", "check", "--json", "-T", fstab, *args)
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema("fstab-check"), jsonschema.Draft202012Validator)
    problems = document["problems"]
    assert done.returncode == any(problem["severity"] == "error" for problem in problems)
    return {problem["id"]: problem for problem in problems}


def schema(name: str) -> Any:
    return json.loads((resources.files("ghostctl") / f"schemas/{name}.json").read_text(encoding="utf-8"))


def test_add_and_remove_touch_nothing_else(fstab: Path, ghost: Path) -> None:
    added = add(fstab, "-s", "16G", "-p", "100", "--nofail", ghost)
    line = f"{ghost} none swap defaults,nofail,pri=100,x-ghost.size=16G 0 0\n"
    assert (added.returncode, added.stdout, added.stderr) == (0, line, "")
    assert fstab.read_bytes() == ODD + b"\n" + line.encode()
    assert fstab.stat().st_mode & 0o7777 == 0o640
    assert not ghost.exists()

    removed = ghostctl("fstab", "remove", "-T", fstab, ghost)
    assert (removed.returncode, removed.stdout, removed.stderr) == (0, line, "")
    assert fstab.read_bytes() == ODD + b"\n"


def test_every_option(fstab: Path, ghost: Path) -> None:
    uuid = "0a1b2c3d-0000-4000-8000-000000000002"
    options = ["-s", "min(ram/2, 16G)", "-p", "-1", "-L", "two words", "-U", uuid, "--noauto", "--zswap"]
    done = add(fstab, *options, "--fallback", "zram,file", ghost)
    assert done.returncode == 0
    assert done.stdout.endswith(
        " none swap defaults,noauto,pri=-1,x-ghost.size=min(ram/2,16G),x-ghost.label=two\\040words,"
        f"x-ghost.uuid={uuid},x-ghost.fallback=zram,file,x-ghost.zswap 0 0\n"
    )
    assert done.stderr == ""


def test_add_twice(fstab: Path, ghost: Path) -> None:
    assert add(fstab, "-s", "1G", "--nofail", ghost).returncode == 0
    before = unwritten(fstab)
    assert add(fstab, "-s", "1G", "--nofail", ghost).returncode == 0
    assert unwritten(fstab) == before
    other = add(fstab, "-s", "2G", "--nofail", ghost)
    assert (other.returncode, other.stdout) == (6, "")
    assert f"is in line 13 of {fstab}" in other.stderr
    assert unwritten(fstab) == before


def test_dry_run(fstab: Path, ghost: Path) -> None:
    before = unwritten(fstab)
    assert add(fstab, "-n", "-s", "1G", "--nofail", ghost).stdout.startswith(str(ghost))
    assert unwritten(fstab) == before
    assert add(fstab, "-s", "1G", "--nofail", ghost).returncode == 0
    before = unwritten(fstab)
    assert ghostctl("fstab", "remove", "-n", "-T", fstab, ghost).stdout.startswith(str(ghost))
    assert unwritten(fstab) == before


@pytest.mark.parametrize(
    ("args", "status", "why"),
    [
        (["-s", "1G", "ghost"], 2, "not an absolute path"),
        (["-s", "1G", "/var/../ghost"], 2, "'..' in the path"),
        (["-s", "1G", "/new\nline"], 2, "an escape"),
        (["-s", "1G", b"/not\xffutf"], 2, "not UTF-8"),
        (["-s", "1G", "LABEL=ghost"], 2, "only by its path"),
        (["-s", "much", "/ghost"], 2, "invalid size"),
        (["-s", "1", "/ghost"], 2, "too small"),
        (["-s", "1G", "-U", "random", "/ghost"], 2, "not a UUID"),
        (["-s", "1G", "-L", 'a"b', "/ghost"], 2, 'with "'),
        (["-s", "1G", "--fallback", "tape", "/ghost"], 2, "no backend is called 'tape'"),
        (["-s", "1G", "-p", "32768", "/ghost"], 2, "priority"),
        (["/nonexistent/ghost"], 2, "needs a --size"),
        (["-s", "1G", "/etc/passwd"], 3, "not a ghost: it is a text file"),
        (["-s", "1G", "/etc"], 3, "is a directory"),
    ],
)
def test_add_refuses_what_would_not_boot(fstab: Path, args: list[str | bytes], status: int, why: str) -> None:
    before = unwritten(fstab)
    done = add(fstab, *args)
    assert (done.returncode, done.stdout) == (status, "")
    assert why in done.stderr
    assert len([line for line in done.stderr.splitlines() if "hint: " not in line]) == 1
    assert unwritten(fstab) == before


def test_add_refuses_a_filesystem_that_cannot_swap(fstab: Path, tmpfs: Path) -> None:
    done = add(fstab, "-s", "1G", tmpfs / "ghost")
    assert done.returncode == 1
    assert "no kernel swaps to a file on tmpfs" in done.stderr
    assert fstab.read_bytes() == ODD


def test_add_to_no_fstab(tmp_path: Path, ghost: Path) -> None:
    path = tmp_path / "new"
    done = add(path, "-s", "1G", "--nofail", ghost)
    assert done.returncode == 0
    assert path.read_text() == done.stdout
    assert path.stat().st_mode & 0o7777 == 0o644


def test_ten_thousand_lines(tmp_path: Path, ghost: Path) -> None:
    seed = random.randrange(2**32)
    lines = [random.Random(seed + i).randbytes(30).replace(b"\n", b"") + b"\n" for i in range(10_000)]
    path = tmp_path / "fstab"
    path.write_bytes(b"".join(lines))
    done = add(path, "-s", "1G", "--nofail", ghost)
    assert done.returncode == 0, seed
    assert path.read_bytes() == b"".join(lines) + done.stdout.encode(), seed
    assert ghostctl("fstab", "remove", "-T", path, ghost).returncode == 0, seed
    assert path.read_bytes() == b"".join(lines), seed


def test_add_now_that_the_kernel_refuses(fstab: Path, ghost: Path) -> None:
    require("root", "stock-kernel")
    done = add(fstab, "-s", "1M", "--nofail", "--now", ghost)
    assert (done.returncode, done.stdout) == (5, "")
    assert f"its line in {fstab} was taken back" in done.stderr
    assert fstab.read_bytes() == ODD
    assert not ghost.exists()
    # a ghost that was there stays
    assert ghostctl("mkghost", "-s", "1M", ghost).returncode == 0
    assert add(fstab, "--nofail", "--now", ghost).returncode == 5
    assert ghost.exists()
    # the line itself says that this is no failure
    done = add(fstab, "--nofail", "--fallback", "skip", "--now", ghost)
    assert done.returncode == 0
    assert "skipped" in done.stderr
    assert fstab.read_bytes() == ODD + b"\n" + done.stdout.encode()


def test_remove_what_is_not_there(fstab: Path, ghost: Path) -> None:
    done = ghostctl("fstab", "remove", "-T", fstab, ghost)
    assert done.returncode == 3
    assert "no swap line" in done.stderr
    done = ghostctl("fstab", "remove", "-T", fstab, "/dup")
    assert done.returncode == 3
    assert "line 7 of" in done.stderr
    assert "is not for a ghost" in done.stderr
    assert fstab.read_bytes() == ODD


def test_remove_a_line_that_only_names_a_ghost(fstab: Path, ghost: Path) -> None:
    assert ghostctl("mkghost", "-s", "1M", ghost).returncode == 0
    fstab.write_bytes(f"# a\n{ghost} none swap sw\n# b\n{ghost} none swap sw,pri=1\r\n".encode())
    assert ghostctl("fstab", "remove", "-T", fstab, ghost).returncode == 0
    assert fstab.read_bytes() == b"# a\n# b\n"
    assert ghost.exists()


def test_list(fstab: Path, ghost: Path) -> None:
    require("areas-readable")
    assert ghostctl("mkghost", "-s", "1M", ghost).returncode == 0
    missing, foreign = ghost.with_name("missing"), ghost.with_name("foreign")
    foreign.write_text("a letter\n")
    fstab.write_bytes(
        ODD
        + f"\n{ghost} none swap pri=5\n{missing} none swap x-ghost.size=50%\n"
        f"{foreign} none swap x-ghost.size=1G,x-ghost.fallback=skip\n".encode()
    )
    done = ghostctl("fstab", "list", "--json", "-T", fstab)
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema("fstab-list"), jsonschema.Draft202012Validator)
    assert [tuple(line.values())[:-1] for line in document["ghosts"]] == [
        (str(ghost), None, 5, None, "ready", 13),
        (str(missing), sizes.parse("50%"), None, None, "missing", 14),
        (str(foreign), 1 << 30, None, "skip", "not a ghost: a text file", 15),
    ]
    text = ghostctl("fstab", "list", "-T", fstab).stdout.splitlines()
    assert text[0].split() == ["NAME", "SIZE", "PRIO", "FALLBACK", "STATE", "LINE"]
    assert len(text) == 4


def test_list_of_no_fstab(tmp_path: Path) -> None:
    done = ghostctl("fstab", "list", "-T", tmp_path / "none")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"ghostctl: {tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize(
    ("options", "before", "id", "severity"),
    [
        ("x-ghost.size=1M", "", "nofail", "warning"),
        ("x-ghost.size=1M", "", "priority", "warning"),
        ("pri=1,x-ghost.size=1M", "/other none swap pri=2\n", "priority", "warning"),
        ("pri=1,x-ghost.size=1M", "/other none swap pri=1\n", "priority", "warning"),
        ("x-ghost.size=2M", "", "size", "warning"),
        ("x-ghost.size=much", "", "line", "error"),
        ("x-ghost.size=1M,x-systemd.makefs", "", "makefs", "error"),
        ("x-ghost.size=1M,x-ghost.fallback=tape", "", "line", "error"),
        ("x-ghost.size=1M", "{ghost} none swap sw\n", "duplicate", "error"),
        ("x-ghost.size=1M", "tmpfs {directory} tmpfs size=1G\n", "tmpfs", "error"),
        ("x-ghost.size=1M", "LABEL=x {directory}/ ext4 noauto\n", "mount", "error"),
        ("x-ghost.size=1M", "nas:/x {directory} nfs _netdev\n", "mount", "error"),
        ("x-ghost.size=1M", "x-ghost.size=1M\n", "syntax", "error"),
    ],
)
def test_check(fstab: Path, ghost: Path, options: str, before: str, id: str, severity: str) -> None:  # noqa: A002
    make_ghost(ghost, 1 << 20)
    fstab.write_text(f"{before.format(ghost=ghost, directory=ghost.parent)}{ghost} none swap {options} 0 0\n")
    assert check(fstab)[id]["severity"] == severity
    text = ghostctl("fstab", "check", "-T", fstab)
    assert f": {severity}: " in text.stdout


def test_check_of_a_good_line(fstab: Path, ghost: Path) -> None:
    require("root")  # whose the ghost is
    make_ghost(ghost, 1 << 20)
    fstab.write_text(f"{ghost} none swap nofail,pri=32767,x-ghost.size=1M 0 0\n")
    assert set(check(fstab)) <= {"kernel", "zswap"}  # those that this machine has


@pytest.fixture
def no_areas(tmp_path: Path) -> tuple[str, ...]:
    """A `prefix` for `ghostctl`: where no area is active, whatever this machine has."""
    require("mount")
    return with_swaps(tmp_path / "swaps")


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        ("", "sw", "it may use the ghost before, or in turn with, /other"),
        ("", "pri=-1", "it may use the ghost before, or in turn with, /other"),
        ("", "pri=3", "used only after /other (priority 3)"),
        (",pri=3", "pri=3", "used in turn with /other, of the same priority"),
        (",pri=3", "pri=4", "used only after /other (priority 4)"),
        (",pri=3", "sw", None),
        ("", "noauto", "no pri= of 0 or more, so the kernel chooses a priority\n"),
    ],
)
def test_check_of_the_order(
    no_areas: tuple[str, ...], fstab: Path, ghost: Path, own: str, other: str, words: str | None
) -> None:
    make_ghost(ghost, 1 << 20)
    fstab.write_text(f"/other none swap {other}\n{ghost} none swap nofail,x-ghost.size=1M{own} 0 0\n")
    text = ghostctl("fstab", "check", "-T", fstab, prefix=no_areas).stdout
    if words is None:
        assert "priority" not in text
        assert "used" not in text
    else:
        assert words in text


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        ("", "sw", "has no priority, like /other and declares more than zswap's pool may take"),
        (",pri=3", "pri=3", "has the same priority as /other and declares more"),
        (",pri=3", "sw", "is above /other and declares more"),
        (",pri=3", "pri=4", None),
        (",pri=3", "noauto", None),
    ],
)
def test_check_of_a_ghost_that_the_pool_cannot_hold(
    no_areas: tuple[str, ...], fstab: Path, ghost: Path, own: str, other: str, words: str | None
) -> None:
    require("zswap")
    fstab.write_text(f"/other none swap {other}\n{ghost} none swap nofail,x-ghost.size=1T{own} 0 0\n")
    text = ghostctl("fstab", "check", "-T", fstab, prefix=no_areas)
    if words is None:
        assert "declares more" not in text.stdout
    else:
        assert words in text.stdout
        assert "max_pool_percent=50 --persist && ghostctl fstab set -T " in text.stderr
        assert " x-ghost.size=" in text.stderr
    # by zram it has a pool of its own
    fstab.write_text(fstab.read_text().replace("1T", "1T,x-ghost.fallback=zram"))
    if kernel.may_have_ghosts() is False:
        assert "zswap's pool" not in ghostctl("fstab", "check", "-T", fstab, prefix=no_areas).stdout
        line = fstab.read_text().replace("x-ghost.fallback", "x-ghost.memory-limit=512M,x-ghost.fallback")
        fstab.write_text(line)
        text = ghostctl("fstab", "check", "-T", fstab, prefix=no_areas)
        if words is not None:
            assert "declares more than the memory of zram may take (512 MiB)" in text.stdout
            assert f"hint: ghostctl fstab set -T {fstab} {ghost} x-ghost.memory-limit=" in text.stderr


def test_check_files(fstab: Path, ghost: Path) -> None:
    fstab.write_text(f"{ghost} none swap nofail,pri=1,x-ghost.size=1M 0 0\n")
    assert check(fstab)["missing"]["severity"] == "warning"
    fstab.write_text(f"{ghost} none swap nofail,pri=1,x-ghost.fallback=skip 0 0\n")
    assert check(fstab)["missing"]["severity"] == "error"
    assert ghostctl("mkghost", "-s", "1M", ghost).returncode == 0
    assert "missing" not in check(fstab)
    ghost.chmod(0o644)
    assert check(fstab)["file-mode"]["severity"] == "warning"
    ghost.write_text("a letter\n")
    assert check(fstab)["not-a-ghost"]["severity"] == "error"
    assert ghostctl("fstab", "check", "-T", fstab, "/other").returncode == 3


def test_strict(fstab: Path, ghost: Path) -> None:
    assert ghostctl("mkghost", "-s", "1M", ghost).returncode == 0
    fstab.write_text(f"{ghost} none swap nofail,x-ghost.size=1M,x-ghost.fallback=skip,x-ghost.zswap 0 0\n")
    problems = check(fstab)
    assert problems["priority"]
    assert ghostctl("fstab", "check", "--strict", "-T", fstab).returncode == 1


def test_ensure(fstab: Path, ghost: Path) -> None:
    other = ghost.with_name("two words")
    fstab.write_bytes(
        ODD
        + f"\n{ghost} none swap noauto,x-ghost.size=1M,x-ghost.label=früh\n".encode()
        # what only names a ghost says nothing of its size
        + f"{other.parent}/two\\040words none swap x-ghost.size=2M\n/dup none swap sw\n".encode()
    )
    assert ghostctl("fstab", "ensure", "-T", fstab).returncode == 0
    header = json.loads(ghostctl("inspect", "--json", ghost, other).stdout)["headers"]
    assert [(item["size"], item["label"]) for item in header] == [(1 << 20, "früh"), (2 << 20, None)]
    before = unwritten(ghost), unwritten(other)
    assert ghostctl("fstab", "ensure", "-T", fstab).returncode == 0
    assert (unwritten(ghost), unwritten(other)) == before

    fstab.write_bytes(fstab.read_bytes().replace(b"=2M", b"=3M"))
    assert ghostctl("fstab", "ensure", "-T", fstab, other).returncode == 0
    (changed,) = json.loads(ghostctl("inspect", "--json", other).stdout)["headers"]
    assert (changed["size"], changed["uuid"]) == (3 << 20, header[1]["uuid"])


def test_ensure_goes_on_after_an_error(fstab: Path, ghost: Path) -> None:
    foreign = ghost.with_name("foreign")
    foreign.write_text("a letter\n")
    fstab.write_text(f"{foreign} none swap x-ghost.size=1M\n{ghost} none swap x-ghost.size=1M\n")
    done = ghostctl("fstab", "ensure", "-T", fstab)
    assert done.returncode == 1
    assert f"{foreign}: exists: it is a text file" in done.stderr
    assert foreign.read_text() == "a letter\n"
    assert ghost.exists()


def test_install_generator(tmp_path: Path) -> None:
    require("no-container")
    directory, units = tmp_path / "etc" / "generators", tmp_path / "units"
    where = ("--directory", directory)
    done = ghostctl("fstab", "install-generator", *where)
    generator = directory / "ghostctl-generator"
    assert (done.returncode, done.stdout) == (0, f"installed {generator}\n")
    (tmp_path / "fstab").write_text("/ghost none swap x-ghost.size=1G\n")
    run("env", "-i", f"SYSTEMD_FSTAB={tmp_path}/fstab", generator, units)
    unit = (units / "ghostctl-mkghost@ghost.service").read_text()
    assert f"ExecStart={run('which', 'env').strip()[:1]}" in unit
    program = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).split()[0]
    assert os.access(program.removeprefix("ExecStart="), os.X_OK)
    assert ghostctl("fstab", "install-generator", *where).returncode == 0
    done = ghostctl("fstab", "install-generator", "--remove", *where)
    assert (done.returncode, done.stdout) == (0, f"removed {generator}\n")
    assert os.listdir(directory) == []
    assert ghostctl("fstab", "install-generator", "--remove", *where).returncode == 3
    generator.write_text("#!/bin/sh\n")
    assert ghostctl("fstab", "install-generator", "--remove", *where).returncode == 1
    assert generator.exists()


@pytest.mark.parametrize("mount", ["nas:/x {0} nfs defaults", "/dev/x {0} ext4 noauto"])
def test_add_refuses_what_is_mounted_late(fstab: Path, ghost: Path, mount: str) -> None:
    fstab.write_text(mount.format(ghost.parent) + " 0 0\n")
    before = unwritten(fstab)
    done = add(fstab, "-s", "1G", "--nofail", ghost)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is mounted after the swap areas" in done.stderr
    assert unwritten(fstab) == before


def test_add_refuses_a_symbolic_link(fstab: Path, ghost: Path) -> None:
    assert ghostctl("-q", "mkghost", "-s", "1M", ghost).returncode == 0
    link = ghost.with_name("link")
    link.symlink_to(ghost)
    done = add(fstab, "-s", "1M", "--nofail", link)
    assert done.returncode == 1
    assert f"hint: name {ghost}" in done.stderr
    fstab.write_text(f"{link} none swap nofail,pri=1,x-ghost.size=1M 0 0\n")
    assert check(fstab)["symlink"]["severity"] == "error"


def test_one_file_has_many_spellings(fstab: Path, ghost: Path) -> None:
    odd = f"{ghost.parent}//./{ghost.name}/"
    assert add(fstab, "-s", "1M", "--nofail", odd).stdout.startswith(f"{ghost} none")
    assert add(fstab, "-s", "2M", "--nofail", odd).returncode == 6
    assert ghostctl("fstab", "remove", "-T", fstab, odd).returncode == 0
    fstab.write_text(
        f"{ghost} none swap nofail,x-ghost.size=1M 0 0\n{odd} none swap nofail,x-ghost.size=2M 0 0\n"
    )
    done = ghostctl("fstab", "ensure", "-T", fstab)
    assert done.returncode == 1
    assert f"{fstab}:2: the same file as in line 1" in done.stderr
    assert json.loads(ghostctl("label", "--json", ghost).stdout)["uuid"]
    assert json.loads(ghostctl("inspect", "--json", ghost).stdout)["headers"][0]["size"] == 1 << 20
    assert check(fstab)["duplicate"]["severity"] == "error"


@pytest.mark.parametrize(
    ("spec", "options"), [("ghost", "x-ghost.size=1M"), ("{}", "x-ghost.size=1M,x-ghost.uuid=random")]
)
def test_ensure_makes_what_the_boot_makes_and_nothing_else(
    fstab: Path, ghost: Path, spec: str, options: str
) -> None:
    fstab.write_text(f"{spec.format(ghost)} none swap nofail,{options} 0 0\n")
    done = ghostctl("fstab", "ensure", "-T", fstab, cwd=ghost.parent)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ghostctl: {fstab}:1: ")
    assert not ghost.exists()


def test_check_of_a_line_with_a_ghost_on_zram(fstab: Path, ghost: Path) -> None:
    """zswap has nothing to do with zram."""
    require("zram")
    require("stock-kernel")
    assert ghostctl("-q", "mkghost", "-s", "1M", ghost).returncode == 0
    fstab.write_text(f"{ghost} none swap nofail,pri=32767,x-ghost.size=1M,x-ghost.fallback=zram 0 0\n")
    assert check(fstab, ghost) == {}


def test_many_lines_are_checked_without_asking_the_kernel_as_often(
    fstab: Path, ghost: Path, tmp_path: Path
) -> None:
    lines = [f"{ghost}{n} none swap nofail,pri=1,x-ghost.size=1M 0 0\n" for n in range(100)]
    fstab.write_text("".join(lines))
    log = tmp_path / "strace"
    require("strace")
    done = ghostctl(
        "fstab", "check", "-T", fstab, prefix=("strace", "-f", "-qq", "-e", "trace=openat", "-o", log)
    )
    assert done.returncode == 1
    assert log.read_text().count("/proc/kallsyms") <= 1


def test_a_machine_that_does_not_say_how_much_memory_it_has(fstab: Path, tmp_path: Path) -> None:
    require("mount", "zram")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemFree: 1024 kB\n")
    fstab.write_text("/none none swap pri=5,x-ghost.size=1G,x-ghost.fallback=zram,x-ghost.memory-limit=64M\n")
    script = 'mount --bind "$0" /proc/meminfo; exec "$@"'
    done = ghostctl(
        "fstab", "check", "-T", fstab, prefix=("unshare", "-m", "sh", "-ec", script, str(meminfo))
    )
    assert done.returncode in (0, 1)
    assert "/none: " in done.stdout
    assert "Traceback" not in done.stderr


def test_what_plan_proposes_fits_its_pool(fstab: Path) -> None:
    require("zswap")
    document = json.loads(ghostctl("plan", "--ratio", "3", "--json").stdout)
    fstab.write_text(f"/other none swap sw\n{document['fstab']}\n")
    found = check(fstab)
    if document["backend"] == "zram":
        assert "pool" not in found
        # beside what is larger than its limit
        size = f"{document['chosen']['size'] >> 20}M"
        fstab.write_text(fstab.read_text().replace(f"x-ghost.size={size}", "x-ghost.size=8T"))
        assert check(fstab)["pool"]["hint"].endswith(f"x-ghost.memory-limit={size} x-ghost.size={size}")


def test_set(fstab: Path, ghost: Path) -> None:
    assert add(fstab, "-s", "1G", "-p", "3", "--nofail", ghost).returncode == 0
    fstab.chmod(0o600)
    words = ("fstab", "set", "-T", fstab, ghost, "size=2G", "pri=", "zswap")
    before = unwritten(fstab)
    planned = ghostctl(*words, "-n", "--json")
    assert unwritten(fstab) == before
    done = ghostctl(*words, "--json")
    line = f"{ghost} none swap defaults,nofail,x-ghost.size=2G,x-ghost.zswap 0 0"
    assert json.loads(done.stdout) == {
        "fstab": str(fstab),
        "lines": [line],
        "changed": True,
        "dry_run": False,
    }
    assert json.loads(planned.stdout) == json.loads(done.stdout) | {"dry_run": True}
    assert fstab.read_bytes() == ODD + b"\n" + line.encode() + b"\n"
    assert fstab.stat().st_mode & 0o7777 == 0o600
    before = unwritten(fstab)
    again = ghostctl(*words)
    assert (again.returncode, again.stdout, again.stderr) == (0, line + "\n", "")
    assert unwritten(fstab) == before


@pytest.mark.parametrize(
    ("args", "status", "why"),
    [
        (["/dup", "nofail"], 3, "is not for a ghost"),
        (["/none", "nofail"], 3, "no swap line"),
        (["{ghost}", "size=lots"], 2, "invalid size"),
        (
            ["{ghost}", "szie=1G"],
            2,
            "fstab set: invalid value for 'KEY[=VALUE]...': no option is called 'szie'",
        ),
        (["{ghost}"], 2, "missing argument"),
    ],
)
def test_set_that_cannot_be(fstab: Path, ghost: Path, args: list[str], status: int, why: str) -> None:
    assert add(fstab, "-s", "1G", "--nofail", ghost).returncode == 0
    before = unwritten(fstab)
    done = ghostctl("fstab", "set", "-T", fstab, *(word.format(ghost=ghost) for word in args))
    assert (done.returncode, done.stdout) == (status, "")
    assert why in done.stderr
    assert unwritten(fstab) == before


def test_json_of_edits(fstab: Path, ghost: Path) -> None:
    words = ("-s", "1M", "--nofail", "--json", ghost)
    line = f"{ghost} none swap defaults,nofail,x-ghost.size=1M 0 0"
    document = {"fstab": str(fstab), "lines": [line], "changed": True, "dry_run": False}
    for expected in (document, document | {"changed": False}):
        done = add(fstab, *words)
        assert json.loads(done.stdout) == expected
        jsonschema.validate(expected, schema("fstab-add"), jsonschema.Draft202012Validator)
    for changed in (True, False):
        done = ghostctl("fstab", "ensure", "--json", "-T", fstab, ghost)
        made = {"file": str(ghost), "changed": changed, "error": None}
        assert json.loads(done.stdout) == {"fstab": str(fstab), "ghosts": [made], "changed": changed}
    done = ghostctl("fstab", "remove", "--json", "-T", fstab, ghost)
    assert json.loads(done.stdout) == document
    ghost.write_text("a letter\n")
    fstab.write_text(f"{ghost} none swap x-ghost.size=1M\n")
    done = ghostctl("fstab", "ensure", "--json", "-T", fstab)
    assert done.returncode == 1
    (failed,) = json.loads(done.stdout)["ghosts"]
    assert (failed["changed"], failed["error"]) == (False, f"{ghost}: exists: it is a text file")


def test_the_hint_for_a_line_that_says_something_else(fstab: Path, ghost: Path) -> None:
    assert add(fstab, "-s", "1G", "-p", "7", "--zswap", ghost).returncode == 0
    done = add(fstab, "-s", "2G", "--nofail", ghost)
    assert done.returncode == 6
    (hint,) = (line.partition("hint: ")[2] for line in done.stderr.splitlines() if "hint: " in line)
    assert f" -T {fstab} " in hint
    run_hint(hint, fstab)
    before = unwritten(fstab)
    assert add(fstab, "-s", "2G", "--nofail", ghost).returncode == 0
    assert unwritten(fstab) == before


@pytest.mark.parametrize(
    ("id", "options", "before"),
    [
        ("nofail", "pri=1,x-ghost.size=1M", ""),
        ("makefs", "x-ghost.size=1M,x-systemd.makefs", ""),
        ("priority", "x-ghost.size=1M", ""),
        ("priority", "pri=3,x-ghost.size=1M", "/other none swap pri=5\n"),
        ("priority", "pri=3,x-ghost.size=1M", "/other none swap pri=3\n"),
        ("zswap", "x-ghost.size=1M", ""),
        ("kernel", "x-ghost.size=1M", ""),
        ("missing", "x-ghost.size=1M", ""),
        ("pool", "pri=9,x-ghost.size=1T,x-ghost.fallback=zram", "/other none swap pri=3\n"),
        ("link", "pri=9,nofail,x-ghost.size=1M,x-ghost.label=two\\040words,x-ghost.fallback=skip", ""),
        ("directory", "x-ghost.size=1M", ""),
    ],
)
def test_hints_can_be_pasted(fstab: Path, ghost: Path, id: str, options: str, before: str) -> None:  # noqa: A002
    """Each is a command, on the fstab in use, after which the problem is gone."""
    path = ghost
    if id == "link":
        link = ghost.parent / "a link"
        link.symlink_to(ghost.parent)
        path = link / ghost.name
    if id == "directory":
        path = ghost.parent / "two words" / "ghost"
    if id in ("kernel", "pool"):
        require("stock-kernel", "zram")
    if id == "zswap":
        require("zswap-off")
    name = str(path).replace(" ", "\\040")
    fstab.write_text(f"# {id}\n{before}{name} none swap {options} 0 0\n")
    found = check(fstab)
    assert found[id]["hint"]
    run_hint(found[id]["hint"], fstab)
    assert id not in check(fstab)
    assert fstab.read_text().startswith(f"# {id}\n{before}")


def test_a_ghost_behind_a_link(fstab: Path, ghost: Path) -> None:
    """The kernel, and with it systemd, knows the area by the path without it."""
    link = ghost.parent / "link"
    link.symlink_to(".")
    done = add(fstab, "-s", "1M", "--nofail", link / ghost.name)
    assert done.returncode == 0
    assert f"the line is for {ghost}" in done.stderr
    assert done.stdout.startswith(f"{ghost} none swap ")
    # by either path it is this line
    assert ghostctl("fstab", "set", "-T", fstab, link / ghost.name, "pri=3").returncode == 0
    fstab.write_text(
        f"{ghost} none swap nofail,x-ghost.size=1M\n{link}/{ghost.name} none swap nofail,x-ghost.size=2M\n"
    )
    assert check(fstab)["duplicate"]["line"] == 2
    assert ghostctl("fstab", "ensure", "-T", fstab).returncode == 1


def test_add_warns_of_a_directory_that_is_not_there(fstab: Path, ghost: Path) -> None:
    missing = ghost.parent / "missing"
    done = add(fstab, "-s", "1M", "--nofail", missing / "ghost")
    assert done.returncode == 0
    assert f"its directory is missing: {missing}" in done.stderr
    assert f"hint: mkdir -p -m 700 {missing}" in done.stderr
    # the usual place is made along with the ghost
    assert "directory" not in add(fstab, "-s", "1M", "--nofail", "/var/lib/ghost/test-of-add").stderr


def test_a_full_filesystem(fstab: Path, filesystem: Callable[..., Path]) -> None:
    directory = filesystem("ext4")
    with open(directory / "fill", "wb", buffering=0) as file:
        for chunk in (1 << 20, 4096, 512):
            try:
                while file.write(bytes(chunk)):
                    pass
            except OSError:
                continue
    fstab.write_text(f"{directory}/ghost none swap nofail,x-ghost.size=1M\n")
    run("sync", "-f", directory)
    assert check(fstab)["full"]["severity"] == "warning"
    (directory / "fill").unlink()
    run("mount", "-o", "remount,ro", directory)
    assert check(fstab)["read-only"]["severity"] == "warning"


def test_options_of_ghosts_on_ordinary_lines(fstab: Path) -> None:
    fstab.write_text("/dev/sdz9 none swap sw,x-ghost.size=1G 0 0\n/swapfile none swap sw,X-ghost.zswap 0 0\n")
    done = ghostctl("fstab", "check", "-T", fstab)
    assert done.returncode == 0
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == ["warning", "warning"]
    assert "line 1: /dev/sdz9: that is not the path of a file" in done.stdout
    assert "line 2: X-ghost.zswap is not an option of ghostctl" in done.stdout


@pytest.mark.parametrize("word", ["systemd.swap=0", "systemd.swap=no", "fstab=off"])
def test_a_command_line_that_keeps_swap_off(fstab: Path, ghost: Path, tmp_path: Path, word: str) -> None:
    require("mount")
    (tmp_path / "cmdline").write_text(f"root=/dev/vda {word} quiet\n")
    fstab.write_text(f"{ghost} none swap nofail,pri=1,x-ghost.size=1M 0 0\n")
    script = 'mount --bind "$0" /proc/cmdline; exec "$@"'
    inside = ("unshare", "-m", "sh", "-ec", script, str(tmp_path / "cmdline"))
    done = ghostctl("fstab", "check", "--json", "-T", fstab, prefix=inside)
    found = {problem["id"]: problem for problem in json.loads(done.stdout)["problems"]}
    assert done.returncode == 1
    assert word in found["cmdline"]["message"]


GENERATORS = "/etc/systemd/system-generators"


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        ("true", None),
        ("sed -i 's|sys.path.insert(0, .*|sys.path.insert(0, \"/gone\")|' $G", "No module named 'ghostctl'"),
        ("sed -i '1s|.*|#!/gone/python|' $G", "cannot be run: No such file or directory"),
        ('sed -i \'s|main(".*")|main("/gone/ghostctl")|\' $G', "/gone/ghostctl, which is not there"),
        ("printf '#!/bin/sh\\nexit 3\\n' >$G", "fails: exit status 3"),
        ("printf '#!/bin/sh\\n' >$G", "ghostctl-generator makes no units for "),
    ],
)
def test_the_generator_is_tried(fstab: Path, ghost: Path, breakage: str, words: str | None) -> None:
    """As installed for systemd on this machine, in a mount namespace of the test's own."""
    require("mount")
    fstab.write_text(f"{ghost} none swap nofail,pri=1,x-ghost.size=1M 0 0\n")
    script = (
        "mount -t tmpfs none /etc/systemd; ghostctl=$0; G=" + GENERATORS + "/ghostctl-generator\n"
        f'"$ghostctl" -q fstab install-generator >&2\n{breakage}\nexec "$@"'
    )
    inside = ("unshare", "-m", "sh", "-ec", script, GHOSTCTL)
    done = ghostctl("fstab", "check", "--json", "-T", fstab, prefix=inside)
    problems = [one for one in json.loads(done.stdout)["problems"] if one["id"] == "generator"]
    if words is None or generator.is_elsewhere({}):
        assert problems == []
        return
    (problem,) = problems
    assert problem["severity"] == "error"
    assert words in problem["message"]


def test_a_line_that_declares_what_the_ghost_was(fstab: Path, ghost: Path) -> None:
    """resize and label name it, with the command; it is /etc/fstab, here that of a mount namespace."""
    require("mount")
    make_ghost(ghost, 1 << 20)
    line = f"{ghost} none swap nofail,x-ghost.size=1M,x-ghost.label=one 0 0\n"
    fstab.write_text(f"# first\n/other none swap x-ghost.size=1M\n{line}")
    inside = ("unshare", "-m", "sh", "-ec", 'mount --bind "$0" /etc/fstab; exec "$@"', str(fstab))
    done = ghostctl("label", "-L", "one", ghost, prefix=inside)
    assert (done.returncode, done.stderr) == (0, "")
    for words, said, changed in (
        (("resize", ghost, "2M"), "size", line.replace("1M", "2097152")),
        (("label", "-L", "two words", ghost), "label", line.replace("=one", "=two\\040words")),
        (("label", "-L", "", ghost), "label", line.replace(",x-ghost.label=one", "")),
    ):
        fstab.write_text(f"# first\n/other none swap x-ghost.size=1M\n{line}")
        if said == "label":
            assert ghostctl("resize", ghost, "1M").returncode == 0
        done = ghostctl(*words, prefix=inside)
        assert done.returncode == 0
        warning, hint = done.stderr.splitlines()
        assert warning == f"ghostctl: {ghost}: warning: line 3 of /etc/fstab declares another {said}"
        run_hint(hint.partition("hint: ")[2], fstab)
        assert fstab.read_text() == f"# first\n/other none swap x-ghost.size=1M\n{changed}"


def test_nofail(fstab: Path, ghost: Path) -> None:
    done = add(fstab, "-s", "1G", ghost)
    assert f"{ghost}: warning: without --nofail, swap.target fails in the boot" in done.stderr
    run_hint(done.stderr.partition("hint: ")[2], fstab)
    done = add(fstab, "-s", "1G", "--nofail", ghost)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_existing_ghost_is_what_it_was_when_it_cannot_be_activated(fstab: Path, ghost: Path) -> None:
    require("root", "stock-kernel")
    assert ghostctl("mkghost", "-s", "1M", "-L", "old", ghost).returncode == 0
    before = ghost.read_bytes()
    done = add(fstab, "-s", "2M", "-L", "new", "--nofail", "--now", ghost)
    assert done.returncode == 5
    assert ghost.read_bytes() == before
    assert fstab.read_bytes() == ODD
    new = fstab.with_name("new")
    assert add(new, "-s", "2M", "--nofail", "--now", ghost).returncode == 5
    assert not new.exists()


def test_ensure_leaves_an_ordinary_area_to_on(fstab: Path, ghost: Path) -> None:
    require("mkswap")
    area = swap_file(ghost)
    before = unwritten(area)
    fstab.write_text(f"{area} none swap x-ghost.size=1G\n")
    done = ghostctl("fstab", "ensure", "-T", fstab)
    assert done.returncode == 0
    assert f"{area}: warning: exists: it is a swap file of" in done.stderr
    assert unwritten(area) == before


def test_a_line_that_the_generator_refuses(fstab: Path, ghost: Path) -> None:
    """Named once, and nothing else is said of what it would declare."""
    make_ghost(ghost, 1 << 20)
    fstab.write_text(f"{ghost} none swap nofail,pri=3,x-ghost.size=min(ram/2,16G\n")
    assert check(fstab).keys() == {"line"}
    for words in (("label=a\nb",), ("compressor=zs\ttd",)):
        fstab.write_text(f"{ghost} none swap nofail,x-ghost.size=1M\n")
        done = ghostctl("fstab", "set", "-T", fstab, ghost, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{ghost}: an unprintable character in an option" in done.stderr


def test_names_without_a_slash(fstab: Path, ghost: Path) -> None:
    fstab.write_text(f"{ghost} none swap nofail,x-ghost.size=1M\n")
    done = ghostctl("fstab", "set", "-T", fstab, ghost.name, "pri=5", cwd=ghost.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert ghostctl("fstab", "remove", "-T", fstab, ghost.name, cwd=ghost.parent).returncode == 0


def test_a_directory_that_is_a_file(fstab: Path, ghost: Path) -> None:
    ghost.write_text("a letter\n")
    done = add(fstab, "-s", "1M", "--nofail", ghost / "ghost")
    assert done.returncode == 3
    assert "Not a directory" in done.stderr
    assert fstab.read_bytes() == ODD


def test_another_generator_stays(tmp_path: Path) -> None:
    generator = tmp_path / "ghostctl-generator"
    generator.write_text("# mine\n")
    done = ghostctl("fstab", "install-generator", "--directory", tmp_path)
    assert done.returncode == 1
    assert f"{generator}: was not made by ghostctl" in done.stderr
    assert generator.read_text() == "# mine\n"
