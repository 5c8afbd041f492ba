"""Delivery: from `events` to every configured destination, each a consumer of its own (consumer.py)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import aiohttp
import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup
from msgspec import Raw, Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.config.data_folder import plugin_folder
from cdpd.config.decode import decode
from cdpd.config.model import Config
from cdpd.config.plugin_options import Catalogue
from cdpd.delivery.backoff import backoff
from cdpd.delivery.consumer import Consumer, Wiring
from cdpd.delivery.integrations import unknown_names
from cdpd.delivery.route import Peek
from cdpd.delivery.state import Change, Progress, StateDb
from cdpd.destinations.contract import Destination, DestinationConfig, DestinationEnv
from cdpd.event import BEGINNING, Position
from cdpd.log.errors import LogError
from cdpd.log.folder import StreamFolder
from cdpd.log.stream import Stream
from cdpd.metrics import Metrics
from cdpd.timestamp import parse_time

GRACE: Final = 10.0
"""Seconds that a batch in flight gets when its destination is stopped."""
CONNECT: Final = 5.0
"""Seconds to connect (spec/destinations.md §0.3)."""
CONNECTIONS: Final = 16
"""Connections of one destination, at most."""


class DestinationError(Exception):
    """A destination that cannot be made from its configuration."""


class _Slot(Struct):
    """A configured destination and what runs for it."""

    options: dict[str, Any]
    kind: type[Destination]
    config: DestinationConfig
    consumer: Consumer | None = None
    problem: str = ""
    started: bool = False
    stopping: bool = False
    ended: anyio.Event = msgspec.field(default_factory=anyio.Event)
    scope: anyio.CancelScope = msgspec.field(default_factory=anyio.CancelScope)


class Delivery:
    """All destinations of a daemon."""

    def __init__(
        self,
        *,
        events: Stream,
        state: StateDb,
        catalogue: Catalogue,
        data_dir: Path,
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._events = events
        self._state = state
        self._catalogue = catalogue
        self._data_dir = data_dir
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._slots: dict[str, _Slot] = {}
        self._ready = anyio.Event()
        self._applying = anyio.Lock()
        self._tasks: TaskGroup
        self._known: frozenset[str] = frozenset()
        self._counter: str | None = None
        """The destination whose consumer counts what all of them see."""

    async def run(self, config: Config) -> None:
        """Deliver until cancelled. Raises DestinationError where a destination cannot be made."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._state.run, self._clock, self._log)
            await self.apply(config)
            self._ready.set()
            await anyio.sleep_forever()

    async def ready(self) -> None:
        """Return once every destination's cursor is committed."""
        await self._ready.wait()

    async def stop(self) -> None:
        """End every consumer after the batch that it has in flight; at most GRACE seconds."""
        async with self._applying:
            await self._end(self._slots.values())

    async def apply(self, config: Config) -> None:
        """Start what is new, stop what is gone, replace what changed; the others do not notice.

        Cursors of destinations that are gone are kept. Raises DestinationError and changes nothing.
        """
        async with self._applying:
            wanted = {name: self._slot(name, options) for name, options in config.destinations.items()}
            same = [
                name
                for name, slot in self._slots.items()
                if name in wanted and wanted[name].options == slot.options
            ]
            gone = {name: slot for name, slot in self._slots.items() if name not in same}
            await self._end(gone.values())
            self._slots = {name: self._slots[name] if name in same else slot for name, slot in wanted.items()}
            for name in same:
                consumer = self._slots[name].consumer
                if consumer is not None:
                    consumer.wake()  # a reload is also how one says: try again now
            enabled = [name for name, slot in self._slots.items() if slot.config.enabled]
            self._known = frozenset(slot.kind.name for slot in self._slots.values())
            self._counter = enabled[0] if enabled else None
            tickets = [self._begin_at(name, slot) for name, slot in self._slots.items() if name not in same]
            await self._state.committed(max(tickets, default=0))
            for name in enabled:
                if name not in same:
                    self._slots[name].started = True
                    self._tasks.start_soon(self._run, name, self._slots[name])

    def reopen(self) -> None:
        """Destinations that write files open them again (logrotate)."""
        for slot in self._slots.values():
            if slot.consumer is not None:
                slot.consumer.destination.reopen()

    def needed(self) -> Mapping[str, int]:
        """Destination → the offset of `events` from which on it still reads (as committed)."""
        found = {}
        for name in self._slots:
            progress = self._state.progress(name)
            if progress is not None:
                found[f"destination {name}"] = progress.position.offset
        return found

    def status(self) -> dict[str, Any]:
        """Destination → what `cdpd status` shows of it."""
        return {name: self._status(name, slot) for name, slot in self._slots.items()}

    def _status(self, name: str, slot: _Slot) -> dict[str, Any]:
        if slot.consumer is not None and not slot.problem:
            return slot.consumer.status()
        progress = self._state.progress(name)
        position = progress.position.offset if progress else 0
        return {
            "state": "stopped" if slot.problem else "starting" if slot.config.enabled else "disabled",
            "position": position,
            "lag_events": self._events.end.offset - position,
            "lag_seconds": None,
            "delivered": int(self._metrics.get(names.DELIVERED, name)),
            "parked": self._state.parked(name),
            "failing_since_ms": None,
            "problem": slot.problem or None,
        }

    # -- one destination -----------------------------------------------------------------------------------

    def _slot(self, name: str, options: dict[str, Any]) -> _Slot:
        found = self._catalogue.destinations().get(str(options.get("type", name)))
        if found is None:
            raise DestinationError(
                f"destinations.{name}: there is no destination {options.get('type', name)!r}"
            )
        kind: type[Destination] = found.load()
        try:
            config = msgspec.convert(options, kind.Config, dec_hook=decode)
        except msgspec.ValidationError as error:
            raise DestinationError(f"destinations.{name}: {error}") from None
        return _Slot(options, kind, config)

    def _begin_at(self, name: str, slot: _Slot) -> int:
        """Give a new destination its first cursor; a ticket of its commit (0 for one that has a cursor)."""
        if self._state.progress(name) is not None:
            return 0
        position = self._start_position(slot.config.start)
        self._log.info(
            "new destination", destination=name, starts_at=slot.config.start, offset=position.offset
        )
        return self._state.submit(Change(name, Progress(position), self._clock.now_ms()))

    def _start_position(self, start: str) -> Position:
        if start == "now":
            return self._events.end
        if start == "beginning":
            return BEGINNING
        ms = parse_time(start)
        assert ms is not None  # the configuration was checked
        return StreamFolder(self._events.folder).at_time(ms)

    async def _run(self, name: str, slot: _Slot) -> None:
        """Run the consumer, again where the destination's own code failed, until it is stopped."""
        log = self._log.bind(destination=name)
        failures = 0
        try:
            with slot.scope:
                while not slot.stopping:
                    try:
                        await self._consume(name, slot)
                        return
                    except LogError as error:
                        slot.problem = str(error)
                        log.error("the destination cannot read the log; it has stopped", problem=str(error))
                        return
                    except Exception as error:
                        # Its own start, stop or constructor: a stranger's code, which must not end the others.
                        failures += 1
                        slot.problem = f"{type(error).__name__}: {error}"
                        wait = backoff(failures, random.uniform)
                        log.exception(
                            "the destination failed; it is started again", again_in_seconds=round(wait, 1)
                        )
                        await self._clock.sleep(wait)
        finally:
            slot.ended.set()

    async def _consume(self, name: str, slot: _Slot) -> None:
        progress = self._state.progress(name)
        assert progress is not None  # _begin_at was committed
        async with self._session(slot.config) as session:
            env = DestinationEnv(
                name=name,
                http=session,
                state_dir=plugin_folder(self._data_dir, name),
                clock=self._clock,
                log=self._log.bind(destination=name),
            )
            wiring = Wiring(
                self._events, self._state, self._clock, self._metrics, self._log, random.uniform,
                lambda seen: self._count_unknown(name, seen),
            )  # fmt: skip
            slot.consumer = Consumer(name, slot.kind(slot.config, env), progress, wiring)
            slot.problem = ""
            await slot.consumer.run()

    def _session(self, config: DestinationConfig) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=config.timeout, connect=min(CONNECT, config.timeout)),
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"cdpd/{version('cdpd-daemon')}"},
            auto_decompress=True,
        )

    def _count_unknown(self, name: str, seen: Peek) -> None:
        integrations: Raw | None = seen.integrations
        if name == self._counter and integrations is not None:
            for _ in unknown_names(integrations, self._known):
                self._metrics.add(names.NOTED, "UNKNOWN_INTEGRATION")

    async def _end(self, slots: Iterable[_Slot]) -> None:
        """Stop these consumers, all at once."""
        running = [slot for slot in slots if slot.started and not slot.ended.is_set()]
        for slot in running:
            slot.stopping = True
            if slot.consumer is not None:
                slot.consumer.stop()
        with anyio.move_on_after(GRACE):
            for slot in running:
                await slot.ended.wait()
        for slot in running:
            slot.scope.cancel()
        for slot in running:
            await slot.ended.wait()
