# SPDX-License-Identifier: GPL-2.0-or-later
"""What `ghostctl on` asks for, of which areas, and what it says has become of them; nothing is activated."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ghostctl import activation, areas, report
from ghostctl.activation import Request
from ghostctl.areas import Active
from ghostctl.backends import Options
from ghostctl.cli.on import command
from ghostctl.errors import Busy, UsageError
from ghostctl.swaps import Area

ALL = Options(discard="all")


class Kernel:
    """Activates what it is asked for and lists it, but for what is active already or busy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.actives: list[Active] = []
        self.busy: set[str] = set()
        self.asked: list[tuple[str, Request]] = []
        self.warned: list[str] = []
        """Paths whose automatic priority was looked at."""
        monkeypatch.setattr(activation, "activate", self.activate)
        monkeypatch.setattr(activation, "warn_automatic_priority", self.warn)
        monkeypatch.setattr(areas, "read", lambda: list(self.actives))
        # the real kernel would deny that it swaps to them
        monkeypatch.setattr(areas, "_is_swap_file", lambda *_: None)

    def activate(self, path: str, request: Request) -> bool:
        self.asked.append((path, request))
        if path in self.busy:
            raise Busy("is busy", path=path)
        if any(one.path == path for one in self.actives):
            return False
        self.actives.append(Active(Area(path, "ghost", 1024, 0, 5), path, "file", path))
        return True

    def warn(self, path: str, _request: Request, _fstab_path: str) -> None:
        self.warned.append(path)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture(autouse=True)
def report_as_it_was() -> Iterator[None]:
    old = report.quiet, report.verbosity
    yield
    report.quiet, report.verbosity = old


@pytest.fixture
def path(tmp_path: Path) -> str:
    return make(tmp_path / "ghost")


def make(path: Path) -> str:
    path.write_bytes(b"")
    return str(path)


def on(*args: str) -> int:
    status = command.main(list(args), "on", standalone_mode=False)
    assert isinstance(status, int)
    return status


def asked_for(kernel: Kernel, *args: str) -> Request:
    assert on(*args) == 0
    ((_, request),) = kernel.asked
    return request


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], Options()),
        # -d takes a value in the same word or none
        (["-d"], ALL),
        (["-dall"], ALL),
        (["-donce"], Options(discard="once")),
        (["-d=pages"], Options(discard="pages")),
        (["--discard"], ALL),
        (["--discard=once"], Options(discard="once")),
        # behind other letters, too
        (["-qd"], ALL),
        (["-ed=once"], Options(discard="once")),
        (["-p", "7", "-d"], Options(prio=7, discard="all")),
        (
            ["--compressor", "zstd", "--memory-limit", "64M"],
            Options(compressor="zstd", memory_limit=64 << 20),
        ),
        (["-o", "pri=3,discard=once"], Options(prio=3, discard="once")),
        (["-o", "x-ghost.compressor=lz4", "-p", "7"], Options(prio=7, compressor="lz4")),
    ],
)
def test_how_an_area_is_to_be_active(kernel: Kernel, path: str, words: list[str], options: Options) -> None:
    assert asked_for(kernel, *words, path) == Request(options)


def test_all_that_can_be_asked_for(kernel: Kernel, path: str) -> None:
    assert asked_for(kernel, path) == Request()
    for words, changed in (
        (["--backend", "zram"], {"backend": "zram"}),
        (["--fallback", "xswap,zram"], {"fallback": ("xswap", "zram")}),
        (["--force"], {"force": True}),
        (["--enable-zswap"], {"enable_zswap": True}),
        (["--fixpgsz"], {"fix_page_size": True}),
        (["-fd"], {"fix_page_size": True, "options": ALL}),
        (["--if-needed"], {"if_needed": True}),
        (["-o", "x-ghost.fallback=zram,x-ghost.zswap"], {"fallback": ("zram",), "enable_zswap": True}),
    ):
        kernel.asked.clear()
        assert asked_for(kernel, *words, path) == Request()._replace(**changed)


def test_behind_two_dashes_all_are_names(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "-d")
    make(tmp_path / "--discard")
    assert on("-donce", "--", "-d", "--discard") == 0
    request = Request(Options(discard="once"))
    assert kernel.asked == [("-d", request), ("--discard", request)]


@pytest.mark.parametrize("args", [[], ["--all", "/ghost"], ["--all", "-L", "ghost"]])
def test_one_or_all(kernel: Kernel, args: list[str]) -> None:
    with pytest.raises(UsageError, match="either SPEC or --all"):
        on(*args)
    assert kernel.asked == []


