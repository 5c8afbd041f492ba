"""Requests that are not ordinary (head.py), by aiohttp: chunked bodies, HTTP/1.0, plugins' routes, mistakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.http import HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web import BaseRequest, RequestHandler, RequestPayloadError, StreamResponse

from cdpd.ingest.answers import Answer
from cdpd.ingest.head import LONGEST
from cdpd.ingest.refusal import Refused
from cdpd.ingest.request import Request
from cdpd.ingest.watch import BodyTooSlow, Phase, Watch

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NEVER: Final = 1e7
"""Seconds; aiohttp's own time-out of idle connections, which ours does away with."""

OnError = Callable[[BaseRequest, Refused, BaseException | None], Answer]
"""Answers what is no request, or failed; the exception is a mistake of ours."""


class FullRequest(Request):
    """A request read by aiohttp."""

    __slots__ = ("_base", "_connection")

    def __init__(self, base: BaseRequest, connection: FullConnection) -> None:
        self._base = base
        self._connection = connection
        self.method = base.method
        self.path = base.rel_url.raw_path
        self.query = base.rel_url.raw_query_string
        self.headers = base.headers
        self.peer = connection.peer
        self.keep_alive = base.keep_alive
        self.http10 = base.version < HttpVersion11
        self.body = base.content.read_nowait() if base.content.is_eof() else None

    async def next_piece(self) -> bytes:
        try:
            return await self._base.content.readany()
        except RequestPayloadError:
            raise Refused(400, "bad_request", "the chunks of the body are broken", close=True) from None
        except ConnectionError:  # it may still read, or be gone: then nobody hears this
            raise Refused(400, "bad_request", "the body ended before it was whole", close=True) from None

    def waits_for_body(self, waits: bool) -> None:
        transport = self._base.transport
        if waits and transport is not None and self.headers.get("expect", "").lower() == "100-continue":
            transport.write(_CONTINUE)
        self._connection.waits_for_body(self._base.content if waits else None)

    def forwarded_for(self) -> str:
        return ",".join(self._base.headers.getall("x-forwarded-for", ()))


class FullResponse:
    """An Answer with what aiohttp's request handler wants of a response."""

    __slots__ = ("_data", "_request", "keep_alive", "status")

    def __init__(self, request: BaseRequest, answer: Answer) -> None:
        self._request = request
        self._data = answer.data
        self.keep_alive = answer.keep_alive
        self.status = answer.status

    async def prepare(self, request: BaseRequest) -> None:
        """Write it. Raises ConnectionResetError where the client is gone."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        transport.write(self._data)

    async def write_eof(self) -> None:
        """Wait until a client that reads slowly has room for more."""
        if self._request.protocol.writing_paused:
            await self._request.writer.drain()


def response(request: BaseRequest, answer: Answer) -> StreamResponse:
    """The answer as aiohttp's types want it; its request handler calls only what a FullResponse has."""
    whole: Any = FullResponse(request, answer)
    return whole  # type: ignore[no-any-return]  # see above


class FullConnection(RequestHandler):
    """aiohttp's request handler, with our deadlines and JSON for errors (aiohttp answers in text, without CORS)."""

    __slots__ = ("_content", "_on_error", "_watch", "fresh", "phase", "since")

    def __init__(self, watch: Watch, manager: web.Server, on_error: OnError, **options: Any) -> None:
        super().__init__(manager, **options)
        self._watch = watch
        self._on_error = on_error
        self._content: StreamReader | None = None
        self.fresh = False  # it is handed over with a first request
        self.phase = Phase.IDLE
        self.since = watch.now

    @property
    def peer(self) -> str:
        """The other end's address; empty where the transport knows none."""
        name = self.peername
        return str(name[0]) if isinstance(name, tuple) else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._watch.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._watch.forget(self)
        self._content = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.IDLE and data:
            self.phase = Phase.HEADER
            self.since = self._watch.now
        super().data_received(data)
        content = self._content
        if content is not None and self._messages and not content.is_eof():
            # Behind a body that is not over there can only be a mistake in its chunks; aiohttp lets it wait.
            content.set_exception(RequestPayloadError("the chunks of the body are broken"))

    # -- what the handling of a request tells ------------------------------------------------------------

    def working(self) -> None:
        """A request is handled; what it waits for now is our business."""
        self.phase = Phase.WORKING

    def waits_for_body(self, content: StreamReader | None) -> None:
        """Its body is being waited for, or no longer."""
        self.phase = Phase.WORKING if content is None else Phase.BODY
        self.since = self._watch.now
        self._content = content

    def answered(self, body_read: bool) -> None:
        """Its answer is ready to be written; what is left of its body is thrown away."""
        self.phase = Phase.IDLE if body_read else Phase.LINGERING
        self.since = self._watch.now

    def body_too_slow(self) -> None:
        if self._content is not None:
            self._content.set_exception(BodyTooSlow())

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's signature
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature
    ) -> StreamResponse:
        self.answered(body_read=True)
        if isinstance(exc, HttpProcessingError):
            return response(request, self._on_error(request, _protocol_error(exc), None))
        problem = Refused(500, "internal_error", "cdpd failed at this request; its log says why", close=True)
        return response(request, self._on_error(request, problem, exc))


def _protocol_error(error: HttpProcessingError) -> Refused:
    if isinstance(error, LineTooLong):
        return Refused(400, "bad_request", f"a line of the header is longer than {LONGEST} bytes", close=True)
    reason = " ".join((error.message or "").split())[:200]
    return Refused(400, "bad_request", f"this is no HTTP request: {reason}", close=True)


class FullServer(web.Server):
    """aiohttp's low-level server, with our connections."""

    def __init__(self, ingest_handler: Any, request_factory: Any, watch: Watch, on_error: OnError) -> None:
        super().__init__(ingest_handler, request_factory=request_factory)
        self._watch = watch
        self._on_error = on_error

    def __call__(self) -> RequestHandler:
        return FullConnection(
            self._watch,
            self,
            self._on_error,
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_NEVER,
            max_line_size=LONGEST,
            max_field_size=LONGEST,
        )
