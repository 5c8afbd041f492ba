"""Appending: groups, failures, the one writer."""

from __future__ import annotations

import os
import stat
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cdpd.event import BEGINNING, Position
from cdpd.log.errors import AppendFailed, InvalidCursor, NewerFormat, StreamLocked
from cdpd.log.files import OsFiles
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import Cursor, crc32c
from cdpd.log.mark import read_mark
from cdpd.log.stream import Stream, StreamOptions, open_stream
from tests.clock import FakeClock
from tests.log.conftest import Opened, all_lines, lines
from tests.log.disk import Disk
from tests.log.faulty import FaultyFiles


async def test_appends_that_arrive_together_go_out_in_one_write_and_one_sync(
    opened: Opened, files: FaultyFiles
) -> None:
    async with opened() as stream:
        await stream.append(lines(1), config_id=1)
        files.done.clear()
        ends: list[int] = []

        async def send(i: int) -> None:
            ends.append((await stream.append(lines(2, i), config_id=1)).end.offset)

        async with anyio.create_task_group() as senders:
            for i in range(50):
                senders.start_soon(send, i)
        name = "00000000000000000000.ndjson.zst.new"  # the name that the file was made under
        assert files.done == [f"write {name}", f"sync {name}", "overwrite mark"]
        assert sorted(ends) == list(range(3, 103, 2))


async def test_the_first_answer_out_of_a_new_segment_comes_after_its_name_is_synced(
    opened: Opened, files: FaultyFiles
) -> None:
    async with opened() as stream:
        files.done.clear()
        await stream.append(lines(1), config_id=1)
        name = "00000000000000000000.ndjson.zst"
        assert files.done == [
            f"create {name}.new", f"write {name}.new", f"sync {name}.new", f"rename {name}", "sync_folder received",
            f"write {name}.new", f"sync {name}.new", "overwrite mark",
        ]  # fmt: skip


async def test_segments_roll_by_size_and_by_age(opened: Opened, clock: FakeClock, tmp_path: Path) -> None:
    async with opened(segment_bytes=300, segment_age=60.0) as stream:
        await stream.append(lines(1), config_id=1)
        await stream.append(lines(1, 1), config_id=1)
        await clock.advance(61)
        await stream.append(lines(1, 2), config_id=1)
        for i in range(3, 8):
            await stream.append([b'{"n":%d,"x":"%s"}' % (i, os.urandom(60).hex().encode())], config_id=1)
        assert len(all_lines(stream.reader())) == 8
    segments = StreamFolder(tmp_path / "received").segments()
    assert [segment.base for segment in segments[:2]] == [0, 2]
    assert len(segments) > 3
    assert all(segment.end > segment.base for segment in segments)
    assert all(path.stat().st_size for path in (tmp_path / "received").glob("*.zst"))


async def test_files_are_for_their_owner_only(opened: Opened, tmp_path: Path) -> None:
    async with opened(segment_bytes=1) as stream:
        await stream.append(lines(1), config_id=1)
        await stream.append(lines(1), config_id=1)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "received").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "received").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "kinds", [{"write"}, {"sync"}, {"overwrite"}, {"sync", "truncate"}, {"write", "truncate"}]
)
async def test_an_append_that_fails_leaves_nothing_and_the_next_goes_to_a_new_segment(
    kinds: set[str], opened: Opened, files: FaultyFiles, reports: list[str], tmp_path: Path
) -> None:
    async with opened() as stream:
        await stream.append(lines(3), config_id=1)
        before = stream.end
        files.failing |= kinds
        with pytest.raises(AppendFailed, match=r"received: .*(No space|Input/output)"):
            await stream.append(lines(2, 100), config_id=1)
        assert stream.end == before
        assert all_lines(stream.reader()) == lines(3)
        files.failing.clear()
        done = await stream.append(lines(2, 3), config_id=1)
        assert (done.first, done.end.offset) == (3, 5)
        assert (
            all_lines(stream.reader()) == all_lines(StreamFolder(tmp_path / "received").reader()) == lines(5)
        )
        assert [segment.base for segment in StreamFolder(tmp_path / "received").segments()] == [0, 3]
        assert any("cut back" in text for text in reports)
    found = StreamFolder(tmp_path / "received").verify()
    assert [finding for finding in found if finding.kind != "note"] == []
    async with opened() as stream:
        assert all_lines(stream.reader()) == lines(5)


