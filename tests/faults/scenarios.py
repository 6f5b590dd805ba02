# SPDX-License-Identifier: GPL-2.0-or-later
"""The writing commands of ghostctl, each with what is there before it."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from faults.state import MIB, PAGE, File, State, header

OTHER_UUID = "0f3c1d5e-7a52-4c1c-9c57-2d1c8b9f0a11"


class Place(NamedTuple):
    """Where a scenario is prepared."""

    directory: Path
    varlib: Path
    """What /var/lib is for the program."""
    tmpfiles: Path
    uuid: bytes
    ghostctl: Callable[..., None]
    """Runs the program without a fault; it must succeed."""

    def ghost(self, name: str = "ghost0", size: int = 16 * MIB, *, page: int = PAGE, label: str = "") -> None:
        """Makes a ghost as the program makes them."""
        self.write(name, header(size, self.uuid, label, page=page))

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Makes a file."""
        path = self.directory / name
        path.write_bytes(data)
        path.chmod(mode)

    def swap_file(self, name: str = "swap0") -> None:
        """Makes an ordinary swap file of 1 MiB, without holes."""
        self.write(name, header(MIB, self.uuid, tagged=False) + bytes(MIB - PAGE))


class Scenario(NamedTuple):
    """A command. In its arguments and in fstab {d} is the directory, {uuid} and {other} are UUIDs."""

    name: str
    args: str
    prepare: Callable[[Place], None]
    zram: bool = False
    """Uses zram, of which the machine has only one."""
    reports: bool = False
    """Writes a report to standard output, and may fail without a word on standard error."""
    all_or_nothing: bool = False
    """Files and parameters change together or not at all."""
    restore: str = ""
    """What an administrator does after a second run that could not know that the area was active before."""
    expect: Callable[[State, State], str | None] = lambda _old, _new: None
    """What is wrong with the end of a run without faults."""


def _nothing(_place: Place) -> None:
    pass


def _ghost(place: Place) -> None:
    place.ghost()


def _active(*options: str) -> Callable[[Place], None]:
    def prepare(place: Place) -> None:
        place.ghost()
        place.ghostctl("on", "--fallback", "zram", *options, str(place.directory / "ghost0"))

    return prepare


_FSTAB = "# a comment\n/dev/sda1 / ext4 defaults 0 1\n"


def _fstab(*lines: str) -> Callable[[Place], None]:
    def prepare(place: Place) -> None:
        text = _FSTAB + "".join(f"{line}\n" for line in lines)
        place.write("fstab", filled_in(text, place.directory, place.uuid).encode(), 0o644)
        os.chown(place.directory / "fstab", 0, 5)

    return prepare


def _both(*prepares: Callable[[Place], None]) -> Callable[[Place], None]:
    def prepare(place: Place) -> None:
        for one in prepares:
            one(place)

    return prepare


def filled_in(text: str, directory: Path, uuid: bytes) -> str:
    """Text with what {d}, {uuid} and {other} stand for. The UUID is the worker's: it tells its devices."""
    own = str(UUID(bytes=uuid))
    return text.replace("{d}", str(directory)).replace("{uuid}", own).replace("{other}", OTHER_UUID)


def _swapped_on(place: Place) -> None:
    place.swap_file()
    subprocess.run(["swapon", "-p", "3", place.directory / "swap0"], check=True, timeout=60)


def _persisted(place: Place) -> None:
    place.ghostctl("zswap", "set", "accept_threshold_percent=90", "--persist")


def _set_up(place: Place) -> None:
    file, fstab = str(place.directory / "ghost0"), str(place.directory / "fstab")
    place.ghostctl("setup", file, "-p", "9", "-T", fstab, "--fallback", "zram", "--yes")


def _installed(place: Place) -> None:
    (place.directory / "generators").mkdir()
    place.ghostctl("fstab", "install-generator", "--directory", str(place.directory / "generators"))


def _declares(
    size: int, name: str = "d/ghost0", label: str | None = None
) -> Callable[[State, State], str | None]:
    def expect(_old: State, new: State) -> str | None:
        file = new.files.get(name)
        return f"no {name}" if file is None else _wrong(file, size, label)

    return expect


