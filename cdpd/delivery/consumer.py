"""One destination's consumer: events from the log, sent in batches, tried again or parked; its cursor kept.

It has its own reader, window, lanes and memory bound; what happens here holds up no other destination. There is
no linger: what is there is sent, and what arrives while batches are in flight makes the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.duration import parse_duration
from cdpd.delivery.backoff import Random
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.inserting import delivering
from cdpd.delivery.keeping import Keeper, Store, Voice
from cdpd.delivery.lanes import Item, Lanes
from cdpd.delivery.mask import Mask
from cdpd.delivery.pace import Pace
from cdpd.delivery.reading import Bound, Feed, Intake, Routed
from cdpd.delivery.route import Routes
from cdpd.delivery.sending import Deliver, Sent, send
from cdpd.delivery.tally import UNREADABLE, Tally
from cdpd.delivery.turns import News, Turn, Turns
from cdpd.delivery.verdict import Verdict, verdict
from cdpd.delivery.waiting import first_of
from cdpd.delivery.window import Window
from cdpd.delivery.wording import for_log
from cdpd.destinations.contract import Batch, BatchLimits, Destination
from cdpd.destinations.outcome import BadEvent, Outcome
from cdpd.log.errors import LogError
from cdpd.metrics import Metrics
from cdpd.secret import secrets_in
from cdpd.timestamp import format_time

LEAST_READ: Final = 1000
"""Events that may be in memory however small the batches are: those that wait for a retry hold up nobody soon."""
_LAZY: Final = 1.0
"""Seconds after which a cursor that moved only over events for others is stored …"""
_MUCH: Final = 10_000
"""… and so many lines."""


class Wiring(Struct, frozen=True):
    """What a consumer is given from outside."""

    events: Feed
    state: Store
    clock: Clock
    metrics: Metrics
    log: structlog.typing.FilteringBoundLogger
    random: Random
    routed: Routed | None = None
    unparks: bool = False
    """What it delivers may have been parked before: it is so no longer."""


class Consumer:
    """Delivers to one destination instance, from its stored cursor on."""

    def __init__(
        self,
        name: str,
        destination: Destination,
        cursor: DeliveryCursor,
        wiring: Wiring,
        router: Routes,
        *,
        until: int | None = None,
    ) -> None:
        """`until`: the offset of `events` before which it ends, once all before that is settled; None: never."""
        self.name = name
        self.destination = destination
        config = destination.config
        self._wiring = wiring
        self._clock = wiring.clock
        self._log = wiring.log.bind(destination=name)
        self._mask = Mask(secrets_in(config))
        self._strict = config.ordering == "strict"
        concurrency = 1 if self._strict else max(destination.concurrency, 1)
        limits = batch_limits(destination)
        self._retry_for = None if config.retry_for is None else parse_duration(config.retry_for)
        self._window = Window(cursor)
        self._lanes = Lanes()
        pace = Pace(
            concurrency,
            events=config.max_events_per_second,
            requests=config.max_requests_per_second,
            now=wiring.clock.monotonic(),
        )
        self._turns = Turns(self._lanes, pace, limits, wiring.random)
        self.router = router
        self.intake = Intake(
            name=name,
            events=wiring.events,
            reader=wiring.events.reader(cursor.low),
            router=router,
            window=self._window,
            lanes=self._lanes,
            bound=Bound(
                max((concurrency + 4) * limits.max_events, LEAST_READ), (concurrency + 1) * limits.max_bytes
            ),
            metrics=wiring.metrics,
            bad_line=lambda item, reason: self._unreadable.append((item, reason)),
            until=until,
            routed=wiring.routed,
            failed_filter=self._failed_filter,
        )
        self._tally = Tally(name, wiring.metrics, wiring.clock)
        self._deliver = self._tally.timed(delivering(destination))
        self._voice = Voice(self._log, wiring.clock)
        self._keeper = Keeper(
            name,
            wiring.state,
            wiring.clock,
            self._window.cursor,
            cursor,
            self._voice,
            unparks=self._strict or wiring.unparks,
        )
        self._unreadable: list[tuple[Item, str]] = []
        self._stopping = False
        self._fault: LogError | None = None
        self._changed = anyio.Event()
        self._room = anyio.Event()

    @property
    def committed(self) -> DeliveryCursor:
        """The cursor as stored."""
        return self._keeper.committed

    # -- from outside --------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End after the batches that are in flight."""
        self._stopping = True
        self._changed.set()

    def wake(self) -> None:
        """Try at once what waits for a retry or a probe."""
        self._turns.wake()
        self._changed.set()

    def status(self) -> dict[str, Any]:
        """For `cdpd status`."""
        clock, health, oldest = self._clock, self._turns.health, self._window.oldest
        now = clock.monotonic()
        position = (oldest.position if oldest else self._window.read_to).offset
        since = health.paused_since if health.paused is not None else health.failing_since
        state = {
            "well": "running",
            "failing": "retrying",
            "away": "retrying",
            "limited": "retrying",
        }.get(health.state(now), "paused")
        problem = kind = None
        if health.state(now) != "well":
            problem, kind = health.last_error, health.last_kind
        if self._keeper.problem is not None:
            state, problem, kind = "waiting", self._keeper.problem, None
        return {
            "state": state,
            "position": position,
            "lag_events": max(self._wiring.events.end.offset - position, 0),
            "lag_seconds": max(clock.now_ms() - oldest.at_ms, 0) // 1000 if oldest else 0,
            "in_flight": self._turns.in_flight,
            "concurrency": self._turns.pace.calls,
            "most_concurrency": self._turns.pace.most,
            "waiting_to_retry": sum(len(group.items) for group in self._lanes.waiting),
            "delivered": self._tally.delivered,
            "parked": self._keeper.parked,
            "failing_since": None
            if since is None
            else format_time(clock.now_ms() - round((now - since) * 1000)),
            "problem": problem,
            "problem_kind": kind,
            "last_error": health.last_error or None,
        }

    # -- the loop ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until stopped or cancelled. Raises LogError where the log cannot be read on."""
        await self.destination.start()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read)
                await self._dispatch(tasks)
                tasks.cancel_scope.cancel()
            if self._fault is not None:
                raise self._fault
        finally:
            self.intake.close()
            with anyio.CancelScope(shield=True):
                await self.destination.stop()

    async def _read(self) -> None:
        """Read on whenever there is room; what cannot be read ends the consumer once the rest is delivered."""
        try:
            while True:
                self._room = anyio.Event()
                if not self.intake.has_room:
                    await self._room.wait()
                elif await self.intake.read():
                    self._changed.set()
                    if not self._window.events and self._moved() >= _MUCH:
                        await self._keeper.commit_if_moved()
                elif self.intake.is_through:
                    self._changed.set()
                    return
                elif self._window.events or self._window.read_to == self.committed.low:
                    await self._wiring.events.wait_beyond(self._window.read_to)
                else:
                    # It moved only over events for others: there is no hurry to store that.
                    more = partial(self._wiring.events.wait_beyond, self._window.read_to)
                    await first_of(more, partial(self._clock.sleep, _LAZY))
                    if self.intake.at_end and not self._window.events:
                        await self._keeper.commit_if_moved()
        except LogError as error:
            self._fault = error
            self._changed.set()

    def _moved(self) -> int:
        """How many lines were read since the cursor was stored."""
        return self._window.read_to.offset - self.committed.low.offset

    async def _dispatch(self, tasks: TaskGroup) -> None:
        while True:
            changed = self._changed = anyio.Event()
            if self._unreadable:
                await self._park_unreadable()
            now = self._clock.monotonic()
            turn = None if self._stopping else self._turns.next(now)
            if turn is not None:
                tasks.start_soon(self._send, turn)
                continue
            nothing_comes = self._fault is not None or self.intake.is_through
            if not self._turns.in_flight and (self._stopping or (nothing_comes and not self._window.events)):
                break
            wait = None if self._stopping else self._turns.wake_in(now)
            if wait is None:
                await changed.wait()
            else:
                await first_of(changed.wait, partial(self._clock.sleep, wait))
        await self._keeper.commit_if_moved()

    # -- one batch -----------------------------------------------------------------------------------------

    async def _send(self, turn: Turn) -> None:
        try:
            items = turn.group.items
            sent = await send(
                self._paced(),
                items,
                turn.group.tries + 1,
                self._clock,
                self._mask,
                strict=self._strict,
                share=self._turns.pace.share,
            )
            if sent.fault:
                self._voice.tell("fault", "the destination itself failed", exception=sent.fault)
            if sent.too_large is not None:
                limits = self._turns.limits
                self._turns.limits = BatchLimits(limits.max_events, max(sent.too_large // 2, 1))
            await self._settle(turn, sent)
        finally:
            self._turns.landed()
            self._changed.set()
            self._room.set()

    def _paced(self) -> Deliver:
        """`deliver`, where the first call has had its turn; further ones (halves, Resend) wait for theirs."""
        first = True

        async def deliver(batch: Batch) -> Sequence[Outcome]:
            nonlocal first
            if not first:
                await self._turns.pace.turn(len(batch.events), self._clock)
            first = False
            return await self._deliver(batch)

        return deliver

    async def _settle(self, turn: Turn, sent: Sent) -> None:
        now = self._clock.monotonic()
        told = verdict(
            turn.group.items,
            sent.outcomes,
            strict=self._strict,
            too_late=lambda item: self._too_late(item, now),
        )
        parked = [self._keeper.event(refused.item, refused.outcome) for refused in told.refused]
        self._window.finish(told.done)
        news = self._turns.heed(turn, told, now)
        self._tell(told, news)
        await self._keeper.commit(sent.attempts, parked, told.done)
        # Only now may these users' next events go: a crash doubles no more than what is in flight.
        self._lanes.settle(told.done, told.again)
        self._tally.settled(told)

    def _tell(self, told: Verdict, news: News) -> None:
        """What it says in the log."""
        voice, wrong = self._voice, told.wrong
        if wrong is not None:
            if news.paused:
                voice.news("paused")
            voice.tell(
                "paused",
                "the destination is paused; it is probed now and then",
                problem=for_log(wrong),
                next_probe_in_seconds=round(self._turns.health.next_probe - self._clock.monotonic(), 3),
            )
        if news.well:
            voice.well(None if news.away_for is None else round(news.away_for))
        if told.tries:
            voice.tell("retrying", "events wait and are tried again", problem=for_log(told.tries[0]))
        if told.limits:
            voice.tell(
                "limited",
                "the vendor asks to slow down; nothing is sent until it may be",
                problem=for_log(told.limits[0]),
                seconds=round(self._turns.health.limited_until - self._clock.monotonic(), 3),
            )
        if told.refused:
            reason = for_log(told.refused[0].outcome)
            voice.tell("parked", "events were refused and parked", events=len(told.refused), reason=reason)

    def _too_late(self, item: Item, now: float) -> bool:
        return (
            self._retry_for is not None
            and item.failing_since is not None
            and now - item.failing_since >= self._retry_for
        )

    def _failed_filter(self, title: str) -> None:
        # Not how it failed: that may quote the event. `cdpd trace` tells it.
        text = "a filter cannot judge an event, which is therefore not sent; `cdpd filter` tries it"
        self._voice.tell("filter", text, filter=title)

    async def _park_unreadable(self) -> None:
        lines, self._unreadable = self._unreadable, []
        parked = [self._keeper.event(item, BadEvent(reason)) for item, reason in lines]
        self._window.finish(item for item, _ in lines)
        await self._keeper.commit(parked=parked)
        self._tally.parked(UNREADABLE, len(parked))
        self._voice.tell("unreadable", "lines that are no events were parked", events=len(parked))


def batch_limits(destination: Destination) -> BatchLimits:
    """The configured limits, at most the destination's own."""
    own, configured = destination.limits, destination.config.batch
    if configured is None:
        return own
    return BatchLimits(min(own.max_events, configured.max_events), min(own.max_bytes, configured.max_bytes))
