"""Pixels: an event in the address of an image, and an image whatever happens (wire.md §1)."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpd import metrics as names
from cdpd.ingest.pixel import GIF, Pixel, pixel_event
from cdpd.ingest.refusal import Refused
from cdpd.log.errors import AppendFailed
from tests.ingest.running import KEY, Running, basic, running

EVENT = {"event": "Mail Opened", "userId": "u1", "properties": {"subject": "Hi", "n": 1}}


async def get(server: Running, target: str, *, method: str = "GET", **headers: str) -> None:
    """Ask for a pixel; an image it must be."""
    async with server.http.request(method, server.bound.url + target, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "image/gif"
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.read() == (GIF if method == "GET" else b"")


def encoded(event: dict[str, Any], *, safe: bool = False, padded: bool = True) -> str:
    text = json.dumps(event).encode()
    data = (base64.urlsafe_b64encode if safe else base64.b64encode)(text).decode()
    return data if padded else data.rstrip("=")


@pytest.mark.parametrize("kind", ["identify", "track", "page", "screen", "group", "alias"])
@pytest.mark.parametrize("end", ["", "/", ".gif"])
async def test_every_type_has_a_pixel(kind: str, end: str) -> None:
    async with running() as server:
        await get(server, f"/v1/pixel/{kind}{end}?writeKey={KEY}&userId=u1&event=E")
        assert server.events[0]["type"] == kind
        assert server.lines[0]["via"]["path"] == f"/v1/pixel/{kind}"


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("text", ["a", "ab", "abc", "ü?>~", "日本"])
async def test_an_event_in_base64_of_either_alphabet(safe: bool, padded: bool, text: str) -> None:
    event = {**EVENT, "writeKey": KEY, "properties": {"text": text}}
    async with running() as server:
        data = encoded(event, safe=safe, padded=padded)
        await get(server, "/v1/pixel/track?data=" + quote(data, safe=""))
        found = server.events[0]
        assert found["properties"] == {"text": text}
        assert "writeKey" not in found


async def test_pluses_that_nobody_escaped_are_pluses() -> None:
    data = encoded({"writeKey": KEY, "event": "a>>>", "userId": "~~~?"})
    assert "+" in data
    async with running() as server:
        async with server.http.get(
            f"{server.bound.url}/v1/pixel/track?data={data}", allow_redirects=False
        ) as answer:
            assert await answer.read() == GIF
        assert server.events[0]["event"] == "a>>>"


async def test_json_as_it_is_and_the_key_beside_it() -> None:
    async with running() as server:
        data = quote('{"event":"E","userId":"u","properties":{"price":1.10,"big":12345678901234567890}}')
        await get(server, f"/v1/pixel/track?writeKey={KEY}&data={data}")
        assert b'{"price":1.10,"big":12345678901234567890}' in server.log.raw[0]


async def test_fields_one_by_one_nest_at_their_dots() -> None:
    fields = {
        "writeKey": KEY,
        "event": "Mail Opened",
        "userId": "u 1",
        "properties.subject": "Grüße & mehr",
        "properties.a.b": "",
        "context.page.url": "https://x.example/?q=1",
    }
    async with running() as server:
        await get(server, "/v1/pixel/track?" + urlencode(fields), **{"User-Agent": "Mail/1"})
        event = server.events[0]
        assert event.pop("context") == {"page": {"url": "https://x.example/?q=1"}, "userAgent": "Mail/1"}
        assert event == {
            "event": "Mail Opened",
            "userId": "u 1",
            "properties": {"subject": "Grüße & mehr", "a": {"b": ""}},
            "type": "track",
        }


async def test_the_requests_agent_is_filled_in_only_where_the_event_has_none() -> None:
    async with running() as server:
        for context in ({"userAgent": "own"}, {"userAgent": ""}, {"userAgent": None}, {}, None, "odd"):
            event = {**EVENT, "writeKey": KEY, "context": context}
            await get(server, "/v1/pixel/track?data=" + quote(encoded(event)), **{"User-Agent": "Mail/1"})
        found = [event["context"] for event in server.events]
        assert found == [{"userAgent": "own"}, *[{"userAgent": "Mail/1"}] * 4, "odd"]


async def test_rudders_pixels_say_what_rudder_adds() -> None:
    async with running() as server:
        await get(server, f"/pixel/v1/page?writeKey={KEY}&anonymousId=a1&properties.title=T")
        await get(server, f"/pixel/v1/track?writeKey={KEY}&anonymousId=a1&event=E")
        page, track = server.events
        assert (page["name"], page["type"], page["properties"]) == ("Unknown Page", "page", {"title": "T"})
        assert (track["event"], track["channel"], track["integrations"]) == ("E", "web", {"All": True})


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/v1/pixel/track?event=E&userId=u", "missing_write_key"),
        ("/v1/pixel/track?writeKey=nobody&event=E", "unknown_source"),
        (f"/v1/pixel/track?writeKey={KEY}&data=!!!", "invalid_json"),
        (f"/v1/pixel/track?writeKey={KEY}&data={base64.b64encode(b'[1]').decode()}", "invalid_json"),
        (f"/v1/pixel/track?writeKey={KEY}&data={base64.b64encode(b'nonsense').decode()}", "invalid_json"),
        (f"/v1/pixel/track?writeKey={KEY}&" + "&".join(f"f{i}=1" for i in range(1001)), "bad_request"),
    ],
)
async def test_what_cannot_be_taken_is_an_image_and_counted(target: str, code: str) -> None:
    async with running() as server:
        await get(server, target)
        assert server.metrics.get(names.REJECTED, code) == 1
        assert server.lines == []


async def test_a_log_that_cannot_be_written_is_an_image_and_counted_too() -> None:
    async with running() as server:
        server.log.error = AppendFailed("no room")
        await get(server, f"/v1/pixel/track?writeKey={KEY}&event=E&userId=u")
        assert server.metrics.get(names.REJECTED, "log_unavailable") == 1


async def test_asking_for_the_head_alone_is_no_event() -> None:
    async with running() as server:
        await get(server, f"/v1/pixel/track?writeKey={KEY}&event=E&userId=u", method="HEAD")
        assert server.lines == []


async def test_a_pixel_is_only_read() -> None:
    async with running() as server:
        status, document = await server.post("/v1/pixel/track", {})
        assert (status, document["code"]) == (405, "method_not_allowed")


async def test_eight_kilobytes_of_query_are_taken() -> None:
    async with running() as server:
        await get(server, f"/v1/pixel/track?writeKey={KEY}&event=E&userId=u&properties.x={'y' * 8000}")
        assert len(server.events[0]["properties"]["x"]) == 8000


async def test_a_key_in_the_header_counts_too() -> None:
    async with running() as server:
        await get(server, "/v1/pixel/track?event=E&userId=u", **basic())
        assert len(server.lines) == 1


@given(st.text(max_size=200), st.booleans())
@settings(max_examples=300)
def test_any_query_makes_an_event_or_is_refused(query: str, rudder: bool) -> None:
    with contextlib.suppress(Refused):
        assert json.loads(pixel_event(Pixel("/", "track", rudder), query, "agent"))["type"] == "track"


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_data_makes_an_event_or_is_refused(data: bytes) -> None:
    query = "data=" + base64.urlsafe_b64encode(data).decode()
    with contextlib.suppress(Refused):
        assert json.loads(pixel_event(Pixel("/", "track"), query, "agent"))["type"] == "track"
