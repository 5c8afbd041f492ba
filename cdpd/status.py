"""What the daemon tells of itself: `cdpd status`, and the line that the service manager shows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from cdpd.config.load import LoadedConfig
from cdpd.log.readable import ReadableStream
from cdpd.metrics import Metrics


def daemon_status(
    *,
    state: str,
    uptime_ms: int,
    loaded: LoadedConfig,
    streams: Sequence[ReadableStream],
    parts: Mapping[str, Any],
    metrics: Metrics,
) -> dict[str, Any]:
    """What `cdpd status --json` shows of a process. `parts`: what the parts that run in it say of themselves."""
    told = dict(parts)
    later: dict[str, Any] = {name: told.pop(name) for name in ("pipeline", "destinations") if name in told}
    return {
        "state": state,
        "version": version("cdpd-daemon"),
        "pid": os.getpid(),
        "uptime_seconds": uptime_ms // 1000,
        **told,
        "data_dir": str(loaded.data_dir.resolve()),
        "configuration": [str(file) for file in loaded.files] or "none: development defaults",
        "configuration_id": f"{loaded.config_id:016x}",
        "streams": {
            stream.name: {
                "begin": stream.begin,
                "end": stream.end.offset,
                "lines": stream.end.offset - stream.begin,
            }
            for stream in streams
        },
        **later,
        "counters": metrics.snapshot(),
    }


def status_line(told: Mapping[str, Any]) -> str:
    """How the daemon is, in one line, from what its parts say of themselves."""
    parts = []
    if "listen" in told:
        parts.append(f"on {', '.join(told['listen'])}")
    if "pipeline" in told:
        now = told["pipeline"]
        if now["state"] in ("stopped", "failed", "waiting"):
            parts.append(f"pipeline {now['state']}: {now.get('reason', '')}".rstrip(": "))
        behind = now["behind"]
        parts.append(f"{behind:,} events to process" if behind else "all events processed")
    if "destinations" in told:
        destinations = told["destinations"]
        bad = [name for name, one in destinations.items() if one["problem"]]
        count = f"{len(destinations)} destination{'' if len(destinations) == 1 else 's'}"
        parts.append(f"{count}, in trouble: {', '.join(bad)}" if bad else count)
    if told.get("alerts", {}).get("firing"):
        firing = dict.fromkeys(one["alert"] for one in told["alerts"]["firing"])
        parts.append(f"alerts: {', '.join(firing)}")
    return "; ".join(parts)