async def test_a_full_disk_refuses_each_append_until_there_is_room_and_is_told_of_once(
    opened: Opened, files: FaultyFiles, reports: list[str]
) -> None:
    async with opened() as stream:
        files.failing |= {"write", "create"}
        for _ in range(3):
            with pytest.raises(AppendFailed):
                await stream.append(lines(1), config_id=1)
        files.failing.clear()
        await stream.append(lines(1), config_id=1)
        await stream.append(lines(1, 1), config_id=1)
        assert all_lines(stream.reader()) == lines(2)
        assert ["No space" in text for text in reports] == [True, False]
        assert "succeed again, after 3 writes that failed" in reports[1]


async def test_cutting_back_that_the_disk_refuses_is_made_up_for_by_the_next_append(
    opened: Opened, files: FaultyFiles, reports: list[str]
) -> None:
    async with opened("discarded", target=0, segment_bytes=1) as stream:
        for first in (0, 2, 4):
            await stream.append(lines(2, first), config_id=1, publish=False)
        files.failing |= {"remove", "truncate"}
        await stream.cut_to(2)
        assert "could be removed" in reports[0]
        stream.publish()
        assert all_lines(stream.reader()) == lines(2)
        with pytest.raises(AppendFailed):
            await stream.append(lines(1, 2), config_id=1)
        files.failing.clear()
        stream.options = StreamOptions()
        await stream.append(lines(1, 2), config_id=1)
        await stream.append(lines(4, 3), config_id=1)
        assert all_lines(stream.reader()) == lines(7)
    async with opened("discarded", target=7) as stream:
        assert all_lines(stream.reader()) == lines(7)


async def test_a_failed_append_with_a_cursor_is_answered_once_it_cannot_come_back(
    opened: Opened, files: FaultyFiles, clock: FakeClock
) -> None:
    async with opened("events") as stream:
        await stream.append(lines(1), config_id=1, cursor=Cursor(Position(1, 9), 0))
        files.failing |= {"sync", "truncate", "create"}
        refused: list[AppendFailed] = []

        async def send() -> None:
            try:
                await stream.append(lines(1, 50), config_id=1, cursor=Cursor(Position(2, 9), 0))
            except AppendFailed as error:
                refused.append(error)

        async with anyio.create_task_group() as sending:
            sending.start_soon(send)
            while not clock.sleepers:
                await anyio.lowlevel.checkpoint()
            assert not refused
            files.failing.clear()
            await clock.advance(1.0)
        assert len(refused) == 1
        assert stream.cursor == Cursor(Position(1, 9), 0)
        assert all_lines(stream.reader()) == lines(1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [([b"{}\n{}"], "line break"), ([b"{}", b""], "empty"), ([b"", b"{}"], "empty")],
)
async def test_what_is_no_line_is_refused_and_its_neighbours_are_not(
    bad: list[bytes], reason: str, opened: Opened
) -> None:
    async with opened() as stream:
        results: list[object] = []

        async def send(what: list[bytes]) -> None:
            try:
                results.append((await stream.append(what, config_id=1)).first)
            except ValueError as error:
                results.append(str(error))

        async with anyio.create_task_group() as senders:
            for what in (lines(1), bad, lines(1, 1)):
                senders.start_soon(send, what)
        assert [result for result in results if isinstance(result, int)] == [0, 1]
        assert [reason in result for result in results if isinstance(result, str)] == [True]
        assert all_lines(stream.reader()) == lines(2)


async def test_a_second_writer_is_told_who_the_first_is(opened: Opened, tmp_path: Path) -> None:
    async with opened():
        with pytest.raises(StreamLocked, match=rf"{tmp_path / 'received'}.*pid {os.getpid()}\b"):
            async with opened():
                pytest.fail("opened twice")
    async with opened() as stream:
        await stream.append(lines(1), config_id=1)


async def test_an_error_inside_the_with_comes_out_as_it_is(opened: Opened) -> None:
    with pytest.raises(KeyError):
        async with opened():
            raise KeyError("mine")


async def test_appends_of_a_cancelled_scope_are_written_while_it_drains(
    opened: Opened, tmp_path: Path
) -> None:
    with anyio.CancelScope() as scope:
        async with opened() as stream:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await stream.append(lines(2), config_id=1)
    assert all_lines(StreamFolder(tmp_path / "received").reader()) == lines(2)


async def test_after_the_end_appends_are_refused(opened: Opened) -> None:
    async with opened() as stream:
        pass
    with pytest.raises(AppendFailed, match="closed"):
        await stream.append(lines(1), config_id=1)


