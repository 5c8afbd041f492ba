"""The express lane: ordinary requests read and answered with as little as possible in between.

aiohttp's request handler costs more than all of ingest's own work. So a connection begins here, and is handed
over to aiohttp for good, with all bytes that have come, at the first request that is not ordinary (head.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Final, cast

from cdpd.ingest.answers import Answer
from cdpd.ingest.head import Head, read_head, unfinished
from cdpd.ingest.request import Request
from cdpd.ingest.watch import BodyTooSlow, Phase, Watch

MAX_AHEAD: Final = 64 * 1024
"""Bytes that a client may send ahead while its request is answered."""


class ExpressRequest(Request):
    """A request read by the express lane."""

    __slots__ = ("_done", "_failed", "_pieces", "_told", "_waiter", "head")

    def __init__(
        self, head: Head, length: int, peer: str, begun: bytes, told: Callable[[bool], None]
    ) -> None:
        self.head = head
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.peer = peer
        self.keep_alive = head.keep_alive
        self.http10 = False
        self._told = told
        self._waiter: asyncio.Future[None] | None = None
        self._failed: Exception | None = None
        if len(begun) == length:
            self.body = begun
            self._done = True
        else:
            self.body = None
            self._done = False
            self._pieces = deque((begun,) if begun else ())

    async def next_piece(self) -> bytes:
        while not self._pieces:
            if self._failed is not None:
                raise self._failed
            if self._done:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._pieces.popleft()

    def waits_for_body(self, waits: bool) -> None:
        self._told(waits)

    def feed(self, piece: bytes, done: bool) -> None:
        """More of the body has come."""
        self._pieces.append(piece)
        self._done = done
        self._wake()

    def fail(self, error: Exception) -> None:
        """The rest of the body will not come."""
        self._failed = error
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Express(asyncio.Protocol):
    """One connection. `fall_back` makes aiohttp's protocol for it."""

    __slots__ = (
        "__weakref__",  # for Watch.accepted
        "_ahead",
        "_drained",
        "_fall_back",
        "_held",
        "_last",
        "_loop",
        "_over",
        "_remaining",
        "_request",
        "_tls",
        "_watch",
        "fresh",
        "peer",
        "phase",
        "since",
        "transport",
    )

    def __init__(self, watch: Watch, fall_back: Callable[[], asyncio.Protocol], tls: bool = False) -> None:
        self._watch = watch
        self._tls = tls
        self._fall_back = fall_back
        self._loop = asyncio.get_running_loop()
        self._request: ExpressRequest | None = None
        self._remaining = 0
        """Bytes of the present body that have not come."""
        self._ahead = b""
        """What came before it could be looked at: a part of a head, or the next requests."""
        self._held = False
        self._last = False
        """The connection ends once the present body is over."""
        self._over = False
        """The client sends no more."""
        self._drained: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.fresh = True
        self.phase = Phase.IDLE
        self.since = watch.now
        self.peer = ""

    # -- what the transport tells ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) else ""
        self._watch.connections.add(self)
        if self._tls:
            self._watch.accepted.discard(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.transport = None
        self._watch.forget(self)
        self._ahead = b""
        self.resume_writing()
        if self._request is not None and self._remaining:
            self._request.fail(ConnectionResetError("the client went away in the middle of its body"))

    def eof_received(self) -> bool:
        """The client has sent all it will; what it still waits for is answered before the connection ends."""
        self._over = True
        # TLS ends in both directions at once: what such a client still waits for cannot be answered.
        return self._request is not None and not self._remaining and not self._tls

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._remaining:
            self._more_of_body(data)
        elif self._request is not None or self._last:
            self._keep_ahead(data)
        else:
            self._begin(self._ahead + data if self._ahead else data)

    # -- a request ---------------------------------------------------------------------------------------

    def _begin(self, data: bytes) -> None:
        """`data` begins with a new request."""
        found = self._watch.heads.read(data)
        if found is not None:
            head, size, length = found
        elif (read := read_head(data)) is not None:
            head, size, length = read, read.size, read.length
        else:
            if unfinished(data):
                if self.phase is Phase.IDLE:
                    self.phase = Phase.HEADER
                    self.since = self._watch.now
                self._ahead = data
            else:
                self._hand_over(data)
            return
        if head.path.startswith("/-/"):
            self._hand_over(data)
            return
        self.fresh = False
        end = size + length
        self._ahead = data[end:]
        body = data[size:end]
        self._remaining = length - len(body)
        self.phase = Phase.WORKING
        request = self._request = ExpressRequest(head, length, self.peer, body, self._waits_for_body)
        if self._remaining or not self._watch.handle_at_once(request, self._answered):
            self._in_task(self._answer(request))

    def _in_task(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        tasks = self._watch.tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _answer(self, request: ExpressRequest) -> None:
        try:
            answer = await self._watch.handle(request)
        except ConnectionError:
            return
        self._answered(answer)

    def _answered(self, answer: Answer) -> None:
        """The answer to the present request is known."""
        transport = self.transport
        if transport is None:
            self._request = None
            return
        self.since = self._watch.now
        self.phase = Phase.IDLE
        transport.write(answer.data)
        if self._drained is not None:
            self._in_task(self._drain(answer, self._drained))
        else:
            self._finish(answer)

    async def _drain(self, answer: Answer, drained: asyncio.Future[None]) -> None:
        """A client that reads slowly has room for no more: it is waited for; the idle time-out runs."""
        await drained
        self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        self._request = None
        if self.transport is None:
            return
        self._last = not answer.keep_alive
        if self._remaining:
            self.phase = Phase.LINGERING
        else:
            self._next()

    def _next(self) -> None:
        """One request is over, answer and body."""
        transport = self.transport
        if transport is None:
            return
        if self._last:
            transport.close()
            return
        self.phase = Phase.IDLE
        if self._held:
            self._held = False
            transport.resume_reading()
        if self._ahead:
            data, self._ahead = self._ahead, b""
            self._begin(data)
        if self._over and self._request is None and self.transport is not None:
            self.transport.close()

    def _more_of_body(self, data: bytes) -> None:
        piece = data[: self._remaining]
        self._remaining -= len(piece)
        if len(piece) < len(data):
            self._keep_ahead(data[len(piece) :])
        if self._request is not None:
            self._request.feed(piece, not self._remaining)
        elif not self._remaining:
            self._next()

    def _keep_ahead(self, data: bytes) -> None:
        self._ahead += data
        if len(self._ahead) > MAX_AHEAD and not self._held and self.transport is not None:
            self._held = True
            self.transport.pause_reading()

    def _hand_over(self, data: bytes) -> None:
        transport = self.transport
        assert transport is not None
        self._watch.forget(self)
        self.transport = None
        full = self._fall_back()
        transport.set_protocol(full)
        full.connection_made(transport)
        full.data_received(data)

    # -- deadlines ---------------------------------------------------------------------------------------

    def _waits_for_body(self, waits: bool) -> None:
        self.phase = Phase.BODY if waits else Phase.WORKING
        self.since = self._watch.now

    def body_too_slow(self) -> None:
        if self._request is not None:
            self._request.fail(BodyTooSlow())
