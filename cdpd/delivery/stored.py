"""Cursors as state.db has them, for whoever does not write it: another process, or the keeping of `events`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.state import unreadable


def stored_cursors(path: Path) -> Mapping[str, DeliveryCursor]:
    """Destination → its committed cursor; {} where there is no state.db yet, or nothing in it.

    Raises StateError where it is there and cannot be read: then nobody knows what is needed.
    """
    return _cursors(path, "cursors", "select destination, cursor from cursors")


def stored_replays(path: Path) -> Mapping[str, DeliveryCursor]:
    """Replays that have not ended: id → committed cursor. Raises as `stored_cursors`."""
    return _cursors(
        path,
        "jobs",
        "select id, cursor from jobs where kind = 'replay' and state = 'running' order by number",
    )


def _cursors(path: Path, table: str, query: str) -> Mapping[str, DeliveryCursor]:
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
            if not db.execute("select 1 from sqlite_master where name = ?", (table,)).fetchone():
                return {}
            return {name: DeliveryCursor.parse(text) for name, text in db.execute(query)}
    except (sqlite3.Error, ValueError) as error:
        raise unreadable(path, error) from error
