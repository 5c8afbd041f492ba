"""The OAuth clients in Segment's SDKs for Node and Python, unmodified, at a source that takes tokens only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.clients.proxy import Delay, Proxy, proxy
from tests.clients.six_calls import KEY, Sdk, segment_node, segment_python
from tests.clients.troubles import assert_stored_once
from tests.oauth.keys import private_pem, public_pem
from tests.running import PATIENCE, RunningDaemon, running

both = pytest.mark.parametrize("sdk", [segment_node, segment_python], ids=["node", "python"])
MakeSdk = Callable[[], Sdk]


@asynccontextmanager
async def source_with_an_app(folder: Path) -> AsyncIterator[tuple[RunningDaemon, Proxy]]:
    """A daemon whose source takes the tokens of one app, and a proxy before it that is its public address."""
    async with proxy("") as between:
        config = f"""
[http]
public_url = "{between.url}"

[oauth.billing]
keys = [{{ kid = "k1", pem = {json.dumps(public_pem())} }}]

[sources.website]
write_keys = ["{KEY}"]
oauth = ["billing"]
"""
        async with running(folder, config) as daemon:
            between.target = daemon.url
            yield daemon, between


def app(between: Proxy, key: str = "") -> dict[str, str]:
    """The app's settings in an SDK; `key`: the name of the private key."""
    return {"clientId": "billing", "clientKey": private_pem(key), "keyId": "k1", "authServer": between.url}


def token_requests(between: Proxy) -> list[int]:
    return [request.status for request in between.sent if request.path == "/token"]


def bearers(between: Proxy) -> set[str]:
    return {request.headers["authorization"] for request in between.posts()}


@both
async def test_the_six_calls_arrive_once_with_one_token(tmp_path: Path, sdk: MakeSdk) -> None:
    async with source_with_an_app(tmp_path) as (daemon, between):
        assert await sdk().six_calls(between.url, oauth=app(between)) == []
        await assert_stored_once(daemon, between)
        assert set(between.answers()) == {200}
        assert all(bearer.startswith("Bearer ") for bearer in bearers(between))


@both
async def test_a_token_that_is_revoked_on_the_way_is_replaced_and_each_event_arrives_once(
    tmp_path: Path, sdk: MakeSdk
) -> None:
    async with source_with_an_app(tmp_path) as (daemon, between):
        delay = Delay(before=True)
        between.faults.append(delay)
        async with anyio.create_task_group() as tasks:

            async def revoke_all() -> None:
                await delay.held.wait()
                ids = [token["id"] for token in (await cdpd(daemon, "tokens", "ls"))["tokens"]]
                revoked = await cdpd(daemon, "tokens", "revoke", *ids)
                assert revoked["revoked"] == ids
                delay.release()

            tasks.start_soon(revoke_all)
            assert await sdk().six_calls(between.url, oauth=app(between)) == []
        assert 511 in between.answers()
        assert len(bearers(between)) > 1
        await assert_stored_once(daemon, between)


@both
async def test_a_token_outlives_a_daemon_that_is_killed(tmp_path: Path, sdk: MakeSdk) -> None:
    async with source_with_an_app(tmp_path) as (daemon, between):
        delay = Delay(before=True)
        between.faults.append(delay)
        async with anyio.create_task_group() as tasks:

            async def start_again() -> None:
                await delay.held.wait()
                await daemon.kill()
                await daemon.start()
                between.target = daemon.url
                delay.release()

            tasks.start_soon(start_again)
            assert await sdk().six_calls(between.url, oauth=app(between)) == []
        assert 511 not in between.answers()
        assert between.posts()[0].status == 200
        await assert_stored_once(daemon, between)


@both
async def test_an_app_with_the_wrong_key_gets_no_token_and_its_events_are_dropped_and_reported(
    tmp_path: Path, sdk: MakeSdk
) -> None:
    async with source_with_an_app(tmp_path) as (daemon, between):
        assert await sdk().six_calls(between.url, retries=1, oauth=app(between, "another"))
        assert set(token_requests(between)) == {401}
        assert between.posts() == []
        assert daemon.lines("received") == []


@both
async def test_a_client_without_a_token_is_refused_and_its_events_are_dropped_and_reported(
    tmp_path: Path, sdk: MakeSdk
) -> None:
    async with source_with_an_app(tmp_path) as (daemon, between):
        assert await sdk().six_calls(between.url)
        assert set(between.answers()) == {401}
        assert daemon.lines("received") == []


async def cdpd(daemon: RunningDaemon, *arguments: str) -> Any:
    """What a command prints as JSON."""
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(daemon.command(*arguments, "--json"))
    return json.loads(done.stdout)
