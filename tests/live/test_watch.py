# SPDX-License-Identifier: GPL-2.0-or-later
"""status --watch on a real terminal: tmux's."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
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

    def watch(self, seconds: int) -> int:
        """Starts the view; its process."""
        self.type(f"stty -a; {shlex.quote(str(GHOSTCTL))} status --watch={seconds}; echo status $?")
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
    terminal("resize-window", "-x", "60", "-y", "20")
    terminal.watch(3600)
    assert "written back" not in terminal.screen()
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
            blocks += "written back" in line
            if blocks == 4:
                break
        assert time.monotonic() - start >= 1.5
        process.terminate()
        process.stdout.close()
    assert process.returncode == -signal.SIGTERM


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
    terminal.until(lambda: terminal.mode == "1 0" and "no active swap area" in terminal.screen())
    terminal.key("q")
    terminal.until(lambda: "status 0" in terminal.screen())
