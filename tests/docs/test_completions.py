# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import click
import pytest
from command_tree import COMMON, TREE, options, subcommands
from machine import ghostctl, require, with_swaps
from shells import SHELLS

from ghostctl import backends, doctor, sizes
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
    fstab = tmp_path / "fstab"
    fstab.write_text("/a\\040b none swap x-ghost.size=1G\n/c none swap\n#/d none swap x-ghost.size=1G\n")
    assert complete(f"ghostctl fstab remove -T {fstab} ") == {"/a b"}


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
    assert {ghost, "/dev/sda9", "xswap0"} <= complete(f"ghostctl {command} ", active)
    assert complete(f"ghostctl {command} xs", active) == {"xswap0"}


@pytest.mark.parametrize("command", ["on", "off", "status", "inspect", "verify"])
def test_labels_and_uuids(complete: Complete, active: tuple[str, ...], command: str) -> None:
    assert "11111111-2222-3333-4444-555555555555" in complete(f"ghostctl {command} -U ", active)
    assert "11111111-2222-3333-4444-555555555555" in complete(f"ghostctl {command} UUID=1", active)
    labels = complete(f"ghostctl {command} --label ", active)
    assert labels & {"lab 1", "lab\\ 1"}


def test_values_of_no_meaning_are_left_to_the_user(complete: Complete) -> None:
    assert complete("ghostctl mkghost -L ") == set()
