"""What `events` says of the other streams is checked against them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.event import Position
from cdpd.log.agreement import disagreements, newest_cursor
from cdpd.log.files import OsFiles
from cdpd.log.frame import Cursor
from cdpd.log.mark import read_mark
from tests.log.conftest import Opened, lines


@pytest.fixture
async def data(opened: Opened, tmp_path: Path) -> Path:
    """Four lines received, one of them discarded."""
    async with opened("received") as received, opened("discarded") as discarded, opened("events") as events:
        await received.append(lines(4), config_id=1)
        await discarded.append(lines(1), config_id=1)
        cursor = Cursor(received.end, 1)
        await events.append(lines(3), config_id=1, cursor=cursor, origins=[0, 1, 3])
        await events.append([], config_id=1, cursor=cursor)
    return tmp_path


def disagreed(data: Path) -> list[str]:
    folders = (data / name for name in ("events", "received", "discarded"))
    return [str(finding) for finding in disagreements(OsFiles(), *folders)]


async def test_streams_of_one_moment_agree(data: Path) -> None:
    assert disagreed(data) == []
    mark = read_mark(OsFiles(), data / "events")
    assert mark is not None
    newest = newest_cursor(OsFiles(), data / "events", mark)
    assert newest is not None
    assert newest[2].received.offset == 4


@pytest.mark.parametrize(
    ("received", "discarded", "told"),
    [
        (Position(5, 0), 1, ["is past offset 4"]),
        (Position(4, 99), 1, ["that this log has never seen"]),
        (Position(4, 0), 2, ["`discarded` reached offset 2"]),
        (Position(9, 0), 9, ["is past offset 4", "`discarded` reached offset 9"]),
    ],
)
async def test_a_position_that_the_others_do_not_have_is_named(
    data: Path, opened: Opened, received: Position, discarded: int, told: list[str]
) -> None:
    async with opened("events") as events:
        assert events.cursor is not None
        epoch = received.epoch or events.cursor.received.epoch
        cursor = Cursor(Position(received.offset, epoch), discarded)
        await events.append(lines(1, 3), config_id=1, cursor=cursor, origins=[3])
    found = disagreed(data)
    assert len(found) == len(told)
    for text, part in zip(found, told, strict=True):
        assert part in text
        assert str(data / "events") in text


async def test_what_is_not_published_yet_is_there(data: Path, opened: Opened) -> None:
    async with opened("discarded") as discarded, opened("events") as events:
        await discarded.append(lines(1, 1), config_id=1, publish=False)
        assert events.cursor is not None
        await events.append(lines(1), config_id=1, cursor=Cursor(events.cursor.received, 2), origins=[3])
        assert disagreed(data) == []
