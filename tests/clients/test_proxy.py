"""The proxy that the tests of clients stand on does what its faults say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import anyio
import pytest
from aiohttp import web

from tests.clients.proxy import RESET, RESET_AFTER, Delay, Fault, proxy


@asynccontextmanager
async def upstream() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that takes everything; its address and the bodies that it got."""
    got: list[bytes] = []

    async def take(request: web.BaseRequest) -> web.Response:
        got.append(await request.read())
        return web.json_response({"success": True})

    runner = web.ServerRunner(web.Server(take), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}", got
    finally:
        await runner.cleanup()


def batch(*ids: str) -> bytes:
    return json.dumps({"batch": [{"messageId": name} for name in ids]}).encode()


async def test_each_fault_holds_for_one_request_and_preflights_go_through() -> None:
    async with (
        upstream() as (target, got),
        proxy(target) as between,
        aiohttp.ClientSession(between.url) as client,
    ):
        between.faults.append(Fault(status=429, headers={"Retry-After": "1"}))
        async with client.options("/v1/batch") as answer:
            assert answer.status == 200
        async with client.post("/v1/m", data=b"{}") as answer:
            assert answer.status == 200
        origin = {"Origin": "http://shop.example"}
        async with client.post("/v1/batch", data=batch("a"), headers=origin) as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["Access-Control-Allow-Origin"] == "http://shop.example"
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
        assert batch("a") not in got
        async with client.post("/v1/batch", data=batch("a", "b")) as answer:
            assert answer.status == 200
        assert batch("a", "b") in got
        assert between.answers() == [429, 200]
        assert [event["messageId"] for event in between.events()] == ["a", "b"]


@pytest.mark.parametrize(("fault", "heard"), [(RESET, False), (RESET_AFTER, True)], ids=["before", "after"])
async def test_a_reset_loses_the_request_or_the_answer(fault: Fault, heard: bool) -> None:
    async with (
        upstream() as (target, got),
        proxy(target) as between,
        aiohttp.ClientSession(between.url) as client,
    ):
        between.faults.append(fault)
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.post("/v1/batch", data=batch("a"))
        assert got == ([batch("a")] if heard else [])
        assert [(request.status, request.daemon) for request in between.posts()] == [(0, 200 if heard else 0)]


@pytest.mark.parametrize("before", [False, True], ids=["answer", "request"])
async def test_it_is_held_back_until_it_is_released(before: bool) -> None:
    async with (
        upstream() as (target, got),
        proxy(target) as between,
        aiohttp.ClientSession(between.url) as client,
    ):
        delay = Delay(before=before)
        between.faults.append(delay)
        async with anyio.create_task_group() as tasks:

            async def release() -> None:
                await delay.held.wait()
                assert got == ([] if before else [batch("a")])
                assert between.answers() == [0]
                delay.release()

            tasks.start_soon(release)
            async with client.post("/v1/batch", data=batch("a")) as answer:
                assert answer.status == 200
        assert got == [batch("a")]


async def test_a_client_may_give_up_on_a_held_answer() -> None:
    async with (
        upstream() as (target, got),
        proxy(target) as between,
        aiohttp.ClientSession(between.url) as client,
    ):
        delay = Delay()
        between.faults.append(delay)
        async with anyio.create_task_group() as tasks:

            async def give_up() -> None:
                await delay.held.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(give_up)
            await client.post("/v1/batch", data=batch("a"))
        assert got == [batch("a")]
        assert between.answers() == [0]
        async with client.post("/v1/batch", data=batch("a")) as answer:
            assert answer.status == 200


async def test_a_daemon_that_is_down_is_a_connection_that_ends() -> None:
    async with proxy("http://127.0.0.1:1") as between, aiohttp.ClientSession(between.url) as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.post("/v1/batch", data=batch("a"))
        assert between.answers() == [0]
