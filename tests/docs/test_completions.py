# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import click
import pytest
from command_tree import COMMON, TREE, options, subcommands
from machine import ghostctl, require, with_swaps
from shells import SHELLS, tab

from ghostctl import backends, doctor, fstab, sizes
from ghostctl.cli import status, usage
from ghostctl.cli.program import program


class Complete(Protocol):
    def __call__(self, line: str, prefix: tuple[str, ...] = ()) -> set[str]: ...


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where zsh keeps what it found out about completions."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(params=SHELLS)
def complete(request: pytest.FixtureRequest, home: Path) -> Complete:
    """What a shell offers for a line; of ``--option=value`` the value alone, as of ``KEY=value``."""
    require(request.param)
    shell: Callable[..., set[str]] = SHELLS[request.param]

    def offered(line: str, prefix: tuple[str, ...] = ()) -> set[str]:
        found = shell(line, home, prefix)
        # fish has the whole word, zsh of a list the last one
        key, equals, _ = line.rsplit(" ", 1)[-1].rpartition("=")
        if equals:
            found = {word.removeprefix(f"{key}=") for word in found}
        # fish says with a "=" that a value is optional
        found = {word.removesuffix("=") if word.startswith("--") else word for word in found}
        return {word.rpartition(",")[2].removeprefix("+") for word in found}

    return offered


def test_commands(complete: Complete) -> None:
    assert complete("ghostctl ") == subcommands(program)


@pytest.mark.parametrize("name", [name for name in TREE if subcommands(TREE[name])])
def test_subcommands(complete: Complete, name: str) -> None:
    assert complete(f"ghostctl {name} ") == subcommands(TREE[name])


def test_options_before_the_command(complete: Complete) -> None:
    assert complete("ghostctl -") == COMMON | options(program)


@pytest.mark.parametrize("name", TREE)
def test_options_of_a_command(complete: Complete, name: str) -> None:
    assert complete(f"ghostctl {name} -") == COMMON | options(TREE[name])


def _choices() -> list[tuple[str, str, list[str]]]:
    return [
        (name, param.opts[-1], list(param.type.choices))
        for name, command in TREE.items()
        for param in command.params
        if isinstance(param, click.Option) and isinstance(param.type, click.Choice)
    ]


@pytest.mark.parametrize(("name", "option", "choices"), _choices(), ids=lambda value: str(value)[:24])
def test_choices(complete: Complete, name: str, option: str, choices: list[str]) -> None:
    assert complete(f"ghostctl {name} {option}=") - set(map(_entry, Path().iterdir())) == set(choices)


def _entry(path: Path) -> str:
    return f"{path.name}/" if path.is_dir() else path.name


COLUMNS = {column.name for column in status.COLUMNS}


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("-o ", COLUMNS),
        ("--output ", COLUMNS),
        ("--output=", COLUMNS),
        ("-o N", {"NAME"}),
        ("-o NAME,", COLUMNS - {"NAME"}),
        ("-o +", COLUMNS),
        ("-o +UUID,LABEL,", COLUMNS - {"UUID", "LABEL"}),
        ("--output=UUID,U", {"USED", "USE%"}),
    ],
)
def test_columns(complete: Complete, line: str, left: set[str]) -> None:
    assert complete(f"ghostctl status {line}") == left


def test_columns_of_usage(complete: Complete) -> None:
    processes, groups = ({column.name for column in columns} for columns in (usage.PROCESSES, usage.CGROUPS))
    assert complete("ghostctl usage -o ") == processes
    assert complete("ghostctl usage --output=PID,") == processes - {"PID"}
    assert complete("ghostctl usage --cgroups -o ") == groups


@pytest.mark.parametrize(
    "line", ["mkghost -s ", "mkghost --size=", "resize /swap ", "resize --cycle LABEL=x "]
)
def test_sizes(complete: Complete, line: str) -> None:
    offered = complete(f"ghostctl {line}")
    assert {"ram", "50%"} <= offered
    assert all(sizes.parse(size) for size in offered)


@pytest.mark.parametrize("line", ["mkghost -U ", "mkghost --uuid=", "label -U ", "fstab add -U "])
def test_uuids_to_give(complete: Complete, line: str) -> None:
    assert complete(f"ghostctl {line}") == {"clear", "random", "time"}


def test_page_sizes(complete: Complete) -> None:
    assert {sizes.parse(size) for size in complete("ghostctl mkghost -p ")} == set(sizes.PAGE_SIZES)


@pytest.mark.parametrize("command", ["on", "setup"])
def test_backends(complete: Complete, command: str) -> None:
    assert complete(f"ghostctl {command} --fallback ") == set(backends.NAMES)
    assert complete(f"ghostctl {command} --fallback zram,") == set(backends.NAMES) - {"zram"}


def test_checks_of_doctor(complete: Complete) -> None:
    assert complete("ghostctl doctor --explain ") == {check.id for check in doctor.CHECKS}


