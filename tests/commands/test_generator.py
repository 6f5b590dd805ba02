# SPDX-License-Identifier: GPL-2.0-or-later
"""The generator: golden trees, and systemd's own tools as judges of what it writes.

GHOSTCTL_WRITE_GOLDEN=1 writes the expected trees anew; read the difference before it is committed.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import oscalls
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine import in_systemd_root, require

from ghostctl import fstab, generator, zswap

TESTS = Path(__file__).parents[1]
GOLDEN = sorted((TESTS / "golden" / "generator").iterdir())
GHOSTCTL = "/usr/bin/ghostctl"


def tree(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("case", GOLDEN, ids=lambda path: path.name)
def test_golden(case: Path, tmp_path: Path) -> None:
    log: list[str] = []
    normal = tmp_path / "normal"
    normal.mkdir()
    generator.generate(str(normal), "/etc/fstab", GHOSTCTL, log.append, root=str(case / "root"))
    (normal / "log").write_text("".join(ascii(line)[1:-1] + "\n" for line in log))
    expected = case / "expected"
    if os.environ.get("GHOSTCTL_WRITE_GOLDEN"):
        shutil.rmtree(expected, ignore_errors=True)
        shutil.copytree(normal, expected)
    assert tree(normal) == tree(expected)


MAIN = "import sys; from ghostctl.generator import main; sys.exit(main())"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The generator as systemd starts it, with nothing in the environment but what is given."""
    return subprocess.run(
        [sys.executable, "-I", "-c", MAIN, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_imports_little() -> None:
    """Every module here is paid for in every boot."""
    require("no-container")
    code = (
        "import sys; before = set(sys.modules); from ghostctl.generator import main; status = main();"
        "print(*sorted(set(sys.modules) - before)); sys.exit(status)"
    )
    fstab = GOLDEN[0] / "root/etc/fstab"
    process = subprocess.run(
        [sys.executable, "-I", "-c", code, "/proc/nonexistent"],
        env={"SYSTEMD_FSTAB": str(fstab)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert set(process.stdout.split()) <= {
        "__future__",
        "errno",
        "ghostctl",
        "ghostctl.errors",
        "ghostctl.fstab",
        "ghostctl.generator",
        "ghostctl.sizes",
    }
    assert "ghostctl.generator" in process.stdout
    # it came as far as writing
    assert process.returncode == 1
    assert "/proc/nonexistent" in process.stderr


LINE = "/var/lib/ghost/swap0 none swap nofail,x-ghost.size=16G 0 0\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "fstab"
    path.write_text(LINE)
    return path


def test_writes_below_its_first_argument_only(source: Path, tmp_path: Path) -> None:
    require("no-container")
    directories = [tmp_path / name for name in ("normal", "early", "late")]
    for directory in directories:
        directory.mkdir()
    process = run(*map(str, directories), SYSTEMD_FSTAB=str(source))
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert [len(tree(directory)) for directory in directories] == [3, 0, 0]
    first = tree(directories[0])
    # daemon-reload
    assert run(*map(str, directories), SYSTEMD_FSTAB=str(source)).returncode == 0
    assert tree(directories[0]) == first


@pytest.mark.parametrize(
    "environment",
    [
        {"SYSTEMD_IN_INITRD": "1"},
        {"SYSTEMD_SCOPE": "user"},
        {"SYSTEMD_VIRTUALIZATION": "container:docker"},
        {"SYSTEMD_FSTAB": "/nonexistent"},
        {"SYSTEMD_FSTAB": "/dev/null"},
    ],
    ids=str,
)
def test_does_nothing_where_there_is_nothing_to_do(
    environment: dict[str, str], source: Path, tmp_path: Path
) -> None:
    process = run(str(tmp_path / "normal"), **{"SYSTEMD_FSTAB": str(source), **environment})
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert not (tmp_path / "normal").exists()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SYSTEMD_IN_INITRD": "0", "SYSTEMD_SCOPE": "system", "SYSTEMD_VIRTUALIZATION": "vm:qemu"},
        {"SYSTEMD_VIRTUALIZATION": ""},
    ],
    ids=str,
)
def test_works_on_a_real_system(environment: dict[str, str], source: Path, tmp_path: Path) -> None:
    require("no-container")
    assert run(str(tmp_path / "normal"), **{"SYSTEMD_FSTAB": str(source), **environment}).returncode == 0
    assert len(tree(tmp_path / "normal")) == 3


def test_a_bad_line_is_one_line_in_the_log(source: Path, tmp_path: Path) -> None:
    require("no-container")
    source.write_bytes(b"/a\x1b[31m none swap x-ghost.size=1G\n" + LINE.encode())
    process = run(str(tmp_path), SYSTEMD_FSTAB=str(source))
    assert process.returncode == 0
    (line,) = process.stderr.splitlines()
    assert f"{source}:1: an unprintable character in the path" in line
    assert (tmp_path / "ghostctl-mkghost@var-lib-ghost-swap0.service").exists()


@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full"])
def test_a_log_that_cannot_be_written_costs_no_line(source: Path, tmp_path: Path, closing: str) -> None:
    require("no-container")
    source.write_text("/a none swap x-ghost.size=much\n" + LINE)
    command = f'exec "$@" {closing}'
    process = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-I", "-c", MAIN, tmp_path / "units"],
        env={"SYSTEMD_FSTAB": str(source)},
        timeout=20,
        check=False,
    )
    assert process.returncode == 0
    assert len(tree(tmp_path / "units")) == 3


def test_a_source_that_is_not_utf8(tmp_path: Path) -> None:
    source = tmp_path / "f\udcffstab"
    source.write_text(LINE)
    process = run(str(tmp_path / "units"), SYSTEMD_FSTAB=str(source))
    assert (process.returncode, process.stderr) == (0, "")


def test_the_program_is_required_with_the_directory_it_is_in(source: Path) -> None:
    (line,) = fstab.read(str(source))
    for ghostctl, lines in (
        ("/usr/bin/ghostctl", 0),
        ("/usr/local/bin/ghostctl", 1),
        ("/opt/x%y/ghostctl", 1),
    ):
        declared = fstab.declare(line)
        units = generator.units(1, declared, declared.path, "/etc/fstab", ghostctl)
        unit = units["ghostctl-mkghost@var-lib-ghost-swap0.service"]
        assert unit.count("\nWorkingDirectory=") == lines
        assert "\nRequiresMountsFor=/var/lib/ghost\n" in unit
    assert "\nWorkingDirectory=/opt/x%%y\n" in unit


def test_help_and_version() -> None:
    assert run("--help").stdout.startswith("usage: ghostctl-generator NORMAL [EARLY LATE]\n")
    assert run("--version").stdout.startswith("ghostctl-generator ")


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "b", "c", "d"], ["--unknown"]])
def test_usage(arguments: list[str]) -> None:
    process = run(*arguments)
    assert process.returncode == 2
    assert process.stderr == "usage: ghostctl-generator NORMAL [EARLY LATE]\n"


