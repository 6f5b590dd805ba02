# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of the program and their options, as click has them: what documents must say."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ghostctl.cli.options import common_params
from ghostctl.cli.program import COMMANDS, program

COMMON = {"-h", "--help"} | {
    option for param in common_params() for option in (*param.opts, *param.secondary_opts)
}


def _iter(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for sub in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), sub)
            assert found is not None
            yield from _iter(f"{name} {sub}", found)


def _commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(program)
    for name in COMMANDS:
        command = program.get_command(context, name)
        assert command is not None
        yield from _iter(name, command)


TREE: dict[str, click.Command] = dict(_commands())
"""All commands, "zswap set" after "zswap", in the order of --help."""


def options(command: click.Command) -> set[str]:
    """The options of a command, without those that every command has."""
    found: set[str] = set()
    for param in command.params:
        if isinstance(param, click.Option):
            found.update(param.opts, param.secondary_opts)
    return found - COMMON


def subcommands(command: click.Command) -> set[str]:
    """The commands below a command."""
    return set(command.list_commands(click.Context(command))) if isinstance(command, click.Group) else set()
