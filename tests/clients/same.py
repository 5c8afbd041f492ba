"""Does a stored event equal what a client sent, but for what the spec says that the server adds?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.clients.proxy import Proxy

# What the server sets or takes away (spec/wire.md §10); everything else must be preserved, value for value.
_SET_BY_SERVER = {
    "receivedAt",
    "originalTimestamp",
    "timestamp",
    "version",
    "projectId",
    "sentAt",
    "writeKey",
    "channel",
}
_ABSENT: tuple[object, ...] = (None, "")
SIX = {"identify", "track", "page", "screen", "group", "alias"}


def assert_each_once(proxy: Proxy, stored: list[dict[str, Any]], source: str = "website") -> None:
    """Every event that the client sent is stored exactly once and unchanged; the six calls are among them."""
    sent = {event["messageId"]: event for event in proxy.events()}
    ids = [event["messageId"] for event in stored]
    assert sorted(ids) == sorted(sent)
    assert {event["type"] for event in stored} == SIX
    for event in stored:
        assert_same(sent[event["messageId"]], event, source)


def assert_same(sent: dict[str, Any], stored: dict[str, Any], source: str) -> None:
    """`stored` is `sent` with the server's fields added, and nothing else changed."""
    assert _own(stored) == _own(sent)
    assert stored["projectId"] == source
    assert stored["version"] == 2
    assert "writeKey" not in stored
    for field in ("receivedAt", "timestamp", "originalTimestamp"):
        assert stored[field].endswith("Z")
        assert len(stored[field]) == len("2026-01-01T00:00:00.000Z")
    if "channel" in sent:
        assert stored["channel"] == sent["channel"]
    if when := sent.get("originalTimestamp") or sent.get("timestamp"):
        assert _milliseconds(stored["originalTimestamp"]) == _milliseconds(when)
    if "timestamp" in sent and "originalTimestamp" in sent:  # RudderStack's SDKs: set by the user on purpose
        assert _milliseconds(stored["timestamp"]) == _milliseconds(sent["timestamp"])


def _milliseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def _own(event: dict[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in event.items() if key not in _SET_BY_SERVER}
    for key in ("userId", "anonymousId", "groupId", "previousId"):
        if own.get(key) in _ABSENT:
            own.pop(key, None)
        elif key in own and not isinstance(own[key], str):
            own[key] = str(own[key])
    context = dict(own.get("context") or {})
    context.pop("ip", None)
    context.pop("direct", None)
    if own["type"] == "identify" and not own.get("traits") and context.get("traits"):
        own["traits"] = context["traits"]  # RudderStack's SDKs send them only there
    return {**own, "context": context}