def test_zswap_that_is_set_for_the_next_boots(tmp_path: Path) -> None:
    """systemd-tmpfiles does that after the swap areas."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").touch()
    (tmp_path / "etc/tmpfiles.d").mkdir(parents=True)
    (tmp_path / "etc/fstab").write_text(LINE)
    for value, is_on in (("Y", True), ("N", False)):
        zswap.persist({"enabled": value, "max_pool_percent": "50"}, str(tmp_path))
        units = tmp_path / value
        generator.generate(str(units), "/etc/fstab", GHOSTCTL, print, root=str(tmp_path))
        unit = (units / "ghostctl-on@var-lib-ghost-swap0.service").read_text()
        assert ("--enable-zswap" in unit) is is_on


def test_unreadable_fstab(tmp_path: Path) -> None:
    require("no-container")
    process = run(str(tmp_path / "normal"), SYSTEMD_FSTAB=str(tmp_path))
    assert process.returncode == 1
    assert process.stderr.endswith(f": {tmp_path}: Is a directory\n")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "-"),
        ("/ghost", "ghost"),
        ("/a/b", "a-b"),
        ("/a-b", r"a\x2db"),
        ("/.a/.b", r"\x2ea-.b"),
        ("/a b/c\\d", r"a\x20b-c\x5cd"),
        ("/\u00fcber", r"\xc3\xbcber"),
        ("/az:AZ_0.9", "az:AZ_0.9"),
        ("/a@b0c", r"a\x40b0c"),
    ],
)
def test_a_path_in_the_name_of_a_unit(path: str, name: str) -> None:
    assert generator.escape_path(path) == name


def boot_path(raw: bytes) -> str:
    (line,) = fstab.parse(raw)
    return generator.boot_path(line)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/ghost none swap x-ghost.size=1G\n", "/ghost"),
        (b" \t//a/./ghost/\tnone\tswap x-ghost.size=1G\n", "/a/ghost"),
        (b"/a\\040b\\134c none swap x-ghost.label=a\\011b", "/a b\\c"),
        (b"/a\\134040b none swap x-ghost.size=1G", "/a\\040b"),
        (b"/a..b/..c none swap x-ghost.size=1G", "/a..b/..c"),
        (b"/a=b none swap x-ghost.size=1G", "/a=b"),
        # a name of 255 bytes
        (b"/" + b"x" * 230 + b" none swap x-ghost.size=1G", "/" + "x" * 230),
    ],
)
def test_a_path_that_systemd_can_have(raw: bytes, path: str) -> None:
    assert boot_path(raw) == path
    assert len(f"ghostctl-mkghost@{generator.escape_path(path)}.service") <= 255


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (b"ghost", "not an absolute path"),
        (b"UUID=1", "systemd finds a ghost only by its path"),
        (b"/a/../b", "'..' in the path"),
        (b"/a\\011b", "an escape in the path that systemd does not read"),
        (b"/a\xff", "systemd takes no path that is not UTF-8"),
        (b"/a\x1bb", "an unprintable character in the path"),
        (b"/", "not a file"),
        (b"//./", "not a file"),
        (b"/a\\040", "a blank at the end of the path"),
        (b"/a\\134", "a backslash at the end of the path"),
        (b"/" + b"x" * 231, "the path is too long for the name of a unit"),
        (b"/" + b"-" * 58, "the path is too long for the name of a unit"),
    ],
)
def test_a_path_that_systemd_cannot_have(spec: bytes, why: str) -> None:
    with pytest.raises(fstab.LineError) as caught:
        boot_path(spec + b" none swap x-ghost.label=a\\040b\n")
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("environment", "files", "is_elsewhere"),
    [
        ({}, [], False),
        (
            {"SYSTEMD_IN_INITRD": "0", "SYSTEMD_SCOPE": "system", "SYSTEMD_VIRTUALIZATION": "vm:kvm"},
            [],
            False,
        ),
        ({"SYSTEMD_IN_INITRD": "1"}, [], True),
        ({"SYSTEMD_SCOPE": "user"}, [], True),
        ({"SYSTEMD_VIRTUALIZATION": "container:lxc"}, [], True),
        # systemd before 251
        ({}, ["run/systemd/container"], True),
        ({}, ["etc/initrd-release"], True),
        # in a system that was booted from an initrd and kept this file
        ({"SYSTEMD_IN_INITRD": "0"}, ["etc/initrd-release"], False),
        ({"SYSTEMD_IN_INITRD": "0"}, ["run/systemd/container"], True),
    ],
    ids=str,
)
def test_where_no_real_system_boots(
    tmp_path: Path, environment: dict[str, str], files: list[str], is_elsewhere: bool
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert generator.is_elsewhere(environment, str(tmp_path)) is is_elsewhere


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The root of a system that can swap, with an fstab."""
    for name in ("proc", "etc"):
        (tmp_path / name).mkdir()
    (tmp_path / "proc/swaps").touch()
    (tmp_path / "etc/fstab").write_text(LINE)
    return tmp_path


