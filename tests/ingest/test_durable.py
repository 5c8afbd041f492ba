"""Ingest over the real log: an acknowledged event is in `received`, once, and as it was sent."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import structlog

from cdpd.clock import SystemClock
from cdpd.config.address import Listen
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.server import serve
from cdpd.ingest.settings import IngestSettings
from cdpd.log.files import Files, OsFiles, WritableFile
from cdpd.log.folder import StreamFolder
from cdpd.log.stream import StreamOptions, open_stream
from cdpd.metrics import Metrics
from tests.ingest.running import basic, config


class FullDisk(OsFiles):
    """The real files, until the disk is full."""

    def __init__(self) -> None:
        self.full = False

    def create(self, path: Path) -> WritableFile:
        self._check()
        return _Limited(super().create(path), self._check)

    def _check(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


class _Limited:
    """A file on that disk."""

    def __init__(self, file: WritableFile, check: Callable[[], None]) -> None:
        self._file = file
        self._check = check
        self.sync = file.sync
        self.truncate = file.truncate
        self.close = file.close

    def write(self, data: bytes) -> None:
        self._check()
        self._file.write(data)


@asynccontextmanager
async def durable(folder: Path, files: Files | None = None) -> AsyncIterator[str]:
    """A server over a real stream: its URL."""
    async with open_stream(
        folder, clock=SystemClock(), options=StreamOptions(), files=files, report=print
    ) as received:

        async def append(lines: Sequence[bytes], config_id: int) -> object:
            return await received.append(lines, config_id=config_id)

        ingest = Ingest(
            settings=IngestSettings.of(config(), 7),
            append=append,
            clock=SystemClock(),
            metrics=Metrics(),
            log=structlog.get_logger(),
            ready=lambda: None,
        )
        async with serve(ingest, [Listen("127.0.0.1", 0)]) as bound:
            yield bound[0].url


def stored(folder: Path) -> list[bytes]:
    """The lines that a reader of another process sees."""
    reader = StreamFolder(folder).reader()
    lines: list[bytes] = []
    while (piece := reader.read()) is not None:
        lines += [bytes(line) for _, _, _, line in piece.records()]
    reader.close()
    return lines


async def test_what_was_acknowledged_can_be_read_at_once_by_another_reader(tmp_path: Path) -> None:
    folder = tmp_path / "received"
    async with durable(folder) as url, aiohttp.ClientSession() as http:
        for n in range(3):
            body = b'{"messageId":"m%d","properties":{"n":1.10}}' % n
            async with http.post(f"{url}/v1/track", data=body, headers=basic()) as answer:
                assert answer.status == 200
            lines = stored(folder)
            assert len(lines) == n + 1
            assert lines[-1].endswith(b'"event":' + body + b"}")


async def test_many_clients_at_once_each_find_their_events_once(tmp_path: Path) -> None:
    folder = tmp_path / "received"
    async with durable(folder) as url, aiohttp.ClientSession() as http:

        async def client(name: int) -> list[str]:
            acknowledged = []
            for n in range(20):
                ids = [f"{name}-{n}-{k}" for k in range(3)]
                batch = {"batch": [{"messageId": each} for each in ids]}
                async with http.post(f"{url}/v1/batch", json=batch, headers=basic()) as answer:
                    if answer.status == 200:
                        acknowledged += ids
            return acknowledged

        acknowledged = [each for ids in await asyncio.gather(*map(client, range(20))) for each in ids]
    kept = [json.loads(line)["messageId"] for line in stored(folder)]
    assert len(acknowledged) == 1200
    assert sorted(kept) == sorted(acknowledged)
    for name in range(20):
        mine = [each for each in kept if each.startswith(f"{name}-")]
        assert mine == [f"{name}-{n}-{k}" for n in range(20) for k in range(3)]


async def test_the_largest_batch_and_the_largest_rejected_event_fit(tmp_path: Path) -> None:
    folder = tmp_path / "received"
    async with durable(folder) as url, aiohttp.ClientSession() as http:
        events = [{"messageId": f"m{n}", "t": "x" * 1500} for n in range(2500)]
        async with http.post(f"{url}/v1/batch", json={"batch": events}, headers=basic()) as answer:
            assert answer.status == 200
        big = {"messageId": "big", "t": "y" * 500_000}
        async with http.post(f"{url}/v1/batch", json={"batch": [big]}, headers=basic()) as answer:
            assert answer.status == 200
    lines = [json.loads(line) for line in stored(folder)]
    assert [line["event"]["messageId"] for line in lines] == [f"m{n}" for n in range(2500)] + ["big"]
    assert lines[-1]["reject"] == "event_too_large"


async def test_when_the_disk_is_full_the_sender_is_told_to_try_again(tmp_path: Path) -> None:
    folder = tmp_path / "received"
    disk = FullDisk()
    async with durable(folder, disk) as url, aiohttp.ClientSession() as http:
        for name, full, status in (("a", False, 200), ("b", True, 503), ("c", True, 503), ("d", False, 200)):
            disk.full = full
            async with http.post(f"{url}/v1/track", json={"messageId": name}, headers=basic()) as answer:
                assert answer.status == status
                if full:
                    assert int(answer.headers["Retry-After"]) >= 1
                    assert (await answer.json())["code"] == "log_unavailable"
    assert [json.loads(line)["messageId"] for line in stored(folder)] == ["a", "d"]
