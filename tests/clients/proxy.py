"""A proxy between a real client and the daemon: keeps what the client sent, byte for byte, and breaks things on order.

`faults` is a queue that POSTs of events consume, one each; when it is empty they go through. Preflights, settings,
self-metrics and token requests always go through.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
from aiohttp import web
from anyio.abc import TaskGroup
from msgspec import Struct

from tests.running import PATIENCE

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade"}
_NOT_EVENTS = {"m", "token"}
"""Last parts of paths that are posted to and carry no events."""


class Fault(Struct, frozen=True):
    """What a POST gets in place of the daemon's answer: a status, or with status 0 a connection that is reset."""

    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b'{"success":false,"code":"fault","message":"made by the test","error":"made by the test"}'
    after: bool = False
    """The daemon gets the request first, and only its answer is lost; otherwise it never hears of it."""


RESET = Fault()
"""The connection is reset, and the daemon has heard nothing."""
RESET_AFTER = Fault(after=True)
"""The daemon has the events, but the connection is reset before the client hears so."""


class Delay:
    """The answer is held back until `release`, or until the client gives up; `before`: the request itself is."""

    def __init__(self, *, before: bool = False) -> None:
        self.before = before
        """The daemon gets the request only when it is released; otherwise it has answered it by then."""
        self.held = anyio.Event()
        """The client waits."""
        self._released = anyio.Event()

    def release(self) -> None:
        self._released.set()

    async def wait(self) -> None:
        self.held.set()
        await self._released.wait()


class Sent(Struct):
    """A request that a client made."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    status: int = 0
    """What the client was answered; 0: nothing yet, or never."""
    daemon: int = 0
    """What the daemon answered; 0: it did not get the request, or has not answered."""
    fault: Fault | Delay | None = None

    def json(self) -> Any:
        gzipped = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if gzipped else self.body)

    def carries_events(self) -> bool:
        return self.method == "POST" and self.path.rstrip("/").rpartition("/")[2] not in _NOT_EVENTS

    def events(self) -> list[dict[str, Any]]:
        """The events in it, envelope values merged in as the daemon is to do."""
        body = self.json()
        if "batch" not in body:
            return [body]
        found: list[dict[str, Any]] = []
        for event in body["batch"]:
            context = {**body.get("context", {}), **(event.get("context") or {})}
            found.append({**event, **({"context": context} if context else {})})
        return found


class _Answer(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes


class Proxy:
    """Forwards to `target`; `url` is where clients send to."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.sent: list[Sent] = []
        """Every request, in the order in which they came."""
        self.faults: deque[Fault | Delay] = deque()
        self._changed = anyio.Event()

    def posts(self) -> list[Sent]:
        """The requests that carry events, each attempt of its own."""
        return [request for request in self.sent if request.carries_events()]

    def answers(self) -> list[int]:
        """What the requests with events were answered; 0 where the client got no answer."""
        return [request.status for request in self.posts()]

    def events(self) -> list[dict[str, Any]]:
        """Every distinct event (by messageId) that clients sent, whatever came of it.

        Of one that came several times: as the daemon first took it.
        """
        found: dict[str, dict[str, Any]] = {}
        taken_first = sorted(self.posts(), key=lambda request: request.daemon != 200)
        for number, request in enumerate(taken_first):
            for place, event in enumerate(request.events()):
                found.setdefault(event.get("messageId") or f"{number}.{place}", event)
        return list(found.values())

    async def wait_until(self, done: Callable[[Proxy], bool]) -> None:
        """Wait until `done(self)`; it is asked again after each request and each answer."""
        with anyio.move_on_after(PATIENCE):
            while not done(self):
                await self._changed.wait()
            return
        seen = [(request.method, request.path, request.status) for request in self.sent]
        raise AssertionError(f"waited {PATIENCE:g} s; the proxy has seen {seen}")

    def changed(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class _Forwarder:
    """Answers the requests of one proxy."""

    def __init__(self, proxy: Proxy, session: aiohttp.ClientSession, tasks: TaskGroup) -> None:
        self.proxy = proxy
        self.session = session
        self.tasks = tasks

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        sent = Sent(request.method, request.path, headers, body)
        if sent.carries_events() and self.proxy.faults:
            sent.fault = self.proxy.faults.popleft()
        self.proxy.sent.append(sent)
        self.proxy.changed()
        fault = sent.fault
        answer: _Answer | None = None
        if isinstance(fault, Delay) and fault.before:
            await fault.wait()
        if not isinstance(fault, Fault) or fault.after:
            answer = await self._forwarded(sent, request.path_qs)
        if isinstance(fault, Delay) and not fault.before:
            await fault.wait()
        if isinstance(fault, Fault):
            answer = (
                _Answer(fault.status, {**_cors(headers), **fault.headers}, fault.body)
                if fault.status
                else None
            )
        if answer is None:
            _reset(request)
            return web.Response()
        sent.status = answer.status
        self.proxy.changed()
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _forwarded(self, sent: Sent, path: str) -> _Answer | None:
        """The daemon's answer; it gets the request even when the client does not wait. None: it gave none."""
        done = anyio.Event()
        answers: list[_Answer] = []

        async def forward() -> None:
            try:
                answers.append(await self._ask(sent, path))
                sent.daemon = answers[0].status
            except aiohttp.ClientConnectionError:
                pass  # the daemon is down: the client's connection ends too
            finally:
                done.set()

        self.tasks.start_soon(forward)
        await done.wait()
        return answers[0] if answers else None

    async def _ask(self, sent: Sent, path: str) -> _Answer:
        passed = {name: value for name, value in sent.headers.items() if name not in _HOP}
        async with self.session.request(
            sent.method, self.proxy.target + path, headers=passed, data=sent.body, allow_redirects=False
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            return _Answer(answer.status, kept, await answer.read())


def _cors(headers: dict[str, str]) -> dict[str, str]:
    """What a browser needs to be shown a fault."""
    base = {"Content-Type": "application/json"}
    if "origin" not in headers:
        return base
    return {
        **base,
        "Access-Control-Allow-Origin": headers["origin"],
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After, X-RateLimit-Reset",
        "Vary": "Origin",
    }


def _reset(request: web.BaseRequest) -> None:
    """End the connection as a crash of the machine's would: RST, no answer."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


@asynccontextmanager
async def proxy(target: str) -> AsyncIterator[Proxy]:
    """A running proxy."""
    through = Proxy(target)
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        anyio.create_task_group() as tasks,
    ):
        forwarder = _Forwarder(through, session, tasks)
        # The low-level server leaves bodies as they are: no inflating on the way through. A client that gives up
        # ends the wait for it (and only that).
        server = web.Server(forwarder.answer, auto_decompress=False, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        through.url = f"http://{host}:{port}"
        try:
            yield through
        finally:
            with anyio.CancelScope(shield=True):
                for request in through.sent:
                    if isinstance(request.fault, Delay):
                        request.fault.release()
                await runner.cleanup()
            tasks.cancel_scope.cancel()
