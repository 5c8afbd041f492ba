"""Events for tests: what a client sent, filled up to what hooks and destinations can rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from cdpd.event import Event, Position, Received, Via
from cdpd.timestamp import format_time

AT_MS: Final = 1_700_000_000_000
"""2023-11-14T22:13:20Z: where a FakeClock begins."""
VIA: Final = Via(path="/v1/batch", ip="203.0.113.7", user_agent="tests/1.0")
"""Of which request an event is, where a test does not say."""
_SOURCE: Final = "website"


def event_line(fields: Mapping[str, Any] | None = None, number: int = 1, source: str = _SOURCE) -> bytes:
    """An event's JSON as the hook `spec` leaves it and `events` holds it.

    What `fields` leave out is filled in: a track call named "Tested" of the user u1, with the messageId `m{number}`
    and times of AT_MS. A field that is None is left out.
    """
    own = dict(fields or {})
    kind = own.get("type", "track")
    at = format_time(AT_MS)
    filled: dict[str, Any] = {"messageId": f"m{number}", "type": kind}
    if kind == "track":
        filled |= {"event": "Tested", "properties": {}}
    if "anonymousId" not in own:
        filled["userId"] = "u1"
    filled |= {"context": {}, "timestamp": at, "receivedAt": at, "projectId": source}
    return msgspec.json.encode({key: value for key, value in (filled | own).items() if value is not None})


def make_event(
    fields: Mapping[str, Any] | None = None, number: int = 1, *, source: str = _SOURCE, via: Via = VIA
) -> Event:
    """An event on its way through the hooks, the `number`-th of `received`; filled in as `event_line` does."""
    line = event_line(fields, number, source)
    event = Event(line)
    event.received = Received(
        at_ms=AT_MS,
        position=Position(number, 1),
        message_id=event.message_id,
        source=source,
        via=via,
        log_ms=AT_MS,
    )
    return event
