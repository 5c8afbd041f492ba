"""What retention removes, what it holds, and what readers see of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.event import BEGINNING
from cdpd.log.errors import AppendFailed, NoLongerKept
from cdpd.log.folder import StreamFolder
from cdpd.log.retention import Retention
from cdpd.log.stream import Stream, StreamOptions
from tests.clock import FakeClock
from tests.log.conftest import Opened, all_lines, lines
from tests.log.faulty import FaultyFiles

HOUR = 3600.0


async def _five_hours(stream: Stream, clock: FakeClock) -> None:
    for i in range(5):
        await stream.append(lines(2, 2 * i), config_id=1)
        await clock.advance(HOUR)


async def test_segments_older_than_the_rule_go_oldest_first(opened: Opened, clock: FakeClock) -> None:
    async with opened(segment_age=1.0) as stream:
        await _five_hours(stream, clock)
        done = await stream.retain(Retention(keep=3.5 * HOUR), {})
        assert [(part.base, part.end) for part in done.removed] == [(0, 2), (2, 4)]
        assert done.held == {}
        assert stream.begin == 4
        assert all_lines(stream.reader()) == lines(6, 4)
        assert (await stream.retain(Retention(), {})).removed == []


async def test_a_bound_in_bytes_removes_the_oldest_but_never_the_live_one(
    opened: Opened, clock: FakeClock, tmp_path: Path
) -> None:
    async with opened(segment_age=1.0) as stream:
        await _five_hours(stream, clock)
        sizes = [segment.bytes for segment in StreamFolder(tmp_path / "received").segments()]
        await stream.retain(Retention(keep_bytes=sum(sizes[-2:])), {})
        assert stream.begin == 6
        await stream.retain(Retention(keep_bytes=0), {})
        assert stream.begin == 8
        assert all_lines(stream.reader()) == lines(2, 8)


async def test_a_segment_that_somebody_needs_is_held_and_they_are_named(
    opened: Opened, clock: FakeClock
) -> None:
    async with opened(segment_age=1.0) as stream:
        await _five_hours(stream, clock)
        done = await stream.retain(Retention(keep=0), {"webhook": 3, "warehouse": 3, "file": 10})
        assert [part.end for part in done.removed] == [2]
        assert done.held == {"webhook": 3, "warehouse": 3}
        assert stream.begin == 2


async def test_a_quiet_stream_lets_its_last_lines_go_too(opened: Opened, clock: FakeClock) -> None:
    async with opened() as stream:
        await stream.append(lines(2), config_id=1)
        end = stream.end
        await clock.advance(10 * HOUR)
        assert (await stream.retain(Retention(keep=HOUR), {"webhook": 1})).removed == []
        done = await stream.retain(Retention(keep=HOUR), {"webhook": 2})
        assert [(part.base, part.end) for part in done.removed] == [(0, 2)]
        assert (stream.begin, stream.end.offset) == (2, 2)
    async with opened() as stream:
        assert stream.end.offset == 2
        assert (await stream.append(lines(1, 2), config_id=1)).first == 2
        assert all_lines(stream.reader(end)) == lines(1, 2)
        assert all_lines(stream.reader()) == lines(1, 2)


async def test_a_reader_whose_segments_are_removed_under_it_is_told(
    opened: Opened, clock: FakeClock, tmp_path: Path
) -> None:
    async with opened(segment_age=1.0) as stream:
        await _five_hours(stream, clock)
        inside, outside = stream.reader(), StreamFolder(tmp_path / "received").reader()
        for reader in (inside, outside):
            assert reader.read(max_lines=1) is not None
        await stream.retain(Retention(keep_bytes=0), {})
        for reader in (inside, outside):
            with pytest.raises(NoLongerKept, match="begins at offset 8"):
                reader.read()
            assert reader.position.offset == 2
            reader.seek(BEGINNING)
            assert all_lines(reader) == lines(2, 8)


async def test_a_reader_in_a_removed_segment_is_not_served_what_a_failed_write_left_there(
    opened: Opened, clock: FakeClock, files: FaultyFiles
) -> None:
    async with opened() as stream:
        await stream.append(lines(2), config_id=1)
        reader = stream.reader()
        assert all_lines(reader) == lines(2)
        files.failing |= {"sync", "truncate"}
        with pytest.raises(AppendFailed):
            await stream.append(lines(2, 50), config_id=1)
        files.failing.clear()
        await stream.append(lines(4, 2), config_id=1)
        stream.options = StreamOptions(segment_age=0.0)
        await stream.append(lines(2, 6), config_id=1)
        await stream.retain(Retention(keep_bytes=0), {})
        with pytest.raises(NoLongerKept):
            reader.read()


async def test_indexes_are_written_at_sealing_and_again_where_they_are_missing(
    opened: Opened, clock: FakeClock, tmp_path: Path
) -> None:
    folder = tmp_path / "received"
    async with opened(segment_age=1.0) as stream:
        await _five_hours(stream, clock)
        before = {path.name: path.read_bytes() for path in folder.glob("*.idx")}
        assert len(before) == 4
        for path in folder.glob("*.idx"):
            path.unlink()
        (folder / "00000000000000000099.idx").write_text("an orphan")
        assert all_lines(StreamFolder(folder).reader(StreamFolder(folder).at_offset(5))) == lines(5, 5)
        await stream.retain(Retention(), {})
        assert {path.name: path.read_bytes() for path in folder.glob("*.idx")} == before
        assert len(before) == 4


async def test_a_wrong_index_is_not_believed(opened: Opened, clock: FakeClock, tmp_path: Path) -> None:
    folder = tmp_path / "received"
    async with opened(segment_age=1.0) as stream:
        await _five_hours(stream, clock)
        for path in folder.glob("*.idx"):
            path.write_bytes(path.read_bytes().replace(b'"end"', b'"eng"'))
        assert all_lines(StreamFolder(folder).reader(StreamFolder(folder).at_offset(3))) == lines(7, 3)


async def test_places_by_time_and_by_offset(opened: Opened, clock: FakeClock, tmp_path: Path) -> None:
    start = clock.wall_ms
    folder = StreamFolder(tmp_path / "received")
    assert folder.at_time(start) == folder.at_offset(7) == folder.end() == BEGINNING
    assert folder.segments() == []
    assert list(folder.verify()) == []
    async with opened(segment_age=1.0) as stream:
        await _five_hours(stream, clock)
        hour = 3_600_000
        assert [folder.at_time(start + h * hour).offset for h in range(-1, 6)] == [0, 0, 2, 4, 6, 8, 10]
        assert folder.at_time(start + 5 * hour) == stream.end
        assert [folder.at_offset(offset).offset for offset in (0, 3, 10, 99)] == [0, 3, 10, 10]
        infos = folder.segments()
        assert [(info.base, info.end, info.sealed) for info in infos] == [
            (0, 2, True), (2, 4, True), (4, 6, True), (6, 8, True), (8, 10, False)
        ]  # fmt: skip
        assert [(info.first_ms - start) / hour for info in infos] == [0, 1, 2, 3, 4]
        assert [info.bytes for info in infos] == [info.path.stat().st_size for info in infos]
        await stream.retain(Retention(keep_bytes=0), {})
        assert folder.at_offset(3).offset == folder.begin() == 8
