# SPDX-License-Identifier: GPL-2.0-or-later
"""setup and setup --undo on the running kernel, through zram: the machine is then as it was."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
from machine import AS_NOBODY, GHOSTCTL, active, ghostctl, is_active, require, swap_file
from stepwise import forked
from unit.test_schemas import SCHEMAS

from ghostctl import fstab, setuprecord, zswap

FSTAB = b"# no line end behind the last line\n/dev/sda1 / ext4 defaults 0 1"
RECORD = Path(setuprecord.PATH)
TMPFILES = Path("/", zswap.TMPFILES)
BLOCK = Path("/sys/block")

pytestmark = pytest.mark.usefixtures("zram")


class State(NamedTuple):
    """What setup may change."""

    fstab: bytes
    zswap: dict[str, str]
    areas: list[bytes]
    devices: set[str]
    files: set[str]
    tmpfiles: bytes | None


class Place:
    """An fstab and a ghost that is to be, in a directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fstab = directory / "fstab"
        self.ghost = directory / "a ghost"
        self.fstab.write_bytes(FSTAB)

    def state(self) -> State:
        return State(
            self.fstab.read_bytes(),
            zswap.read_parameters(),
            active(),
            {path.name for path in BLOCK.glob("zram*")},
            set(os.listdir(self.directory)),
            TMPFILES.read_bytes() if TMPFILES.exists() else None,
        )

    def setup(self, *options: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = ghostctl("setup", self.ghost, "-T", self.fstab, "--yes", *options)
        assert done.returncode == status, done.stderr
        return done

    def json(self, *options: str | Path) -> Any:
        document = json.loads(self.setup("--json", *options).stdout)
        jsonschema.validate(document, SCHEMAS["setup"], jsonschema.Draft202012Validator)
        return document

    def line(self) -> fstab.Line:
        (line,) = fstab.iter_swap(fstab.parse(self.fstab.read_bytes()))
        return line


def undo(*options: str | Path) -> Any:
    done = ghostctl("setup", "--undo", "--yes", "--json", *options)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMAS["setup"], jsonschema.Draft202012Validator)
    return document


@pytest.fixture
def place(ghost_dir: Path) -> Iterator[Place]:
    require("root", "zswap")
    assert not RECORD.exists()
    made = Place(ghost_dir)
    before = zswap.read_parameters()
    try:
        yield made
    finally:
        ghostctl("setup", "--undo", "--yes")
        for name, value in before.items():
            (Path("/", zswap.PARAMETERS) / name).write_text(value)
    assert not RECORD.parent.exists()


def test_there_again_and_back(place: Place) -> None:
    before = place.state()
    looked = place.json("--size", "32M", "--dry-run")
    assert looked["changed"]
    assert place.state() == before
    done = place.json("--size", "32M")
    assert [step["id"] for step in done["steps"]] == ["ghost", "area", "fstab"]
    assert {**done, "dry_run": True} == looked
    assert (done["backend"], done["size"], done["priority"]) == ("zram", 32 << 20, 100)
    assert os.fsencode(done["line"]) + b"\n" == place.line().raw
    (area,) = json.loads(ghostctl("status", "--json").stdout)["swapareas"]
    assert (area["ghost"], area["prio"], area["limit"]) == (str(place.ghost), 100, 32 << 20)
    there = place.state()
    for options in (("--size", "32M"), (), ("--priority", "100"), ("--fallback", "zram")):
        again = place.json(*options)
        assert (again["changed"], again["steps"]) == (False, [])
        assert "Nothing to do." in place.setup(*options).stdout
    assert place.state() == there
    assert undo()["changed"]
    assert place.state() == before
    assert not undo()["changed"]


def test_a_relative_path_of_fstab_is_noted_whole(place: Place) -> None:
    before = place.state()
    done = ghostctl("setup", "a ghost", "-T", "fstab", "--size", "16M", "--yes", cwd=place.directory)
    assert done.returncode == 0
    assert place.line().spec == str(place.ghost)
    undo()
    assert place.state() == before


def test_without_boot_and_with_it_later(place: Place) -> None:
    before = place.state()
    done = place.json("--size", "32M", "--no-boot")
    assert (done["line"], [step["id"] for step in done["steps"]]) == (None, ["ghost", "area"])
    assert place.fstab.read_bytes() == FSTAB
    later = place.json()
    assert [step["id"] for step in later["steps"]] == ["fstab"]
    assert ghostctl("fstab", "check", "-T", place.fstab).returncode == 0
    undo()
    assert place.state() == before


