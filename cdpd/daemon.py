"""The daemon: assembles everything; start, reload, drain, stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct

from cdpd import discovery
from cdpd.banner import banner, options_of
from cdpd.bring.receiving import Receiving
from cdpd.called import program
from cdpd.changes import changed, restart_needed
from cdpd.clock import Clock
from cdpd.config.data_folder import SOCKET, key_use_file, oauth_db, plugin_folder, state_db
from cdpd.config.load import LoadedConfig, load
from cdpd.config.model import Config
from cdpd.config.problem import ConfigError, Problem
from cdpd.control.contract import Calls, DiscardedFilter
from cdpd.control.server import serve_control
from cdpd.delivery.delivery import Delivery, DestinationError
from cdpd.delivery.state import StateDb, StateError
from cdpd.ingest.browser_library import BrowserLibrary
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.key_use import KeyUse, KeyUseFile
from cdpd.ingest.report import sources_report
from cdpd.ingest.sockets import Listening
from cdpd.listeners import Listeners
from cdpd.logs import Threshold
from cdpd.metrics import Metrics
from cdpd.notify import Notifier
from cdpd.oauth.calls import token_calls
from cdpd.oauth.server import AuthorizationServer
from cdpd.observation import Observation
from cdpd.pipeline.chain import Chains, HookError
from cdpd.pipeline.pipeline import Pipeline
from cdpd.plugins import PluginEnv
from cdpd.process import calm_garbage_collector
from cdpd.status import daemon_status, status_line
from cdpd.streams import Streams, open_streams, stream_options
from cdpd.supervise import supervise
from cdpd.upkeep import Kept, upkeep
from cdpd.watchdog import watch_over


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
        self.loaded = loaded
        self.metrics = Metrics()
        self._options = options
        self._clock = clock
        self._log = log
        self._threshold = threshold
        self._notifier = notifier
        self._listeners = Listeners(handed, options.listen)
        self._started_ms = clock.now_ms()
        self._not_ready: str | None = "starting"
        self._reloading = anyio.Lock()
        self._starting: anyio.CancelScope
        self._stop = anyio.Event()
        self._reload_due = False
        self._mounted: set[str] = set()
        """Hooks whose HTTP routes are served; that is settled at the start."""
        self._streams: Streams
        self._chains: Chains
        self._pipeline: Pipeline
        self._delivery: Delivery
        self._ingest: Ingest
        self._library: BrowserLibrary | None = None
        self._oauth: AuthorizationServer
        self._keys: KeyUse
        self._observation: Observation

    @property
    def config(self) -> Config:
        return self.loaded.config

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
        async with AsyncExitStack() as stack:
            state, options = StateDb(state_db(self.loaded.data_dir)), stream_options(self.config)
            stack.callback(state.close)
            self._streams = await stack.enter_async_context(
                open_streams(self.loaded.data_dir, state, options, self._clock, self.metrics, self._log)
            )
            key_use = KeyUseFile(key_use_file(self.loaded.data_dir), self._log)
            self._keys = key_use.read()
            stack.callback(key_use.write, self._keys)
            self._oauth = AuthorizationServer(
                path=oauth_db(self.loaded.data_dir),
                addresses=lambda: self._listeners.urls,
                clock=self._clock,
                metrics=self.metrics,
                log=self._log,
            )
            stack.callback(self._oauth.close)
            self._oauth.apply(await self._oauth.read(self.config))
            self._chains = Chains.build(self.config, discovery, self._plugin_env)
            await self._chains.startup()
            stack.push_async_callback(self._stop_chains)
            self._library = await self._compressed(self.loaded)
            self._assemble(state)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(supervise, "pipeline", self._pipeline.run, self._clock, self._log)
                tasks.start_soon(self._delivery.run, self.config)
                tasks.start_soon(key_use.keep, self._keys, self._clock)
                tasks.start_soon(self._observation.run)
                tasks.start_soon(upkeep, self._kept(), lambda: self.config.log, self._clock, self._log)
                watching = partial(
                    watch_over,
                    self._notifier,
                    streams=self._streams.all(),
                    pipeline=self._pipeline.status,
                    status=self._status_line,
                    clock=self._clock,
                    log=self._log,
                )
                tasks.start_soon(watching)
                await self._serve()
                await self._delivery.stop()
                tasks.cancel_scope.cancel()

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
        self._delivery.reopen()
        try:
            self._log.info("reloaded", **await self.reload())
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
            self._log.error("not reloaded: the configuration is wrong", problems=problems)
        except OSError as error:
            self._log.error("not reloaded", problem=str(error))

    def _plugin_env(self, name: str) -> PluginEnv:
        return PluginEnv(
            name=name,
            state_dir=plugin_folder(self.loaded.data_dir, name),
            streams=self._streams,
            clock=self._clock,
            log=self._log.bind(plugin=name),
        )

    def _assemble(self, state: StateDb) -> None:
        streams = self._streams
        self._pipeline = Pipeline(
            received=streams.received,
            events=streams.events,
            discarded=streams.discarded,
            chains=self._chains,
            config_id=self.loaded.config_id,
            options=self.config.pipeline,
            clock=self._clock,
            metrics=self.metrics,
            log=self._log,
        )
        self._delivery = Delivery(
            events=streams.events,
            state=state,
            catalogue=discovery,
            data_dir=self.loaded.data_dir,
            clock=self._clock,
            metrics=self.metrics,
            log=self._log,
        )
        self._observation = Observation(
            loaded=lambda: self.loaded,
            streams=streams,
            pipeline=self._pipeline,
            delivery=self._delivery,
            ingest=lambda: self._ingest,
            ready=lambda: self._not_ready is None,
            clock=self._clock,
            metrics=self.metrics,
            log=self._log,
        )
        self._ingest = Ingest(
            settings=self._listeners.settings(self.loaded, self._library),
            append=self._append,
            clock=self._clock,
            metrics=self.metrics,
            log=self._log,
            ready=lambda: self._not_ready,
            keys=self._keys,
            oauth=self._oauth,
            page=self._observation.scrape,
        )
        for name, routes in self._chains.routes().items():
            self._ingest.mount(name, routes)
            self._mounted.add(name)

    async def _compressed(self, loaded: LoadedConfig) -> BrowserLibrary | None:
        """The browser library, made ready off the loop."""
        files = loaded.library
        return None if files is None else await anyio.to_thread.run_sync(BrowserLibrary.of, files)

    async def _append(self, lines: Sequence[bytes], config_id: int) -> object:
        began = self._clock.monotonic()
        appended = await self._streams.received.append(lines, config_id=config_id)
        self._observation.appended(began)
        return appended

    def _kept(self) -> list[Kept]:
        streams = self._streams
        return [
            Kept(streams.received, lambda: {"the pipeline": streams.processed}),
            Kept(streams.events, lambda: self._delivery.needed()),
            Kept(streams.discarded, dict),
        ]

    async def _serve(self) -> None:
        """From the first request that is taken to the last that is answered."""
        await self._delivery.ready()
        async with (
            serve_control(self.loaded.data_dir / SOCKET, self, self._log, self._calls()),
            self._observation.serve(),
            self._listeners.serve(self._ingest, self.loaded),
        ):
            self._ingest.apply(self._listeners.settings(self.loaded, self._library))
            self._not_ready = None
            calm_garbage_collector()
            bound = self._listeners.bound
            self._log.info("started", listen=[str(place) for place in bound], data=str(self.loaded.data_dir))
            same = options_of(self._options.config, self._options.data_dir)
            sys.stdout.write(banner(self.loaded, bound, program(), same, hints=sys.stdout.isatty()))
            sys.stdout.flush()
            self._notifier.ready(self._status_line())
            if self._reload_due:
                await self._reload_on_signal()
            await self._stop.wait()
            self._not_ready = "stopping"
            async with self._reloading:
                pass  # a reload that is under way is finished first
            self._log.info("stopping: finishing the requests that are being answered")

    def _status_line(self) -> str:
        return status_line(self._listeners, self._pipeline, self._delivery)

    async def _stop_chains(self) -> None:
        await self._chains.shutdown()  # of those that a reload has brought, not those of the start

    # -- the control API ---------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        return daemon_status(
            state=self._not_ready or "running",
            uptime_ms=self._clock.now_ms() - self._started_ms,
            listeners=self._listeners,
            loaded=self.loaded,
            streams=self._streams.all(),
            pipeline=self._pipeline,
            delivery=self._delivery,
            metrics=self.metrics,
        )

    def _receiving(self) -> Receiving:
        """Takes what `cdpd import` brings."""
        streams = self._streams
        return Receiving(
            append=self._append,
            config=lambda: self.config,
            settings=lambda: self._listeners.settings(self.loaded, self._library),
            behind=lambda: streams.received.end.offset - streams.processed,
            catalogue=discovery,
            clock=self._clock,
            metrics=self.metrics,
        )

    def _calls(self) -> Calls:
        """What parts of the daemon answer on the control socket."""

        async def sources(_: bytes) -> dict[str, Any]:
            return sources_report(self.config.sources, self._keys, self.metrics)

        return {"GET /sources": sources, **self._receiving().calls(), **token_calls(self._oauth)}

    async def reload(self) -> dict[str, Any]:
        async with self._reloading:
            with self._notifier.reloading(), self._observation.reload():
                return await self._reload()

    async def _reload(self) -> dict[str, Any]:
        loaded = await anyio.to_thread.run_sync(self._load_again)
        library = await self._compressed(loaded)
        if self._stop.is_set():
            raise ConfigError([Problem("the daemon is stopping: nothing was changed")])
        different, restart = changed(self.loaded, loaded), restart_needed(self.loaded, loaded)
        restart += self._listeners.restart_needed(self.config, loaded.config)
        apps = await self._oauth.read(loaded.config)
        before, self._chains = self._chains, await self._changed_chains(loaded.config, restart)
        chains = self._chains
        self._threshold.level = loaded.config.logging.level
        for stream in self._streams.all():
            stream.options = stream_options(loaded.config)
        await self._pipeline.apply(chains, loaded.config_id, loaded.config.pipeline)
        await before.shutdown(keep=chains)
        self._oauth.apply(apps)
        self._library = library
        self._listeners.apply(loaded)
        self._ingest.apply(self._listeners.settings(loaded, library))
        self.loaded = msgspec.structs.replace(loaded, data_dir=self.loaded.data_dir)
        return {
            "changed": different,
            "needs_restart": restart,
            "warnings": [str(problem) for problem in loaded.warnings],
        }

    async def _changed_chains(self, config: Config, restart: list[str]) -> Chains:
        """The new chains, started, and the new destinations running; adds to what needs a restart.

        Raises ConfigError with nothing changed.
        """
        try:
            chains = Chains.build(config, discovery, self._plugin_env, self._chains)
            await chains.startup()
            try:
                new = [name for name in chains.routes() if name not in self._mounted]
                restart += [f"hooks.{name}: its HTTP routes" for name in new]
                await self._delivery.apply(config)
            except (HookError, DestinationError, StateError):
                await chains.shutdown(keep=self._chains)
                raise
        except (HookError, DestinationError, StateError) as error:
            raise ConfigError([Problem(str(error))]) from error
        return chains

    def _load_again(self) -> LoadedConfig:
        return load(self._options.config, self._options.data_dir, development=self.loaded.development)

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        return await self._pipeline.retry_discarded(which, dry_run)

    async def reopen(self) -> dict[str, Any]:
        self._delivery.reopen()
        return {}
