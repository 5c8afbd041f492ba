"""Access tokens: asked for once, renewed in time or when refused, changed refresh tokens kept."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl

import aiohttp
import anyio
import pytest

from cdpd.destinations.actions.client import Client
from cdpd.destinations.actions.oauth import OAuth2, OAuth2Config
from cdpd.destinations.actions.trouble import InvalidAuthenticationError, RetryableError
from cdpd.destinations.contract import DestinationEnv
from cdpd.secret import Secret
from cdpd.testing import FakeClock, KeptLog, Reply, Vendor, running_vendor


def token(name: str, **more: str) -> Reply:
    fields = "".join(f',"{key}":"{value}"' for key, value in more.items())
    return Reply(body=f'{{"access_token":"{name}","token_type":"bearer","expires_in":3600{fields}}}'.encode())


class Rig:
    def __init__(self, env: DestinationEnv, vendor: Vendor, clock: FakeClock) -> None:
        self.env = env
        self.vendor = vendor
        self.clock = clock

    def oauth(self, **options: object) -> OAuth2:
        config = OAuth2Config(
            token_url=self.vendor.url + "/token", client_id="me", client_secret=Secret("s3cr3t"), **options
        )  # type: ignore[arg-type]
        return OAuth2(config, self.env)

    def forms(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(request.body.decode())) for request in self.vendor.requests]


@asynccontextmanager
async def rig(folder: Path) -> AsyncIterator[Rig]:
    clock = FakeClock()
    async with running_vendor() as vendor, aiohttp.ClientSession() as http:
        yield Rig(DestinationEnv("radio", http, folder, clock, KeptLog().log), vendor, clock)


async def test_a_token_is_asked_for_once_and_again_before_it_ends(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        it.vendor.replies(token("t1"), token("t2"))
        oauth = it.oauth(scope="read write")
        assert await oauth.header(anew=False) == "Bearer t1"
        assert await oauth.header(anew=False) == "Bearer t1"
        await it.clock.advance(3541)
        assert await oauth.header(anew=False) == "Bearer t2"
        assert it.forms() == [{"grant_type": "client_credentials", "scope": "read write"}] * 2
        pair = base64.b64decode(it.vendor.requests[0].headers["Authorization"].removeprefix("Basic "))
        assert pair == b"me:s3cr3t"


async def test_many_that_wait_for_a_token_ask_once(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        it.vendor.replies(token("t1"), token("t2"))
        oauth = it.oauth()
        heads: list[str] = []

        async def ask(anew: bool) -> None:
            heads.append(await oauth.header(anew=anew))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask, False)
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask, True)
        assert heads == ["Bearer t1"] * 5 + ["Bearer t2"] * 5
        assert len(it.vendor.requests) == 2


async def test_a_refused_token_is_renewed_once_and_the_request_made_again(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        client = Client(it.env)
        client.authorization = it.oauth(credentials="form")
        it.vendor.replies(token("t1"), 401, token("t2"), 200)
        answer = await client.send("POST", it.vendor.url + "/songs", json={"a": 1})
        assert answer.status == 200
        assert [request.headers.get("Authorization") for request in it.vendor.requests] == [
            None, "Bearer t1", None, "Bearer t2",
        ]  # fmt: skip
        assert it.forms()[0] == {
            "grant_type": "client_credentials",
            "client_id": "me",
            "client_secret": "s3cr3t",
        }
        it.vendor.replies(401, token("t3"), 401)
        assert (await client.send("POST", it.vendor.url, json=1)).status == 401


async def test_a_changed_refresh_token_is_kept_over_a_restart_until_another_is_configured(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as it:
        it.vendor.replies(*[token("t", refresh_token=f"r{n}") for n in range(2, 9)])
        await it.oauth(refresh_token=Secret("r1")).header(anew=False)
        await it.oauth(refresh_token=Secret("r1")).header(anew=False)
        await it.oauth(refresh_token=Secret("new")).header(anew=False)
        assert [form["refresh_token"] for form in it.forms()] == ["r1", "r2", "new"]
        assert (tmp_path / "oauth.json").stat().st_mode & 0o777 == 0o600


async def test_a_refusal_means_bad_credentials_and_trouble_a_retry(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        it.vendor.replies(Reply(400, body=b'{"error":"invalid_grant","error_description":"r1 is old"}'))
        with pytest.raises(
            InvalidAuthenticationError, match=r"OAUTH_REFRESH_FAILED: no token: 400 invalid_grant$"
        ):
            await it.oauth(refresh_token=Secret("r1")).header(anew=False)
        for reply in (Reply(503), Reply(429), Reply(200, body=b"<html>")):
            it.vendor.replies(reply)
            with pytest.raises(RetryableError):
                await it.oauth().header(anew=False)


async def test_a_kept_token_that_a_disk_has_damaged_is_as_none(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        for damage in (b"\xff\xfe", b"{", b'{"refresh_token":7}', b'{"refresh_token":"\xff","given":"r1"}'):
            (tmp_path / "oauth.json").write_bytes(damage)
            it.vendor.replies(token("t1"))
            assert await it.oauth(refresh_token=Secret("r1")).header(anew=False) == "Bearer t1"
        assert [form["refresh_token"] for form in it.forms()] == ["r1"] * 4
