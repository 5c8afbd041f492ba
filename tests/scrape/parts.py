"""A Scrape over made-up parts of a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from cdpd.config.model import MetricsConfig
from cdpd.event import Position
from cdpd.metrics import FAMILIES, Metrics
from cdpd.scrape.gauges import Load, Parts
from cdpd.scrape.scrape import Scrape
from cdpd.secret import Secret

Samples = dict[tuple[str, tuple[str, ...]], float]


class FakeStream(Struct):
    name: str
    begin: int
    end: Position


def destination(**told: Any) -> dict[str, Any]:
    """What Delivery.status says of a destination."""
    return {
        "state": "running",
        "lag_events": 0,
        "lag_seconds": 0,
        "parked": 0,
        "in_flight": 0,
        "waiting_to_retry": 0,
        **told,
    }


def scrape(
    folder: Path, token: str | None = None, destinations: dict[str, Any] | None = None, **pipeline: Any
) -> tuple[Scrape, Metrics]:
    metrics = Metrics()
    pipeline = {"state": "running", "behind": 0, "behind_seconds": 0.0, "hooks": {"spec": {}}, **pipeline}
    parts = Parts(
        streams=(FakeStream("received", 5, Position(17, 1)),),  # type: ignore[arg-type]
        pipeline=lambda: pipeline,
        destinations=lambda: destinations or {},
        load=lambda: Load(connections=3, active=1, in_flight=4096, limit=8192),
        ready=lambda: True,
        sources=lambda: ["website"],
    )
    config = msgspec.structs.replace(MetricsConfig(), token=None if token is None else Secret(token))
    return Scrape(metrics, parts, folder, lambda: config), metrics


async def samples(page: Scrape) -> Samples:
    """Every sample of a scrape."""
    _, text = await page.page("")
    return parsed(text.decode())


def parsed(text: str) -> Samples:
    """Every sample by name and label values, in the order in which the family names them."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        known = FAMILIES.get(family.name) or FAMILIES.get(f"{family.name}_total")
        order = [*known.labels, "le"] if known else []
        for sample in family.samples:
            values = tuple(sample.labels[label] for label in order if label in sample.labels)
            found[sample.name, values] = sample.value
    return found
