"""All destinations of a daemon: one isolated consumer each; started, replaced and stopped with the configuration."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.config.model import Config
from cdpd.config.plugin_options import Catalogue
from cdpd.delivery.age import tell_if_older
from cdpd.delivery.backoff import Random, retry_delay
from cdpd.delivery.consumer import Consumer, Wiring
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.making import DestinationError, Maker
from cdpd.delivery.mask import Mask
from cdpd.delivery.route import router_of
from cdpd.delivery.slot import Slot
from cdpd.delivery.state import Moment, StateDb
from cdpd.delivery.waiting import first_of
from cdpd.event import BEGINNING, Position
from cdpd.log.errors import InvalidCursor, LogError
from cdpd.log.folder import StreamFolder
from cdpd.log.readable import ReadableStream
from cdpd.metrics import Metrics
from cdpd.secret import secrets_in
from cdpd.timestamp import parse_time

GRACE: Final = 10.0
"""Seconds that batches in flight get when their destination is stopped."""


class Reset(Struct, frozen=True):
    """Offsets of `events`: where a destination was, where it goes on, and where the stream ends."""

    before: int
    position: int
    end: int


class Delivery:
    """All destinations of a daemon."""

    def __init__(
        self,
        *,
        events: ReadableStream,
        state: StateDb,
        catalogue: Catalogue,
        data_dir: Path,
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        random: Random = random.random,
    ) -> None:
        self._events = events
        self._state = state
        self._maker = Maker(catalogue, data_dir, clock, log)
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._random = random
        self._wiring = Wiring(events, state, clock, metrics, log, random)
        self._slots: dict[str, Slot] = {}
        self._ready = anyio.Event()
        self._applying = anyio.Lock()
        self._tasks: TaskGroup

    async def run(self, config: Config) -> None:
        """Deliver until cancelled; what is in flight then gets GRACE seconds.

        Raises DestinationError where a destination cannot be made.
        """
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                await self.apply(config)
                tell_if_older(
                    self._state, self._events, {n: s.committed.low for n, s in self._slots.items()}, self._log
                )
                self._ready.set()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await self.stop()

    async def ready(self) -> None:
        """Return once every destination's cursor is committed."""
        await self._ready.wait()

    async def stop(self) -> None:
        """End every consumer after the batches that it has in flight; at most GRACE seconds."""
        async with self._applying:
            await self._end(self._slots.values())

    async def apply(self, config: Config) -> None:
        """Start what is new, stop what is gone, replace what changed; the others do not notice.

        Cursors of destinations that are gone or disabled are kept. Those that wait for a retry or a probe try at
        once: a reload is also how one says "now". Raises DestinationError and changes nothing.
        """
        async with self._applying:
            wanted = {
                name: Slot(name, self._maker.read(name, options))
                for name, options in config.destinations.items()
            }
            for name, slot in self._slots.items():
                running = slot.ended is None or not slot.ended.is_set()
                if name in wanted and running and slot.same_as(wanted[name]):
                    wanted[name] = slot
            await self._end(slot for name, slot in self._slots.items() if wanted.get(name) is not slot)
            known = frozenset(slot.made.kind.name for slot in wanted.values())
            for name, slot in wanted.items():
                if slot.consumer is not None:
                    slot.consumer.router.know(known)
                    slot.consumer.wake()
                elif slot.cursor is None:
                    slot.cursor = await self._begin(name, slot)
            self._slots = wanted
            self._share_counting()
            for slot in wanted.values():
                if slot.made.config.enabled and slot.ended is None:
                    slot.ended = anyio.Event()
                    self._tasks.start_soon(self._run, slot)

    async def reset(self, name: str, start: str, *, dry_run: bool = False) -> Reset:
        """Let a destination go on from another place in `events`: "now", "beginning", a time or an offset.

        What it has in flight gets GRACE seconds; what is parked stays parked. Raises DestinationError.
        """
        async with self._applying:
            slot = self._slots.get(name)
            if slot is None:
                raise DestinationError(f"there is no destination {name!r} in the configuration that runs")
            position = await self._start(start)
            if not dry_run:
                await self._end([slot])
            before = slot.committed.low
            if not dry_run:
                cursor = DeliveryCursor(position)
                await self._state.commit(Moment(name, cursor, self._clock.now_ms()))
                self._log.warning(
                    "the destination goes on from another place, as it was told to",
                    destination=name,
                    before=before.offset,
                    now_at=position.offset,
                )
                self._slots[name] = fresh = Slot(name, slot.made, cursor)
                if fresh.made.config.enabled:
                    fresh.ended = anyio.Event()
                    self._tasks.start_soon(self._run, fresh)
            return Reset(before.offset, max(position.offset, self._events.begin), self._events.end.offset)

    def reopen(self) -> None:
        """Destinations that write files open them again (logrotate)."""
        for slot in self._slots.values():
            if slot.consumer is not None:
                slot.consumer.destination.reopen()

    def needed(self) -> Mapping[str, int]:
        """Destination → the offset of `events` from which on it still reads (as committed)."""
        return {f"destination {name}": slot.committed.low.offset for name, slot in self._slots.items()}

    def status(self) -> dict[str, Any]:
        """Destination → what `cdpd status` shows of it."""
        return {name: self._status(name, slot) for name, slot in self._slots.items()}

    def _status(self, name: str, slot: Slot) -> dict[str, Any]:
        if slot.consumer is not None:
            return slot.consumer.status()
        position = slot.committed.low.offset
        return {
            "state": "stopped" if slot.problem else "starting" if slot.made.config.enabled else "disabled",
            "position": position,
            "lag_events": max(self._events.end.offset - position, 0),
            "lag_seconds": None,
            "in_flight": 0,
            "waiting_to_retry": 0,
            "delivered": int(self._metrics.get(names.DELIVERED, name)),
            "parked": self._state.parked_count(name),
            "failing_since": None,
            "problem": slot.problem or None,
            "last_error": slot.problem or None,
        }

    # -- one destination -----------------------------------------------------------------------------------

    async def _begin(self, name: str, slot: Slot) -> DeliveryCursor:
        """The stored cursor; a new destination's first one, committed."""
        stored = self._state.cursor(name)
        if stored is not None:
            return stored
        start = slot.made.config.start
        cursor = DeliveryCursor(await self._start(start))
        await self._state.commit(Moment(name, cursor, self._clock.now_ms()))
        before = cursor.low.offset - self._events.begin if start != "beginning" else 0
        after = self._events.end.offset - max(cursor.low.offset, self._events.begin)
        log = self._log.bind(destination=name, starts_at=start, events_before=before, events_after=after)
        if self._state.created and not self._ready.is_set() and before + after:
            # Either the first destination ever beside an older archive, or the cursors are lost.
            log.warning(
                "state.db is new, but the archive is not: where the destinations were is not known. If state.db was "
                "lost, events_before of them may never be sent to this one, and events_after may be sent again; "
                "restore state.db, or name another place: `cdpd destinations reset NAME --from PLACE`"
            )
        else:
            log.info("new destination")
        return cursor

    async def _start(self, start: str) -> Position:
        if start == "now":
            return self._events.end
        if start == "beginning":
            return BEGINNING
        if start.isascii() and start.isdecimal():
            return await anyio.to_thread.run_sync(StreamFolder(self._events.folder).at_offset, int(start))
        ms = parse_time(start)
        if ms is None:
            raise DestinationError(f'from = "{start}": expected "now", "beginning" or an ISO 8601 time')
        return await anyio.to_thread.run_sync(_at_time, self._events, ms)

    async def _run(self, slot: Slot) -> None:
        """Run the consumer until it is stopped, again where the destination's own code failed."""
        log = self._log.bind(destination=slot.name)
        mask = Mask(secrets_in(slot.made.config))
        failures = 0
        assert slot.ended is not None
        try:
            # Shielded: a cancelled daemon first lets batches in flight end (`stop`), so that none is doubled.
            with slot.scope:
                while not slot.stopping.is_set():
                    try:
                        await self._consume(slot)
                        return
                    except LogError as error:
                        slot.problem = str(error)
                        if isinstance(error, InvalidCursor):
                            slot.problem += f": `cdpd destinations reset {slot.name} --from PLACE`"
                        log.error("the destination cannot read the log and has stopped", problem=slot.problem)
                        return
                    except Exception as error:
                        failures += 1
                        slot.problem = mask(_described(error))
                        wait = retry_delay(failures, self._random)
                        log.error(
                            "the destination failed; it is started again",
                            again_in_seconds=round(wait, 1),
                            exc_info=error,
                        )
                        await first_of(slot.stopping.wait, partial(self._clock.sleep, wait))
        finally:
            slot.ended.set()

    async def _consume(self, slot: Slot) -> None:
        assert slot.cursor is not None  # `apply` begins it
        async with self._maker.instance(slot.name, slot.made) as destination:
            known = frozenset(other.made.kind.name for other in self._slots.values())
            router = router_of(slot.made.kind, slot.made.config, known)
            consumer = Consumer(slot.name, destination, slot.cursor, self._wiring, router)
            slot.consumer, slot.problem = consumer, ""
            self._share_counting()
            try:
                await consumer.run()
            finally:
                slot.cursor, slot.consumer = consumer.committed, None

    def _share_counting(self) -> None:
        """One consumer counts what all of them see: unknown names in `integrations`."""
        running = [slot.consumer for slot in self._slots.values() if slot.consumer is not None]
        for i, consumer in enumerate(running):
            consumer.intake.counts_unknown = i == 0

    async def _end(self, slots: Iterable[Slot]) -> None:
        """Stop these consumers, all at once."""
        running = [slot for slot in slots if slot.ended is not None and not slot.ended.is_set()]
        if not running:
            return
        for slot in running:
            slot.stopping.set()
            if slot.consumer is not None:
                slot.consumer.stop()

        async def all_ended() -> None:
            for slot in running:
                assert slot.ended is not None
                await slot.ended.wait()

        await first_of(all_ended, lambda: self._clock.sleep(GRACE))
        for slot in running:
            slot.scope.cancel()
        await all_ended()


def _at_time(events: ReadableStream, ms: int) -> Position:
    """Before the first events of that log time; the stream's own index is only near it."""
    reader = events.reader(StreamFolder(events.folder).at_time(ms))
    try:
        while (piece := reader.read()) is not None:
            for frame in piece.frames:
                if frame.last_ms >= ms:
                    return Position(frame.base, frame.epoch)
        return reader.position
    finally:
        reader.close()


def _single(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _described(error: Exception) -> str:
    single = _single(error)
    return f"{type(single).__name__}: {single}"
