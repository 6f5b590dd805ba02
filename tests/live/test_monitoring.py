# SPDX-License-Identifier: GPL-2.0-or-later
"""Metrics on their way through Debian's node_exporter, and alert rules in promtool."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from machine import GHOSTCTL, REPOSITORY, ghostctl, require, run, swap_file

MONITORING = REPOSITORY / "docs/monitoring"


def test_rules() -> None:
    require("promtool")
    run("promtool", "check", "rules", MONITORING / "ghostctl.rules.yml")
    run("promtool", "test", "rules", MONITORING / "ghostctl.rules.test.yml", cwd=MONITORING)


def test_metrics_pass_promtool() -> None:
    require("promtool")
    text = ghostctl("status", "--openmetrics").stdout
    text = text.replace("# EOF\n", "")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    # the linter is for the older format, in which help of a counter would be that of its name with _total
    said = [line for line in done.stderr.splitlines() if not line.endswith("_total no help text")]
    assert said == []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def area(swap_dir: Path) -> Path:
    """An active area whose name has characters that need an escape."""
    path = swap_file(swap_dir / 'odd "name" \\ here')
    run("swapon", path)
    return path


def used_bytes(area: Path) -> str:
    """The metric of an area, without its value."""
    name = str(area).replace("\\", "\\\\").replace('"', '\\"')
    return f'ghostctl_area_used_bytes{{name="{name}",type="file"}}'


@pytest.fixture
def written(area: Path, tmp_path: Path) -> Path:  # noqa: ARG001
    """The file that the command of the service writes, in a directory of its own."""
    directory = tmp_path / "textfile"
    directory.mkdir()
    service = (REPOSITORY / "systemd/ghostctl-metrics.service").read_text()
    (command,) = [line for line in service.splitlines() if line.startswith("ExecStart=")]
    script = command.partition("'")[2].removesuffix("'")
    run("env", f"PATH={GHOSTCTL.parent}:/usr/bin:/bin", "sh", "-ec", script, cwd=directory)
    return directory / "ghostctl.prom"


def test_the_service_writes_one_file_that_all_may_read(area: Path, written: Path) -> None:
    assert [path.name for path in written.parent.iterdir()] == ["ghostctl.prom"]
    assert written.stat().st_mode & 0o777 == 0o644
    assert used_bytes(area) in written.read_text()


def test_node_exporter_reads_the_file(area: Path, written: Path) -> None:
    require("node-exporter")
    port = free_port()
    with subprocess.Popen(
        [
            "prometheus-node-exporter",
            f"--web.listen-address=127.0.0.1:{port}",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={written.parent}",
        ],
        stderr=subprocess.PIPE,
    ) as process:
        try:
            text = fetch(f"http://127.0.0.1:{port}/metrics")
        finally:
            process.terminate()
    assert "node_textfile_scrape_error 0" in text
    assert used_bytes(area) in text
    assert "ghostctl_zswap_out_pages_total " in text


def fetch(url: str) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_units_are_sound() -> None:
    require("systemd")
    units = [str(path) for path in (REPOSITORY / "systemd").glob("ghostctl-metrics.*")]
    assert len(units) == 2
    run("systemd-analyze", "verify", "--man=no", *units)