async def test_waiting_beyond_a_position_ends_with_the_append(opened: Opened) -> None:
    async with opened() as stream:
        woken: list[int] = []

        async def wait() -> None:
            await stream.wait_beyond(BEGINNING)
            woken.append(stream.end.offset)

        async with anyio.create_task_group() as waiting:
            waiting.start_soon(wait)
            waiting.start_soon(wait)
            await stream.append([], config_id=1, cursor=Cursor(BEGINNING, 0))
            assert woken == []
            await stream.append(lines(2), config_id=1)
        assert woken == [2, 2]
        await stream.wait_beyond(BEGINNING)


async def test_what_is_not_published_is_durable_but_not_seen(opened: Opened, tmp_path: Path) -> None:
    async with opened("discarded", target=0) as stream:
        await stream.append(lines(2), config_id=1, publish=False)
        await stream.append(lines(2, 2), config_id=1, publish=False)
        assert stream.reader().read() is None
        assert StreamFolder(tmp_path / "discarded").reader().read() is None
        stream.publish()
        assert all_lines(stream.reader()) == lines(4)
        assert all_lines(StreamFolder(tmp_path / "discarded").reader()) == lines(4)


@pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
async def test_cutting_back_takes_away_what_was_not_published(segment_bytes: int, opened: Opened) -> None:
    async with opened("discarded", target=0, segment_bytes=segment_bytes) as stream:
        await stream.append(lines(2), config_id=1, publish=False)
        stream.publish()
        for first in (2, 4, 6):
            await stream.append(lines(2, first + 100), config_id=1, publish=False)
        with pytest.raises(ValueError, match="cannot cut to 5"):
            await stream.cut_to(5)
        with pytest.raises(ValueError, match="cannot cut to 1"):
            await stream.cut_to(1)
        await stream.cut_to(4)
        await stream.cut_to(2)
        done = await stream.append(lines(1, 2), config_id=1, publish=False)
        assert done.first == 2
        await stream.append(lines(4, 3), config_id=1, publish=False)
        await stream.append(lines(1, 7), config_id=1, publish=False)
        stream.publish()
        assert all_lines(stream.reader()) == lines(8)
    async with opened("discarded", target=8) as stream:
        assert all_lines(stream.reader()) == lines(8)


async def test_publishing_while_a_write_runs_does_not_publish_what_that_write_brings(opened: Opened) -> None:
    async with opened("discarded", target=0) as stream:
        await stream.append(lines(2), config_id=1, publish=False)

        async def send() -> None:
            await stream.append(lines(2, 2), config_id=1, publish=False)

        async with anyio.create_task_group() as sending:
            sending.start_soon(send)
            while not stream._lock.locked():
                await anyio.lowlevel.checkpoint()
            stream.publish()
        assert stream.end.offset == 2
        stream.publish()
        assert all_lines(stream.reader()) == lines(4)


async def test_an_append_cancelled_before_it_was_written_is_not_written_after_the_cut(opened: Opened) -> None:
    async with opened("discarded", target=0) as stream:
        await stream.append(lines(2), config_id=1, publish=False)
        stream.publish()

        async def send(first: int) -> None:
            await stream.append(lines(1, first), config_id=1, publish=False)

        async with anyio.create_task_group() as sending:
            sending.start_soon(send, 50)
            while not stream._lock.locked():
                await anyio.lowlevel.checkpoint()
            sending.start_soon(send, 60)
            await anyio.lowlevel.checkpoint()
            sending.cancel_scope.cancel()
        await stream.cut_to(2)
        assert (await stream.append(lines(1, 2), config_id=1)).first == 2
        assert all_lines(stream.reader()) == lines(3)


async def test_discarded_is_cut_to_what_events_names_at_a_start(opened: Opened, reports: list[str]) -> None:
    async with opened("discarded", target=0, segment_bytes=1) as stream:
        await stream.append(lines(2), config_id=1, publish=False)
        stream.publish()
        await stream.append(lines(2, 50), config_id=1, publish=False)
        await stream.append(lines(2, 52), config_id=1, publish=False)
    async with opened("discarded", target=2) as stream:
        assert stream.end.offset == 2
        assert all_lines(stream.reader()) == lines(2)
        await stream.append(lines(1, 2), config_id=1, publish=False)
        stream.publish()
        assert all_lines(stream.reader()) == lines(3)
    assert reports == []


