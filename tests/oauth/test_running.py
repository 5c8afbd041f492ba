"""OAuth in a running daemon: tokens over HTTP, through a reload, a revocation and `kill -9`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.cli.conftest import in_a_process
from tests.running import RunningDaemon, running

from .keys import claims, form, public_pem, signed

CONFIG = """
[http]
public_url = "https://cdp.example.com"

[oauth.billing]
keys = [{ kid = "k1", file = "public.pem" }]

[sources.server]
write_keys = ["wk_server_4f1c"]
oauth = ["billing"]
"""
WITHOUT = '[sources.server]\nwrite_keys = ["wk_server_4f1c"]\noauth = []\n'


async def post(daemon: RunningDaemon, path: str, data: bytes, **headers: str) -> tuple[int, Any, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(daemon.url + path, data=data, headers=headers) as answer,
    ):
        return answer.status, await answer.json(), answer.headers


async def token(daemon: RunningDaemon, path: str = "/token") -> str:
    """As SDKs get one."""
    body = form(signed(claims(time.time(), aud="https://cdp.example.com")))
    status, document, headers = await post(
        daemon, path, body, **{"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert status == 200, document
    assert headers["Cache-Control"] == "no-store"
    assert "Date" in headers
    return str(document["access_token"])


async def send(daemon: RunningDaemon, token: str, key: str = "wk_server_4f1c") -> int:
    event = json.dumps({"writeKey": key, "userId": "u1", "type": "track", "event": "E"})
    status, _, _ = await post(daemon, "/v1/track", event.encode(), Authorization=f"Bearer {token}")
    return status


async def cdpd(daemon: RunningDaemon, *arguments: str) -> str:
    def run() -> str:
        ran = in_a_process(*arguments, "--data-dir", daemon.data, "--config", daemon.config)
        assert ran.code == 0, ran
        return ran.out

    return await asyncio.to_thread(run)


def folder_with_key(folder: Path) -> Path:
    (folder / "public.pem").write_text(public_pem())
    return folder


async def test_tokens_are_served_wherever_sdks_ask_and_outlive_kill_9(tmp_path: Path) -> None:
    async with running(folder_with_key(tmp_path), CONFIG) as daemon:
        for path in ("/token", "/v1/token", "/oauth/token", "/v1/oauth/token"):
            got = await token(daemon, path)
        assert await send(daemon, got) == 200
        await daemon.kill()
        await daemon.start()
        assert await send(daemon, got) == 200
        assert (await cdpd(daemon, "tokens", "ls", "billing")).count("good") == 4


async def test_a_revoked_token_and_one_of_a_removed_app_end_at_once(tmp_path: Path) -> None:
    async with running(folder_with_key(tmp_path), CONFIG) as daemon:
        first, second = await token(daemon), await token(daemon)
        assert await cdpd(daemon, "tokens", "revoke", first) == "1 token revoked\n"
        assert await send(daemon, first) == 511  # at which SDKs ask for a new one and send the same again
        assert await send(daemon, second) == 200
        daemon.config.write_text(CONFIG.replace("k1", "k2"))  # the same key under another name
        await cdpd(daemon, "reload")
        assert await send(daemon, second) == 200
        daemon.config.write_text(WITHOUT)
        await cdpd(daemon, "reload")
        assert "app not configured" in await cdpd(daemon, "tokens", "ls")
        daemon.config.write_text(CONFIG)
        await cdpd(daemon, "reload")
        assert await send(daemon, first) == 511


async def test_apps_may_come_with_a_reload(tmp_path: Path) -> None:
    async with running(folder_with_key(tmp_path), WITHOUT) as daemon:
        status, _, _ = await post(daemon, "/token", form())
        assert status == 404
        assert not (daemon.data / "oauth.db").exists()
        daemon.config.write_text(CONFIG)
        await cdpd(daemon, "reload")
        assert await send(daemon, await token(daemon)) == 200
        assert await send(daemon, "nonsense") == 511


def test_what_verifies_signatures_is_loaded_only_where_there_are_apps() -> None:
    script = (
        "import sys, cdpd.daemon, cdpd.config.load; "
        "print([name for name in ('jwt', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
