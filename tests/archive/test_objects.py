"""Objects in the archive: each `set` as it came, and what they come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cdpd.archive.database import mentioned, open_archive
from tests.stored import event, store


def put(number: int, collection: str, own_id: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "set",
        "collection": collection,
        "id": own_id,
        "properties": properties,
        "messageId": f"s{number}",
        "projectId": "website",
        "timestamp": "2026-01-31T12:00:01.000Z",
        "receivedAt": f"2026-01-31T12:00:{number:02}.000Z",
    }


def ask(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_archive(data, mentioned(sql)) as archive:
        return list(archive.ask(sql).rows)


def objects(data: Path) -> dict[tuple[str, str], Any]:
    rows = ask(data, "select collection, id, properties from objects")
    return {(collection, own_id): json.loads(text) for collection, own_id, text in rows}


def test_the_last_value_of_each_property_counts_and_absent_ones_stay(tmp_path: Path) -> None:
    lines = [
        put(1, "rooms", "1", a=1, x="old"),
        put(2, "rooms", "2", a=7),
        put(3, "rooms", "1", b=2, x="new"),
    ]
    store(tmp_path, "events", lines)
    assert objects(tmp_path) == {("rooms", "1"): {"a": 1, "x": "new", "b": 2}, ("rooms", "2"): {"a": 7}}


def test_a_property_that_is_set_to_null_is_null_and_an_object_may_have_none(tmp_path: Path) -> None:
    store(tmp_path, "events", [put(1, "rooms", "1", a=1), put(2, "rooms", "1", a=None), put(3, "rooms", "2")])
    assert objects(tmp_path) == {("rooms", "1"): {"a": None}, ("rooms", "2"): {}}


def test_of_values_that_came_in_one_request_the_last_in_the_log_counts(tmp_path: Path) -> None:
    lines = [put(1, "rooms", "1", n=n) for n in range(50)]
    store(tmp_path, "events", [*lines, put(1, "rooms", "1", other=True)], a_segment=7)
    assert objects(tmp_path) == {("rooms", "1"): {"n": 49, "other": True}}


def test_objects_of_two_sources_or_collections_are_two(tmp_path: Path) -> None:
    other = put(2, "rooms", "1", a=2) | {"projectId": "app"}
    store(tmp_path, "events", [put(1, "rooms", "1", a=1), other, put(3, "halls", "1", a=3)])
    rows = ask(tmp_path, "select source, collection, properties->>'$.a', sets from objects order by 1, 2")
    assert rows == [("app", "rooms", "2", 1), ("website", "halls", "3", 1), ("website", "rooms", "1", 1)]


def test_any_key_is_kept_as_it_is(tmp_path: Path) -> None:
    odd = {"a.b": 1, 'say "so"': "é\n", "": True, "$[0]": 1.5}
    store(tmp_path, "events", [put(1, "rooms", "1", **odd)])
    assert objects(tmp_path) == {("rooms", "1"): odd}


def test_every_set_is_in_the_archive_and_none_is_an_event(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1), put(2, "rooms", "1", a=1), put(3, "rooms", "1", a=2)])
    assert ask(tmp_path, "select message_id from events") == [("m1",)]
    assert ask(tmp_path, "select message_id, collection, id, properties->>'$.a' from sets") == [
        ("s2", "rooms", "1", "1"),
        ("s3", "rooms", "1", "2"),
    ]


def test_an_event_without_a_type_is_an_event(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1, type=None)])
    assert ask(tmp_path, "select count(*) from events") == [(1,)]
    assert ask(tmp_path, "select count(*) from objects") == [(0,)]


@pytest.mark.parametrize("sql", ["select * from objects", "select * from sets", "select * from events"])
def test_objects_are_read_from_the_stream_of_events_alone(sql: str) -> None:
    assert mentioned(sql) == ["events"]


def test_without_events_there_are_no_objects(tmp_path: Path) -> None:
    store(tmp_path, "received", [event(1)])
    assert ask(tmp_path, "select * from objects") == []
