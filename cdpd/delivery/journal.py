"""The journal of attempts, asked about one event: what was tried with it, where it is parked, how far back it goes.

Everything here takes a connection (`cdpd.delivery.parked.reading`): the daemon writes state.db, commands read it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, structs

from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.parked import Parked, ParkedFilter, pages
from cdpd.delivery.paused import Paused

_OLD_WORDS: Final = {
    "try again": "retry",
    "too large": "too_large",
    "bad event": "bad_event",
    "misconfigured": "bad_config",
}
"""As they stood in state.db before version 2."""


WIDE: Final = 20_000
"""Lines between the first and the last one of a row from which on it is found by the index of wide ones. Most batches
are of neighbours; only a destination that takes few events has others."""
_COLUMNS: Final = (
    "id, offsets, destination, at_ms, attempt, seconds, events, outcome, status, reason, answer, job"
)
_NEAR: Final = (
    f"select {_COLUMNS} from attempts indexed by attempts_by_offset where destination = ? and first_offset > ? "
    f"and first_offset <= ? and last_offset >= ? and last_offset - first_offset < {WIDE}"
)
_WIDE: Final = (
    f"select {_COLUMNS} from attempts indexed by attempts_wide where destination = ? and first_offset >= ? "
    f"and first_offset <= ? and last_offset >= ? and last_offset - first_offset >= {WIDE}"
)


class Tried(Struct, frozen=True):
    """One call of `deliver` that had the event in it."""

    destination: str
    at_ms: int
    attempt: int
    """1 for the first try of these events since the destination was started."""
    seconds: float
    events: int
    """How many events of that call had the same outcome."""
    outcome: str
    """cdpd/destinations/outcome.py: `delivered`, `retry` …"""
    status: int | None
    reason: str
    answer: str
    """The beginning of what the vendor said, secrets masked."""
    job: str
    """`replay-7`, `retry-3`; "" in the ordinary course."""


def destinations(db: sqlite3.Connection) -> dict[str, DeliveryCursor]:
    """Every destination that ever began, and its committed cursor; also those that are not configured any more."""
    rows = db.execute("select destination, cursor from cursors order by destination")
    return {name: DeliveryCursor.parse(text) for name, text in rows}


def tried(db: sqlite3.Connection, names: Sequence[str], offset: int) -> list[Tried]:
    """What these destinations tried with the line at that offset of `events`, oldest first."""
    rows = [
        row
        for name in names
        for query, since in ((_NEAR, offset - WIDE), (_WIDE, 0))
        for row in db.execute(query, (name, since, offset, offset))
    ]
    found = [Tried(*row[2:]) for row in sorted(rows) if _in(offset, row[1])]
    return [structs.replace(one, outcome=_OLD_WORDS.get(one.outcome, one.outcome)) for one in found]


def _in(offset: int, ranges: str) -> bool:
    """Whether it is in "120-130,141-142", ends excluded."""
    for item in ranges.split(","):
        first, _, end = item.partition("-")
        if int(first) <= offset < int(end):
            return True
    return False


def parked_at(db: sqlite3.Connection, names: Sequence[str], message_id: str, offset: int) -> list[Parked]:
    """Where the line at that offset of `events` is parked."""
    found: list[Parked] = []
    for name in names:
        query = "select id from parked where destination = ? and line_offset = ?"
        ids = [id for (id,) in db.execute(query, (name, offset))]
        if ids:
            which = ParkedFilter(destination=name, ids=ids, message_id=message_id or None)
            found += [one for page in pages(db, which) for one in page]
    return found


def pauses(db: sqlite3.Connection) -> dict[str, Paused]:
    """Destinations that somebody has paused by hand."""
    rows = db.execute("select destination, at_ms, reason from paused")
    return {name: Paused(at_ms, reason) for name, at_ms, reason in rows}


def complete_since(db: sqlite3.Connection) -> int | None:
    """Since when the journal has everything, in ms; None: since ever, as nothing was pruned yet."""
    row = db.execute("select id, at_ms from attempts order by id limit 1").fetchone()
    return None if row is None or row[0] == 1 else int(row[1])
