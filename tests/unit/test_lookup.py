# SPDX-License-Identifier: GPL-2.0-or-later
"""From LABEL=, UUID= and the like to a path."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import oscalls
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostctl import areas, fstab, header, lookup, report, sizes
from ghostctl.errors import Denied, Error, NotFound, exit_status
from ghostctl.swaps import Area

PAGE = sizes.page_size()
UUID = "7d1c8a52-2f3e-4b60-9a51-5c1f0e2d3b4a"
OTHER = "0f0e0d0c-0b0a-4908-8706-050403020100"
NO_FSTAB = "/dev/null"

Make = Callable[..., Path]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of /var/lib/ghost."""
    path = tmp_path / "ghosts"
    path.mkdir()
    monkeypatch.setattr(lookup, "GHOST_DIRECTORY", str(path))
    return path


@pytest.fixture
def make(directory: Path) -> Make:
    def ghost(
        name: str = "a", label: str = "label-of-test", uid: str = UUID, where: Path = directory
    ) -> Path:
        have = header.ghost(16, PAGE, label=label.encode(), uuid=uuid.UUID(uid).bytes)
        path = where / name
        path.write_bytes(header.pack(have))
        return path

    return ghost


def active(name: str, ghost: Path | str | None = None, backend: str | None = None) -> areas.Active:
    return areas.Active(
        Area(str(name), "partition", 36, 0, 1), str(name), backend, str(ghost) if ghost else None
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("LABEL=x", ("LABEL", "x")),
        ('LABEL="x"', ("LABEL", "x")),
        ("LABEL='x'", ("LABEL", "x")),
        ("LABEL='x\"'", ("LABEL", 'x"')),
        ("LABEL='x' y", ("LABEL", "x")),
        ("LABEL='it's'", ("LABEL", "it's")),
        ("LABEL=x'", ("LABEL", "x'")),
        ("LABEL='x", None),
        ("LABEL='", None),
        ("LABEL='x\"", None),
        ("LABEL=''", ("LABEL", "")),
        ("LABEL=", ("LABEL", "")),
        ("LABEL=a=b", ("LABEL", "a=b")),
        ("UUID=AB", ("UUID", "AB")),
        ("PARTUUID=1", ("PARTUUID", "1")),
        ("PARTLABEL=Linux swap", ("PARTLABEL", "Linux swap")),
        ("ID=x", ("ID", "x")),
        ("label=x", None),
        ("FOO=x", None),
        ("LABEL", None),
        ("/srv/LABEL=x", None),
        ("", None),
        ("=x", None),
    ],
)
def test_tags(spec: str, expected: tuple[str, str] | None) -> None:
    assert lookup.tag(spec) == expected


@given(st.text())
def test_what_is_no_tag_is_a_path(spec: str) -> None:
    if lookup.tag(spec) is None:
        assert lookup.resolve(spec) == spec


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("PARTLABEL=Linux swap", "/dev/disk/by-partlabel/Linux\\x20swap"),
        ("PARTLABEL='Linux swap'", "/dev/disk/by-partlabel/Linux\\x20swap"),
        ("PARTLABEL=a/b", "/dev/disk/by-partlabel/a\\x2fb"),
        ("PARTLABEL=größe", "/dev/disk/by-partlabel/größe"),
        ("PARTUUID=5-02", "/dev/disk/by-partuuid/5-02"),
        ("ID=usb-x_y:0", "/dev/disk/by-id/usb-x_y:0"),
    ],
)
def test_the_links_of_udev(spec: str, path: str) -> None:
    assert lookup.resolve(spec) == path


@pytest.mark.parametrize(
    "spec",
    [
        f"UUID={UUID}",
        f"UUID={UUID.upper()}",
        f"UUID='{UUID}'",
        "LABEL=label-of-test",
        'LABEL="label-of-test"',
    ],
)
def test_in_the_usual_place(make: Make, spec: str) -> None:
    path = make()
    make("b", "another-label", OTHER)
    assert lookup.resolve(spec, (), NO_FSTAB) == str(path)


def test_labels_have_a_case(make: Make) -> None:
    make(label="Of-Test")
    with pytest.raises((NotFound, Denied)):
        lookup.resolve("LABEL=of-test", (), NO_FSTAB)


def test_a_label_that_is_not_ascii(make: Make) -> None:
    path = make(label="größe")
    assert lookup.resolve("LABEL=größe", (), NO_FSTAB) == str(path)


