"""Destinations that somebody has paused by hand: kept in state.db until they are resumed, whatever restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from msgspec import Struct

from cdpd.delivery.state import StateDb


class Paused(Struct, frozen=True):
    """Since when, and why if that was said."""

    at_ms: int
    reason: str = ""


def paused_by_hand(state: StateDb) -> dict[str, Paused]:
    """Destination → its pause; those that are not configured too."""
    rows = state.rows("select destination, at_ms, reason from paused order by destination")
    return {str(name): Paused(int(str(at_ms)), str(reason)) for name, at_ms, reason in rows}


async def store_pauses(state: StateDb, pauses: Mapping[str, Paused]) -> None:
    """They are paused from now on. Raises StateError."""

    def put(db: sqlite3.Connection) -> None:
        rows = [(name, pause.at_ms, pause.reason) for name, pause in pauses.items()]
        db.executemany("insert or replace into paused values (?, ?, ?)", rows)

    await state.change(put)


async def end_pauses(state: StateDb, names: list[str]) -> None:
    """They are no longer. Raises StateError."""

    def remove(db: sqlite3.Connection) -> None:
        db.executemany("delete from paused where destination = ?", [(name,) for name in names])

    await state.change(remove)
