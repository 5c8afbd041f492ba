"""The fifteen rules that a naive server breaks (spec/wire.md §0), one test each, in its order."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.ingest.running import KEY, basic, running

SUCCESS = (200, {"success": True})


async def test_1_success_is_exactly_200_with_a_json_object() -> None:
    async with (
        running() as server,
        server.http.post(f"{server.bound.url}/v1/track", json={"userId": "u"}, headers=basic()) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert await answer.read() == b'{"success":true}'


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/track", b"{", 400),
        ("POST", "/nothing", b"", 404),
        ("DELETE", "/v1/track", b"", 405),
        ("GET", "/v1/batch", b"", 405),
        ("POST", "/health", b"", 405),
        ("GET", "/v1/projects/nobody/settings", b"", 404),
    ],
)
async def test_2_every_error_has_success_code_message_and_error(
    method: str, path: str, body: bytes, status: int
) -> None:
    async with (
        running() as server,
        server.http.request(method, server.bound.url + path, data=body, headers=basic()) as answer,
    ):
        assert answer.status == status
        assert answer.content_type == "application/json"
        error = await answer.json()
        assert error["success"] is False
        assert isinstance(error["code"], str)
        assert error["code"]
        assert error["message"] == error["error"]
        if status == 405:
            assert "OPTIONS" in answer.headers["Allow"]


async def test_3_nothing_about_an_events_content_is_an_error_and_413_is_never_sent() -> None:
    async with running(max_event_bytes=200, max_batch_bytes=2000) as server:
        bad = [7, None, "x", [], {}, {"type": "nonsense"}, {"userId": []}, {"big": "x" * 300}]
        assert await server.batch([*bad, {"messageId": "good"}]) == SUCCESS
        assert len(server.lines) == 9
        assert server.lines[-1]["event"] == {"messageId": "good"}
        status, error = await server.batch([{"big": "x" * 3000}])
        assert (status, error["code"]) == (400, "too_large")


async def test_4_the_authorization_and_retry_headers_are_allowed_in_a_preflight() -> None:
    async with running() as server:
        for asked in ("authorization", "authorization,x-retry-count"):
            headers = {
                "Origin": "https://shop.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": asked,
            }
            async with server.http.options(f"{server.bound.url}/v1/t", headers=headers) as answer:
                assert answer.status == 200
                assert answer.headers["Access-Control-Allow-Headers"] == asked
                assert "POST" in answer.headers["Access-Control-Allow-Methods"]


async def test_5_retry_after_is_exposed_to_browsers() -> None:
    async with running(max_in_flight_bytes=10) as server:
        headers = {"Origin": "https://shop.example", **basic()}
        async with server.http.post(
            f"{server.bound.url}/v1/t", data=b'{"userId":"somebody"}', headers=headers
        ) as answer:
            assert answer.status == 503
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.headers["X-RateLimit-Reset"] == answer.headers["Retry-After"]


async def test_6_a_trailing_slash_is_accepted_and_nothing_is_redirected() -> None:
    async with running() as server:
        for path in ("/v1/import/", "/v1/batch/", "/v1/b/"):
            assert await server.post(path, {"batch": [{"userId": "u"}]}) == SUCCESS
        for path in ("/v1/track/", "/v1/t/", "/v1/identify/", "/v1/m/"):
            assert await server.post(path, {"userId": "u"}) == SUCCESS
        assert [line["via"]["path"] for line in server.lines][:4] == [
            "/v1/import",
            "/v1/batch",
            "/v1/b",
            "/v1/track",
        ]


async def test_7_the_write_key_may_be_in_the_header_the_body_the_query_or_the_first_event() -> None:
    async with running() as server:
        event = {"userId": "u"}
        assert await server.post("/v1/track", event) == SUCCESS
        assert await server.post("/v1/track", {**event, "writeKey": KEY}, key=None) == SUCCESS
        assert await server.post("/v1/batch", {"batch": [event], "writeKey": KEY}, key=None) == SUCCESS
        assert await server.post(f"/v1/batch?writeKey={KEY}", {"batch": [event]}, key=None) == SUCCESS
        assert await server.post("/v1/batch", {"batch": [{**event, "writeKey": KEY}]}, key=None) == SUCCESS
        assert len(server.lines) == 5
        assert all(line["event"] == event for line in server.lines)
        assert KEY.encode() not in b"".join(server.log.raw)


async def test_8_the_batchs_context_is_merged_into_its_events() -> None:
    async with running() as server:
        library = {"name": "analytics-java", "version": "3.5.4"}
        await server.batch(
            [{"userId": "a"}, {"userId": "b", "context": {"ip": "1.2.3.4"}}], context={"library": library}
        )
        assert server.events[0]["context"] == {"library": library}
        assert server.events[1]["context"] == {"ip": "1.2.3.4", "library": library}


async def test_9_the_batchs_message_id_and_timestamp_are_not_its_events() -> None:
    async with running() as server:
        await server.batch([{"userId": "a"}], messageId="batch-1", timestamp="2020-01-01T00:00:00Z")
        assert server.lines[0]["messageId"] != "batch-1"
        assert server.events == [{"userId": "a"}]


async def test_10_null_and_empty_ids_are_absent_and_kept_as_sent() -> None:
    async with running() as server:
        event = {"anonymousId": None, "userId": "", "messageId": "", "context": None}
        await server.batch([event, {"messageId": None}], context={"library": {"name": "x"}})
        assert len(server.lines[0]["messageId"]) == 36
        assert len(server.lines[1]["messageId"]) == 36
        assert server.lines[0]["messageId"] != server.lines[1]["messageId"]
        assert server.events[0] == {**event, "context": {"library": {"name": "x"}}}


async def test_11_numbers_as_ids_cost_nobody_anything() -> None:
    async with running() as server:
        await server.batch(
            [{"groupId": 7, "messageId": 12345678901234567890123}, {"userId": 1.5, "messageId": 12.0}]
        )
        assert [line["messageId"] for line in server.lines] == ["12345678901234567890123", "12"]
        assert server.events[0]["groupId"] == 7


async def test_12_integrations_all_is_named_properly() -> None:
    async with running() as server:
        await server.batch(
            [{"userId": "u"}, {"integrations": {"all": False}}], integrations={"all": True, "X": False}
        )
        assert server.events[0]["integrations"] == {"All": True, "X": False}
        assert server.events[1]["integrations"] == {"All": False, "X": False}
        await server.post("/v1/track", {"integrations": {"all": True}})
        assert server.events[2]["integrations"] == {"All": True}


async def test_13_gzip_comes_as_text_plain_without_a_key_header_and_chunked() -> None:
    async with running() as server:
        packed = gzip.compress(json.dumps({"batch": [{"userId": "u"}], "writeKey": KEY}).encode())

        async def chunks() -> object:  # an async generator makes the client send a chunked body
            yield packed[:20]
            yield packed[20:]

        for data in (packed, chunks()):
            async with server.http.post(
                f"{server.bound.url}/v1/b",
                data=data,
                headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"},
            ) as answer:
                assert answer.status == 200
        assert len(server.lines) == 2


async def test_14_the_settings_list_segment_io_and_nothing_else() -> None:
    async with running(public_url="https://cdp.example.com") as server:
        async with server.http.get(f"{server.bound.url}/v1/projects/{KEY}/settings") as answer:
            document = await answer.json()
        assert list(document["integrations"]) == ["Segment.io"]
        segment = document["integrations"]["Segment.io"]
        assert segment["apiKey"] == KEY
        assert segment["apiHost"] == "cdp.example.com/v1"
        assert segment["protocol"] == "https"


async def test_15_a_batch_far_over_the_documented_500_kb_is_taken() -> None:
    async with running() as server:
        events = [
            {"userId": "u", "messageId": f"m{n}", "properties": {"text": "x" * 2000}} for n in range(1500)
        ]
        assert await server.batch(events) == SUCCESS
        assert len(server.lines) == 1500
        assert [line["messageId"] for line in server.lines] == [f"m{n}" for n in range(1500)]
