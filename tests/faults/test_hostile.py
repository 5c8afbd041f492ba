"""Ten thousand hostile requests at one daemon: all are answered or cut, and nobody else notices.

No 5xx, no traceback in an answer or in the log, every good event between them is stored once, memory stays flat.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
from collections import Counter
from pathlib import Path

import anyio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.faults.mutate import Hostile, Mutator
from tests.running import RunningDaemon, running

REQUESTS = int(os.environ.get("CDPD_HOSTILE_REQUESTS", "10000"))
"""How many are sent; more by hand: CDPD_HOSTILE_REQUESTS=500000."""
SEED = int(os.environ.get("CDPD_HOSTILE_SEED", "1"))
CLIENTS = 8
WARM_UP = 0.3
"""Share of the requests after which memory is measured first."""
GROWTH = 24 * 1024
"""KiB that may be added from then on."""
CONFIG = """
[sources.website]
write_keys = ["WRITEKEY"]

[sources.neighbour]
write_keys = ["wk_faults_neighbour"]

[oauth.app]
keys = [{ kid = "k1", file = "app.pem" }]

[destinations.copy]
type = "file"
path = "copy.ndjson"
from = "beginning"
"""


class Answered:
    """What came back, and what it promised."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.promised: set[str] = set()
        self.unanswered = 0


class Client:
    """One client with a connection of its own, opened again whenever the daemon ends it."""

    def __init__(self, url: str, number: int, answered: Answered) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.host, self.port = host, int(port)
        self.number = number
        self.answered = answered
        self.mutator = Mutator(SEED * 1000 + number)
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def run(self, count: int) -> None:
        for i in range(count):
            await self.hostile(self.mutator.next())
            if i % 5 == 0:
                await self.neighbour(f"n{self.number}-{i}-{count}")
        await self.close()

    async def hostile(self, request: Hostile) -> None:
        if not request.whole:
            await self.close()
        try:
            status, body = await self.exchange(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            assert not request.whole, f"not answered: {request.data[:2000]!r}"
            self.answered.unanswered += 1
            await self.close()
            return
        self.answered.statuses[status] += 1
        assert status < 500, f"{status} {body!r} to {request.data[:2000]!r}"
        assert b"Traceback" not in body
        if status == 200:
            self.answered.promised.update(request.kept)

    async def neighbour(self, message_id: str) -> None:
        """A good event of another source, which must always be taken."""
        body = json.dumps({"type": "track", "event": "N", "userId": "n", "messageId": message_id}).encode()
        head = (
            "POST /v1/track?writeKey=wk_faults_neighbour HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        request = Hostile(head.encode() + body, whole=True)
        status, answer = await self.exchange(request)
        assert status == 200, f"a neighbour was answered {status} {answer!r}"
        self.answered.promised.add(message_id)

    async def exchange(self, request: Hostile) -> tuple[int, bytes]:
        if self.writer is None or self.writer.is_closing() or self.reader is None or self.reader.at_eof():
            await self.close()
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        assert self.reader is not None
        self.writer.write(request.data)
        if not request.whole:
            self.writer.write_eof()
        with anyio.fail_after(30):
            status, body, ends = await self.answer(request.data[:4] == b"HEAD")
        if ends or not request.whole:
            await self.close()
        return status, body

    async def answer(self, headless: bool) -> tuple[int, bytes, bool]:
        assert self.reader is not None
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        found = re.match(r"HTTP/1\.[01] (\d{3}) ", head)
        assert found, head
        status = int(found[1])
        if status == 100:
            return await self.answer(headless)
        length = re.search(r"(?im)^content-length: (\d+)\r?$", head)
        assert length, head
        body = b"" if headless else await self.reader.readexactly(int(length[1]))
        if re.search(r"(?im)^content-encoding: gzip", head) and body:
            body = gzip.decompress(body)
        if re.search(r"(?im)^content-type: application/json", head) and body:
            assert isinstance(json.loads(body), dict)
        return status, body, bool(re.search(r"(?im)^connection: close", head))

    async def close(self) -> None:
        writer, self.reader, self.writer = self.writer, None, None
        if writer is not None:
            writer.close()


def memory(daemon: RunningDaemon) -> int:
    """KiB of the daemon's own memory (no files)."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{daemon.pid}/status").read_text())
    assert found
    return int(found[1])


async def attack(daemon: RunningDaemon, numbers: range, count: int, answered: Answered) -> None:
    async with anyio.create_task_group() as tasks:
        for number in numbers:
            tasks.start_soon(Client(daemon.url, number, answered).run, count // CLIENTS)


async def test_hostile_requests_harm_nobody(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "app.pem").write_bytes(pem)
    answered = Answered()
    async with running(tmp_path, CONFIG) as daemon:
        first = int(REQUESTS * WARM_UP)
        await attack(daemon, range(CLIENTS), first, answered)
        before = memory(daemon)
        await attack(daemon, range(CLIENTS, 2 * CLIENTS), REQUESTS - first + CLIENTS, answered)
        assert sum(answered.statuses.values()) + answered.unanswered >= REQUESTS
        grown = memory(daemon) - before
        received = len(daemon.lines("received"))
        ended = daemon.lines("discarded")

        def enough(lines: list[dict[str, object]]) -> bool:
            return answered.promised <= {str(line["messageId"]) for line in lines}

        stored = await daemon.wait_for("events", enough)
        assert await daemon.stop() == 0
        log = daemon.log()
    assert len(answered.promised) > REQUESTS / 4
    assert {200, 400, 401, 404, 405, 415} <= set(answered.statuses)
    ids = Counter((event["projectId"], event["messageId"]) for event in stored)
    assert not [one for one, count in ids.items() if count > 1]
    assert received
    assert "hook_error" not in {line["code"] for line in ended}
    assert "Traceback" not in log
    assert '"level":"error"' not in log.replace(" ", "")
    assert grown < GROWTH, f"memory grew by {grown} KiB"
