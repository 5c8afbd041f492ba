"""A real browser, and the customer's own site for it: another origin than the daemon, so that CORS is real."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
from aiohttp import web
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.running import PATIENCE
from tests.services import node_modules, program

_LONGEST = 10_000_000
PAGES = Path(__file__).with_name("page")


class Browser:
    """One page in headless Chromium, which reaches nothing but this machine."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to = process.stdin
        self._from = BufferedByteReceiveStream(process.stdout)

    async def _do(self, command: str, **options: object) -> Any:
        with anyio.fail_after(PATIENCE):
            await self._to.send(json.dumps({"do": command, **options}).encode() + b"\n")
            answer = json.loads(await self._from.receive_until(b"\n", _LONGEST))
        if "error" in answer:
            raise AssertionError(f"{command}: {answer['error']}")
        return answer["result"]

    async def open(self, url: str) -> None:
        """Go to a page and wait until it has loaded; the page before is unloaded."""
        await self._do("goto", url=url)

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page; a promise's once it is there."""
        return await self._do("evaluate", script=script)

    async def offline(self, offline: bool) -> None:
        """Take the network away, or give it back; the page is told."""
        await self._do("offline", offline=offline)

    async def hosts(self) -> set[str]:
        """Every `host:port` that was asked for anything."""
        asked = (await self._do("seen"))["asked"]
        return {urlsplit(one["url"]).netloc for one in asked if one["url"].startswith("http")}

    async def asked(self, host: str) -> list[str]:
        """The paths of GETs to `host` (an address with its scheme), in order."""
        seen = (await self._do("seen"))["asked"]
        return [
            urlsplit(one["url"]).path
            for one in seen
            if one["method"] == "GET" and one["url"].startswith(host)
        ]

    async def problems(self) -> list[str]:
        """What the console shows as errors."""
        found: list[str] = (await self._do("seen"))["problems"]
        return found


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A browser with a profile of its own."""
    node, chromium, modules = program("node", "nodejs"), program("chromium"), node_modules()
    script = Path(__file__).with_name("browser.mjs")
    process = await anyio.open_process([node, str(script), str(modules), chromium], stderr=None)
    try:
        yield Browser(process)
        assert process.stdin is not None
        await process.stdin.aclose()
        with anyio.fail_after(PATIENCE):
            await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()  # playwright takes Chromium with it
        with anyio.CancelScope(shield=True):
            await process.aclose()


@asynccontextmanager
async def website(pages: Mapping[str, str], **folders: Path) -> AsyncIterator[str]:
    """A site with these HTML pages (by name, without `.html`) and folders; its address."""

    async def page(request: web.Request) -> web.Response:
        text = pages.get(request.match_info["name"])
        if text is None:
            return web.Response(status=404)
        return web.Response(text=text, content_type="text/html")

    async def nothing(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    for name, folder in folders.items():
        app.router.add_static(f"/{name}", folder)
    app.router.add_get("/favicon.ico", nothing)
    app.router.add_get("/{name}.html", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def own_hosts(*urls: str) -> set[str]:
    """`host:port` of each address."""
    return {urlsplit(url).netloc for url in urls}