def test_among_the_active_ones_and_in_fstab(make: Make, tmp_path: Path) -> None:
    named, ghost, known = (
        make(name, label, str(uuid.uuid4()), tmp_path)
        for name, label in (("named", "l-named"), ("ghost", "l-ghost"), ("in fstab", "l-fstab"))
    )
    table = tmp_path / "fstab"
    table.write_text(
        f"LABEL=l-fstab none swap sw 0 0\n{str(known).replace(' ', chr(92) + '040')} none swap noauto 0 0\n"
    )
    actives = [active(str(named)), active("xswap0"), active("/dev/nonesuch", ghost, "zram")]
    for label, path in (("l-named", named), ("l-ghost", ghost), ("l-fstab", known)):
        assert lookup.resolve(f"LABEL={label}", actives, str(table)) == str(path)
        with pytest.raises((NotFound, Denied)):
            lookup.resolve(f"LABEL={label}", (), NO_FSTAB)


def test_two_with_the_same_are_both_named(make: Make, tmp_path: Path) -> None:
    """As a copy on a backup: which one is meant nobody knows."""
    one, two = make("one", where=tmp_path), make("two", where=tmp_path)
    table = tmp_path / "fstab"
    table.write_text(f"{two} none swap noauto 0 0\n{one} none swap noauto 0 0\n")
    for spec in (f"UUID={UUID}", "LABEL=label-of-test"):
        with pytest.raises(Error) as caught:
            lookup.resolve(spec, (), str(table))
        assert str(caught.value) == f"{spec}: is ambiguous: {one} and {two} have it"
        assert exit_status(caught.value) == 1


def test_one_by_two_paths_is_one(make: Make, directory: Path, tmp_path: Path) -> None:
    path = make()
    (directory / "hard").hardlink_to(path)
    (tmp_path / "link").symlink_to(path)
    table = tmp_path / "fstab"
    table.write_text(f"{tmp_path}/link none swap noauto 0 0\n{path} none swap noauto 0 0\n")
    # the first of the places is what it is called
    assert lookup.resolve(f"UUID={UUID}", (), str(table)) == f"{tmp_path}/link"


def test_the_ghost_before_the_device_that_was_made_for_it(make: Make, tmp_path: Path) -> None:
    ghost = make(where=tmp_path)
    have = header.unpack(ghost.read_bytes())
    device = tmp_path / "device"
    device.write_bytes(header.pack(header.for_device(have, str(ghost))))
    actives = [active(str(device), ghost, "zram")]
    assert lookup.resolve(f"UUID={UUID}", actives, NO_FSTAB) == str(ghost)
    ghost.unlink()
    assert lookup.resolve(f"UUID={UUID}", actives, NO_FSTAB) == str(device)
    # while two devices are two
    second = tmp_path / "second"
    second.write_bytes(device.read_bytes())
    with pytest.raises(Error, match="is ambiguous"):
        lookup.resolve(f"UUID={UUID}", [*actives, active(str(second))], NO_FSTAB)


