"""`@segment/analytics-next` from npm in headless Chromium, with nothing but the daemon's address."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import anyio
import pytest
from aiohttp import web

from tests.clients.proxy import proxy
from tests.clients.same import assert_each_once
from tests.running import running
from tests.services import node_modules, program

PAGES = Path(__file__).with_name("page")


def config(public_url: str) -> str:
    return f"""
[http]
public_url = "{public_url}"

[sources.website]
write_keys = ["wk_clients_browser"]
"""


@asynccontextmanager
async def website(sdk: Path) -> AsyncIterator[str]:
    """The customer's own site: another origin than the daemon."""
    app = web.Application()
    app.router.add_static("/sdk", sdk)
    app.router.add_static("/", PAGES)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("strategy", ["standard", "batching"])
async def test_the_six_calls_arrive_once_and_the_browser_talks_to_no_other_host(
    tmp_path: Path, strategy: str
) -> None:
    node, chromium, modules = program("node"), program("chromium"), node_modules()
    script = Path(__file__).with_name("browse.mjs")
    async with proxy("") as between, website(modules / "@segment/analytics-next/dist/umd") as site:
        async with running(tmp_path, config(between.url)) as daemon:
            between.target = daemon.url
            query = urlencode({"host": between.url, "key": "wk_clients_browser", "strategy": strategy})
            page = f"{site}/index.html?{query}"
            done = await anyio.run_process([node, str(script), str(modules), chromium, page])
            browser = json.loads(done.stdout)
            assert browser["result"] == "sent"
            assert [p for p in browser["problems"] if "favicon" not in p and "404" not in p] == []
            stored = await daemon.wait_for("events", 6)
            assert_each_once(between, stored)
            assert all(event["context"]["ip"] == "127.0.0.1" for event in stored)
            paths = {request.path for request in between.sent if request.method == "POST"}
            assert paths == (
                {"/v1/b"}
                if strategy == "batching"
                else {"/v1/i", "/v1/t", "/v1/p", "/v1/s", "/v1/g", "/v1/a"}
            )
        hosts = {urlsplit(url).netloc for url in browser["urls"] if url.startswith("http")}
        assert hosts == {urlsplit(site).netloc, urlsplit(between.url).netloc}
