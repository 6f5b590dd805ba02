# SPDX-License-Identifier: GPL-2.0-or-later
"""ghostctl zswap."""

from __future__ import annotations

from typing import NamedTuple

import click

from .. import output, report, sizes, zswap
from ..errors import Unsupported, UsageError
from ..output import Column
from .options import common_params, json_option

_DEBUG = {
    "decompress_fail": "pages that could not be decompressed",
    "pool_limit_hit": "times that the pool was full",
    "reject_alloc_fail": "refused: no memory for the compressed page",
    "reject_compress_fail": "refused: the compressor failed",
    "reject_compress_poor": "refused: the page does not compress",
    "reject_crypto_fail": "refused: the compressor failed",
    "reject_kmemcache_fail": "refused: no memory for the entry",
    "reject_reclaim_fail": "refused: the pool was full and nothing could be written back",
    "same_filled_pages": "pages of one repeated word",
    "stored_incompressible_pages": "pages kept although they do not compress",
    "stored_pages": "pages in zswap",
    "written_back_pages": "pages written back to an area",
}
_PARAMETERS = {
    "accept_threshold_percent": "a full pool takes pages again below this share of its limit",
    "compressor": "what compresses the pages",
    "enabled": "whether zswap takes pages",
    "max_pool_percent": "limit of the pool, in percent of memory",
    "non_same_filled_pages_enabled": "take other pages than those of one repeated word",
    "same_filled_pages_enabled": "keep no copy of pages of one repeated word",
    "shrinker_enabled": "write cold pages back before the pool is full",
    "zpool": "allocator",
}


class _Line(NamedTuple):
    name: str
    value: str
    meaning: str = ""


_COLUMNS: tuple[Column[_Line], ...] = (
    Column("NAME", "the kernel's name", lambda line: line.name),
    Column("VALUE", "its value", lambda line: line.value, "number"),
    Column("MEANING", "what it is", lambda line: line.meaning),
)


# in the words of every version of click
@click.group("zswap", invoke_without_command=True, subcommand_metavar="[COMMAND] [ARGS]...")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show or set zswap, which holds the pages of ghosts.

    Without a command it shows, as "zswap show" does.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(show, as_json=as_json)
    elif as_json:
        raise UsageError(f"zswap: --json goes behind {ctx.invoked_subcommand}")


@command.command("show", short_help="Show parameters, the pool and the counters of zswap.")
@json_option
def show(as_json: bool = False) -> None:
    """Show parameters, the pool and the counters of zswap; as root also those in debugfs."""
    state = zswap.read()
    if state is None:
        raise Unsupported("this kernel has no zswap")
    parameters, events, debug = zswap.read_parameters(), zswap.read_events(), zswap.read_debug()
    if as_json:
        click.echo(output.json_text(_document(state, parameters, events, debug)))
        return
    lines = [_Line(name, value, _PARAMETERS.get(name, "")) for name, value in parameters.items()]
    lines += _pool_lines(state)
    lines += [_Line(name, str(value), zswap.EVENTS[name]) for name, value in events.items()]
    lines += [_Line(name, str(value), _DEBUG.get(name, "")) for name, value in debug.items()]
    for line in output.table(_COLUMNS, lines, headings=False):
        click.echo(line)
    if not debug:
        report.trace(f"no counters in /{zswap.DEBUG}: they need root, debugfs, and a zswap that ran once")


@command.command("set")
@click.argument("assignments", nargs=-1, metavar="NAME=VALUE...")
@click.option("--persist", is_flag=True, help="Also for the next boots, by a file in /etc/tmpfiles.d.")
@click.option("--forget", is_flag=True, help="Remove that file.")
@json_option
def set_(assignments: tuple[str, ...], persist: bool, forget: bool, as_json: bool) -> None:
    """Set parameters of zswap: all, or none when the kernel refuses one.

    NAME is enabled, compressor, max_pool_percent, accept_threshold_percent, shrinker, or what else this
    kernel's zswap has.

    \b
    Example:
      ghostctl zswap set enabled=yes compressor=zstd max_pool_percent=40 --persist
    """
    if persist and forget:
        raise UsageError("zswap set: --persist and --forget exclude each other")
    if not assignments and not forget:
        raise UsageError("zswap set: nothing to set", hint="try 'ghostctl zswap set --help'")
    values = zswap.parse(_split(assignments)) if assignments else {}
    path, kept = None, zswap.read_persistent() if persist or forget else {}
    with zswap.applied(values) as old:
        if persist:
            path = zswap.persist(values)
        elif forget:
            path = zswap.forget()
            if path is None:
                report.trace(f"/{zswap.TMPFILES}: was not there")
        changed = old != values or (path is not None and (forget or kept != zswap.read_persistent()))
    line = zswap.command_line(zswap.read_persistent() if persist else values)
    if as_json:
        document = {"set": values, "was": old, "file": path, "command_line": line, "changed": changed}
        click.echo(output.json_text(document))
    elif persist and not report.quiet:
        click.echo(f"wrote {path}")
        click.echo(f"the same on the kernel command line: {line}")


for _command in (show, set_, command):
    _command.params += common_params()


def _split(assignments: tuple[str, ...]) -> dict[str, str]:
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"zswap set: {assignment!r} is not NAME=VALUE")
        values[name] = value
    return values


def _pool_lines(state: zswap.Zswap) -> list[_Line]:
    lines = []
    if state.stored is not None:
        lines.append(_Line("stored", sizes.human(state.stored), "size of the pages in zswap"))
    if state.pool is not None:
        lines.append(_Line("pool", sizes.human(state.pool), "memory that they take"))
    if state.ratio is not None:
        lines.append(_Line("ratio", f"{state.ratio:.2f}", "stored to pool"))
    if state.pool_limit is not None:
        lines.append(_Line("pool_limit", sizes.human(state.pool_limit), "the most that the pool may take"))
    if state.fill is not None:
        lines.append(_Line("fill", f"{state.fill}%", "pool to its limit"))
    return lines


def _document(
    state: zswap.Zswap, parameters: dict[str, str], events: dict[str, int], debug: dict[str, int]
) -> dict[str, object]:
    return {
        **state._asdict(),
        "ratio": state.ratio and round(state.ratio, 2),
        "fill": state.fill,
        "parameters": parameters,
        "events": events,
        "debug": debug or None,
    }
