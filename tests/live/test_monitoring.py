# SPDX-License-Identifier: GPL-2.0-or-later
"""Metrics on their way through Debian's node_exporter, and alert rules in promtool."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import zramdevices
from machine import GHOSTCTL, REPOSITORY, ghostctl, require, run, swap_file
from without import PREFIXES

from ghostctl import capacity, metrics, swaps, zswap
from ghostctl.areas import Active
from ghostctl.doctor import Finding

MONITORING = REPOSITORY / "docs/monitoring"


def test_rules() -> None:
    require("promtool")
    run("promtool", "check", "rules", MONITORING / "ghostctl.rules.yml")
    run("promtool", "test", "rules", MONITORING / "ghostctl.rules.test.yml", cwd=MONITORING)


def test_metrics_pass_promtool() -> None:
    require("promtool")
    text = ghostctl("status", "--prometheus").stdout
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


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
    assert "# TYPE ghostctl_zswap_out_pages_total counter" in text


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


def of_a_machine_with_a_ghost() -> str:
    """The metrics of a stored machine, whose ghost holds pages."""
    root = str(REPOSITORY / "tests/data/machines/linux-6.12-ghost")
    state = zswap.read(root)
    every = swaps.read(f"{root}/proc/swaps")
    actives = [Active(one, one.name, *(("file", one.name) if one.is_ghost else ())) for one in every]
    labels = {
        one.area: {
            "name": one.path,
            "type": one.area.type,
            "ghost": one.ghost or "",
            "backend": one.backend or "",
        }
        for one in actives
    }
    families = [
        *metrics.areas(labels),
        *metrics.ghosts(labels, actives, capacity.held(actives, state, root), state),
        *metrics.zswap(state, zswap.read_events(root), zswap.read_debug(root)),
        *metrics.boot((1, 0)),
        *metrics.doctor([("kernel", Finding("OK", ""))]),
    ]
    return metrics.text(families, older=True)


@contextmanager
def prometheus(text: str, directory: Path) -> Iterator[str]:
    """The address of a Prometheus that fetches this text every second."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            pass

    port = free_port()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = f"127.0.0.1:{server.server_port}"
        config = directory / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            f"  - {{job_name: node, static_configs: [{{targets: ['{target}'], labels: {{instance: m}}}}]}}\n"
        )
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"]
        with subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                server.shutdown()


def queries() -> list[str]:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    return [
        target["expr"].replace("$instance", "m")
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]


def without_data(address: str, wanted: list[str]) -> list[str]:
    """Those of the queries that return nothing, also after a rate had time to become known."""
    deadline = time.monotonic() + 20
    left = wanted
    while left and time.monotonic() < deadline:
        time.sleep(0.5)
        left = [query for query in left if not result(address, query)]
    return left


def result(address: str, query: str) -> list[object]:
    answer = json.loads(fetch(f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
    assert answer["status"] == "success"
    found: list[object] = answer["data"]["result"]
    return found


def test_the_dashboard_of_a_machine_with_a_ghost(tmp_path: Path) -> None:
    require("promtool")
    with prometheus(of_a_machine_with_a_ghost(), tmp_path) as address:
        assert without_data(address, queries()) == []


def test_the_dashboard_of_a_machine_with_zram(ghost: Path, tmp_path: Path) -> None:
    require("promtool", "zswap")
    done = ghostctl("on", "--backend", "zram", "--memory-limit", "2M", "-p", "100", ghost)
    assert (done.returncode, done.stderr) == (0, "")
    text = ghostctl("status", "--prometheus").stdout
    zramdevices.off(ghost)
    with prometheus(text, tmp_path) as address:
        assert without_data(address, queries()) == []


def test_what_cannot_be_told_is_said() -> None:
    require("mount")
    done = ghostctl("status", "--prometheus", prefix=PREFIXES["sys"])
    assert done.returncode == 0
    assert "cannot tell the state of zswap" in done.stderr
    assert "ghostctl_zswap_enabled" not in done.stdout
    assert "ghostctl_fstab_ghosts" in done.stdout
