"""The ACCEPTANCE list of event-spec.md, by number: what concerns the pipeline (HTTP answers are ingest's)."""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
import pytest

from cdpd.metrics import ACCEPTED, DISCARDED
from tests.clock import FakeClock
from tests.hooks.applying import normalised
from tests.pipeline.rig import CONFIG_ID, Rig, configuration, received_line, run_events

TRACK = {"type": "track", "event": "A", "userId": "u"}


async def test_01_a_track_without_ids_is_discarded_and_counted(tmp_path: Path) -> None:
    async with Rig(tmp_path, clock=FakeClock()).opened() as rig:
        await run_events(rig, [{"type": "track", "event": "A"}])
        assert rig.stored() == []
        assert rig.codes() == ["no_user_anon_id"]
        assert rig.metrics.get(DISCARDED, "website", "spec", "no_user_anon_id") == 1


def test_02_an_empty_user_id_counts_as_none() -> None:
    assert normalised({"type": "track", "event": "A", "userId": ""}).code == "no_user_anon_id"


def test_03_an_anonymous_identify_without_traits_comes_through_without_traits() -> None:
    outcome = normalised({"type": "identify", "anonymousId": "a1"})
    assert outcome.code is None
    assert "traits" not in outcome.event


def test_04_the_timestamp_is_corrected_by_the_clocks_difference() -> None:
    event = {
        **TRACK,
        "timestamp": "2024-03-05T10:00:00.000Z",
        "sentAt": "2024-03-05T10:00:05.000Z",
    }
    found = normalised(event, received_at="2024-03-05T12:00:05.300Z").event
    assert found["originalTimestamp"] == "2024-03-05T10:00:00.000Z"
    assert found["timestamp"] == "2024-03-05T12:00:00.300Z"


def test_05_without_any_time_both_are_the_time_of_receipt() -> None:
    found = normalised(TRACK, received_at="2024-03-05T12:00:05.300Z").event
    assert found["originalTimestamp"] == found["timestamp"] == "2024-03-05T12:00:05.300Z"


def test_06_a_historical_timestamp_with_an_honest_clock_stays() -> None:
    at = "2024-03-05T12:00:00.000Z"
    found = normalised({**TRACK, "timestamp": "2013-01-01T00:00:00Z", "sentAt": at}, received_at=at).event
    assert found["timestamp"] == "2013-01-01T00:00:00.000Z"


def test_07_a_future_timestamp_with_an_honest_clock_stays() -> None:
    at = "2024-03-05T12:00:00.000Z"
    found = normalised({**TRACK, "timestamp": "2030-01-01T00:00:00Z", "sentAt": at}, received_at=at).event
    assert found["timestamp"] == "2030-01-01T00:00:00.000Z"


def test_08_a_client_receivedAt_is_replaced() -> None:
    found = normalised(
        {**TRACK, "receivedAt": "1999-01-01T00:00:00Z"}, received_at="2024-03-05T12:00:05.300Z"
    )
    assert found.event["receivedAt"] == "2024-03-05T12:00:05.300Z"


def test_09_the_lines_messageId_goes_on_and_one_of_101_characters_is_refused() -> None:
    made = str(uuid.uuid4())
    assert normalised(TRACK, message_id=made).event["messageId"] == made
    assert normalised({**TRACK, "messageId": "é" * 100}).code is None
    assert normalised({**TRACK, "messageId": "x" * 101}).code == "message_id_too_long"


async def test_10_the_second_of_one_messageId_is_a_duplicate_but_not_of_another_source(
    tmp_path: Path,
) -> None:
    sources = {"website": {"write_keys": ["a"]}, "app": {"write_keys": ["b"]}}
    event = {**TRACK, "messageId": "m1"}
    async with Rig(tmp_path, clock=FakeClock()).opened() as rig:
        config = configuration(sources=sources)
        await run_events(rig, [event], config)
        await run_events(rig, [event], config)
        await run_events(rig, [event], config, source="app")
        assert [e["projectId"] for e in rig.stored()] == ["website", "app"]
        assert rig.metrics.get(DISCARDED, "website", "dedup", "duplicate") == 1


async def test_11_a_bad_item_costs_its_neighbours_nothing(tmp_path: Path) -> None:
    batch = [{**TRACK, "messageId": str(n)} for n in range(3)]
    del batch[1]["event"]
    async with Rig(tmp_path, clock=FakeClock()).opened() as rig:
        await run_events(rig, batch)
        assert [e["messageId"] for e in rig.stored()] == ["0", "2"]
        assert rig.metrics.get(DISCARDED, "website", "spec", "event_not_defined") == 1
        assert rig.metrics.get(ACCEPTED, "website") == 2


