"""state.db: cursors, parked events and the journal of attempts of all destinations, in SQLite (WAL).

What happened at one moment (`Moment`) is one transaction; moments of all destinations that arrive while the
last commit ran go out together (group commit), by the one thread that writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.errors import StateError as StateError  # it is part of what this module offers
from cdpd.delivery.jobs_counts import JobStep
from cdpd.delivery.schema import STEPS
from cdpd.event import Position
from cdpd.group_commit import GroupCommit, connect, open_database

JOURNAL_ROWS: Final = 1_000_000
"""Newest attempts that are kept …"""
JOURNAL_MS: Final = 30 * 86_400_000
"""… and for how long, in milliseconds."""
_PRUNE_EVERY: Final = 20_000


Change = Callable[[sqlite3.Connection], None]
"""Statements on state.db, inside a transaction; called in the thread that writes. May raise sqlite3.Error."""


def unreadable(path: Path, error: Exception) -> StateError:
    """For cursors that cannot be read."""
    return StateError(
        f"{path}: the cursors cannot be read: {error}. Restore it from a backup; where it is removed, every "
        "destination begins anew, at its `from`"
    )


class ParkedEvent(Struct, frozen=True):
    """An event that its destination refused for good."""

    position: Position
    """Of the event's own line in `events`."""
    message_id: str
    line: bytes
    reason: str
    status: int | None
    request: str
    answer: str
    at_ms: int
    source: str = ""
    event: str = ""
    """Of a track its name, else its type."""
    attempts: int = 1
    """How often it was refused; as something to store: 1."""


class Attempt(Struct, frozen=True):
    """Events that met the same outcome in one `deliver`."""

    attempt: int
    at_ms: int
    seconds: float
    events: int
    bytes: int
    first: int
    last: int
    offsets: str
    outcome: str
    """The class's name: cdpd/destinations/outcome.py."""
    status: int | None
    reason: str
    answer: str = ""
    """The beginning of what the vendor said, secrets masked."""


class Moment(Struct, frozen=True):
    """What one destination has to say at one moment: kept whole or not at all."""

    destination: str
    cursor: DeliveryCursor
    at_ms: int
    parked: Sequence[ParkedEvent] = ()
    unparked: Sequence[Position] = ()
    """Events that were parked and are now delivered."""
    attempts: Sequence[Attempt] = ()
    job: JobStep | None = None
    """Of a job: the cursor is its own, not the destination's."""


