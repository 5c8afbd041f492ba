"""A load of a steady rate on one core: requests go out when they are due, whether earlier ones were answered or not.

`wrk` sends as fast as it is answered, which says how much a server takes; how late it answers at a given rate, and
whether the daemon keeps up with that rate, takes a sender that does not wait for it. Latencies count from the
moment at which a request was due.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import time
from collections import deque
from multiprocessing.connection import Connection
from typing import Any, Final, cast

import uvloop
from msgspec import Struct

from tests.bench.bodies import Bodies

KEY: Final = "wk_bench"
_PATIENCE: Final = 5
"""Seconds that the last answers get; what comes later counts as refused."""
_PREPARED: Final = 400
"""Different bodies; each goes out again and again, with ids of its own each time."""


class Load(Struct, frozen=True):
    """So many requests a second for so many seconds, each with so many events."""

    port: int
    per_second: float
    seconds: float
    events: int = 1
    connections: int = 64
    core: int | None = 1
    seed: int = 1


class Sent(Struct):
    """What became of a load. Latencies in seconds."""

    requests: int
    answered: int
    refused: int
    late: float
    """Seconds that the sender itself was behind at its end: it could not send so fast."""
    p50: float
    p99: float
    longest: float


class Requests:
    """Whole HTTP requests, with ids that never come twice."""

    def __init__(self, load: Load) -> None:
        bodies = Bodies(load.seed)
        self._parts: list[list[bytes]] = []
        path = "/v1/track" if load.events == 1 else "/v1/batch"
        for _ in range(_PREPARED if load.events == 1 else max(_PREPARED // load.events, 8)):
            events = []
            for _ in range(load.events):
                event = bodies.event()
                event["messageId"] = "bench-################"
                events.append(event)
            document: Any = events[0] if load.events == 1 else {"batch": events}
            body = json.dumps(document, separators=(",", ":")).encode()
            head = (
                f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic d2tfYmVuY2g6\r\n"
                f"Content-Type: application/json\r\nUser-Agent: bench/1\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            self._parts.append((head.encode() + body).split(b"################"))
        self._count = (load.seed % 4096) << 48 | time.time_ns() & 0xFFFF << 32
        self._next = 0

    def next(self) -> bytes:
        parts = self._parts[self._next]
        self._next = (self._next + 1) % len(self._parts)
        out = [parts[0]]
        for part in parts[1:]:
            self._count += 1
            out.append(b"%016x" % self._count)
            out.append(part)
        return b"".join(out)


class _Connection(asyncio.Protocol):
    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self.transport: asyncio.Transport
        self._due: deque[float] = deque()
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._sender.idle.append(self)

    def send(self, due: float, request: bytes) -> None:
        self._due.append(due)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        data = self._read + data if self._read else data
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            at = data.find(b"Content-Length: ") + 16
            whole = end + 4 + int(data[at : data.find(b"\r", at)])
            if len(data) < whole:
                break
            self._sender.answered(self, self._due.popleft(), data[9:12] == b"200")
            data = data[whole:]
        self._read = data

    def connection_lost(self, exc: Exception | None) -> None:
        self._sender.lost(len(self._due))


class _Sender:
    def __init__(self, load: Load) -> None:
        self.load = load
        self.idle: deque[_Connection] = deque()
        self.waiting: deque[float] = deque()
        self.requests = Requests(load)
        self.latencies: list[float] = []
        self.refused = 0
        self.open = 0
        self.ended = asyncio.Event()
        self.all_sent = False

    async def run(self) -> Sent:
        loop = asyncio.get_running_loop()
        for _ in range(self.load.connections):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.load.port)
        begin = time.perf_counter()
        count = int(self.load.per_second * self.load.seconds)
        step = 1 / self.load.per_second
        sent = 0
        while sent < count:
            now = time.perf_counter()
            due = min(int((now - begin) / step) + 1, count)
            while sent < due:
                self._send(begin + sent * step)
                sent += 1
            await asyncio.sleep(max(begin + sent * step - time.perf_counter(), 0))
        late = max(time.perf_counter() - begin - self.load.seconds, 0)
        self.all_sent = True
        if self.open:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self.ended.wait()
            except TimeoutError:
                self.refused += self.open
        took = sorted(self.latencies) or [0.0]
        return Sent(
            count,
            len(self.latencies),
            self.refused,
            late,
            took[len(took) // 2],
            took[int(len(took) * 0.99)],
            took[-1],
        )

    def _send(self, due: float) -> None:
        self.open += 1
        if self.idle:
            self.idle.popleft().send(due, self.requests.next())
        else:
            self.waiting.append(due)

    def answered(self, connection: _Connection, due: float, good: bool) -> None:
        self.latencies.append(time.perf_counter() - due)
        self.refused += not good
        self.open -= 1
        if self.waiting:
            connection.send(self.waiting.popleft(), self.requests.next())
        else:
            self.idle.append(connection)
        if self.all_sent and not self.open:
            self.ended.set()

    def lost(self, unanswered: int) -> None:
        self.open -= unanswered
        self.refused += unanswered
        if self.all_sent and not self.open:
            self.ended.set()


def _process(load: Load, pipe: Connection) -> None:
    if load.core is not None:
        os.sched_setaffinity(0, {load.core})
    pipe.send(uvloop.run(_Sender(load).run()))


def send(load: Load) -> Sent:
    """Send it from a process of its own, pinned to its core."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_process, args=(load, there), daemon=True)
    process.start()
    found: Sent = here.recv()
    process.join()
    return found
