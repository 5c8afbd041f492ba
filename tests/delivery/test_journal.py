"""The journal, asked about one event: every try with it and no other, as far back as it goes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpd.delivery import journal
from cdpd.delivery.cursor import DeliveryCursor, ranges_of
from cdpd.delivery.parked import reading
from cdpd.delivery.state import Attempt, Moment, StateDb
from cdpd.event import Position


def attempt(*offsets: int, outcome: str = "delivered", at_ms: int = 5) -> Attempt:
    ranges = ranges_of((offset, 0) for offset in offsets)
    text = ",".join(f"{one.first}-{one.end}" for one in ranges)
    return Attempt(
        1, at_ms, 0.1, len(offsets), 10, ranges[0].first, ranges[-1].end - 1, text, outcome, 200, "", "ok"
    )


async def stored(path: Path, attempts: dict[str, list[Attempt]]) -> None:
    state = StateDb(path)
    for name, its in attempts.items():
        await state.commit(Moment(name, DeliveryCursor(Position(1, 7)), 5, attempts=its))
    state.close()


async def test_tries_of_one_line_come_in_order_and_from_all_that_are_named(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    first, other, second = attempt(3, 4, outcome="retry"), attempt(9), attempt(1, 4, 8)
    await stored(path, {"b": [first, other], "a": [second], "c": [second]})
    with reading(path) as db:
        assert db is not None
        assert list(journal.destinations(db)) == ["a", "b", "c"]
        tried = journal.tried(db, ["a", "b"], 4)
        assert [(one.destination, one.outcome, one.events) for one in tried] == [
            ("b", "retry", 2),
            ("a", "delivered", 3),
        ]
        assert (tried[0].seconds, tried[0].status, tried[0].answer, tried[0].job) == (0.1, 200, "ok", "")
        assert journal.tried(db, ["a", "b"], 2) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.integers(0, 30), min_size=1), max_size=12))
async def test_a_try_is_found_for_exactly_its_lines(
    tmp_path_factory: pytest.TempPathFactory, batches: list[set[int]]
) -> None:
    path = tmp_path_factory.mktemp("state") / "state.db"
    await stored(path, {"d": [attempt(*sorted(batch), at_ms=n) for n, batch in enumerate(batches)]})
    with reading(path) as db:
        assert db is not None
        for offset in range(31):
            expected = [n for n, batch in enumerate(batches) if offset in batch]
            assert [one.at_ms for one in journal.tried(db, ["d"], offset)] == expected


@pytest.mark.parametrize("width", [1, journal.WIDE - 1, journal.WIDE, journal.WIDE + 1, 10**9])
async def test_a_try_is_found_however_far_apart_its_lines_are(tmp_path: Path, width: int) -> None:
    path, first = tmp_path / "state.db", 7
    await stored(path, {"d": [attempt(first, first + width)]})
    with reading(path) as db:
        assert db is not None
        for offset in (first, first + width):
            assert len(journal.tried(db, ["d"], offset)) == 1
        for offset in (first - 1, first + width + 1):
            assert journal.tried(db, ["d"], offset) == []


async def test_the_journal_knows_how_far_back_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await stored(path, {"d": [attempt(1, at_ms=100), attempt(2, at_ms=200)]})
    with reading(path) as db:
        assert db is not None
        assert journal.complete_since(db) is None
    with sqlite3.connect(path) as writing:
        writing.execute("delete from attempts where id = 1")
    with reading(path) as db:
        assert db is not None
        assert journal.complete_since(db) == 200


async def test_words_of_an_older_daemon_are_read_as_those_of_today(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await stored(path, {"d": [attempt(1, outcome="try again"), attempt(1, outcome="misconfigured")]})
    with reading(path) as db:
        assert db is not None
        assert [one.outcome for one in journal.tried(db, ["d"], 1)] == ["retry", "bad_config"]
