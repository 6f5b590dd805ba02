# SPDX-License-Identifier: GPL-2.0-or-later
"""Some faults of the campaign; `make faults` tries all of them. And what the campaign reads in traces.

GHOSTCTL_FAULTS is their number (default 300), GHOSTCTL_FAULTS_SEED chooses them (default 0).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import straced
from machine import require

CAMPAIGN = Path(__file__).with_name("campaign.py")


def test_a_sample_of_faults_violates_nothing(swap_parent: Path) -> None:
    require("root", "mount", "swap", "zram", "strace")
    number, seed = os.environ.get("GHOSTCTL_FAULTS", "300"), os.environ.get("GHOSTCTL_FAULTS_SEED", "0")
    done = subprocess.run(
        [sys.executable, CAMPAIGN, "--sample", number, "--seed", seed, "--directory", swap_parent],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{number} faults" in done.stdout or "did not come again" in done.stderr, done.stdout


BEGUN = '7 chroot("/ghostctl-fault-begin") = -1 ENOENT (No such file or directory)\n'
OPEN = '7 openat(3</d>, ".", O_RDWR|O_TMPFILE, 0600) = 4</d/#9>(deleted)\n'
WRITE = '7 write(4</d/#9>(deleted), "x", 1) = 1\n'
FSYNC = "7 fsync(4</d/#9>(deleted)) = 0\n"
NO_FSYNC = "7 fsync(4</d/#9>(deleted)) = -1 EIO (Input/output error) (INJECTED)\n"
CHMOD = "7 fchmod(4</d/#9>(deleted), 0644) = 0\n"
LINK = '7 linkat(AT_FDCWD</>, "/proc/self/fd/4", 3</d>, "a", AT_SYMLINK_FOLLOW) = 0\n'
FSYNC_DIRECTORY = "7 fsync(3</d>) = 0\n"


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (OPEN + WRITE + FSYNC + LINK + FSYNC_DIRECTORY, []),
        (OPEN + WRITE + LINK + FSYNC_DIRECTORY, ["a: linkat although never synced"]),
        (OPEN + WRITE + FSYNC + CHMOD + LINK + FSYNC_DIRECTORY, ["a: linkat although never synced"]),
        (OPEN + WRITE + NO_FSYNC + FSYNC + LINK + FSYNC_DIRECTORY, ["a: linkat although its fsync failed"]),
        (OPEN + WRITE + NO_FSYNC + WRITE + FSYNC + LINK + FSYNC_DIRECTORY, []),
        (OPEN + WRITE + FSYNC + LINK, ["/d: not synced after linkat of a"]),
        (FSYNC_DIRECTORY + '7 unlink("/d/a") = 0\n', ["/d: not synced after unlink of a"]),
        ('7 unlink("/elsewhere/a") = 0\n', []),
        ('7 unlink("/d/a") = -1 EIO (Input/output error) (INJECTED)\n', []),
    ],
)
def test_what_is_not_synced_is_found(trace: str, said: list[str]) -> None:
    assert straced.unsynced(straced.parse(BEGUN + trace), ("/d/",)) == said


def test_a_file_written_in_place_and_not_synced_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ghost"
    path.touch()
    write = f'7 pwrite64(3<{path}>, "x", 1, 0) = 1\n'
    for end, said in (
        (f"7 fsync(3<{path}>) = 0\n7 close(3<{path}>) = 0\n", []),
        (f"7 close(3<{path}>) = 0\n", [f"{path}: never synced"]),
        ("", [f"{path}: never synced"]),
    ):
        assert straced.unsynced(straced.parse(BEGUN + write + end), (f"{tmp_path}/",)) == said


def test_calls_are_counted_by_process_and_name() -> None:
    calls = straced.parse(
        '7 read(3</x>, "", 1) = 0\n'
        + BEGUN
        + '7 read(3</sys/class/zram-control/hot_add>, "5\\n", 9) = 2\n'
        + "7 fork( <unfinished ...>\n"
        + '8 write(4</sys/class/zram-control/hot_remove>, "5", 1 <unfinished ...>\n'
        + "7 <... fork resumed>) = 8\n"
        + "8 <... write resumed>) = 1\n"
        + "7 exit_group(0) = ?\n7 +++ exited with 0 +++\n"
    )
    assert [(call.pid, call.name, call.number, call.result, call.begun) for call in calls] == [
        (7, "read", 1, 0, False),
        (7, "chroot", 1, -1, False),
        (7, "read", 2, 2, True),
        (7, "fork", 1, 8, True),
        (8, "write", 1, 1, True),
        (7, "exit_group", 1, None, True),
    ]
    assert straced.zram_changes(calls[:3]) == ({5}, set())
    assert straced.zram_changes(calls) == (set(), {5})
