"""The part that delivers: `events` to every destination."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import anyio

from cdpd import discovery
from cdpd.alerts.alerts import Alerts
from cdpd.config.data_folder import state_db
from cdpd.config.load import LoadedConfig
from cdpd.config.problem import ConfigError, Problem
from cdpd.config.roles import Role
from cdpd.control.contract import Calls
from cdpd.delivery.delivery import Delivery
from cdpd.delivery.making import DestinationError
from cdpd.delivery.state import StateDb, StateError
from cdpd.parts.alerts import alert_calls
from cdpd.parts.destinations import destination_calls
from cdpd.parts.jobs import job_calls
from cdpd.parts.parked import parked_calls
from cdpd.parts.part import Ground
from cdpd.parts.pause import pause_calls
from cdpd.parts.reset import reset_calls
from cdpd.supervise import supervise
from cdpd.upkeep import Kept


class DeliverPart:
    """Made by `open`."""

    role: Final[Role] = "deliver"

    def __init__(self, ground: Ground, state: StateDb) -> None:
        self._ground = ground
        self.delivery = Delivery(
            events=ground.streams.events,
            state=state,
            catalogue=discovery,
            data_dir=ground.loaded().data_dir,
            clock=ground.clock,
            metrics=ground.metrics,
            log=ground.log,
        )
        self.alerts = Alerts(
            ground.loaded().config,
            state=state,
            received=ground.streams.received,
            events=ground.streams.events,
            discarded=ground.streams.discarded,
            destinations=self.delivery.status,
            catalogue=discovery,
            data_dir=ground.loaded().data_dir,
            clock=ground.clock,
            metrics=ground.metrics,
            log=ground.log,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, ground: Ground) -> AsyncIterator[Self]:
        """With state.db open inside the `with`. Raises StateError."""
        state = StateDb(state_db(ground.loaded().data_dir))
        try:
            yield cls(ground, state)
        finally:
            state.close()

    async def run(self) -> None:
        """Raises DestinationError where a destination cannot be made."""
        async with anyio.create_task_group() as tasks:
            ground = self._ground
            tasks.start_soon(supervise, "watching for alerts", self.alerts.run, ground.clock, ground.log)
            await self.delivery.run(ground.loaded().config)

    async def ready(self) -> None:
        """Once every destination's cursor is committed: a new one then misses nothing that comes from here on."""
        await self.delivery.ready()

    async def stop(self) -> None:
        """Let the batches in flight end."""
        await self.delivery.stop()

    async def prepare(self, loaded: LoadedConfig) -> list[str]:
        """Does it as well: whether a destination can be had shows by making it. Therefore this part is the last."""
        try:
            await self.delivery.apply(loaded.config)
        except (DestinationError, StateError) as error:
            raise ConfigError([Problem(str(error))]) from error
        return []

    async def apply(self, loaded: LoadedConfig) -> None:
        """Of the destinations it was done by `prepare`."""
        self.alerts.apply(loaded.config)

    async def undo(self) -> None:
        """Not needed: nobody can refuse after it."""

    def kept(self) -> list[Kept]:
        return []

    def status(self) -> dict[str, Any]:
        told = {"alerts": self.alerts.report.brief()} if self.alerts.report.alerts else {}
        return {"destinations": self.delivery.status(), **told}

    def calls(self) -> Calls:
        delivery = self.delivery
        return {
            **destination_calls(delivery),
            **reset_calls(delivery),
            **pause_calls(delivery),
            **parked_calls(delivery),
            **job_calls(delivery.jobs),
            **alert_calls(self.alerts),
        }

    def reopen(self) -> None:
        self.delivery.reopen()
