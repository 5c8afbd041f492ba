"""The `spec` hook beyond the ACCEPTANCE list: types, legacy keys, ids, shape, consent, times, the cap."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpd.event import TYPES
from cdpd.hooks.rules.identity import number_id
from tests.hooks.applying import normalised

TRACK = {"type": "track", "event": "A", "userId": "u"}
ADDED = {"messageId", "projectId", "originalTimestamp", "timestamp", "receivedAt", "version"}
CONSENT = "Segment Consent Preference Updated"


# -- type


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("letter", [False, True])
def test_a_path_of_one_type_decides(name: str, letter: bool) -> None:
    event = {"event": "E", "userId": "u", "groupId": "g", "previousId": "p"}
    assert normalised(event, path=f"/v1/{name[0] if letter else name}").event["type"] == name


def test_a_type_in_capitals_becomes_lower_case_and_keeps_its_place() -> None:
    found = normalised({"userId": "u", "type": "Track", "event": "A"}).event
    assert found["type"] == "track"
    assert list(found)[:3] == ["userId", "type", "event"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [({"event": "E"}, "track"), ({"previousId": "p"}, "alias"), ({"groupId": "g"}, "group")],
)
def test_a_missing_type_follows_from_the_one_telling_field(fields: dict[str, str], kind: str) -> None:
    assert normalised({"userId": "u", **fields}).event["type"] == kind
    assert normalised({"userId": "u", "type": None, **fields}).event["type"] == kind


def test_a_type_that_cannot_be_told_is_refused() -> None:
    assert normalised({"userId": "u"}).code == "type_missing"
    assert normalised({"userId": "u", "event": "E", "groupId": "g"}).code == "type_missing"
    assert normalised({"userId": "u", "type": " ", "event": None}).code == "type_missing"


@pytest.mark.parametrize("kind", ["delete", "merge", 7, True, ["track"], {"a": 1}])
def test_another_type_is_unknown(kind: Any) -> None:
    assert normalised({**TRACK, "type": kind}).code == "unknown_type"


def test_a_type_that_no_number_holds_is_unknown_too() -> None:
    assert normalised(b'{"type":1e999,"userId":"u"}').code == "unknown_type"


# -- legacy keys


def test_legacy_keys_become_todays_in_their_place() -> None:
    event = {
        "action": "Track",
        "sessionId": "s",
        "event": "A",
        "options": {"providers": {"All": False}, "locale": "de"},
    }
    found = normalised(event).event
    assert found["type"] == "track"
    assert found["anonymousId"] == "s"
    assert found["context"] == {"locale": "de"}
    assert found["integrations"] == {"All": False}
    assert not {"action", "sessionId", "options"} & set(found)
    assert next(iter(found)) == "anonymousId"


def test_an_alias_takes_its_ids_from_from_and_to() -> None:
    found = normalised({"type": "alias", "from": "old", "to": "new"}).event
    assert (found["previousId"], found["userId"]) == ("old", "new")


def test_a_legacy_key_does_not_replace_what_is_there() -> None:
    event = {
        **TRACK,
        "anonymousId": "a",
        "sessionId": "s",
        "context": {"x": 1},
        "options": {"y": 2},
        "from": "f",
    }
    found = normalised(event).event
    assert found == {**found, **event}


def test_snake_case_ids_are_not_accepted() -> None:
    assert normalised({"type": "track", "event": "A", "user_id": "u"}).code == "no_user_anon_id"


def test_a_library_that_is_a_text_becomes_an_object() -> None:
    context = {"a": 1, "library": "analytics-x", "z": 2}
    found = normalised({**TRACK, "context": context}).event["context"]
    assert found == {"a": 1, "library": {"name": "analytics-x"}, "z": 2}
    assert list(found) == ["a", "library", "z"]


# -- ids


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("7", "7"),
        ("-5", "-5"),
        ("0", "0"),
        ("-0", "0"),
        ("7.0", "7"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("12e-1", "1.2"),
        ("-0.0", "0"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("9" * 400, "9" * 400),
        ("1e300", "1" + "0" * 300),
    ],
)
@pytest.mark.parametrize("key", ["userId", "anonymousId", "groupId", "previousId"])
def test_a_number_as_an_id_becomes_its_decimal_text(key: str, number: str, text: str) -> None:
    event = b'{"type":"track","event":"A","userId":"u","%b":%b}' % (key.encode(), number.encode())
    assert normalised(event).event[key] == text


@given(st.integers())
def test_integers_of_any_size_are_exact_as_ids(number: int) -> None:
    assert bytes(number_id(str(number).encode())) == f'"{number}"'.encode()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_as_ids_mean_the_same_number(number: float) -> None:
    text = msgspec.json.decode(bytes(number_id(msgspec.json.encode(number))))
    assert float(text) == number
    assert "e" not in text
    assert not ("." in text and text.endswith("0"))


@pytest.mark.parametrize("value", [b"true", b"false", b"{}", b"[]", b'["u"]', b"1e999", b"-1e999"])
@pytest.mark.parametrize("key", [b"userId", b"anonymousId", b"groupId", b"previousId"])
def test_anything_else_as_an_id_is_refused(key: bytes, value: bytes) -> None:
    outcome = normalised(
        b'{"type":"track","event":"A","userId":"u","anonymousId":"a","%b":%b}' % (key, value)
    )
    assert outcome.code == "id_not_string"
    assert key.decode() in (outcome.discard.message if outcome.discard else "")


@pytest.mark.parametrize("nothing", [None, "", " ", "\t\n", "\u2003"])
def test_null_and_blank_ids_count_as_absent_and_stay_as_sent(nothing: str | None) -> None:
    assert normalised({"type": "track", "event": "A", "userId": nothing}).code == "no_user_anon_id"
    found = normalised({"type": "track", "event": "A", "userId": nothing, "anonymousId": "a"})
    assert found.code is None
    assert found.event["userId"] == nothing
    assert normalised({"type": "group", "userId": "u", "groupId": nothing}).code == "id_required"


def test_an_id_with_space_around_it_is_not_trimmed() -> None:
    assert normalised({**TRACK, "userId": " u "}).event["userId"] == " u "


# -- shape


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"event": None}, "event_not_defined"),
        ({"event": ""}, "event_not_defined"),
        ({"event": 7}, "event_not_string"),
        ({"event": ["A"]}, "event_not_string"),
        ({"properties": "x"}, "properties_not_object"),
        ({"properties": []}, "properties_not_object"),
        ({"properties": False}, "properties_not_object"),
        ({"properties": None}, None),
        ({"traits": "x"}, None),
        ({"type": "page", "name": 7}, "name_not_string"),
        ({"type": "page", "name": None}, None),
        ({"type": "screen", "category": ""}, "category_not_string"),
        ({"type": "screen", "category": ["x"]}, "category_not_string"),
        ({"type": "screen", "category": None, "name": None}, None),
        ({"type": "screen", "properties": 1}, "properties_not_object"),
        ({"type": "group", "groupId": "g", "traits": 1}, "traits_not_object"),
        ({"type": "identify", "traits": [], "properties": 1}, "traits_not_object"),
        ({"type": "identify", "properties": 1}, None),
    ],
)
def test_shape(change: dict[str, Any], code: str | None) -> None:
    assert normalised({**TRACK, **change}).code == code


@pytest.mark.parametrize("context", ["x", 7, [], True])
def test_a_context_that_is_no_object_becomes_an_empty_one(context: Any) -> None:
    outcome = normalised({**TRACK, "context": context})
    assert outcome.event["context"] == {}
    assert outcome.violations == [("context_not_object", "context")]


def test_nothing_is_added_but_what_the_spec_says_and_nothing_sent_is_altered() -> None:
    event = {
        **TRACK,
        "context": None,
        "integrations": None,
        "properties": {"B": 1, "a": None, "nested": {"E": "", "l": [1, {"x": None}]}},
        "channel": "web",
        "_metadata": {"bundled": []},
        "rudderId": 7,
    }
    found = normalised(event).event
    assert set(found) - set(event) == ADDED
    assert found == {**found, **event}
    assert list(found)[: len(event)] == list(event)
    assert found["version"] == 2
    assert found["projectId"] == "website"


def test_a_client_cannot_say_its_project_or_version() -> None:
    found = normalised({**TRACK, "projectId": "other", "version": "9"}).event
    assert (found["projectId"], found["version"]) == ("website", 2)


def test_an_identify_without_traits_gets_those_of_its_context() -> None:
    context = {"traits": {"plan": 1.10}}
    for absent in ({}, {"traits": None}):
        found = normalised({"type": "identify", "userId": "u", **absent, "context": context}).event
        assert found["traits"] == {"plan": 1.10}
        assert found["context"] == context
    own = normalised({"type": "identify", "userId": "u", "traits": {}, "context": context}).event
    assert own["traits"] == {}
    assert "traits" not in normalised({**TRACK, "context": context}).event
    assert "traits" not in normalised({"type": "identify", "userId": "u", "context": {"traits": "x"}}).event


# -- consent


@pytest.mark.parametrize(
    ("context", "code"),
    [
        ({"consent": {"categoryPreferences": {"A": True, "B": False}, "version": 2}}, None),
        ({"consent": {"categoryPreferences": {}}, "device": {"advertisingId": "x"}}, None),
        ({}, "consent_categorypreferences_should_exist"),
        ({"consent": 7}, "consent_categorypreferences_should_exist"),
        ({"consent": {"categoryPreferences": None}}, "consent_categorypreferences_should_exist"),
        ({"consent": {"categoryPreferences": ["A"]}}, "consent_categorypreferences_fields_should_be_object"),
        ({"consent": {"categoryPreferences": {"A": 1}}}, "consent_categorypreferences_fields_should_be_bool"),
        (
            {"consent": {"categoryPreferences": {"A": None}}},
            "consent_categorypreferences_fields_should_be_bool",
        ),
        ({"consent": {"categoryPreferences": {}, "version": "2"}}, "consent_version_should_be_number"),
        (
            {"consent": {"categoryPreferences": {}}, "device": {"advertisingId": 7}},
            "device_advertisingid_should_be_string",
        ),
    ],
)
def test_consent_events_are_checked_and_no_others(context: dict[str, Any], code: str | None) -> None:
    assert normalised({**TRACK, "event": CONSENT, "context": context}).code == code
    assert normalised({**TRACK, "context": context}).code is None


def test_a_consent_event_is_known_however_its_name_is_escaped() -> None:
    name = msgspec.json.encode(CONSENT).replace(b"S", b"\\u0053")
    assert normalised(b'{"type":"track","userId":"u","event":%b}' % name).code == (
        "consent_categorypreferences_should_exist"
    )


# -- times; receivedAt is 12:00:05.300 throughout

AT = "2024-03-05T12:00:05.300Z"


@pytest.mark.parametrize(
    ("times", "batch", "original", "timestamp"),
    [
        # orig and sent valid: the batch's sentAt serves as well as the event's own, which goes before it
        ({"timestamp": "2024-03-05T10:00:00Z"}, "2024-03-05T10:00:05Z", "10:00:00.000", "12:00:00.300"),
        (
            {"timestamp": "2024-03-05T10:00:00Z", "sentAt": "2024-03-05T10:00:05Z"},
            "2024-03-05T11:11:11Z",
            "10:00:00.000",
            "12:00:00.300",
        ),
        (
            {"originalTimestamp": "2024-03-05T10:00:00Z"},
            "2024-03-05T10:00:05Z",
            "10:00:00.000",
            "12:00:00.300",
        ),
        # both forms: `timestamp` was set on purpose
        (
            {"originalTimestamp": "2024-03-05T10:00:00Z", "timestamp": "2024-03-05T09:00:00+00:00"},
            "2024-03-05T10:00:05Z",
            "10:00:00.000",
            "09:00:00.000",
        ),
        # … unless one of them is no time
        (
            {"originalTimestamp": "?", "timestamp": "2024-03-05T10:00:00Z"},
            "2024-03-05T10:00:05Z",
            "10:00:00.000",
            "12:00:00.300",
        ),
        (
            {"originalTimestamp": "2024-03-05T10:00:00Z", "timestamp": "?"},
            "2024-03-05T10:00:05Z",
            "10:00:00.000",
            "12:00:00.300",
        ),
        # sent missing or no time
        ({"timestamp": "2024-03-05T10:00:00.5Z"}, None, "10:00:00.500", "10:00:00.500"),
        ({"timestamp": "2024-03-05T10:00:00Z", "sentAt": "soon"}, None, "10:00:00.000", "10:00:00.000"),
        # orig missing or no time, whatever sent says
        ({}, "2024-03-05T10:00:05Z", "12:00:05.300", "12:00:05.300"),
        ({"timestamp": "yesterday"}, "2024-03-05T10:00:05Z", "12:00:05.300", "12:00:05.300"),
        ({"timestamp": None, "sentAt": None}, None, "12:00:05.300", "12:00:05.300"),
        # a clock that stepped back: never clamped
        ({"timestamp": "2024-03-05T10:00:10Z"}, "2024-03-05T10:00:05Z", "10:00:10.000", "12:00:10.300"),
        # numbers, and a zone
        ({"timestamp": 1709632800}, "2024-03-05T10:00:05Z", "10:00:00.000", "12:00:00.300"),
        ({"timestamp": 1709632800000}, "2024-03-05T10:00:05Z", "10:00:00.000", "12:00:00.300"),
        ({"timestamp": "2024-03-05T11:00:00.000123+01:00"}, 1709632805, "10:00:00.000", "12:00:00.300"),
    ],
)
def test_times(times: dict[str, Any], batch: Any, original: str, timestamp: str) -> None:
    more = {} if batch is None else {"sentAt": batch}
    found = normalised({**TRACK, **times}, received_at=AT, **more).event
    assert found["originalTimestamp"] == f"2024-03-05T{original}Z"
    assert found["timestamp"] == f"2024-03-05T{timestamp}Z"
    assert found["receivedAt"] == AT


def test_a_client_clock_that_is_years_off_is_corrected() -> None:
    event = {**TRACK, "timestamp": "1970-01-01T00:00:00Z", "sentAt": "1970-01-01T00:00:01Z"}
    assert normalised(event, received_at=AT).event["timestamp"] == "2024-03-05T12:00:04.300Z"


def test_a_result_that_no_calendar_has_falls_back_to_the_clients_own_time() -> None:
    event = {**TRACK, "timestamp": "9999-12-31T00:00:00Z", "sentAt": "0001-01-01T00:00:00Z"}
    outcome = normalised(event, received_at=AT)
    assert outcome.event["timestamp"] == "9999-12-31T00:00:00.000Z"
    assert ("timestamp_invalid", "sentAt") in outcome.violations


@pytest.mark.parametrize("wrong", ["yesterday", "2024-13-01T00:00:00.000Z", True, {}, [1], "2026-W48-1"])
def test_a_wrong_time_is_noted_with_its_place(wrong: Any) -> None:
    for key in ("timestamp", "originalTimestamp", "sentAt"):
        assert normalised({**TRACK, key: wrong}).violations == [("timestamp_invalid", key)]
    assert normalised(TRACK, sentAt=wrong).violations == [("timestamp_invalid", "sentAt")]


def test_numbers_that_are_no_time_are_noted() -> None:
    for wrong in (b"1e999", b"9" * 400, b"9" * 5000):
        event = b'{"type":"track","event":"A","userId":"u","timestamp":%b}' % wrong
        assert normalised(event).violations == [("timestamp_invalid", "timestamp")]


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_absent_time_is_nothing_wrong(nothing: Any) -> None:
    event = {**TRACK, "timestamp": nothing, "originalTimestamp": nothing, "sentAt": nothing}
    assert normalised(event).violations == []


def test_sentAt_stays_with_the_event_in_the_output_form() -> None:
    assert normalised(TRACK, sentAt="2024-03-05T10:00:05+00:00").event["sentAt"] == "2024-03-05T10:00:05.000Z"
    own = {**TRACK, "sentAt": "2024-03-05T10:00:05.25Z"}
    assert normalised(own, sentAt="2024-01-01").event["sentAt"] == "2024-03-05T10:00:05.250Z"
    assert "sentAt" not in normalised({**TRACK, "sentAt": "soon"}).event


@given(
    orig=st.integers(0, 4_000_000_000_000),
    sent=st.integers(0, 4_000_000_000_000),
    at=st.integers(0, 4_000_000_000_000),
)
def test_the_formula_holds_for_all_times(orig: int, sent: int, at: int) -> None:
    from cdpd.timestamp import MAX_MS, MIN_MS, format_time, parse_time

    event = {**TRACK, "timestamp": format_time(orig), "sentAt": format_time(sent)}
    found = normalised(event, received_at=at).event
    assert found["originalTimestamp"] == format_time(orig)
    wanted = at - (sent - orig)
    assert parse_time(found["timestamp"]) == (wanted if MIN_MS <= wanted <= MAX_MS else orig)


# -- cap


def test_values_are_counted_through_nested_objects_and_lists_in_document_order() -> None:
    properties = {"a": {"list": list(range(6000)), "x": 1}, "b": [{"v": n} for n in range(6000)], "c": 1}
    found = normalised({**TRACK, "properties": properties}).event["properties"]
    assert found["a"] == properties["a"]
    assert found["b"] == properties["b"][:3999]
    assert "c" not in found


def test_the_cap_is_for_properties_and_traits_together() -> None:
    event = {
        "type": "identify",
        "userId": "u",
        "properties": {f"p{n}": n for n in range(9000)},
        "traits": {f"t{n}": n for n in range(2000)},
    }
    outcome = normalised(event)
    assert len(outcome.event["properties"]) == 9000
    assert len(outcome.event["traits"]) == 1000
    assert outcome.violations == [("properties_capped", "traits")]


def test_exactly_10000_values_keep_their_text() -> None:
    properties = b'{"l":[' + b",".join([b"1.0"] * 9998) + b'], "e" : {}, "a":[]}'
    outcome = normalised(b'{"type":"track","event":"A","userId":"u","properties":' + properties + b"}")
    assert properties in outcome.text
    assert outcome.violations == []


# -- in general

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    *("type", "event", "userId", "anonymousId", "groupId", "previousId", "name", "category", "properties"),
    *("traits", "context", "integrations", "timestamp", "originalTimestamp", "sentAt", "receivedAt"),
    *("action", "options", "sessionId", "from", "to", "version", "messageId", "projectId", "other"),
]
OURS = {*ADDED, "sentAt", "type", "userId", "anonymousId", "groupId", "previousId", "context", "traits"}


# Reading Unicode's tables for the first text takes a while on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(st.sampled_from(KEYS), json_values | st.sampled_from(TYPES), max_size=12),
    st.sampled_from(TYPES),
)
def test_whatever_comes_in_is_turned_away_with_a_code_or_has_the_shape(
    event: dict[str, Any], kind: str
) -> None:
    outcome = normalised({"type": kind, **event}, message_id="m")
    if outcome.discard is not None:
        assert outcome.discard.code
        assert outcome.discard.message
        return
    found = outcome.event
    assert found["type"] in TYPES
    assert found["messageId"] == "m"
    assert found["projectId"] == "website"
    assert found["receivedAt"] == "2024-03-05T12:00:05.300Z"
    assert str(found.get("userId") or "").strip() or str(found.get("anonymousId") or "").strip()
    for key, value in event.items():
        if key not in OURS and key not in ("action", "options", "sessionId", "from", "to", "integrations"):
            assert found[key] == value
