"""The index keeps up with a stream that is written: in the background, and it lets go of what is not kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from cdpd.backup.backup import backup
from cdpd.config.data_folder import ids_folder, stream_folder
from cdpd.log.files import OsFiles
from cdpd.log.retention import Retention
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.trace.ids import ids_in
from cdpd.trace.indexer import EVERY, Indexer
from cdpd.trace.lookup import Lookup
from tests.clock import FakeClock
from tests.stored import event

FILES = OsFiles()


class Rig:
    """A stream being written and its indexer."""

    def __init__(self, data_dir: Path, stream: Stream, clock: FakeClock) -> None:
        self.data_dir = data_dir
        self.stream = stream
        self.clock = clock
        self.appended = stream.end.offset

    async def segments(self, count: int, lines: int = 3) -> None:
        """So many closed segments more, of so many lines."""
        for _ in range(count):
            for number in range(self.appended, self.appended + lines):
                await self.stream.append([json.dumps(event(number)).encode()], config_id=1)
                await self.clock.advance(1)
            self.appended += lines
            await self.clock.advance(3600)

    def ranges(self) -> list[tuple[int, int]]:
        return [(ids.first, ids.end) for ids in ids_in(FILES, ids_folder(self.data_dir, "events"))]

    async def until(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            while not holds():
                await anyio.sleep(0.001)
                await self.clock.advance(EVERY)


@asynccontextmanager
async def rig(data_dir: Path) -> AsyncIterator[Rig]:
    clock = FakeClock()
    opened = open_stream(
        stream_folder(data_dir, "events"), clock=clock, options=StreamOptions(segment_age=3600), report=print
    )
    async with opened as stream, anyio.create_task_group() as tasks:
        indexer = Indexer([stream], data_dir, clock, structlog.get_logger(), rests=False)
        tasks.start_soon(indexer.run)
        yield Rig(data_dir, stream, clock)
        tasks.cancel_scope.cancel()


async def test_closed_segments_are_indexed_and_the_live_one_is_not(tmp_path: Path) -> None:
    async with rig(tmp_path) as its:
        await its.segments(3)
        await its.until(lambda: its.ranges() == [(0, 3), (3, 6)])
        await its.segments(1)
        await its.until(lambda: its.ranges() == [(0, 3), (3, 6), (6, 9)])
        looked = Lookup(tmp_path, "events").find("m4")
        assert [line.position.offset for line in looked.hits] == [4]
        assert looked.scanned == 3


async def test_small_files_become_one(tmp_path: Path) -> None:
    async with rig(tmp_path) as its:
        await its.segments(9)
        await its.until(lambda: its.ranges() == [(0, 24)])
        await its.segments(8)
        await its.until(lambda: its.ranges() == [(0, 45), (45, 48)])
        for number in range(48):
            hits = Lookup(tmp_path, "events").find(f"m{number}").hits
            assert [line.position.offset for line in hits] == [number]


async def test_what_retention_removed_is_let_go(tmp_path: Path) -> None:
    async with rig(tmp_path) as its:
        await its.segments(5)
        await its.until(lambda: len(its.ranges()) == 4)
        await its.stream.retain(Retention(keep=2.5 * 3600), {})
        begin = its.stream.begin
        assert begin > 0
        await its.until(lambda: its.ranges()[0][0] == begin)


async def test_a_daemon_that_starts_clears_what_a_crash_left(tmp_path: Path) -> None:
    async with rig(tmp_path) as its:
        await its.segments(3)
        await its.until(lambda: len(its.ranges()) == 2)
    folder = ids_folder(tmp_path, "events")
    (folder / "half.ids.new").write_bytes(b"x")
    (folder / f"{0:020d}-{3:020d}.ids").write_bytes(b"x")
    (folder / f"{500:020d}-{600:020d}.ids").write_bytes(b"x")
    async with rig(tmp_path) as its:
        await its.segments(1)
        await its.until(lambda: [name for name in FILES.names(folder) if name.endswith("new")] == [])
        await its.until(lambda: its.ranges() == [(0, 3), (3, 6), (6, 9)])
        assert Lookup(tmp_path, "events").find("m8").scanned == 3


async def test_backups_do_without(tmp_path: Path) -> None:
    async with rig(tmp_path / "data") as its:
        await its.segments(3)
        await its.until(lambda: len(its.ranges()) == 2)
        await anyio.to_thread.run_sync(
            lambda: backup(tmp_path / "data", tmp_path / "copy", now="now", tell=lambda *_: None)
        )
    assert (tmp_path / "data" / "ids" / "CACHEDIR.TAG").exists()
    assert not (tmp_path / "copy" / "ids").exists()


async def test_stopping_does_not_wait_for_a_long_piece_of_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, loop = anyio.Event(), asyncio.get_running_loop()

    def endless(*arguments: Any) -> None:
        loop.call_soon_threadsafe(began.set)
        while True:
            arguments[-1]()  # it lets others by, and ends when the daemon stops

    monkeypatch.setattr("cdpd.trace.indexer.gather", endless)
    with anyio.fail_after(60):
        async with rig(tmp_path) as its:
            await its.segments(3)
            await its.clock.advance(EVERY)
            await began.wait()