def test_what_of_the_options_counts_for_nothing(
    kernel: Kernel, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked_for(kernel, "-o", "pri=high,x-ghost.szie=1G", path) == Request()
    said = capsys.readouterr().err
    assert said.count("warning: --options: ") == said.count("\n") == 2
    assert "pri=high is ignored" in said
    assert "x-ghost.szie is ignored" in said


@pytest.mark.parametrize("option", [["--ifexists"], ["-o", "nofail"], []])
def test_what_does_not_exist(
    kernel: Kernel, path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    missing = str(tmp_path / "missing")
    # with another one behind it, which has its turn
    assert on(*option, "--json", missing, path) == (0 if option else 3)
    document = json.loads(capsys.readouterr().out)
    assert document["changed"]
    assert documents(document) == [
        {
            "spec": missing,
            "file": None,
            "area": None,
            "backend": None,
            "changed": False,
            "error": None if option else f"{missing}: No such file or directory",
        },
        activated(path),
    ]
    assert [asked for asked, _ in kernel.asked] == kernel.warned == [path]


def documents(document: Any) -> list[dict[str, object]]:
    assert set(document) == {"areas", "changed"}
    return list(document["areas"])


def activated(path: str, *, changed: bool = True) -> dict[str, object]:
    found = {"spec": path, "file": path, "area": path, "backend": "file"}
    return {**found, "changed": changed, "error": None}


def test_without_json_nothing_is_printed(
    kernel: Kernel, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked_for(kernel, path) == Request()
    assert capsys.readouterr() == ("", "")


def test_what_is_active_already(kernel: Kernel, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert kernel.activate(path, Request())
    assert on("--if-needed", "--json", path) == 0
    document = json.loads(capsys.readouterr().out)
    assert documents(document) == [activated(path, changed=False)]
    assert not document["changed"]


def test_what_failed(kernel: Kernel, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.busy.add(path)
    assert on("--json", path) == Busy.status
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert [(one["spec"], one["file"], one["error"]) for one in documents(document)] == [
        (path, None, f"{path}: is busy")
    ]
    assert not document["changed"]
    assert output.err == f"ghostctl: {path}: is busy\n"
    assert kernel.warned == []


def test_it_is_active_but_the_list_cannot_be_read_again(
    kernel: Kernel, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read() -> list[Active]:
        if kernel.asked:
            raise OSError(errno.EIO, os.strerror(errno.EIO), "/proc/swaps")
        return []

    monkeypatch.setattr(areas, "read", read)
    assert on("--json", path) == 0
    output = capsys.readouterr()
    assert documents(json.loads(output.out)) == [{**activated(path), "area": None, "backend": None}]
    assert output.err == (
        f"ghostctl: {path}: warning: what it is active as cannot be told: /proc/swaps: Input/output error\n"
    )


@pytest.fixture
def table(kernel: Kernel, tmp_path: Path) -> str:
    """An fstab with four ghosts: one that is active, two that are not, and one that no boot activates."""
    lines = [
        f"{make(tmp_path / 'active')} none swap x-ghost.size=1M 0 0",
        f"{make(tmp_path / 'first')} none swap x-ghost.size=1M,pri=7 0 0",
        f"{make(tmp_path / 'second')} none swap x-ghost.size=1M 0 0",
        f"{make(tmp_path / 'later')} none swap x-ghost.size=1M,noauto 0 0",
    ]
    path = tmp_path / "fstab"
    path.write_text("\n".join((*lines, "")))
    kernel.activate(str(tmp_path / "active"), Request())
    kernel.asked.clear()
    return str(path)


def test_all_that_are_not_active(
    kernel: Kernel, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on("--all", "-p", "3", "-T", table, "--json") == 0
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    # one that is active by then is no failure, and what the line says counts
    assert kernel.asked == [
        (first, Request(Options(prio=7), if_needed=True)),
        (second, Request(Options(prio=3), if_needed=True)),
    ]
    assert documents(json.loads(capsys.readouterr().out)) == [activated(first), activated(second)]


def test_of_all_some(kernel: Kernel, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    kernel.busy.add(first)
    os.unlink(second)
    assert on("--all", "--ifexists", "-T", table, "--json") == 64
    document = json.loads(capsys.readouterr().out)
    assert [(one["spec"], one["error"]) for one in documents(document)] == [
        (first, f"{first}: is busy"),
        (second, None),
    ]
    assert not document["changed"]
    kernel.busy.clear()
    assert on("--all", "--ifexists", "-T", table) == 0
    assert on("--all", "-T", table) == 32


def test_nothing_in_fstab_is_no_failure(
    kernel: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fstab"
    path.write_text("/ghostctl-none none swap noauto,x-ghost.size=1M 0 0\n")
    assert on("--all", "--fstab", str(path), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"areas": [], "changed": False}
    assert kernel.asked == []
