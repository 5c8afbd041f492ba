"""What the daemon tells of itself: `cdpd status`, and the line that the service manager shows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from cdpd.config.load import LoadedConfig
from cdpd.delivery.delivery import Delivery
from cdpd.listeners import Listeners
from cdpd.log.stream import Stream
from cdpd.metrics import Metrics
from cdpd.pipeline.pipeline import Pipeline


def daemon_status(
    *,
    state: str,
    uptime_ms: int,
    listeners: Listeners,
    loaded: LoadedConfig,
    streams: Sequence[Stream],
    pipeline: Pipeline,
    delivery: Delivery,
    metrics: Metrics,
) -> dict[str, Any]:
    """Everything that `cdpd status --json` shows."""
    return {
        "state": state,
        "version": version("cdpd-daemon"),
        "pid": os.getpid(),
        "uptime_seconds": uptime_ms // 1000,
        **listeners.status(),
        "data_dir": str(loaded.data_dir.resolve()),
        "configuration": [str(file) for file in loaded.files] or "none: development defaults",
        "streams": {
            stream.name: {
                "begin": stream.begin,
                "end": stream.end.offset,
                "lines": stream.end.offset - stream.begin,
            }
            for stream in streams
        },
        "pipeline": pipeline.status(),
        "destinations": delivery.status(),
        "counters": metrics.snapshot(),
    }


def status_line(listeners: Listeners, pipeline: Pipeline, delivery: Delivery) -> str:
    """How the daemon is, in one line."""
    now, destinations = pipeline.status(), delivery.status()
    parts = [f"on {', '.join(listeners.urls)}"]
    if now["state"] in ("stopped", "failed", "waiting"):
        parts.append(f"pipeline {now['state']}: {now.get('reason', '')}".rstrip(": "))
    behind = now["behind"]
    parts.append(f"{behind:,} events to process" if behind else "all events processed")
    bad = [name for name, one in destinations.items() if one["problem"]]
    count = f"{len(destinations)} destination{'' if len(destinations) == 1 else 's'}"
    parts.append(f"{count}, in trouble: {', '.join(bad)}" if bad else count)
    return "; ".join(parts)
