"""A retry of parked events: which, and the reader that hands them to a consumer, in the order of the archive."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Final, TypeVar

import anyio.to_thread
import msgspec
from msgspec import Struct

from cdpd.delivery.parked import ParkedFilter, counts
from cdpd.delivery.reading import FeedReader
from cdpd.delivery.replay import SOURCE_NOT_CONNECTED
from cdpd.delivery.route import NOT_CONNECTED, Route, Routes
from cdpd.delivery.state import StateDb, StateError
from cdpd.event import BEGINNING, Position
from cdpd.log.reader import Frame, Slice

_T = TypeVar("_T")
Opened = Callable[[], AbstractContextManager[sqlite3.Connection]]
"""A connection for reading state.db (StateDb.reader)."""


class RetrySpec(Struct, frozen=True, omit_defaults=True, tag="retry"):
    """A retry, as its row keeps it."""

    which: ParkedFilter
    """Of one destination."""
    newest: int
    """Id of the newest parked event at its start: what is parked later is not meant."""
    first: int
    """The lowest offset in `events` that one of them has."""
    until: int
    """Offset of `events` before which all of them stand."""
    total: int
    """How many there were at its start."""
    rate: str | None = None

    def done(self, _at: int, settled: int) -> int:
        """How many are over; some may have been dropped meanwhile."""
        return min(settled, self.total)


async def parked_at(state: StateDb, which: ParkedFilter) -> list[str]:
    """The destinations that have such events. Raises StateError."""

    def names(db: sqlite3.Connection) -> list[str]:
        return list(counts(db, which))

    return await _read(state, names)


async def retry_of(state: StateDb, which: ParkedFilter, below: int | None) -> tuple[RetrySpec | None, int]:
    """What a retry would send of one destination; and how many stand at `below` or behind it, and are not meant.

    `below`: an offset of `events`. Raises StateError.
    """

    def find(db: sqlite3.Connection) -> tuple[RetrySpec | None, int]:
        condition, values = which.where()
        query = f"select max(id), min(line_offset), max(line_offset), count(*) from parked where {condition}"
        newest, first, last, every = db.execute(query, values).fetchone()
        if every and below is not None and last >= below:
            query += " and line_offset < ?"
            newest, first, last, total = db.execute(query, (*values, below)).fetchone()
        else:
            total = every
        return (RetrySpec(which, newest, first, last + 1, total) if total else None), every - total

    return await _read(state, find)


async def _read(state: StateDb, query: Callable[[sqlite3.Connection], _T]) -> _T:
    """Its answer, off the event loop. Raises StateError."""

    def read() -> _T:
        try:
            with state.reader() as db:
                return query(db)
        except sqlite3.Error as error:
            raise StateError(f"{state.path} cannot be read: {error}") from error

    return await anyio.to_thread.run_sync(read)


class ParkedFeed:
    """The parked events of a retry, as a part of `events` with holes (cdpd.delivery.reading.Feed)."""

    def __init__(self, opened: Opened, spec: RetrySpec, destination: str) -> None:
        """`destination`: as it is called today."""
        self._opened = opened
        self._spec = msgspec.structs.replace(
            spec, which=msgspec.structs.replace(spec.which, destination=destination)
        )

    @property
    def end(self) -> Position:
        return Position(self._spec.until, 0)

    def reader(self, position: Position = BEGINNING) -> FeedReader:
        return _ParkedReader(self._opened, self._spec, position)

    async def wait_beyond(self, position: Position) -> None:
        """Reading goes to its end without waiting."""


_QUERY: Final = (
    "select position, line, at_ms from parked indexed by parked_by_place where destination = ? and line_offset >= ? "
    "and line_offset < ? and id <= ? and {} order by line_offset, id limit ?"
)


class _ParkedReader:
    """Of several histories of the log (a restored backup) two events may have had one offset: one of them is taken."""

    def __init__(self, opened: Opened, spec: RetrySpec, position: Position) -> None:
        self._opened = opened
        self._spec = spec
        self._position = position
        self._stack = ExitStack()
        self._db: sqlite3.Connection | None = None

    @property
    def position(self) -> Position:
        return self._position

    def read(self, max_lines: int = 1000, max_bytes: int = 1 << 20) -> Slice | None:
        """Never None before the end: that all are read shows as a slice without frames. Raises sqlite3.Error."""
        spec, start = self._spec, self._position
        if start.offset >= spec.until:
            return None
        if self._db is None:
            self._db = self._stack.enter_context(self._opened())
        condition, values = spec.which.where()
        given = (spec.which.destination, start.offset, spec.until, spec.newest, *values, max_lines)
        frames: list[Frame] = []
        size, found, at = 0, 0, start
        with closing(self._db.execute(_QUERY.format(condition), given)) as rows:
            for text, line, at_ms in rows:
                found += 1
                place = Position.parse(text)
                if frames and place.offset < at.offset:
                    continue
                if size >= max_bytes:
                    break
                frames.append(Frame(place.offset, 1, place.epoch, at_ms, at_ms, 0, [bytes(line)]))
                size += len(line)
                at = Position(place.offset + 1, place.epoch)
            else:
                if found < max_lines:
                    at = Position(spec.until, at.epoch)  # there are no more
        self._position = at
        return Slice(frames, start, at)

    def close(self) -> None:
        self._db = None
        self._stack.close()


class RetryRouter:
    """The destination's own router; here too what it leaves out is counted with its reason."""

    def __init__(self, inner: Routes) -> None:
        self._inner = inner

    def know(self, names: Collection[str]) -> None:
        self._inner.know(names)

    def route(self, line: bytes) -> Route:
        """Raises NotAnEvent."""
        route = self._inner.route(line)
        if route.skip == NOT_CONNECTED:
            route.skip = SOURCE_NOT_CONNECTED
        return route
