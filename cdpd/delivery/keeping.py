"""What a consumer keeps (cursor, parked events, attempts) and what it says of itself in the daemon's log."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Final, Protocol

import anyio
import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.lanes import Item
from cdpd.delivery.parked import facts
from cdpd.delivery.state import Attempt, Moment, ParkedEvent, StateError
from cdpd.destinations.outcome import BadEvent
from cdpd.event import Position

_COMMIT_AGAIN: Final = 1.0
"""Seconds until a commit that failed is tried again."""
_QUIET: Final = 60.0
"""Seconds in which the same kind of trouble is told once."""
_ERRORS: Final = frozenset(("filter", "fault", "paused", "state"))


class Voice:
    """The consumer's words in the log: the first of a kind at once, then one a minute."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._told: dict[str, float] = {}

    def tell(self, kind: str, text: str, **facts: object) -> None:
        now = self._clock.monotonic()
        if now - self._told.get(kind, -_QUIET) >= _QUIET:
            self._told[kind] = now
            tell = self._log.error if kind in _ERRORS else self._log.warning
            tell(text, **facts)

    def news(self, kind: str) -> None:
        """The next of this kind is told at once."""
        self._told.pop(kind, None)

    def well(self, seconds: float | None) -> None:
        """It works again, after so long."""
        self._told.clear()
        self._log.info("the destination takes events again", after_seconds=seconds)


class Store(Protocol):
    """state.db (StateDb), or a job's part of it."""

    def parked_count(self, destination: str) -> int: ...

    def parked_positions(self, destination: str, since: int = ...) -> Container[Position]: ...

    async def commit(self, moment: Moment) -> None: ...


class _Part(Struct, eq=False):
    """What goes with the cursor of one batch."""

    attempts: Sequence[Attempt]
    parked: Sequence[ParkedEvent]
    done: Sequence[Item]
    stored: bool = False


class Keeper:
    """One destination's part of state.db."""

    def __init__(
        self,
        name: str,
        state: Store,
        clock: Clock,
        cursor: Callable[[], DeliveryCursor],
        committed: DeliveryCursor,
        voice: Voice,
        *,
        unparks: bool,
    ) -> None:
        """`unparks`: what is done may have been parked before; it is so no longer."""
        self.committed = committed
        """The cursor as stored."""
        self.problem: str | None = None
        """Why the cursor cannot be stored at present."""
        self._name = name
        self._state = state
        self._clock = clock
        self._cursor = cursor
        self._voice = voice
        self._unparks = unparks
        self._parts: list[_Part] = []
        self._storing = anyio.Lock()
        self._held: Container[Position] = (
            state.parked_positions(name, since=committed.low.offset) if unparks else ()
        )

    @property
    def parked(self) -> int:
        """How many events are parked."""
        return self._state.parked_count(self._name)

    def event(self, item: Item, outcome: BadEvent) -> ParkedEvent:
        """An event as it is parked."""
        message_id, source, name = facts(item.line)
        return ParkedEvent(
            position=item.position,
            message_id=message_id,
            line=item.line,
            reason=outcome.reason,
            status=outcome.status,
            request=outcome.request,
            answer=outcome.answer,
            at_ms=self._clock.now_ms(),
            source=source,
            event=name,
        )

    async def commit(
        self,
        attempts: Sequence[Attempt] = (),
        parked: Sequence[ParkedEvent] = (),
        done: Sequence[Item] = (),
    ) -> None:
        """Store the cursor as it is now, with what goes with it; tried until it is stored.

        The cursor speaks of everything that is finished, so one moment after the other is stored, each with all that
        came to be in the meantime: no cursor gets to the disk before the events that were parked below it.

        done: with strict order, and in a job, one of them may have been parked before, and is so no longer.
        """
        part = _Part(attempts, parked, done)
        self._parts.append(part)
        async with self._storing:
            if not part.stored:
                await self._store()

    async def _store(self) -> None:
        while True:
            parts, cursor = list(self._parts), self._cursor()
            moment = self._moment(parts, cursor)
            try:
                await self._state.commit(moment)
                break
            except StateError as error:
                self.problem = str(error)
                self._voice.tell("state", "the cursor cannot be stored; trying again", problem=str(error))
            await self._clock.sleep(_COMMIT_AGAIN)
        del self._parts[: len(parts)]
        for part in parts:
            part.stored = True
        self.committed = cursor
        self.problem = None
        if self._unparks and (moment.parked or moment.unparked):
            self._held = self._state.parked_positions(self._name, since=cursor.low.offset)

    def _moment(self, parts: Sequence[_Part], cursor: DeliveryCursor) -> Moment:
        parked: dict[Position, ParkedEvent] = {}
        unparked: dict[Position, None] = {}
        for part in parts:
            refused = {event.position: event for event in part.parked}
            parked |= refused
            for item in part.done if self._unparks else ():
                position = item.position
                if position not in refused and (position in self._held or position in parked):
                    parked.pop(position, None)
                    unparked[position] = None
        attempts = [attempt for part in parts for attempt in part.attempts]
        return Moment(
            self._name, cursor, self._clock.now_ms(), list(parked.values()), list(unparked), attempts
        )

    async def commit_if_moved(self) -> None:
        """Store the cursor where it is not stored yet."""
        if self._cursor() != self.committed:
            await self.commit()
