"""The paths of the tracking API, with and without a trailing slash: never redirected (wire.md §0 rule 6)."""

from __future__ import annotations

from typing import Final

from cdpd.ingest.tracking import Endpoint

_SINGLE: Final = ("identify", "track", "page", "screen", "group", "alias")
_BATCH: Final = ("batch", "b", "import")


def _endpoints() -> dict[str, Endpoint]:
    found: dict[str, Endpoint] = {}
    for name in (*_SINGLE, *(name[0] for name in _SINGLE), *_BATCH):
        endpoint = Endpoint(f"/v1/{name}", single=name not in _BATCH)
        found[endpoint.path] = found[endpoint.path + "/"] = endpoint
    return found


EVENTS: Final = _endpoints()
"""POST: takes events."""
METRICS: Final = ("/v1/m", "/v1/m/")
"""POST: what SDKs count about themselves; swallowed."""
LIVE: Final = ("/health", "/health/live")
READY: Final = "/health/ready"
ROBOTS: Final = "/robots.txt"
PLUGINS: Final = "/-/"
"""Below it are the routes of plugins."""


def settings_key(path: str) -> str | None:
    """The write key, still percent-encoded, of `/v1/projects/KEY/settings`; None for any other path."""
    parts = path.removesuffix("/").split("/")
    if len(parts) == 5 and parts[1:3] == ["v1", "projects"] and parts[4] == "settings":
        return parts[3] or None
    return None
