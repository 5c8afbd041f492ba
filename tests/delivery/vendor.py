"""A vendor on the loopback that behaves as it is told, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiohttp import web
from msgspec import Struct


class Reply(Struct):
    """An answer: a status with headers and body; or none at all (`hang`, `reset`)."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b"{}"
    instead: Literal["", "hang", "reset"] = ""


HANG = Reply(instead="hang")
RESET = Reply(instead="reset")


class Request(Struct):
    """What came in; the body as it was before compression."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        decoded = json.loads(self.body)
        return decoded if isinstance(decoded, list) else [decoded]


class Vendor:
    """`script` is used up reply by reply; then `otherwise` for every request."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.otherwise = Reply()
        self.requests: list[Request] = []
        self.took: list[str] = []
        """messageIds of what was answered 200."""
        self.url = ""
        self.released = asyncio.Event()
        """Set: requests that hang are answered."""

    def replies(self, *replies: int | Reply) -> None:
        self.script.extend(Reply(reply) if isinstance(reply, int) else reply for reply in replies)

    @property
    def got(self) -> list[str]:
        """messageIds of all that was sent, whatever was answered."""
        return [event["messageId"] for request in self.requests for event in request.events]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        seen = Request(request.method, request.path, request.headers.copy(), await request.read())
        self.requests.append(seen)
        reply = self.script.popleft() if self.script else self.otherwise
        if reply.instead == "reset":
            assert request.transport is not None
            request.transport.abort()
        elif reply.instead == "hang":
            await self.released.wait()
        elif reply.status == 200:
            self.took += [event.get("messageId", "") for event in seen.events]
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


@asynccontextmanager
async def vendor() -> AsyncIterator[Vendor]:
    """A running vendor."""
    it = Vendor()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", it.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    try:
        yield it
    finally:
        it.released.set()
        await runner.cleanup()
