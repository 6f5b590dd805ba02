# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zramdevices
from machine import cgroup_memory, limit_of, require

OOM_SCORE = Path("/proc/self/oom_score_adj")


@pytest.fixture(autouse=True)
def oom_score() -> Iterator[None]:
    """swapoff protects its process from the OOM killer, which the process of the tests is not to keep."""
    before = OOM_SCORE.read_text()
    yield
    if OOM_SCORE.read_text() != before:
        OOM_SCORE.write_text(before)


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    """A memory cgroup with room for 12 MiB."""
    require("cgroup")
    hierarchy = cgroup_memory()
    assert hierarchy is not None
    directory = hierarchy / f"ghostctl-test-{os.getpid()}"
    directory.mkdir()
    try:
        limit_of(directory).write_text(str(12 << 20))
        yield directory
    finally:
        deadline = time.monotonic() + 10
        while directory.exists() and time.monotonic() < deadline:
            try:
                directory.rmdir()
            except OSError:
                time.sleep(0.1)


@pytest.fixture
def zram() -> Iterator[None]:
    """A kernel with zram, whose devices are the same at the end; no other test has any at the same time."""
    require("zram")
    with zramdevices.as_they_were():
        yield


@pytest.fixture
def ghost(tmp_path: Path, zram: None) -> Path:  # noqa: ARG001
    """A ghost for zram."""
    return zramdevices.make_ghost(tmp_path / "a ghost")
