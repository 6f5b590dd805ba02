# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import machine
import pytest
from machine import require, run

Filesystem = Callable[..., Path]


def pytest_configure() -> None:
    # ignored in what a script starts in the background; programs would inherit that
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    if "GHOSTCTL_GUEST" not in os.environ:
        # no test in a guest wants it, and there it takes 15 s to be imported
        import hypothesis

        # how long a busy machine takes says nothing; an emulated one takes too long for many
        examples = int(os.environ.get("GHOSTCTL_EXAMPLES", "100"))
        hypothesis.settings.register_profile("ghostctl", deadline=None, max_examples=examples)
        hypothesis.settings.load_profile("ghostctl")
    unknown = machine.required() - set(machine.CAPABILITIES)
    if unknown:
        raise pytest.UsageError(f"GHOSTCTL_REQUIRE: unknown {', '.join(sorted(unknown))}")


def _can_swap(directory: str) -> bool:
    with tempfile.TemporaryDirectory(dir=directory, prefix="ghostctl-test-") as name:
        path = machine.swap_file(Path(name) / "probe")
        try:
            return subprocess.run(["swapon", path], capture_output=True, check=False).returncode == 0
        finally:
            machine.swapoff_below(Path(name))


@pytest.fixture(scope="session")
def ghost_parent() -> Iterator[Path]:
    """A directory on a filesystem that may have ghosts: the usual one, or a new one on a loop device."""
    for candidate in machine.SWAP_PLACES:
        kind = run("stat", "--file-system", "--format=%T", candidate).strip()
        if kind in ("ext2/ext3", "xfs", "btrfs") and os.access(candidate, os.W_OK):
            with tempfile.TemporaryDirectory(dir=candidate, prefix="ghostctl-test-") as name:
                yield Path(name).resolve()
            return
    require("ext4")
    with ExitStack() as stack:
        yield _mount(stack, "ext4", "64M", (), "")


@pytest.fixture
def ghost_dir(ghost_parent: Path) -> Iterator[Path]:
    """A directory of the test's own on such a filesystem, in which nothing becomes active."""
    with tempfile.TemporaryDirectory(dir=ghost_parent) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def swap_parent() -> Iterator[Path]:
    """A directory on a filesystem that takes swap files: the usual one, or a new one on a loop device."""
    require("swap")
    for candidate in machine.SWAP_PLACES:
        if os.access(candidate, os.W_OK) and _can_swap(candidate):
            with tempfile.TemporaryDirectory(dir=candidate, prefix="ghostctl-test-") as name:
                yield Path(name).resolve()
            return
    require("ext4")
    with ExitStack() as stack:
        yield _mount(stack, "ext4", "512M", (), "")


@pytest.fixture
def swap_dir(swap_parent: Path) -> Iterator[Path]:
    """A directory of the test's own that can have swap files; what is active in it at the end goes off."""
    with tempfile.TemporaryDirectory(dir=swap_parent, ignore_cleanup_errors=True) as name:
        try:
            yield Path(name)
        finally:
            machine.swapoff_below(Path(name))


def _mount(stack: ExitStack, kind: str, size: str, mkfs: tuple[str, ...], options: str) -> Path:
    # in memory where possible: what is tested is the filesystem, not how long a disk takes to sync
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    image = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory))) / "image"
    point = image.with_name("mnt")
    point.mkdir()
    run("truncate", "-s", size, image)
    run("mkfs.ext4" if kind == "fuse2fs" else f"mkfs.{kind}", *mkfs, image)
    if kind == "fuse2fs":
        run("fuse2fs", image, point)
    else:
        run("mount", "-o", ",".join(filter(None, ("loop", options))), image, point)
    stack.callback(run, "umount", point)
    stack.callback(machine.swapoff_below, point)
    return point


_SIZES = {"ext4": "64M", "xfs": "320M", "btrfs": "128M", "vfat": "64M", "fuse2fs": "16M"}


@pytest.fixture
def filesystem() -> Iterator[Filesystem]:
    """``filesystem("ext4", "-O", "inline_data", options="ro")``: a new one on a loop device, mounted."""
    with ExitStack() as stack:

        def make(kind: str, *mkfs: str, options: str = "", size: str | None = None) -> Path:
            require(kind)
            return _mount(stack, kind, size or _SIZES[kind], mkfs, options)

        yield make


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A small tmpfs of the test's own."""
    require("mount")
    point = tmp_path / "tmpfs"
    point.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "ghostctl-test", point)
    try:
        yield point
    finally:
        run("umount", point)


@pytest.fixture
def loop_device() -> Iterator[Callable[[Path], Path]]:
    """``loop_device(image)``: a loop device over an image; off and detached at the end."""
    require("loop")
    with ExitStack() as stack:

        def attach(image: Path) -> Path:
            device = run("losetup", "--find", "--show", image).strip()
            stack.callback(run, "losetup", "--detach", device)
            stack.callback(_swapoff, device)
            return Path(device)

        yield attach


def _swapoff(path: str) -> None:
    if machine.is_active(path):
        run("swapoff", path)
