# SPDX-License-Identifier: GPL-2.0-or-later
"""The group of commands: which there are, and how their exceptions become messages and exit statuses."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from .. import report
from ..errors import FAILED, USAGE, Error, exit_status
from . import OutputError, catch_signals
from .options import BadValue, common_params

COMMANDS = {
    "setup": "Set up a ghost on this machine: all in one command.",
    "mkghost": "Create a ghost: one page on disk that declares a swap area.",
    "inspect": "Show every field of a swap header.",
    "verify": "Check ghost files for problems.",
    "label": "Show or change label and UUID.",
    "resize": "Change the declared size of a ghost.",
    "on": "Activate swap areas.",
    "off": "Deactivate swap areas.",
    "status": "Show the active swap areas and zswap.",
    "usage": "Show who has pages in the swap areas.",
    "doctor": "Check whether this machine can use ghosts, and is set up well.",
    "plan": "Propose a size for a ghost.",
    "zswap": "Show or set zswap, which holds the pages of ghosts.",
    "fstab": "Show, check and edit the ghosts in /etc/fstab.",
}
"""Names and one-line helps, here so that `ghostctl --help` need not import every command."""

SECTIONS = {
    "All in one": ("setup",),
    "Ghost files": ("mkghost", "inspect", "verify", "label", "resize"),
    "Swap areas": ("on", "off", "status", "usage"),
    "This machine": ("doctor", "plan", "zswap"),
    "Boot": ("fstab",),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f".{cmd_name}", __package__).command
        assert isinstance(command, click.Command)
        catch_signals()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name]) for name in names])


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"ghostctl {version('ghostctl')}")
        ctx.exit()


@click.group(
    cls=_Commands,
    name="ghostctl",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Sizes: 64M, 1.5G, 16GiB, 50%, ram/2, 'min(ram/2, 16G)'. Details: ghostctl(8).",
    no_args_is_help=False,
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def program() -> None:
    """Swap areas that have a header and no data: their pages live compressed in memory, in zswap.

    \b
    First steps, as root:
      ghostctl setup             choose, show, ask, and do it: now and at every boot
      ghostctl status            what is active, what it stores and has room for
      ghostctl usage             who has pages in it
      ghostctl setup --undo      take it all back
    """


program.params += common_params()


def run() -> int:
    """Runs the program on sys.argv; returns the exit status. Errors of standard output pass."""
    report.command = tuple(sys.argv[1:])
    try:
        # not main(), which makes a broken pipe an exit status of its own
        with program.make_context("ghostctl", sys.argv[1:]) as ctx:
            result = program.invoke(ctx)
    except click.UsageError as error:
        report.error(_usage(error))
        return USAGE
    except click.exceptions.Exit as error:
        return error.exit_code
    except OutputError:
        raise
    except (Error, OSError) as error:
        report.error(error)
        return exit_status(error)
    finally:
        report.command = ()
    return result if isinstance(result, int) else FAILED if result else 0


def _usage(error: click.UsageError) -> Error:
    # what the parser itself raises has no context
    named = next((word for word in sys.argv[1:] if word in COMMANDS), None)
    path = error.ctx.command_path if error.ctx else f"ghostctl {named}" if named else "ghostctl"
    words = path.split(" ", 1)
    message, hint = error.format_message(), f"try '{path} --help'"
    if isinstance(error, click.NoSuchOption):
        # which each version of click words in its own way
        nearest = f": did you mean {' or '.join(error.possibilities)}?" if error.possibilities else ""
        message = f"no such option '{error.option_name}'{nearest}"
    if isinstance(error, BadValue):
        hint = error.hint or hint
    else:
        message = " ".join(message.split())
    message = message[:1].lower() + message.removesuffix(".")[1:]
    return Error(message if len(words) == 1 else f"{words[1]}: {message}", hint=hint)
