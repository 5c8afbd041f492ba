"""What a line of `received` says, and which events the chain cannot be given."""

from __future__ import annotations

import json
import uuid

import pytest

from cdpd import metrics as names
from cdpd.ingest.line import LineBuilder, message_id
from cdpd.ingest.split import peek
from cdpd.log.errors import AppendFailed
from tests.ingest.running import KEY, NOW, basic, running

OK = (200, {"success": True})


async def test_a_single_event_becomes_a_line() -> None:
    async with running() as server:
        assert await server.post("/v1/track", {"event": "A", "userId": "u", "messageId": "m1"}) == OK
        line = server.lines[0]
        assert line["receivedAt"] == NOW
        assert line["source"] == "website"
        assert line["messageId"] == "m1"
        assert line["via"]["path"] == "/v1/track"
        assert line["via"]["ip"] == "127.0.0.1"
        assert line["event"] == {"event": "A", "userId": "u", "messageId": "m1"}
        assert list(line) == ["receivedAt", "source", "messageId", "via", "event"]
        assert server.log.config_ids == [7]


async def test_values_that_nobody_changes_keep_their_text() -> None:
    event = b'{"messageId":"m","properties":{"N":1.10,"big":12345678901234567890,"e":"","z":null,"N":2.0}}'
    long = b'{"messageId":"n","properties":{"long":' + b"7" * 400 + b',"huge":1e999,"tiny":-0.0E-7}}'
    async with running() as server:
        await server.post("/v1/track", event)
        await server.post("/v1/batch", b'{"batch":[' + event + b"," + long + b"]}")
        assert server.log.raw[0].endswith(b'"event":' + event + b"}")
        assert server.log.raw[1].endswith(b'"event":' + event + b"}")
        assert server.log.raw[2].endswith(b'"event":' + long + b"}")


async def test_merging_and_taking_out_the_key_leave_other_values_alone() -> None:
    event = b'{"z":1.10,"context":{"b":{"x":1.0},"a":[1,1.50]},"writeKey":"WRITEKEY","a":{"k":1,"k":2}}'
    async with running() as server:
        await server.post("/v1/batch", b'{"context":{"b":{"y":2.00},"c":3.0},"batch":[' + event + b"]}")
        assert server.log.raw[0].endswith(
            b'"event":{"z":1.10,"context":{"b":{"x":1.0,"y":2.00},"a":[1,1.50],"c":3.0},"a":{"k":1,"k":2}}}'
        )


async def test_the_event_wins_in_a_deep_merge_and_arrays_are_replaced() -> None:
    async with running() as server:
        await server.batch(
            [{"context": {"device": {"name": "Y"}, "list": [3], "n": None}}, {"context": "odd"}],
            context={"device": {"type": "phone", "name": "X"}, "list": [1, 2], "n": 5},
        )
        assert server.events[0]["context"] == {
            "device": {"type": "phone", "name": "Y"},
            "list": [3],
            "n": None,
        }
        assert server.events[1]["context"] == "odd"


async def test_line_breaks_between_values_go_and_nothing_else_changes() -> None:
    pretty = b'{\r\n  "messageId": "m",\n  "properties": {\n    "n": 1.10,\n    "t": "a\\nb"\n  }\n}\n'
    async with running() as server:
        await server.post("/v1/track", pretty)
        await server.post("/v1/batch", b'{"batch":\n[\n' + pretty + b'],\n"sentAt":\n{"a":\n1.0}}')
        for line in server.log.raw:
            assert line.endswith(b'"event":{"messageId":"m","properties":{"n":1.10,"t":"a\\nb"}}}')
        assert server.lines[1]["sentAt"] == {"a": 1.0}


async def test_sent_at_is_the_batchs_as_sent() -> None:
    async with running() as server:
        await server.batch([{"sentAt": "own"}], sentAt="2026-11-23T20:35:59.391Z")
        await server.batch([{}], sentAt=1700000000.5)
        await server.batch([{}], sentAt="x" * 300)
        await server.post("/v1/track", {"sentAt": "own"})
        assert [line.get("sentAt") for line in server.lines] == [
            "2026-11-23T20:35:59.391Z",
            1700000000.5,
            None,
            None,
        ]
        assert server.lines[0]["event"] == {"sentAt": "own"}
        assert server.metrics.get(names.NOTED, "sent_at_too_long") == 1


async def test_via_says_how_it_came() -> None:
    async with running() as server:
        headers = {"User-Agent": "agent/1", "Origin": "https://shop.example", "X-Retry-Count": "3"}
        await server.post("/v1/t/", {}, headers=headers)
        assert server.lines[0]["via"] == {
            "path": "/v1/t",
            "ip": "127.0.0.1",
            "userAgent": "agent/1",
            "origin": "https://shop.example",
            "retry": 3,
        }
        await server.post("/v1/t", {}, headers={"User-Agent": "a" * 5000, "X-Retry-Count": "many"})
        assert len(server.lines[1]["via"]["userAgent"]) == 1024
        assert "retry" not in server.lines[1]["via"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'"m-1"', b'"m-1"'),
        (b'"a\\u0062"', b'"a\\u0062"'),
        (b"7", b'"7"'),
        (b"-12.50", b'"-12.50"'),
        (b"12.0", b'"12"'),
        (b"1.5e3", b'"1500"'),
        (b"1e999999999", b'"1e999999999"'),
        (b"1e99999999999999999999", b'"1e99999999999999999999"'),
        (b"9" * 400, b'"' + b"9" * 400 + b'"'),
    ],
)
def test_a_message_id_that_can_be_used_is_kept(sent: bytes, kept: bytes) -> None:
    assert message_id(peek(b'{"messageId":' + sent + b"}").messageId) == kept