def test_what_an_option_asks_for_is_changed_and_put_back(place: Place) -> None:
    assert ghostctl("mkghost", "-s", "24M", place.ghost).returncode == 0
    line = f"{place.fstab.parent}/./a\\040ghost none swap pri=7,x-ghost.size=24M,nofail 0 0\n"
    place.fstab.write_bytes(FSTAB + b"\n" + line.encode())
    before = place.state()
    header = place.ghost.read_bytes()
    # what is there stays, with what this kernel needs
    first = place.json()
    assert [step["id"] for step in first["steps"]] == ["area", "fstab"]
    assert (first["size"], first["priority"]) == (24 << 20, 7)
    assert any("24 MiB, which stays" in note for note in first["notes"])
    assert place.line().option("x-ghost.fallback") == "zram"
    second = place.json("--size", "32M", "--priority", "9")
    assert {step["id"] for step in second["steps"]} == {"resize", "area", "fstab"}
    (area,) = json.loads(ghostctl("status", "--json").stdout)["swapareas"]
    assert (area["size"], area["prio"]) == ((32 << 20) - 4096, 9)
    assert (place.line().option("pri"), place.line().option("x-ghost.size")) == ("9", "32M")
    assert place.json()["steps"] == []
    undo()
    assert place.state() == before
    assert place.ghost.read_bytes() == header


def test_other_areas_stay_and_are_named(place: Place, swap_dir: Path) -> None:
    other = swap_file(swap_dir / "swap")
    assert ghostctl("on", "-p", "5", other).returncode == 0
    done = place.json("--size", "32M")
    assert any(str(other) in note and "after the ghost" in note for note in done["notes"])
    assert done["priority"] == 6
    assert is_active(other)
    undo()
    assert is_active(other)


def test_zswap_in_front_of_zram_is_turned_off_and_on_again(place: Place) -> None:
    assert ghostctl("zswap", "set", "enabled=yes").returncode == 0
    before = place.state()
    done = place.json("--size", "32M")
    assert done["steps"][0]["id"] == "zswap"
    assert zswap.read_parameters()["enabled"] == "N"
    assert zswap.read_persistent() == {"enabled": "N"}
    undo()
    assert place.state() == before


def test_zswap_stays_on_for_other_areas(place: Place, swap_dir: Path) -> None:
    assert ghostctl("zswap", "set", "enabled=yes").returncode == 0
    assert ghostctl("on", swap_file(swap_dir / "swap")).returncode == 0
    done = place.json("--size", "32M")
    assert "zswap" not in [step["id"] for step in done["steps"]]
    assert any("zswap stays on" in note for note in done["notes"])


def test_a_step_that_fails_takes_back_those_before_it(place: Place) -> None:
    before = place.state()
    done = ghostctl(
        *("setup", place.ghost, "-T", place.directory / "none" / "fstab", "--yes"),
        *("--size", "32M", "--json"),
    )
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert [step["changed"] for step in document["steps"]] == [False] * 3
    assert [step["error"] is None for step in document["steps"]] == [True, True, False]
    assert not document["changed"]
    assert place.state() == before
    assert not RECORD.exists()


@pytest.mark.parametrize("then", ["undo", "setup"])
def test_death_at_any_line(place: Place, then: str) -> None:
    """Whether the next run goes on or takes back, nothing is left of the one that was killed."""
    before = place.state()
    lines = 1
    while True:
        words = ("setup", place.ghost, "-T", place.fstab, "--yes", "--size", "16M")
        done = forked(
            *words,
            files=("ghostctl/setupsteps.py", "ghostctl/setuprecord.py", "ghostctl/fstabedit.py"),
            kill_at=lines,
        )
        if done.status >= 0:
            break
        assert done.status == -9
        if then == "setup":
            assert place.json("--size", "16M")["backend"] == "zram"
            assert is_active_now(place.ghost)
            place.line()
        undo()
        assert place.state() == before, lines
        lines += 4 if then == "undo" else 7
    assert done.status == 0
    assert lines > 60


def is_active_now(ghost: Path) -> bool:
    return ghostctl("status", "-q", ghost).returncode == 0