def _wrong(file: File, size: int, label: str | None) -> str | None:
    (last_page,) = struct.unpack_from("=I", file.content, 1028)
    if (last_page + 1) * PAGE != size or len(file.content) != PAGE:
        return f"declares {last_page + 1} pages in {len(file.content)} bytes"
    if file.mode != 0o100600 or file.owner != (0, 0):
        return f"mode {file.mode:o}, owner {file.owner}"
    if label is not None and file.content[1052:1068].rstrip(b"\0") != label.encode():
        return f"label {file.content[1052:1068]!r}"
    return None


def _cycled(old: State, new: State) -> str | None:
    if len(old.devices) != 1 or len(new.devices) != 1:
        return f"{len(old.devices)} devices, then {len(new.devices)}"
    before, after = old.devices[0], new.devices[0]
    if after.area is None or before.area is None:
        return "not active"
    for what, was, now in (
        ("memory limit", before.limit, after.limit),
        ("compressor", before.compressor, after.compressor),
        ("priority", before.area.prio, after.area.prio),
    ):
        if was != now:
            return f"{what} was {was}, is {now}"
    return None if after.size == 24 * MIB else f"size {after.size}"


def _active_on_zram(_old: State, new: State) -> str | None:
    return None if [d for d in new.devices if d.area] else "not active"


def _gone(_old: State, new: State) -> str | None:
    return "an area or a device is left" if new.areas or new.devices else None


_ZRAM_LINE = "{d}/ghost0 none swap nofail,pri=4,x-ghost.size=16M,x-ghost.fallback=zram 0 0"
_SETUP_LINE = f"{_ZRAM_LINE.removesuffix(' 0 0')},x-ghost.memory-limit=16M,x-ghost.uuid={{uuid}} 0 0"
_MADE_LINE = "{d}/ghost%d none swap nofail,x-ghost.size=16M,x-ghost.uuid=%s 0 0"

