"""Cursors as state.db has them, for whoever does not write it: another process, or the keeping of `events`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.state import StateError


def stored_cursors(path: Path) -> Mapping[str, DeliveryCursor]:
    """Destination → its committed cursor; {} where there is no state.db yet, or nothing in it.

    Raises StateError where it is there and cannot be read: then nobody knows what is needed.
    """
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
            if not db.execute("select 1 from sqlite_master where name = 'cursors'").fetchone():
                return {}
            rows = db.execute("select destination, cursor from cursors").fetchall()
        return {name: DeliveryCursor.parse(text) for name, text in rows}
    except (sqlite3.Error, ValueError) as error:
        raise StateError(f"{path}: the cursors cannot be read: {error}") from error
