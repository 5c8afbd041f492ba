"""A vendor on the loopback that answers as it is told, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from aiohttp import web
from msgspec import Struct


class Reply(Struct):
    """An answer: a status with headers and body; or none at all (`hang`, `reset`)."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b"{}"
    instead: Literal["", "hang", "reset"] = ""


HANG: Final = Reply(instead="hang")
"""No answer until the vendor is `released`."""
RESET: Final = Reply(instead="reset")
"""The connection is cut."""


class Request(Struct):
    """What came in; the body as it was before compression."""

    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str]
    """Look up without regard to case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded. Raises ValueError."""
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The body's JSON array; an object as the only one."""
        decoded = self.json
        return decoded if isinstance(decoded, list) else [decoded]


class Vendor:
    """`script` is used up reply by reply; then `otherwise` answers every request."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.otherwise = Reply()
        self.requests: list[Request] = []
        self.took: list[str] = []
        """messageIds of events in requests that were answered 200."""
        self.url = ""
        """Where it is, without a slash at the end; every path is answered."""
        self.released = asyncio.Event()
        """Set: requests that hang are answered."""

    def replies(self, *replies: int | Reply) -> None:
        """Answer the next requests so: each a Reply, or a status alone."""
        self.script.extend(Reply(reply) if isinstance(reply, int) else reply for reply in replies)

    @property
    def got(self) -> list[str]:
        """messageIds of all that was sent, whatever was answered."""
        return [message_id for request in self.requests for message_id in _message_ids(request)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers a request (aiohttp calls it)."""
        seen = Request(request.method, request.path_qs, request.headers.copy(), await request.read())
        self.requests.append(seen)
        reply = self.script.popleft() if self.script else self.otherwise
        if reply.instead == "reset":
            assert request.transport is not None
            request.transport.abort()
        elif reply.instead == "hang":
            await self.released.wait()
        elif reply.status == 200:
            self.took += _message_ids(seen)
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


def _message_ids(request: Request) -> list[str]:
    try:
        decoded = request.json
    except ValueError:
        return []
    events = decoded if isinstance(decoded, list) else [decoded]
    return [str(event.get("messageId", "")) for event in events if isinstance(event, dict)]


@asynccontextmanager
async def running_vendor(path: str = "") -> AsyncIterator[Vendor]:
    """A vendor that runs inside the `with`; `path` is put after its `url`."""
    it = Vendor()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", it.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
    try:
        yield it
    finally:
        it.released.set()
        await runner.cleanup()
