# SPDX-License-Identifier: GPL-2.0-or-later
"""status --watch on a real terminal: tmux's."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

import pytest
from machine import GHOSTCTL, require, run, swap_file

WAIT = 10


class Terminal:
    """A tmux of the test's own with one pane and a shell in it."""

    def __init__(self, directory: Path) -> None:
        self._socket = str(directory / "tmux")
        self("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "PS1='ready> ' sh")
        self.until(lambda: "ready>" in self.screen())

    def __call__(self, *args: str) -> str:
        return run("tmux", "-S", self._socket, *args)

    def screen(self) -> str:
        return self("capture-pane", "-p")

    def type(self, text: str) -> None:
        self("send-keys", text, "Enter")

    def key(self, name: str) -> None:
        self("send-keys", name)

    @property
    def mode(self) -> str:
        """Whether the other screen is shown, and the cursor."""
        return self("display-message", "-p", "#{alternate_on} #{cursor_flag}").strip()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, self.screen()
            time.sleep(0.05)

    def watch(self, seconds: int, before: str = "") -> int:
        """Starts the view, in a shell that does something before; its process."""
        command = shlex.quote(f"{before}exec {shlex.quote(str(GHOSTCTL))} status --watch={seconds}")
        self.type(f"stty -a; sh -c {command}; echo status $?")
        self.until(lambda: self.mode == "1 0" and "swap out" in self.screen())
        (shell,) = self("list-panes", "-F", "#{pane_pid}").split()
        return int(run("ps", "--ppid", shell, "-o", "pid=").split()[0])

    def is_as_before(self) -> None:
        """Waits for the first screen, and sees that its settings are the same."""
        self.until(lambda: self.mode == "0 1")
        self.type("stty -a")
        self.until(lambda: len(self._settings()) == 2)
        before, after = self._settings()
        assert before == after

    def _settings(self) -> list[str]:
        return [line for line in self.screen().splitlines() if "icanon" in line]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    require("tmux")
    terminal = Terminal(tmp_path)
    try:
        yield terminal
    finally:
        terminal("kill-server")


@pytest.mark.parametrize("way", ["q", "C-c", "TERM", "HUP", "QUIT"])
def test_the_terminal_is_as_before(terminal: Terminal, way: str) -> None:
    process = terminal.watch(60)
    if way.isupper():
        subprocess.run(["kill", f"-{way}", str(process)], check=True)
    else:
        terminal.key(way)
    terminal.is_as_before()
    status = 128 + signal.Signals[f"SIG{way}"] if way.isupper() else 0
    if way != "C-c":  # which ends the shell's line as well
        assert f"status {status}" in terminal.screen()


def test_stopped_and_continued(terminal: Terminal) -> None:
    terminal.watch(60)
    terminal.key("C-z")
    terminal.until(lambda: terminal.mode == "0 1")
    terminal.type("fg")
    terminal.until(lambda: terminal.mode == "1 0")
    terminal.key("q")
    terminal.is_as_before()


def test_an_area_that_comes_or_goes_shows_at_once(terminal: Terminal, swap_dir: Path) -> None:
    path = swap_file(swap_dir / "area")
    terminal.watch(3600)
    assert str(path) not in terminal.screen()
    run("swapon", path)
    terminal.until(lambda: str(path) in terminal.screen())
    run("swapoff", path)
    terminal.until(lambda: str(path) not in terminal.screen())


def test_every_size(terminal: Terminal) -> None:
    terminal("resize-window", "-x", "60", "-y", "10")
    terminal.watch(3600)
    terminal("resize-window", "-x", "20", "-y", "4")
    terminal.until(lambda: "written back" not in terminal.screen())
    for width, height in ((7, 3), (120, 40)):
        terminal("resize-window", "-x", str(width), "-y", str(height))
        terminal.until(lambda: terminal("display-message", "-p", "#{pane_width}") == f"{width}\n")  # noqa: B023
        lines = terminal.screen().splitlines()
        assert len(lines) <= height
        assert all(len(line) <= width for line in lines)
    # what did not fit before is there only if it was drawn again
    terminal.until(lambda: "written back" in terminal.screen())


def test_blocks_where_there_is_no_terminal() -> None:
    start = time.monotonic()
    with subprocess.Popen(
        [GHOSTCTL, "status", "--watch", "0.5"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        blocks = 0
        for line in process.stdout:
            assert "\x1b" not in line
            assert "quit" not in line
            blocks += "written back" in line
            if blocks == 4:
                break
        assert time.monotonic() - start >= 1.5
        process.terminate()
        process.stdout.close()
    assert process.returncode == -signal.SIGTERM


def test_help(terminal: Terminal) -> None:
    terminal.watch(3600)
    assert "? help" in terminal.screen()
    terminal.key("?")
    terminal.until(lambda: "any key leaves it" in terminal.screen())
    assert "memory pressure" not in terminal.screen()
    # which is no key of the view, and leaves it all the same
    terminal.key("x")
    terminal.until(lambda: "any key leaves it" not in terminal.screen())
    terminal.key("q")
    terminal.is_as_before()


def test_keys_that_send_more_than_one_character(terminal: Terminal) -> None:
    """The last letter of some of them is a key of the view."""
    terminal.watch(3600)
    for name in ("Up", "F1", "S-F4", "Home", "Delete", "Escape"):
        terminal.key(name)
    terminal.key("s")
    terminal.until(lambda: "by priority" in terminal.screen())
    assert "any key" not in terminal.screen()
    assert "PID" not in terminal.screen()


def test_a_pause(terminal: Terminal, swap_dir: Path) -> None:
    path = swap_file(swap_dir / "area")
    terminal.watch(1)
    terminal.key("Space")
    terminal.until(lambda: "  paused" in terminal.screen())
    clock = terminal.screen().split()[1]
    run("swapon", path)
    # the picture is drawn again, in another order and another size, but is the same
    terminal.key("s")
    terminal.until(lambda: "by priority" in terminal.screen())
    terminal("resize-window", "-x", "90", "-y", "25")
    terminal.until(lambda: len(terminal.screen().splitlines()) == 25 and "quit" in terminal.screen())
    assert terminal.screen().split()[1] == clock
    assert str(path) not in terminal.screen()
    terminal.key("Space")
    terminal.until(lambda: str(path) in terminal.screen())
    assert "paused" not in terminal.screen()
    run("swapoff", path)


def names_in(screen: str, directory: Path) -> list[str]:
    """The areas below a directory in the order of the screen."""
    return re.findall(rf"^{re.escape(str(directory))}/(\S+)", screen, re.MULTILINE)


def test_sorted(terminal: Terminal, swap_dir: Path) -> None:
    for name, size, prio in (("b", 2, 3), ("c", 1, 7), ("a", 3, 5)):
        run("swapon", "-p", str(prio), swap_file(swap_dir / name, size << 20))
    terminal.watch(3600)
    terminal.until(lambda: names_in(terminal.screen(), swap_dir) == ["b", "c", "a"])
    orders = {"by priority": "cab", "by size": "abc", "by name": "abc"}
    for word in ("by priority", "by used", "by size", "by name"):
        terminal.key("s")
        terminal.until(lambda: word in terminal.screen())  # noqa: B023
        if word in orders:
            assert names_in(terminal.screen(), swap_dir) == list(orders[word])
    terminal.key("s")
    terminal.until(lambda: names_in(terminal.screen(), swap_dir) == ["b", "c", "a"])


def test_the_interval(terminal: Terminal) -> None:
    terminal.watch(3600)
    for key, words in (("-", "every 900 s"), ("-", "every 300 s"), ("+", "every 900 s")):
        terminal.key(key)
        terminal.until(lambda: words in terminal.screen())  # noqa: B023


SWAPPED_OUT = """
import mmap, sys
memory = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = bytes(range(256)) * (len(memory) // 256)
memory.madvise(21)  # MADV_PAGEOUT of linux/mman.h
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def swapped(swap_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has pages in a swap area."""
    require("root")
    run("swapon", "-p", "32767", swap_file(swap_dir / "area", 8 << 20))
    with subprocess.Popen(
        [sys.executable, "-c", SWAPPED_OUT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "done\n"
        yield process
        process.stdin.close()


def test_usage_by_process_and_cgroup(terminal: Terminal, swapped: subprocess.Popen[str]) -> None:
    terminal.watch(1)
    row = re.compile(rf"^ *{swapped.pid} .*4M", re.MULTILINE)
    assert not row.search(terminal.screen())
    terminal.key("p")
    terminal.until(lambda: row.search(terminal.screen()) is not None)
    # who has them matters more than what went in and out, on a small screen
    terminal("resize-window", "-x", "80", "-y", "12")
    terminal.until(lambda: len(terminal.screen().splitlines()) == 12 and "quit" in terminal.screen())
    terminal.until(lambda: row.search(terminal.screen()) is not None)
    terminal.key("p")
    terminal.until(lambda: "PID" not in terminal.screen())
    terminal.key("c")
    terminal.until(lambda: "SWAP-MAX" in terminal.screen() or "/sys/fs/cgroup" in terminal.screen())
    terminal.key("p")
    terminal.until(lambda: row.search(terminal.screen()) is not None)
    assert "SWAP-MAX" not in terminal.screen()


def lines_of(data: bytes) -> list[str]:
    """Those of the last picture, without what is no text."""
    text = data.decode().rpartition("\x1b[H")[2]
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "").split("\n")


@pytest.mark.parametrize("keys", ["r", "?", "p", "c"])
@pytest.mark.parametrize(
    ("columns", "rows"), [(40, 24), (80, 24), (200, 50), (80, 10), (40, 10), (7, 3), (1, 1)]
)
def test_no_line_is_longer_than_the_screen(columns: int, rows: int, keys: str, swap_dir: Path) -> None:
    path = swap_file(swap_dir / "an area with a long name")
    run("swapon", path)
    with unread(rows, columns) as (master, process):
        master.write(keys.encode())
        # the picture after that key, and no other
        lines = lines_of(read_until(master, b"\x1b[H"))
        master.write(b"q")
        assert process.wait(WAIT) == 0
    run("swapoff", path)
    assert len(lines) <= rows
    assert all(len(line) < max(columns, 2) for line in lines), lines
    if rows >= 10 and keys != "?":
        assert any("long name" in line for line in lines), lines
    if rows >= 10:
        assert lines[-1].startswith("q quit")


def test_colour_is_asked_for() -> None:
    for args, has_colour in (((), True), (("--color", "never"), False)):
        with unread(30, 100, *args) as (master, process):
            master.write(b"r")
            assert (b"\x1b[1m" in read_until(master, b"quit")) == has_colour
            process.kill()
    with unread(30, 100, NO_COLOR="1") as (master, process):
        master.write(b"r")
        assert b"\x1b[1m" not in read_until(master, b"quit")
        process.kill()


def test_what_is_not_active_is_said_and_in_the_exit_status(terminal: Terminal) -> None:
    terminal.type(f"{shlex.quote(str(GHOSTCTL))} status nosuch --watch; echo status $?")
    terminal.until(lambda: "not active: nosuch" in terminal.screen())
    terminal.key("q")
    terminal.until(lambda: "status 3" in terminal.screen())


def test_the_size_is_the_terminals_whatever_columns_says(terminal: Terminal) -> None:
    terminal.type("export COLUMNS=20")
    terminal.watch(3600)
    terminal.until(lambda: any(len(line) > 30 for line in terminal.screen().splitlines()))


def test_without_proc_swaps(terminal: Terminal) -> None:
    require("mount")
    program = shlex.quote(str(GHOSTCTL))
    script = f"mount -t proc -o subset=pid proc /proc && {program} status --watch; echo status $?"
    terminal.type(f"unshare --mount sh -c {shlex.quote(script)}")
    terminal.until(lambda: "status 1" in terminal.screen())
    assert "ghostctl: /proc/swaps: /proc is not mounted as a whole" in terminal.screen()


@pytest.mark.parametrize("name", ["TSTP", "INT", "QUIT", "HUP", "TERM"])
def test_a_signal_that_is_ignored_on_a_terminal(terminal: Terminal, name: str) -> None:
    process = terminal.watch(3600, before=f"trap '' {name}; ")
    if name in ("TSTP", "INT", "QUIT"):
        terminal.key({"TSTP": "C-z", "INT": "C-c", "QUIT": "C-\\"}[name])
    else:
        os.kill(process, signal.Signals[f"SIG{name}"])
    # which it would not get if it had ended or stopped
    terminal.key("q")
    terminal.is_as_before()
    assert "status 0" in terminal.screen()


@pytest.mark.parametrize("name", ["INT", "QUIT", "HUP", "TERM", "TSTP"])
def test_a_signal_that_is_ignored_without_a_terminal(name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    script = f"trap '' {name}; exec \"$@\""
    with subprocess.Popen(
        ["sh", "-c", script, "sh", GHOSTCTL, "status", "--watch", "0.1"],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        blocks = 0
        for line in process.stdout:
            blocks += "written back" in line
            if "written back" in line:
                os.kill(process.pid, number)
            if blocks == 3:
                break
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_a_background_process_of_a_script_outlives_an_interrupt(tmp_path: Path) -> None:
    """Which the shell has made ignore it."""
    log = tmp_path / "log"
    script = f": >{log}; {shlex.quote(str(GHOSTCTL))} status --watch 0.1 >>{log} & echo $!"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout
        process = int(shell.stdout.readline())
    try:
        for blocks in (1, 2, 3):
            deadline = time.monotonic() + WAIT
            while log.read_text().count("written back") < blocks:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(process, signal.SIGINT)
    finally:
        os.kill(process, signal.SIGKILL)


@contextmanager
def unread(
    rows: int = 30, columns: int = 100, *args: str, **environment: str
) -> Iterator[tuple[FileIO, subprocess.Popen[str]]]:
    """The view on a terminal of which the test has the other end."""
    fd, slave = pty.openpty()
    termios.tcsetwinsize(slave, (rows, columns))
    with (
        FileIO(fd, "r+") as master,
        subprocess.Popen(
            [GHOSTCTL, "status", "--watch=3600", *args],
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            start_new_session=True,
        ) as process,
    ):
        os.close(slave)
        try:
            read_until(master, b"\x1b[J")
            yield master, process
        finally:
            process.kill()


def read_until(master: FileIO, end: bytes) -> bytes:
    """What comes up to a picture that has this."""
    seen = b""
    while end not in seen or not seen.endswith(b"\x1b[J"):
        assert select.select([master], [], [], WAIT)[0], seen
        seen += master.read(4096)
    return seen


def writes(process: subprocess.Popen[str]) -> bool:
    """Whether it waits in a system call whose first argument is its standard output."""
    return Path(f"/proc/{process.pid}/syscall").read_text().split()[1:2] == ["0x1"]


def read_all(master: FileIO) -> bytes:
    """What comes until the process has ended."""
    seen = b""
    with suppress(OSError):
        while select.select([master], [], [], WAIT)[0] and (data := master.read(65536)):
            seen += data
    return seen


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGWINCH])
def test_a_signal_while_the_terminal_takes_nothing(number: signal.Signals) -> None:
    require("root")
    with unread() as (master, process):
        deadline = time.monotonic() + WAIT
        while not writes(process):
            assert time.monotonic() < deadline
            os.kill(process.pid, signal.SIGWINCH)
        os.kill(process.pid, number)
        master.write(b"q")
        seen = read_all(master)
        assert process.wait(WAIT) == 0, seen
        assert process.stderr
        assert process.stderr.read() == ""
        # nothing stops it: its parent, in another session, could not continue it
        times = 2 if number == signal.SIGTSTP else 1
        assert seen.count(b"\x1b[?25h\x1b[?1049l") == times
        assert seen.count(b"\x1b[?1049h\x1b[?25l") == times - 1
        assert seen.endswith(b"\x1b[?25h\x1b[?1049l")


def test_a_terminal_that_goes_away() -> None:
    with unread() as (master, process):
        master.close()
        assert process.wait(WAIT) == 1
        assert process.stderr
        assert process.stderr.read() == "ghostctl: standard output: write error: Input/output error\n"


def test_a_terminal_that_does_not_know_its_size() -> None:
    """Such as a serial line."""
    with unread(0, 0) as (master, process):
        master.write(b"q")
        assert process.wait(WAIT) == 0


def test_what_is_typed_before_the_view_is_there() -> None:
    fd, slave = pty.openpty()
    with FileIO(fd, "r+") as master, FileIO(slave, "r+") as terminal:
        master.write(b"q")
        done = subprocess.run(
            [GHOSTCTL, "status", "--watch=3600"],
            stdin=terminal,
            stdout=terminal,
            timeout=WAIT,
            check=False,
            start_new_session=True,
        )
    assert done.returncode == 0