def generate(system: Path) -> tuple[dict[str, str], list[str]]:
    log: list[str] = []
    units = system / "units"
    shutil.rmtree(units, ignore_errors=True)
    generator.generate(str(units), "/etc/fstab", GHOSTCTL, log.append, root=str(system))
    return tree(units), log


def test_what_it_reads(system: Path) -> None:
    before = oscalls.open_descriptors()
    units, log = generate(system)
    assert (len(units), log) == (3, [])
    fstab = system / "etc/fstab"
    # options that only look like those of ghosts
    fstab.write_text("/swapfile none swap sw,X-Ghost.size=1G 0 0\n/data /ghost ext4 rw 0 0\n")
    units, log = generate(system)
    assert units == {}
    (words,) = log
    assert words.startswith("/etc/fstab:1: X-Ghost.size is not an option of ghostctl")
    # a line that is no good takes no other with it
    fstab.write_text(f"/a none swap x-ghost.size=much\n{LINE}{LINE}")
    units, log = generate(system)
    assert len(units) == 3
    assert log == [
        "/etc/fstab:1: invalid size 'much', no ghost is made for this line",
        "/etc/fstab:3: the same file as in line 2, no ghost is made for this line",
    ]
    fstab.unlink()
    assert generate(system) == ({}, [])
    os.mkfifo(fstab)
    with oscalls.raises(errno.EINVAL, "/etc/fstab", "is not a regular file"):
        generate(system)
    assert oscalls.open_descriptors() == before