def test_what_is_no_area_is_passed_over(
    make: Make, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make()
    (directory / "text").write_text("text\n")
    (directory / "dir").mkdir()
    os.mkfifo(directory / "fifo")
    (directory / "link").symlink_to(make("b", uid=OTHER, where=tmp_path))
    table = tmp_path / "fstab"
    table.write_text(f"{tmp_path}/missing none swap sw 0 0\n")
    assert lookup.resolve(f"UUID={UUID}", (), str(table)) == str(path)
    # a link in the directory is not followed: anything may be behind it
    with pytest.raises((NotFound, Denied)):
        lookup.resolve(f"UUID={OTHER}", (), str(table))
    assert capsys.readouterr().err == ""


def test_what_only_root_may_read(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have the label: no such area is no answer."""
    path = make(where=tmp_path)
    table = tmp_path / "fstab"
    table.write_text(f"{path} none swap sw 0 0\n")
    oscalls.fail(monkeypatch, "open", 13, when=lambda name, *_a, **_k: name == str(path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Denied) as caught:
        lookup.resolve("LABEL=none", (), str(table))
    assert str(caught.value).startswith(f"LABEL=none: only root can tell: {path}")
    assert str(caught.value).endswith(" cannot be read")
    assert exit_status(caught.value) == 4
    # what root may not read, it cannot swap to
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(NotFound):
        lookup.resolve("LABEL=none", (), str(table))
    # one that is found is found
    found = make("b", "found", OTHER)
    assert lookup.resolve("LABEL=found", (), str(table)) == str(found)


def test_a_directory_that_only_root_may_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oscalls.fail(monkeypatch, "scandir", 13, when=lambda name: name == str(directory))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Denied, match=f"{directory}"):
        lookup.resolve("LABEL=none", (), NO_FSTAB)


def test_no_such_directory_and_no_fstab(
    directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory.rmdir()
    monkeypatch.setattr(report, "verbosity", 2)
    with pytest.raises((NotFound, Denied)):
        lookup.resolve("LABEL=none-of-this-machine", (), str(tmp_path / "fstab"))
    err = capsys.readouterr().err
    assert f"{tmp_path}/fstab: No such file or directory" in err
    assert f"{directory}: No such file or directory" in err


def test_a_kernel_without_sys(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block device may have the label: no such area is no answer."""
    monkeypatch.setattr(lookup, "_iter_devices", lambda _denied: iter(()))
    assert directory.is_dir()
    is_directory = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: path != "/sys/class/block" and is_directory(path))
    with pytest.raises(Error, match="cannot tell: /sys is not mounted") as caught:
        lookup.resolve("LABEL=none", (), NO_FSTAB)
    assert exit_status(caught.value) == 1


def test_lines_of_fstab_that_are_no_paths(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(where=tmp_path)
    table = tmp_path / "fstab"
    table.write_text(f"LABEL=other none swap sw 0 0\n{path} none swap sw 0 0\n")
    monkeypatch.setattr(report, "verbosity", 2)
    assert lookup.resolve(f"UUID={UUID}", (), str(table)) == str(path)
    assert "LABEL=other" not in capsys.readouterr().err


def test_lines_that_are_ghosts(make: Make, tmp_path: Path) -> None:
    path = make(where=tmp_path)
    text = tmp_path / "text"
    text.write_text("text\n")
    table = tmp_path / "fstab"
    table.write_text(
        f"{path} none swap sw 0 0\n"
        f"{tmp_path}/none none swap x-ghost.size=1M 0 0\n"
        f"{tmp_path}/none none swap sw 0 0\n"
        f"{text} none swap sw 0 0\n"
        f"UUID={UUID} none swap sw 0 0\n"
    )
    lines = list(fstab.iter_swap(fstab.read(str(table))))
    assert [lookup.is_ghost(one, (), str(table)) for one in lines] == [True, True, False, False, True]


def test_lines_that_only_root_can_read(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ghost, large = make(where=tmp_path), tmp_path / "large"
    large.write_bytes(bytes(PAGE + 1))
    table = tmp_path / "fstab"
    table.write_text(f"{ghost} none swap sw 0 0\n{large} none swap sw 0 0\n{tmp_path} none swap sw 0 0\n")
    small, other, directory = fstab.iter_swap(fstab.read(str(table)))
    unreadable = (str(ghost), str(large), str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    oscalls.fail(monkeypatch, "open", 13, when=lambda name, *_a, **_k: name in unreadable)
    with pytest.raises(Denied, match=f"{ghost}: only root can tell whether it is a ghost"):
        lookup.is_ghost(small, (), str(table))
    # a ghost is a regular file of one page
    assert lookup.is_ghost(other, (), str(table)) is False
    assert lookup.is_ghost(directory, (), str(table)) is False
    # nor is a label that it may have
    by_label = fstab.parse(b"LABEL=none none swap sw 0 0\n")[0]
    with pytest.raises(Denied):
        lookup.is_ghost(by_label, (), str(table))
    ghost.unlink()
    monkeypatch.setattr(lookup, "resolve", lambda *_: (_ for _ in ()).throw(Denied("no")))
    assert lookup.is_ghost(by_label, (), NO_FSTAB) is False


def test_what_may_be_a_ghost_when_only_root_can_look(tmp_path: Path) -> None:
    for length, expected in ((PAGE, True), (PAGE - 1, False), (0, False)):
        path = tmp_path / "file"
        path.write_bytes(bytes(length))
        assert lookup._may_be_ghost(str(path)) is expected
    assert lookup._may_be_ghost(str(tmp_path)) is False
    # a directory on the way to it that only root may pass
    assert lookup._may_be_ghost(str(tmp_path / "none")) is True
