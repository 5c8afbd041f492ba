"""The daemon in one process: start, reload, drain, stop. (In several processes: cdpd/roles.)"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct

from cdpd.banner import banner, options_of
from cdpd.called import program
from cdpd.clock import Clock
from cdpd.config.data_folder import SOCKET
from cdpd.config.load import LoadedConfig, load
from cdpd.config.problem import ConfigError
from cdpd.config.roles import ROLES
from cdpd.control.contract import DiscardedFilter
from cdpd.control.server import serve_control
from cdpd.ingest.sockets import Listening
from cdpd.listeners import Listeners
from cdpd.logs import Threshold
from cdpd.notify import Notifier
from cdpd.parts.running import Running
from cdpd.process import calm_garbage_collector


class RunOptions(Struct, frozen=True):
    """The command line of `cdpd run`."""

    config: Path | None = None
    data_dir: Path | None = None
    listen: Sequence[str] = ()


class Daemon:
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
        self._first = loaded
        self._options = options
        self._clock = clock
        self._log = log
        self._threshold = threshold
        self._notifier = notifier
        self._listeners = Listeners(handed, options.listen)
        self._not_ready: str | None = "starting"
        self._reloading = anyio.Lock()
        self._starting: anyio.CancelScope
        self._stop = anyio.Event()
        self._reload_due = False
        self._running: Running

    @property
    def asked_to_stop(self) -> bool:
        """Whether a signal ended it."""
        return self._stop.is_set()

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, drain, stop."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with anyio.create_task_group() as whole:
                with anyio.CancelScope() as self._starting:
                    whole.start_soon(self._mind, signals, whole)
                    await self._run()
                whole.cancel_scope.cancel()

    async def _run(self) -> None:
        opening = Running.open(
            self._first,
            ROLES,
            self._listeners,
            lambda: self._not_ready,
            self._clock,
            self._log,
            self._threshold,
        )
        async with opening as self._running, self._running.work(self._notifier):
            await self._serve()

    async def _mind(self, signals: AsyncIterator[signal.Signals], tasks: TaskGroup) -> None:
        """Do what signals ask for, from the first moment to the last: none has its default effect."""
        async for received in signals:
            if received == signal.SIGHUP:
                if self._not_ready is None and not self._stop.is_set():
                    tasks.start_soon(self._reload_on_signal)
                else:
                    self._reload_due = True  # at the end of the start; while stopping it is too late
            elif not self._stop.is_set():
                self._stop.set()
                self._notifier.stopping()
                if self._not_ready == "starting":
                    self._starting.cancel()

    async def _reload_on_signal(self) -> None:
        self._running.reopen()
        try:
            self._log.info("reloaded", **await self.reload())
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
            self._log.error("not reloaded: the configuration is wrong", problems=problems)
        except OSError as error:
            self._log.error("not reloaded", problem=str(error))

    async def _serve(self) -> None:
        """From the first request that is taken to the last that is answered."""
        running, log = self._running, self._log
        data_dir = running.loaded.data_dir
        async with (
            serve_control(data_dir / SOCKET, self, log, running.calls()),
            running.observation.serve(),
            running.serve(),
        ):
            self._not_ready = None
            calm_garbage_collector()
            bound = self._listeners.bound
            log.info("started", listen=[str(place) for place in bound], data=str(data_dir))
            same = options_of(self._options.config, self._options.data_dir)
            sys.stdout.write(banner(running.loaded, bound, program(), same, hints=sys.stdout.isatty()))
            sys.stdout.flush()
            self._notifier.ready(running.line())
            if self._reload_due:
                await self._reload_on_signal()
            await self._stop.wait()
            self._not_ready = "stopping"
            running.stopping = True
            async with self._reloading:
                pass  # a reload that is under way is finished first
            log.info("stopping: finishing the requests that are being answered")

    # -- the control API ---------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        return self._running.status()

    async def reload(self) -> dict[str, Any]:
        running = self._running
        async with self._reloading:
            with self._notifier.reloading(), running.observation.reload():
                loaded = await anyio.to_thread.run_sync(self._load_again)
                different = await running.prepare(loaded)
                await running.apply(loaded)
                return different

    def _load_again(self) -> LoadedConfig:
        return load(
            self._options.config, self._options.data_dir, development=self._running.loaded.development
        )

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        return await self._running.retry_discarded(which, dry_run)

    async def reopen(self) -> dict[str, Any]:
        self._running.reopen()
        return {}
