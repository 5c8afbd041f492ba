"""A consumer in a world that is all in memory and in a test's hands: a log, a vendor, a clock, crashes.

The vendor follows a script, one `Step` a call, and then takes everything. What it took, refused and was handed at each
crash is kept, so that a test can settle accounts.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import anyio
import msgspec
import structlog
from msgspec import Struct

from cdpd.delivery.consumer import Consumer, Wiring
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.route import router_of
from cdpd.delivery.state import Moment, StateError
from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationConfig, DestinationEnv
from cdpd.destinations.outcome import (
    HELD,
    BadConfig,
    BadCredentials,
    BadEvent,
    Delivered,
    Outcome,
    RateLimited,
    Resend,
    TooLarge,
    TryAgain,
)
from cdpd.event import BEGINNING, Position
from cdpd.log.reader import Frame, Slice
from cdpd.metrics import Metrics
from tests.clock import FakeClock
from tests.stored import event

EPOCH = 7

Answer = Literal[
    "ok",
    "down",
    "timeout",
    "limited",
    "limited for 30 s",
    "halves",
    "all or nothing",
    "config",
    "credentials",
    "raises",
    "every other",
]
"""What the vendor does in one call: see `Vendor.answer`."""
Crash = Literal["before", "after", "not stored", "stored"]
"""The daemon dies: before the vendor takes a batch, after it did, or in the commit that follows."""


class Step(Struct, frozen=True):
    """One call of `deliver`."""

    answer: Answer = "ok"
    turns: int = 0
    """Turns of the loop that the call takes."""
    crash: Crash | None = None


class Plan(Struct, frozen=True):
    """A whole story."""

    users: Sequence[int]
    """Each event's user; 0: nobody."""
    bad: dict[int, int] = {}
    """Offset → how often the vendor refuses it; where its order is not strict it is parked at the first."""
    ordering: Literal["user", "strict", "none"] = "user"
    concurrency: int = 2
    max_events: int = 3
    frame: int = 4
    """Lines of a frame of the log."""
    steps: Sequence[Step] = ()


class Store(Protocol):
    """As cdpd.delivery.keeping has it, and what a consumer begins with."""

    def cursor(self, destination: str) -> DeliveryCursor | None: ...
    def parked_count(self, destination: str) -> int: ...
    def parked_positions(self, destination: str, since: int = ...) -> Container[Position]: ...
    async def commit(self, moment: Moment) -> None: ...


class Memory:
    """A state.db in memory."""

    def __init__(self) -> None:
        self.failures = 0
        """So many of the next commits fail."""
        self._cursor: str | None = None
        self._parked: set[Position] = set()

    def again(self) -> Memory:
        """The same, opened again."""
        return self

    def cursor(self, destination: str) -> DeliveryCursor | None:
        return None if self._cursor is None else DeliveryCursor.parse(self._cursor)

    def parked_count(self, destination: str) -> int:
        return len(self._parked)

    def parked_positions(self, destination: str, since: int = 0) -> Container[Position]:
        return set(self._parked)

    async def commit(self, moment: Moment) -> None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise StateError("the disk is full")
        self._cursor = str(moment.cursor)
        self._parked |= {parked.position for parked in moment.parked}
        self._parked -= set(moment.unparked)


