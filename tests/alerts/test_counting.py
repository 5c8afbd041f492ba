"""Lines of the streams, counted by their source."""

from __future__ import annotations

import json
from typing import Any

from cdpd.alerts.counting import discarded_by_source, received_by_source
from tests.stored import discarded, received


def line(value: dict[str, Any], *, spaced: bool = False) -> bytes:
    return json.dumps(value, separators=None if spaced else (",", ":")).encode()


def test_lines_of_received_are_counted_as_ingest_writes_them_and_otherwise() -> None:
    lines = [
        line(received(1)),
        line(received(2, source="app")),
        line(received(3), spaced=True),
        b"",
        b"not JSON",
        b"[1]",
    ]
    assert received_by_source(lines) == {"website": 2, "app": 1}


def test_objects_are_no_events() -> None:
    it = received(1)
    body = it.pop("event")
    lines = [
        line({**it, "kind": "set", "event": body}),
        line({**it, "kind": "set", "event": body}, spaced=True),
    ]
    assert received_by_source(lines) == {}
    assert discarded_by_source([line(discarded(1, line={**it, "kind": "set"}))]) == {}


def test_an_event_that_is_sent_through_again_is_not_another_one() -> None:
    again = received(1)
    body = again.pop("event")
    lines = [
        line({**again, "retryOf": 7, "event": body}),
        line({**again, "retryOf": 7, "event": body}, spaced=True),
    ]
    assert received_by_source(lines) == {}
    mentioned = received(2, event={"type": "track", "properties": {"a": 1, "retryOf": 2}})
    assert received_by_source([line(mentioned)]) == {"website": 1}
    assert discarded_by_source([line(discarded(1, line={**again, "retryOf": 7}))]) == {}


def test_duplicates_are_not_counted_as_discarded() -> None:
    lines = [line(discarded(1)), line(discarded(2, code="duplicate")), b"", b"{", line(discarded(3))]
    assert discarded_by_source(lines) == {"website": 2}