async def test_published_lines_above_the_target_are_set_aside_not_removed(
    opened: Opened, reports: list[str], tmp_path: Path
) -> None:
    async with opened("discarded", target=0) as stream:
        await stream.append(lines(2), config_id=1)
        await stream.append(lines(2, 2), config_id=1)
        position = stream.end
    async with opened("discarded", target=2) as stream:  # `events` comes from an older backup
        assert all_lines(stream.reader()) == lines(2)
        with pytest.raises(InvalidCursor, match="restored backup"):
            stream.reader(position).read()
    assert len(list((tmp_path / "discarded").glob("*.cut"))) == 1
    assert "set aside" in reports[0]


async def test_log_time_never_goes_back_with_the_clock(opened: Opened, clock: FakeClock) -> None:
    async with opened() as stream:
        await stream.append(lines(1), config_id=1)
        start = clock.wall_ms
        clock.wall_ms -= 100_000
        await stream.append(lines(1), config_id=1)
    async with opened() as stream:
        await stream.append(lines(1), config_id=1)
        piece = stream.reader().read()
        assert piece is not None
        assert [frame.last_ms for frame in piece.frames] == [start] * 3


async def test_what_a_process_left_past_the_mark_is_cut_in_the_same_boot(
    opened: Opened, tmp_path: Path
) -> None:
    async with opened() as stream:
        await stream.append(lines(2), config_id=1)
        mark = (tmp_path / "received" / "mark").read_bytes()
        await stream.append(lines(2, 2), config_id=1)
        left = (tmp_path / "received" / "mark").read_bytes()
    assert left != mark
    (tmp_path / "received" / "mark").write_bytes(mark)  # as if it had died before the mark
    async with opened() as stream:
        assert all_lines(stream.reader()) == lines(2)


