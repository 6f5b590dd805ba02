# SPDX-License-Identifier: GPL-2.0-or-later
"""Options and types that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import report, sizes
from ..errors import ALL_FAILED, SOME_FAILED, Error, UsageError, exit_status

if TYPE_CHECKING:
    from ..swaps import Area

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


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
strict_option = click.option("--strict", is_flag=True, help="Treat warnings as errors.")


def label(text: str) -> bytes:
    """A label of at most 15 bytes of UTF-8; a longer one is cut at a character, with a warning."""
    data = os.fsencode(text)
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"label '{text}' is not UTF-8") from None
    if not decoded.isprintable():
        raise UsageError(f"label '{text}' has unprintable characters")
    if len(data) <= sizes.LABEL_BYTES:
        return data
    cut = data[: sizes.LABEL_BYTES].decode("utf-8", "ignore")
    report.warn(None, f"label was truncated to {cut!r}")
    return cut.encode()


def uuid(text: str) -> bytes:
    """16 bytes from a UUID or one of clear, random, time."""
    import uuid

    if text == "clear":
        return bytes(16)
    if text == "random":
        return uuid.uuid4().bytes
    if text == "time":
        return uuid.uuid1().bytes
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != text.lower():
        raise UsageError(
            f"invalid UUID {text!r}", hint="write 8-4-4-4-12 hexadecimal digits, or clear, random, time"
        )
    return parsed.bytes


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
    """The path of a SPEC; paths are not looked up anywhere."""
    from .. import lookup, swaps

    return lookup.resolve(spec, swaps.read()) if lookup.tag(spec) else spec


Item = TypeVar("Item")


def _attempt(items: Iterable[Item], action: Callable[[Item], None]) -> list[int]:
    statuses = []
    for item in items:
        try:
            action(item)
        except Error as error:
            report.error(error)
            statuses.append(exit_status(error))
        except OSError as error:
            if error.filename is None:
                raise
            report.error(error)
            statuses.append(exit_status(error))
        else:
            statuses.append(0)
    return statuses


def each(items: Iterable[Item], action: Callable[[Item], None]) -> int:
    """Does it for each; the exit status is that of the first that failed."""
    return next((status for status in _attempt(items, action) if status), 0)


def every(items: Iterable[Item], action: Callable[[Item], None]) -> int:
    """Does it for each, as --all does: exit status 32 when all failed, 64 when some did."""
    statuses = _attempt(items, action)
    failed = sum(map(bool, statuses))
    if not failed:
        return 0
    return ALL_FAILED if failed == len(statuses) else SOME_FAILED


def taking_down(area: Area, force: bool = False) -> None:
    """Deactivates an area; on a terminal with a bar while its pages come back."""
    from .. import activation, swaps
    from . import Terminated

    bar = None
    if sys.stderr.isatty() and not report.quiet:
        from .progress import Bar

        bar = Bar(area.name, area.used)
    try:
        activation.deactivate(area, force=force, progress=bar.update if bar else None)
    except (KeyboardInterrupt, Terminated):
        if bar:
            bar.close()
        still = any(other.name == area.name for other in swaps.read())
        report.error(Error(f"interrupted, {'still' if still else 'no longer'} active", path=area.name))
        raise
    finally:
        if bar:
            bar.close()
