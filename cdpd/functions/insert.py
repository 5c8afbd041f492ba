"""A destination's insert function: it changes each event on its way there, or drops it.

Source: spec/connections.md §9.3: after the filters, before the mappings; a trigger sees the event as it was before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from cdpd.clock import Clock
from cdpd.config.functions import ON_BATCH, setup_of
from cdpd.destinations.contract import DestinationConfig, Insert
from cdpd.destinations.outcome import HELD, Outcome
from cdpd.destinations.steps import user_of
from cdpd.event import Event
from cdpd.functions.frames import Result
from cdpd.functions.host import Host, Surroundings
from cdpd.functions.kept import FunctionsDb
from cdpd.functions.outcomes import not_loaded, outcome_of_result
from cdpd.functions.process import CannotLoad

if TYPE_CHECKING:
    import structlog

DB: Final = "functions.db"
AT_ONCE: Final = 32
"""Events that are handed over at a time."""
_HOLDING: Final = frozenset(("retry", "rate_limited", "bad_config", "bad_credentials"))
"""What makes a user's later events wait …"""
_HOLDING_ALL: Final = _HOLDING | {"bad_event"}
"""… and with strict order everybody's."""


@asynccontextmanager
async def destination_insert(
    name: str,
    config: DestinationConfig,
    state_dir: Path,
    clock: Clock,
    log: structlog.typing.FilteringBoundLogger,
) -> AsyncIterator[Insert | None]:
    """The insert function of a destination, with its process inside the `with`; None where it has none."""
    if config.insert is None:
        yield None
        return
    around = Surroundings(FunctionsDb(state_dir / DB), clock, log)
    host = Host(f"insert of destination {name}", "insert", setup_of(config.insert), around)
    try:
        yield DestinationInsert(host, config.ordering, clock)
    finally:
        await host.close()


class DestinationInsert:
    """Called with the events of a batch."""

    def __init__(self, host: Host, ordering: str, clock: Clock) -> None:
        self._host = host
        self._ordering = ordering
        self._clock = clock

    async def __call__(self, events: Sequence[Event]) -> Sequence[Event | Outcome]:
        """For each the event as it goes on, or what became of it here."""
        told: list[Event | Outcome] = []
        try:
            whole = ON_BATCH in await self._host.handlers()
            step = max(len(events), 1) if whole else AT_ONCE
            for begin in range(0, len(events), step):
                told += await self._some(events[begin : begin + step])
        except CannotLoad as error:
            told += [not_loaded(error)] * (len(events) - len(told))
        return self._held(events, told)

    async def _some(self, events: Sequence[Event]) -> list[Event | Outcome]:
        results = await self._host.call(
            [Raw(event.line()) for event in events], lambda place: events[place].message_id
        )
        now = self._clock.now_ms()
        return [
            changed(event, result) if result.ended == "done" else outcome_of_result(result, now)
            for event, result in zip(events, results, strict=True)
        ]

    def _held(self, events: Sequence[Event], told: list[Event | Outcome]) -> list[Event | Outcome]:
        """No event overtakes an earlier one of its user that comes again."""
        holding = _HOLDING_ALL if self._ordering == "strict" else _HOLDING
        held = set()
        for i, event in enumerate(events):
            user = user_of(event, self._ordering)
            found = told[i]
            if isinstance(found, Event):
                if user is not None and user in held:
                    told[i] = HELD
            elif found.kind in holding:
                held.add(user)
        return told


def changed(event: Event, result: Result) -> Event:
    """The event with what the function changed; what it left alone keeps its text."""
    if not result.changed and not result.removed:
        return event
    after = Event(event.line(), event.received)
    after.options = event.options
    after.lane = event.lane
    apply(after, result)
    return after


def apply(event: Event, result: Result) -> None:
    """Make these changes to the event itself."""
    for key in result.removed:
        event.pop(key, None)
    for key, text in (result.changed or {}).items():
        event.put_raw(key, text)
