"""The metrics' names, and counting by them."""

from __future__ import annotations

import re

import pytest

from cdpd import metrics as names
from cdpd.metrics import FAMILIES, LONGEST_CODE, MOST_CODES, OTHER, Family, Metrics

_UNITS = ("_total", "_seconds", "_bytes", "_info", "_state", "_events", "_requests", "_offset", "_segments")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_every_metric_is_named_by_the_scheme_and_explained(family: Family) -> None:
    assert re.fullmatch(r"cdpd(_[a-z]+)+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help.endswith(".")
    assert all(re.fullmatch("[a-z]+", label) for label in family.labels)
    assert bool(family.buckets) == (family.kind == "histogram")
    assert list(family.buckets) == sorted(set(family.buckets))
    assert not family.open or family.labels
    if family.kind == "histogram":
        assert family.name.endswith(("_seconds", "_bytes"))


def test_no_two_metrics_are_one_to_prometheus() -> None:
    # OpenMetrics takes `_total` away: a counter and a gauge must not be left with one name.
    assert len({name.removesuffix("_total") for name in FAMILIES}) == len(FAMILIES)


def test_every_constant_of_the_module_is_in_the_list_under_its_own_name() -> None:
    constants = [value for value in vars(names).values() if isinstance(value, Family)]
    assert len(constants) == len(FAMILIES)
    assert all(FAMILIES[family.name] is family for family in constants)


def test_counts_add_up_by_labels() -> None:
    metrics = Metrics()
    metrics.add(names.REQUESTS, "/v1/track", "200")
    metrics.add(names.REQUESTS, "/v1/track", "200", n=2)
    metrics.add(names.REQUESTS, "/v1/batch", "401")
    assert metrics.get(names.REQUESTS, "/v1/track", "200") == 3
    assert metrics.total(names.REQUESTS) == 4
    assert metrics.get(names.REQUESTS, "/v1/page", "200") == 0
    assert metrics.snapshot() == {"cdpd_requests_total": {"/v1/batch,401": 1, "/v1/track,200": 3}}


def test_gauges_and_histograms_are_no_counters() -> None:
    metrics = Metrics()
    metrics.set(names.RELOAD_OK, value=1)
    metrics.observe(names.LOOP_LAG, 0.001)
    assert metrics.snapshot() == {}
    assert {one.family for one in metrics.series()} == {names.RELOAD_OK, names.LOOP_LAG}


def test_a_value_falls_into_the_first_bucket_whose_bound_it_does_not_pass() -> None:
    metrics = Metrics()
    for value in (0.0, 0.0005, 0.0006, 11.0):
        metrics.observe(names.REQUEST_SECONDS, value, "/v1/track")
    (one,) = metrics.series()
    assert one.counts[:2] == (2, 1)
    assert one.counts[-1] == 1
    assert sum(one.counts) == 4
    assert one.value == pytest.approx(11.0011)


def test_a_plugin_that_makes_up_codes_fills_no_memory() -> None:
    metrics = Metrics()
    for i in range(3 * MOST_CODES):
        metrics.add(names.DISCARDED, "website", "wild", f"code {i}")
    metrics.add(names.DISCARDED, "website", "tame", "code 7")
    found = {one.labels: one.value for one in metrics.series()}
    assert len(found) == MOST_CODES + 2
    assert found["website", "wild", OTHER] == 2 * MOST_CODES
    assert found["website", "tame", "code 7"] == 1
    assert metrics.total(names.DISCARDED) == 3 * MOST_CODES + 1


def test_a_known_code_is_still_counted_when_there_are_too_many() -> None:
    metrics = Metrics()
    for i in range(2 * MOST_CODES):
        metrics.add(names.NOTED, f"code {i}")
    metrics.add(names.NOTED, "code 0")
    assert metrics.get(names.NOTED, "code 0") == 2


def test_a_code_as_long_as_an_essay_is_cut() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.add(names.SKIPPED, "crm", "x" * 10_000)
    assert metrics.get(names.SKIPPED, "crm", "x" * LONGEST_CODE) == 2
