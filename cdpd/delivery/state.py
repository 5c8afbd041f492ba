"""state.db: how far each destination is, what was parked, and every attempt; SQLite, written by the daemon only.

Cursor, parked events and attempts of a moment are one transaction. One writer commits for all destinations:
what is submitted while one commit runs goes out with the next.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec
import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.event import Position

VERSION: Final = 1
KEEP_ATTEMPTS: Final = 10_000
"""Attempts that are kept of each destination, the newest."""
_PRUNE_EVERY: Final = 1000
_RETRY: Final = 1.0
"""Seconds between two tries of a commit that the disk refused."""
_SCHEMA: Final = """
create table cursors (
  destination text primary key, position text not null, ranges text not null, updated_ms integer not null
) without rowid;
create table parked (
  id integer primary key, destination text not null, offset integer not null, message_id text not null,
  parked_ms integer not null, reason text not null, status integer, request text not null, answer text not null,
  line blob not null, unique (destination, offset)
);
create table attempts (
  id integer primary key, destination text not null, first integer not null, last integer not null,
  events integer not null, bytes integer not null, attempt integer not null, started_ms integer not null,
  took_ms integer not null, outcome text not null, status integer, reason text not null
);
create index attempts_of on attempts (destination, id);
create index parked_messages on parked (message_id);
"""


class StateError(Exception):
    """state.db cannot be used as it is."""


class Progress(Struct, frozen=True):
    """How far a destination is: all before `position` is done, and so are the offsets in `ranges` above it."""

    position: Position
    ranges: list[tuple[int, int]] = []
    """[from, to) each, ascending."""


class Parked(Struct, frozen=True):
    """An event that the vendor will never take."""

    offset: int
    message_id: str
    reason: str
    status: int | None
    request: str
    answer: str
    line: bytes


class Attempt(Struct, frozen=True):
    """One call of `deliver`."""

    first: int
    """Offset of its first event …"""
    last: int
    """… and of its last."""
    events: int
    bytes: int
    attempt: int
    started_ms: int
    took_ms: int
    outcome: str
    status: int | None
    reason: str


class Change(Struct, frozen=True):
    """What one step of a destination changes, committed as a whole."""

    destination: str
    progress: Progress
    at_ms: int
    parked: Sequence[Parked] = ()
    attempts: Sequence[Attempt] = ()


class StateDb:
    """The database. Raises StateError where it is of a newer cdpd or no database, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made here, so that it (and SQLite's files beside it, which take its mode) is private from the start.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._lock = threading.Lock()
        self._queue: list[Change] = []
        self._submitted = self._committed = 0
        self._work = anyio.Event()
        self._done = anyio.Event()
        self._since_prune = 0
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._open()
        except sqlite3.DatabaseError as error:
            raise StateError(
                f"{path}: {error}; move it away to start without it (destinations begin anew)"
            ) from None
        self._progress = self._read_progress()
        self._parked: dict[str, int] = dict(
            self._db.execute("select destination, count(*) from parked group by destination").fetchall()
        )

    def _open(self) -> None:
        db = self._db
        db.execute("pragma journal_mode = wal")
        # A power loss may take the last transactions, each whole: cursor and parked events stay in step, and
        # what was sent meanwhile is sent again.
        db.execute("pragma synchronous = normal")
        (version,) = db.execute("pragma user_version").fetchone()
        if version > VERSION:
            raise StateError(f"{self.path} was written by a newer cdpd (version {version}); install that one")
        if version == 0:
            db.executescript(f"begin; {_SCHEMA} pragma user_version = {VERSION}; commit;")

    def _read_progress(self) -> dict[str, Progress]:
        rows = self._db.execute("select destination, position, ranges from cursors").fetchall()
        return {
            name: Progress(Position.parse(position), msgspec.json.decode(ranges, type=list[tuple[int, int]]))
            for name, position, ranges in rows
        }

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def cursors(self) -> dict[str, Position]:
        """Every destination's committed low-water mark, those without a configuration too."""
        return {name: progress.position for name, progress in self._progress.items()}

    def progress(self, destination: str) -> Progress | None:
        """How far a destination is, as committed; None for a new one."""
        return self._progress.get(destination)

    def parked(self, destination: str) -> int:
        """How many events of it are parked."""
        return self._parked.get(destination, 0)

    def parked_events(self, destination: str) -> list[Parked]:
        """The parked events, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "select offset, message_id, reason, status, request, answer, line from parked "
                "where destination = ? order by id",
                (destination,),
            ).fetchall()
        return [Parked(*row) for row in rows]

    def attempts(self, destination: str) -> list[Attempt]:
        """The attempts that are kept, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "select first, last, events, bytes, attempt, started_ms, took_ms, outcome, status, reason "
                "from attempts where destination = ? order by id",
                (destination,),
            ).fetchall()
        return [Attempt(*row) for row in rows]

    def submit(self, change: Change) -> int:
        """Have a change committed soon; a ticket to wait for with `committed`."""
        self._queue.append(change)
        self._submitted += 1
        self._work.set()
        return self._submitted

    async def committed(self, ticket: int) -> None:
        """Return once the change of that ticket is committed."""
        while self._committed < ticket:
            await self._done.wait()

    async def run(self, clock: Clock, log: structlog.typing.FilteringBoundLogger) -> None:
        """Commit what is submitted, until cancelled; what is left then is committed first."""
        while True:
            try:
                await self._work.wait()
            except anyio.get_cancelled_exc_class():
                if self._queue:
                    self._commit(self._queue)
                raise
            self._work = anyio.Event()
            batch, self._queue = self._queue, []
            with anyio.CancelScope(shield=True):
                while True:
                    try:
                        await anyio.to_thread.run_sync(self._commit, batch)
                        break
                    except sqlite3.Error as error:
                        log.error(
                            "the state of the destinations cannot be stored; trying again", error=str(error)
                        )
                        with anyio.CancelScope(shield=False):
                            await clock.sleep(_RETRY)
            for change in batch:
                self._progress[change.destination] = change.progress
                if change.parked:
                    self._parked[change.destination] = self.parked(change.destination) + len(change.parked)
            self._committed += len(batch)
            done, self._done = self._done, anyio.Event()
            done.set()

    def _commit(self, changes: Sequence[Change]) -> None:
        """One transaction; only the last cursor of each destination counts."""
        cursors = {change.destination: change for change in changes}
        with self._lock:
            db = self._db
            db.execute("begin immediate")
            try:
                for change in changes:
                    self._insert(db, change)
                db.executemany(
                    "insert or replace into cursors values (?, ?, ?, ?)",
                    [
                        (
                            name,
                            str(c.progress.position),
                            msgspec.json.encode(c.progress.ranges).decode(),
                            c.at_ms,
                        )
                        for name, c in cursors.items()
                    ],
                )
                self._since_prune += len(changes)
                if self._since_prune >= _PRUNE_EVERY:
                    self._since_prune = 0
                    self._prune(db)
                db.execute("commit")
            except BaseException:
                db.execute("rollback")
                raise

    def _insert(self, db: sqlite3.Connection, change: Change) -> None:
        name = change.destination
        if change.parked:
            # The same event may be parked again after a crash: the newer answer counts.
            db.executemany(
                "insert or replace into parked (destination, offset, message_id, parked_ms, reason, status, request, "
                "answer, line) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        name,
                        p.offset,
                        p.message_id,
                        change.at_ms,
                        p.reason,
                        p.status,
                        p.request,
                        p.answer,
                        p.line,
                    )
                    for p in change.parked
                ],
            )
        if change.attempts:
            columns = ", ".join(Attempt.__struct_fields__)
            marks = ", ".join("?" for _ in Attempt.__struct_fields__)
            db.executemany(
                f"insert into attempts (destination, {columns}) values (?, {marks})",
                [(name, *_values(attempt)) for attempt in change.attempts],
            )

    def _prune(self, db: sqlite3.Connection) -> None:
        for (name,) in db.execute("select distinct destination from attempts").fetchall():
            db.execute(
                "delete from attempts where destination = ? and id <= (select id from attempts where destination = ? "
                "order by id desc limit 1 offset ?)",
                (name, name, KEEP_ATTEMPTS),
            )


def _values(attempt: Attempt) -> tuple[Any, ...]:
    return msgspec.structs.astuple(attempt)