class StateDb:
    """The one writer of state.db. Raises StateError where the file cannot be opened or is not ours.

    `created`: there was no such file before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writes = 0
        self._db, self.created = open_database(
            path, STEPS, StateError, "every destination begins anew, at its `from`"
        )
        self._reading = connect(path)
        self._writer: GroupCommit[Moment | Change] = GroupCommit(
            self._db, self._put_all, self._not_written, "cdpd-state"
        )

    # -- reading -----------------------------------------------------------------------------------------

    def cursors(self) -> dict[str, Position]:
        """Destination → the highest place in `events` that its cursor speaks of: the floor of that stream."""
        found = {}
        for name, cursor in self._all_cursors().items():
            epochs = {item.end: item.epoch for item in cursor.finished}
            found[name] = Position(cursor.highest, epochs.get(cursor.highest, cursor.low.epoch))
        return found

    def cursor(self, destination: str) -> DeliveryCursor | None:
        """A destination's cursor, None for one that has never run. Raises StateError where it is unreadable."""
        return self._all_cursors().get(destination)

    def _all_cursors(self) -> dict[str, DeliveryCursor]:
        try:
            rows = self._reading.execute("select destination, cursor from cursors").fetchall()
            return {name: DeliveryCursor.parse(text) for name, text in rows}
        except (sqlite3.Error, ValueError) as error:
            raise unreadable(self.path, error) from error

    def newest_ms(self) -> int:
        """When something was last written, in ms; 0 where nothing ever was."""
        query = (
            "select max(coalesce((select max(at_ms) from cursors), 0), "
            "coalesce((select at_ms from attempts order by id desc limit 1), 0))"
        )
        return int(self._reading.execute(query).fetchone()[0])

    def parked_count(self, destination: str) -> int:
        """How many events of a destination are parked."""
        query = "select events from parked_counts where destination = ?"
        row = self._reading.execute(query, (destination,)).fetchone()
        return 0 if row is None else int(row[0])

    def parked_positions(self, destination: str, since: int = 0) -> set[Position]:
        """Where its parked events stand in `events`, from that offset on."""
        query = "select position from parked where destination = ? and line_offset >= ?"
        return {Position.parse(text) for (text,) in self._reading.execute(query, (destination, since))}

    def parked(self, destination: str) -> list[ParkedEvent]:
        """Its parked events, oldest first. All of them: where there may be many, see cdpd/delivery/parked.py."""
        query = (
            "select position, message_id, line, reason, status, request, answer, at_ms, source, event, attempts "
            "from parked where destination = ? order by id"
        )
        rows = self._reading.execute(query, (destination,))
        return [ParkedEvent(Position.parse(row[0]), row[1], bytes(row[2]), *row[3:]) for row in rows]

    def attempts(self, destination: str) -> list[Attempt]:
        """Its journal, oldest first."""
        query = (
            "select attempt, at_ms, seconds, events, bytes, first_offset, last_offset, offsets, outcome, "
            "status, reason, answer from attempts where destination = ? order by id"
        )
        return [Attempt(*row) for row in self._reading.execute(query, (destination,))]

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """What a query finds: for small answers, from the thread that made this. Raises StateError."""
        try:
            return self._reading.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StateError(f"{self.path} cannot be read: {error}") from error

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for a thread that reads much; what it began to read does not change under it."""
        with closing(connect(self.path)) as db:
            db.execute("pragma query_only = on")
            yield db

    # -- writing -----------------------------------------------------------------------------------------

    async def commit(self, moment: Moment) -> None:
        """Returns once it is on disk. Raises StateError where that failed: then nothing of it is."""
        await self._writer.commit(moment)

    async def change(self, change: Change) -> None:
        """Anything else that is to be written, whole, between moments. Returns and raises as `commit`."""
        await self._writer.commit(change)

    def close(self) -> None:
        """Write what was ordered, and stop."""
        self._writer.close()
        self._db.close()
        self._reading.close()

    def _not_written(self, error: sqlite3.Error) -> StateError:
        return StateError(f"{self.path} cannot be written: {error}")

    def _put_all(self, changes: Sequence[Moment | Change]) -> None:
        newest = 0
        for change in changes:
            if isinstance(change, Moment):
                self._put(change)
                newest = change.at_ms
            else:
                change(self._db)
        if newest:
            self._prune(newest)

    def _put(self, moment: Moment) -> None:
        name, db, job = moment.destination, self._db, moment.job
        if job is not None:
            job.put(db, moment.cursor, moment.at_ms)
        else:
            db.execute(
                "insert or replace into cursors values (?, ?, ?)", (name, str(moment.cursor), moment.at_ms)
            )
        for event in moment.parked:
            db.execute(
                "insert into parked (destination, position, line_offset, message_id, line, reason, status, request, "
                "answer, at_ms, tried_ms, source, event) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "on conflict (destination, position) do update set reason = excluded.reason, "
                "status = excluded.status, request = excluded.request, answer = excluded.answer, "
                "tried_ms = excluded.tried_ms, attempts = attempts + 1",
                (
                    name,
                    str(event.position),
                    event.position.offset,
                    event.message_id,
                    event.line,
                    event.reason,
                    event.status,
                    event.request,
                    event.answer,
                    event.at_ms,
                    event.at_ms,
                    event.source,
                    event.event,
                ),
            )
        for position in moment.unparked:
            db.execute("delete from parked where destination = ? and position = ?", (name, str(position)))
        for item in moment.attempts:
            db.execute(
                "insert into attempts (destination, attempt, at_ms, seconds, events, bytes, first_offset, "
                "last_offset, offsets, outcome, status, reason, answer, job) "
                "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    item.attempt,
                    item.at_ms,
                    item.seconds,
                    item.events,
                    item.bytes,
                    item.first,
                    item.last,
                    item.offsets,
                    item.outcome,
                    item.status,
                    item.reason,
                    item.answer,
                    "" if job is None else job.id,
                ),
            )
            self._writes += 1

    def _prune(self, now_ms: int) -> None:
        if self._writes < _PRUNE_EVERY:
            return
        self._writes = 0
        self._db.execute(
            "delete from attempts where id <= (select max(id) from attempts) - ? or "
            "id in (select id from attempts where at_ms < ? order by id limit ?)",
            (JOURNAL_ROWS, now_ms - JOURNAL_MS, 2 * _PRUNE_EVERY),
        )
