"""Answers: one prepared piece of bytes each, written in one go.

aiohttp's own responses build their headers anew for every request, which costs a third of a small request;
an Answer has the three things that aiohttp's RequestHandler wants of a response.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp.http import HttpVersion11
from aiohttp.web import BaseRequest

from cdpd.clock import Clock
from cdpd.ingest.cors import cors
from cdpd.ingest.refusal import Refused

JSON: Final = b"application/json"
SUCCESS: Final = b'{"success":true}'
"""The body of every accepted request: some SDKs parse it whatever the status (wire.md §0 rule 1)."""


class Answer:
    """A whole HTTP response as bytes. Stands in for `aiohttp.web.StreamResponse` in the request handler."""

    __slots__ = ("_data", "_request", "keep_alive", "status")

    def __init__(self, request: BaseRequest, status: int, data: bytes, keep_alive: bool) -> None:
        self._request = request
        self._data = data
        self.status = status
        self.keep_alive = keep_alive

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


class Answers:
    """Makes answers; knows the time for `Date`, and whether connections are to end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._date = b""
        self.closing = False
        """True while the daemon drains: each answer ends its connection."""
        self._success = _start(200, JSON, len(SUCCESS))

    def date(self) -> bytes:
        """The `Date` header line."""
        second = self._clock.now_ms() // 1000
        if second != self._second:
            self._second = second
            self._date = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._date

    def success(self, request: BaseRequest) -> Answer:
        """200 `{"success":true}`."""
        return self._finish(request, 200, self._success, SUCCESS, b"", False)

    def refused(self, request: BaseRequest, refused: Refused, *, origin: bytes | None = None) -> Answer:
        """The JSON of a refusal. `origin`: CORS lines to send instead of those for the request's Origin."""
        body = msgspec.json.encode(
            {
                "success": False,
                "code": refused.code,
                "message": refused.message,
                "error": refused.message,
            }
        )
        extra = b""
        if refused.retry_after is not None:
            seconds = b"%d" % refused.retry_after
            extra = b"Retry-After: " + seconds + b"\r\nX-RateLimit-Reset: " + seconds + b"\r\n"
        if refused.allow:
            extra += f"Allow: {refused.allow}\r\n".encode()
        start = _start(refused.status, JSON, len(body))
        return self._finish(request, refused.status, start, body, extra, refused.close, origin)

    def plain(
        self, request: BaseRequest, status: int, body: bytes, *, kind: bytes = JSON, extra: bytes = b""
    ) -> Answer:
        """Any other answer; `extra` are whole header lines."""
        return self._finish(request, status, _start(status, kind, len(body)), body, extra, False)

    def _finish(
        self,
        request: BaseRequest,
        status: int,
        start: bytes,
        body: bytes,
        extra: bytes,
        close: bool,
        origin: bytes | None = None,
    ) -> Answer:
        keep_alive = request.keep_alive and not close and not self.closing
        if not keep_alive:
            extra += b"Connection: close\r\n"
        elif request.version < HttpVersion11:
            extra += b"Connection: keep-alive\r\n"
        if origin is None:
            origin = cors(request.headers.get("Origin"))
        if request.method == "HEAD":
            body = b""
        data = b"".join((start, self.date(), origin, extra, b"\r\n", body))
        return Answer(request, status, data, keep_alive)


def _start(status: int, kind: bytes, length: int) -> bytes:
    """Status line, type and length."""
    reason = HTTPStatus(status).phrase
    head = f"HTTP/1.1 {status} {reason}\r\n".encode()
    if status == 204:
        return head
    return head + b"Content-Type: " + kind + b"\r\nContent-Length: %d\r\n" % length


def as_response(answer: Answer) -> Any:
    """The same object for aiohttp's types: its request handler calls only what an Answer has."""
    return answer