class World:
    """Runs a plan to its end: `await World(plan, open_store).run()`; the store is opened after each crash."""

    store: Store

    def __init__(self, plan: Plan, open_store: Callable[[], Store]) -> None:
        self.plan = plan
        self._open_store = open_store
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.taken: list[int] = []
        """Offsets, as the vendor took them."""
        self.calls: list[list[int]] = []
        self.most_at_once = 0
        self.most_in_memory = 0
        self.unstored: Counter[int] = Counter()
        """Offset → crashes before which it was taken, and that was not stored yet."""
        self.most_unstored = 0
        """At one crash."""
        self.committing = 0
        self.consumer: Consumer
        self._refusals = dict(plan.bad)
        self._script = iter(plan.steps)
        self._running = 0
        self._crash_in_commit: Crash | None = None
        self._dead: asyncio.Event
        self._lines = [self._line(offset, user) for offset, user in enumerate(plan.users)]

    def key(self, offset: int) -> object:
        """Whose order this event has to keep; None: nobody's."""
        if self.plan.ordering != "user":
            return "all" if self.plan.ordering == "strict" else None
        return self.plan.users[offset] or None

    @staticmethod
    def position(offset: int) -> Position:
        """Of an event's line."""
        return Position(offset, EPOCH)

    @staticmethod
    def _line(offset: int, user: int) -> bytes:
        return msgspec.json.encode(event(offset, userId=f"u{user}" if user else None))

    # -- the log ---------------------------------------------------------------------------------------------

    @property
    def end(self) -> Position:
        return Position(len(self._lines), EPOCH)

    def reader(self, position: Position = BEGINNING) -> _Reader:
        return _Reader(self._lines, position.offset, self.plan.frame)

    async def wait_beyond(self, position: Position) -> None:
        await anyio.sleep_forever()

    # -- state -----------------------------------------------------------------------------------------------

    def _begin(self) -> DeliveryCursor:
        return self.store.cursor("d") or DeliveryCursor(Position(0, EPOCH))

    def parked_count(self, destination: str) -> int:
        return self.store.parked_count(destination)

    def parked_positions(self, destination: str, since: int = 0) -> Container[Position]:
        return self.store.parked_positions(destination, since)

    async def commit(self, moment: Moment) -> None:
        crash, self._crash_in_commit = self._crash_in_commit, None
        if crash == "not stored":
            await self._die()
        self.committing += 1
        try:
            await self.store.commit(moment)
        finally:
            self.committing -= 1
        if crash == "stored":
            await self._die()

    async def _die(self) -> None:
        self._dead.set()
        await anyio.sleep_forever()

    # -- the vendor ------------------------------------------------------------------------------------------

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        offsets = [int(one.message_id[1:]) for one in batch.events]
        step = next(self._script, Step())
        self._check(offsets)
        self.calls.append(offsets)
        with self._at_once():
            if step.crash == "before":
                await self._die()
            for _ in range(step.turns):
                await asyncio.sleep(0)
            outcomes = self.answer(step.answer, offsets)
            if step.crash == "after":
                await self._die()
        if step.crash in ("not stored", "stored"):
            self._crash_in_commit = step.crash
        return outcomes

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            yield
        finally:
            self._running -= 1

    def _check(self, offsets: Sequence[int]) -> None:
        """What holds of every call."""
        assert len(offsets) <= self.plan.max_events
        self.most_in_memory = max(self.most_in_memory, self.consumer._window.events)

    def answer(self, answer: Answer, offsets: Sequence[int]) -> Sequence[Outcome]:
        """The outcomes of one call; what it takes goes into `taken`."""
        match answer:
            case "down":
                return [TryAgain("it answered 503", 503)] * len(offsets)
            case "timeout":
                return [TryAgain("no answer in time", code="ETIMEDOUT")] * len(offsets)
            case "limited":
                return [RateLimited("it answered 429", 429)] * len(offsets)
            case "limited for 30 s":
                return [RateLimited("it answered 429", 429, 30.0)] * len(offsets)
            case "config":
                return [BadConfig("it answered 501", 501)] * len(offsets)
            case "credentials":
                return [BadCredentials("it answered 401", 401)] * len(offsets)
            case "halves" if len(offsets) > 1:
                return [TooLarge("it answered 413", 413)] * len(offsets)
            case "raises":
                raise KeyError("surprise")
            case "all or nothing" if any(self._refusals.get(offset) for offset in offsets):
                return [BadEvent("bad", 400) if self._refuses(offset) else Resend() for offset in offsets]
            case _:
                return self._one_by_one(offsets, every_other=answer == "every other")

    def _one_by_one(self, offsets: Sequence[int], *, every_other: bool) -> list[Outcome]:
        """As a destination does it that makes a request an event: nothing goes after what has to wait."""
        outcomes: list[Outcome] = []
        held: set[object] = set()
        for place, offset in enumerate(offsets):
            key = self.key(offset)
            if key is not None and key in held:
                outcome: Outcome = HELD
            elif self._refuses(offset):
                outcome = BadEvent("bad", 400)
            elif every_other and place % 2:
                outcome = TryAgain("it answered 503", 503)
            else:
                self.taken.append(offset)
                outcome = Delivered(200)
            if isinstance(outcome, TryAgain) or (
                self.plan.ordering == "strict" and not isinstance(outcome, Delivered)
            ):
                held.add(key)
            outcomes.append(outcome)
        return outcomes

    def _refuses(self, offset: int) -> bool:
        left = self._refusals.get(offset, 0)
        if left:
            self._refusals[offset] = left - 1
        return left > 0

    # -- the story -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until everything is settled, however often the daemon dies on the way."""
        for _ in range(len(self.plan.steps) + 1):
            self._dead = asyncio.Event()
            self.store = self._open_store()
            self._running, self._crash_in_commit = 0, None
            before = len(self.taken)
            destination = Playing(self)
            wiring = Wiring(
                events=self,
                state=self,
                clock=self.clock,
                metrics=self.metrics,
                log=structlog.wrap_logger(structlog.ReturnLogger()),
                random=lambda: 0.5,
            )
            router = router_of(Playing, destination.config)
            self.consumer = Consumer("d", destination, self._begin(), wiring, router, until=len(self._lines))
            running = asyncio.create_task(self.consumer.run())
            await self._lived(running)
            if not self._dead.is_set():
                await running
                return
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            unstored = set(self.taken[before:]) - _finished(self._begin())
            self.unstored.update(unstored)
            self.most_unstored = max(self.most_unstored, len(unstored))

    async def _lived(self, running: asyncio.Task[None]) -> None:
        """Let time pass, sleeper by sleeper, until it is through or dead."""
        for _ in range(3000):
            for _ in range(40):
                await asyncio.sleep(0.0005 if self.committing else 0)
                if running.done() or self._dead.is_set():
                    return
            if not self.committing:
                wake = self.clock.next_wake
                if wake is not None:
                    await self.clock.advance(wake)
        raise AssertionError(f"it does not come to an end: {self.consumer.status()}")