def test_ghosts_of_fstab(complete: Complete, tmp_path: Path) -> None:
    file = tmp_path / "fstab"
    file.write_text("/a\\040b none swap x-ghost.size=1G\n/c none swap\n#/d none swap x-ghost.size=1G\n")
    assert complete(f"ghostctl fstab remove -T {file} ") == {"/a b"}


def test_fstab_options(complete: Complete) -> None:
    assert {"nofail", "x-ghost.zswap"} <= complete("ghostctl on -o ")
    assert "nofail" not in complete("ghostctl on -o nofail,")


@pytest.mark.parametrize(
    "line", ["mkghost -s 1G ", "inspect ", "verify ", "on ", "on -T ", "label ", "resize "]
)
def test_files(complete: Complete, tmp_path: Path, line: str) -> None:
    (tmp_path / "swap0").touch()
    (tmp_path / "other").touch()
    offered = {Path(word).name for word in complete(f"ghostctl {line}{tmp_path}/s")}
    assert offered == {"swap0"}


@pytest.fixture
def active(tmp_path: Path) -> tuple[str, ...]:
    """Runs a command where /proc/swaps names three areas, of which one is a ghost with label and UUID."""
    require("mount")
    ghost = tmp_path / "gh ost"
    made = ghostctl("mkghost", "-s", "1M", "-L", "lab 1", "-U", "11111111-2222-3333-4444-555555555555", ghost)
    assert made.returncode == 0, made.stderr
    name = str(ghost).replace(" ", "\\040")
    lines = (
        f"{name} ghost 1020 0 -2",
        "/dev/sda9 partition 4 0 -3",
        "xswap0                xswap\t1024\t0\t-4",
    )
    return with_swaps(tmp_path / "swaps", *lines)


@pytest.mark.parametrize("command", ["off", "status"])
def test_active_areas(complete: Complete, active: tuple[str, ...], command: str, tmp_path: Path) -> None:
    ghost = f"{tmp_path}/gh ost"
    assert complete(f"ghostctl {command} ", active) == {ghost, "/dev/sda9", "xswap0"}
    assert complete(f"ghostctl {command} xs", active) == {"xswap0"}
    (tmp_path / "other").touch()
    assert {Path(word).name for word in complete(f"ghostctl {command} {tmp_path}/o", active)} == {"other"}


@pytest.mark.parametrize("command", ["on", "off", "status", "inspect", "verify"])
def test_labels_and_uuids(complete: Complete, active: tuple[str, ...], command: str) -> None:
    assert "11111111-2222-3333-4444-555555555555" in complete(f"ghostctl {command} -U ", active)
    assert "11111111-2222-3333-4444-555555555555" in complete(f"ghostctl {command} UUID=1", active)
    labels = complete(f"ghostctl {command} --label ", active)
    assert labels & {"lab 1", "lab\\ 1"}


def test_values_of_no_meaning_are_left_to_the_user(complete: Complete) -> None:
    assert complete("ghostctl mkghost -L ") == set()


CRYPTO = """\
name         : lzo
driver       : lzo-scomp
type         : scomp

name         : crc32c
type         : shash

name         : 842
type         : compression
"""


@pytest.fixture
def system(tmp_path: Path) -> tuple[str, ...]:
    """Runs a command where there are ghosts in fstab and /var/lib/ghost, a zram, and a zswap."""
    require("mount")
    places = {"/etc/fstab": "fstab", "/var/lib": "lib", "/proc/crypto": "crypto", "/sys/block": "block"}
    places["/sys/module"] = "module"
    (tmp_path / "fstab").write_text(
        "/a\\040b none swap x-ghost.size=1G\n/dev/c none swap\n#/d none swap x-ghost.size=1G\n"
        "LABEL=e none swap x-ghost.zswap\n/f / ext4 x-ghost.zswap\n/var/lib/ghost/g none swap sw\n"
    )
    (tmp_path / "lib/ghost").mkdir(parents=True)
    (tmp_path / "lib/ghost/h i").touch()
    (tmp_path / "crypto").write_text(CRYPTO)
    (tmp_path / "block/zram7").mkdir(parents=True)
    (tmp_path / "block/zram7/comp_algorithm").write_text("lzo-rle [zstd] \n")
    (tmp_path / "module/zswap/parameters").mkdir(parents=True)
    for name in ("compressor", "shrinker_enabled", "max_pool_percent"):
        (tmp_path / "module/zswap/parameters" / name).write_text("Y\n")
    binds = " && ".join(f'mount --bind "$0/{ours}" {place}' for place, ours in places.items())
    modules = "{ [ ! -d /lib/modules ] || mount -t tmpfs none /lib/modules; }"
    return ("unshare", "--mount", "sh", "-c", f'{binds} && {modules} && exec "$@"', str(tmp_path))


@pytest.mark.parametrize("command", ["on", "inspect", "verify", "label", "resize"])
def test_ghosts(complete: Complete, system: tuple[str, ...], command: str) -> None:
    offered = {word for word in complete(f"ghostctl {command} ", system) if word.startswith("/")}
    assert offered == {"/a b", "/var/lib/ghost/g", "/var/lib/ghost/h i"}


