"""Destinations that are not configured (any more) and of which state.db keeps something: which, and forgetting one."""

from __future__ import annotations

import sqlite3
from collections.abc import Container
from typing import Any, Final

from msgspec import Struct

from cdpd.delivery.making import DestinationError
from cdpd.delivery.paused import paused_by_hand
from cdpd.delivery.state import StateDb
from cdpd.timestamp import format_time

_SMALL: Final = ("cursors", "paused", "parked_notices")
_PORTION: Final = 5000
"""Journal rows of one transaction."""


class Forgotten(Struct, frozen=True):
    """What was, or would be, forgotten of a destination."""

    destination: str
    position: int | None
    """Offset of `events` up to which it had got everything; None where it never began."""
    events_to_come: int
    """In the log from there on, those included that are not meant for it."""
    parked: int


def removed(state: StateDb, configured: Container[str], end: int) -> dict[str, dict[str, Any]]:
    """Destination → what `cdpd destinations ls` shows of it. `end`: that of `events`. Raises StateError."""
    query = (
        "select destination, max(at_ms) from (select destination, at_ms from cursors union all "
        "select destination, at_ms from paused union all select destination, 0 from parked_counts) "
        "group by destination order by destination"
    )
    pauses = paused_by_hand(state)
    found: dict[str, dict[str, Any]] = {}
    for name, at_ms in state.rows(query):
        if name in configured:
            continue
        cursor = state.cursor(str(name))
        position = None if cursor is None else cursor.low.offset
        found[str(name)] = {
            "type": None,
            "state": "removed",
            "position": position,
            "lag_events": 0 if position is None else max(end - position, 0),
            "lag_seconds": None,
            "parked": state.parked_count(str(name)),
            "since": format_time(int(str(at_ms))) if at_ms else None,
            "problem": None,
        }
        if name in pauses:
            pause = pauses[str(name)]
            found[str(name)]["paused"] = {"since": format_time(pause.at_ms), "reason": pause.reason}
    return found


def to_forget(state: StateDb, name: str, end: int, *, parked: bool) -> Forgotten:
    """What there is of one that is not configured. `parked`: its parked events may go too.

    Raises DestinationError where there is nothing, or something that must not go like this.
    """
    found = removed(state, (), end).get(name)
    if found is None:
        raise DestinationError(f"nothing is kept of a destination {name!r}")
    if found["parked"] and not parked:
        raise DestinationError(
            f"{name} has {found['parked']:,} parked events: look at them with `cdpd parked ls --destination {name}`; "
            "--parked forgets them too"
        )
    if state.rows("select 1 from jobs where destination = ? and state = 'running' limit 1", (name,)):
        raise DestinationError(
            f"a replay or retry to {name} has not ended: `cdpd replay ls`, `cdpd replay cancel`"
        )
    return Forgotten(name, found["position"], found["lag_events"], found["parked"])


async def forget(state: StateDb, name: str) -> None:
    """All but its parked events, which a Dropper drops, and what `cdpd replay ls` remembers. Raises StateError."""

    def journal(db: sqlite3.Connection) -> None:
        query = "delete from attempts where id in (select id from attempts where destination = ? limit ?)"
        deleted[:] = [db.execute(query, (name, _PORTION)).rowcount]

    def rest(db: sqlite3.Connection) -> None:
        for table in _SMALL:
            db.execute(f"delete from {table} where destination = ?", (name,))

    deleted = [_PORTION]
    while deleted[0]:
        await state.change(journal)
    await state.change(rest)
