"""A proxy between a real client and the daemon that keeps what the client sent, byte for byte."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from msgspec import Struct

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade"}


class Sent(Struct, frozen=True):
    """A request that went through."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    def json(self) -> Any:
        gzipped = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if gzipped else self.body)


class Proxy:
    """Forwards everything to `target`; `url` is where clients send to."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.sent: list[Sent] = []

    def events(self) -> list[dict[str, Any]]:
        """Every event that was sent and answered 200, envelope values merged in as the daemon is to do."""
        found: list[dict[str, Any]] = []
        for request in self.sent:
            if request.method != "POST" or request.status != 200 or request.path.rstrip("/").endswith("/m"):
                continue
            body = request.json()
            if "batch" not in body:
                found.append(body)
                continue
            for event in body["batch"]:
                context = {**body.get("context", {}), **(event.get("context") or {})}
                found.append({**event, **({"context": context} if context else {})})
        return found


@asynccontextmanager
async def proxy(target: str) -> AsyncIterator[Proxy]:
    """A running proxy."""
    through = Proxy(target)
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def forward(request: web.BaseRequest) -> web.StreamResponse:
            body = await request.content.read()
            headers = {k.lower(): v for k, v in request.headers.items()}
            passed = {k: v for k, v in headers.items() if k not in _HOP}
            async with session.request(
                request.method,
                through.target + request.path_qs,
                headers=passed,
                data=body,
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
                through.sent.append(Sent(request.method, request.path, headers, body, answer.status))
                return web.Response(status=answer.status, body=content, headers=kept)

        # The low-level server leaves bodies as they are: no inflating on the way through.
        server = web.Server(forward, auto_decompress=False)
        runner = web.ServerRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        through.url = f"http://{host}:{port}"
        try:
            yield through
        finally:
            await runner.cleanup()
