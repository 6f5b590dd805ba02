# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands print with --json, held to the schemas that the package ships."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command_tree import TREE, options
from machine import ghostctl, require, swap_file, unwritten, with_swaps

from ghostctl.cli import status, usage
from ghostctl.output import Column

SCHEMAS = {
    path.name.removesuffix(".json"): json.loads(path.read_text(encoding="utf-8"))
    for path in (resources.files("ghostctl") / "schemas").iterdir()
}


def _output(*args: str | bytes | Path, statuses: tuple[int, ...] = (0,), prefix: tuple[str, ...] = ()) -> Any:
    done = ghostctl(*args, "--json", prefix=prefix)
    assert done.returncode in statuses, done.stderr
    return json.loads(done.stdout)


def _check(command: str, document: Any) -> Any:
    jsonschema.validate(document, SCHEMAS[command], jsonschema.Draft202012Validator)
    return document


def _iter(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    parts = (*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), schema.get("items"))
    for part in parts:
        if part and "$ref" not in part:
            yield from _iter(part)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_schema_is_closed_and_explains_itself(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    for part in _iter(SCHEMAS[name]):
        assert part["description"]
        assert "properties" not in part or part["additionalProperties"] is False


def test_there_is_one_for_each_command_with_json() -> None:
    with_json = {name.replace(" ", "-") for name in TREE if "--json" in options(TREE[name])}
    # which alone does what zswap show does
    assert set(SCHEMAS) == with_json - {"zswap"}


@pytest.fixture
def ghost(tmp_path: Path) -> Path:
    path = tmp_path / "ghost"
    assert ghostctl("mkghost", "-s", "1M", "-L", "früh", path).returncode == 0
    return path


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-L", "früh", "-U", "clear"),
        ("--bare", "-e", "big", "-p", "64K", "-s", "16T"),
        ("-n", "-U", "time"),
    ],
)
def test_mkghost(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = tmp_path / os.fsdecode(b"odd \xff name")
    document = _check("mkghost", _output("mkghost", "-s", "1M", *options, path))
    assert document["file"] == str(path)
    assert document["dry_run"] != path.exists()


def test_mkghost_of_what_is_there(ghost: Path) -> None:
    document = _check("mkghost", _output("mkghost", "-s", "1M", "--if-needed", ghost))
    assert document["label"] == "früh"


def test_inspect(ghost: Path, tmp_path: Path) -> None:
    page = ghost.read_bytes()
    tag = struct.pack("=HHQIII", 65535, 65535, 2**64 - 1, 1, 1, 1)
    changed = {
        "old": page[:-10] + b"SWAP-SPACE",
        "hibernation": page[:-10] + b"S1SUSPEND\0",
        "tuxonice": b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c" + page[8:],
        "ones": b"\xff" * (len(page) - 10) + page[-10:],
        "future": page[:1212] + tag + page[1236:],
        "bare": page[:1204] + bytes(332) + page[1536:],
    }
    for name, data in changed.items():
        (tmp_path / name).write_bytes(data)
    paths = [ghost, *(tmp_path / name for name in changed)]
    documents = _check("inspect", _output("inspect", *paths))["headers"]
    assert [document["file"] for document in documents] == list(map(str, paths))
    assert [document["tag"] is None for document in documents] == [
        False,
        False,
        False,
        False,
        True,
        False,
        True,
    ]


def test_inspect_of_a_swap_file(tmp_path: Path) -> None:
    require("mkswap")
    path = tmp_path / "swap"
    swap_file(path)
    [document] = _check("inspect", _output("inspect", path))["headers"]
    assert document["ghost_version"] is None
    assert document["file_size"] == 1 << 20


def test_inspect_of_nothing_that_is_a_swap_area() -> None:
    document = _check("inspect", _output("inspect", "/etc/passwd", statuses=(3,)))
    error = "/etc/passwd: not a swap area: it is a text file"
    assert document == {"headers": [{"file": "/etc/passwd", "error": error}]}


def test_verify(ghost: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(bytes(1024) + b"\xff" * 3062 + b"SWAPSPACE2" + b"more")
    broken.chmod(0o644)
    names = [ghost, broken, Path("/etc/passwd")]
    files = _check("verify", _output("verify", *names, statuses=(1,)))["files"]
    assert [file["file"] for file in files] == list(map(str, names))
    found = {problem["id"] for problem in files[1]["problems"]}
    assert found >= {"version", "nr_badpages", "padding", "garbage", "label", "filesize", "mode"}


def test_label(ghost: Path) -> None:
    shown = _check("label", _output("label", ghost))
    assert (shown["label"], shown["changed"]) == ("früh", False)
    options = ("-L", "", "-U", "clear", ghost)
    changed = _check("label", _output("label", *options))
    assert changed == {"file": str(ghost), "label": None, "uuid": None, "changed": True}
    before = unwritten(ghost)
    again = _check("label", _output("label", *options))
    assert again == {**changed, "changed": False}
    assert unwritten(ghost) == before


def test_resize(ghost: Path) -> None:
    document = _check("resize", _output("resize", ghost, "8193K"))
    assert document == {
        "file": str(ghost),
        "size": 8192 << 10,
        "last_page": 2047,
        "changed": True,
        "cycled": False,
        "area": None,
    }


@pytest.fixture
def areas(ghost: Path, tmp_path: Path) -> tuple[str, ...]:
    """Runs a command where /proc/swaps has areas of every kind."""
    require("mount")
    return with_swaps(
        tmp_path / "swaps",
        f"{ghost} ghost 1020 512 100",
        f"{tmp_path}/gone\\040(deleted) file 1020 0 -2",
        "/dev/ghostctl-none partition 17179869180 17179869180 32767",
        "xswap0                xswap\t1024\t0\t-4",
        "/new quantum 4 0 -5",
    )


def test_status() -> None:
    _check("status", _output("status"))


def test_status_of_areas_of_every_kind(areas: tuple[str, ...], ghost: Path) -> None:
    document = _check("status", _output("status", prefix=areas))
    rows = document["swapareas"]
    assert [row["type"] for row in rows] == ["ghost", "file", "partition", "xswap", "quantum"]
    assert rows[0]["label"] == "früh"
    assert (rows[0]["backend"], rows[0]["ghost"]) == ("file", str(ghost))
    for row in rows:
        assert list(row) == [column.name.lower() for column in status.COLUMNS]


def test_status_with_columns_and_without_zswap(areas: tuple[str, ...]) -> None:
    document = _check("status", _output("status", "-o", "use%,name", "--no-zswap", prefix=areas))
    assert document["zswap"] is None
    assert list(document["swapareas"][0]) == ["use%", "name"]


def test_schema_of_status_has_the_columns() -> None:
    properties = SCHEMAS["status"]["properties"]["swapareas"]["items"]["properties"]
    assert list(properties) == [column.name.lower() for column in status.COLUMNS]


@pytest.mark.parametrize(("option", "kind"), [("--processes", "processes"), ("--cgroups", "cgroups")])
def test_usage(option: str, kind: str) -> None:
    if option == "--cgroups":
        require("cgroup")
    document = _check("usage", _output("usage", option))
    assert list(document) == [kind, "total"]


@pytest.mark.parametrize(("kind", "columns"), [("processes", usage.PROCESSES), ("cgroups", usage.CGROUPS)])
def test_schema_of_usage_has_the_columns(kind: str, columns: Sequence[Column[Any]]) -> None:
    properties = SCHEMAS["usage"]["properties"][kind]["items"]["properties"]
    assert list(properties) == [column.name.lower() for column in columns]


def test_fstab(ghost: Path, tmp_path: Path) -> None:
    require("areas-readable")
    fstab = tmp_path / "fstab"
    lines = [
        "UUID=1 / ext4 defaults 0 1",
        f"{ghost} none swap nofail,pri=5,x-ghost.size=1M,x-ghost.fallback=skip",
        "relative none swap defaults,x-ghost.size=0",
        "/none none swap pri=x,x-ghost.size=1G",
        "LABEL=none none swap x-ghost.zswap",
        "short",
    ]
    fstab.write_text("\n".join(lines))
    ghosts = _check("fstab-list", _output("fstab", "list", "-T", fstab))["ghosts"]
    assert [(line["line"], line["prio"], line["state"]) for line in ghosts[:1]] == [(2, 5, "ready")]
    assert {line["name"] for line in ghosts} == {str(ghost), "relative", "/none"}
    problems = _check("fstab-check", _output("fstab", "check", "-T", fstab, statuses=(1,)))["problems"]
    assert {problem["severity"] for problem in problems} == {"error", "warning"}


@pytest.mark.parametrize("command", ["doctor", "plan", "zswap show"])
def test_of_this_machine(command: str) -> None:
    if command == "zswap show":
        require("zswap")
    _check(command.replace(" ", "-"), _output(*command.split(), statuses=(0, 1)))