def test_a_kernel_that_cannot_swap(system: Path) -> None:
    (system / "proc/swaps").unlink()
    assert generate(system) == ({}, [])


@pytest.mark.parametrize("is_there", [True, False])
def test_half_a_unit_is_worse_than_none(
    system: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """The file system is full, once the file is there or already when it is to be made."""
    path = system / "units/ghostctl-mkghost@var-lib-ghost-swap0.service"

    def full(name: str, *_args: object, **_keywords: object) -> NoReturn:
        if is_there:
            Path(name).write_text("[Unit]\n")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(generator, "open", full, raising=False)
    with oscalls.raises(errno.ENOSPC, path):
        generate(system)
    assert tree(system / "units") == {}


class Started:
    """The generator in this process, as systemd starts it: what it says, and to whom."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.kernel: list[bytes] = []
        self.kmsg_error: OSError | None = None
        monkeypatch.setattr(generator, "open", self._open, raising=False)
        monkeypatch.setattr(generator, "is_elsewhere", lambda environment: environment is not os.environ)
        monkeypatch.delenv("SYSTEMD_LOG_TARGET", raising=False)
        monkeypatch.delenv("SYSTEMD_FSTAB", raising=False)

    def _open(self, path: str, mode: str = "r", **keywords: Any) -> Any:
        if path != "/dev/kmsg":
            return open(path, mode, **keywords)
        # a write is a message
        assert (mode, keywords) == ("wb", {"buffering": 0})
        if self.kmsg_error is not None:
            raise self.kmsg_error
        started = self

        class Kmsg(io.BytesIO):
            def write(self, data: Any) -> int:
                started.kernel.append(bytes(data))
                return len(data)

        return Kmsg()

    def main(self, *arguments: str, ghostctl: str | None = None) -> int:
        self.monkeypatch.setattr(sys, "argv", ["ghostctl-generator", *arguments])
        return generator.main(ghostctl)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Started:
    return Started(monkeypatch)


def test_the_log_is_that_of_the_kernel(start: Started, capfd: pytest.CaptureFixture[str]) -> None:
    generator.kernel_log("no \x1b[31m words")
    line = f"ghostctl-generator[{os.getpid()}]: no \\x1b[31m words\n"
    assert start.kernel == [b"<4>" + line.encode()]
    assert capfd.readouterr() == ("", line)
    # as long as the kernel takes
    generator.kernel_log("x" * 2000)
    assert [len(data) for data in start.kernel[1:]] == [900]
    assert len(capfd.readouterr().err) > 2000
    # without it, there is the other one
    start.kmsg_error = PermissionError(errno.EACCES, "denied")
    generator.kernel_log("words")
    assert capfd.readouterr().err.endswith(": words\n")
    start.kmsg_error = None
    start.monkeypatch.setenv("SYSTEMD_LOG_TARGET", "console")
    generator.kernel_log("words")
    assert capfd.readouterr().err.endswith(": words\n")
    assert len(start.kernel) == 2


def test_nobody_listens(start: Started, capfd: pytest.CaptureFixture[str]) -> None:
    """A closed descriptor 2 may be another file's by now."""
    start.monkeypatch.setattr(sys, "stderr", None)
    generator.kernel_log("words")
    assert capfd.readouterr().err == ""
    start.monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        oscalls.fail(patch, "write", errno.EIO)
        generator._say("words\n")


@pytest.mark.parametrize(
    ("word", "out"), [("-h", "usage: "), ("--help", "usage: "), ("-V", "ghost"), ("--version", "ghost")]
)
def test_words_instead_of_directories(
    start: Started, capsys: pytest.CaptureFixture[str], word: str, out: str
) -> None:
    assert start.main(word) == 0
    said = capsys.readouterr()
    assert said.out.startswith(out)
    assert said.err == ""


@pytest.mark.parametrize("arguments", [["a", "b"], [], ["-x"], ["a", "b", "c", "d"], ["-x", "b", "c"]])
def test_words_that_make_no_sense(
    start: Started, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert start.main(*arguments) == 2
    assert capfd.readouterr() == ("", "usage: ghostctl-generator NORMAL [EARLY LATE]\n")


def test_what_systemd_gets(start: Started, source: Path, tmp_path: Path) -> None:
    start.monkeypatch.setenv("SYSTEMD_FSTAB", str(source))
    for arguments in (["units"], ["units", "early", "late"]):
        directories = [str(tmp_path / name) for name in arguments]
        assert start.main(*directories, ghostctl="/opt/ghostctl") == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["fstab", "units"]
        text = (tmp_path / "units/ghostctl-on@var-lib-ghost-swap0.service").read_text()
        assert "\nExecStart=/opt/ghostctl on " in text
        shutil.rmtree(tmp_path / "units")
    assert start.kernel == []
    start.monkeypatch.setattr(generator, "is_elsewhere", lambda environment: environment is os.environ)
    assert start.main(str(tmp_path / "units")) == 0
    assert not (tmp_path / "units").exists()


def test_what_systemd_reads_without_a_word(start: Started) -> None:
    calls: list[tuple[object, ...]] = []
    start.monkeypatch.setattr(generator, "generate", lambda *args: calls.append(args))
    start.monkeypatch.setattr(generator, "find_ghostctl", lambda: "/found/ghostctl")
    assert start.main("units", "early", "late") == 0
    start.monkeypatch.setenv("SYSTEMD_FSTAB", "")
    assert start.main("units") == 0
    assert calls == [("units", "/etc/fstab", "/found/ghostctl", generator.kernel_log)] * 2


def test_a_failure_is_one_line_in_the_log(
    start: Started, source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    start.monkeypatch.setenv("SYSTEMD_FSTAB", str(source))
    (tmp_path / "units").write_text("")
    assert start.main(str(tmp_path / "units")) == 1
    assert capfd.readouterr().err.startswith(f"ghostctl-generator[{os.getpid()}]: {tmp_path}/units")
    assert len(start.kernel) == 1


def test_the_program_beside_this_one(start: Started, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
        (directory / "ghostctl").touch()
    start.monkeypatch.setattr(sys, "argv", [str(first / "ghostctl-generator"), "units"])
    start.monkeypatch.setattr(sys, "executable", str(second / "python3"))
    assert generator.find_ghostctl() == "/usr/bin/ghostctl"
    (second / "ghostctl").chmod(0o755)
    assert generator.find_ghostctl() == str(second / "ghostctl")
    (first / "ghostctl").chmod(0o755)
    assert generator.find_ghostctl() == str(first / "ghostctl")


def launched(tmp_path: Path, package: Path) -> tuple[Path, Path]:
    """The generator as install-generator writes it, for a package, and the directory for its units."""
    text = (Path(generator.__file__).parent / "ghostctl-generator.in").read_text()
    for key, value in (("PYTHON", sys.executable), ("LIBDIR", package), ("GHOSTCTL", GHOSTCTL)):
        text = text.replace(f"@{key}@", str(value))
    path, units = tmp_path / "ghostctl-generator", tmp_path / "units"
    path.write_text(text)
    path.chmod(0o755)
    units.mkdir()
    return path, units


def test_it_writes_nothing_but_units(source: Path, tmp_path: Path) -> None:
    require("no-container")
    package = tmp_path / "lib"
    files = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(generator.__file__).parent, package / "ghostctl", ignore=files)
    before = sorted(package.rglob("*"))
    path, units = launched(tmp_path, package)
    run_program(path, units, source)
    assert len(tree(units)) == 3
    assert sorted(package.rglob("*")) == before


def run_program(path: Path, units: Path, source: Path, *prefix: str) -> str:
    process = subprocess.run(
        [*prefix, path, units],
        env={"SYSTEMD_FSTAB": str(source), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return process.stderr


def test_a_removed_package_is_one_line_in_the_log(source: Path, tmp_path: Path) -> None:
    path, units = launched(tmp_path, tmp_path / "gone")
    (line,) = run_program(path, units, source).splitlines()
    assert f"{path}: No module named 'ghostctl': no ghosts are made; remove this file" in line
    assert tree(units) == {}


def test_a_packaged_generator_comes_first(source: Path, tmp_path: Path) -> None:
    require("no-container", "mount", "systemd")
    path, units = launched(tmp_path, tmp_path / "gone")
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    script = packaged / "ghostctl-generator"
    script.write_text('#!/bin/sh\necho "$@" >&2\n')
    script.chmod(0o755)
    target = Path("/usr/lib/systemd/system-generators")
    mounted = ("unshare", "-m", "sh", "-ec", 'mount --bind "$0" "$1"; shift; exec "$@"', packaged, target)
    assert run_program(path, units, source, *map(str, mounted)) == f"{units}\n"
    # the packaged one itself, from the same template, does the work
    shutil.copy(path, script)
    text = script.read_text().replace(str(tmp_path / "gone"), str(Path(generator.__file__).parent.parent))
    script.write_text(text)
    assert run_program(path, units, source, *map(str, mounted)) == ""
    assert len(tree(units)) == 3
    # two packages: either leaves the work to one and the same
    local = Path("/usr/local/lib/systemd/system-generators")
    both = 'mount -t tmpfs none /usr/local/lib; mkdir -p "$1"; cp "$0" "$1"; shift; exec "$@"'
    inside = (*mounted, "sh", "-ec", both, str(script), str(local))
    for directory in (target, local):
        shutil.rmtree(units)
        assert run_program(directory / "ghostctl-generator", units, source, *map(str, inside)) == ""
        assert len(tree(units)) == 3


KEYS = st.sampled_from(
    rb"pri= discard= x-ghost.size= x-ghost.label= x-ghost.uuid= x-ghost.zswap nofail".split()
)
JUNK = st.sampled_from(
    [*rb"""1G 50% (ram , \012 \040 \134 %n $HOME " ' \ /../ \033[m # once 7""".split(), b"\x00", b"\xff"]
)
OPTION = st.tuples(KEYS, st.lists(JUNK, max_size=3).map(b"".join)).map(b"".join)
LINE_OF_JUNK = st.builds(
    lambda path, fallback, options, end: b"/%b none swap %b%b%b" % (path, fallback, b",".join(options), end),
    st.lists(JUNK, max_size=3).map(b"".join),
    st.sampled_from([b"x-ghost.size=1G,", b"x-ghost.size=1G,x-ghost.fallback=zram,", b""]),
    st.lists(OPTION, max_size=5),
    st.sampled_from([b"\n", b"\r\n", b" 0 0\n", b""]),
)


@settings(max_examples=100)
@given(st.lists(LINE_OF_JUNK, max_size=5).map(b"".join))
def test_any_fstab_gives_units_or_a_line_in_the_log(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "fstab").write_bytes(data)
        units = Path(name) / "units"
        units.mkdir()
        log: list[str] = []
        generator.generate(str(units), f"{name}/fstab", GHOSTCTL, log.append)
        found = tree(units)
        assert len(log) <= data.count(b"\n") + 1
        for unit, text in found.items():
            assert not set(unit) & set(" \n%$\"'")
            for line in text.splitlines():
                assert line.isprintable()
                # nothing but the settings of the templates
                assert not line or line[0] in "#[" or line.partition("=")[0] in SETTINGS


SETTINGS = {
    line.partition("=")[0]
    for path in GOLDEN
    for text in tree(path / "expected").values()
    for line in text.splitlines()
}

PATH = st.lists(
    st.binary(min_size=1, max_size=20).filter(
        lambda part: b"/" not in part and b"\0" not in part and part != b".."
    ),
    max_size=4,
)


@settings(max_examples=10)
@given(st.lists(PATH, min_size=200, max_size=200))
def test_unit_names_are_those_of_systemd(paths: list[list[bytes]]) -> None:
    require("systemd")
    names = [b"/" + b"/".join(parts) for parts in paths]
    process = subprocess.run(
        ["systemd-escape", "--path", "--", *names], capture_output=True, check=True, timeout=60
    )
    ours = [generator.escape_path(fstab.simplify(os.fsdecode(name))) for name in names]
    assert ours == process.stdout.decode().split()


def both_generators(tmp_path: Path, fstab: bytes, then: str) -> subprocess.CompletedProcess[str]:
    require("mount", "systemd", "systemd-no-container")
    (tmp_path / "fstab").write_bytes(fstab)
    ours = tmp_path / "ours"
    ours.mkdir()
    generator.generate(str(ours), str(tmp_path / "fstab"), "/bin/true", print)
    return in_systemd_root(
        tmp_path,
        "/usr/lib/systemd/system-generators/systemd-fstab-generator normal early late || true\n"
        "cp -r mnt/ours/. normal\n" + then,
    )


@pytest.mark.parametrize("case", GOLDEN, ids=lambda path: path.name)
def test_every_unit_belongs_to_one_of_systemd(case: Path, tmp_path: Path) -> None:
    """Each drop-in is for a .swap unit that systemd makes of the same fstab, under the same name."""
    process = both_generators(tmp_path, (case / "root/etc/fstab").read_bytes(), "ls -1 normal")
    assert process.returncode == 0, process.stderr
    names = set(process.stdout.split("\n")) - {""}
    drop_ins = {name for name in names if name.endswith(".swap.d")}
    assert {name.removesuffix(".d") for name in drop_ins} <= names
    assert len(drop_ins) == sum(name.endswith(".d") for name in os.listdir(tmp_path / "ours"))


@pytest.mark.parametrize("case", GOLDEN, ids=lambda path: path.name)
def test_systemd_verifies_every_tree(case: Path, tmp_path: Path) -> None:
    process = both_generators(
        tmp_path,
        (case / "root/etc/fstab").read_bytes(),
        "export SYSTEMD_UNIT_PATH=/normal:\n"
        "for unit in normal/ghostctl-*; do\n"
        '  [ ! -e "$unit" ] || systemd-analyze verify --man=no "$unit" 2>&1\n'
        "done\n",
    )
    # systemd's own units of bad lines are not of interest
    assert [line for line in process.stdout.splitlines() if "ghostctl" in line] == []


BOOT = b"""\
LABEL=root / ext4 defaults 0 1
LABEL=var /var ext4 defaults 0 2
tmpfs /tmp tmpfs defaults 0 0
LABEL=disk none swap sw,pri=1 0 0
/var/lib/ghost/swap\\0400 none swap defaults,nofail,pri=100,x-ghost.size=16G 0 0
/ghost%1 none swap x-ghost.size=50%,x-ghost.zswap 0 0
/var/lib/ghost/swap2 none swap x-ghost.size=ram,x-ghost.fallback=zram 0 0
"""


def test_systemd_verifies_the_boot(tmp_path: Path) -> None:
    """All units of a boot, with /tmp after swap.target and /var on its own filesystem: no error, no cycle."""
    process = both_generators(
        tmp_path,
        BOOT,
        "export SYSTEMD_UNIT_PATH=/normal:\n"
        "systemd-analyze verify --man=no default.target normal/*.swap normal/*.service normal/*.mount 2>&1",
    )
    # what it says of units of the machine is not of interest
    ours = [line for line in process.stdout.splitlines() if "ghost" in line or "cycle" in line]
    assert ours == []
    assert process.returncode == 0
