"""All destinations of a daemon: one isolated consumer each; started, replaced and stopped with the configuration."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.config.duration import parse_keep
from cdpd.config.model import Config
from cdpd.config.plugin_options import Catalogue
from cdpd.delivery.age import tell_if_older
from cdpd.delivery.backoff import Random
from cdpd.delivery.beginning import place_in
from cdpd.delivery.by_hand import ByHand
from cdpd.delivery.consumer import Consumer, Wiring
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.dropping import Dropper
from cdpd.delivery.expiry import Expiry
from cdpd.delivery.jobs import Jobs
from cdpd.delivery.making import DestinationError, Maker
from cdpd.delivery.paused import paused_by_hand
from cdpd.delivery.rename import Renamed, rename, to_rename
from cdpd.delivery.route import router_of
from cdpd.delivery.running import run_slot
from cdpd.delivery.slot import Slot
from cdpd.delivery.state import Moment, StateDb, StateError
from cdpd.delivery.waiting import first_of
from cdpd.log.errors import LogError
from cdpd.log.readable import ReadableStream
from cdpd.metrics import Metrics
from cdpd.timestamp import format_time

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
        self._data_dir = data_dir
        self._maker = Maker(catalogue, data_dir, clock, log)
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._random = random
        self._wiring = Wiring(events, state, clock, metrics, log, random)
        self.jobs = Jobs(self._maker, self._wiring, events, state, self._wake)
        """Replays, and retries of parked events."""
        self._slots: dict[str, Slot] = {}
        self._ready = anyio.Event()
        self._applying = anyio.Lock()
        self._stopping = False
        self._tasks: TaskGroup
        self.dropper = Dropper(state, self._is_strict, self.halted, metrics, log, self.jobs.pass_dropped)
        """Of parked events."""
        self.by_hand = ByHand(lambda: self._slots, self.halted, self.dropper, events, state, clock, log)
        self._expiry = Expiry(state, self.dropper, clock, log)

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
                await self._expiry.run()
            finally:
                with anyio.CancelScope(shield=True):
                    await self.stop()

    async def ready(self) -> None:
        """Return once every destination's cursor is committed."""
        await self._ready.wait()

    async def stop(self) -> None:
        """End every consumer after the batches that it has in flight; at most GRACE seconds."""
        self._stopping = True
        async with self._applying, anyio.create_task_group() as both:
            both.start_soon(self.jobs.stop)
            both.start_soon(self._end, self._slots.values())

    async def apply(self, config: Config) -> None:
        """Start what is new, stop what is gone, replace what changed, rename what was called otherwise; the others do
        not notice.

        Cursors of destinations that are gone, disabled or paused are kept. Those that wait for a retry or a probe try
        at once: a reload is also how one says "now". Raises DestinationError or StateError and changes nothing.
        """
        async with self._applying:
            wanted = {
                name: Slot(name, self._maker.read(name, options))
                for name, options in config.destinations.items()
            }
            moves = to_rename({name: slot.made.config.was for name, slot in wanted.items()}, self._state)
            for name, slot in self._slots.items():
                running = slot.ended is None or not slot.ended.is_set()
                if name in wanted and running and slot.same_as(wanted[name]):
                    wanted[name] = slot
            made = {name: slot.made for name, slot in wanted.items()}
            try:
                await self._end(slot for name, slot in self._slots.items() if wanted.get(name) is not slot)
                await self.jobs.halt(made)
                await self._place(wanted, moves, config)
            except (DestinationError, StateError, LogError):
                self.jobs.go_on()
                self._revive([s for s in self._slots.values() if s.ended is not None and s.ended.is_set()])
                raise
            self._tell_removed(wanted, moves)
            known = frozenset(slot.made.kind.name for slot in wanted.values())
            for slot in wanted.values():
                if slot.consumer is not None:
                    slot.consumer.router.know(known)
                    slot.consumer.wake()
            self._slots = wanted
            self._expiry.keep = parse_keep(config.delivery.keep_parked)
            self._share_counting()
            for slot in wanted.values():
                self._go_on(slot)
            await self.jobs.apply(self._tasks, made)

    async def _place(self, wanted: Mapping[str, Slot], moves: Sequence[Renamed], config: Config) -> None:
        """Give every one that is new its cursor, and its pause."""
        inherited = {move.new for move in moves}
        begun = {
            name: await self._begin(name, slot)
            for name, slot in wanted.items()
            if slot.cursor is None and slot.consumer is None and name not in inherited
        }
        if moves:
            await rename(self._state, self._data_dir, moves, hooks_of(config))
        for move in moves:
            cursor = self._state.cursor(move.new)
            assert cursor is not None  # that of the old one
            begun[move.new] = cursor
            self._log.info("the destination has another name", destination=move.new, was=move.old)
        pauses = paused_by_hand(self._state)
        for name, cursor in begun.items():
            wanted[name].cursor, wanted[name].paused = cursor, pauses.get(name)

    def _tell_removed(self, wanted: Mapping[str, Slot], moves: Sequence[Renamed]) -> None:
        for name in self._slots.keys() - wanted.keys() - {move.old for move in moves}:
            low = self._state.cursor(name)
            behind = 0 if low is None else max(self._events.end.offset - low.low.offset, 0)
            self._log.warning(
                "a destination is no longer configured. Its place and its parked events are kept, and it goes on there "
                "when it comes back; but the log is not kept for it: what retention takes meanwhile, it misses",
                destination=name,
                events_to_come=behind,
                parked=self._state.parked_count(name),
                for_good=f"cdpd destinations forget {name}",
            )

    async def reset(self, name: str, start: str, *, dry_run: bool = False) -> Reset:
        """Let a destination go on from another place in `events`: "now", "beginning", a time or an offset.

        What it has in flight gets GRACE seconds; what is parked stays parked. Raises DestinationError.
        """
        if name not in self._slots:
            raise DestinationError(f"there is no destination {name!r} in the configuration that runs")
        position = await place_in(self._events, start)
        before = self._slots[name].committed.low
        if not dry_run:
            async with self.halted(name):
                if name in self._slots:
                    before = self._slots[name].committed.low
                await self._state.commit(Moment(name, DeliveryCursor(position), self._clock.now_ms()))
            self._log.warning(
                "the destination goes on from another place, as it was told to",
                destination=name,
                before=before.offset,
                now_at=position.offset,
            )
        return Reset(before.offset, max(position.offset, self._events.begin), self._events.end.offset)

    @asynccontextmanager
    async def halted(self, *chosen: str) -> AsyncIterator[None]:
        """No live consumer of these runs inside the `with`; then each goes on as state.db has it: cursor and pause."""
        async with self._applying:
            slots = [self._slots[name] for name in chosen if name in self._slots]
            try:
                with anyio.CancelScope(shield=True):
                    await self._end(slots)
                yield
            finally:
                self._revive(slots)

    def _revive(self, slots: Iterable[Slot]) -> None:
        """Let these, which have ended, go on as state.db has them."""
        pauses = paused_by_hand(self._state)
        for slot in slots:
            cursor = self._state.cursor(slot.name) or slot.committed
            self._slots[slot.name] = fresh = Slot(slot.name, slot.made, cursor, pauses.get(slot.name))
            self._go_on(fresh)

    def _go_on(self, slot: Slot) -> None:
        if slot.may_run and slot.ended is None and not self._stopping:
            slot.ended = anyio.Event()
            self._tasks.start_soon(run_slot, slot, self._consume, self._clock, self._random, self._log)

    def _wake(self, name: str) -> None:
        slot = self._slots.get(name)
        if slot is not None and slot.consumer is not None:
            slot.consumer.wake()

    def reopen(self) -> None:
        """Destinations that write files open them again (logrotate)."""
        self.jobs.reopen()
        for slot in self._slots.values():
            if slot.consumer is not None:
                slot.consumer.destination.reopen()

    def needed(self) -> Mapping[str, int]:
        """Destination → the offset of `events` from which on it still reads (as committed)."""
        return {f"destination {name}": slot.committed.low.offset for name, slot in self._slots.items()}

    def status(self) -> dict[str, Any]:
        """Destination → what `cdpd status` shows of it."""
        return {name: self._status(name, slot) for name, slot in self._slots.items()}

    def listed(self) -> dict[str, dict[str, Any]]:
        """Destination → what `cdpd destinations ls` shows of it. Raises StateError."""
        return self.by_hand.listed(self.status())

    def _status(self, name: str, slot: Slot) -> dict[str, Any]:
        if slot.consumer is not None:
            return slot.consumer.status()
        position = slot.committed.low.offset
        status = {
            "state": slot.at_rest,
            "position": position,
            "lag_events": max(self._events.end.offset - position, 0),
            "lag_seconds": None,
            "in_flight": 0,
            "concurrency": None,
            "most_concurrency": None,
            "waiting_to_retry": 0,
            "delivered": int(self._metrics.get(names.DELIVERED, name)),
            "parked": self._state.parked_count(name),
            "failing_since": None,
            "problem": slot.problem or None,
            "problem_kind": None,
            "last_error": slot.problem or None,
        }
        if slot.paused is not None:
            status["paused"] = {"since": format_time(slot.paused.at_ms), "reason": slot.paused.reason}
        return status

    # -- one destination -----------------------------------------------------------------------------------

    async def _begin(self, name: str, slot: Slot) -> DeliveryCursor:
        """The stored cursor; a new destination's first one, committed."""
        stored = self._state.cursor(name)
        if stored is not None:
            return stored
        start = slot.made.config.start
        cursor = DeliveryCursor(await place_in(self._events, start))
        await self._state.commit(Moment(name, cursor, self._clock.now_ms()))
        before = cursor.low.offset - self._events.begin if start != "beginning" else 0
        after = self._events.end.offset - max(cursor.low.offset, self._events.begin)
        log = self._log.bind(destination=name, starts_at=start, events_before=before, events_after=after)
        if slot.made.config.was is not None:
            log.warning("`was` names a destination of which nothing is kept: this one begins anew")
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

    def _is_strict(self, name: str) -> bool:
        return name in self._slots and self._slots[name].made.config.ordering == "strict"

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


def hooks_of(config: Config) -> frozenset[str]:
    """Names of the hook instances that a configuration uses."""
    listed = [config.pipeline.hooks, *(source.hooks or () for source in config.sources.values())]
    return frozenset(config.hooks).union(*listed)
