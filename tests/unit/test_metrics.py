# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine import require
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from ghostctl import metrics
from ghostctl.areas import Active
from ghostctl.capacity import held
from ghostctl.doctor import Finding
from ghostctl.report import escape
from ghostctl.swaps import Area
from ghostctl.zswap import Zswap

MONITORING = Path(__file__).parent.parent.parent / "docs/monitoring"
GHOST = Area("/var/lib/ghost/swap0", "ghost", 1 << 20, 1 << 18, 100)
DISK = Area("/dev/sda2", "partition", 1 << 20, 0, 10)
STATE = Zswap(True, "lz4", 20, 90, False, None, 400 << 20, 100 << 20, 150 << 20)
EVENTS = dict.fromkeys(("pswpin", "pswpout", "zswpin", "zswpout", "zswpwb", "nr_free_pages"), 7)
DEBUG = {"pool_limit_hit": 3, "reject_compress_poor": 2, "reject_alloc_fail": 1, "stored_pages": 9}
FOUND = [
    ("kernel", Finding("OK", "")),
    ("size", Finding("FAIL", "")),
    ("size", Finding("WARN", "")),
    ("fstab", Finding("WARN", "")),
]


def text(ghost: Area = GHOST, state: Zswap = STATE, *, older: bool = False) -> str:
    """The metrics of a machine with one ghost above a disk."""
    actives = [Active(ghost, ghost.name, "file", ghost.name), Active(DISK, DISK.name)]
    labels = {
        ghost: {"name": ghost.name, "type": "ghost", "ghost": ghost.name, "backend": "file", "label": ""},
        DISK: {"name": DISK.name, "type": "partition", "ghost": "", "backend": "", "label": ""},
    }
    families = [
        *metrics.areas(labels),
        *metrics.ghosts(labels, actives, held(actives, state), state),
        *metrics.zswap(state, EVENTS, DEBUG),
        *metrics.boot((3, 1)),
        *metrics.doctor(FOUND),
    ]
    return metrics.text(families, older=older)


def values(document: str) -> dict[str, float]:
    return {
        sample.name.removeprefix("ghostctl_") + str(sorted(sample.labels.values())): sample.value
        for family in read_openmetrics(document)
        for sample in family.samples
    }


def test_values() -> None:
    found = values(text())
    ghost = "['/var/lib/ghost/swap0', '/var/lib/ghost/swap0', 'file', 'ghost']"
    for name, value in {
        "area_size_bytes": 1 << 30,
        "area_used_bytes": 256 << 20,
        "area_priority": 100,
        "ghost_stored_bytes": 400 << 20,
        "ghost_memory_bytes": 100 << 20,
        "ghost_limit_bytes": 150 << 20,
        "ghost_free_bytes": 768 << 20,
        # 50 MiB of pool are left, at 4:1
        "ghost_room_bytes": 200 << 20,
        "ghost_overcommitted": 1,
    }.items():
        assert found.pop(name + ghost) == value
    disk = "['/dev/sda2', 'partition']"
    assert [found.pop(f"area_{name}{disk}") for name in ("size_bytes", "used_bytes", "priority")] == [
        1 << 30,
        0,
        10,
    ]
    assert found == {
        "ghosts_size_bytes[]": 1 << 30,
        "ghosts_stored_bytes[]": 400 << 20,
        "ghosts_memory_bytes[]": 100 << 20,
        "ghosts_limit_bytes[]": 150 << 20,
        "ghosts_free_bytes[]": 768 << 20,
        "ghosts_available_bytes[]": 200 << 20,
        "ghosts_without_room_bytes[]": 568 << 20,
        "zswap_enabled['lz4']": 1,
        "zswap_stored_bytes[]": 400 << 20,
        "zswap_pool_bytes[]": 100 << 20,
        "zswap_pool_limit_bytes[]": 150 << 20,
        "swap_in_pages_total[]": 7,
        "swap_out_pages_total[]": 7,
        "zswap_in_pages_total[]": 7,
        "zswap_out_pages_total[]": 7,
        "zswap_written_back_pages_total[]": 7,
        "zswap_pool_limit_hits_total[]": 3,
        "zswap_rejected_pages_total['compress_poor']": 2,
        "zswap_rejected_pages_total['alloc_fail']": 1,
        "fstab_ghosts[]": 3,
        "fstab_ghosts_inactive[]": 1,
        "doctor_status['kernel']": 0,
        "doctor_status['size']": 2,
        "doctor_status['fstab']": 1,
    }