@pytest.mark.parametrize("sent", [b"null", b'""', b'"  "', b'"\\u00a0\\t"', b"true", b"[]", b"{}"])
def test_any_other_message_id_is_made_here(sent: bytes) -> None:
    made = json.loads(message_id(peek(b'{"messageId":' + sent + b"}").messageId))
    assert uuid.UUID(made).version == 4


async def test_a_single_event_over_the_limit_is_refused_and_in_a_batch_costs_only_itself() -> None:
    async with running() as server:
        big = {"messageId": "big", "properties": {"text": "x" * 33_000}, "writeKey": "WRITEKEY"}
        status, error = await server.post("/v1/track", big)
        assert (status, error["code"]) == (400, "too_large")
        assert server.lines == []
        assert await server.batch([big, {"messageId": "small"}]) == OK
        assert [line.get("reject") for line in server.lines] == ["event_too_large", None]
        assert server.lines[0]["messageId"] == "big"
        assert server.lines[0]["event"] == {key: value for key, value in big.items() if key != "writeKey"}


async def test_of_a_huge_rejected_event_the_first_kilobyte_is_kept() -> None:
    async with running() as server:
        text = "é" * 400_000
        assert await server.batch([{"writeKey": "WRITEKEY", "properties": {"text": text}}]) == OK
        line = server.lines[0]
        assert line["reject"] == "event_too_large"
        assert "event" not in line
        assert len(line["raw"]) <= 1024
        assert "WRITEKEY" not in line["raw"]


async def test_the_2501st_event_is_rejected_and_the_others_are_taken() -> None:
    async with running() as server:
        assert await server.batch([{"messageId": f"m{n}"} for n in range(2501)]) == OK
        assert [line.get("reject") for line in server.lines[2499:]] == [None, "batch_too_long"]
        assert server.lines[2500]["event"] == {"messageId": "m2500"}
        assert server.metrics.get(names.RECEIVED, "website") == 2501


async def test_elements_that_are_no_objects_are_rejected_one_by_one() -> None:
    async with running() as server:
        assert await server.batch([1, {"messageId": "m"}, "text", None, [2]]) == OK
        assert [line.get("reject") for line in server.lines] == [
            "event_not_object",
            None,
            "event_not_object",
            "event_not_object",
            "event_not_object",
        ]
        assert [line.get("raw") for line in server.lines] == ["1", None, '"text"', "null", "[2]"]


async def test_an_empty_batch_is_fine() -> None:
    async with running() as server:
        assert await server.batch([]) == OK
        assert server.log.config_ids == []
        assert server.metrics.get(names.NOTED, "empty_batch") == 1


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"batch":{}}', b'{"batch":null}', b'{"userId":"u"}', b"7", b'"x"']
)
async def test_a_body_without_an_array_batch_is_refused(body: bytes) -> None:
    async with running() as server:
        status, error = await server.post("/v1/batch", body)
        assert (status, error["code"]) == (400, "invalid_batch")
        assert server.lines == []


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b'{"a":1}}', b'{"a":tru}', b"hello", b'{"a":"\n"}'])
async def test_a_single_body_that_is_no_object_is_refused(body: bytes) -> None:
    async with running() as server:
        status, error = await server.post("/v1/track", body)
        assert (status, error["code"]) == (400, "invalid_json")
        assert server.lines == []


async def test_shared_context_cannot_multiply_a_batch_without_bounds() -> None:
    async with running() as server:
        status, error = await server.batch([{}] * 2500, context={"text": "x" * 30_000})
        assert (status, error["code"]) == (400, "too_large")
        status, error = await server.post("/v1/batch", b'{"batch":[' + b"0," * 2_000_000 + b"0]}")
        assert (status, error["code"]) == (400, "too_large")
        assert server.lines == []
        assert await server.batch([{"messageId": "m"}], context={"text": "x" * 40_000}) == OK
        assert server.lines[0]["reject"] == "event_too_large"
        assert server.ingest.in_flight_bytes == 0


async def test_nothing_is_acknowledged_that_could_not_be_stored() -> None:
    async with running() as server:
        server.log.error = AppendFailed("disk full")
        async with server.http.post(f"{server.bound.url}/v1/track", json={}, headers=basic()) as answer:
            assert answer.status == 503
            assert 1 <= int(answer.headers["Retry-After"]) <= 300
            assert (await answer.json())["code"] == "log_unavailable"
        assert server.metrics.get(names.RECEIVED, "website") == 0
        assert server.metrics.get(names.REJECTED, "log_unavailable") == 1
        assert server.ingest.in_flight_bytes == 0


@pytest.mark.parametrize("key", [KEY, None])
async def test_a_mistake_of_ours_is_an_answer_and_not_a_lost_connection(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def oops(*_: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(LineBuilder, "build", oops)
    async with running() as server:
        status, error = await server.post("/v1/track", {"writeKey": KEY}, key=key)
        assert (status, error["code"]) == (500, "internal_error")
        assert "oops" not in json.dumps(error)
        assert server.ingest.active == server.ingest.in_flight_bytes == 0


async def test_requests_and_events_are_counted() -> None:
    async with running() as server:
        await server.batch([{}, {}])
        await server.post("/v1/track", {}, key="nobody")
        await server.post("/v1/m", {"series": []}, key=None)
        assert server.metrics.get(names.REQUESTS, "/v1/batch", "200") == 1
        assert server.metrics.get(names.REQUESTS, "/v1/track", "401") == 1
        assert server.metrics.get(names.REQUESTS, "/v1/m", "200") == 1
        assert server.metrics.get(names.RECEIVED, "website") == 2
        assert server.metrics.get(names.REJECTED, "unknown_source") == 1
        assert len(server.lines) == 2