async def test_after_another_boot_whole_frames_are_kept_and_a_torn_tail_is_set_aside(
    opened: Opened, files: FaultyFiles, tmp_path: Path, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as stream:
        await stream.append(lines(2), config_id=1)
        mark = (tmp_path / "received" / "mark").read_bytes()
        await stream.append(lines(2, 2), config_id=1)
        await stream.append(lines(2, 4), config_id=1)
    (tmp_path / "received" / "mark").write_bytes(mark)
    segment = tmp_path / "received" / "00000000000000000000.ndjson.zst"
    data = segment.read_bytes()
    segment.write_bytes(data[:-3])
    monkeypatch.setattr(FaultyFiles, "boot_id", lambda _: b"another boot....")
    async with opened() as stream:
        assert all_lines(stream.reader()) == lines(4)
        await stream.append(lines(1, 4), config_id=1)
        assert all_lines(stream.reader()) == lines(5)
    (aside,) = (tmp_path / "received").glob("*.cut")
    assert data[:-3].endswith(aside.read_bytes())
    assert aside.name in reports[0]


async def test_a_start_reads_the_last_segment_only(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(segment_bytes=1) as stream:
        for i in range(20):
            await stream.append(lines(1, i), config_id=1)
    read: list[str] = []
    whole = OsFiles.open

    def open_(self: OsFiles, path: Path) -> object:
        read.append(path.name)
        return whole(self, path)

    monkeypatch.setattr(OsFiles, "open", open_)
    async with opened() as stream:
        assert stream.end.offset == 20
        assert {name[:20] for name in read} == {f"{19:020d}"}
        read.clear()
        assert all_lines(stream.reader(StreamFolder(tmp_path / "received").at_offset(19))) == lines(1, 19)


async def test_every_start_is_an_epoch_of_its_own_and_old_positions_stay_good(opened: Opened) -> None:
    positions: list[Position] = []
    for start in range(4):
        async with opened() as stream:
            positions.append((await stream.append(lines(2, 2 * start), config_id=1)).end)
    assert len({position.epoch for position in positions}) == 4
    async with opened() as stream:
        for position in positions:
            assert all_lines(stream.reader(position)) == lines(8 - position.offset, position.offset)
        with pytest.raises(InvalidCursor, match="never seen"):
            stream.reader(Position(offset=3, epoch=12345)).read()
        with pytest.raises(InvalidCursor, match="past offset 2"):
            stream.reader(Position(offset=3, epoch=positions[0].epoch)).read()


async def test_a_stream_that_only_moves_its_cursor_keeps_it_over_starts(
    opened: Opened, tmp_path: Path
) -> None:
    for start in range(3):
        async with opened("events") as stream:
            assert stream.cursor == (Cursor(Position(start, 7), start) if start else None)
            await stream.append([], config_id=1, cursor=Cursor(Position(start + 1, 7), start + 1))
            assert stream.cursor == Cursor(Position(start + 1, 7), start + 1)
    mark = read_mark(OsFiles(), tmp_path / "events")
    assert mark is not None
    assert mark.end == 0
    assert len(list((tmp_path / "events").glob("*.zst"))) == 1


async def test_a_process_that_dies_while_it_replaces_a_segment_without_lines_moves_no_cursor(
    clock: FakeClock,
) -> None:
    disk, folder = Disk(), Path("/simulated/events")

    def opened() -> AbstractAsyncContextManager[Stream]:
        return open_stream(folder, clock=clock, options=StreamOptions(), files=disk, report=lambda _: None)

    for n in (1, 2):
        async with opened() as stream:
            for part in range(3):
                await stream.append([], config_id=1, cursor=Cursor(Position(10 * n + part, 7), 0))
        disk.next_process()
    async with opened() as stream:
        disk.history.clear()
        disk.operations_left = (
            7  # the new segment is made, and the frame is in it, but the mark is not written
        )

        async def send() -> None:
            await stream.append([], config_id=1, cursor=Cursor(Position(99, 7), 0))

        async with anyio.create_task_group() as sending:
            sending.start_soon(send)
            while not clock.sleepers:
                await anyio.lowlevel.checkpoint()
            sending.cancel_scope.cancel()
    assert [text.split()[0] for text in disk.history] == [
        "create", "write", "sync", "rename", "sync_folder", "write", "sync"
    ]  # fmt: skip
    disk.next_process()
    async with opened() as stream:
        assert stream.cursor == Cursor(Position(22, 7), 0)
    disk.next_process()


async def test_what_a_start_cuts_off_does_not_come_back_with_a_power_loss(clock: FakeClock) -> None:
    disk, folder = Disk(), Path("/simulated/events")

    def opened() -> AbstractAsyncContextManager[Stream]:
        return open_stream(folder, clock=clock, options=StreamOptions(), files=disk, report=lambda _: None)

    async with opened() as stream:
        await stream.append(lines(1), config_id=1)
        segment = disk.cached[folder / "00000000000000000000.ndjson.zst"]
        mark, whole = disk.cached[folder / "mark"].cache[:], len(segment.cache)
        await stream.append(lines(1, 1), config_id=1)
    disk.cached[folder / "mark"].cache[:] = mark  # as if it had died just before the mark
    disk.next_process()
    async with opened() as stream:
        assert stream.end.offset == 1
        assert len(segment.cache) == len(segment.disk) == whole
        assert not segment.ops
    disk.next_process()


async def test_a_newer_format_is_refused_clearly(opened: Opened, tmp_path: Path) -> None:
    async with opened() as stream:
        await stream.append(lines(1), config_id=1)
    segment = tmp_path / "received" / "00000000000000000000.ndjson.zst"
    data = bytearray(segment.read_bytes())
    data[12] = 2
    end = 8 + int.from_bytes(data[4:8], "little")
    data[end - 4 : end] = crc32c(bytes(data[: end - 4])).to_bytes(4, "little")
    segment.write_bytes(data)
    with pytest.raises(NewerFormat, match="newer cdpd"):
        async with opened():
            pytest.fail("opened")


# -- appending without waiting ---------------------------------------------------------------------------


async def test_an_append_may_call_back_instead_of_being_waited_for(tmp_path: Path) -> None:
    told: list[tuple[str | None, int]] = []
    async with open_stream(
        tmp_path / "received", clock=FakeClock(), options=StreamOptions(), report=print
    ) as stream:
        stream.append_then(
            [b'{"a":1}', b'{"a":2}'], 7, lambda failure: told.append((failure, stream.end.offset))
        )
        await stream.append([b'{"b":1}'], config_id=7)
        assert told == [(None, 3)]
        stream.append_then([b"two\nlines"], 7, lambda failure: told.append((failure, stream.end.offset)))
        await stream.append([b'{"b":2}'], config_id=7)
        assert told[1] == ("a line contains a line break", 4)
    stream.append_then([b"{}"], 7, lambda failure: told.append((failure, stream.end.offset)))
    assert len(told) == 2, "never from inside the call"
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    assert told[2][0] is not None
    assert "closed" in told[2][0]
