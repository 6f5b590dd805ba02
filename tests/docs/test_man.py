# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import re
import shlex
import subprocess
from importlib import resources

import click
import pytest
from command_tree import COMMON, TREE, options
from machine import REPOSITORY, require, run

from ghostctl import backends, doctor, errors, fstab, header
from ghostctl.cli import status, usage
from ghostctl.cli.program import COMMANDS, SECTIONS, program

PAGE = REPOSITORY / "man/ghostctl.8"
FORMATS = REPOSITORY / "man/ghostctl.5"


def _split(text: str, macro: str) -> dict[str, str]:
    """What stands below each heading."""
    parts = re.split(rf"^\.{macro} (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SECTION = _split(PAGE.read_text(), "Sh")
COMMAND = _split(SECTION["COMMANDS"], "Ss")
FORMAT = _split(FORMATS.read_text(), "Sh")


def _items(text: str, flag: str = "Fl") -> set[str]:
    """The options, or with "Cm" the words, that a list describes."""
    found = set()
    for line in re.findall(rf"^\.It ({flag} .+)$", text, re.MULTILINE):
        for item in re.split(r" , ", line):
            words = item.split()
            if words[:2] == ["Fl", "Fl"]:
                found.add(f"--{words[2]}")
            else:
                found.add(f"-{words[1]}" if flag == "Fl" else words[1])
    return found


@pytest.mark.parametrize("page", sorted(PAGE.parent.iterdir()), ids=lambda page: page.name)
def test_mandoc_has_nothing_to_say(page: object) -> None:
    require("mandoc")
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wstyle", str(page)], capture_output=True, text=True, check=False
    )
    # which pages of others are there is a matter of the machine
    said = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert said == []


def test_man_renders_every_command() -> None:
    require("mandoc")
    shown = run("mandoc", "-Tascii", PAGE)
    for name in TREE:
        assert f"ghostctl {name}" in re.sub(r".\x08", "", shown)


def test_commands_have_the_order_of_help() -> None:
    assert list(COMMAND) == list(TREE)


@pytest.mark.parametrize("name", TREE)
def test_options_of_a_command(name: str) -> None:
    assert _items(COMMAND[name]) == options(TREE[name])


def test_options_of_every_command() -> None:
    described = _items(_split(SECTION["DESCRIPTION"], "Ss")["Options of every command"])
    assert described == COMMON | options(program)


def test_options_of_every_command_are_there() -> None:
    for command in TREE.values():
        names = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        assert names | {"-h", "--help"} >= COMMON


def test_columns() -> None:
    assert _items(COMMAND["status"], "Cm") == {column.name for column in status.COLUMNS}


def test_columns_of_usage() -> None:
    columns = {column.name for column in usage.PROCESSES} | {column.name for column in usage.CGROUPS}
    assert _items(COMMAND["usage"], "Cm") == columns


def test_backends() -> None:
    assert _items(SECTION["BACKENDS"], "Cm") == set(backends.NAMES)


def test_options_of_fstab() -> None:
    described = re.findall(r"^\.It Cm x-ghost\.([\w-]+)", FORMAT["FSTAB"], re.MULTILINE)
    assert sorted(described) == sorted(fstab.OPTIONS)


_BYTES = {"u16": 2, "u32": 4, "u64": 8}


@pytest.mark.parametrize(("table", "start"), [(0, 0), (1, header.TAG_OFFSET)])
def test_layout_of_the_header(table: int, start: int) -> None:
    """Each field begins where the one before ends, and the last one ends where bad pages begin."""
    text = FORMAT["HEADER LAYOUT"].split(".El\n")[table]
    rows = re.findall(r"^\.It (\d+) Ta (?:(\d+) bytes|(u\d\d)) Ta ", text, re.MULTILINE)
    for offset, count, kind in rows:
        assert int(offset) == start
        start += int(count or _BYTES[kind])
    assert start == header.SECTOR.stop


