"""Counters of the daemon: every metric's name and labels in one place.

Names follow Prometheus: `_total` for counters. The control socket shows them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

REQUESTS: Final = "cdpd_requests_total"
"""HTTP requests; labels: path, status."""
RECEIVED: Final = "cdpd_received_events_total"
"""Events made durable in `received`; labels: source."""
CLIENT_RETRIES: Final = "cdpd_client_retries_total"
"""Requests that say of themselves that they are sent again; labels: source."""
REJECTED: Final = "cdpd_rejected_requests_total"
"""Requests refused as a whole; labels: code."""
NOTED: Final = "cdpd_noted_total"
"""Things put right on the way in (timestamp_invalid, nan_replaced …); labels: code."""
ACCEPTED: Final = "cdpd_accepted_events_total"
"""Events that came through the hook chain; labels: source."""
DISCARDED: Final = "cdpd_discarded_events_total"
"""Events discarded; labels: source, by, code."""
DUPLICATES: Final = "cdpd_duplicate_events_total"
"""Events discarded as duplicates; labels: source, `retry` (the client said so) or `unannounced`."""
HOOK_SECONDS: Final = "cdpd_hook_seconds_total"
"""Time spent in a hook plugin; labels: plugin."""
HOOK_FAILURES: Final = "cdpd_hook_failures_total"
"""Hooks that raised; labels: plugin."""
DELIVERED: Final = "cdpd_delivered_events_total"
"""Events that a destination took; labels: destination."""
SKIPPED: Final = "cdpd_skipped_events_total"
"""Events not meant for a destination; labels: destination, code."""
RETRIED: Final = "cdpd_retried_batches_total"
"""Batches tried again; labels: destination."""
PARKED: Final = "cdpd_parked_events_total"
"""Events parked; labels: destination."""
TOKENS: Final = "cdpd_token_requests_total"
"""Requests for access tokens; labels: `issued`, or the error (RFC 6749)."""


class Metrics:
    """Counters by name and labels; one instance a daemon, passed to whoever counts."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, tuple[str, ...]], float] = defaultdict(float)

    def add(self, name: str, *labels: str, n: float = 1) -> None:
        """Count `n` more of `name`; label values in the order that the name's comment gives."""
        self._counts[name, labels] += n

    def get(self, name: str, *labels: str) -> float:
        """The count of exactly these labels."""
        return self._counts.get((name, labels), 0)

    def total(self, name: str) -> float:
        """The count over all labels."""
        return sum(n for (key, _), n in self._counts.items() if key == name)

    def snapshot(self) -> dict[str, dict[str, float]]:
        """name → "label,label" → count."""
        out: dict[str, dict[str, float]] = {}
        for (name, labels), n in sorted(self._counts.items()):
            out.setdefault(name, {})[",".join(labels)] = n
        return out
