"""One destination's consumer: events from the log, sent in batches, tried again or parked; its cursor kept.

It has its own reader, window, lanes and memory bound; what happens here holds up no other destination. There is
no linger: what is there is sent, and what arrives while batches are in flight makes the next.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.duration import parse_duration
from cdpd.delivery.backoff import MISCONFIGURED_PROBE, Random, retry_delay
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.health import TRIED_WHILE_FAILING, Health
from cdpd.delivery.keeping import Keeper, Store, Voice
from cdpd.delivery.lanes import Group, Item, Lanes
from cdpd.delivery.mask import Mask
from cdpd.delivery.reading import Bound, Feed, Intake, Routed
from cdpd.delivery.route import Routes
from cdpd.delivery.sending import Sent, send
from cdpd.delivery.tally import Tally
from cdpd.delivery.verdict import Verdict, verdict
from cdpd.delivery.waiting import first_of
from cdpd.delivery.window import Window
from cdpd.delivery.wording import for_log
from cdpd.destinations.contract import BatchLimits, Destination
from cdpd.destinations.outcome import BadEvent, Misconfigured
from cdpd.log.errors import LogError
from cdpd.metrics import Metrics
from cdpd.secret import secrets_in
from cdpd.timestamp import format_time

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
        self._concurrency = 1 if self._strict else max(destination.concurrency, 1)
        self._limits = batch_limits(destination)
        self._retry_for = None if config.retry_for is None else parse_duration(config.retry_for)
        self._window = Window(cursor)
        self._lanes = Lanes()
        self._health = Health()
        self.router = router
        self.intake = Intake(
            name=name,
            events=wiring.events,
            reader=wiring.events.reader(cursor.low),
            router=router,
            window=self._window,
            lanes=self._lanes,
            bound=Bound(
                (self._concurrency + 4) * self._limits.max_events,
                (self._concurrency + 1) * self._limits.max_bytes,
            ),
            metrics=wiring.metrics,
            bad_line=lambda item, reason: self._unreadable.append((item, reason)),
            until=until,
            routed=wiring.routed,
        )
        self._tally = Tally(name, wiring.metrics, wiring.clock)
        self._deliver = self._tally.timed(destination.deliver)
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
        self._recovering: deque[Group] = deque()
        self._in_flight = 0
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
        self._health.limited_until = self._health.next_probe = 0.0
        for group in self._lanes.waiting:
            group.due = 0.0
        self._changed.set()

    def status(self) -> dict[str, Any]:
        """For `cdpd status`."""
        clock, health, oldest = self._clock, self._health, self._window.oldest
        now = clock.monotonic()
        position = (oldest.position if oldest else self._window.read_to).offset
        since = health.paused_since if health.paused is not None else health.failing_since
        state = {
            "well": "running",
            "failing": "retrying",
            "away": "retrying",
            "limited": "retrying",
        }.get(health.state(now), "paused")
        problem = health.last_error if health.state(now) != "well" else None
        if self._keeper.problem is not None:
            state, problem = "waiting", self._keeper.problem
        return {
            "state": state,
            "position": position,
            "lag_events": max(self._wiring.events.end.offset - position, 0),
            "lag_seconds": max(clock.now_ms() - oldest.at_ms, 0) // 1000 if oldest else 0,
            "in_flight": self._in_flight,
            "waiting_to_retry": sum(len(group.items) for group in self._lanes.waiting),
            "delivered": self._tally.delivered,
            "parked": self._keeper.parked,
            "failing_since": None
            if since is None
            else format_time(clock.now_ms() - round((now - since) * 1000)),
            "problem": problem,
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
            group = None if self._stopping else self._next(now)
            if group is not None:
                self._in_flight += 1
                tasks.start_soon(self._send, *group)
                continue
            nothing_comes = self._fault is not None or self.intake.is_through
            if not self._in_flight and (self._stopping or (nothing_comes and not self._window.events)):
                break
            wait = self._wake_in(now)
            if wait is None:
                await changed.wait()
            else:
                await first_of(changed.wait, partial(self._clock.sleep, wait))
        await self._keeper.commit_if_moved()

    def _next(self, now: float) -> tuple[Group, Group | None] | None:
        """What to send now (and for a probe: the rest of its group)."""
        health, lanes = self._health, self._lanes
        if self._in_flight >= self._concurrency:
            return None
        state = health.state(now)
        if state == "limited":
            return None
        if state in ("away", "paused") and lanes.waiting and not self._in_flight and now >= health.next_probe:
            group = lanes.waiting[0]
            return lanes.split(group), group
        if state == "paused":
            return None
        for group in lanes.waiting:
            if group.due <= now:
                lanes.take_again(group)
                return group, None
        if state == "well" or len(lanes.waiting) + self._in_flight < TRIED_WHILE_FAILING:
            fresh = lanes.take(self._limits.max_events, self._limits.max_bytes)
            return None if fresh is None else (fresh, None)
        return None

    def _wake_in(self, now: float) -> float | None:
        """Seconds until time alone makes something possible; None where only a change does."""
        if self._stopping or self._in_flight >= self._concurrency or not self._lanes.waiting:
            return None
        health = self._health
        due = min(group.due for group in self._lanes.waiting)
        match health.state(now):
            case "limited":
                at = health.limited_until
            case "paused":
                if self._in_flight:
                    return None
                at = health.next_probe
            case "away":
                at = min(due, health.next_probe) if not self._in_flight else due
            case _:
                at = due
        return max(at - now, 0.001)

    # -- one batch -----------------------------------------------------------------------------------------

    async def _send(self, group: Group, rest: Group | None) -> None:
        try:
            sent = await send(self._deliver, group.items, group.failures + 1, self._clock, self._mask)
            if sent.fault:
                self._voice.tell("fault", "the destination itself failed", exception=sent.fault)
            if sent.too_large is not None:
                self._limits = BatchLimits(self._limits.max_events, max(sent.too_large // 2, 1))
            await self._settle(group, rest, sent)
        finally:
            self._in_flight -= 1
            self._changed.set()
            self._room.set()

    async def _settle(self, group: Group, rest: Group | None, sent: Sent) -> None:
        now = self._clock.monotonic()
        told = verdict(
            group.items, sent.outcomes, strict=self._strict, too_late=lambda item: self._too_late(item, now)
        )
        parked = [self._keeper.event(item, outcome) for item, outcome in told.refused]
        self._window.finish(told.done)
        self._heed(group, rest, told, now)
        await self._keeper.commit(sent.attempts, parked, told.done)
        # Only now may these users' next events go: a crash doubles no more than what is in flight.
        self._lanes.settle(told.done, told.again)
        self._tally.settled(told, len(parked))
        if parked:
            reason = for_log(told.refused[0][1])
            self._voice.tell("parked", "events were refused and parked", events=len(parked), reason=reason)

    def _heed(self, group: Group, rest: Group | None, told: Verdict, now: float) -> None:
        """What the outcomes say of the destination, and when what is left is tried again."""
        health, random, after = self._health, self._wiring.random, told.after
        before, since = health.state(now), health.failing_since
        if rest is not None and not told.again:
            self._lanes.put_back(rest)
        if told.wrong is not None:
            self._pause(told.wrong, now)
        elif told.done:
            if health.succeeded():
                self._recovering = deque(self._lanes.waiting)
            if before in ("away", "paused"):
                self._voice.well(None if since is None else round(now - since))
            if after is not None:
                health.limit(after, now)
        elif told.tries:
            health.failed(told.tries[0].reason, after, now, random)
        if told.tries:
            self._tally.retried()
            self._voice.tell("retrying", "events wait and are tried again", problem=for_log(told.tries[0]))
        if told.again:
            self._again(group, rest, told.again, after, now)
        if self._recovering and health.state(now) in ("well", "failing"):
            self._wake_one(now)

    def _again(
        self, group: Group, rest: Group | None, items: list[Item], after: float | None, now: float
    ) -> None:
        for item in items:
            item.failing_since = now if item.failing_since is None else item.failing_since
        failures = group.failures + 1
        due = now + (retry_delay(failures, self._wiring.random) if after is None else after)
        if rest is None:
            self._lanes.wait(items, failures, due)
        else:
            rest.failures, rest.due = failures, max(rest.due, due)
            self._lanes.rejoin(items, rest)

    def _pause(self, wrong: Misconfigured, now: float) -> None:
        if self._health.pause(wrong.reason, wrong.after, now):
            self._voice.news("paused")
        self._voice.tell(
            "paused",
            "the destination is paused; it is probed now and then",
            problem=for_log(wrong),
            next_probe_in_seconds=MISCONFIGURED_PROBE if wrong.after is None else wrong.after,
        )

    def _wake_one(self, now: float) -> None:
        """After an outage those who wait go one by one, each when the one before has told how it went."""
        while self._recovering:
            group = self._recovering.popleft()
            if group in self._lanes.waiting:
                group.due = now
                return

    def _too_late(self, item: Item, now: float) -> bool:
        return (
            self._retry_for is not None
            and item.failing_since is not None
            and now - item.failing_since >= self._retry_for
        )

    async def _park_unreadable(self) -> None:
        lines, self._unreadable = self._unreadable, []
        parked = [self._keeper.event(item, BadEvent(reason)) for item, reason in lines]
        self._window.finish(item for item, _ in lines)
        await self._keeper.commit(parked=parked)
        self._tally.parked(len(parked))
        self._voice.tell("unreadable", "lines that are no events were parked", events=len(parked))


def batch_limits(destination: Destination) -> BatchLimits:
    """The configured limits, at most the destination's own."""
    own, configured = destination.limits, destination.config.batch
    if configured is None:
        return own
    return BatchLimits(min(own.max_events, configured.max_events), min(own.max_bytes, configured.max_bytes))
