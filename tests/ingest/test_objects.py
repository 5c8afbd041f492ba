"""`POST /v1/set`: which objects are taken, and how they stand in `received`."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from cdpd import metrics as names
from cdpd.ingest.refusal import disk_full
from cdpd.log.errors import AppendFailed
from tests.ingest.running import KEY, NOW, Running, basic, running

OK = (200, {"success": True})


def body(*properties: Any, collection: Any = "rooms") -> dict[str, Any]:
    return {
        "collection": collection,
        "objects": [{"id": str(i), "properties": each} for i, each in enumerate(properties, 1)],
    }


async def refused(server: Running, what: object) -> str:
    """The message of a 400; nothing of the request was kept."""
    status, answer = await server.post("/v1/set", what)
    assert (status, server.lines) == (400, [])
    assert answer["code"] in ("invalid_object", "too_large", "invalid_json")
    return str(answer["message"])


async def test_objects_become_lines_in_their_order() -> None:
    async with running() as server:
        assert await server.post("/v1/set", body({"n": 1}, {"name": "Blue", "free": None})) == OK
        first, second = server.lines
        assert list(first) == ["receivedAt", "source", "messageId", "kind", "via", "event"]
        assert (first["receivedAt"], first["source"], first["kind"]) == (NOW, "website", "set")
        assert uuid.UUID(first["messageId"]) != uuid.UUID(second["messageId"])
        assert (first["via"]["path"], first["via"]["ip"]) == ("/v1/set", "127.0.0.1")
        assert first["event"] == {"type": "set", "collection": "rooms", "id": "1", "properties": {"n": 1}}
        assert second["event"]["properties"] == {"name": "Blue", "free": None}


async def test_values_keep_their_text_and_of_a_repeated_key_the_last_counts() -> None:
    text = b'{"collection":"rooms",\n"objects":[\n{"id":"1","more":[],"properties":{\n"n":1.10,"a":0,"a":9e99}}]}'
    async with running() as server:
        assert await server.post("/v1/set/", text) == OK
        assert server.log.raw[0].endswith(
            b'"event":{"type":"set","collection":"rooms","id":"1","properties":{"n":1.10,"a":9e99}}}'
        )


async def test_synchronous_is_what_every_answer_is() -> None:
    async with running() as server:
        assert await server.post("/v1/set", body({}), headers={"Synchronous": "true"}) == OK
        server.log.error = AppendFailed("no")
        assert (await server.post("/v1/set", body({})))[0] == 503
        assert len(server.lines) == 1


@pytest.mark.parametrize(
    "collection", ["a", "rooms", "room_types", "rooms2", "a" * 100, "a_" + "1" * 98, "is__odd"]
)
async def test_names_of_collections_that_are_taken(collection: str) -> None:
    async with running() as server:
        assert await server.post("/v1/set", body({}, collection=collection)) == OK


@pytest.mark.parametrize(
    "collection",
    ["", "Rooms", "_rooms", "rooms_", "2rooms", "my-rooms", "rooms ", "räume", "rooms\n", "a" * 101, 7, None],
)
async def test_names_of_collections_that_are_not(collection: object) -> None:
    async with running() as server:
        assert "collection: " in await refused(server, body({}, collection=collection))


@pytest.mark.parametrize(("value", "kind"), [(["a"], "a list"), ({"a": 1}, "an object"), ([], "a list")])
async def test_a_list_or_an_object_is_no_value_and_costs_the_whole_request(value: object, kind: str) -> None:
    async with running() as server:
        message = await refused(server, body({"n": 1}, {"tags": value}))
        assert message.startswith("objects[1].properties.tags: ")
        assert message.endswith(f"not {kind}")


async def test_one_to_ten_objects_are_taken() -> None:
    async with running() as server:
        assert "11 of them" in await refused(server, body(*[{}] * 11))
        assert "0 of them" in await refused(server, body())
        assert await server.post("/v1/set", body(*[{}] * 10)) == OK
        assert len(server.lines) == 10


@pytest.mark.parametrize("own_id", ["", "  ", "x" * 101, 7, None, ["1"]])
async def test_an_id_is_a_text_of_up_to_100_characters(own_id: object) -> None:
    async with running() as server:
        wrong = {"collection": "rooms", "objects": [{"id": own_id, "properties": {}}]}
        assert "objects[0].id: " in await refused(server, wrong)
        right = {"collection": "rooms", "objects": [{"id": "ü" * 100, "properties": {}}]}
        assert await server.post("/v1/set", right) == OK


async def test_a_value_has_less_than_32_kb_and_an_object_at_most_400() -> None:
    async with running() as server:
        assert "properties.t" in await refused(server, body({"t": "x" * (32 * 1024 - 2)}))
        many = {f"k{i}": "x" * 30_000 for i in range(14)}
        assert "objects[0] is over the limit" in await refused(server, body(many))
        assert await server.post("/v1/set", body({"t": "x" * (32 * 1024 - 3)})) == OK


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (b"[]", "the body must be an object"),
        (b"{", "not valid JSON"),
        (b'{"collection":"rooms"}', "objects: a list of 1 to 10"),
        (b'{"collection":"rooms","objects":{}}', "objects: a list of 1 to 10"),
        (b'{"collection":"rooms","objects":["1"]}', 'objects[0]: {"id", "properties"} is expected'),
        (b'{"collection":"rooms","objects":[{"id":"1"}]}', "objects[0].properties: an object is expected"),
        (b'{"collection":"rooms","objects":[{"id":"1","properties":[]}]}', "not a list"),
        (b'{"objects":[{"id":"1","properties":{}}]}', "collection: a text is expected, not nothing"),
        (b'{"objects":' + b"[" * 100_000, "nested too deep"),
    ],
)
async def test_what_is_malformed_is_told(what: bytes, told: str) -> None:
    async with running() as server:
        assert told in await refused(server, what)


async def test_what_json_does_not_allow_is_mended_as_in_events() -> None:
    text = (
        b'{"collection":"rooms","objects":[{"id":"1","properties":{"a":NaN,"b":"x\\u0000","c":"\\ud800"}}]}'
    )
    async with running() as server:
        assert await server.post("/v1/set", text) == OK
        assert server.events[0]["properties"] == {"a": None, "b": "x\ufffd", "c": "\ufffd"}
        assert server.metrics.get(names.NOTED, "nan_replaced") == 1


async def test_the_write_key_is_that_of_the_header_the_body_or_the_query() -> None:
    async with running() as server:
        assert await server.post("/v1/set", {**body({}), "writeKey": KEY}, key=None) == OK
        assert await server.post(f"/v1/set?writeKey={KEY}", body({}), key=None) == OK
        assert "writeKey" not in server.log.raw[0].decode()
        assert (await server.post("/v1/set", body({}), key=None))[1]["code"] == "missing_write_key"
        assert (await server.post("/v1/set", body({}), key="nobody"))[1]["code"] == "unknown_source"


async def test_a_disabled_source_and_a_full_disk_hold_for_objects_too() -> None:
    async with running() as server:
        assert await server.post("/v1/set", body({}), key="offkey") == OK
        server.ingest.close_for(disk_full)
        assert (await server.post("/v1/set", body({})))[1]["code"] == "disk_full"
        assert server.lines == []


async def test_only_a_post_sets() -> None:
    async with (
        running() as server,
        server.http.get(server.bound.url + "/v1/set", headers=basic()) as answer,
    ):
        assert (answer.status, answer.headers["Allow"]) == (405, "POST, OPTIONS")


async def test_objects_are_counted_and_events_are_not() -> None:
    async with running() as server:
        await server.post("/v1/set", body({}, {}))
        assert server.metrics.get(names.RECEIVED_OBJECTS, "website") == 2
        assert server.metrics.get(names.RECEIVED, "website") == 0


async def test_a_gzipped_body_is_taken() -> None:
    import gzip

    async with running() as server:
        zipped = gzip.compress(json.dumps(body({"n": 1})).encode())
        assert await server.post("/v1/set", zipped, headers={"Content-Encoding": "gzip"}) == OK
