# SPDX-License-Identifier: GPL-2.0-or-later
"""mkghost, inspect, verify and label on files of every kind, as they are run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from machine import GHOSTCTL, require
from stepwise import forked

from ghostctl import header, sizes
from ghostctl.header import Header


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A name in an empty directory."""
    (tmp_path / "dir").mkdir()
    return tmp_path / "dir" / "ghost"


def make(label: bytes = b"old") -> Header:
    return header.ghost(100, sizes.page_size(), uuid=bytes(range(16)), label=label)


def damaged() -> Header:
    have = make()
    return have._replace(tag=have.tag._replace(crc=have.tag.crc ^ 1))


def written(path: Path, have: Header) -> Path:
    path.write_bytes(header.pack(have))
    path.chmod(0o600)
    return path


def read(path: Path) -> Header:
    have = header.unpack(path.read_bytes())
    assert header.pack(have) == path.read_bytes()
    return have


CALLS = (
    "write,pwrite64,fchmod,fchown,fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat,mkdir"
)


def trace(tmp_path: Path, *words: str | Path) -> list[str]:
    """The system calls of a command that concern what is below `tmp_path`, each as ``name PATH...``."""
    log = tmp_path.with_name(f"{tmp_path.name}.log")
    done = subprocess.run(
        ["strace", "-f", "-y", "-s", "0", "-o", log, "-e", f"trace={CALLS}", GHOSTCTL, "-q", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    calls = []
    for line in log.read_text().splitlines():
        match = re.match(r"\d+ +(\w+)\((.*)\) += 0|\d+ +(\w+)\((.*)\) += (?:512|4096)", line)
        if not match or str(tmp_path) not in line:
            continue
        # a file without a name is shown by its inode
        paths = re.findall(r"<([^>]*)>", line)
        name = match[1] or match[3]
        calls.append(
            " ".join([name, *(re.sub(r"#\d+.*", "#", path.removeprefix(str(tmp_path))) for path in paths)])
        )
    log.unlink()
    return calls


def test_the_order_of_mkghost(tmp_path: Path) -> None:
    """Data, then the name, then the directory: whatever is there after a power cut is whole."""
    require("strace")
    directory = tmp_path / "dir"
    directory.mkdir()
    path = directory / "ghost"
    new = trace(tmp_path, "mkghost", "-s", "1M", path)
    assert [call.split()[0] for call in new] == ["write", "fsync", "linkat", "fsync"]
    assert new[-1] == "fsync /dir"
    assert all("ghost" not in call for call in new[:2])
    again = trace(tmp_path, "mkghost", "--if-needed", "-s", "2M", path)
    assert [call.split()[0] for call in again] == ["write", "fsync", "linkat", "renameat", "fsync"]
    assert again[-1] == "fsync /dir"
    assert trace(tmp_path, "mkghost", "--if-needed", "-s", "2M", path) == []
    assert trace(tmp_path, "label", "-L", "x", path) == ["pwrite64 /dir/ghost", "fsync /dir/ghost"]


def test_a_full_filesystem_keeps_its_good_ghost(tmpfs: Path) -> None:
    path = tmpfs / "ghost"
    assert forked("-q", "mkghost", "-s", "1M", "-L", "good", path).status == 0
    with open(tmpfs / "fill", "wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    done = forked("-v", "mkghost", "--if-needed", "-s", "2M", path)
    assert done.status == 0
    assert "No space left on device: changed in place instead" in done.err
    assert (read(path).size, read(path).label) == (2 << 20, b"good")
    assert forked("mkghost", "-s", "2M", tmpfs / "new").status == 1
    assert sorted(os.listdir(tmpfs)) == ["fill", "ghost"]


def test_label_under_a_limit_of_the_file_size(path: Path) -> None:
    require("root")
    written(path, make())
    done = subprocess.run(
        ["prlimit", "--fsize=1100", GHOSTCTL, "label", "-U", "random", "-L", "new", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"ghostctl: {path}: File too large\n")
    assert read(path) == make()


def test_mkghost_speaks_after_the_fact(path: Path) -> None:
    """A script that reads the JSON finds the file; what failed has said nothing."""
    with open("/dev/full", "wb") as full:
        done = forked("mkghost", "-s", "1M", "--json", path, stdout=full.fileno())
    assert done.status == 1
    assert read(path).size == 1 << 20
    path.parent.joinpath(".ghostctl-new").mkdir()
    done = forked("mkghost", "-s", "1M", "--json", path.with_name("second"))
    assert (done.status, done.out) == (1, "")


def test_mkghost_without_change(path: Path) -> None:
    assert forked("mkghost", "-s", "1M", "--json", path).status == 0
    done = forked("-v", "mkghost", "--if-needed", "-s", "1M", path)
    assert (done.status, done.out) == (0, "")
    assert f"ghostctl: {path}: already the ghost asked for\n" in done.err
    document = json.loads(forked("mkghost", "--if-needed", "-s", "1M", "--json", path).out)
    assert (document["changed"], document["dry_run"], document["size"]) == (False, False, 1 << 20)


def test_files_that_fail_are_in_the_json(path: Path) -> None:
    written(path, make())
    text, none = path.with_name("text"), path.with_name("none")
    text.write_text("text\n")
    for command, key in (("inspect", "headers"), ("verify", "files")):
        done = forked(command, "--json", none, path, text, "LABEL=no such label")
        assert done.status == 3
        items = json.loads(done.out)[key]
        assert [item["file"] for item in items] == [str(none), str(path), str(text), "LABEL=no such label"]
        failed = [item["error"] for item in items if "error" in item]
        assert [f"ghostctl: {error}" for error in failed] == [
            line for line in done.err.splitlines() if ": hint: " not in line
        ]
        assert failed[0] == f"{none}: No such file or directory"
        assert len(failed) == (3 if command == "inspect" else 2)
        assert ("error" in items[2]) == (command == "inspect")


def test_verify_prints_no_more_than_before(path: Path) -> None:
    written(path, damaged())
    done = forked("verify", "--json", path)
    assert done.status == 1
    problem, *_ = json.loads(done.out)["files"][0]["problems"]
    assert list(problem) == ["id", "severity", "message"]
    assert (problem["id"], problem["severity"]) == ("crc", "error")


def test_labels_are_the_same_in_the_c_locale(path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    written(path, make(label="ü".encode()))
    done = forked("label", "--json", path, env=environment)
    assert done.status == 0
    assert '"label": "\\u00fc"' in done.out
    assert forked("inspect", "--json", path, env=environment).out.count("\\u00fc") == 1


def test_no_ghost_is_made_valid_by_a_new_label(path: Path) -> None:
    before = written(path, damaged()).read_bytes()
    done = forked("label", "-L", "x", path)
    assert done.status == 1
    assert "is damaged" in done.err
    assert path.read_bytes() == before
