# SPDX-License-Identifier: GPL-2.0-or-later
"""Metrics on their way through Debian's node_exporter, and alert rules in promtool."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from machine import GHOSTCTL, REPOSITORY, ghostctl, require, run, swap_file

MONITORING = REPOSITORY / "docs/monitoring"


def test_rules() -> None:
    require("prometheus")
    run("promtool", "check", "rules", MONITORING / "ghostctl.rules.yml")
    run("promtool", "test", "rules", MONITORING / "ghostctl.rules.test.yml", cwd=MONITORING)


def test_metrics_pass_promtool() -> None:
    require("prometheus")
    text = ghostctl("status", "--openmetrics").stdout
    # the linter is for the older format, whose counters are named with their _total
    text = text.replace("# EOF\n", "")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert "error while linting" not in done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_node_exporter_reads_the_file(swap_dir: Path, tmp_path: Path) -> None:
    require("prometheus")
    area = swap_file(swap_dir / 'odd "name" \\ here')
    run("swapon", area)
    service = (REPOSITORY / "systemd/ghostctl-metrics.service").read_text()
    (command,) = [line for line in service.splitlines() if line.startswith("ExecStart=")]
    script = command.partition("'")[2].removesuffix("'")
    run("env", f"PATH={GHOSTCTL.parent}:/usr/bin:/bin", "sh", "-ec", script, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ghostctl.prom"]
    assert (tmp_path / "ghostctl.prom").stat().st_mode & 0o777 == 0o644
    port = free_port()
    with subprocess.Popen(
        [
            "prometheus-node-exporter",
            f"--web.listen-address=127.0.0.1:{port}",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={tmp_path}",
        ],
        stderr=subprocess.PIPE,
    ) as process:
        try:
            text = fetch(f"http://127.0.0.1:{port}/metrics")
        finally:
            process.terminate()
    assert "node_textfile_scrape_error 0" in text
    name = str(area).replace("\\", "\\\\").replace('"', '\\"')
    assert f'ghostctl_area_used_bytes{{name="{name}",type="file"}}' in text
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
