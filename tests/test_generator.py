# SPDX-License-Identifier: GPL-2.0-or-later
"""The generator: golden trees, and systemd's own tools as judges of what it writes.

GHOSTCTL_WRITE_GOLDEN=1 writes the expected trees anew; read the difference before it is committed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostctl import fstab, generator, zswap

GOLDEN = sorted((Path(__file__).parent / "golden" / "generator").iterdir())
GHOSTCTL = "/usr/bin/ghostctl"
ROOT = Path(__file__).parent / "systemd-root"


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
    assert run(str(tmp_path / "normal"), **{"SYSTEMD_FSTAB": str(source), **environment}).returncode == 0
    assert len(tree(tmp_path / "normal")) == 3


def test_a_bad_line_is_one_line_in_the_log(source: Path, tmp_path: Path) -> None:
    source.write_bytes(b"/a\x1b[31m none swap x-ghost.size=1G\n" + LINE.encode())
    process = run(str(tmp_path), SYSTEMD_FSTAB=str(source))
    assert process.returncode == 0
    (line,) = process.stderr.splitlines()
    assert f"{source}:1: an unprintable character in the path" in line
    assert (tmp_path / "ghostctl-mkghost@var-lib-ghost-swap0.service").exists()


@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full"])
def test_a_log_that_cannot_be_written_costs_no_line(source: Path, tmp_path: Path, closing: str) -> None:
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
    process = run(str(tmp_path / "normal"), SYSTEMD_FSTAB=str(tmp_path))
    assert process.returncode == 1
    assert process.stderr.endswith(f": {tmp_path}: Is a directory\n")


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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts in a namespace of its own")
def test_a_packaged_generator_comes_first(source: Path, tmp_path: Path) -> None:
    path, units = launched(tmp_path, tmp_path / "gone")
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    script = packaged / "ghostctl-generator"
    script.write_text('#!/bin/sh\necho "$@" >&2\n')
    script.chmod(0o755)
    target = Path("/usr/lib/systemd/system-generators")
    if not target.is_dir():
        pytest.skip("no directory of systemd's")
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
    names = [b"/" + b"/".join(parts) for parts in paths]
    process = subprocess.run(
        ["systemd-escape", "--path", "--", *names], capture_output=True, check=True, timeout=60
    )
    ours = [generator.escape_path(fstab.simplify(os.fsdecode(name))) for name in names]
    assert ours == process.stdout.decode().split()


def in_root(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", ROOT, root, tmp_path, script],
        env={"PATH": "/usr/sbin:/usr/bin", "SYSTEMD_LOG_TARGET": "console"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def both_generators(tmp_path: Path, fstab: bytes, then: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "fstab").write_bytes(fstab)
    ours = tmp_path / "ours"
    ours.mkdir()
    generator.generate(str(ours), str(tmp_path / "fstab"), "/bin/true", print)
    return in_root(
        tmp_path,
        "systemd-detect-virt --quiet --container && exit 99\n"
        "/usr/lib/systemd/system-generators/systemd-fstab-generator normal early late || true\n"
        "cp -r mnt/ours/. normal\n" + then,
    )


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts in a namespace of its own")


@needs_root
@pytest.mark.parametrize("case", GOLDEN, ids=lambda path: path.name)
def test_every_unit_belongs_to_one_of_systemd(case: Path, tmp_path: Path) -> None:
    """Each drop-in is for a .swap unit that systemd makes of the same fstab, under the same name."""
    process = both_generators(tmp_path, (case / "root/etc/fstab").read_bytes(), "ls -1 normal")
    assert process.returncode == 0, process.stderr
    names = set(process.stdout.split("\n")) - {""}
    drop_ins = {name for name in names if name.endswith(".swap.d")}
    assert {name.removesuffix(".d") for name in drop_ins} <= names
    assert len(drop_ins) == sum(name.endswith(".d") for name in os.listdir(tmp_path / "ours"))


@needs_root
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


@needs_root
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
