"""A line of an archive → its events: forms of vendors, times, ids, delivery."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cdpd.bring.archive import Form, events_of
from cdpd.bring.event import BadLine, Brought, Treatment
from cdpd.timestamp import parse_time

EVENT = {
    "messageId": "m1",
    "type": "track",
    "event": "Signed Up",
    "userId": "u1",
    "timestamp": "2024-03-01T10:00:00.123Z",
    "originalTimestamp": "2024-03-01T10:00:00.100Z",
    "sentAt": "2024-03-01T10:00:00.103Z",
    "receivedAt": "2024-03-01T10:00:00.126Z",
}
FREE = Treatment("website", deliver=None)


def read(
    line: dict[str, Any] | bytes, treatment: Treatment = FREE, form: Form = "auto"
) -> list[Brought | BadLine]:
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    return list(events_of(text, form, treatment))


def one(line: dict[str, Any] | bytes, treatment: Treatment = FREE, form: Form = "auto") -> Brought:
    (found,) = read(line, treatment, form)
    assert isinstance(found, Brought)
    return found


def event(line: dict[str, Any] | bytes, treatment: Treatment = FREE, form: Form = "auto") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(one(line, treatment, form).item.text)
    return found


def without(*keys: str, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in EVENT.items() if key not in keys} | more


def test_a_whole_event_goes_as_it_is_with_the_archives_receipt() -> None:
    found = one(EVENT)
    assert json.loads(found.item.text) == EVENT
    assert found.item.known.received_at == EVENT["receivedAt"]
    assert (found.at_ms, found.timed, found.kind, found.name) == (
        parse_time(EVENT["timestamp"]),
        True,
        "track",
        "Signed Up",
    )


def test_untouched_values_keep_their_text() -> None:
    text = b'{"type":"track","messageId":"m","properties":{"a":1.10,"n":12345678901234567890,"a":2}}'
    assert b'{"a":1.10,"n":12345678901234567890,"a":2}' in one(text).item.text


def test_an_event_with_one_time_has_it_as_both_so_that_nothing_is_corrected() -> None:
    assert event(without("originalTimestamp"))["originalTimestamp"] == EVENT["timestamp"]


def test_a_raw_event_is_corrected_by_the_receipt_of_its_own_time() -> None:
    raw = without("timestamp", sentAt="2024-03-01T10:00:05.100Z", receivedAt="2024-03-01T11:00:05.100Z")
    assert event(raw)["timestamp"] == "2024-03-01T11:00:00.100Z"
    assert event(raw)["originalTimestamp"] == EVENT["originalTimestamp"]


@pytest.mark.parametrize("missing", ["sentAt", "receivedAt"])
def test_a_raw_event_that_cannot_be_corrected_keeps_the_clients_time(missing: str) -> None:
    assert event(without("timestamp", missing))["timestamp"] == EVENT["originalTimestamp"]


def test_a_time_that_is_none_counts_as_absent() -> None:
    assert event(EVENT | {"originalTimestamp": "yesterday"})["originalTimestamp"] == EVENT["timestamp"]
    assert not one(without("originalTimestamp", timestamp="soon")).timed


def test_a_correction_beyond_the_calendar_is_left_out() -> None:
    raw = without("timestamp", sentAt="0001-01-01T00:00:00Z", originalTimestamp="9999-12-31T00:00:00Z")
    assert event(raw)["timestamp"] == "9999-12-31T00:00:00Z"


def test_the_receipt_may_be_the_time_of_the_import() -> None:
    found = one(EVENT, Treatment("website", "now", None))
    assert found.item.known.received_at is None
    assert json.loads(found.item.text)["timestamp"] == EVENT["timestamp"]


def test_rudderstacks_archiver_wraps_each_event() -> None:
    raw = without("timestamp", "receivedAt", request_ip="[2001:db8::1]")
    line = {"userId": "x", "payload": raw, "createdAt": "2024-03-01T10:00:01.000Z", "messageId": "m1"}
    found = one(line)
    assert found.item.known.received_at == "2024-03-01T10:00:01.000Z"
    assert found.item.known.ip == "2001:db8::1"
    assert "request_ip" not in json.loads(found.item.text)
    assert event(line)["event"] == "Signed Up"


@pytest.mark.parametrize("key", ["event_payload", "EventPayload"])
def test_rudderstacks_backups_hold_whole_requests(key: str) -> None:
    inner = without("timestamp", "receivedAt", "sentAt")
    payload = {
        "batch": [inner, inner | {"messageId": "m2"}],
        "receivedAt": "2024-03-01T10:00:01.000+05:30",
        "requestIP": "192.0.2.7",
        "writeKey": "wk",
    }
    found = read({"job_id": 1, key: payload})
    assert [json.loads(one.item.text)["messageId"] for one in found if isinstance(one, Brought)] == [
        "m1",
        "m2",
    ]
    for each in found:
        assert isinstance(each, Brought)
        assert each.item.known.received_at == "2024-03-01T04:30:01.000Z"
        assert each.item.known.ip == "192.0.2.7"


def test_an_event_that_has_a_payload_of_its_own_is_not_unwrapped() -> None:
    assert event(EVENT | {"payload": {"type": "page"}})["type"] == "track"
    assert "payload" in event({"event": "x", "payload": {"type": "page"}}, form="segment")


def test_an_event_without_an_id_gets_the_same_one_each_time_and_in_each_file() -> None:
    made = event(without("messageId"))["messageId"]
    assert made.startswith("import-")
    assert event(without("messageId"))["messageId"] == made
    assert event(without("messageId"), Treatment("app", deliver=None))["messageId"] != made
    assert event(without("messageId", userId="u2"))["messageId"] != made
    assert event(EVENT | {"messageId": " "})["messageId"].startswith("import-")
    assert event(EVENT | {"messageId": 7})["messageId"] == 7


@pytest.mark.parametrize(
    ("deliver", "expected"),
    [
        ((), {"All": False, "Warehouses": {"all": False}}),
        (("File", "Webhook"), {"All": False, "File": True, "Webhook": True, "Warehouses": {"all": False}}),
        (None, {"All": True, "Mixpanel": {"x": 1}, "Warehouses": {"all": False}}),
    ],
)
def test_destinations_get_what_was_asked_for_and_warehouses_what_they_were_told(
    deliver: tuple[str, ...] | None, expected: dict[str, Any]
) -> None:
    said = {"All": True, "Mixpanel": {"x": 1}, "Warehouses": {"all": False}}
    line = EVENT | {"integrations": said}
    assert event(line, Treatment("website", deliver=deliver))["integrations"] == expected


def test_events_that_said_nothing_of_destinations_are_delivered_to_none() -> None:
    assert event(EVENT, Treatment("website"))["integrations"] == {"All": False}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"type":"track"', "not JSON: Input data was truncated"),
        (b"hello", "not JSON"),
        (b'{"type":"\xff"}', r"not UTF-8 \(byte 9"),
        (b'{"batch":[1]}', "wrapped in another form"),
    ],
)
def test_a_line_that_is_no_json_is_bad(line: bytes, message: str) -> None:
    (found,) = read(line)
    assert isinstance(found, BadLine)
    assert re.search(message, found.message)


def test_what_json_forbids_and_clients_send_is_mended_as_ingest_does() -> None:
    found = event(b'{"type":"track","messageId":"m","properties":{"a":NaN,"b":"\\u0000\\ud800"}}')
    assert found["properties"] == {"a": None, "b": "\ufffd\ufffd"}


@pytest.mark.parametrize(
    "line", [b"[1]", b'"text"', b'{"type":"track","a":' + b"[" * 3000 + b"]" * 3000 + b"}"]
)
def test_what_only_the_daemon_can_turn_away_goes_as_it_is(line: bytes) -> None:
    assert one(line).item.text == line