@pytest.mark.parametrize("command", ["check", "ensure", "remove", "set"])
def test_ghosts_of_the_next_boots(complete: Complete, system: tuple[str, ...], command: str) -> None:
    offered = {word for word in complete(f"ghostctl fstab {command} ", system) if word.startswith("/")}
    assert offered == {"/a b", "/var/lib/ghost/g"}


@pytest.mark.parametrize(
    ("line", "loaded"),
    [
        ("on --compressor ", {"lzo-rle", "zstd"}),
        ("fstab add --compressor=", {"lzo-rle", "zstd"}),
        ("fstab set /a compressor=", {"lzo-rle", "zstd"}),
        ("zswap set compressor=", {"lzo", "842"}),
    ],
)
def test_compressors(complete: Complete, system: tuple[str, ...], line: str, loaded: set[str]) -> None:
    assert complete(f"ghostctl {line}", system) == loaded


def test_compressors_in_modules(complete: Complete, system: tuple[str, ...]) -> None:
    alias = r"alias crypto-zstd zstd\nalias crypto-lz4-generic lz4\nalias crypto-aes aes_generic\n"
    made = f"""
        mkdir -p "$0/lib/modules/$(uname -r)"
        printf "{alias}" >"$0/lib/modules/$(uname -r)/modules.alias"
        if [ -d /lib/modules ]; then
            mount --bind "$0/lib/modules" /lib/modules
        else
            mount -t overlay -o "lowerdir=$0/lib:/usr/lib" none /usr/lib
        fi && exec "$@"
    """
    offered = complete("ghostctl zswap set compressor=", (*system, "sh", "-c", made, system[-1]))
    assert offered == {"lzo", "842", "zstd"}


def test_compressors_of_a_kernel_that_does_not_say(complete: Complete, system: tuple[str, ...]) -> None:
    hide = 'mount --bind /dev/null /proc/crypto; mount -t tmpfs none /sys/block; exec "$@"'
    hidden = (*system, "sh", "-c", hide, "")
    assert {"lz4", "zstd"} <= complete("ghostctl on --compressor ", hidden)


def test_parameters_of_zswap(complete: Complete, system: tuple[str, ...]) -> None:
    offered = complete("ghostctl zswap set ", system)
    assert {word.partition("=")[0] for word in offered} == {"compressor", "shrinker", "max_pool_percent"}
    assert complete("ghostctl zswap set shrinker=", system) == {"yes", "no"}
    assert complete("ghostctl zswap set enabled=no shrinker=y", system) == {"yes"}
    assert "20" in complete("ghostctl zswap set max_pool_percent=", system)


def test_keys_of_fstab(complete: Complete) -> None:
    offered = {word.partition("=")[0] for word in complete("ghostctl fstab set /a ")}
    assert set(fstab.OPTIONS) | {"pri", "discard", "nofail", "noauto", "path"} == offered
    assert complete("ghostctl fstab set -T /b /a no") == {"nofail", "noauto"}


def test_values_of_fstab(complete: Complete) -> None:
    assert complete("ghostctl fstab set /a fallback=") == {"skip", *backends.NAMES}
    assert complete("ghostctl fstab set /a fallback=skip,") == set(backends.NAMES)
    assert complete("ghostctl fstab set /a discard=") == {"once", "pages"}
    assert {"ram", "50%"} <= complete("ghostctl fstab set /a size=")


def test_the_ghost_of_an_area_with_another_name(complete: Complete, tmp_path: Path) -> None:
    require("mount")
    asked = "status --raw --noheadings -o GHOST"
    (tmp_path / "ghostctl").write_text(f"#!/bin/sh\n[ \"$*\" = '{asked}' ] && echo '/g\\x20h'\n")
    (tmp_path / "ghostctl").chmod(0o755)
    path = ("env", f"PATH={tmp_path}:{os.environ['PATH']}")
    for command in ("off", "status"):
        prefix = (*with_swaps(tmp_path / "swaps", "/dev/zram7 partition 4 0 -3"), *path)
        assert {"/dev/zram7", "/g h"} <= complete(f"ghostctl {command} ", prefix)


@pytest.mark.parametrize("typed", ["/a", "/a\\ ", "'/a ", '"/a '])
@pytest.mark.parametrize("shell", SHELLS)
def test_blanks_survive_a_tab(
    shell: str, home: Path, system: tuple[str, ...], typed: str, tmp_path: Path
) -> None:
    require(shell)
    assert tab(shell, f"ghostctl fstab remove {typed}", home, system) == "/a b"
    (tmp_path / "lib/ghost/h i").rename(tmp_path / "lib/ghost/a a")
    ghost = typed.replace("/a", "/var/lib/ghost/a")
    assert tab(shell, f"ghostctl on {ghost}", home, system) == "/var/lib/ghost/a a"
