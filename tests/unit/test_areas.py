# SPDX-License-Identifier: GPL-2.0-or-later
"""Which file or device an area is, and whose ghost, where real areas cannot show it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import oscalls
import pytest
from zramdevices import make_ghost

from ghostctl import areas, errors, ghostfile, lookup, report, swaps
from ghostctl.swaps import Area

REGULAR = os.stat_result((stat.S_IFREG, 1, 2, 1, 0, 0, 0, 0, 0, 0))
DEVICE = os.stat_result((stat.S_IFBLK, 3, 4, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": 0xFC4D})
OF_REGULAR = (2, 1)
OF_DEVICE = (stat.S_IFBLK, 0xFC4D)


@pytest.mark.parametrize(
    ("name", "kind", "there", "identity"),
    [
        ("/dev/zram77", "partition", {"/dev/zram77": DEVICE}, OF_DEVICE),
        ("/dev/zram77", "partition", {}, None),
        # made active in another mount namespace
        ("/zram77", "partition", {"/dev/zram77": DEVICE}, OF_DEVICE),
        ("/zram77", "partition", {"/zram77": REGULAR, "/dev/zram77": DEVICE}, OF_DEVICE),
        ("/zram77", "partition", {"/zram77": DEVICE}, OF_DEVICE),
        ("/zram77", "partition", {"/zram77": REGULAR}, None),
        ("/zram77", "file", {"/dev/zram77": DEVICE}, None),
        ("/mnt/zram77", "partition", {"/dev/zram77": DEVICE, "/dev/mnt/zram77": DEVICE}, None),
        # another kernel's ghosts may be made of anything
        ("/dev/zram77", "partition", {"/dev/zram77": REGULAR}, OF_REGULAR),
        ("xswap77", "xswap", {"xswap77": REGULAR, "/xswap77": REGULAR}, None),
        ("xswap77", "partition", {"/devxswap77": DEVICE}, None),
    ],
)
def test_the_file_or_device_of_an_area(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    there: dict[str, os.stat_result],
    identity: tuple[int, ...] | None,
) -> None:
    def fake(path: str) -> os.stat_result:
        if path in there:
            return there[path]
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    monkeypatch.setattr(os, "stat", fake)
    assert areas._identity_of(Area(name, kind, 4, 0, 1)) == identity


def test_what_is_no_swap_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    st = path.stat()
    assert areas._is_swap_file(str(path), st) is False
    assert areas._is_swap_file(str(tmp_path), tmp_path.stat()) is None
    # the file has another one in its place since it was looked at
    (tmp_path / "other").write_bytes(b"")
    assert areas._is_swap_file(str(tmp_path / "other"), st) is None
    for number in (errno.EACCES, errno.EROFS):
        with monkeypatch.context() as patch:
            oscalls.fail(patch, "open", number, when=lambda name, *_a, **_k: name == str(path))
            assert areas._is_swap_file(str(path), st) is None
    for number, answer in ((errno.ETXTBSY, True), (errno.EIO, None)):
        with monkeypatch.context() as patch:
            oscalls.fail(patch, "copy_file_range", number)
            assert areas._is_swap_file(str(path), st) is answer


def test_where_the_ghost_is_cannot_always_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ghost = make_ghost(tmp_path / "ghost")
    with ghostfile.look(str(ghost)) as file:
        assert file.header
        uuid = file.header.uuid_text
    one = areas.Active(Area("/dev/none", "partition", 4, 0, 1), "/dev/none", "zram", str(ghost), uuid)
    assert areas.ghost_of(one, [one], "/dev/null") == str(ghost)
    with monkeypatch.context() as patch:
        oscalls.fail(patch, "open", errno.EIO, when=lambda name, *_a, **_k: name == str(ghost))
        with pytest.raises(errors.Error, match=f"{ghost}: cannot tell whether it is active: Input") as caught:
            areas._original(one)
        assert errors.exit_status(caught.value) == 1
        patch.setattr(report, "verbosity", 1)
        assert areas.ghost_of(one, [one], "/dev/null") is None

    def no_answer(*_: object) -> str:
        raise errors.Denied("only root can tell")

    ghost.unlink()
    monkeypatch.setattr(lookup, "resolve", no_answer)
    assert areas.ghost_of(one, [one], "/dev/null") is None
    monkeypatch.setattr(lookup, "resolve", lambda *_: "/elsewhere")
    assert areas.ghost_of(one, [one], "/dev/null") == "/elsewhere"
    assert areas.ghost_of(one._replace(uuid=None), [one], "/dev/null") is None


def test_ghosts_without_a_uuid_are_no_copies(tmp_path: Path) -> None:
    ghost, other = (make_ghost(tmp_path / name, uid=None) for name in ("ghost", "other"))
    area = swaps.Area(str(ghost), "ghost", 1, 0, 1)
    actives = [areas.Active(area, area.name, "file", str(ghost))]
    actives.append(areas.Active(area._replace(name="/dev/none"), "/dev/none", "zram", "/gone"))
    with ghostfile.look(str(other)) as file:
        assert areas.twin(file, actives) is None
