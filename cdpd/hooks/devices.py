"""Whether an event comes from a person's device or from a server (wire.md §10, event-spec.md §7).

The source's `type` says it where one is configured (see CLIENT_TYPES; any other is a server); else the request does:
a path in short form, a pixel or a beacon, an `Origin` header, or a client library's name in `context.library.name`.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cdpd.event import Event
from cdpd.plugins import Source

CLIENT_TYPES: Final = frozenset(
    (
        *("javascript", "web", "website", "browser", "pixel", "amp"),
        *("mobile", "android", "ios", "swift", "kotlin", "flutter", "react-native", "react_native"),
        *("unity", "xamarin", "roku"),
    )
)
"""Types of sources whose requests come from people's devices (compared in lower case)."""
CLIENT_LIBRARIES: Final = frozenset(
    (
        "analytics.js",
        "analytics-ios",
        "analytics-swift",
        "analytics-kotlin",
        "analytics-android",
        "analytics-react-native",
        "RudderLabs JavaScript SDK",
    )
)
_CLIENT_PATHS: Final = frozenset(("/v1/i", "/v1/t", "/v1/p", "/v1/s", "/v1/g", "/v1/a", "/v1/b"))
_CLIENT_ROOTS: Final = ("/v1/pixel/", "/pixel/", "/beacon/")


class _Library(Struct):
    name: Raw | UnsetType = UNSET


_decode_library: Final = msgspec.json.Decoder(_Library).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


def from_device(event: Event, source: Source, library: Raw | UnsetType) -> bool:
    """`library`: the event's `context.library`."""
    if source.type is not None:
        return source.type.lower() in CLIENT_TYPES
    assert event.received is not None
    via = event.received.via
    if via.origin or via.path in _CLIENT_PATHS or via.path.startswith(_CLIENT_ROOTS):
        return True
    if library is UNSET or bytes(library)[0] != 0x7B:
        return False
    name = _decode_library(library).name
    return name is not UNSET and bytes(name)[0] == 0x22 and _decode_text(name) in CLIENT_LIBRARIES
