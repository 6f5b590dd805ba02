# SPDX-License-Identifier: GPL-2.0-or-later
"""`make install` and `make uninstall`: where things go, that they work there, and what is left."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from machine import AS_NOBODY, GHOSTCTL, REPOSITORY, require

LAYOUTS = {
    "/usr": """\
/usr/bin/ghostctl
/usr/lib/systemd/system-generators/ghostctl-generator
/usr/lib/systemd/system/ghostctl-metrics.service
/usr/lib/systemd/system/ghostctl-metrics.timer
/usr/share/bash-completion/completions/ghostctl
/usr/share/fish/vendor_completions.d/ghostctl.fish
/usr/share/man/man5/ghostctl.5
/usr/share/man/man8/ghostctl-generator.8
/usr/share/man/man8/ghostctl.8
/usr/share/zsh/{zsh}/_ghostctl
""".format(zsh="vendor-completions" if Path("/etc/debian_version").exists() else "site-functions"),
    "/usr/local": """\
/etc/fish/completions/ghostctl.fish
/usr/local/bin/ghostctl
/usr/local/lib/systemd/system-generators/ghostctl-generator
/usr/local/lib/systemd/system/ghostctl-metrics.service
/usr/local/lib/systemd/system/ghostctl-metrics.timer
/usr/local/share/bash-completion/completions/ghostctl
/usr/local/share/man/man5/ghostctl.5
/usr/local/share/man/man8/ghostctl-generator.8
/usr/local/share/man/man8/ghostctl.8
/usr/local/share/zsh/site-functions/_ghostctl
""",
}
"""Files but for those of the directories lib/ghostctl and share/doc/ghostctl."""


def make(
    target: str,
    *settings: str,
    umask: int = 0o022,
    prefix: tuple[str, ...] = (),
    python: str = sys.executable,
) -> subprocess.CompletedProcess[str]:
    # what a `make test` around this was given is not for this one
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        [*prefix, "make", "-s", "-C", REPOSITORY, target, f"PYTHON={python}", *settings],
        env=environment,
        umask=umask,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def made(target: str, *settings: str, umask: int = 0o022, prefix: tuple[str, ...] = ()) -> None:
    done = make(target, *settings, "DEPS=", umask=umask, prefix=prefix)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of everything below a directory."""
    return {
        str(path.relative_to(root)): (path.stat().st_mode, b"" if path.is_dir() else path.read_bytes())
        for path in root.rglob("*")
    }


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation that can be run."""
    prefix = tmp_path_factory.mktemp("install") / "prefix"
    made("install", f"PREFIX={prefix}", umask=0o077)
    return prefix


@pytest.mark.parametrize("where", LAYOUTS)
def test_two_installations_are_the_same(where: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "a second 'one'"
    made("install", f"DESTDIR={first}", f"PREFIX={where}", umask=0o077)
    made("install", f"DESTDIR={second}", f"PREFIX={where}", umask=0o002)
    # over itself
    made("install", f"DESTDIR={second}", f"PREFIX={where}")
    found = tree(first)
    assert found == tree(second)
    assert {oct(mode) for mode, _ in found.values()} <= {"0o40755", "0o100755", "0o100644"}
    assert str(tmp_path).encode() not in b"".join(content for _, content in found.values())
    own = (f"{where}/lib/ghostctl/", f"{where}/share/doc/ghostctl/")
    files = sorted(f"/{name}" for name in found if (first / name).is_file())
    assert "".join(f"{name}\n" for name in files if not name.startswith(own)) == LAYOUTS[where]
    made("uninstall", f"DESTDIR={second}", f"PREFIX={where}")
    assert list(second.iterdir()) == []


def test_the_program_runs(prefix: Path, tmp_path: Path) -> None:
    before = tree(prefix)
    ghost = tmp_path / "ghost"
    for words in ("--version", "mkghost -s 1G {}", "inspect {}"):
        command: list[str | Path] = [prefix / "bin/ghostctl", *words.format(ghost).split()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    # its bytecode is valid, else it would be written again
    assert tree(prefix) == before


def test_python_runs_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "ghostctl", "inspect", "/no/such"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "ghostctl: /no/such: No such file or directory\n")


def test_the_generator_names_the_program(prefix: Path, tmp_path: Path) -> None:
    fstab, units = tmp_path / "fstab", tmp_path / "units"
    fstab.write_text("/var/lib/ghost/x none swap nofail,x-ghost.size=1G 0 0\n")
    units.mkdir()
    program = prefix / "lib/systemd/system-generators/ghostctl-generator"
    environment = {"SYSTEMD_FSTAB": str(fstab), "SYSTEMD_SCOPE": "system", "SYSTEMD_LOG_TARGET": "console"}
    subprocess.run([program, units], env=environment, check=True)
    text = "".join(path.read_text() for path in units.rglob("*") if path.is_file())
    assert set(re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)) == {str(prefix / "bin/ghostctl")}


def test_every_module_is_compiled(prefix: Path) -> None:
    modules = list((prefix / "lib/ghostctl").rglob("*.py"))
    assert modules
    for module in modules:
        data = Path(importlib.util.cache_from_source(str(module))).read_bytes()
        # a hash that is checked, no time
        assert data[4:8] == b"\3\0\0\0"
        assert data[8:16] == importlib.util.source_hash(module.read_bytes())


def test_without_bytecode(tmp_path: Path) -> None:
    made("install-package", f"DESTDIR={tmp_path}")
    made("install-package", f"DESTDIR={tmp_path}", "COMPILE=")
    assert not list(tmp_path.rglob("*.pyc"))


def test_the_service_finds_the_program(prefix: Path, tmp_path: Path) -> None:
    unit = "lib/systemd/system/ghostctl-metrics.service"
    assert f'Environment="PATH={prefix}/bin:' in (prefix / unit).read_text()
    made("install-data", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert (tmp_path / "usr" / unit).read_text() == (REPOSITORY / "systemd" / Path(unit).name).read_text()


def test_uninstall_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    foreign = [prefix / name for name in ("bin/x", "lib/ghostctl/x.py", "share/doc/ghostctl/x")]
    made("install", f"PREFIX={prefix}")
    for path in foreign:
        path.write_text("x")
    made("uninstall", f"PREFIX={prefix}")
    assert sorted(path for path in prefix.rglob("*") if path.is_file()) == sorted(foreign)
    for path in foreign:
        path.unlink()
    made("install", f"PREFIX={prefix}")
    made("uninstall", f"PREFIX={prefix}")
    # directories of others stay, empty as they may be
    assert (prefix / "bin").is_dir()
    assert not list(prefix.rglob("ghostctl"))


def test_another_version_replaces_the_first(tmp_path: Path) -> None:
    made("install-package", f"DESTDIR={tmp_path}")
    library = tmp_path / "usr/local/lib/ghostctl"
    (info,) = library.glob("*.dist-info")
    info = info.rename(library / "ghostctl-0.0.1.dist-info")
    old = library / "ghostctl/of_an_old_version.py"
    old.touch()
    record = (info / "RECORD").read_text().replace(f"{'ghostctl-'}0.1.0", "ghostctl-0.0.1")
    (info / "RECORD").write_text(record + "ghostctl/of_an_old_version.py,sha256=x,0\n../../bin/x,,\n")
    made("install-package", f"DESTDIR={tmp_path}")
    assert not old.exists()
    assert len(list(library.glob("*.dist-info"))) == 1


def test_without_pip(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv/bin/python")
    done = make("install-package", f"DESTDIR={tmp_path / 'x'}", "DEPS=yes", python=python)
    assert done.returncode != 0
    assert done.stderr.startswith(f"make install: {python} has no pip to install click")
    assert "DEPS=" in done.stderr.splitlines()[0]
    assert not (tmp_path / "x").exists()
    assert make("install", f"DESTDIR={tmp_path / 'x'}", "DEPS=", python=python).returncode == 0


def test_a_user_who_may_not_write_the_source() -> None:
    require("setpriv")
    with tempfile.TemporaryDirectory(prefix="ghostctl-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        source, staging = directory / "source", directory / "staging"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "tests")
        shutil.copytree(REPOSITORY, source, symlinks=True, ignore=ignored)
        staging.mkdir()
        os.chown(staging, 65534, 65534)
        before = tree(source)
        python = next(path for path in ("/usr/bin/python3", sys.executable) if os.access(path, os.X_OK))
        words: list[str | Path] = [
            "make",
            "-s",
            "-C",
            source,
            "install",
            f"DESTDIR={staging}",
            "DEPS=",
            f"PYTHON={python}",
        ]
        done = subprocess.run([*AS_NOBODY, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert (staging / "usr/local/bin/ghostctl").exists()
        assert tree(source) == before


def test_shells_find_the_completions() -> None:
    """Those of /usr/local, where zsh and fish look by themselves."""
    require("mount", "zsh", "fish")
    script = """
        for directory in /usr/local/share /usr/local/lib /etc/fish; do
            mkdir -p $directory && mount -t tmpfs none $directory
        done
        "$@"
        zsh -fc 'autoload -U compinit; compinit -u -D; print -r - $_comps[ghostctl]'
        # which completes only what can be run
        PATH=$0:$PATH env -u XDG_DATA_DIRS fish -c 'complete -C "ghostctl inspe"'
    """
    command: list[str | Path] = [
        "make",
        "-s",
        "-C",
        REPOSITORY,
        "install-data",
        "PREFIX=/usr/local",
        f"PYTHON={sys.executable}",
    ]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", script, GHOSTCTL.parent, *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    zsh, fish = done.stdout.splitlines()
    assert zsh == "_ghostctl"
    assert fish.split("\t")[0] == "inspect"


def test_the_example_of_fstab_is_read() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ghostctl", "fstab", "list", "-T", REPOSITORY / "docs/examples/fstab"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "/var/lib/ghost/swap0" in done.stdout
    assert "warning" not in done.stderr


def test_the_metrics_service_may_do_little() -> None:
    require("systemd")
    unit = REPOSITORY / "systemd/ghostctl-metrics.service"
    command: list[str | Path] = ["systemd-analyze", "security", "--offline=true", "--threshold=29", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # above the threshold, in tenths, it fails
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout
