"""Clients that send one event after another over connections that they keep, as an SDK's HTTP library does.

A request on a connection that was used before, and that ends before the first byte of an answer, is sent once
more on a new one (RFC 9110 §9.2.2, and what every HTTP client does). Anything else that goes wrong is a failure.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import Iterator

import anyio

from tests.running import PATIENCE, key_header


class Failed(AssertionError):
    """A request that was not answered 200."""


class SteadyClients:
    """`run` sends until `stop()`; then `sent` holds the messageId of every event that was taken."""

    def __init__(
        self,
        port: int,
        key: str,
        *,
        tls: ssl.SSLContext | None = None,
        per_connection: int = 1_000_000,
        ends_when_refused: bool = False,
    ) -> None:
        self.sent: list[str] = []
        self.retried = 0
        self._port = port
        self._authorization = key_header(key)["Authorization"]
        self._tls = tls
        self._per_connection = per_connection
        self._ends_when_refused = ends_when_refused
        self._stopped = False
        self._numbers: Iterator[int] = itertools.count()
        self._more = anyio.Event()

    def stop(self) -> None:
        self._stopped = True

    async def run(self, clients: int = 8) -> None:
        """Raises Failed."""
        async with anyio.create_task_group() as tasks:
            for _ in range(clients):
                tasks.start_soon(self._until_refused if self._ends_when_refused else self._client)

    async def more(self, count: int) -> None:
        """Return once so many more requests have been answered."""
        enough = len(self.sent) + count
        with anyio.fail_after(PATIENCE):
            while len(self.sent) < enough:
                self._more = anyio.Event()
                await self._more.wait()

    async def _until_refused(self) -> None:
        try:
            await self._client()
        except ConnectionRefusedError:
            pass

    async def _client(self) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        used = 0
        while not self._stopped:
            message_id = f"m{next(self._numbers)}"
            request = self._request(message_id)
            if connection is None or used == self._per_connection:
                if connection is not None:
                    connection[1].close()
                connection, used = await self._connect(), 0
            answer = await self._exchange(*connection, request)
            if answer is None and used:
                self.retried += 1
                connection[1].close()
                connection, used = await self._connect(), 0
                answer = await self._exchange(*connection, request)
            if answer is None:
                raise Failed(f"{message_id}: a new connection ended before the first byte of an answer")
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise Failed(f"{message_id}: {answer!r}")
            used += 1
            if b"Connection: close" in answer:
                connection[1].close()
                connection = None
            self.sent.append(message_id)
            self._more.set()
        if connection is not None:
            connection[1].close()

    def _request(self, message_id: str) -> bytes:
        event = {"event": "A", "userId": "u", "messageId": message_id, "properties": {"text": "x" * 1000}}
        body = json.dumps(event).encode()
        head = (
            f"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: {self._authorization}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        with anyio.fail_after(PATIENCE):
            return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> bytes | None:
        """The answer; None where the connection ended before the first byte of it."""
        begun = b""
        try:
            with anyio.fail_after(PATIENCE):
                writer.write(request)
                begun = await reader.read(1)
                if not begun:
                    return None
                head = begun + await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                return head + await reader.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            if begun:
                raise Failed(f"an answer broke off: {error!r}") from error
            return None
