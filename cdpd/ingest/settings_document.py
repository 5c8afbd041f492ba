"""The document with which analytics-next, Kotlin, Swift and React Native boot (wire.md §4)."""

from __future__ import annotations

import gzip
from typing import Any, Final

import msgspec

from cdpd.ingest.settings import IngestSettings

CACHE: Final = b"Cache-Control: public, max-age=120\r\n"


def settings_document(settings: IngestSettings, write_key: str) -> bytes:
    """The JSON for one source.

    Besides `Segment.io` only destinations with a `client` table are listed: for what is listed browsers load scripts.
    The host is given only where the configuration knows it: with none, clients keep the one they were given.
    """
    source = settings.sources.get(write_key)
    clients = {} if source is None else settings.clients.get(source.name, {})
    segment: dict[str, Any] = {
        "apiKey": write_key,
        "unbundledIntegrations": [],
        "addBundledMetadata": True,
        "maybeBundledConfigIds": {},
        "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
        "httpConfig": {"rateLimitConfig": {}, "backoffConfig": {}},
    }
    if settings.api_host is not None:
        segment["apiHost"] = settings.api_host
        segment["protocol"] = settings.protocol
    return msgspec.json.encode(
        {
            "integrations": {**clients, "Segment.io": segment},
            "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
            "edgeFunction": {},
            "analyticsNextEnabled": True,
            "middlewareSettings": {},
            "enabledMiddleware": {},
            "metrics": {"sampleRate": 0},
            "legacyVideoPluginsEnabled": False,
            "remotePlugins": [],
            "consentSettings": {},
            "autoInstrumentationSettings": {"sampleRate": 0},
        }
    )


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an `Accept-Encoding` header allows gzip."""
    for part in accept_encoding.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def compressed(document: bytes) -> bytes:
    return gzip.compress(document, 6, mtime=0)
