# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from ghostctl import metrics
from ghostctl.swaps import Area
from ghostctl.zswap import Zswap

MONITORING = Path(__file__).parent.parent.parent / "docs/monitoring"
GHOST = Area("/var/lib/ghost/swap0", "ghost", 1 << 20, 1 << 18, 100)
STATE = Zswap(True, "lz4", 20, 90, False, None, 400 << 20, 100 << 20, 150 << 20)
EVENTS = dict.fromkeys(("pswpin", "pswpout", "zswpin", "zswpout", "zswpwb", "nr_free_pages"), 7)
DEBUG = {"pool_limit_hit": 3, "reject_compress_poor": 2, "reject_alloc_fail": 1, "stored_pages": 9}


def text(areas: list[Area] = [GHOST]) -> str:  # noqa: B006
    return metrics.openmetrics(metrics.families(areas, areas, STATE, EVENTS, DEBUG))


def values(document: str) -> dict[str, float]:
    return {
        sample.name + str(sorted(sample.labels.values())): sample.value
        for family in read_openmetrics(document)
        for sample in family.samples
    }


def test_values() -> None:
    found = values(text())
    assert found["ghostctl_ghosts_size_bytes[]"] == 1 << 30
    assert found["ghostctl_ghosts_free_bytes[]"] == 768 << 20
    # 50 MiB of pool are left, at 4:1
    assert found["ghostctl_ghosts_available_bytes[]"] == 200 << 20
    assert found["ghostctl_area_used_bytes['/var/lib/ghost/swap0', 'ghost']"] == 256 << 20
    assert found["ghostctl_zswap_enabled['lz4']"] == 1
    assert found["ghostctl_zswap_out_pages_total[]"] == 7
    assert found["ghostctl_zswap_rejected_pages_total['compress_poor']"] == 2
    assert found["ghostctl_zswap_pool_limit_hits_total[]"] == 3
    assert len(found) == 18


def test_units_are_in_the_names() -> None:
    for family in read_openmetrics(text()):
        assert family.documentation
        if family.name.endswith(("_bytes", "_pages")):
            assert family.unit == family.name.rpartition("_")[2]


def test_nothing_is_known() -> None:
    assert metrics.openmetrics(metrics.families([], [], None, {}, {})) == "# EOF\n"


@given(st.binary(min_size=1))
def test_any_name_is_one_label(name: bytes) -> None:
    area = GHOST._replace(name=name.decode("utf-8", "surrogateescape"))
    document = text([area])
    document.encode("utf-8")
    (label,) = {
        sample.labels["name"]
        for family in read_openmetrics(document)
        for sample in family.samples
        if "name" in sample.labels
    }
    assert label.isprintable()
    # the textfile collector reads the older format
    assert sum(len(family.samples) for family in read_prometheus(document)) == 18


def test_alerts_and_dashboard_use_what_there_is() -> None:
    known = {sample.name for family in read_openmetrics(text()) for sample in family.samples}
    texts = [(MONITORING / name).read_text() for name in ("ghostctl.rules.yml", "README.md")]
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    texts += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = set(re.findall(r"ghostctl_\w+", " ".join(texts)))
    assert used == known
