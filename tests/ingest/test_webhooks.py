"""`POST /v1/fn/WRITE_KEY`: who may send what to a source's function, and what it is told of the request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import structlog

from cdpd.config.address import Listen
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.refusal import Refused
from cdpd.ingest.server import serve
from cdpd.ingest.settings import IngestSettings, KnownSource
from cdpd.metrics import Metrics
from tests.clock import FakeClock
from tests.ingest.running import KEY, FakeLog, Running, basic, config

JSON = {"Content-Type": "application/json"}


class Taken(msgspec.Struct):
    source: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    via: dict[str, Any]


class Functions:
    """The source `website` and the disabled one have a function, which remembers what it gets."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.refusal: Refused | None = None

    def has(self, source: str) -> bool:
        return source in ("website", "off")

    async def take(
        self,
        source: KnownSource,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        via: bytes,
        settings: IngestSettings,
    ) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(Taken(source.name, url, headers, body, msgspec.json.decode(via)))


@asynccontextmanager
async def webhooks(functions: Functions | None) -> AsyncIterator[Running]:
    import aiohttp

    log, metrics = FakeLog(), Metrics()
    ingest = Ingest(
        settings=IngestSettings.of(config(), 7),
        append=log.append,
        clock=FakeClock(),
        metrics=metrics,
        log=structlog.get_logger(),
        ready=lambda: None,
        functions=functions,
    )
    async with (
        serve(ingest, [Listen("127.0.0.1", 0)]) as bound,
        aiohttp.ClientSession() as client,
    ):
        yield Running(ingest, log, metrics, bound[0], client)


async def test_a_request_reaches_the_function_whole_and_without_the_write_key() -> None:
    functions = Functions()
    async with webhooks(functions) as server:
        headers = {**JSON, "Stripe-Signature": "t=1"}
        answer = await server.post(f"/v1/fn/{KEY}?a=1", b'{"b":1}', headers=headers, key=None)
        host = server.bound.url.removeprefix("http://")
    assert answer == (200, {"success": True})
    (taken,) = functions.taken
    assert (taken.source, taken.body) == ("website", b'{"b":1}')
    assert taken.url == f"http://{host}/v1/fn/website?a=1"
    assert taken.headers["stripe-signature"] == "t=1"
    assert taken.via["path"] == "/v1/fn"
    assert KEY not in str(taken)


@pytest.mark.parametrize(
    ("path", "headers"),
    [(f"/v1/fn/{KEY}/", {}), ("/v1/fn", basic()), (f"/v1/fn?writeKey={KEY}", {})],
)
async def test_the_write_key_may_stand_in_path_header_or_query(path: str, headers: dict[str, str]) -> None:
    functions = Functions()
    async with webhooks(functions) as server:
        status, _ = await server.post(path, b"{}", headers={**JSON, **headers}, key=None)
    assert (status, len(functions.taken)) == (200, 1)


@pytest.mark.parametrize(
    ("path", "kind", "body", "status", "code"),
    [
        (f"/v1/fn/{KEY}", "application/x-www-form-urlencoded; charset=utf-8", b"a=1", 200, None),
        (f"/v1/fn/{KEY}", "text/plain", b"{}", 415, "unsupported_content_type"),
        (f"/v1/fn/{KEY}", "application/json", b" " * (512 * 1024), 200, None),
        (f"/v1/fn/{KEY}", "application/json", b" " * (512 * 1024 + 1), 400, "too_large"),
        ("/v1/fn/nobody", "application/json", b"{}", 401, "unknown_source"),
        ("/v1/fn", "application/json", b"{}", 401, "missing_write_key"),
        ("/v1/fn/a/b", "application/json", b"{}", 404, "not_found"),
    ],
)
async def test_what_is_taken_and_what_is_refused(
    path: str, kind: str, body: bytes, status: int, code: str | None
) -> None:
    async with webhooks(Functions()) as server:
        answer = await server.post(path, body, headers={"Content-Type": kind}, key=None)
    assert (answer[0], answer[1].get("code")) == (status, code)


async def test_only_post_is_possible() -> None:
    async with webhooks(Functions()) as server, server.http.get(f"{server.bound.url}/v1/fn/{KEY}") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST, OPTIONS"


async def test_a_disabled_source_answers_success_and_runs_nothing() -> None:
    functions = Functions()
    async with webhooks(functions) as server:
        status, _ = await server.post("/v1/fn/offkey", b"{}", headers=JSON, key=None)
    assert (status, functions.taken) == (200, [])


async def test_a_source_without_a_function_says_so() -> None:
    async with webhooks(None) as server:
        status, told = await server.post(f"/v1/fn/{KEY}", b"{}", headers=JSON, key=None)
    assert (status, told["code"]) == (404, "no_function")


async def test_a_full_disk_refuses_webhooks_too() -> None:
    functions = Functions()
    async with webhooks(functions) as server:
        server.ingest.close_for(lambda: Refused(503, "disk_full", "full"))
        status, _ = await server.post(f"/v1/fn/{KEY}", b"{}", headers=JSON, key=None)
    assert (status, functions.taken) == (503, [])
