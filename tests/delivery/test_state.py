"""state.db: what is committed together is kept together, through crashes, by one writer for all."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd.delivery import state as state_module
from cdpd.delivery.cursor import DeliveryCursor, Range, ranges_of
from cdpd.delivery.state import Attempt, Moment, ParkedEvent, StateDb, StateError
from cdpd.event import BEGINNING, Position


def cursor(offset: int, *ranges: Range) -> DeliveryCursor:
    return DeliveryCursor(Position(offset, 7), list(ranges))


def parked(offset: int) -> ParkedEvent:
    return ParkedEvent(Position(offset, 7), f"m{offset}", b'{"a":1}', "bad", 400, "POST", "no", 5)


def attempt(offset: int) -> Attempt:
    return Attempt(1, 5, 0.1, 1, 10, offset, offset, f"{offset}-{offset + 1}", "delivered", 200, "")


async def test_a_moment_is_kept_whole_and_found_again(tmp_path: Path) -> None:
    state = StateDb(tmp_path / "state.db")
    where = cursor(10, Range(12, 15, 7), Range(20, 21, 9))
    await state.commit(Moment("d", where, 5, [parked(4)], (), [attempt(3)]))
    state.close()
    state = StateDb(tmp_path / "state.db")
    assert state.cursor("d") == where
    assert state.cursor("other") is None
    assert state.parked("d") == [parked(4)]
    assert state.attempts("d") == [attempt(3)]
    assert state.cursors() == {"d": Position(21, 9)}, "the floor is the highest place that a cursor speaks of"
    state.close()


async def test_what_is_delivered_after_all_is_parked_no_longer(tmp_path: Path) -> None:
    state = StateDb(tmp_path / "state.db")
    await state.commit(Moment("d", cursor(1), 5, [parked(1), parked(2)]))
    await state.commit(Moment("d", cursor(1), 5, [parked(1)]))
    assert state.parked_count("d") == 2
    await state.commit(Moment("d", cursor(3), 5, (), [Position(1, 7)]))
    assert state.parked_positions("d") == {Position(2, 7)}
    state.close()


async def test_moments_of_all_destinations_go_out_together(tmp_path: Path) -> None:
    state = StateDb(tmp_path / "state.db")
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement.lower() == "commit"

    state._db.set_trace_callback(count)
    await asyncio.gather(*(state.commit(Moment(f"d{i}", cursor(i), 5)) for i in range(200)))
    assert len(state.cursors()) == 200
    assert commits < 100
    state.close()


async def test_a_commit_that_fails_leaves_nothing_and_says_so_to_each(tmp_path: Path) -> None:
    state = StateDb(tmp_path / "state.db")
    await state.commit(Moment("d", cursor(1), 5))
    state._db.execute("pragma query_only = on")
    with pytest.raises(StateError, match="cannot be written"):
        await state.commit(Moment("d", cursor(2), 5, [parked(1)]))
    state._db.execute("pragma query_only = off")
    assert state.cursor("d") == cursor(1)
    assert state.parked_count("d") == 0
    await state.commit(Moment("d", cursor(3), 5))
    assert state.cursor("d") == cursor(3)
    state.close()


async def test_what_was_ordered_before_closing_is_written(tmp_path: Path) -> None:
    state = StateDb(tmp_path / "state.db")
    orders = [asyncio.ensure_future(state.commit(Moment("d", cursor(i), 5))) for i in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(state.close)
    await asyncio.gather(*orders)
    state = StateDb(tmp_path / "state.db")
    assert state.cursor("d") == cursor(49)
    state.close()


async def test_the_journal_is_pruned_by_number_and_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "_PRUNE_EVERY", 10)
    monkeypatch.setattr(state_module, "JOURNAL_ROWS", 25)
    state = StateDb(tmp_path / "state.db")
    for i in range(100):
        await state.commit(Moment("d", cursor(i), 5, (), (), [attempt(i)]))
    rows = state.attempts("d")
    assert rows[-1].first == 99
    assert 25 <= len(rows) <= 35
    state.close()


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    StateDb(tmp_path / "state.db").close()
    assert stat.S_IMODE((tmp_path / "state.db").stat().st_mode) == 0o600


def test_a_newer_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    StateDb(tmp_path / "state.db").close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(StateError, match=r"newer cdpd .version 99.*upgrade"):
        StateDb(tmp_path / "state.db")


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(
        b"hello, I am no database at all, and long enough to be looked at" * 20
    )
    with pytest.raises(StateError, match=r"state\.db"):
        StateDb(tmp_path / "state.db")


positions = st.builds(Position, st.integers(0, 1000), st.integers(0, 2**63))
cursors = st.builds(
    DeliveryCursor,
    positions,
    st.lists(st.tuples(st.integers(0, 999), st.integers(1, 9), st.integers(0, 9))).map(
        lambda raw: [Range(first, first + size, epoch) for first, size, epoch in raw]
    ),
)


@given(cursors)
def test_a_cursors_text_reads_back(it: DeliveryCursor) -> None:
    assert DeliveryCursor.parse(str(it)) == it


@given(cursors, st.data())
def test_a_bit_that_changes_on_the_disk_is_noticed(it: DeliveryCursor, data: st.DataObject) -> None:
    text = bytearray(str(it).encode())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= 1 << data.draw(st.integers(0, 6))
    with pytest.raises(ValueError, match=r"checksum|not a"):
        DeliveryCursor.parse(text.decode())


def test_a_cursor_of_an_earlier_version_has_no_checksum() -> None:
    assert DeliveryCursor.parse(f"{7:016x}.5 {7:016x}.8-9") == cursor(5, Range(8, 9, 7))


@pytest.mark.parametrize("text", ["", "x", "7", f"{0:016x}.5 {0:016x}.5", f"{0:016x}.5 {0:016x}.9-9", "0.5"])
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        DeliveryCursor.parse(text)


@given(st.dictionaries(st.integers(0, 60), st.integers(1, 2)))
def test_ranges_name_exactly_the_lines(lines: dict[int, int]) -> None:
    named = {o: r.epoch for r in ranges_of(lines.items()) for o in range(r.first, r.end)}
    assert named == lines
    assert str(DeliveryCursor(BEGINNING, ranges_of(lines.items())))
