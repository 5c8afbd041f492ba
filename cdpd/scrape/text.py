"""The text of a scrape: our series in the format that Prometheus asks for, by its own client library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from cdpd.metrics import FAMILIES, Family, Series

INFINITE: Final = "+Inf"


def exposition(series: Iterable[Series], accept: str) -> tuple[str, bytes]:
    """Content type and text: OpenMetrics where `accept` (the request's header) asks for it, else Prometheus's own.

    Every family has its HELP and TYPE, also where nothing was counted yet. `process_…` (memory, descriptors, CPU,
    start) stand at the end, from /proc.
    """
    encode, kind = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(series))
    ProcessCollector(registry=registry)
    return kind, encode(registry)


class _Collected(Collector):
    """Our series as prometheus_client's registry asks for them."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._by_family: dict[Family, list[Series]] = {family: [] for family in FAMILIES.values()}
        for one in series:
            self._by_family[one.family].append(one)

    def describe(self) -> Iterable[Metric]:
        return ()  # else it would be collected once more, to find names that stand twice

    def collect(self) -> Iterator[Metric]:
        for family, series in self._by_family.items():
            yield _metric(family, sorted(series, key=lambda one: one.labels))


def _metric(family: Family, series: list[Series]) -> Metric:
    name, text, labels = family.name, family.help, family.labels
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=labels)
        bounds = [*map(floatToGoString, family.buckets), INFINITE]
        for one in series:
            cumulative = zip(bounds, accumulate(one.counts), strict=True)
            histogram.add_metric(one.labels, list(cumulative), one.value)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(name, text, labels=labels)
    for one in series:
        metric.add_metric(one.labels, one.value)
    return metric
