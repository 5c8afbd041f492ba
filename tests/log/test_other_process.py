"""A live stream, followed from another process; and a writer that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from cdpd.event import BEGINNING
from cdpd.log.folder import StreamFolder
from cdpd.log.stream import StreamOptions, open_stream
from tests.clock import FakeClock
from tests.log.conftest import Opened, all_lines, lines

FOLLOWER = """
import asyncio, sys
from pathlib import Path
from cdpd.event import BEGINNING
from cdpd.log.folder import StreamFolder

async def follow():
    async for piece in StreamFolder(Path(sys.argv[1])).follow(BEGINNING):
        for position, offset, _, line in piece.records():
            print(offset, line.decode(), flush=True)

asyncio.run(follow())
"""

WRITER = """
import anyio, sys
from pathlib import Path
from cdpd.clock import SystemClock
from cdpd.log.stream import StreamOptions, open_stream

async def main():
    async with open_stream(Path(sys.argv[1]), clock=SystemClock(), options=StreamOptions(segment_bytes=3000),
                           report=print) as stream:
        async def send(task):
            n = 0
            while True:
                n += 1
                line = b'{"task":%d,"n":%d}' % (task, n)
                done = await stream.append([line], config_id=1)
                print(done.first, line.decode(), flush=True)
        async with anyio.create_task_group() as senders:
            for task in range(8):
                senders.start_soon(send, task)

anyio.run(main)
"""


async def _run(program: str, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(folder), stdout=asyncio.subprocess.PIPE
    )


async def test_another_process_follows_a_live_stream_over_segments_and_starts(
    opened: Opened, tmp_path: Path
) -> None:
    folder = tmp_path / "received"
    folder.mkdir()
    follower = await _run(FOLLOWER, folder)
    try:
        assert follower.stdout is not None
        n = 0
        for _ in range(3):
            async with opened(segment_bytes=400) as stream:
                for _ in range(5):
                    await stream.append(lines(4, n), config_id=1)
                    for _ in range(4):  # each line arrives before the next append
                        text = await asyncio.wait_for(follower.stdout.readline(), 30)
                        assert text.decode() == f'{n} {{"n":{n}}}\n'
                        n += 1
        assert len(list(folder.glob("*.zst"))) > 3
    finally:
        follower.kill()
        await follower.wait()


async def test_a_writer_killed_at_work_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "received"
    acknowledged: dict[int, bytes] = {}
    for wanted in (50, 400, 150):
        writer = await _run(WRITER, folder)
        assert writer.stdout is not None
        for _ in range(wanted):
            await asyncio.wait_for(writer.stdout.readuntil(b"\n"), 30)
        writer.send_signal(signal.SIGKILL)
        rest = await writer.stdout.read()
        await writer.wait()
        whole = [line for line in rest.split(b"\n")[:-1] if line]
        acknowledged |= {int(number): line for number, _, line in (text.partition(b" ") for text in whole)}
    async with open_stream(folder, clock=FakeClock(), options=StreamOptions(), report=pytest.fail) as stream:
        reader = stream.reader()
        found: dict[int, bytes] = {}
        while (piece := reader.read()) is not None:
            found |= {offset: line for _, offset, _, line in piece.records()}
        assert sorted(found) == list(range(stream.end.offset))
        assert acknowledged.items() <= found.items()
    assert list(StreamFolder(folder).verify()) == []


async def test_a_folder_that_is_not_there_yet_can_be_followed(tmp_path: Path, opened: Opened) -> None:
    pieces = StreamFolder(tmp_path / "received").follow(BEGINNING)
    first = asyncio.ensure_future(anext(pieces))
    async with opened() as stream:
        await stream.append(lines(2), config_id=1)
        piece = await asyncio.wait_for(first, 30)
        assert [line for _, _, _, line in piece.records()] == lines(2)
    await pieces.aclose()


async def test_readers_take_no_lock(opened: Opened, tmp_path: Path) -> None:
    async with opened() as stream:
        await stream.append(lines(1), config_id=1)
        reader = StreamFolder(tmp_path / "received").reader()
        assert all_lines(reader) == lines(1)
    async with opened() as stream:
        await stream.append(lines(1, 1), config_id=1)
        assert all_lines(reader) == lines(1, 1)
    assert (tmp_path / "received" / "lock").read_text() == f"{os.getpid()}\n"
