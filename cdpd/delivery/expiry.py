"""Parked events are kept for `keep_parked`: those that are to go are named in the log a day before, and when they go.

What was said is kept in state.db, so that nothing goes unannounced after a restart, a time of standing still, or
when `keep_parked` is made shorter: then what is overdue goes a day later.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.delivery.dropping import Dropper
from cdpd.delivery.parked import ParkedFilter
from cdpd.delivery.state import StateDb, StateError
from cdpd.timestamp import format_time

EVERY: Final = 600.0
"""Seconds between two looks."""
NOTICE_MS: Final = 86_400_000
"""How long before it goes an event is named, in milliseconds."""


class Notice(Struct, frozen=True):
    """What was said of one destination's parked events."""

    due_ms: int = 0
    """Those parked before this were named long enough ago."""
    told_ms: int = 0
    """When some were named last."""
    told_to_ms: int = 0
    """Those parked before this were named then."""

    def at(self, now_ms: int) -> Notice:
        """The same, as time has passed."""
        if now_ms - self.told_ms < NOTICE_MS:
            return self
        return Notice(self.told_to_ms, self.told_ms, self.told_to_ms)


class Due(Struct, frozen=True):
    """Parked events of one destination that are to go."""

    events: int
    oldest_ms: int


class Expiry:
    """Upkeep of all parked events, those of destinations that are no longer configured too."""

    def __init__(
        self,
        state: StateDb,
        dropper: Dropper,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self.keep: float | None = None
        """Seconds that an event is kept after it was parked; None: for ever."""
        self._state = state
        self._dropper = dropper
        self._clock = clock
        self._log = log

    async def run(self) -> None:
        """Look after look until cancelled. One that fails is told and tried again with the next."""
        while True:
            if self.keep is not None:
                try:
                    await self._look(round(self.keep * 1000))
                except StateError as error:
                    self._log.error("expired parked events could not be dropped", problem=str(error))
            await self._clock.sleep(EVERY)

    async def _look(self, keep_ms: int) -> None:
        now = self._clock.now_ms()
        for name in await self._dropper.count(ParkedFilter()):
            notice = self._notice(name).at(now)
            await self._drop(name, min(notice.due_ms, now - keep_ms))
            if now - notice.told_ms >= NOTICE_MS:
                # Until the next time that they are named, and a day beyond.
                await self._name(name, notice, now, now - keep_ms + 2 * NOTICE_MS, keep_ms)

    async def _drop(self, name: str, before_ms: int) -> None:
        which = ParkedFilter(destination=name, to_ms=before_ms)
        due = await self._due(which)
        if due is None:
            return
        dropped = await self._dropper.drop(which, "expired")
        self._log.error(
            "parked events have expired ([delivery] keep_parked): they are dropped, and not sent any more",
            destination=name,
            events=dropped.get(name, 0),
            oldest=format_time(due.oldest_ms),
        )

    async def _name(self, name: str, notice: Notice, now: int, before_ms: int, keep_ms: int) -> None:
        due = await self._due(ParkedFilter(destination=name, to_ms=before_ms))
        if due is None:
            return
        first = max(due.oldest_ms + keep_ms, now + NOTICE_MS)
        self._log.warning(
            "parked events will expire soon ([delivery] keep_parked): then they are dropped. `cdpd parked ls` shows "
            "them, `cdpd parked retry` sends them",
            destination=name,
            events=due.events,
            oldest=format_time(due.oldest_ms),
            first_goes=format_time(first),
        )
        await self._store(name, Notice(notice.due_ms, now, before_ms))

    async def _due(self, which: ParkedFilter) -> Due | None:
        assert which.destination is not None
        events = (await self._dropper.count(which)).get(which.destination, 0)
        if not events:
            return None
        query = "select min(at_ms) from parked where destination = ?"
        ((oldest,),) = self._state.rows(query, (which.destination,))
        return Due(events, int(str(oldest)))

    def _notice(self, name: str) -> Notice:
        query = "select due_ms, told_ms, told_to_ms from parked_notices where destination = ?"
        rows = self._state.rows(query, (name,))
        return Notice(*(int(str(value)) for value in rows[0])) if rows else Notice()

    async def _store(self, name: str, notice: Notice) -> None:
        row = (name, notice.due_ms, notice.told_ms, notice.told_to_ms)

        def put(db: sqlite3.Connection) -> None:
            db.execute("insert or replace into parked_notices values (?, ?, ?, ?)", row)

        await self._state.change(put)
