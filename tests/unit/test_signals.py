# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals that wait for the end of a block, and those that come while a child process makes a call."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import oscalls
import pytest

from ghostctl import errors, report, signals, syscalls

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


@pytest.mark.usefixtures("came")
def test_the_error_whose_place_a_signal_takes_is_told() -> None:
    told: list[object] = []
    failure = errors.Error("not done")

    def fail() -> None:
        raise failure

    for is_sent in (False, True):
        for block, wanted in ((fail, failure), (lambda: None, None)):
            with suppress(errors.Error), signals.deferred(told.append):
                if is_sent:
                    send(signal.SIGTERM)
                block()
            assert told == ([wanted] if is_sent else [])
            told.clear()


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


# -- a call in a child process


def fail_with(number: int) -> Callable[[], None]:
    def call() -> None:
        raise OSError(number, "")

    return call


def forever() -> None:
    while True:
        time.sleep(60)


def apart(call: Callable[[], object]) -> None:
    """Makes the call in a child, of which nothing may be left, nor of its signals."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    # those of other tests may be there
    before = children(os.getpid())
    try:
        syscalls.apart(call, "swapoff", "/area")
    finally:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
        assert set(children(os.getpid())) <= set(before)


@pytest.fixture
def soon() -> Iterator[Callable[[int], None]]:
    """Sends a signal to this thread a moment later, when this process has a child.

    Threads of pytest's would take one that is for the process: during fork(2), where Python 3.12 and later
    drop what its handler raises. ghostctl's own threads block all signals.
    """
    threads = []
    waiting = threading.get_ident()
    before = set(children(os.getpid()))

    def send_soon(number: int) -> None:
        def wait_and_send() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            while set(children(os.getpid())) <= before:
                time.sleep(0.001)
            signal.pthread_kill(waiting, number)

        threads.append(threading.Thread(target=wait_and_send))
        threads[-1].start()

    yield send_soon
    for thread in threads:
        thread.join()


def children(pid: int) -> list[int]:
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def test_the_call_is_made_in_a_child() -> None:
    reading, writing = os.pipe()
    apart(lambda: os.write(writing, f"{os.getpid()} {os.getppid()}".encode()))
    found, parent = map(int, os.read(reading, 100).split())
    assert found != os.getpid()
    assert parent == os.getpid()
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EBUSY, errno.EINVAL])
def test_an_errno_comes_out_of_the_child(number: int) -> None:
    with pytest.raises(OSError, match="swapoff failed: ") as caught:
        apart(fail_with(number))
    error = caught.value
    assert (error.errno, error.filename) == (number, "/area")
    assert error.strerror == f"swapoff failed: {os.strerror(number)}"


def test_memory_that_runs_out() -> None:
    for call, what in (
        (fail_with(errno.ENOMEM), "swapoff failed: Cannot allocate memory"),
        (lambda: send(signal.SIGKILL), "killed while pages came back"),
    ):
        with pytest.raises(errors.NoMemory, match=what) as caught:
            apart(call)
        assert str(caught.value).startswith("/area: ")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGRTMIN + 3], ids=int)
def test_a_child_that_ends_otherwise(number: int) -> None:
    with pytest.raises(errors.Error, match=rf"/area: the process .* was ended by signal {int(number)}$"):
        apart(lambda: send(number))


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_whose_handler_raises_ends_the_child(soon: Callable[[int], None], number: int) -> None:
    def handler(got: int, _frame: object) -> None:
        raise Came(got)

    old = signal.signal(number, handler)
    try:
        soon(number)
        with pytest.raises(Came):
            apart(forever)
    finally:
        signal.signal(number, old)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_is_held_back_ends_the_child(
    came: list[int], soon: Callable[[int], None], number: int
) -> None:
    with signals.deferred():
        # one that came before is no reason to give up what undoes things
        send(number)
        apart(lambda: fail_with(errno.EINTR)() if signals.arrived else None)
        soon(number)
        with pytest.raises(InterruptedError, match="swapoff failed: "):
            apart(forever)
        assert signals.arrived == [number, number]
        assert came == []
    assert came == [number]


@pytest.mark.parametrize("held_back", [False, True])
def test_what_the_child_alone_gets_takes_effect_here(came: list[int], held_back: bool) -> None:
    """By strace(1), for example."""
    if held_back:
        with signals.deferred():
            with pytest.raises(InterruptedError):
                apart(lambda: send(signal.SIGTERM))
            assert signals.arrived == [signal.SIGTERM]
    else:
        with pytest.raises(InterruptedError):
            apart(lambda: send(signal.SIGTERM))
    assert came == [signal.SIGTERM]


def test_what_is_ignored_does_not_end_the_child(came: list[int], soon: Callable[[int], None]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    apart(lambda: send(signal.SIGHUP))
    assert came == []
    # a handler that does not raise, and that nothing holds back: the call goes on
    soon(signal.SIGINT)
    apart(lambda: time.sleep(0.3))
    assert came == [signal.SIGINT]


def test_children_that_nobody_wants_to_wait_for() -> None:
    """With SIGCHLD ignored by the parent process, the status of a child would be lost."""
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(PermissionError):
            apart(fail_with(errno.EPERM))
    finally:
        signal.signal(signal.SIGCHLD, old)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_without_a_process_the_call_is_made_here(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    made: list[int] = []
    oscalls.fail(monkeypatch, "fork", number)
    apart(lambda: made.append(os.getpid()))
    assert made == [os.getpid()]
    with pytest.raises(PermissionError, match="swapoff failed: "):
        apart(fail_with(errno.EPERM))
    with pytest.raises(errors.NoMemory):
        apart(fail_with(errno.ENOMEM))


def test_the_child_prints_nothing(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Another thread may be in the middle of it."""
    monkeypatch.setattr(report, "verbosity", 2)
    apart(lambda: report.trace("here"))
    assert report.verbosity == 2
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_child_ends_with_its_parent(number: int) -> None:
    script = (
        "import sys, time; sys.path[:] = %r\n"
        "from ghostctl import syscalls\n"
        "syscalls.apart(lambda: (print('begun', flush=True), time.sleep(60)), 'swapoff', '/area')"
    )
    with subprocess.Popen(
        [sys.executable, "-IS", "-c", script % sys.path], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        (child,) = children(process.pid)
        process.send_signal(number)
        # the end of the pipe: nobody has it open any more
        assert process.stdout.read() == b""
        assert process.wait() == -number
        assert not os.path.exists(f"/proc/{child}/exe")
