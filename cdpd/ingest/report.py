"""What the daemon knows of its sources, for `cdpd sources`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdpd import metrics as names
from cdpd.config.model import SourceConfig
from cdpd.ingest.key_use import KeyUse
from cdpd.metrics import Metrics


def sources_report(
    sources: Mapping[str, SourceConfig], keys: KeyUse, metrics: Metrics | None = None
) -> dict[str, Any]:
    """`{"sources": [{"name", "type", "enabled", "labels", "received"?, "keys": […]}]}`.

    `received`: events since the daemon started. `keys` as KeyUse.report has them, oldest in the list first.
    """
    found = []
    for name, source in sources.items():
        one: dict[str, Any] = {
            "name": name,
            "type": source.type,
            "enabled": source.enabled,
            "labels": source.labels,
            "keys": keys.report(source.write_keys),
        }
        if metrics is not None:
            one["received"] = int(metrics.get(names.RECEIVED, name))
        found.append(one)
    return {"sources": found}
