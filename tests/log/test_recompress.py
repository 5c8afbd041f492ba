"""Recompression makes sealed segments smaller and changes nothing that anybody reads."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from cdpd.event import Position
from cdpd.log.files import OsFiles
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import BadFrame, Cursor
from cdpd.log.index import load_index
from cdpd.log.reader import Frame
from cdpd.log.recompress import Recompression, recompressed
from cdpd.log.retention import Retention
from cdpd.log.segment import segment_bases, segment_path, walk
from cdpd.log.stream import Stream
from cdpd.recompression import Recompressor
from tests.bench.bodies import Bodies
from tests.clock import FakeClock
from tests.log.conftest import Opened, all_lines, lines
from tests.log.test_format import read_stream


def frames(folder: Path) -> list[Frame]:
    reader, found = StreamFolder(folder).reader(), list[Frame]()
    while (piece := reader.read()) is not None:
        found += piece.frames
    reader.close()
    return found


def facts(folder: Path) -> list[tuple[Any, ...]]:
    """Everything that a reader learns of each line."""
    return [
        (
            frame.base + i,
            line,
            frame.epoch,
            frame.config_id,
            frame.first_ms,
            frame.last_ms,
            None if frame.origins is None else frame.origins[i],
        )
        for frame in frames(folder)
        for i, line in enumerate(frame.lines)
    ]


def size(folder: Path) -> int:
    return sum(info.bytes for info in StreamFolder(folder).segments())


def in_file(folder: Path, base: int) -> int:
    """How many frames a segment has."""
    file, path = OsFiles().open(segment_path(folder, base)), segment_path(folder, base)
    try:
        return len(list(walk(file, file.size(), path)))
    finally:
        file.close()


def sealed(folder: Path) -> list[tuple[int, int]]:
    bases = segment_bases(OsFiles(), folder)
    return list(pairwise(bases))


def recompress(folder: Path) -> None:
    """All sealed segments at once."""
    for base, end in sealed(folder):
        job = Recompression(OsFiles(), folder, base, end)
        while job.step():
            pass
        assert job.swap()
        job.finish()
        job.close()


@pytest.fixture
async def events(opened: Opened, clock: FakeClock, tmp_path: Path) -> Path:
    """Two starts, two configurations, several segments; some frames without lines, log times that differ."""
    number = 0
    for config_id in (1, 2):
        async with opened("events", segment_bytes=6000) as stream:
            for _ in range(90):
                count = number % 4
                cursor = Cursor(Position(number + count, 7), number // 3)
                await stream.append(
                    lines(count, number), config_id=config_id + (number > 40), cursor=cursor,
                    origins=list(range(number, number + count)),
                )  # fmt: skip
                number += max(count, 1) if count else 0
                number += 1
                await clock.advance(0.25)
    assert len(sealed(tmp_path / "events")) >= 4
    return tmp_path / "events"


def test_offsets_lines_times_epochs_configurations_and_origins_stay(events: Path) -> None:
    before, sizes = facts(events), size(events)
    count = sum(in_file(events, base) for base, _ in sealed(events))
    recompress(events)
    assert facts(events) == before
    assert size(events) < sizes / 2
    assert sum(in_file(events, base) for base, _ in sealed(events)) < count / 8
    assert [finding for finding in StreamFolder(events).verify() if finding.kind != "note"] == []
    for base, end in sealed(events):
        index = load_index(OsFiles(), events, base)
        assert index is not None
        assert (index.base, index.end) == (base, end)
        assert recompressed(OsFiles(), events, base, end)


def test_every_position_is_read_on_from_as_before(events: Path) -> None:
    stream = StreamFolder(events)
    before = {offset: stream.at_offset(offset) for offset in range(0, stream.end().offset, 7)}
    ms = sorted({frame.first_ms for frame in frames(events)})
    recompress(events)
    whole = [line for frame in frames(events) for line in frame.lines]
    for offset, position in before.items():
        assert stream.at_offset(offset) == position
        assert all_lines(stream.reader(position)) == whole[offset:]
        small = stream.reader(position)
        piece = small.read(max_lines=1)
        assert piece is not None
        assert piece.end.offset <= offset + 3, "frames are still as small as they were written"
        assert all_lines(small) == whole[piece.end.offset :]
    for at in ms:
        assert stream.at_time(at).offset <= next(f.base for f in frames(events) if f.last_ms >= at)


def test_a_reader_made_from_the_format_page_reads_it(events: Path) -> None:
    before, _ = read_stream(events)
    recompress(events)
    after, headers = read_stream(events)
    assert after == before
    assert any("parts" in header for header in headers)
    for header in headers:
        if "parts" in header:
            assert sum(part[0] for part in header["parts"]) == header["count"]  # type: ignore[attr-defined]


def test_who_has_the_old_file_open_reads_on(events: Path) -> None:
    whole = [line for frame in frames(events) for line in frame.lines]
    reader = StreamFolder(events).reader()
    piece = reader.read(max_lines=2)
    assert piece is not None
    recompress(events)
    assert all_lines(reader) == whole[piece.end.offset :]


def test_twice_changes_nothing_more(events: Path) -> None:
    recompress(events)
    before = {path.name: path.read_bytes() for path in events.glob("*.zst")}
    recompress(events)
    assert {path.name: path.read_bytes() for path in events.glob("*.zst")} == before


def test_a_damaged_segment_stays_as_it_is(events: Path) -> None:
    base, end = sealed(events)[1]
    path = segment_path(events, base)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    before = path.read_bytes()
    job = Recompression(OsFiles(), events, base, end)
    with pytest.raises(BadFrame, match="checksum"):
        all(iter(job.step, 0))
    job.close()
    assert path.read_bytes() == before
    assert not list(events.glob("*.new"))


async def test_discarded_is_cut_back_inside_of_a_merged_frame(
    opened: Opened, clock: FakeClock, reports: list[str], tmp_path: Path
) -> None:
    """A restored `events` may be older than `discarded`, whose segments were recompressed since."""
    async with opened("discarded", segment_bytes=4000) as stream:
        for i in range(80):
            await stream.append(lines(2, 2 * i), config_id=1)
            await clock.advance(1)
    folder = tmp_path / "discarded"
    times = {frame.base: frame.last_ms for frame in frames(folder)}
    recompress(folder)
    base, end = sealed(folder)[1]
    target = (base + end) // 2
    async with opened("discarded", target=target) as stream:
        assert stream.end.offset == target
        assert all_lines(stream.reader()) == lines(target)
        assert {frame.base: frame.last_ms for frame in frames(folder)}.items() <= times.items()
        done = await stream.append(lines(1, 900), config_id=1)
        assert done.first == target
    assert any(f"behind offset {target} does not count" in text for text in reports)
    assert [finding for finding in StreamFolder(folder).verify() if finding.kind != "note"] == []


# -- in the background ---------------------------------------------------------------------------------------


async def run_until(recompressor: Recompressor, clock: FakeClock, done: Any) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recompressor.run)
        with anyio.fail_after(20):
            while not done():
                await clock.advance(1.0)
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()


def recompressor(stream: Stream, clock: FakeClock, **changes: Any) -> Recompressor:
    options = {"wanted": lambda: True, "room": lambda: True, "log": structlog.get_logger(), **changes}
    return Recompressor([stream], clock=clock, **options)


async def test_sealed_segments_are_recompressed_in_the_background_and_the_live_one_is_not(
    opened: Opened, clock: FakeClock, tmp_path: Path
) -> None:
    folder = tmp_path / "received"
    async with opened(segment_bytes=3000) as stream:
        for i in range(60):
            await stream.append(lines(2, 2 * i), config_id=1)
            await clock.advance(1)

        def all_done() -> bool:
            return all(info.recompressed for info in StreamFolder(folder).segments() if info.sealed)

        assert not all_done()
        await run_until(recompressor(stream, clock), clock, all_done)
        infos = StreamFolder(folder).segments()
        assert [info.recompressed for info in infos] == [True] * (len(infos) - 1) + [False]
        assert all_lines(stream.reader()) == lines(120)
        await stream.append(lines(1, 120), config_id=1)
        assert all_lines(stream.reader()) == lines(121)
        assert not [name for name in OsFiles().names(folder) if name.endswith(".new")]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.zst")}


@pytest.mark.parametrize("why", ["wanted", "room"])
async def test_not_where_it_is_not_wanted_or_the_disk_has_no_room(
    opened: Opened, clock: FakeClock, tmp_path: Path, why: str
) -> None:
    async with opened(segment_bytes=3000) as stream:
        for i in range(60):
            await stream.append(lines(2, 2 * i), config_id=1)
        before = contents(tmp_path / "received")
        asked = []

        def no() -> bool:
            asked.append(1)
            return False

        await run_until(recompressor(stream, clock, **{why: no}), clock, lambda: len(asked) > 10)
        assert contents(tmp_path / "received") == before


async def test_a_segment_that_retention_removes_meanwhile_does_not_come_back(
    opened: Opened, clock: FakeClock, tmp_path: Path
) -> None:
    async with opened(segment_bytes=3000) as stream:
        for i in range(60):
            await stream.append(lines(2, 2 * i), config_id=1)
        base, end = sealed(tmp_path / "received")[0]
        job = Recompression(OsFiles(), tmp_path / "received", base, end)
        while job.step():
            pass
        await stream.retain(Retention(keep_bytes=0), {})
        assert not await stream.exclusively(job.swap)
        job.close()
        assert len(OsFiles().names(tmp_path / "received")) == 3  # the live one, mark and lock


async def test_bodies_of_the_bench_shrink_to_a_third_at_any_rate(
    opened: Opened, clock: FakeClock, tmp_path: Path
) -> None:
    """One event a frame, as at low rates."""
    bodies, received = Bodies(), 0
    async with opened(segment_bytes=600_000) as stream:
        for _ in range(1600):
            line = bodies.single()
            received += len(line)
            await stream.append([line], config_id=1)
            await clock.advance(0.1)
    folder = tmp_path / "received"
    whole = size(folder)
    assert whole > 0.5 * received
    recompress(folder)
    closed = sum(info.bytes for info in StreamFolder(folder).segments() if info.sealed)
    share = sealed(folder)[-1][1] / 1600
    assert closed < 0.3 * received * share
