"""The paths of the tracking API, with and without a trailing slash: never redirected (wire.md §0 rule 6)."""

from __future__ import annotations

from typing import Final

from cdpd.event import TYPES
from cdpd.ingest.pixel import Pixel
from cdpd.ingest.tracking import Endpoint

_BATCH: Final = ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")


def _endpoints() -> dict[str, Endpoint]:
    single = [f"/v1/{name}" for kind in TYPES for name in (kind, kind[0])]
    found: dict[str, Endpoint] = {}
    for path in (*single, *_BATCH):
        found[path] = found[path + "/"] = Endpoint(path, single=path not in _BATCH)
    return found


def _pixels() -> dict[str, Pixel]:
    found = [Pixel(f"/v1/pixel/{kind}", kind) for kind in TYPES]
    found += [Pixel(f"/pixel/v1/{kind}", kind, rudder=True) for kind in ("page", "track")]
    return {pixel.path + end: pixel for pixel in found for end in ("", "/", ".gif")}


EVENTS: Final = _endpoints()
"""POST: takes events."""
PIXELS: Final = _pixels()
"""GET: takes an event out of the query."""
METRICS: Final = "/v1/m"
"""POST: what SDKs count about themselves; swallowed."""
SCRAPE: Final = "/metrics"
"""GET: our own metrics, where [metrics] token is set."""
TOKENS: Final = ("/token", "/v1/token", "/oauth/token", "/v1/oauth/token")
"""POST: OAuth 2.0 token requests."""
SOURCE_CONFIG: Final = ("/sourceConfig", "/sourcesConfig")
"""GET: the document with which RudderStack's SDKs boot."""
LIVE: Final = ("/", "/health", "/health/live")
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


def function_key(path: str) -> str | None:
    """The write key, still percent-encoded, of `/v1/fn/KEY`; "" of `/v1/fn`; None for any other path."""
    parts = path.removesuffix("/").split("/")
    if parts[1:3] == ["v1", "fn"] and len(parts) in (3, 4):
        return parts[3] if len(parts) == 4 else ""
    return None


def library_file(path: str) -> tuple[str | None, str] | None:
    """Write key (percent-encoded) and file name of `/analytics.js/v1/KEY/NAME`; None for any other path.

    The library asks for its chunks at `/analytics-next/bundles/NAME`, where no key is: then it is None.
    """
    parts = path.split("/")
    if len(parts) == 5 and parts[1:3] == ["analytics.js", "v1"] and parts[3] and parts[4]:
        return parts[3], parts[4]
    if len(parts) == 4 and parts[1:3] == ["analytics-next", "bundles"] and parts[3]:
        return None, parts[3]
    return None