def test_two_ghosts(place: Place) -> None:
    before = place.state()
    other = place.directory / "other"
    place.setup("--size", "16M")
    assert ghostctl("setup", other, "-T", place.fstab, "--size", "16M", "--yes").returncode == 0
    assert ghostctl("setup", "--undo", "--yes", place.directory / "none").returncode == 3
    assert undo(other)["changed"]
    assert (is_active_now(place.ghost), is_active_now(other)) == (True, False)
    undo(place.ghost)
    assert place.state() == before


def test_a_line_that_was_edited_since_goes_with_its_ghost(place: Place) -> None:
    place.setup("--size", "16M")
    assert ghostctl("fstab", "set", place.ghost, "pri=3", "-T", place.fstab).returncode == 0
    undo()
    assert place.fstab.read_bytes().rstrip(b"\n") == FSTAB
    assert not place.ghost.exists()


def test_a_ghost_that_was_replaced_since_is_left_alone(place: Place) -> None:
    place.setup("--size", "16M")
    assert ghostctl("off", place.ghost).returncode == 0
    assert ghostctl("mkghost", "--force", "-s", "20M", place.ghost).returncode == 0
    done = ghostctl("setup", "--undo", "--yes")
    assert done.returncode == 0
    assert "left alone" in done.stderr
    assert done.stdout.endswith("Taken back, but for what was left alone.\n")
    assert place.ghost.exists()


def test_a_ghost_that_a_boot_has_made_anew_is_taken_back(place: Place) -> None:
    before = place.state()
    place.setup("--size", "16M")
    assert ghostctl("off", place.ghost).returncode == 0
    place.ghost.unlink()
    assert ghostctl("fstab", "ensure", "-T", place.fstab).returncode == 0
    undo()
    assert place.state() == before


@pytest.mark.parametrize("edit", [b"#%s", b"/mnt%s"])
def test_no_line_but_its_own_is_touched(place: Place, edit: bytes) -> None:
    place.setup("--size", "16M")
    line = place.line().raw
    edited = FSTAB + b"\n" + edit % line + b"UUID=1 /home ext4 defaults 0 2\n"
    place.fstab.write_bytes(edited)
    undo()
    assert place.fstab.read_bytes() == edited


def test_a_link_that_leads_nowhere_stays_one(place: Place) -> None:
    place.fstab.unlink()
    place.fstab.symlink_to("elsewhere")
    place.setup("--size", "16M")
    undo()
    assert place.fstab.is_symlink()
    assert not place.fstab.exists()


def test_settings_are_made_lasting_later(place: Place) -> None:
    assert ghostctl("zswap", "set", "enabled=yes").returncode == 0
    before = place.state()
    place.setup("--size", "16M", "--no-boot")
    assert (zswap.read_parameters()["enabled"], zswap.read_persistent()) == ("N", {})
    done = place.json()
    assert [step["id"] for step in done["steps"]] == ["zswap", "fstab"]
    assert zswap.read_persistent() == {"enabled": "N"}
    assert place.json()["steps"] == []
    undo()
    assert place.state() == before


def test_what_cannot_be_put_back_stays_noted(place: Place) -> None:
    assert ghostctl("zswap", "set", "enabled=yes").returncode == 0
    before = place.state()
    place.setup("--size", "16M")
    script = f'mount -t tmpfs none /{zswap.PARAMETERS} && exec "$@"'
    done = ghostctl("setup", "--undo", "--yes", prefix=("unshare", "--mount", "sh", "-c", script, "sh"))
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert "Taken back" not in done.stdout
    undo()
    assert place.state() == before


def test_somebody_elses_settings_stay(place: Place) -> None:
    assert ghostctl("zswap", "set", "enabled=yes").returncode == 0
    place.setup("--size", "16M")
    TMPFILES.write_text("foreign\n")
    try:
        done = ghostctl("setup", "--undo", "--yes")
        assert (done.returncode, zswap.read_parameters()["enabled"]) == (0, "Y")
        assert "left alone" in done.stderr
        done = place.setup("--size", "16M", status=1)
        assert f"mv -n {TMPFILES} {TMPFILES}.old" in done.stderr
        assert place.setup("--size", "16M", "--no-boot").returncode == 0
    finally:
        TMPFILES.unlink()


