# SPDX-License-Identifier: GPL-2.0-or-later
"""Options and types that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .. import report
from ..errors import NoAreaList, UsageError

Function = TypeVar("Function", bound=Callable[..., Any])


def _set_quiet(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    report.quiet |= value


def _set_verbosity(_ctx: click.Context, _param: click.Parameter, value: int) -> None:
    report.verbosity += value


def _set_color(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value in ("always", "never"):
        ctx.color = value == "always"
    elif value == "auto" or ctx.parent is None:
        ctx.color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def common_params() -> list[click.Parameter]:
    """-q, -v and --color: taken before the command or behind it."""
    return [
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_set_quiet,
            help="No warnings and no progress.",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_set_verbosity,
            help="Say what is done; -vv: also what is read.",
        ),
        click.Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            expose_value=False,
            callback=_set_color,
            help="Colour the output; auto: on a terminal, without NO_COLOR.",
        ),
    ]


def define(name: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with the common options; what its function returns is the exit status."""

    make: Callable[[Callable[..., Any]], click.Command] = click.command(name, **settings)

    def decorate(function: Callable[..., Any]) -> click.Command:
        made = make(function)
        made.params += common_params()
        return made

    return decorate


class Parsed(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """What a parser of ours makes of the text; its `UsageError` names command and option, as click's do."""

    def __init__(self, parse: Callable[[str], Any], name: str) -> None:
        self.parse = parse
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except UsageError as error:
            raise BadValue(error, ctx, param) from None

    def get_metavar(self, *_: Any, **__: Any) -> str:
        return self.name


class BadValue(click.BadParameter):
    """A value that its parser refuses; with the parser's hint."""

    def __init__(self, error: UsageError, ctx: click.Context | None, param: click.Parameter | None) -> None:
        super().__init__(error.what, ctx, param)
        self.hint = error.hint


_INTERVAL = 2


class Watchable(click.Command):
    """Takes --watch of `watch_option` with and without a number behind it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = list(args)
        for number, arg in enumerate(args):
            if arg == "--":
                break
            if arg == "--watch":
                following = args[number + 1] if number + 1 < len(args) else ""
                given = following.replace(".", "", 1).isdecimal()
                args[number : number + 1 + given] = [f"--watch={following if given else _INTERVAL}"]
        return super().parse_args(ctx, args)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 86400:
        raise UsageError(f"invalid interval {text!r}", hint="seconds, from 0.1 to 86400")
    return seconds


watch_option = click.option(
    "--watch",
    "interval",
    type=Parsed(_seconds, "[SECONDS]"),
    help=f"Live view, every {_INTERVAL} SECONDS; q quits.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
strict_option = click.option("--strict", is_flag=True, help="Treat warnings as errors.")


def area_specs(required: bool = True) -> Callable[[Function], Function]:
    """SPEC arguments with -L and -U: the function gets `specs`, in that order."""

    def collect(ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        labels = tuple(f"LABEL={label}" for label in ctx.params.pop("labels", ()))
        uuids = tuple(f"UUID={uuid}" for uuid in ctx.params.pop("uuids", ()))
        specs = (*value, *labels, *uuids)
        if required and not specs and not ctx.resilient_parsing:
            raise click.UsageError("Missing argument 'SPEC...'.", ctx)
        return specs

    def decorate(function: Function) -> Function:
        function = click.argument(
            "specs", nargs=-1, metavar="SPEC..." if required else "[SPEC]...", callback=collect
        )(function)
        for short, long, name in (("-U", "--uuid", "uuids"), ("-L", "--label", "labels")):
            function = click.option(
                short,
                long,
                name,
                multiple=True,
                is_eager=True,
                metavar=long[2:].upper(),
                help=f"The area with this {'label' if short == '-L' else 'UUID'}.",
            )(function)
        return function

    return decorate


def locate(spec: str) -> str:
    """The path of a SPEC. Paths are not looked up anywhere, and a label needs no list of active areas."""
    from .. import lookup

    if lookup.tag(spec) is None:
        return spec
    from .. import areas

    try:
        actives = areas.read()
    except NoAreaList as error:
        report.trace(str(error))
        actives = areas.made()
    return lookup.resolve(spec, actives)


def parse_backends(text: str) -> tuple[str, ...]:
    """The names in a comma-separated list of backends. Raises `UsageError`."""
    from ..fstab import BACKENDS

    names = tuple(text.split(","))
    for name in names:
        if name not in BACKENDS:
            raise UsageError(f"unknown backend {name!r}", hint=f"backends are {', '.join(BACKENDS)}")
    return names


def parse_priority(text: str) -> int:
    """The number of a priority, -1 to 32767. Raises `UsageError`."""
    from .. import fstab

    prio = fstab.priority(text)
    if prio is not None:
        return prio
    raise UsageError(
        f"invalid priority {text!r}", hint="priorities are -1 to 32767; -1 is the kernel's choice"
    )
