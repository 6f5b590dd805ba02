# SPDX-License-Identifier: GPL-2.0-or-later
"""Installs and uninstalls, for the Makefile: ``install.py package | data | uninstall``

The directories are environment variables, so that they may have any character. Modes do not depend on the
umask, and what is installed does not depend on when and into which DESTDIR. The standard library is enough.
"""

from __future__ import annotations

import compileall
import csv
import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:
    sys.exit(f"make install: {sys.executable} is Python {sys.version.split()[0]}; 3.11 or later is needed")

SOURCE = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIST_INFO = f"{PROJECT['name']}-{PROJECT['version']}.dist-info"

SHEBANG_MAX = 255
"""include/uapi/linux/binfmts.h, BINPRM_BUF_SIZE"""


class Failure(Exception):
    """What keeps the program from being installed."""


def setting(name: str) -> str:
    return os.environ.get(name, "")


def final(name: str) -> Path:
    """A directory where it will be: absolute, without DESTDIR."""
    path = Path(setting(name))
    if not path.is_absolute():
        raise Failure(f"{name}={path} is not an absolute path")
    return path


def staged(path: Path) -> Path:
    """Where a file is put now: below DESTDIR."""
    root = setting("DESTDIR")
    return Path(root).absolute() / path.relative_to("/") if root else path


def data() -> Iterator[tuple[str, Path, int]]:
    """What is installed beside the package: source, path where it will be, mode."""
    man, doc = final("MANDIR"), final("DOCDIR")
    yield "man/ghostctl.5", man / "man5/ghostctl.5", 0o644
    yield "man/ghostctl.8", man / "man8/ghostctl.8", 0o644
    yield "man/ghostctl-generator.8", man / "man8/ghostctl-generator.8", 0o644
    yield "completions/ghostctl.bash", final("BASHCOMPDIR") / "ghostctl", 0o644
    yield "completions/_ghostctl", final("ZSHCOMPDIR") / "_ghostctl", 0o644
    yield "completions/ghostctl.fish", final("FISHCOMPDIR") / "ghostctl.fish", 0o644
    yield "src/ghostctl/ghostctl-generator.in", final("GENERATORDIR") / "ghostctl-generator", 0o755
    for name in ("ghostctl-metrics.service", "ghostctl-metrics.timer"):
        yield f"systemd/{name}", final("UNITDIR") / name, 0o644
    for source, directory in (
        ("docs/monitoring", doc / "monitoring"),
        ("docs/examples", doc / "examples"),
        ("packaging/openrc", doc / "examples/init/openrc"),
        ("packaging/sysvinit", doc / "examples/init/sysvinit"),
        ("contrib/ansible", doc / "examples/ansible"),
    ):
        for path in files_below(SOURCE / source):
            yield f"{source}/{path}", directory / path, 0o755 if source.startswith("packaging/") else 0o644
    yield "packaging/README", doc / "examples/init/README", 0o644


def files_below(directory: Path) -> list[Path]:
    """The files below a directory, links to files among them; but for bytecode."""
    found = (path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path.relative_to(directory) for path in found)


def make_directory(path: Path) -> None:
    # what is there keeps its mode: it may be the system's
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)


def write(path: Path, content: bytes, mode: int) -> None:
    make_directory(path.parent)
    # a new file: a program that runs now keeps the old one
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def filled(source: str) -> bytes:
    """The content of a source, with the paths of this installation."""
    content = (SOURCE / source).read_bytes()
    if source.endswith(".service"):
        lines = content.decode().splitlines(keepends=True)
        return "".join(map(with_program, lines)).encode()
    if not source.endswith(".in"):
        return content
    values = {
        "PYTHON": sys.executable,
        "LIBDIR": str(final("LIBDIR")),
        "GHOSTCTL": str(final("BINDIR") / "ghostctl"),
    }
    interpreter = f"#!{sys.executable} -BIS"
    if len(os.fsencode(interpreter)) > SHEBANG_MAX or len(interpreter.split()) != 2:
        raise Failure(f"{sys.executable}: too long, or with a blank: no script can name such an interpreter")
    text = content.decode()
    for key, value in values.items():
        if any(char in value for char in '"\\\n'):
            raise Failure(f"{value} cannot be written into a script")
        text = text.replace(f"@{key}@", value)
    return os.fsencode(text)


def with_program(line: str) -> str:
    """A line of a unit; PATH gets the directory of the program where it lacks it."""
    directory, prefix = str(final("BINDIR")), "Environment=PATH="
    if not line.startswith(prefix) or directory in line.strip().removeprefix(prefix).split(":"):
        return line
    path = directory.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'Environment="PATH={path}:{line.strip().removeprefix(prefix)}"\n'


