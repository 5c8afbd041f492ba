"""The vendor of the scenarios: checks what it gets, and has a port of its own whether it listens or not."""

from __future__ import annotations

import json
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from cdpd.testing import Reply, Request, Vendor


def seal(message_id: str, filler: str) -> int:
    """What stands in each event beside its id, so that a changed one is noticed."""
    return zlib.crc32(f"{message_id} {filler}".encode())


def intact(event: dict[str, Any]) -> bool:
    """Whether an event is as it was sent."""
    properties = event.get("properties") or {}
    return bool(properties.get("seal") == seal(event.get("messageId", ""), properties.get("filler", "")))


class Receiver(Vendor):
    """A Vendor that refuses single events where it is told to, and may be away altogether."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []
        """Ids of events with another content than was sent."""
        self.refuses_bad = False
        """Requests with an event whose `properties.bad` is true are answered 400."""
        self.most_events: int | None = None
        """Requests with more are answered 413."""
        self.seen: Callable[[Request], None] = lambda _: None
        """Hears of each request."""
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port: int = self._place.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/in"
        self._runner: web.AppRunner | None = None

    def reply_to(self, request: Request) -> Reply:
        self.seen(request)
        events = request.events
        self.foreign += [str(event.get("messageId")) for event in events if not intact(event)]
        if self.script:
            return self.script.popleft()
        if self.refuses_bad and any(event["properties"].get("bad") for event in events):
            return Reply(400, body=json.dumps({"error": "bad is no property"}).encode())
        if self.most_events is not None and len(events) > self.most_events:
            return Reply(413)
        return self.otherwise

    async def open(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen on its port."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self.answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        await web.SockSite(self._runner, listener, ssl_context=tls).start()

    async def close(self) -> None:
        """Cut every connection, and refuse new ones."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def sent_around(self, request: int, at_once: int) -> Sequence[str]:
        """Ids in that many requests before the one of that number, and after it."""
        some = self.requests[max(request - at_once, 0) : request + at_once]
        return [str(event["messageId"]) for one in some for event in one.events]


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver inside the `with`, not listening yet."""
    it = Receiver()
    try:
        yield it
    finally:
        it.released.set()
        await it.close()
        it._place.close()
