"""What `cdpd run` is, in one process or in several: it minds its signals, tells the manager, and says that it runs."""

from __future__ import annotations

import signal
import sys
from abc import ABC, abstractmethod
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
from cdpd.config.address import Listen
from cdpd.config.load import LoadedConfig, load
from cdpd.config.problem import ConfigError
from cdpd.control.contract import CannotDo
from cdpd.notify import Notifier
from cdpd.observation import Observation
from cdpd.process import calm_garbage_collector


class RunOptions(Struct, frozen=True):
    """The command line of `cdpd run`."""

    config: Path | None = None
    data_dir: Path | None = None
    listen: Sequence[str] = ()


class Foreground(ABC):
    """The daemon from its start to its end; what it does in between is its subclass's."""

    observation: Observation

    def __init__(
        self, options: RunOptions, log: structlog.typing.FilteringBoundLogger, notifier: Notifier
    ) -> None:
        self._options = options
        self._log = log
        self._notifier = notifier
        self.not_ready: str | None = "starting"
        """Why traffic should not come here yet, or any more."""
        self._reloading = anyio.Lock()
        self._starting: anyio.CancelScope
        self._stop = anyio.Event()
        self._reload_due = False

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

    async def _mind(self, signals: AsyncIterator[signal.Signals], tasks: TaskGroup) -> None:
        """Do what signals ask for, from the first moment to the last: none has its default effect."""
        async for received in signals:
            if received == signal.SIGHUP:
                if self.not_ready is None and not self._stop.is_set():
                    tasks.start_soon(self._reload_on_signal)
                else:
                    self._reload_due = True  # at the end of the start; while stopping it is too late
            elif not self._stop.is_set():
                self._stop.set()
                self._notifier.stopping()
                if self.not_ready == "starting":
                    self._starting.cancel()

    async def _reload_on_signal(self) -> None:
        try:
            await self.reopen()
            self._log.info("reloaded", **await self.reload())
        except ConfigError as error:
            problems = [problem.for_log for problem in error.problems]
            self._log.error("not reloaded: the configuration is wrong", problems=problems)
        except (OSError, CannotDo) as error:
            self._log.error("not reloaded", problem=str(error))

    async def until_stopped(self, loaded: LoadedConfig, bound: Sequence[Listen], status: str) -> None:
        """Say that it runs, and return once it is to end; no reload is under way any more then.

        `bound` is where it listens, `status` the first line for the service manager.
        """
        self.not_ready = None
        calm_garbage_collector()
        self._log.info("started", listen=[str(place) for place in bound], data=str(loaded.data_dir))
        same = options_of(self._options.config, self._options.data_dir)
        sys.stdout.write(banner(loaded, bound, program(), same, hints=sys.stdout.isatty()))
        sys.stdout.flush()
        self._notifier.ready(status)
        if self._reload_due:
            await self._reload_on_signal()
        await self._stop.wait()
        self.not_ready = "stopping"
        async with self._reloading:
            pass  # a reload that is under way is finished first
        self._log.info("stopping: finishing the requests that are being answered")

    async def reload(self) -> dict[str, Any]:
        """Apply the configuration as it stands in its files now (cdpd/control/contract.py). Raises ConfigError."""
        async with self._reloading:
            with self._notifier.reloading(), self.observation.reload():
                return await self._apply(await anyio.to_thread.run_sync(self._load_again))

    def _load_again(self) -> LoadedConfig:
        development = self.loaded.development
        return load(self._options.config, self._options.data_dir, development=development)

    @property
    @abstractmethod
    def loaded(self) -> LoadedConfig:
        """The configuration that runs."""

    @abstractmethod
    async def _run(self) -> None:
        """All of it; calls `until_stopped` once it serves."""

    @abstractmethod
    async def _apply(self, loaded: LoadedConfig) -> dict[str, Any]:
        """Use another configuration: what is different, and what of it needs a restart. Raises ConfigError."""

    @abstractmethod
    async def reopen(self) -> dict[str, Any]:
        """Open output files again, after logrotate moved them."""