def install_data() -> None:
    for source, path, mode in data():
        write(staged(path), filled(source), mode)


def install_package() -> None:
    library = staged(final("LIBDIR"))
    launcher = filled("tools/launcher.in")
    with tempfile.TemporaryDirectory(prefix="ghostctl-") as directory:
        tree = Path(directory) / "tree"
        if setting("DEPS"):
            fetch_dependencies(tree)
        for path in files_below(SOURCE / "src"):
            write(tree / path, (SOURCE / "src" / path).read_bytes(), 0o644)
        write(tree / DIST_INFO / "METADATA", metadata(), 0o644)
        write(tree / DIST_INFO / "INSTALLER", b"make\n", 0o644)
        if setting("COMPILE"):
            bytecode(tree)
        uninstall_package()
        names = [path for path in sorted(tree.rglob("*")) if path.is_file()]
        record = [str(path.relative_to(tree)) for path in names] + [f"{DIST_INFO}/RECORD"]
        for path in names:
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            write(library / path.relative_to(tree), path.read_bytes(), mode)
        with (tree / "RECORD").open("w", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows((name, "", "") for name in record)
        write(library / DIST_INFO / "RECORD", (tree / "RECORD").read_bytes(), 0o644)
    write(staged(final("BINDIR") / "ghostctl"), launcher, 0o755)


def metadata() -> bytes:
    """What importlib.metadata and pip read of the package."""
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {PROJECT['name']}",
        f"Version: {PROJECT['version']}",
        f"Summary: {PROJECT['description']}",
        f"License: {PROJECT['license']}",
        f"Requires-Python: {PROJECT['requires-python']}",
        *(f"Requires-Dist: {name}" for name in PROJECT["dependencies"]),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def fetch_dependencies(tree: Path) -> None:
    """Has pip put the packages that the program needs below a directory."""
    names = ", ".join(PROJECT["dependencies"])
    if importlib.util.find_spec("pip") is None:
        raise Failure(
            f"{sys.executable} has no pip to install {names} with; "
            "install pip (Debian: python3-pip), or these packages and say 'make install DEPS='"
        )
    options = ("--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-compile")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", tree, *PROJECT["dependencies"]]
    if status := subprocess.run(command, check=False).returncode:
        raise Failure(
            f"pip ended with {status}; 'make install DEPS=' needs none of it, where there are {names}"
        )
    # of scripts of theirs ghostctl runs none
    shutil.rmtree(tree / "bin", ignore_errors=True)


def bytecode(tree: Path) -> None:
    """Compiles what is below a directory, for LIBDIR, and so that the times of files make no difference."""
    done = compileall.compile_dir(
        tree,
        quiet=1,
        stripdir=tree,
        prependdir=final("LIBDIR"),
        invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
    )
    if not done:
        raise Failure(f"{sys.executable} cannot compile the package")


def uninstall_package() -> None:
    library = staged(final("LIBDIR"))
    for record in library.glob(f"{PROJECT['name']}-*.dist-info/RECORD"):
        with record.open(encoding="utf-8", newline="") as file:
            names = [Path(row[0]) for row in csv.reader(file) if row]
        # pip's has files of other directories, too
        for path in (library / name for name in names if ".." not in name.parts):
            remove(path, library)
            # Python has compiled it since
            for cached in path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc"):
                remove(cached, library)


def uninstall() -> None:
    uninstall_package()
    # shared directories of a staging tree hold nothing but what was installed
    root = Path(setting("DESTDIR")).absolute() if setting("DESTDIR") else None
    remove(staged(final("BINDIR") / "ghostctl"), root)
    remove_empty(staged(final("LIBDIR")), root)
    doc = final("DOCDIR")
    for _, path, _ in data():
        remove(staged(path), root or (staged(doc) if path.is_relative_to(doc) else None))
    remove_empty(staged(doc), root)


def remove(path: Path, top: Path | None) -> None:
    """Removes a file, and its directories that become empty: those below `top`."""
    path.unlink(missing_ok=True)
    if top is not None and path.parent != top:
        remove_empty(path.parent, top)


def remove_empty(directory: Path, top: Path | None) -> None:
    """Removes an empty directory, and those above it that become empty: those below `top`."""
    while directory.is_dir() and not os.listdir(directory):
        directory.rmdir()
        directory = directory.parent
        if top is None or directory == top:
            break


def main() -> None:
    os.umask(0o022)
    actions = {"package": install_package, "data": install_data, "uninstall": uninstall}
    try:
        actions[sys.argv[1]]()
    except Failure as failure:
        sys.exit(f"make install: {failure}")
    except OSError as error:
        sys.exit(f"make install: {error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