def test_what_the_tag_has() -> None:
    text = FORMAT["HEADER LAYOUT"]
    assert f"Li {header.TAG_MAGIC.decode()}\n" in text
    assert f"Li {header.MAGIC.decode()}\n" in text
    assert f"tag version, {header.TAG_VERSION}\n" in text
    assert f"tag length in bytes, {header.TAG_LENGTH}\n" in text


def test_checks_of_doctor() -> None:
    listed = COMMAND["doctor"].split("The checks are\n")[1].split(".Bl ")[0]
    assert re.findall(r"^\.Cm ([\w-]+)", listed, re.MULTILINE) == [check.id for check in doctor.CHECKS]


def _automation() -> list[str]:
    """The commands of the table, as their names and options."""
    rows = re.findall(r"^\.It (.+?) Ta ", SECTION["AUTOMATION"], re.MULTILINE)
    return [row for row in rows if not row.startswith("Sy ")]


def test_automation_has_every_command_that_says_whether_it_changed_anything() -> None:
    schemas = resources.files("ghostctl") / "schemas"
    says = {
        path.name.removesuffix(".json").replace("-", " ")
        for path in schemas.iterdir()
        if "changed" in json.loads(path.read_text())["properties"]
    }
    described = {re.split(r" (?:Fl|Ar) ", row)[0] for row in _automation()}
    # which ends with 3 when the line is gone, and is named below the table
    assert described == says - {"fstab remove"}


@pytest.mark.parametrize("row", _automation())
def test_automation_names_options_that_exist(row: str) -> None:
    command = TREE[re.split(r" (?:Fl|Ar) ", row)[0]]
    flags = {f"--{name}" for name in re.findall(r"Fl Fl ([\w-]+)", row)}
    flags |= {f"-{name}" for name in re.findall(r"(?<!Fl )Fl (\w)\b", row)}
    assert flags <= options(command)


def test_problems_of_verify() -> None:
    schema = json.loads((resources.files("ghostctl") / "schemas/verify.json").read_text())
    problem = schema["$defs"]["file"]["properties"]["problems"]["items"]
    known = problem["properties"]["id"]["enum"]
    assert re.findall(r"^\.It (\w+)$", COMMAND["verify"], re.MULTILINE) == known


def test_exit_statuses() -> None:
    described = {int(number) for number in re.findall(r"^\.It (\d+)$", SECTION["EXIT STATUS"], re.MULTILINE)}
    known = {
        value for value in vars(errors).values() if isinstance(value, int) and not isinstance(value, bool)
    }
    assert described == known


def _examples() -> list[str]:
    texts = [re.sub(r"^\.(?:Dl|Ql) ", "", SECTION["EXAMPLES"], flags=re.MULTILINE)]
    texts += [re.sub(r"^ +", "", (REPOSITORY / "README.md").read_text(), flags=re.MULTILINE)]
    texts += [program.help or "", *(command.help or "" for command in TREE.values())]
    lines = re.findall(r"^ *(ghostctl .+)$", "\n".join(texts), re.MULTILINE)
    return [re.split("   | && | #", line)[0].strip() for line in lines]


@pytest.mark.parametrize("line", _examples())
def test_example_is_a_command_line(line: str) -> None:
    words = [word for word in shlex.split(line)[1:] if word != "-q"]
    name = words.pop(0)
    while words and f"{name} {words[0]}" in TREE:
        name += f" {words.pop(0)}"
    TREE[name].make_context(name, words)


def test_table_of_the_readme() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert rows == [(name, text[0].lower() + text[1:].rstrip(".")) for name, text in COMMANDS.items()]


def test_one_line_helps() -> None:
    for name, text in COMMANDS.items():
        assert TREE[name].get_short_help_str(limit=200) == text


def test_sections_of_help_have_every_command_once() -> None:
    assert [name for names in SECTIONS.values() for name in names] == list(COMMANDS)


def test_every_option_has_a_help() -> None:
    for name, command in TREE.items():
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, (name, param.opts)
