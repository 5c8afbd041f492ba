"""What alerts keep in state.db: how each stands, messages to be delivered, counts, and how far they are counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec
from msgspec import Struct

from cdpd.alerts.counting import Place
from cdpd.alerts.counts import Row
from cdpd.alerts.judging import AlertState
from cdpd.alerts.message import Message
from cdpd.delivery.state import StateDb
from cdpd.event import BEGINNING, Position

Key = tuple[str, str]
"""An alert's name, and the destination or source that it is about ("" for the disk)."""
RUNNING: Final = "running"
"""Beside the streams in alert_places: the daemon itself."""


class Pending(Struct, frozen=True):
    """A message that is not delivered yet."""

    id: int
    message: Message


class Round(Struct, frozen=True):
    """What one round has changed: kept whole or not at all."""

    states: Mapping[Key, AlertState | None]
    """None: it is not watched any more."""
    messages: Sequence[tuple[str, Message]]
    """Channel, message."""
    counts: Sequence[Row]
    forget_before: int
    """Counts of slots before this one."""
    places: Mapping[str, Place]
    forget: Sequence[str] = ()
    """What is counted anew."""
    running_ms: int = 0
    """Since when the daemon runs without a longer break …"""
    at_ms: int = 0
    """… until now."""


class Store:
    """The tables of alerts. Reading and writing raise what StateDb does (sqlite3.Error, StateError)."""

    def __init__(self, state: StateDb) -> None:
        self._state = state

    def states(self) -> dict[Key, AlertState]:
        """How each alert stands."""
        found = self._state.rows("select name, subject, state from alerts")
        decode = msgspec.json.Decoder(AlertState).decode
        return {(str(name), str(subject)): decode(str(text)) for name, subject, text in found}

    def counts(self) -> list[Row]:
        """All that is kept."""
        return cast(list[Row], self._state.rows("select what, name, slot, events from alert_counts"))

    def place(self, stream: str) -> Place | None:
        """How far a stream is counted."""
        rows = self._state.rows("select position, since_ms from alert_places where name = ?", (stream,))
        return Place(Position.parse(str(rows[0][0])), int(str(rows[0][1]))) if rows else None

    def running(self) -> tuple[int, int] | None:
        """(since when it ran without a longer break, when it was last there), in ms."""
        rows = self._state.rows("select since_ms, at_ms from alert_places where name = ?", (RUNNING,))
        return (int(str(rows[0][0])), int(str(rows[0][1]))) if rows else None

    def waiting(self) -> dict[str, int]:
        """Channel → messages that are not delivered."""
        rows = self._state.rows("select channel, count(*) from alert_messages group by channel")
        return {str(channel): int(str(n)) for channel, n in rows}

    def first(self, channel: str) -> Pending | None:
        """The oldest message of a channel that is not delivered."""
        query = "select id, message from alert_messages where channel = ? order by id limit 1"
        rows = self._state.rows(query, (channel,))
        if not rows:
            return None
        return Pending(int(str(rows[0][0])), msgspec.json.decode(str(rows[0][1]), type=Message))

    async def keep(self, done: Round) -> None:
        """Store a round."""

        def write(db: sqlite3.Connection) -> None:
            for (name, subject), state in done.states.items():
                if state is None:
                    db.execute("delete from alerts where name = ? and subject = ?", (name, subject))
                else:
                    text = msgspec.json.encode(state).decode()
                    db.execute("insert or replace into alerts values (?, ?, ?)", (name, subject, text))
            for channel, message in done.messages:
                text = msgspec.json.encode(message).decode()
                db.execute("insert into alert_messages (channel, message) values (?, ?)", (channel, text))
            for what in done.forget:
                db.execute("delete from alert_counts where what = ?", (what,))
            db.executemany("insert or replace into alert_counts values (?, ?, ?, ?)", done.counts)
            db.execute("delete from alert_counts where slot < ?", (done.forget_before,))
            places = "insert or replace into alert_places values (?, ?, ?, ?)"
            for stream, place in done.places.items():
                db.execute(places, (stream, str(place.position), place.since_ms, done.at_ms))
            if done.running_ms:
                db.execute(places, (RUNNING, str(BEGINNING), done.running_ms, done.at_ms))

        await self._state.change(write)

    async def delivered(self, message: Pending) -> None:
        """It need not be sent any more."""
        await self._state.change(lambda db: _delete(db, message.id))


def _delete(db: sqlite3.Connection, id: int) -> None:
    db.execute("delete from alert_messages where id = ?", (id,))