SCENARIOS = (
    Scenario(
        "mkghost-new",
        "mkghost -s 16M -L faults -U {uuid} {d}/ghost0",
        _nothing,
        expect=_declares(16 * MIB, label="faults"),
    ),
    Scenario(
        "mkghost-var-lib",
        "mkghost -s 16M -U {uuid} /var/lib/ghost/ghost0",
        _nothing,
        expect=_declares(16 * MIB, "varlib/ghost/ghost0"),
    ),
    Scenario(
        "mkghost-force",
        "mkghost --force -s 32M -U {other} {d}/ghost0",
        _ghost,
        expect=_declares(32 * MIB),
    ),
    Scenario(
        "mkghost-if-needed",
        "mkghost --if-needed -s 32M {d}/ghost0",
        _ghost,
        expect=_declares(32 * MIB),
    ),
    Scenario(
        "mkghost-bare",
        "mkghost --bare -s 16M -U {uuid} {d}/ghost0",
        _nothing,
        expect=_declares(16 * MIB),
    ),
    Scenario(
        "label",
        "label -L new -U {other} {d}/ghost0",
        _ghost,
        expect=_declares(16 * MIB, label="new"),
    ),
    Scenario("resize", "resize {d}/ghost0 32M", _ghost, expect=_declares(32 * MIB)),
    Scenario(
        "resize-cycle",
        "resize --cycle {d}/ghost0 24M",
        _active("-p", "7", "--memory-limit", "8M", "--compressor", "lzo"),
        zram=True,
        restore="on --fallback zram -p 7 --memory-limit 8M --compressor lzo {d}/ghost0",
        expect=_cycled,
    ),
    Scenario(
        "on-zram",
        "on --fallback zram -p 5 --memory-limit 8M --compressor lzo {d}/ghost0",
        _ghost,
        zram=True,
        expect=_active_on_zram,
    ),
    Scenario(
        "on-fixpgsz",
        "on --fixpgsz --fallback zram {d}/ghost0",
        lambda place: place.ghost(page=2 * PAGE),
        zram=True,
        expect=_active_on_zram,
    ),
    Scenario(
        "on-enable-zswap",
        "on --enable-zswap --fallback zram {d}/ghost0",
        _ghost,
        zram=True,
        expect=_active_on_zram,
    ),
    Scenario(
        "on-all",
        "on -a -T {d}/fstab",
        _both(_ghost, _fstab(_ZRAM_LINE)),
        zram=True,
        expect=_active_on_zram,
    ),
    Scenario(
        "on-ordinary",
        "on -p 3 {d}/swap0",
        Place.swap_file,
        expect=lambda _old, new: None if new.areas else "not active",
    ),
    Scenario("off-ordinary", "off {d}/swap0", _swapped_on, expect=_gone),
    Scenario("off-zram", "off {d}/ghost0", _active(), zram=True, expect=_gone),
    Scenario(
        "zswap-set",
        "zswap set accept_threshold_percent=85 max_pool_percent=21",
        _nothing,
        all_or_nothing=True,
        expect=lambda _old, new: None if new.zswap["max_pool_percent"] == "21" else "not set",
    ),
    Scenario(
        "zswap-persist",
        "zswap set accept_threshold_percent=85 --persist",
        _nothing,
        all_or_nothing=True,
        expect=lambda _old, new: None if len(new.files) == 1 else "no file",
    ),
    Scenario(
        "zswap-forget",
        "zswap set --forget",
        _persisted,
        all_or_nothing=True,
        expect=lambda _old, new: "a file is left" if new.files else None,
    ),
    Scenario(
        "fstab-add",
        "fstab add {d}/ghost0 -s 16M -p 9 --nofail -T {d}/fstab",
        _fstab(),
        expect=lambda old, new: _kept(old, new, 1),
    ),
    Scenario(
        "fstab-add-now",
        "fstab add {d}/ghost0 -s 16M --nofail --fallback zram --now -T {d}/fstab -U {uuid}",
        _fstab(),
        zram=True,
        expect=_active_on_zram,
    ),
    Scenario(
        "fstab-remove",
        "fstab remove {d}/ghost0 -T {d}/fstab",
        _both(_ghost, _fstab(_ZRAM_LINE)),
        expect=lambda old, new: _kept(old, new, -1),
    ),
    Scenario(
        "fstab-ensure",
        "fstab ensure -T {d}/fstab",
        _fstab(_MADE_LINE % (0, "{uuid}"), _MADE_LINE % (1, "{other}")),
        expect=_declares(16 * MIB, "d/ghost1"),
    ),
    Scenario(
        "fstab-set",
        "fstab set {d}/ghost0 size=32M pri= zswap -T {d}/fstab",
        _both(_ghost, _fstab(_ZRAM_LINE)),
        expect=lambda old, new: (
            _kept(old, new, 0)
            or (None if b"nofail,x-ghost.size=32M," in new.files["d/fstab"].content else "not changed")
        ),
    ),
    Scenario(
        "setup-area",
        "setup {d}/ghost0 -p 9 --fallback zram -T {d}/fstab --yes",
        _both(_ghost, _fstab()),
        zram=True,
        expect=lambda old, new: _active_on_zram(old, new) or _kept(old, new, 1),
    ),
    Scenario(
        "setup-line",
        "setup {d}/ghost0 -p 9 --fallback zram -T {d}/fstab --yes",
        _fstab(_SETUP_LINE),
        zram=True,
        expect=lambda old, new: _active_on_zram(old, new) or _declares(16 * MIB)(old, new),
    ),
    Scenario(
        "setup-undo",
        "setup --undo --yes",
        _both(_ghost, _fstab(), _set_up),
        zram=True,
        expect=lambda old, new: _gone(old, new) or _kept(old, new, -1),
    ),
    Scenario("doctor-probe", "doctor --probe -v", _nothing, reports=True, expect=_gone),
    Scenario(
        "generator-install",
        "fstab install-generator --directory {d}/generators",
        _nothing,
        expect=lambda _old, new: (
            None if new.files["d/generators/ghostctl-generator"].mode == 0o100755 else "mode"
        ),
    ),
    Scenario(
        "generator-remove",
        "fstab install-generator --remove --directory {d}/generators",
        _installed,
        expect=lambda _old, new: None if len(new.files) == 1 else "left",
    ),
)


def _kept(old: State, new: State, lines: int) -> str | None:
    before, after = old.files["d/fstab"], new.files["d/fstab"]
    if before[:2] != after[:2]:
        return f"mode and owner were {before[:2]}, are {after[:2]}"
    if not after.content.startswith(_FSTAB.encode()):
        return "other lines changed"
    if after.content.count(b"\n") - before.content.count(b"\n") != lines:
        return "wrong number of lines"
    return None
