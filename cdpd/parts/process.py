"""The part that processes: `received` through the hook chains into `events` and `discarded`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from cdpd import discovery
from cdpd.config.data_folder import plugin_folder
from cdpd.config.load import LoadedConfig
from cdpd.config.problem import ConfigError, Problem
from cdpd.config.roles import Role
from cdpd.control.contract import Calls
from cdpd.parts.needs import destinations_need
from cdpd.parts.part import Ground
from cdpd.pipeline.chain import Chains, HookError
from cdpd.pipeline.pipeline import Pipeline
from cdpd.plugins import PluginEnv
from cdpd.supervise import supervise
from cdpd.upkeep import Kept


class ProcessPart:
    """Made by `open`."""

    role: Final[Role] = "process"

    def __init__(self, ground: Ground, chains: Chains) -> None:
        loaded, streams = ground.loaded(), ground.streams
        self._ground = ground
        self.chains = chains
        """Those that are used."""
        self._prepared: Chains | None = None
        self.routes = chains.routes()
        """HTTP routes of hooks, as they are served: that is settled at the start."""
        self.pipeline = Pipeline(
            received=streams.received,
            events=streams.writer("events"),
            discarded=streams.writer("discarded"),
            chains=chains,
            config_id=loaded.config_id,
            options=loaded.config.pipeline,
            clock=ground.clock,
            metrics=ground.metrics,
            log=ground.log,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, ground: Ground) -> AsyncIterator[Self]:
        """With every hook started inside the `with`. Raises HookError."""
        chains = Chains.build(ground.loaded().config, discovery, _environments(ground))
        await chains.startup()
        part: Self | None = None
        try:
            part = cls(ground, chains)
            yield part
        finally:
            # Those that a reload has brought, not those of the start.
            await (chains if part is None else part.chains).shutdown()

    async def run(self) -> None:
        await supervise("pipeline", self.pipeline.run, self._ground.clock, self._ground.log)

    async def ready(self) -> None:
        """At once: what is received waits in the log."""

    async def stop(self) -> None:
        """Nothing: a commit that has begun is finished when `run` is cancelled."""

    async def prepare(self, loaded: LoadedConfig) -> list[str]:
        try:
            chains = Chains.build(loaded.config, discovery, _environments(self._ground), self.chains)
            await chains.startup()
            try:
                new = [name for name in chains.routes() if name not in self.routes]
            except HookError:
                await chains.shutdown(keep=self.chains)
                raise
        except HookError as error:
            raise ConfigError([Problem(str(error))]) from error
        self._prepared = chains
        return [f"hooks.{name}: its HTTP routes" for name in new]

    async def apply(self, loaded: LoadedConfig) -> None:
        chains, self._prepared = self._prepared, None
        assert chains is not None, "it was prepared"
        before, self.chains = self.chains, chains
        await self.pipeline.apply(chains, loaded.config_id, loaded.config.pipeline)
        await before.shutdown(keep=chains)

    async def undo(self) -> None:
        chains, self._prepared = self._prepared, None
        if chains is not None:
            await chains.shutdown(keep=self.chains)

    def kept(self) -> list[Kept]:
        streams = self._ground.streams
        return [
            Kept(streams.writer("events"), lambda: destinations_need(self._ground.loaded())),
            Kept(streams.writer("discarded"), dict),
        ]

    def status(self) -> dict[str, Any]:
        return {"pipeline": self.pipeline.status()}

    def calls(self) -> Calls:
        return {}

    def reopen(self) -> None:
        """It writes no files but its own."""


def _environments(ground: Ground) -> Callable[[str], PluginEnv]:
    data_dir = ground.loaded().data_dir

    def environment(name: str) -> PluginEnv:
        return PluginEnv(
            name=name,
            state_dir=plugin_folder(data_dir, name),
            streams=ground.streams,
            clock=ground.clock,
            log=ground.log.bind(plugin=name),
        )

    return environment
