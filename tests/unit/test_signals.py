# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals that wait for the end of a block, sent to a Python of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from ghostctl import signals

ENDING = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM]


class Came(BaseException):
    """What a handler of the program raises."""


@pytest.fixture
def came() -> Iterator[list[int]]:
    """The signals for which the test's own handlers were called."""
    found: list[int] = []
    old = {number: signal.signal(number, lambda got, _frame: found.append(got)) for number in ENDING}
    try:
        yield found
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_takes_effect_at_the_end(came: list[int], number: int) -> None:
    with signals.deferred():
        send(number)
        assert came == []
        assert signals.arrived == [number]
    assert came == [number]
    assert signals.arrived == []


def test_each_once_in_their_order(came: list[int]) -> None:
    with signals.deferred():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            send(number)
        assert signals.arrived == [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]
    assert came == [signal.SIGTERM, signal.SIGINT]


def test_one_block_in_another(came: list[int]) -> None:
    with signals.deferred():
        send(signal.SIGINT)
        with signals.deferred():
            assert signals.arrived == [signal.SIGINT]
            send(signal.SIGTERM)
        # for the outer block it has only just come
        assert came == []
        assert signals.arrived == [signal.SIGINT, signal.SIGTERM]
    assert came == [signal.SIGINT, signal.SIGTERM]


def test_others_are_not_held_back(came: list[int]) -> None:
    old = signal.signal(signal.SIGUSR1, lambda got, _frame: came.append(got))
    try:
        with signals.deferred():
            send(signal.SIGUSR1)
            assert came == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, old)


def raise_in(block: Callable[[], None]) -> None:
    with signals.deferred():
        block()


def test_the_handlers_are_put_back_when_the_block_fails(came: list[int]) -> None:
    def fail() -> None:
        send(signal.SIGTERM)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        raise_in(fail)
    assert came == [signal.SIGTERM]
    send(signal.SIGHUP)
    assert came == [signal.SIGTERM, signal.SIGHUP]


def test_what_a_handler_raises_comes_out_of_the_block() -> None:
    def handler(number: int, _frame: object) -> None:
        raise Came(number)

    old = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(Came):
            raise_in(lambda: send(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, old)
    assert signals.arrived == []


def test_an_ignored_signal_stays_ignored(came: list[int]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert signals.is_ignored(signal.SIGHUP)
    assert not signals.is_ignored(signal.SIGTERM)
    with signals.deferred():
        send(signal.SIGHUP)
        assert signals.arrived == []
    assert signals.is_ignored(signal.SIGHUP)
    assert came == []


@pytest.mark.parametrize("number", ENDING)
def test_by_default_the_process_dies_of_it_but_not_before(number: int) -> None:
    script = (
        "import os, sys; from ghostctl import signals; number = int(sys.argv[1])\n"
        "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "with signals.deferred(): os.kill(os.getpid(), number); print('done', flush=True)\n"
        "print('never')"
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{script}", str(int(number))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-number, "done\n")