def test_what_is_in_the_way(place: Place, swap_dir: Path) -> None:
    area = swap_file(swap_dir / "swap")
    assert ghostctl("on", area).returncode == 0
    text = place.directory / "text"
    text.write_text("a letter\n")
    for path, status, words in (
        (Path("/dev/null"), 3, "is a character device, not a ghost"),
        (place.directory, 3, "is a directory, not a ghost"),
        (area, 6, "active"),
        (text, 3, f"mv -n {text} {text}.old"),
        (place.directory / "none" / "ghost", 3, f"mkdir -p {place.directory / 'none'}"),
    ):
        done = ghostctl("setup", path, "-T", place.fstab, "--yes", "--size", "16M")
        assert done.returncode == status, done.stderr
        assert words in done.stderr
        assert ("mv" in done.stderr) == (path == text)


def test_too_large(place: Place) -> None:
    done = place.setup("--size", "ram*2", status=7)
    assert "--size" in done.stderr.splitlines()[-1]
    assert not place.ghost.exists()


def test_nobody_may_look_but_not_change(place: Place) -> None:
    words = ("setup", place.ghost, "-T", place.fstab, "--size", "16M")
    assert ghostctl(*words, "--yes", prefix=AS_NOBODY).returncode == 4
    place.directory.parent.chmod(0o755)
    place.directory.chmod(0o755)
    done = ghostctl(*words, "--dry-run", prefix=AS_NOBODY)
    assert (done.returncode, place.ghost.exists()) == (0, False), done.stderr


def test_it_asks_at_a_terminal_only(place: Place) -> None:
    words = ("setup", str(place.ghost), "-T", str(place.fstab), "--size", "16M")
    done = ghostctl(*words)
    assert (done.returncode, place.ghost.exists()) == (2, False)
    assert "--yes" in done.stderr
    assert "make the ghost" in done.stdout
    assert ghostctl(*words, "--json").returncode == 2
    for answer, status in ((b"\n", 1), (b"n\n", 1), (b"y\n", 0)):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [GHOSTCTL, *words], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            os.close(theirs)
            os.write(ours, answer)
            out, err = process.communicate(timeout=60)
            os.close(ours)
        assert process.returncode == status, err
        assert b"Go on? [y/N]" in err
        assert place.ghost.exists() == (status == 0)
        assert b"make the ghost" in out


def _step(kind: str, **values: object) -> bytes:
    steps = [{"step": kind, "done": True, "values": values}]
    return json.dumps({"version": 1, "steps": steps}).encode()


DAMAGE = (
    *(b"", b"[]", b"{}", b'{"version": 2}', b'{"version": 1, "steps": [{}]}', _step("nothing")),
    *(_step("area", path=5, new=None, old=None), _step("zswap", old={}, new=[], persisted=None)),
    *(_step("area", path="/x", new={"backend": 1}, old=None), _step("generator", directory=None)),
)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_strange_record_is_no_traceback(place: Place, damage: bytes) -> None:
    RECORD.parent.mkdir()
    RECORD.write_bytes(damage)
    try:
        for options in (("--undo",), ("-T", place.fstab, "--size", "16M", place.ghost)):
            done = ghostctl("setup", "--yes", *options)
            assert done.returncode == 1
            assert str(RECORD) in done.stderr.splitlines()[0]
            assert f"mv {RECORD} {RECORD}.old" in done.stderr.splitlines()[1]
        assert not place.ghost.exists()
    finally:
        RECORD.unlink()
        RECORD.parent.rmdir()


def test_all_backends_that_are_asked_for_are_in_the_line(place: Place) -> None:
    done = place.json("--size", "16M", "--fallback", "xswap,zram")
    assert done["backend"] == "zram"
    assert place.line().option("x-ghost.fallback") == "xswap,zram"
    assert place.json("--fallback", "xswap,zram")["steps"] == []
    [step] = place.json("--fallback", "zram")["steps"]
    assert step["id"] == "fstab"


def test_undo_goes_on_where_the_ghost_is_gone(place: Place) -> None:
    assert ghostctl("mkghost", "-s", "24M", place.ghost).returncode == 0
    place.setup()
    place.setup("--size", "16M", "--priority", "3")
    assert ghostctl("off", place.ghost).returncode == 0
    place.ghost.unlink()
    done = ghostctl("setup", "--undo", "--yes")
    assert done.returncode == 0, done.stderr
    assert "is not there any more" in done.stderr
    assert place.fstab.read_bytes() == FSTAB
