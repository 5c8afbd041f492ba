"""A destination that runs, and the outcomes of events that are delivered with it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.delivery.checking import checked
from cdpd.delivery.lanes import Item
from cdpd.delivery.mask import Mask
from cdpd.delivery.route import Route, router_of
from cdpd.delivery.sending import send
from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import Destination, DestinationEnv
from cdpd.destinations.outcome import Outcome, Skipped
from cdpd.event import Event, Position
from cdpd.secret import secrets_in
from cdpd.testing.clock import FakeClock
from cdpd.testing.events import AT_MS, event_line
from cdpd.testing.log import KeptLog
from cdpd.testing.options import configured

_NAME: Final = "tested"


class _Event(Struct):
    line: bytes
    route: Route
    outcome: Outcome | None = None


class RunningDestination:
    """A destination between its `start` and its `stop`."""

    def __init__(self, destination: Destination, clock: Clock, log: KeptLog) -> None:
        self.destination = destination
        """The destination itself."""
        self.log = log
        """What it says."""
        self._clock = clock
        self._mask = Mask(secrets_in(destination.config))
        self._router = router_of(type(destination), destination.config, {destination.name})
        self._sent = 0

    async def deliver(self, *events: Mapping[str, Any] | Event, attempt: int = 1) -> list[Outcome]:
        """Deliver events as delivery does, and return what became of each; a mapping is filled in (`event_line`).

        Events that would not get here (their `integrations` or type are not for this destination) are Skipped. The
        rest goes in batches within its `limits`; failures of the network are outcomes, a batch that is TooLarge is
        halved, secrets in an outcome are masked. A fault of the destination (an exception, a wrong number of outcomes)
        is an AssertionError here, with its traceback.
        """
        taken = [self._taken(event) for event in events]
        routed = [event for event in taken if event.route.skip is None]
        for event in taken:
            if event.route.skip is not None:
                event.outcome = Skipped(event.route.skip or "SOURCE_NOT_CONNECTED")
        for batch in self._batches(routed):
            items = [
                Item(Position(i, 1), AT_MS, event.route.key, event.line, event.route.options)
                for i, event in enumerate(batch)
            ]
            sent = await send(self.destination.deliver, items, attempt, self._clock, self._mask)
            if sent.fault:
                raise AssertionError(f"a fault of the destination:\n{sent.fault}")
            for event, outcome in zip(batch, sent.outcomes, strict=True):
                event.outcome = outcome
        return [event.outcome for event in taken if event.outcome is not None]

    async def check(self) -> Checked:
        """Test its connection as `cdpd destination check` does; what it raises is told in the same way."""
        return await checked(self.destination, self._mask)

    def _taken(self, event: Mapping[str, Any] | Event) -> _Event:
        self._sent += 1
        line = event.line() if isinstance(event, Event) else event_line(event, self._sent)
        return _Event(line, self._router.route(line))

    def _batches(self, events: Sequence[_Event]) -> Iterator[list[_Event]]:
        limits, own = self.destination.limits, self.destination.config.batch
        most = min(limits.max_events, own.max_events if own else limits.max_events)
        most_bytes = min(limits.max_bytes, own.max_bytes if own else limits.max_bytes)
        batch: list[_Event] = []
        size = 0
        for event in events:
            if batch and (len(batch) == most or size + len(event.line) > most_bytes):
                yield batch
                batch, size = [], 0
            batch.append(event)
            size += len(event.line)
        if batch:
            yield batch


@asynccontextmanager
async def running_destination(
    kind: type[Destination],
    options: Mapping[str, object] | None = None,
    *,
    clock: Clock | None = None,
    state_dir: Path | None = None,
) -> AsyncIterator[RunningDestination]:
    """Make a destination of its `[destinations.NAME]` options, start it, and stop it at the end.

    `state_dir`: its own folder; default: a temporary one. Raises ConfigError where the options are wrong.
    """
    config = configured(kind.Config, options)
    told = KeptLog()
    clock = clock or FakeClock()
    timeout = aiohttp.ClientTimeout(total=config.timeout)
    with tempfile.TemporaryDirectory(prefix="cdpd-testing-") as temporary:
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
            env = DestinationEnv(_NAME, http, state_dir or Path(temporary), clock, told.log)
            destination = kind(config, env)
            await destination.start()
            try:
                yield RunningDestination(destination, clock, told)
            finally:
                await destination.stop()
