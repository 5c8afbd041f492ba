"""Parked events in state.db: chosen, counted, grouped, paged, and brought over from an older file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cdpd.delivery.cursor import DeliveryCursor, Range
from cdpd.delivery.parked import (
    ParkedFilter,
    counts,
    facts,
    groups,
    held,
    line,
    newest_id,
    next_keys,
    pages,
    reading,
)
from cdpd.delivery.schema import STEPS
from cdpd.delivery.state import Moment, ParkedEvent, StateDb, StateError
from cdpd.event import Position


def parked(offset: int, **changed: Any) -> ParkedEvent:
    told = {
        "position": Position(offset, 7),
        "message_id": f"m{offset}",
        "line": b'{"a":1}',
        "reason": "it answered 400 Bad Request: plan",
        "status": 400,
        "request": "POST",
        "answer": "plan",
        "at_ms": 1000 + offset,
        "source": "web",
        "event": "Signed Up",
        **changed,
    }
    return ParkedEvent(**told)


@asynccontextmanager
async def state(path: Path, **events: list[ParkedEvent]) -> AsyncIterator[StateDb]:
    """With these parked, by destination."""
    db = StateDb(path / "state.db")
    try:
        for name, its in events.items():
            await db.commit(Moment(name, DeliveryCursor(Position(100, 7)), 5, its))
        yield db
    finally:
        db.close()


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        (ParkedFilter(), [1, 2, 3, 4]),
        (ParkedFilter(destination="b"), [4]),
        (ParkedFilter(ids=[2, 4, 99]), [2, 4]),
        (ParkedFilter(ids=[]), []),
        (ParkedFilter(reason="PLAN"), [1, 2]),
        (ParkedFilter(status=422), [3]),
        (ParkedFilter(from_ms=1001, to_ms=1003), [2, 3]),
        (ParkedFilter(event="page"), [2]),
        (ParkedFilter(source="app"), [4]),
        (ParkedFilter(message_id="m1", destination="a"), [2]),
        (ParkedFilter(message_id="m1", status=422), []),
    ],
)
async def test_they_are_chosen_by_what_is_given(tmp_path: Path, which: ParkedFilter, ids: list[int]) -> None:
    some = [parked(0), parked(1, event="page"), parked(2, status=422, reason="100%")]
    async with state(tmp_path, a=some, b=[parked(5, source="app", reason="other")]) as db:
        with db.reader() as read:
            assert [one.id for page in pages(read, which, limit=1) for one in page] == ids
            assert sum(counts(read, which).values()) == len(ids)
            assert sum(group.events for group in groups(read, which, 10)) == len(ids)


async def test_pages_go_by_destination_the_longest_parked_first_and_leave_none_out(tmp_path: Path) -> None:
    same_time = [parked(n, at_ms=50) for n in range(7)]
    async with state(tmp_path, b=[parked(1)], a=[parked(20), *same_time]) as db:
        with db.reader() as read:
            found = [[one.message_id for one in page] for page in pages(read, ParkedFilter(), limit=3)]
            keys = next_keys(read, which=ParkedFilter(destination="a"), after=(50, 3), limit=2)
    assert found == [["m0", "m1", "m2"], ["m3", "m4", "m5"], ["m6", "m20"], ["m1"]]
    assert keys == [(50, 4), (50, 5)]


async def test_groups_are_the_reasons_most_frequent_first(tmp_path: Path) -> None:
    its = [parked(0), parked(1, reason="b"), parked(2, reason="b"), parked(3, status=422)]
    async with state(tmp_path, d=its) as db:
        with db.reader() as read:
            found = [
                (g.reason, g.status, g.events, g.first_ms, g.last_ms) for g in groups(read, ParkedFilter(), 9)
            ]
            assert len(list(groups(read, ParkedFilter(), 2))) == 2
    assert found == [
        ("b", 400, 2, 1001, 1002),
        (parked(0).reason, 400, 1, 1000, 1000),
        (parked(0).reason, 422, 1, 1003, 1003),
    ]


async def test_one_that_is_refused_again_keeps_its_id_and_its_time(tmp_path: Path) -> None:
    async with state(tmp_path, d=[parked(0), parked(1)]) as db:
        await db.commit(
            Moment("d", DeliveryCursor(Position(9, 7)), 5, [parked(0, at_ms=9000, reason="still")])
        )
        with db.reader() as read:
            (first, _), *_ = pages(read, ParkedFilter())
            assert (first.id, first.at_ms, first.tried_ms) == (1, 1000, 9000)
            assert (first.attempts, first.reason) == (2, "still")
            assert line(read, 1) == b'{"a":1}'
        assert db.parked_count("d") == 2


async def test_an_id_never_becomes_another_events(tmp_path: Path) -> None:
    cursor = DeliveryCursor(Position(9, 7))
    async with state(tmp_path, d=[parked(0), parked(1)]) as db:
        await db.commit(Moment("d", cursor, 5, (), [Position(0, 7), Position(1, 7)]))
        assert db.parked_count("d") == 0
        await db.commit(Moment("d", cursor, 5, [parked(2)]))
        with db.reader() as read:
            assert newest_id(read) == 3
            assert line(read, 2) is None


async def test_those_that_hold_the_line_are_those_that_the_cursor_has_not_finished(tmp_path: Path) -> None:
    async with state(tmp_path, d=[parked(n) for n in (3, 5, 6, 8)]) as db:
        cursor = DeliveryCursor(Position(5, 7), [Range(6, 8, 7)])
        with db.reader() as read:
            found = held(read, cursor, ParkedFilter(destination="d"))
    assert found == [Position(5, 7), Position(8, 7)]
    after = cursor.without(found)
    assert all(after.covers(position) for position in found)
    assert not after.covers(Position(9, 7))
    assert after.low == cursor.low


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ({"messageId": "m", "projectId": "web", "type": "track", "event": "Paid"}, ("m", "web", "Paid")),
        ({"messageId": "m", "projectId": "web", "type": "page", "event": "Paid"}, ("m", "web", "page")),
        ({"messageId": 7, "type": "track", "event": {}}, ("", "", "track")),
        ([], ("", "", "")),
    ],
)
def test_what_is_kept_beside_an_event(text: object, told: tuple[str, str, str]) -> None:
    assert facts(json.dumps(text).encode()) == told


def test_what_an_older_cdpd_parked_gets_its_source_and_name(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    good = json.dumps({"projectId": "web", "type": "track", "event": "Paid"}).encode()
    page = json.dumps({"projectId": "web", "type": "page"}).encode()
    with sqlite3.connect(path) as db:
        db.executescript(f"{STEPS[0]} pragma user_version = 1;")
        rows = [(n, f"{7:016x}.{n}", n, text) for n, text in enumerate((good, page, b"\xff no event"), 1)]
        db.executemany(
            "insert into parked values (?, 'd', ?, ?, 'm', ?, 'bad', 400, 'POST', 'no', 5)",
            [(n, position, offset, text) for n, position, offset, text in rows],
        )
    with pytest.raises(StateError, match="start the daemon once"), reading(path):
        pass
    StateDb(path).close()
    with reading(path) as read:
        assert read is not None
        ((one, two, three),) = pages(read, ParkedFilter())
        assert counts(read, ParkedFilter()) == {"d": 3}
        assert line(read, 3) == b"\xff no event"
    assert (one.id, one.source, one.event, one.at_ms, one.tried_ms, one.attempts) == (
        1,
        "web",
        "Paid",
        5,
        5,
        1,
    )
    assert (two.source, two.event) == ("web", "page")
    assert (three.source, three.event) == ("", "")


def test_where_there_is_no_state_nothing_is_read(tmp_path: Path) -> None:
    with reading(tmp_path / "state.db") as read:
        assert read is None
