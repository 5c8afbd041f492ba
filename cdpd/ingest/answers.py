"""Answers: one prepared piece of bytes each, written in one go."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.ingest.cors import cors
from cdpd.ingest.refusal import Refused
from cdpd.ingest.request import Request

JSON: Final = b"application/json"
SUCCESS: Final = b'{"success":true}'
"""The body of every accepted request: some SDKs parse it whatever the status (wire.md §0 rule 1)."""


class Answer(Struct, frozen=True):
    """A whole HTTP response."""

    status: int
    data: bytes
    keep_alive: bool


class Answers:
    """Makes answers; knows the time for `Date`, and whether connections are to end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._date = b""
        self.closing = False
        """True while the daemon drains: each answer ends its connection."""
        self._success = _start(200, JSON, len(SUCCESS))
        self._plain_success = b""

    def success(self, request: Request) -> Answer:
        """200 `{"success":true}`."""
        second = self._clock.now_ms() // 1000
        if second != self._second:
            self._new_second(second)
        if request.keep_alive and not request.http10 and not self.closing and "origin" not in request.headers:
            return Answer(200, self._plain_success, True)
        return self._finish(request, 200, self._success, SUCCESS, b"", False, None)

    def refused(self, request: Request, refused: Refused, *, origin: bytes | None = None) -> Answer:
        """The JSON of a refusal. `origin`: CORS lines to send instead of those for the request's Origin."""
        message = refused.message.encode(errors="replace").decode()  # a path may hold bytes that are no text
        body = msgspec.json.encode(
            {"success": False, "code": refused.code, "message": message, "error": message}
        )
        extra = b""
        if refused.retry_after is not None:
            seconds = b"%d" % refused.retry_after
            extra = b"Retry-After: " + seconds + b"\r\nX-RateLimit-Reset: " + seconds + b"\r\n"
        if refused.allow:
            extra += f"Allow: {refused.allow}\r\n".encode()
        if refused.challenge:
            extra += f"WWW-Authenticate: {refused.challenge}\r\n".encode()
        start = _start(refused.status, JSON, len(body))
        return self._finish(request, refused.status, start, body, extra, refused.close, origin)

    def plain(
        self,
        request: Request,
        status: int,
        body: bytes,
        *,
        kind: bytes = JSON,
        extra: bytes = b"",
        origin: bytes | None = None,
    ) -> Answer:
        """Any other answer; `extra` are whole header lines, `origin` those of CORS, in place of the usual."""
        return self._finish(request, status, _start(status, kind, len(body)), body, extra, False, origin)

    def _finish(
        self,
        request: Request,
        status: int,
        start: bytes,
        body: bytes,
        extra: bytes,
        close: bool,
        origin: bytes | None,
    ) -> Answer:
        keep_alive = request.keep_alive and not close and not self.closing
        if not keep_alive:
            extra += b"Connection: close\r\n"
        elif request.http10:
            extra += b"Connection: keep-alive\r\n"
        if origin is None:
            origin = cors(request.headers.get("origin"))
        if request.method == "HEAD":
            body = b""
        second = self._clock.now_ms() // 1000
        if second != self._second:
            self._new_second(second)
        return Answer(status, b"".join((start, self._date, origin, extra, b"\r\n", body)), keep_alive)

    def _new_second(self, second: int) -> None:
        self._second = second
        self._date = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        self._plain_success = b"".join((self._success, self._date, b"\r\n", SUCCESS))


def _start(status: int, kind: bytes, length: int) -> bytes:
    """Status line, type and length."""
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    if status == HTTPStatus.NOT_MODIFIED:  # says nothing of the body that it stands for (RFC 9110 §8.6)
        return head
    return head + b"Content-Type: " + kind + b"\r\nContent-Length: %d\r\n" % length
