"""A real Ingest on the loopback with a log that only remembers, for tests that speak HTTP to it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import structlog

from cdpd.clock import Clock
from cdpd.config.address import Listen
from cdpd.config.model import Config
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.server import serve
from cdpd.ingest.settings import IngestSettings
from cdpd.log.errors import AppendFailed
from cdpd.metrics import Metrics
from tests.clock import FakeClock

KEY = "WRITEKEY"
NOW = "2023-11-14T22:13:20.000Z"
"""What the fake clock says at first."""
SOURCES = {
    "website": {"write_keys": [KEY, "second"]},
    "off": {"write_keys": ["offkey"], "enabled": False},
}


def config(**http: object) -> Config:
    """A configuration with these settings in [http]."""
    return msgspec.convert({"http": http, "sources": SOURCES}, Config)


def basic(key: str = KEY, colon: bool = True) -> dict[str, str]:
    """The Authorization header of a write key."""
    text = f"{key}:" if colon else key
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


class FakeLog:
    """Remembers what was appended; can be told to fail or to wait."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.config_ids: list[int] = []
        self.error: Exception | None = None
        self.entered = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def append(self, lines: Sequence[bytes], config_id: int) -> object:
        self.entered.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        for line in lines:
            assert b"\n" not in line
            assert b"\r" not in line
            self.raw.append(line)
            self.lines.append(json.loads(line))
        self.config_ids.append(config_id)
        return None

    def append_then(self, lines: Sequence[bytes], config_id: int, then: Callable[[str | None], None]) -> None:
        async def append() -> None:
            try:
                await self.append(lines, config_id)
            except AppendFailed as error:
                then(str(error))
            else:
                then(None)

        task = asyncio.get_running_loop().create_task(append())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class Running:
    """The server, the client and everything that a test looks at."""

    def __init__(
        self, ingest: Ingest, log: FakeLog, metrics: Metrics, bound: Listen, http: aiohttp.ClientSession
    ) -> None:
        self.ingest = ingest
        self.log = log
        self.metrics = metrics
        self.bound = bound
        self.http = http

    @property
    def lines(self) -> list[dict[str, Any]]:
        return self.log.lines

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the lines that were not rejected."""
        return [line["event"] for line in self.log.lines if "reject" not in line]

    async def post(
        self, path: str, body: object, *, headers: dict[str, str] | None = None, key: str | None = KEY
    ) -> tuple[int, Any]:
        """POST JSON (or bytes as they are): the status and the decoded body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**(basic(key) if key else {}), **(headers or {})}
        async with self.http.post(
            self.bound.url + path, data=data, headers=sent, allow_redirects=False
        ) as answer:
            return answer.status, await answer.json()

    async def batch(self, events: list[object], **envelope: object) -> tuple[int, Any]:
        """POST a batch."""
        return await self.post("/v1/batch", {"batch": events, **envelope})

    async def raw(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own and read until the server closes it."""
        reader, writer = await asyncio.open_connection(self.bound.host, self.bound.port)
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()


def make_ingest(
    clock: Clock | None = None, ready: str | None = None, **http: object
) -> tuple[Ingest, FakeLog, Metrics]:
    """An Ingest with these [http] settings that nobody serves yet."""
    log = FakeLog()
    metrics = Metrics()
    ingest = Ingest(
        settings=IngestSettings.of(config(**http), 7),
        append=log.append,
        append_then=log.append_then,
        clock=FakeClock() if clock is None else clock,
        metrics=metrics,
        log=structlog.wrap_logger(
            structlog.PrintLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR)
        ),
        ready=lambda: ready,
    )
    return ingest, log, metrics


@asynccontextmanager
async def running(
    clock: Clock | None = None, ready: str | None = None, **http: object
) -> AsyncIterator[Running]:
    """A served Ingest with these [http] settings."""
    ingest, log, metrics = make_ingest(clock, ready, **http)
    async with (
        serve(ingest, [Listen("127.0.0.1", 0)]) as bound,
        aiohttp.ClientSession() as client,
    ):
        yield Running(ingest, log, metrics, bound[0], client)
