"""Delivery as the daemon assembles it: a real stream and state.db, a clock in the test's hands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import anyio
import structlog
from anyio.abc import TaskGroup

from cdpd.config.model import Config
from cdpd.delivery.delivery import Delivery
from cdpd.delivery.state import StateDb
from cdpd.destinations.console import Console
from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationConfig
from cdpd.destinations.file import File
from cdpd.destinations.null import Null
from cdpd.destinations.outcome import Delivered, Outcome
from cdpd.destinations.webhook import Webhook
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.metrics import Metrics
from tests.clock import FakeClock
from tests.stored import event

PATIENCE = 60.0
"""Real seconds after which a test gives up waiting for what must happen."""


class Found:
    """An installed destination, as discovery finds it."""

    distribution = "cdpd-daemon"

    def __init__(self, kind: type[Destination]) -> None:
        self.kind = kind

    def load(self) -> type[Destination]:
        return self.kind


class Scripted(Destination):
    """Does what the test's function says; remembers its batches."""

    name = "Scripted"
    limits = BatchLimits(max_events=100, max_bytes=1024 * 1024)
    concurrency = 2
    made: ClassVar[list[Scripted]]
    behave: ClassVar[Callable[[Batch], Any]]

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        note: str = ""

    def __init__(self, config: Any, env: Any) -> None:
        super().__init__(config, env)
        self.stopped = False
        self.made.append(self)

    async def stop(self) -> None:
        self.stopped = True

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        answer = type(self).behave(batch)
        result: Sequence[Outcome] = await answer if asyncio.iscoroutine(answer) else answer
        return result


