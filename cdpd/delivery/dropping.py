"""Dropping parked events for good: counted, said in the daemon's log, in portions; a line that one held goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, Literal, TypeVar

import anyio.to_thread
import msgspec
import structlog

from cdpd import metrics as names
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.parked import Key, ParkedFilter, counts, held, newest_id, next_keys
from cdpd.delivery.state import StateDb, StateError
from cdpd.event import Position
from cdpd.metrics import Metrics

PORTION: Final = 2000
"""Events of one transaction: what destinations have to store waits for no more than that."""
Why = Literal["dropped", "expired"]
"""By hand, or because of `keep_parked`."""
_T = TypeVar("_T")


class Dropper:
    """Drops events of any destination, configured or not.

    `strict`: whether a parked event of that destination holds the later ones. `halted`: no consumer of it runs inside
    the `with`; afterwards it goes on from the cursor that is stored then. `dropped`: told of each destination whose
    events were dropped.
    """

    def __init__(
        self,
        state: StateDb,
        strict: Callable[[str], bool],
        halted: Callable[[str], AbstractAsyncContextManager[None]],
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        dropped: Callable[[str], Awaitable[None]],
    ) -> None:
        self._state = state
        self._dropped = dropped
        self._strict = strict
        self._halted = halted
        self._metrics = metrics
        self._log = log

    async def count(self, which: ParkedFilter) -> dict[str, int]:
        """Destination → how many are meant."""
        return await self._read(lambda db: counts(db, which))

    async def drop(self, which: ParkedFilter, why: Why = "dropped") -> dict[str, int]:
        """Destination → how many were dropped. What is parked meanwhile stays. Raises StateError.

        Where it fails in between, what was dropped before that is told in the log.
        """
        found, newest = await self._read(lambda db: (counts(db, which), newest_id(db)))
        done: dict[str, int] = {}
        for name in found:
            only = msgspec.structs.replace(which, destination=name)
            try:
                if self._strict(name):
                    done[name] = await self._drop_held(name, only)
                after: Key | None = None
                while rows := await self._read(partial(next_keys, which=only, after=after, limit=PORTION)):
                    ids = [id for _, id in rows if id <= newest]
                    done[name] = done.get(name, 0) + await self._delete(only, ids)
                    after = rows[-1]
            finally:
                if done.get(name):
                    self._tell(name, done[name], which, why)
            if done.get(name):
                await self._dropped(name)
        return {name: dropped for name, dropped in done.items() if dropped}

    async def _drop_held(self, name: str, which: ParkedFilter) -> int:
        """Those that hold the line: its cursor passes over them in the same transaction."""
        if not await self._read(partial(self._held, name, which)):
            return 0
        async with self._halted(name):
            positions = await self._read(partial(self._held, name, which))
            before = self._state.cursor(name)
            if before is None or not positions:
                return 0
            cursor = before.without(positions)
            dropped: list[int] = []

            def drop(db: sqlite3.Connection) -> None:
                db.execute("update cursors set cursor = ? where destination = ?", (str(cursor), name))
                query = "delete from parked where destination = ? and position = ?"
                rows = [db.execute(query, (name, str(position))).rowcount for position in positions]
                dropped[:] = [sum(rows)]

            await self._state.change(drop)
        return dropped[0]

    def _held(self, name: str, which: ParkedFilter, db: sqlite3.Connection) -> list[Position]:
        row = db.execute("select cursor from cursors where destination = ?", (name,)).fetchone()
        return [] if row is None else held(db, DeliveryCursor.parse(row[0]), which)

    async def _delete(self, which: ParkedFilter, ids: list[int]) -> int:
        """Those of them that are still meant."""
        condition, values = msgspec.structs.replace(which, ids=ids).where()
        deleted: list[int] = []

        def delete(db: sqlite3.Connection) -> None:
            deleted[:] = [db.execute(f"delete from parked where {condition}", values).rowcount]

        await self._state.change(delete)
        return deleted[0]

    async def _read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Its answer, off the event loop. Raises StateError."""

        def read() -> _T:
            try:
                with self._state.reader() as db:
                    return query(db)
            except (sqlite3.Error, ValueError) as error:
                raise StateError(f"{self._state.path} cannot be read: {error}") from error

        return await anyio.to_thread.run_sync(read)

    def _tell(self, name: str, dropped: int, which: ParkedFilter, why: Why) -> None:
        self._metrics.add(names.DROPPED, name, why, n=dropped)
        if why == "dropped":
            chosen = [field for field in which.__struct_fields__ if getattr(which, field) is not None]
            self._log.warning(
                "parked events were dropped, as was asked for: they are not sent any more",
                destination=name,
                events=dropped,
                chosen_by=chosen or ["all"],
            )
