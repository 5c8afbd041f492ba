"""A destination under another name: `was = "old"` takes over all that was kept under the old one, once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.config.data_folder import plugin_folder
from cdpd.delivery.making import DestinationError
from cdpd.delivery.state import StateDb

_TABLES: Final = ("cursors", "parked", "parked_counts", "parked_notices", "attempts", "paused", "jobs")
"""Those of state.db whose column `destination` names one."""


class Renamed(Struct, frozen=True):
    """A destination that has kept something under another name."""

    old: str
    new: str


def to_rename(was: Mapping[str, str | None], state: StateDb) -> list[Renamed]:
    """What is to be done for these destinations and their `was`; nothing where it was done before.

    Raises DestinationError where two of them, or both names, would own the same.
    """
    known = state.cursors()
    moves: dict[str, str] = {}
    for new, old in was.items():
        if old is None or old not in known:
            continue
        if old in was:
            raise DestinationError(
                f'destinations.{new}: was = "{old}", but [destinations.{old}] is still configured: take that out'
            )
        if old in moves:
            raise DestinationError(f'destinations.{new}: was = "{old}", as has [destinations.{moves[old]}]')
        if new in known:
            raise DestinationError(
                f'destinations.{new}: was = "{old}", but each of them has a position in `events` of its own. '
                f"Take `was` out and reload; then, to let {new} go on where it is, `cdpd destinations forget {old}`; "
                f"to let it go on where {old} was, take [destinations.{new}] out, reload, "
                f"`cdpd destinations forget {new}`, and put it back with `was`"
            )
        moves[old] = new
    return [Renamed(old, new) for old, new in moves.items()]


async def rename(state: StateDb, data_dir: Path, moves: Sequence[Renamed], hooks: frozenset[str]) -> None:
    """Cursors, parked events, pauses, journals and jobs in one transaction, and the destinations' own folders.

    None of them may run. `hooks`: names of hooks, whose folders lie beside those of destinations. Raises StateError
    or DestinationError, with nothing changed.
    """
    moved: list[Renamed] = []
    try:
        for move in moves:
            if not {move.old, move.new} & hooks and _move_folder(data_dir, move):
                moved.append(move)
        await state.change(lambda db: _rename_rows(db, moves))
    except BaseException:
        for move in reversed(moved):
            plugin_folder(data_dir, move.new).rename(plugin_folder(data_dir, move.old))
        raise


def _move_folder(data_dir: Path, move: Renamed) -> bool:
    """Whether there was one to be moved; after a crash in between it is moved already."""
    old, new = plugin_folder(data_dir, move.old), plugin_folder(data_dir, move.new)
    try:
        if not old.is_dir():
            return False
        if new.is_dir() and not any(new.iterdir()):
            new.rmdir()
        if new.exists():
            raise DestinationError(
                f'destinations.{move.new}: was = "{move.old}", but both have a folder with files: {old} and {new}; '
                "move one of them away"
            )
        old.rename(new)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DestinationError(
            f'destinations.{move.new}: was = "{move.old}": its folder {old} cannot be moved to {new}: {reason}'
        ) from error
    return True


def _rename_rows(db: sqlite3.Connection, moves: Iterable[Renamed]) -> None:
    for move in moves:
        for table in _TABLES:
            db.execute(f"update {table} set destination = ? where destination = ?", (move.new, move.old))
