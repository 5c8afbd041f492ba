"""Alerts as the daemon assembles them: real streams, a real state.db, a clock in the test's hands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import structlog

from cdpd import metrics as names
from cdpd.alerts.alerts import EVERY, Alerts
from cdpd.config.decode import decode
from cdpd.config.model import Config
from cdpd.delivery.state import StateDb
from cdpd.destinations.contract import Destination
from cdpd.destinations.null import Null
from cdpd.destinations.webhook import Webhook
from cdpd.disk import Space
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.metrics import Metrics
from tests.clock import FakeClock
from tests.delivery.rig import Found
from tests.stored import discarded, event, received

PATIENCE = 60.0
"""Real seconds after which a test gives up."""
START_MS = 1_700_000_100_000
"""At the beginning of a slot."""


class AlertRig:
    """One daemon's alerts over a data folder; `started` again and again it is the same daemon, started anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock(START_MS)
        self.metrics = Metrics()
        self.destinations_say: dict[str, dict[str, Any]] = {}
        self.space = Space(50 << 30, 100 << 30)
        self.told: list[dict[str, Any]] = []
        """The daemon's log."""
        self.kinds: dict[str, type[Destination]] = {"webhook": Webhook, "null": Null}
        self.alerts: Alerts
        self.state: StateDb
        self._streams: dict[str, Stream] = {}

    # -- as a catalogue --------------------------------------------------------------------------------

    def destinations(self) -> Mapping[str, Found]:
        return {name: Found(kind) for name, kind in self.kinds.items()}

    def hooks(self) -> Mapping[str, Found]:
        return {}

    # -- a daemon --------------------------------------------------------------------------------------

    @staticmethod
    def config(alerts: Mapping[str, Any], **destinations: Mapping[str, Any]) -> Config:
        data = {
            "sources": {name: {"write_keys": [f"wk_{name}"]} for name in ("website", "app")},
            "destinations": {name: dict(options) for name, options in destinations.items()},
            "alerts": alerts,
        }
        return msgspec.convert(data, Config, dec_hook=decode)

    @asynccontextmanager
    async def started(self, config: Config) -> AsyncIterator[AlertRig]:
        """A daemon's life: its counters begin at 0, everything else is as the last one left it."""
        self.metrics = Metrics()
        self.folder.mkdir(exist_ok=True)
        async with AsyncExitStack() as stack:
            self.state = StateDb(self.folder / "state.db")
            stack.callback(self.state.close)
            for name in ("received", "events", "discarded"):
                self._streams[name] = await stack.enter_async_context(
                    open_stream(
                        self.folder / name,
                        clock=self.clock,
                        options=StreamOptions(),
                        report=lambda text: self.told.append({"event": text}),
                    )
                )
            self.alerts = Alerts(
                config,
                state=self.state,
                received=self._streams["received"],
                events=self._streams["events"],
                discarded=self._streams["discarded"],
                destinations=lambda: self.destinations_say,
                catalogue=self,  # type: ignore[arg-type]
                data_dir=self.folder,
                clock=self.clock,
                metrics=self.metrics,
                log=self._logger(),
                look=lambda _: self.space,
                random=lambda: 0.5,
            )
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.alerts.run)
                await self._round_is_over()
                yield self
                await self.quiet()
                tasks.cancel_scope.cancel()

    def _logger(self) -> structlog.typing.FilteringBoundLogger:
        def keep(_: object, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
            self.told.append({"level": method, **entry})
            raise structlog.DropEvent

        logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
            structlog.PrintLogger(), processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        return logger

    # -- what happens ----------------------------------------------------------------------------------

    async def receive(self, count: int, source: str = "website", **changes: Any) -> None:
        """So many events, in one frame."""
        lines = [_line(received(i, source=source, **changes)) for i in range(count)]
        if lines:
            await self._streams["received"].append(lines, config_id=1)

    async def discard(self, count: int, source: str = "website", **changes: Any) -> None:
        lines = [_line(discarded(i, **{"line": received(i, source=source), **changes})) for i in range(count)]
        await self._streams["discarded"].append(lines, config_id=1)

    async def archive(self, count: int) -> None:
        """So many lines of `events`, in one frame."""
        await self._streams["events"].append([_line(event(i)) for i in range(count)], config_id=1)

    def deliver(self, count: int, refused: int = 0, name: str = "crm") -> None:
        """What delivery counts."""
        self.metrics.add(names.DELIVERED, name, n=count)
        self.metrics.add(names.PARKED, name, "bad_event", n=refused)

    def say(self, name: str = "crm", **told: Any) -> None:
        """What `cdpd status` says of a destination."""
        self.destinations_say[name] = {
            "state": "running",
            "position": 0,
            "lag_events": 0,
            "lag_seconds": 0,
            "parked": 0,
            "problem": None,
            **self.destinations_say.get(name, {}),
            **told,
        }

    async def wait(self, seconds: float) -> None:
        """Let so much time pass, round by round, and see every round to its end."""
        left = seconds
        while left > 0:
            step = min(left, EVERY)
            await self.clock.advance(step)
            await self._round_is_over()
            left -= step

    async def leap(self, seconds: float) -> None:
        """The same with few rounds on the way, and one at its end."""
        if seconds > EVERY:
            await self.clock.advance(seconds - EVERY)
            await self._round_is_over()
        await self.look()

    async def look(self) -> None:
        """A round now."""
        await self.clock.advance(EVERY)
        await self._round_is_over()

    async def quiet(self) -> None:
        await self._round_is_over()

    async def _round_is_over(self) -> None:
        """Until the rounds sleep again: what takes a thread or the disk takes no time of the clock."""
        with anyio.fail_after(PATIENCE):
            quiet = 0
            while quiet < 5:
                await asyncio.sleep(0.002)
                quiet = quiet + 1 if self.clock.sleepers and not self.alerts.busy else 0

    async def until(self, holds: Callable[[], object]) -> None:
        """Let things run, without letting time pass, until it holds."""
        with anyio.fail_after(PATIENCE):
            while not holds():  # noqa: ASYNC110 - what it waits for may be in a thread or a socket
                await asyncio.sleep(0.002)

    # -- how it is -------------------------------------------------------------------------------------

    @property
    def firing(self) -> list[str]:
        """`alert` or `alert of subject`, for each that fires."""
        found = self.alerts.report.brief()["firing"]
        return [f"{one['alert']} of {one['about']}" if one["about"] else one["alert"] for one in found]

    def now(self, alert: str, about: str | None = None) -> str:
        """What is seen of it."""
        for one in self.alerts.report.whole()["alerts"]:
            if (one["alert"], one["about"]) == (alert, about):
                return str(one["now"])
        raise AssertionError(f"{alert} of {about} is not watched")

    def turns(self) -> list[str]:
        """What the daemon's log says of alerts."""
        return [
            f"{entry['event']}: {entry['alert']}"
            for entry in self.told
            if entry["event"] in ("an alert fires", "an alert is over")
        ]


def _line(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode()
