"""One connection: aiohttp's request handler, with deadlines for slow clients and answers of our own on errors.

aiohttp has no time-out for a header or body that trickles in; connections note here since when they wait and
for what, and one sweep a second over all of them ends those that are late. That costs a request two
assignments instead of a timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

from aiohttp import StreamReader
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web import BaseRequest, RequestHandler, StreamResponse

from cdpd.clock import Clock
from cdpd.ingest.cors import FOR_ANYBODY
from cdpd.ingest.refusal import Refused
from cdpd.ingest.settings import IngestSettings

SWEEP: Final = 1.0
"""Seconds between two sweeps: how late a deadline may be noticed."""
MAX_LINE: Final = 16 * 1024
"""Bytes of a request line or one header field; pixels need 8 KiB of query (wire.md §6)."""
_HEADER_TOO_SLOW: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
    + FOR_ANYBODY
    + b'\r\n{"success":false,"code":"timeout","message":"the header came too slowly",'
    b'"error":"the header came too slowly"}'
)


class Phase(IntEnum):
    """What a connection is doing."""

    IDLE = 0
    HEADER = 1
    BODY = 2
    WORKING = 3
    LINGERING = 4


class BodyTooSlow(Refused):
    """The body did not come within body_timeout."""

    def __init__(self) -> None:
        super().__init__(408, "timeout", "the body came too slowly; send it again", close=True)


ErrorAnswer = Callable[[BaseRequest, Refused], StreamResponse]
Unexpected = Callable[[BaseRequest, BaseException], None]


class Watch:
    """What all connections of a server share: the time, and how errors are answered."""

    def __init__(
        self, clock: Clock, settings: IngestSettings, answer: ErrorAnswer, unexpected: Unexpected
    ) -> None:
        self._clock = clock
        self.settings = settings
        self.answer = answer
        self.unexpected = unexpected
        self.now = clock.monotonic()
        """As of the last sweep."""
        self.connections: set[Connection] = set()

    async def sweep(self) -> None:
        """End late connections, until cancelled."""
        while True:
            await self._clock.sleep(SWEEP)
            self.now = self._clock.monotonic()
            settings = self.settings
            limits = {
                Phase.IDLE: settings.keepalive_timeout,
                Phase.HEADER: settings.header_timeout,
                Phase.BODY: settings.body_timeout,
                Phase.LINGERING: settings.body_timeout,
            }
            for connection in list(self.connections):
                limit = limits.get(connection.phase)
                if limit is not None and self.now - connection.since >= limit:
                    connection.expire()


class Connection(RequestHandler):
    """See the module."""

    __slots__ = ("_content", "_watch", "phase", "since")

    def __init__(self, watch: Watch, manager: Any, **options: Any) -> None:
        super().__init__(manager, **options)
        self._watch = watch
        self._content: StreamReader | None = None
        self.phase = Phase.IDLE
        self.since = watch.now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.since = self._watch.now
        self._watch.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._watch.connections.discard(self)
        self._content = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.IDLE:
            self.phase = Phase.HEADER
            self.since = self._watch.now
        super().data_received(data)

    # -- what the handling of a request tells ------------------------------------------------------------

    def working(self) -> None:
        """A request is handled; what it waits for now is our business."""
        self.phase = Phase.WORKING
        self._content = None

    def reading(self, content: StreamReader) -> None:
        """Its body is being waited for."""
        self.phase = Phase.BODY
        self.since = self._watch.now
        self._content = content

    def answered(self, body_read: bool) -> None:
        """Its answer is ready to be written; what is left of its body is thrown away."""
        self.phase = Phase.IDLE if body_read else Phase.LINGERING
        self.since = self._watch.now

    # -- deadlines ---------------------------------------------------------------------------------------

    def expire(self) -> None:
        """The client is late with what it should be sending (or reading)."""
        transport = self.transport
        if transport is None:
            return
        if self.phase is Phase.BODY and self._content is not None:
            self._content.set_exception(BodyTooSlow())
            self.phase = Phase.WORKING
            return
        if self.phase is Phase.HEADER:
            transport.write(_HEADER_TOO_SLOW)
            transport.close()
            self.phase = Phase.IDLE  # the next sweep that finds it here does not wait for the client
            self.since = float("-inf")
            return
        transport.abort()

    @property
    def peer(self) -> str:
        """The other end's address; empty where the transport knows none."""
        name = self.peername
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def busy(self) -> bool:
        """Whether a request is being read or handled."""
        return self.phase in (Phase.BODY, Phase.WORKING)

    # -- errors ------------------------------------------------------------------------------------------

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's signature
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> StreamResponse:
        """Requests that are no HTTP, and mistakes of ours, as JSON (aiohttp answers in text, without CORS)."""
        self.answered(body_read=True)
        if isinstance(exc, HttpProcessingError):
            return self._watch.answer(request, _protocol_error(exc))
        if exc is not None:
            self._watch.unexpected(request, exc)
        problem = Refused(500, "internal_error", "cdpd failed at this request; its log says why", close=True)
        return self._watch.answer(request, problem)


def _protocol_error(error: HttpProcessingError) -> Refused:
    if isinstance(error, LineTooLong):
        return Refused(
            400, "bad_request", f"a line of the header is longer than {MAX_LINE} bytes", close=True
        )
    reason = " ".join((error.message or "").split())[:200]
    return Refused(400, "bad_request", f"this is no HTTP request: {reason}", close=True)
