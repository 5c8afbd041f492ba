"""A stream that another process writes: its end is known at once, its cursor never too late a one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from cdpd.event import BEGINNING, Position
from cdpd.log.followed import Followed, followed
from cdpd.log.frame import Cursor
from cdpd.log.mark import NAME
from cdpd.log.watch import FileWatch
from tests.log.conftest import Opened, all_lines, lines

PATIENCE = 30.0


@pytest.fixture(params=["inotify", "looking"])
def stream(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Followed]:
    """`received` below tmp_path, with and without help of the system."""
    if request.param == "looking":
        monkeypatch.setattr(FileWatch, "_watching", lambda _: False)
    with followed(tmp_path / "received") as stream:
        yield stream


async def test_what_is_appended_is_there_at_once_over_segments_and_starts(
    stream: Followed, opened: Opened
) -> None:
    reader = stream.reader()
    n = 0
    for _ in range(3):
        async with opened(segment_bytes=400) as writer:
            for _ in range(5):
                await writer.append(lines(4, n), config_id=1)
                assert stream.end == writer.end
                assert all_lines(reader) == lines(4, n)
                n += 4


async def test_everybody_who_waits_is_woken(stream: Followed, opened: Opened) -> None:
    seen: list[int] = []

    async def wait(beyond: int) -> None:
        await stream.wait_beyond(Position(beyond, 1))
        seen.append(beyond)

    async with opened() as writer:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as waiting:
                for beyond in (0, 0, 1, 2):
                    waiting.start_soon(wait, beyond)
                for n in range(3):
                    await anyio.wait_all_tasks_blocked()
                    await writer.append(lines(1, n), config_id=1)
    assert sorted(seen) == [0, 0, 1, 2]


async def test_one_who_gives_up_waiting_takes_no_other_with_it(stream: Followed, opened: Opened) -> None:
    async with opened() as writer:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as patient, anyio.create_task_group() as impatient:
                impatient.start_soon(stream.wait_beyond, BEGINNING)
                patient.start_soon(stream.wait_beyond, BEGINNING)
                await anyio.wait_all_tasks_blocked()
                impatient.cancel_scope.cancel()
                await writer.append(lines(1), config_id=1)


async def test_a_stream_that_is_not_there_yet_is_waited_for(stream: Followed, opened: Opened) -> None:
    assert stream.end == BEGINNING
    assert stream.cursor is None
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.wait_beyond, BEGINNING)
            async with opened() as writer:
                await writer.append(lines(2), config_id=1)
    assert all_lines(stream.reader()) == lines(2)


async def test_nothing_is_looked_at_while_nothing_is_written(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as writer:
        await writer.append(lines(1), config_id=1)
        with followed(tmp_path / "received") as stream:
            looked = 0
            end = Followed.end.fget

            def counted(self: Followed) -> Position:
                nonlocal looked
                looked += 1
                assert end is not None
                return end(self)

            monkeypatch.setattr(Followed, "end", property(counted))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stream.wait_beyond, Position(1, 1))
                await anyio.wait_all_tasks_blocked()
                before = looked
                for _ in range(100):
                    await anyio.wait_all_tasks_blocked()
                assert looked == before
                await writer.append(lines(1, 1), config_id=1)


async def test_a_mark_that_was_replaced_is_noticed(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdpd.log.watch._DOUBT", 0.01)
    with followed(tmp_path / "received") as stream:
        async with opened() as writer:
            await writer.append(lines(1), config_id=1)
            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(stream.wait_beyond, Position(1, 1))
                    await anyio.wait_all_tasks_blocked()
                    mark = tmp_path / "received" / NAME
                    mark.with_name("copy").write_bytes(mark.read_bytes())  # as a copy-up of overlayfs
                    mark.with_name("copy").replace(mark)
                    await writer.append(lines(1, 1), config_id=1)


async def test_the_cursor_is_that_of_the_last_durable_frame(tmp_path: Path, opened: Opened) -> None:
    with followed(tmp_path / "events") as stream:
        async with opened("events", segment_bytes=300) as writer:
            for n in range(1, 9):
                cursor = Cursor(Position(n, 7), n * 2)
                await writer.append(lines(n % 3), config_id=1, cursor=cursor, origins=list(range(n % 3)))
                assert stream.cursor == writer.cursor == cursor
        async with opened("events") as writer:
            assert stream.cursor == writer.cursor


async def test_a_cursor_that_cannot_be_read_is_an_earlier_one(tmp_path: Path, opened: Opened) -> None:
    with followed(tmp_path / "events") as stream:
        async with opened("events") as writer:
            await writer.append(lines(1), config_id=1, cursor=Cursor(Position(1, 7), 0), origins=[0])
            known = stream.cursor
            await writer.append(lines(1, 1), config_id=1, cursor=Cursor(Position(2, 7), 0), origins=[1])
            (segment,) = (tmp_path / "events").glob("*.zst")
            segment.rename(segment.with_suffix(".away"))
            assert stream.cursor == known
            segment.with_suffix(".away").rename(segment)
            assert stream.cursor == Cursor(Position(2, 7), 0)


async def test_a_mark_that_a_write_has_torn_is_the_one_before(tmp_path: Path, opened: Opened) -> None:
    with followed(tmp_path / "received") as stream:
        async with opened() as writer:
            await writer.append(lines(1), config_id=1)
            before = stream.end
            mark = tmp_path / "received" / NAME
            whole = mark.read_bytes()
            mark.write_bytes(whole[:20] + bytes(len(whole) - 20))
            assert stream.end == before
            mark.write_bytes(whole)
            await writer.append(lines(1, 1), config_id=1)
            assert stream.end == writer.end
