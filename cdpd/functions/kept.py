"""functions.db: the newest errors of each function, and webhooks that wait for another try (SQLite, WAL).

Every process that runs functions writes here, seldom and little; `cdpd function logs` reads it. Made when the first
thing is kept. Source of the bounds: spec/connections.md §9.1, §9.4.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

NEWEST: Final = 100
"""Errors of a function that are kept …"""
OLDEST_MS: Final = 30 * 86_400_000
"""… for so long at most."""
_BUSY: Final = 10.0
"""Seconds to wait for another process that writes."""
_SCHEMA: Final = """
create table if not exists errors (
    id integer primary key,
    function text not null,        -- "source stripe", "destination mine", "insert of destination crm" …
    at_ms integer not null,
    ended text not null,           -- cdpd/functions/frames.py
    message text not null,
    trace text not null,
    output text not null,          -- what the call printed
    item text not null             -- messageId of the event, or the beginning of the request's body
);
create index if not exists errors_by_function on errors (function, id);
create table if not exists webhooks (
    id integer primary key autoincrement,
    token text not null,           -- makes the messageIds of its events: a second run after a crash doubles nothing
    source text not null,
    at_ms integer not null,        -- when it came
    via text not null,             -- of the lines that its events become, JSON
    request blob not null,         -- cdpd/functions/frames.py, Webhook
    tries integer not null,        -- how often it was tried
    next_ms integer not null       -- when it is tried again
);
"""


class KeptError(Struct, frozen=True):
    """An error of a function."""

    function: str
    at_ms: int
    ended: str
    message: str
    trace: str = ""
    output: str = ""
    item: str = ""


class KeptWebhook(Struct, frozen=True):
    """A webhook that was answered 200 and waits for its function."""

    token: str
    source: str
    at_ms: int
    via: bytes
    request: bytes
    tries: int
    next_ms: int
    id: int = 0


class FunctionsDb:
    """All methods block: call them in a thread. They raise OSError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep_errors(self, errors: Sequence[KeptError]) -> None:
        """Add errors; those that are too many or too old go."""
        with self._writing() as db:
            db.executemany(
                "insert into errors (function, at_ms, ended, message, trace, output, item) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                [(e.function, e.at_ms, e.ended, e.message, e.trace, e.output, e.item) for e in errors],
            )
            for function in {error.function for error in errors}:
                db.execute(
                    "delete from errors where function = ? and id not in "
                    "(select id from errors where function = ? order by id desc limit ?)",
                    (function, function, NEWEST),
                )
            newest = max(error.at_ms for error in errors)
            db.execute("delete from errors where at_ms < ?", (newest - OLDEST_MS,))

    def errors(self, function: str | None = None, since_ms: int = 0) -> list[KeptError]:
        """Oldest first; of all functions or one."""
        which = "" if function is None else "and function = ?"
        rows = self._read(
            "select function, at_ms, ended, message, trace, output, item from errors "
            f"where at_ms >= ? {which} order by id",
            (since_ms,) if function is None else (since_ms, function),
        )
        return [KeptError(*row) for row in rows]

    def keep_webhook(self, webhook: KeptWebhook) -> None:
        """Durably."""
        with self._writing() as db:
            db.execute(
                "insert into webhooks (token, source, at_ms, via, request, tries, next_ms) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                (
                    webhook.token,
                    webhook.source,
                    webhook.at_ms,
                    webhook.via.decode(),
                    webhook.request,
                    webhook.tries,
                    webhook.next_ms,
                ),
            )

    def put_off(self, id: int, tries: int, next_ms: int) -> None:
        """It was tried once more, and waits again."""
        with self._writing() as db:
            db.execute("update webhooks set tries = ?, next_ms = ? where id = ?", (tries, next_ms, id))

    def forget(self, id: int) -> None:
        """It is done, or given up."""
        with self._writing() as db:
            db.execute("delete from webhooks where id = ?", (id,))

    def due(self, now_ms: int, most: int) -> list[KeptWebhook]:
        """Those whose time has come, in the order in which they came."""
        rows = self._read(
            "select token, source, at_ms, via, request, tries, next_ms, id from webhooks "
            "where next_ms <= ? order by id limit ?",
            (now_ms, most),
        )
        return [KeptWebhook(row[0], row[1], row[2], row[3].encode(), *row[4:]) for row in rows]

    def next_ms(self) -> int | None:
        """When the next one is due; None where none waits."""
        rows = self._read("select min(next_ms) from webhooks", ())
        return int(rows[0][0]) if rows and rows[0][0] is not None else None

    def waiting(self) -> dict[str, int]:
        """Source → webhooks that wait."""
        return dict(self._read("select source, count(*) from webhooks group by source", ()))

    def _read(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        with self._open() as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if not self.path.exists():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with self._open() as db, db:
            yield db

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY)) as db:
                db.execute("pragma journal_mode = wal")
                db.execute("pragma synchronous = full")
                db.executescript(_SCHEMA)
                yield db
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: {error}") from error
