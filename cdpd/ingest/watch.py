"""Deadlines for slow clients, over all connections.

Connections note since when they wait and for what; one sweep a second ends those that are late. That costs a
request two assignments instead of timers.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from cdpd.clock import Clock
from cdpd.ingest.answers import Answer
from cdpd.ingest.cors import FOR_ANYBODY
from cdpd.ingest.head import KnownHeads
from cdpd.ingest.refusal import Refused
from cdpd.ingest.request import Request
from cdpd.ingest.settings import IngestSettings

if TYPE_CHECKING:  # express.py imports this module
    from cdpd.ingest.express import ExpressRequest

SWEEP: Final = 1.0
"""Seconds between two sweeps: how late a deadline may be noticed."""
HEADER_TOO_SLOW: Final = (
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
    """Answered; the rest of the body is thrown away."""


class BodyTooSlow(Refused):
    """The body did not come within body_timeout."""

    def __init__(self) -> None:
        super().__init__(408, "timeout", "the body came too slowly; send it again", close=True)


class Connection(Protocol):
    """What the sweep and the drain need of a connection."""

    transport: asyncio.Transport | None
    phase: Phase
    since: float
    fresh: bool
    """No request has come yet: its client does not expect that the connection ends."""

    def body_too_slow(self) -> None:
        """Tell whoever waits for the body."""
        ...


class Watch:
    """What all connections of a server share."""

    def __init__(
        self,
        clock: Clock,
        settings: IngestSettings,
        handle: Callable[[Request], Awaitable[Answer]],
        handle_at_once: Callable[[ExpressRequest, Callable[[Answer], None]], bool],
    ) -> None:
        self._clock = clock
        self.settings = settings
        self.handle = handle
        """Answers a request. Raises ConnectionError only, for a client that is gone."""
        self.handle_at_once = handle_at_once
        """Begins to answer an ordinary request, and calls back; False, and nothing done, for any other."""
        self.heads = KnownHeads()
        self.now = clock.monotonic()
        """As of the last sweep."""
        self.connections: set[Connection] = set()
        self.accepted: weakref.WeakSet[Connection] = weakref.WeakSet()
        """Those of TLS whose handshake is under way. (Where it fails nobody tells: so they may just vanish.)"""
        self.moved: anyio.Event | None = None
        """To be set where a connection or a request has ended; only while somebody waits for the last."""
        self.tasks: set[asyncio.Task[None]] = set()
        """Requests that are being answered, of connections that may be gone."""

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
                    _expire(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is over, or another takes its place."""
        self.connections.discard(connection)
        if self.moved is not None:
            self.moved.set()

    async def until(self, done: Callable[[], bool]) -> None:
        """Return once `done()`; it is asked again whenever a connection or a request has ended."""
        while not done():
            self.moved = anyio.Event()
            await self.moved.wait()

    def expected(self) -> list[Connection]:
        """Connections from which a first request, or the rest of a header, is still to come."""
        waiting = [*self.accepted]
        for connection in self.connections:
            if connection.phase is Phase.HEADER or (connection.phase is Phase.IDLE and connection.fresh):
                waiting.append(connection)
        return waiting

    def working(self) -> bool:
        """Whether a request is being read or answered; its task may not have begun yet."""
        return any(connection.phase in (Phase.BODY, Phase.WORKING) for connection in self.connections)

    async def end(self) -> None:
        """Cut whatever is still there, and wait until nothing of it runs."""
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.abort()
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _expire(connection: Connection) -> None:
    transport = connection.transport
    if transport is None:
        return
    if connection.phase is Phase.BODY:
        connection.phase = Phase.WORKING
        connection.body_too_slow()
    elif connection.phase is Phase.HEADER:
        transport.write(HEADER_TOO_SLOW)
        transport.close()
        connection.phase = Phase.LINGERING  # a client that does not read that either is cut by the next sweep
        connection.since = float("-inf")
    else:
        transport.abort()
