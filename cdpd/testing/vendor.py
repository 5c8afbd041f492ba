"""A vendor on the loopback that answers as it is told, well or badly, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Literal, TypeVar

from aiohttp import web
from msgspec import Struct


class Reply(Struct):
    """An answer: a status with headers and body; or none at all (`hang`, `reset`), or half of one (`cut`)."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b"{}"
    instead: Literal["", "hang", "reset", "cut"] = ""
    delay: float = 0.0
    """Seconds before it is sent; a client that has gone by then never hears it."""
    length: int | None = None
    """What `Content-Length` says, where that is not the length of the body; the connection is closed after it."""
    closes: bool = False
    """The connection is closed after it, unannounced: the client may be about to use it again."""


HANG: Final = Reply(instead="hang")
"""No answer until the vendor is `released`."""
RESET: Final = Reply(instead="reset")
"""The connection is cut before an answer; the events were not taken."""
CUT: Final = Reply(instead="cut")
"""The events were taken, but the connection ends in the middle of the answer: nobody can know."""
REDIRECT_LOOP: Final = Reply(307, {"Location": "?again"})
"""Always on to the same place."""


def retry_after(seconds: int, status: int = 429) -> Reply:
    """It asks to wait so many seconds."""
    return Reply(status, {"Retry-After": str(seconds)})


def retry_after_date(at: float, status: int = 429) -> Reply:
    """It asks to wait until a time (seconds since the epoch; whole ones, as HTTP dates have no others)."""
    return Reply(status, {"Retry-After": formatdate(at, usegmt=True)})


def huge(status: int = 200, size: int = 10 * 1024 * 1024) -> Reply:
    """An answer of so many bytes."""
    return Reply(status, {"Content-Type": "text/html"}, b"<p>" * (size // 3))


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


V = TypeVar("V", bound="Vendor")


class Vendor:
    """`script` is used up reply by reply; then `otherwise` answers every request."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.otherwise = Reply()
        self.requests: list[Request] = []
        self.took: list[str] = []
        """messageIds of events in requests that were answered 200, or would have been where the answer broke off."""
        self.unheard: list[str] = []
        """Those of them whose answer did not reach the client whole, as far as the vendor can tell."""
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
        reply = self.reply_to(seen)
        assert request.transport is not None
        if reply.instead == "reset":
            request.transport.abort()
        elif reply.instead == "hang":
            await self.released.wait()
        elif reply.status == 200:
            await self._take(seen, reply)
        else:
            await asyncio.sleep(reply.delay)
        if reply.instead == "cut" or reply.length is not None:
            request.transport.write(_raw(reply))
            request.transport.close()
        response = web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        if reply.closes:
            await response.prepare(request)
            await response.write_eof()
            request.transport.close()
        return response

    def reply_to(self, request: Request) -> Reply:  # noqa: ARG002 - for subclasses
        """The next of the script; subclasses may look at the request instead."""
        return self.script.popleft() if self.script else self.otherwise

    async def _take(self, request: Request, reply: Reply) -> None:
        """The events are the vendor's from here on, whatever becomes of the answer."""
        ids = _message_ids(request)
        self.took += ids
        broken = reply.instead == "cut" or reply.length not in (None, len(reply.body))
        if broken:
            self.unheard += ids
        try:
            await asyncio.sleep(reply.delay)
        except asyncio.CancelledError:  # the client has gone
            if not broken:
                self.unheard += ids
            raise


def _raw(reply: Reply) -> bytes:
    """An answer that aiohttp would not send: half of it, or of another length than it says."""
    length = len(reply.body) if reply.length is None else reply.length
    headers = {**reply.headers, "Content-Length": str(length)}
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    body = reply.body[: len(reply.body) // 2] if reply.instead == "cut" else reply.body
    return "\r\n".join([*lines, "", ""]).encode() + body


def _message_ids(request: Request) -> list[str]:
    try:
        decoded = request.json
    except ValueError:
        return []
    events = decoded if isinstance(decoded, list) else [decoded]
    return [str(event.get("messageId", "")) for event in events if isinstance(event, dict)]


@asynccontextmanager
async def running_vendor(path: str = "", kind: type[V] = Vendor) -> AsyncIterator[V]:  # type: ignore[assignment]  # the default fits the bound
    """A vendor that runs inside the `with`; `path` is put after its `url`. `kind`: one of your own, which may answer by
    what it is sent."""
    it = kind()
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
