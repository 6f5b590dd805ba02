# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab says when it cannot have a kernel, with apt replaced on PATH."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from machine import require, run
from vm import lab

APT = """\
#!/bin/sh
echo "$*" >>{log}
case "$*" in
*indextargets*) echo "Debian-Security http://archive.invalid/debian-security/"; echo "{origin}" ;;
*update*) {update} ;;
*search*) {search} ;;
*download*) {download} ;;
esac
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    path.mkdir()
    monkeypatch.setattr(lab, "CACHE", path)
    return path


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a made-up apt does, written when `fetch` starts; the calls are in `log`."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return {
        "log": str(tmp_path / "log"),
        "origin": "Debian http://archive.invalid/debian/",
        "update": "true",
        "search": 'echo "linux-source-7.2 - Linux kernel source"',
        "download": "echo whole >linux-source-7.2_7.2.13-1_all.deb",
    }


def fetch(apt: dict[str, str]) -> Path:
    for name in ("apt-get", "apt-cache"):
        path = Path(apt["log"]).with_name(name)
        path.write_text(APT.format(**apt))
        path.chmod(0o755)
    return lab._fetch("7.2")


def test_a_package_is_fetched_once_and_by_a_list_of_its_own(cache: Path, apt: dict[str, str]) -> None:
    assert fetch(apt) == cache / "linux-source-7.2_7.2.13-1_all.deb"
    calls = Path(apt["log"]).read_text()
    assert fetch(apt).read_text() == "whole\n"
    assert Path(apt["log"]).read_text() == calls
    assert [path.name for path in cache.iterdir()] == ["linux-source-7.2_7.2.13-1_all.deb"]
    for call in calls.splitlines()[1:]:
        assert f"Dir::Etc::sourcelist={cache}/fetch-" in call
        assert "Dir::Etc::sourceparts=/dev/null" in call
        assert f"Dir::State::lists={cache}/fetch-" in call


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            {"search": 'echo "linux-source-7.3 - newer"'},
            "sid has no linux-source-7.2; it has linux-source-7.3",
        ),
        ({"search": "true"}, "sid has no linux-source-7.2; it has no kernel source"),
        ({"update": "echo no network; exit 100"}, "update: exit status 100\nno network"),
        (
            {"download": "echo half >linux-source-7.2_7.2.13-1_all.deb; echo Hash mismatch; exit 100"},
            "download linux-source-7.2: exit status 100\nHash mismatch",
        ),
        ({"origin": ""}, "apt has no list of Debian's archive: run `apt-get update`"),
    ],
)
def test_no_package(cache: Path, apt: dict[str, str], words: dict[str, str], error: str) -> None:
    with pytest.raises(lab.LabError) as caught:
        fetch(apt | words)
    assert error in str(caught.value)
    assert isinstance(caught.value, lab.NoSource) == ("search" in words)
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("cache")
def test_an_archive_that_has_moved_on(
    apt: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The series is passed over, and tests in its guests are skipped with the reason."""
    fetch(apt).unlink()
    monkeypatch.setattr(lab, "install_packages", lambda: None)
    monkeypatch.setattr(lab, "SPACE", 0)
    lab.hog_path().touch()
    Path(apt["log"]).with_name("apt-cache").write_text("#!/bin/sh\necho linux-source-7.3 - newer\n")
    lab.build(["ghost-7.2"])
    why = "sid has no linux-source-7.2; it has linux-source-7.3"
    assert capsys.readouterr().err == f"7.2: passed over: {why}\n"
    assert lab.lack("7.2") == why
    assert "run `make test-vm`" in str(lab.lack("6.12"))


def test_a_package_that_is_damaged(cache: Path, apt: dict[str, str]) -> None:
    package = fetch(apt)
    with pytest.raises(lab.LabError, match="cannot be unpacked; delete it to get it again"):
        lab._build_kernel("stock-7.2", package, cache / "image")
    assert not (cache / "source-7.2/.whole").exists()


def test_no_room_in_the_cache(tmp_path: Path) -> None:
    require("mount")
    run("mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", tmp_path)
    try:
        done = subprocess.run(
            [sys.executable, lab.HERE / "lab.py", "build"],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        run("umount", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    directory = re.escape(f"{tmp_path}/ghostctl-vm")
    message = rf"lab.py: {directory}: [01] MiB are free, 3072 MiB wanted to build a kernel\n"
    assert re.fullmatch(message, done.stderr)