class Rig:
    """One daemon's delivery over a data folder. `kinds`: what is installed."""

    def __init__(self, folder: Path, clock: FakeClock | None = None) -> None:
        self.folder = folder
        self.clock = clock or FakeClock()
        self.metrics = Metrics()
        self.told: list[dict[str, Any]] = []
        """The daemon's log."""
        self.batches: list[Batch] = []
        """What `scripted` destinations were given."""
        self.kinds: dict[str, type[Destination]] = {
            "webhook": Webhook,
            "file": File,
            "console": Console,
            "null": Null,
        }
        self.random: Callable[[], float] = lambda: 0.5
        self.sources = ["website"]
        self.appended = 0
        self._committing = 0

    def scripted(self, behave: Callable[[Batch], Any] | None = None, **attributes: Any) -> type[Scripted]:
        """Install a destination `scripted` that takes everything, or does as `behave` says."""

        def remembering(batch: Batch) -> Any:
            self.batches.append(batch)
            return behave(batch) if behave else [Delivered()] * len(batch.events)

        kind = type("Scripted", (Scripted,), {"made": [], "behave": staticmethod(remembering), **attributes})
        self.kinds["scripted"] = kind
        return kind

    @property
    def sent(self) -> list[str]:
        """messageIds in the order in which `deliver` got them."""
        return [event.message_id for batch in self.batches for event in batch.events]

    def destinations(self) -> Mapping[str, Found]:
        return {name: Found(kind) for name, kind in self.kinds.items()}

    def hooks(self) -> Mapping[str, Found]:
        return {}

    def config(self, destinations: Mapping[str, Mapping[str, Any]]) -> Config:
        return Config(destinations={name: dict(options) for name, options in destinations.items()})

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Rig]:
        """The log and the state, without consumers."""
        self.folder.mkdir(exist_ok=True)
        self.state = StateDb(self.folder / "state.db")
        self._count_commits()
        try:
            floor = max((position.offset for position in self.state.cursors().values()), default=0)
            async with open_stream(
                self.folder / "events",
                clock=self.clock,
                options=StreamOptions(),
                floor=floor,
                report=lambda text: self.told.append({"event": text}),
            ) as stream:
                self.events: Stream = stream
                self.delivery = Delivery(
                    events=stream,
                    state=self.state,
                    catalogue=self,  # type: ignore[arg-type]
                    data_dir=self.folder,
                    clock=self.clock,
                    metrics=self.metrics,
                    log=self._logger(),
                    random=lambda: self.random(),
                )
                yield self
        finally:
            self.state.close()

    def _count_commits(self) -> None:
        commit = self.state.commit

        async def counted(*moment: Any) -> None:
            self._committing += 1
            try:
                await commit(*moment)
            finally:
                self._committing -= 1

        self.state.commit = counted  # type: ignore[method-assign]

    @asynccontextmanager
    async def running(self, **destinations: Mapping[str, Any]) -> AsyncIterator[Rig]:
        """With consumers; they are stopped at the end."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.open())
            await stack.enter_async_context(self.delivering(**destinations))
            yield self

    @asynccontextmanager
    async def delivering(self, **destinations: Mapping[str, Any]) -> AsyncIterator[TaskGroup]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.delivery.run, self.config(destinations))
            with anyio.fail_after(PATIENCE):
                await self.delivery.ready()
            yield tasks
            tasks.cancel_scope.cancel()

    def _logger(self) -> structlog.typing.FilteringBoundLogger:
        def keep(_: object, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
            self.told.append({"level": method, **entry})
            raise structlog.DropEvent

        logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
            structlog.PrintLogger(), processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        return logger

    async def append(self, *changes: Mapping[str, Any] | bytes) -> None:
        """Events m0, m1 … with these changes each, in one frame."""
        lines = []
        for change in changes:
            lines.append(
                change if isinstance(change, bytes) else json.dumps(event(self.appended, **change)).encode()
            )
            self.appended += 1
        await self.events.append(lines, config_id=1)

    async def append_many(self, count: int, users: int = 10) -> None:
        await self.append(*({"userId": f"u{i % users}"} for i in range(count)))

    # -- waiting for what must happen ----------------------------------------------------------------------

    async def until(self, holds: Callable[[], object]) -> None:
        """Let things run, without letting time pass, until it holds."""
        with anyio.fail_after(PATIENCE):
            while not holds():  # noqa: ASYNC110 - what it waits for may be in a thread, a socket or a file
                await asyncio.sleep(0.001)

    async def settle(self, name: str = "d") -> None:
        """Until a destination has delivered all that it can, and said so in state.db."""
        await self.until(lambda: self.low(name) == self.events.end.offset)

    async def as_time_passes(self, holds: Callable[[], object], longest: float = 36_000.0) -> None:
        """Let time pass, sleeper by sleeper, until it holds."""
        begun = self.clock.elapsed
        with anyio.fail_after(PATIENCE):
            while not holds():
                assert self.clock.elapsed - begun <= longest, "it did not happen in time"
                await self._quiet()
                if holds():
                    return
                wake = self.clock.next_wake
                if wake is not None:
                    await self.clock.advance(wake)

    async def wait(self, seconds: float) -> None:
        """Let that much time pass, once nothing is in flight any more."""
        await self._quiet()
        await self.clock.advance(seconds)

    async def _quiet(self) -> None:
        """Until nothing is in flight: what takes real time (a disk, a socket) must not take time of the clock.

        Something that hangs is not waited for.
        """
        quiet = looks = 0
        while looks < 300:
            await asyncio.sleep(0.001)
            # On a busy machine a millisecond is one turn of the loop: too few to go to sleep.
            for _ in range(10):
                await asyncio.sleep(0)
            if self._committing:  # a disk always comes back
                quiet = looks = 0
                continue
            looks += 1
            jobs = self.delivery.jobs
            told = [*self.delivery.status().values(), *map(jobs.status, jobs.all())]
            busy = any(status.get("in_flight") for status in told) or self._reads()
            quiet = 0 if busy else quiet + 1
            if quiet == 4:  # between two batches nothing is in flight either
                return

    def _reads(self) -> bool:
        """Whether a consumer is about to read on."""
        running = [slot.consumer for slot in self.delivery._slots.values() if slot.consumer is not None]
        return any(consumer.intake.has_room and not consumer.intake.at_end for consumer in running)

    def low(self, name: str = "d") -> int:
        """The stored cursor's low-water mark."""
        cursor = self.state.cursor(name)
        return -1 if cursor is None else cursor.low.offset

    def status(self, name: str = "d") -> dict[str, Any]:
        status: dict[str, Any] = self.delivery.status()[name]
        return status
