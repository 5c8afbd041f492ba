"""What a source's own settings do: origins, rates, strict limits, disabled sources, uses of keys."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cdpd import metrics as names
from cdpd.config.model import Config
from cdpd.ingest.key_use import KeyUse
from cdpd.ingest.settings import IngestSettings
from tests.clock import FakeClock
from tests.ingest.running import KEY, basic, running

TRACK = {"type": "track", "event": "A", "userId": "u"}


def settings(http: dict[str, Any] | None = None, **source: Any) -> IngestSettings:
    table = {"http": http or {}, "sources": {"website": {"write_keys": [KEY, "second"], **source}}}
    return IngestSettings.of(msgspec.convert(table, Config), 7)


# -- origins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "taken"),
    [
        ("https://www.example.com", True),
        ("https://a.shop.example", True),
        ("https://a.b.shop.example", True),
        ("https://shop.example", False),
        ("https://evilshop.example", False),
        ("http://www.example.com", False),
        ("https://www.example.com.evil.net", False),
        ("null", False),
    ],
)
async def test_pages_of_other_origins_are_refused_with_an_answer_that_their_browser_may_read(
    origin: str, taken: bool
) -> None:
    async with running() as server:
        server.ingest.apply(settings(allowed_origins=["https://www.example.com", "https://*.shop.example"]))
        headers = {**basic(), "Origin": origin}
        async with server.http.post(
            server.bound.url + "/v1/track", data=json.dumps(TRACK), headers=headers
        ) as answer:
            assert answer.status == (200 if taken else 403)
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            document = await answer.json()
        assert len(server.lines) == taken
        if not taken:
            assert document["code"] == "origin_not_allowed"
            assert origin in document["message"]


async def test_requests_without_an_origin_are_taken_whatever_origins_are_allowed() -> None:
    async with running() as server:
        server.ingest.apply(settings(allowed_origins=["https://www.example.com"]))
        assert (await server.post("/v1/track", TRACK))[0] == 200


@pytest.mark.parametrize("path", [f"/v1/projects/{KEY}/settings", f"/sourceConfig?writeKey={KEY}"])
async def test_boot_documents_too_are_for_allowed_origins_only(path: str) -> None:
    async with running() as server:
        server.ingest.apply(settings(allowed_origins=["https://www.example.com"]))
        for origin, status in (("https://www.example.com", 200), ("https://other.example", 403)):
            async with server.http.get(server.bound.url + path, headers={"Origin": origin}) as answer:
                assert answer.status == status


# -- rates ---------------------------------------------------------------------------------------------


async def test_a_source_that_sends_too_often_is_told_when_to_come_again_in_both_headers() -> None:
    clock = FakeClock()
    async with running(clock) as server:
        server.ingest.apply(settings(rate_limit="2/10s"))
        for _ in range(2):
            assert (await server.post("/v1/track", TRACK))[0] == 200
        async with server.http.post(
            server.bound.url + "/v1/track", data=json.dumps(TRACK), headers=basic("second")
        ) as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"] == answer.headers["X-RateLimit-Reset"] == "5"
            assert (await answer.json())["code"] == "rate_limited"
        clock.elapsed += 5
        assert (await server.post("/v1/track", TRACK))[0] == 200
        assert (await server.post("/v1/track", TRACK))[0] == 429
        assert len(server.lines) == 3
        assert server.metrics.get(names.REJECTED, "rate_limited") == 2


async def test_the_rate_holds_where_the_key_is_in_the_body() -> None:
    async with running(FakeClock()) as server:
        server.ingest.apply(settings(rate_limit="1/m"))
        body = {"batch": [TRACK], "writeKey": KEY}
        assert (await server.post("/v1/batch", body, key=None))[0] == 200
        assert (await server.post("/v1/batch", body, key=None))[0] == 429


async def test_each_address_has_a_rate_of_its_own_and_an_ipv6_network_one_together() -> None:
    async with running(FakeClock(), trusted_proxies=["127.0.0.1"]) as server:
        server.ingest.apply(settings({"trusted_proxies": ["127.0.0.1"]}, rate_limit_by_address="1/m"))

        async def post(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return (await server.post("/v1/track", TRACK, headers=headers))[0]

        assert [await post(ip) for ip in ("192.0.2.1", "192.0.2.1", "192.0.2.2")] == [200, 429, 200]
        assert [await post(ip) for ip in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")] == [200, 429, 200]


async def test_a_reload_does_not_forget_who_sent_too_often() -> None:
    async with running(FakeClock()) as server:
        server.ingest.apply(settings(rate_limit="1/m"))
        assert (await server.post("/v1/track", TRACK))[0] == 200
        server.ingest.apply(settings(rate_limit="1/m", labels={"team": "web"}))
        assert (await server.post("/v1/track", TRACK))[0] == 429


# -- limits, disabled sources --------------------------------------------------------------------------


@pytest.mark.parametrize("in_header", [True, False])
async def test_strict_limits_are_segments_own(in_header: bool) -> None:
    async with running() as server:
        small = {"type": "track", "event": "A", "userId": "u", "properties": {"x": "y" * 20_000}}
        body = {"batch": [small] * 30, "writeKey": KEY}  # about 600 KB
        assert (await server.post("/v1/batch", body, key=KEY if in_header else None))[0] == 200
        server.ingest.apply(settings(strict_limits=True))
        status, document = await server.post("/v1/batch", body, key=KEY if in_header else None)
        assert (status, document["code"]) == (400, "too_large")
        assert "512000" in document["message"]
        assert len(server.lines) == 30


@pytest.mark.parametrize("in_header", [True, False])
async def test_a_disabled_source_is_answered_as_configured(in_header: bool) -> None:
    async with running() as server:
        for status in (200, 401):
            server.ingest.apply(settings({"disabled_source": status}, enabled=False))
            body = {**TRACK, "writeKey": KEY}
            answered = await server.post("/v1/track", body, key=KEY if in_header else None)
            assert answered[0] == status
        assert answered[1]["code"] == "source_disabled"
        assert server.lines == []
        assert server.metrics.get(names.NOTED, "source_disabled") == 1


# -- keys ----------------------------------------------------------------------------------------------


async def test_the_last_use_of_each_key_is_known() -> None:
    clock = FakeClock()
    async with running(clock) as server:
        await server.post("/v1/track", TRACK)
        clock.wall_ms += 60_000
        await server.post("/v1/track", {**TRACK, "writeKey": "second"}, key=None)
        await server.post("/v1/track", TRACK, key="nobody's")
        uses = server.ingest.keys.report([KEY, "second", "third"])
        start = 1_700_000_000_000
        assert [(use["last_ms"], use["requests"]) for use in uses] == [
            (start, 1),
            (start + 60_000, 1),
            (None, 0),
        ]


def test_uses_of_an_earlier_run_go_on() -> None:
    first = KeyUse()
    first.note("a", 5)
    first.note("b", 6)
    second = KeyUse(first.all())
    assert not second.changed
    second.note("a", 9)
    assert [(use["first_ms"], use["last_ms"], use["requests"]) for use in second.report("abc")] == [
        (5, 9, 2),
        (6, 6, 1),
        (None, None, 0),
    ]
    assert set(second.all()) == set(first.all())


# -- what clients say of themselves --------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-Retry-Count", "Rsa-Retry-Attempt"])
async def test_requests_that_are_sent_again_are_counted_and_noted(header: str) -> None:
    async with running() as server:
        await server.post("/v1/track", TRACK, headers={header: "0"})
        await server.post("/v1/track", TRACK, headers={header: "3"})
        assert [line["via"].get("retry", 0) for line in server.lines] == [0, 3]
        assert server.metrics.get(names.CLIENT_RETRIES, "website") == 1
