"""Parked events as state.db has them: which are meant, how many, why; read in pages, never all at once.

Everything here takes a connection (StateDb.reader, or `reading`), and is for a thread or a command: with a million
rows a query may take seconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.errors import StateError
from cdpd.event import Position

PAGE: Final = 1000
"""Rows of one page."""
Key = tuple[int, int]
"""When an event was parked, and its id: the order in which pages go."""
_FIRST: Final = (-1, 0)
_COLUMNS: Final = (
    "id, destination, position, message_id, source, event, status, reason, request, answer, attempts, at_ms, "
    "tried_ms"
)
_VERSION: Final = 2
"""Of state.db's schema: before it events were parked without their source and name."""


class ParkedFilter(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True, kw_only=True):
    """Which parked events are meant; what is not given does not restrict."""

    destination: str | None = None
    ids: list[int] | None = None
    """As `cdpd parked ls --events` shows them."""
    reason: str | None = None
    """Stands in the reason, in upper or lower case."""
    status: int | None = None
    """Of the answer."""
    from_ms: int | None = None
    """Parked at or after this time, milliseconds since the epoch …"""
    to_ms: int | None = None
    """… and before this one."""
    event: str | None = None
    """Of a track its name, else its type."""
    source: str | None = None
    message_id: str | None = None

    @property
    def restricts(self) -> bool:
        """Whether anything is given."""
        return any(getattr(self, name) is not None for name in self.__struct_fields__)

    def where(self) -> tuple[str, list[object]]:
        """The condition in SQL on `parked`, and its values."""
        parts, values = ["true"], list[object]()
        for column, value in (
            ("destination = ?", self.destination),
            ("instr(lower(reason), lower(?)) > 0", self.reason),
            ("status = ?", self.status),
            ("at_ms >= ?", self.from_ms),
            ("at_ms < ?", self.to_ms),
            ("event = ?", self.event),
            ("source = ?", self.source),
            ("message_id = ?", self.message_id),
        ):
            if value is not None:
                parts.append(column)
                values.append(value)
        if self.ids is not None:
            parts.append("id in (select value from json_each(?))")
            values.append(msgspec.json.encode(self.ids).decode())
        return " and ".join(parts), values


class Parked(Struct, frozen=True):
    """One parked event, without the event itself (see `line`)."""

    id: int
    destination: str
    position: Position
    """Of its line in `events`."""
    message_id: str
    source: str
    event: str
    status: int | None
    reason: str
    request: str
    """Secrets are masked in it, and in the answer."""
    answer: str
    attempts: int
    """How often it was refused."""
    at_ms: int
    """When it was parked …"""
    tried_ms: int
    """… and when it was refused last."""


class ParkedGroup(Struct, frozen=True):
    """Events that one destination refused for one reason."""

    destination: str
    reason: str
    status: int | None
    events: int
    first_ms: int
    last_ms: int


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """state.db, only to be read, whoever writes it; None where there is no such file. Raises StateError."""
    if not path.exists():
        yield None
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
            (version,) = db.execute("pragma user_version").fetchone()
            if version < _VERSION:
                raise StateError(
                    f"{path} is of an older cdpd: start the daemon once, it brings the file up to date"
                )
            yield db
    except sqlite3.Error as error:
        raise StateError(f"{path} cannot be read: {error}") from error


def groups(db: sqlite3.Connection, which: ParkedFilter, limit: int) -> Iterator[ParkedGroup]:
    """By destination and reason, the most frequent of each destination first."""
    condition, values = which.where()
    found = db.execute(
        "select destination, reason, status, count(*) as events, min(at_ms), max(at_ms) from parked "
        f"where {condition} group by destination, status, reason "
        "order by destination, events desc, status, reason limit ?",
        (*values, limit),
    )
    return (ParkedGroup(*row) for row in found)


def counts(db: sqlite3.Connection, which: ParkedFilter) -> dict[str, int]:
    """Destination → how many."""
    if not which.restricts:
        return dict(db.execute("select destination, events from parked_counts order by destination"))
    condition, values = which.where()
    query = f"select destination, count(*) from parked where {condition} group by destination order by destination"
    return dict(db.execute(query, values))


def pages(db: sqlite3.Connection, which: ParkedFilter, limit: int = PAGE) -> Iterator[list[Parked]]:
    """All of them, page by page: by destination, the longest parked first."""
    query = _select(which, _COLUMNS)
    for name in counts(db, which):
        after = _FIRST
        while rows := query(db, name, after, limit):
            found = [_parked(row) for row in rows]
            yield found
            after = (found[-1].at_ms, found[-1].id)


def next_keys(
    db: sqlite3.Connection, *, which: ParkedFilter, after: Key | None = None, limit: int = PAGE
) -> list[Key]:
    """The next ones of one destination, which the filter names, after that one."""
    assert which.destination is not None
    rows = _select(which, "at_ms, id")(db, which.destination, after or _FIRST, limit)
    return [(at_ms, id) for at_ms, id in rows]


def _select(
    which: ParkedFilter, columns: str
) -> Callable[[sqlite3.Connection, str, Key, int], list[tuple[Any, ...]]]:
    """A page of one destination, by its index: nothing is sorted, nothing is read twice."""
    condition, values = which.where()
    query = (
        f"select {columns} from parked where destination = ? and (at_ms, id) > (?, ?) and {condition} "
        "order by at_ms, id limit ?"
    )
    return lambda db, name, after, limit: db.execute(query, (name, *after, *values, limit)).fetchall()


def newest_id(db: sqlite3.Connection) -> int:
    """Of everything that is parked; 0 where nothing is."""
    (id,) = db.execute("select coalesce(max(id), 0) from parked").fetchone()
    return int(id)


def line(db: sqlite3.Connection, id: int) -> bytes | None:
    """The event itself, as it stood in `events`; None where it is no longer parked."""
    row = db.execute("select line from parked where id = ?", (id,)).fetchone()
    return None if row is None else bytes(row[0])


def held(db: sqlite3.Connection, cursor: DeliveryCursor, which: ParkedFilter) -> list[Position]:
    """Those that are parked and not finished: they hold the line of their destination (`ordering = "strict"`)."""
    condition, values = which.where()
    query = f"select position from parked where {condition} and line_offset >= ?"
    found = [Position.parse(text) for (text,) in db.execute(query, (*values, cursor.low.offset))]
    return [position for position in found if not cursor.covers(position)]


def _parked(row: Sequence[Any]) -> Parked:
    id, destination, position, *rest = row
    return Parked(id, destination, Position.parse(position), *rest)


class _Facts(Struct, rename="camel", frozen=True):
    message_id: object = ""
    project_id: object = ""
    type: object = ""
    event: object = None


_decode: Final = msgspec.json.Decoder(_Facts).decode


def facts(line: bytes) -> tuple[str, str, str]:
    """(messageId, source, name of a track or type) of a line of `events`; empty where it is no event."""
    try:
        found = _decode(line)
    except (msgspec.DecodeError, RecursionError):
        return "", "", ""
    name = found.event if found.type == "track" and isinstance(found.event, str) else found.type
    return _text(found.message_id), _text(found.project_id), _text(name)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
