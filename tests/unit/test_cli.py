# SPDX-License-Identifier: GPL-2.0-or-later
"""How errors, signals and values of options pass through the command line's own modules."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from ghostctl import labels
from ghostctl.cli import OutputError, Terminated, catch_signals, loops, options, program
from ghostctl.errors import Busy, Error, NotFound, UsageError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    old = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, old, strict=True):
        signal.signal(number, handler)


def failing_with(error: BaseException | None) -> Callable[[object], None]:
    def action(_: object) -> None:
        if error is not None:
            raise error

    return action


# each item has its turn


def test_all_have_their_turn_and_the_first_failure_is_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    errors: list[Exception | None] = [
        None,
        Busy("is busy", path="a"),
        # no file name: not an error of standard output for that
        OSError(errno.ENOSPC, "No space left on device"),
        NotFound("is not there", path="c"),
        None,
    ]
    done, failures = [], []

    def action(number: int) -> None:
        done.append(number)
        failing_with(errors[number])(number)

    status = loops.each(range(5), action, failed=lambda number, error: failures.append((number, error)))
    assert (status, done) == (6, [0, 1, 2, 3, 4])
    assert failures == [(number, errors[number]) for number in (1, 2, 3)]
    assert capsys.readouterr().err == (
        "ghostctl: a: is busy\nghostctl: No space left on device\nghostctl: c: is not there\n"
    )
    assert loops.each([], action) == 0


@pytest.mark.parametrize(
    ("bad", "status"), [([], 0), ([1], 64), ([0, 2], 64), ([0, 1, 2], 32)], ids=["none", "one", "two", "all"]
)
def test_of_all_some_failed(bad: list[int], status: int) -> None:
    def action(number: int) -> None:
        failing_with(Busy("is busy") if number in bad else None)(number)

    assert loops.every(range(3), action) == status


def test_no_items_did_not_fail() -> None:
    assert loops.every([], failing_with(Busy("is busy"))) == 0


@pytest.mark.parametrize("error", [OutputError(errno.EIO, "x", "standard output"), Terminated(15)], ids=repr)
def test_what_ends_the_program_ends_the_loop(error: BaseException) -> None:
    for loop in (loops.each, loops.every):
        with pytest.raises(type(error)):
            loop([1, 2], failing_with(error))


# the program


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ghostctl", *args])
    return program.run()


def with_open_failing(monkeypatch: pytest.MonkeyPatch, path: Path, error: OSError) -> None:
    real = os.open

    def call(name: object, *args: object, **keywords: object) -> int:
        if str(name) == str(path):
            raise error
        return real(name, *args, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", call)


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 1), (errno.EPIPE, 1), (errno.EACCES, 4), (errno.ENOMEM, 7)]
)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("command", ["inspect", "label"])
def test_an_error_of_a_file_is_none_of_standard_output(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    status: int,
    named: bool,
    command: str,
) -> None:
    path = tmp_path / "ghost"
    error = OSError(number, os.strerror(number), str(path) if named else None)
    with_open_failing(monkeypatch, path, error)
    assert run(monkeypatch, command, str(path)) == status
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.endswith(f"{os.strerror(number)}\n")
    assert "standard output" not in err
    if named:
        assert err == f"ghostctl: {path}: {os.strerror(number)}\n"


def test_an_error_of_standard_output_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OutputError(errno.EPIPE, "write error: Broken pipe", "standard output")

    monkeypatch.setattr(click, "echo", fail)
    with pytest.raises(OutputError):
        run(monkeypatch, "status", "--json")


# signals


def test_signals_become_exceptions() -> None:
    catch_signals()
    for number in (signal.SIGTERM, signal.SIGHUP):
        with pytest.raises(Terminated) as caught:
            os.kill(os.getpid(), number)
        assert caught.value.number == number
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_what_the_parent_has_ignored_stays_ignored(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    catch_signals()
    os.kill(os.getpid(), number)
    assert signal.getsignal(number) is signal.SIG_IGN


# values of options


def parse(text: str) -> int:
    if text != "one":
        raise UsageError(f"invalid number {text!r}", hint="the only number is one")
    return 1


@pytest.fixture
def command() -> click.Command:
    @click.command("count")
    @click.option("-n", "--number", type=options.Parsed(parse, "N"), default=7)
    @click.argument("word", type=options.Parsed(parse, "WORD"), required=False)
    def count(number: int, word: int | None) -> tuple[int, int | None]:
        return number, word

    return count


def test_a_parsed_value(command: click.Command) -> None:
    assert command.main([], standalone_mode=False) == (7, None)
    assert command.main(["-n", "one", "one"], standalone_mode=False) == (1, 1)
    assert "-n, --number N\n" in command.get_help(click.Context(command))


@pytest.mark.parametrize(("args", "named"), [(["-n", "two"], "'-n' / '--number'"), (["two"], "'[WORD]'")])
def test_a_value_that_is_refused(command: click.Command, args: list[str], named: str) -> None:
    with pytest.raises(options.BadValue) as caught:
        command.main(args, standalone_mode=False)
    error = caught.value
    assert error.format_message() == f"Invalid value for {named}: invalid number 'two'"
    assert error.hint == "the only number is one"
    assert error.ctx is not None


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        ("swap", b"swap"),
        ("grün", "grün".encode()),
        # as Python reads arguments in a locale that is not UTF-8
        ("gr\udcc3\udcbcn", "grün".encode()),
        ("fifteen bytes..", b"fifteen bytes.."),
        ("sixteen bytes...", b"sixteen bytes.."),
        ("fourteen bytesü", b"fourteen bytes"),
    ],
)
def test_labels(text: str, data: bytes) -> None:
    assert labels.parse_label(text) == data


@pytest.mark.parametrize("text", ["a\tb", "\x1b", "gr\udcfcn", "\u2028"])
def test_labels_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="label"):
        labels.parse_label(text)


def test_a_path_is_not_looked_up() -> None:
    assert options.locate("/no/such") == "/no/such"
    assert options.locate("./LABEL=x") == "./LABEL=x"
    with pytest.raises(Error):
        options.locate("UUID=00000000-0000-4000-8000-000000000000")