@pytest.mark.parametrize(
    ("older", "golden"),
    [
        (
            False,
            "# HELP ghostctl_n_pages Text.\n# TYPE ghostctl_n_pages counter\n# UNIT ghostctl_n_pages pages\n"
            'ghostctl_n_pages_total{name="a \\"b\\""} 7\nghostctl_n_pages_total 8\n# EOF\n',
        ),
        (
            True,
            "# HELP ghostctl_n_pages_total Text.\n# TYPE ghostctl_n_pages_total counter\n"
            'ghostctl_n_pages_total{name="a \\"b\\""} 7\nghostctl_n_pages_total 8\n',
        ),
    ],
)
def test_golden(older: bool, golden: str) -> None:
    samples = [({"name": 'a "b"', "label": ""}, 7), ({"name": ""}, 8)]
    one = metrics.Family("n", "counter", "Text.", samples, "pages")
    without = metrics.Family("none", "gauge", "Text.", [])
    assert metrics.text([without, one], older=older) == golden


def test_types_in_both_formats() -> None:
    new = {family.name: family.type for family in read_openmetrics(text())}
    # of a counter, the reader of the older format takes _total away
    assert {family.name: family.type for family in read_prometheus(text(older=True))} == new
    assert new["ghostctl_zswap_out_pages"] == "counter"
    assert "unknown" not in new.values()


def test_units_are_in_the_names() -> None:
    for family in read_openmetrics(text()):
        assert family.documentation
        if family.name.endswith(("_bytes", "_pages")):
            assert family.unit == family.name.rpartition("_")[2]


def test_nothing_is_known() -> None:
    families = [
        *metrics.areas({}),
        *metrics.ghosts({}, [], [], None),
        *metrics.zswap(None, {}, {}),
        *metrics.boot(None),
        *metrics.doctor([]),
    ]
    assert metrics.text(families) == "# EOF\n"
    assert metrics.text(families, older=True).strip() == ""


def test_what_is_not_known_is_left_out() -> None:
    found = values(text(state=STATE._replace(stored=None, pool=None)))
    missing = (
        "ghost_stored",
        "ghost_memory",
        "ghost_room",
        "ghosts_available",
        "ghosts_without",
        "zswap_pool_b",
    )
    assert [name for name in found if name.startswith(missing)] == []
    assert found["ghosts_free_bytes[]"] == 768 << 20


def test_two_that_nothing_tells_apart_are_one_sample() -> None:
    """Two deleted files of one name."""
    both = [GHOST, GHOST._replace(used_kib=0, prio=99)]
    actives = [Active(one, one.name, "file") for one in both]
    labels = {one: {"name": one.name, "type": one.type} for one in both}
    families = [*metrics.areas(labels), *metrics.ghosts(labels, actives, held(actives, STATE), STATE)]
    assert [len(family.samples) for family in families] == [1] * len(families)
    found = values(metrics.text(families))
    # of the same one
    size, used, free = (
        found[f"{name}_bytes['{GHOST.name}', 'ghost']"] for name in ("area_size", "area_used", "ghost_free")
    )
    assert size - used == free
    assert found["ghosts_size_bytes[]"] == 2 << 30


@given(st.binary(min_size=1))
def test_any_name_is_one_label(name: bytes) -> None:
    ghost = GHOST._replace(name=name.decode("utf-8", "surrogateescape"))
    for families in (read_openmetrics(text(ghost)), read_prometheus(text(ghost, older=True))):
        labels = {
            sample.labels["name"]
            for family in families
            for sample in family.samples
            if "ghost" in sample.labels
        }
        assert labels == {escape(ghost.name)}
        assert "".join(labels).isprintable()


@pytest.mark.parametrize("older", [False, True])
def test_promtool(older: bool) -> None:
    require("promtool")
    document = text(older=older).replace("# EOF\n", "")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=document, capture_output=True, text=True, check=False
    )
    said = done.stderr.splitlines()
    if not older:
        # its linter is for the older format, in which HELP of a counter names it with _total
        said = [line for line in said if not line.endswith("_total no help text")]
    assert said == []
    assert not older or done.returncode == 0


def test_alerts_and_dashboard_use_what_there_is() -> None:
    known = {sample.name for family in read_openmetrics(text()) for sample in family.samples}
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    used = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used.append((MONITORING / "ghostctl.rules.yml").read_text())
    assert set(re.findall(r"ghostctl_\w+", " ".join(used))) <= known


def test_the_readme_lists_every_metric_and_label() -> None:
    samples = [sample for family in read_openmetrics(text()) for sample in family.samples]
    readme = (MONITORING / "README.md").read_text()
    assert set(re.findall(r"ghostctl_\w+", readme)) == {sample.name for sample in samples}
    for label in {"label"}.union(*(sample.labels for sample in samples)):
        assert f"`{label}`" in readme