async def test_12_what_stood_after_the_2500th_is_discarded_by_ingest(tmp_path: Path) -> None:
    async with Rig(tmp_path, clock=FakeClock()).opened() as rig:
        await run_events(rig, [{**TRACK, "messageId": "last"}], reject="batch_too_long")
        assert rig.stored() == []
        [line] = rig.turned_away()
        assert (line["by"], line["code"]) == ("ingest", "batch_too_long")


def test_14_a_browser_sources_address_is_filled_in() -> None:
    found = normalised(TRACK, type_of_source="javascript", ip="203.0.113.7").event
    assert found["context"]["ip"] == "203.0.113.7"


def test_14_a_server_source_gets_no_address_unless_it_asks_for_it() -> None:
    assert "context" not in normalised(TRACK, type_of_source="server", ip="203.0.113.7").event
    asked = normalised(
        {**TRACK, "context": {"direct": True}}, type_of_source="server", ip="203.0.113.7"
    ).event
    assert asked["context"] == {"ip": "203.0.113.7"}


def test_15_an_address_of_zeros_stays() -> None:
    found = normalised({**TRACK, "context": {"ip": "0.0.0.0"}}, type_of_source="javascript").event
    assert found["context"] == {"ip": "0.0.0.0"}


def test_16_a_pages_name_is_not_copied_into_its_properties() -> None:
    page = {"type": "page", "userId": "u", "name": "Home", "properties": {"url": "https://x"}}
    assert normalised(page).event["properties"] == {"url": "https://x"}


def test_17_an_empty_page_name_is_refused() -> None:
    assert normalised({"type": "page", "userId": "u", "name": ""}).code == "name_not_string"


def test_18_traits_must_be_an_object_or_null() -> None:
    assert normalised({"type": "identify", "userId": "u", "traits": "x"}).code == "traits_not_object"
    accepted = normalised({"type": "identify", "userId": "u", "traits": None})
    assert accepted.code is None
    assert accepted.event["traits"] is None


async def test_19_a_big_event_of_a_batch_is_discarded_by_ingest_alone(tmp_path: Path) -> None:
    async with Rig(tmp_path, clock=FakeClock()).opened() as rig:
        big = received_line({**TRACK, "messageId": "big"}, reject="event_too_large")
        small = received_line({**TRACK, "messageId": "small"})
        await rig.received.append([big, small], config_id=CONFIG_ID)
        await rig.handle_all()
        assert [e["messageId"] for e in rig.stored()] == ["small"]
        assert rig.codes() == ["event_too_large"]


def test_20_of_10005_properties_the_first_10000_stay() -> None:
    properties = {f"p{n}": n for n in range(10_005)}
    outcome = normalised({**TRACK, "properties": properties})
    assert list(outcome.event["properties"]) == [f"p{n}" for n in range(10_000)]
    assert outcome.violations == [("properties_capped", "properties")]


def test_21_values_and_the_order_of_keys_keep_their_text() -> None:
    properties = b'{"N":1.10,"big":12345678901234567890,"e":"","z":null}'
    outcome = normalised(b'{"type":"track","event":"A","userId":"u","properties":' + properties + b"}")
    assert b'"properties":' + properties in outcome.text


def test_22_no_name_is_made_of_first_and_last_name() -> None:
    traits = {"first_name": "A", "lastName": "B"}
    assert normalised({"type": "identify", "userId": "u", "traits": traits}).event["traits"] == traits


@pytest.mark.parametrize(
    "event",
    [
        {"type": "group", "userId": "u"},
        {"type": "alias", "userId": "u"},
        {"type": "alias", "previousId": "p", "anonymousId": "a"},
    ],
)
def test_23_a_group_without_groupId_and_an_incomplete_alias_are_refused(event: dict[str, str]) -> None:
    assert normalised(event).code == "id_required"


def test_25_no_line_holds_a_write_key() -> None:
    assert b"wk_secret" not in normalised({**TRACK, "writeKey": "wk_secret"}).text


def test_26_the_paths_type_wins_over_the_bodys() -> None:
    found = normalised({"type": "identify", "event": "A", "userId": "u"}, path="/v1/track").event
    assert found["type"] == "track"
    assert msgspec.json.encode(found)
