"""The text of a scrape, read back by Prometheus's own parsers."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from cdpd import metrics as names
from cdpd.metrics import FAMILIES, Metrics
from cdpd.scrape.reference import reference
from cdpd.scrape.text import exposition

OPEN = "application/openmetrics-text; version=1.0.0"
ETC = Path(__file__).parents[2] / "etc"


def some_metrics() -> Metrics:
    metrics = Metrics()
    metrics.add(names.REQUESTS, "/v1/track", "200", n=3)
    metrics.add(names.DISCARDED, "website", "drop", 'a "code"\nwith \\ everything ✓')
    metrics.set(names.RELOAD_OK, value=1)
    for value in (0.0004, 0.003, 0.003, 99.0):
        metrics.observe(names.SYNC_SECONDS, value, "received")
    return metrics


def test_what_was_counted_comes_back_as_it_was() -> None:
    kind, text = exposition(some_metrics().series(), "")
    assert kind.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    (sample,) = families["cdpd_requests"].samples
    assert (sample.name, sample.labels, sample.value) == (
        "cdpd_requests_total",
        {"path": "/v1/track", "status": "200"},
        3,
    )
    (sample,) = families["cdpd_discarded_events"].samples
    assert sample.labels == {"source": "website", "by": "drop", "code": 'a "code"\nwith \\ everything ✓'}
    samples = {(s.name, s.labels.get("le")): s.value for s in families["cdpd_log_sync_seconds"].samples}
    assert samples["cdpd_log_sync_seconds_bucket", "0.0005"] == 1
    assert samples["cdpd_log_sync_seconds_bucket", "0.005"] == 3
    assert samples["cdpd_log_sync_seconds_bucket", "10.0"] == 3
    assert samples["cdpd_log_sync_seconds_bucket", "+Inf"] == 4
    assert samples["cdpd_log_sync_seconds_count", None] == 4
    assert samples["cdpd_log_sync_seconds_sum", None] == pytest.approx(99.0064)


@pytest.mark.parametrize("accept", ["", OPEN])
def test_every_metric_has_its_help_and_type_before_anything_was_counted(accept: str) -> None:
    _, text = exposition([], accept)
    lines = text.decode().splitlines()
    for family in FAMILIES.values():
        name = family.name.removesuffix("_total") if accept else family.name
        assert f"# TYPE {name} {family.kind}" in lines
        assert any(line.startswith(f"# HELP {name} ") for line in lines)


def test_openmetrics_is_valid_to_its_strict_parser() -> None:
    kind, text = exposition(some_metrics().series(), OPEN)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.exposition.CONTENT_TYPE_LATEST.partition(";")[0] in kind
    families = {f.name: f for f in openmetrics_parser.text_string_to_metric_families(text.decode())}
    assert {family.name.removesuffix("_total") for family in FAMILIES.values()} <= set(families)
    assert {"process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"} <= set(
        families
    )


def test_the_list_in_etc_is_current() -> None:
    assert (ETC / "METRICS.md").read_text() == reference()
