"""The daemon in one process: start, reload, drain, stop. (In several processes: cdpd/roles.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from cdpd.clock import Clock
from cdpd.config.data_folder import SOCKET
from cdpd.config.load import LoadedConfig
from cdpd.config.problem import ConfigError, Problem
from cdpd.config.roles import ROLES
from cdpd.control.contract import DiscardedFilter
from cdpd.control.server import serve_control
from cdpd.foreground import Foreground, RunOptions
from cdpd.ingest.sockets import Listening
from cdpd.listeners import Listeners
from cdpd.logs import Threshold
from cdpd.notify import Notifier
from cdpd.parts.running import Running


class Daemon(Foreground):
    """One daemon over one data folder. Serves the control API (cdpd/control/contract.py)."""

    def __init__(
        self,
        loaded: LoadedConfig,
        options: RunOptions,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        threshold: Threshold,
        notifier: Notifier,
        handed: Sequence[Listening] = (),
    ) -> None:
        super().__init__(options, log, notifier)
        self._first = loaded
        self._clock = clock
        self._threshold = threshold
        self._listeners = Listeners(handed, options.listen)
        self._running: Running

    @property
    def loaded(self) -> LoadedConfig:
        return self._running.loaded

    async def _run(self) -> None:
        opening = Running.open(
            self._first,
            ROLES,
            self._listeners,
            lambda: self.not_ready,
            self._clock,
            self._log,
            self._threshold,
        )
        async with opening as running:
            self._running, self.observation = running, running.observation
            async with (
                running.work(self._notifier),
                serve_control(running.loaded.data_dir / SOCKET, self, self._log, running.calls()),
                running.observation.serve(),
                running.serve(),
            ):
                await self.until_stopped(running.loaded, self._listeners.bound, running.line())

    async def _apply(self, loaded: LoadedConfig) -> dict[str, Any]:
        if self.asked_to_stop:
            raise ConfigError([Problem("the daemon is stopping: nothing was changed")])
        different = await self._running.prepare(loaded)
        await self._running.apply(loaded)
        return different

    # -- the control API ---------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        return self._running.status()

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        return await self._running.retry_discarded(which, dry_run)

    async def reopen(self) -> dict[str, Any]:
        self._running.reopen()
        return {}