class Playing(Destination):
    """The destination of a world."""

    name = "Playing"

    def __init__(self, world: World) -> None:
        plan = world.plan
        self.limits = BatchLimits(max_events=plan.max_events)
        self.concurrency = plan.concurrency
        env = DestinationEnv("d", None, Path(), world.clock, None)  # type: ignore[arg-type]  # it uses neither
        super().__init__(DestinationConfig(ordering=plan.ordering), env)
        self._world = world

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        return await self._world.deliver(batch)


class _Reader:
    def __init__(self, lines: Sequence[bytes], offset: int, frame: int) -> None:
        self._lines = lines
        self._offset = offset
        self._frame = frame

    @property
    def position(self) -> Position:
        return Position(self._offset, EPOCH)

    def read(self, max_lines: int = 0, max_bytes: int = 0) -> Slice | None:
        base = self._offset
        end = min(len(self._lines), (base // self._frame + 1) * self._frame)
        if base >= end:
            return None
        self._offset = end
        frame = Frame(base, end - base, EPOCH, 1, 1, 1, list(self._lines[base:end]))
        return Slice([frame], Position(base, EPOCH), Position(end, EPOCH))

    def close(self) -> None:
        """Nothing to close."""


def _finished(cursor: DeliveryCursor) -> set[int]:
    return set(range(cursor.low.offset)) | {
        offset for finished in cursor.finished for offset in range(finished.first, finished.end)
    }


def firsts(offsets: Sequence[int]) -> list[int]:
    """Each once, where it came first."""
    return list(dict.fromkeys(offsets))


def by_key(world: World, offsets: Sequence[int]) -> dict[object, list[int]]:
    """Those that keep an order, for each user."""
    users: defaultdict[object, list[int]] = defaultdict(list)
    for offset in offsets:
        if world.key(offset) is not None:
            users[world.key(offset)].append(offset)
    return users
