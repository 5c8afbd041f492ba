"""The document with which RudderStack's browser and mobile SDKs boot (wire.md §4)."""

from __future__ import annotations

import msgspec

from cdpd.ingest.settings import KnownSource
from cdpd.timestamp import format_time


def source_config(source: KnownSource, now_ms: int) -> bytes:
    """The JSON for one source. No destination is listed: those are the daemon's business, not the browser's."""
    return msgspec.json.encode(
        {
            "source": {
                "id": source.name,
                "name": source.name,
                "writeKey": source.write_key,
                "enabled": source.enabled,
                "workspaceId": "cdpd",
                "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
                "destinations": [],
                "dataplanes": {},
            },
            "updatedAt": format_time(now_ms),
            "consentManagementMetadata": {"providers": []},
        }
    )
