"""The daemon: assembles everything; start, reload, drain, stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct

from cdpd import discovery
from cdpd.banner import banner
from cdpd.bring.receiving import Receiving
from cdpd.clock import Clock
from cdpd.config.address import Listen, parse_listen
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
from cdpd.ingest.server import serve
from cdpd.ingest.settings import IngestSettings
from cdpd.logs import Threshold
from cdpd.metrics import Metrics
from cdpd.oauth.calls import token_calls
from cdpd.oauth.server import AuthorizationServer
from cdpd.pipeline.chain import Chains, HookError
from cdpd.pipeline.pipeline import Pipeline
from cdpd.plugins import PluginEnv
from cdpd.process import calm_garbage_collector
from cdpd.streams import Streams, open_streams, stream_options
from cdpd.supervise import supervise
from cdpd.upkeep import Kept, upkeep

_RESTART_NEEDED: Final[dict[str, Callable[[Config], object]]] = {
    "data": lambda config: config.data,
    "http.listen": lambda config: config.http.listen,
    "logging.format": lambda config: config.logging.format,
}
"""What a reload cannot change, and how to read it."""


class RunOptions(Struct, frozen=True):
    """The command line of `cdpd run`."""

    config: Path | None = None
    data_dir: Path | None = None
    listen: str | None = None


class Daemon:
    """One daemon over one data folder. Serves the control API (cdpd/control/contract.py)."""

    def __init__(
        self,
        loaded: LoadedConfig,
        options: RunOptions,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        threshold: Threshold,
    ) -> None:
        self.loaded = loaded
        self.metrics = Metrics()
        self._options = options
        self._clock = clock
        self._log = log
        self._threshold = threshold
        self._started_ms = clock.now_ms()
        self._not_ready: str | None = "starting"
        self._reloading = anyio.Lock()
        self._starting: anyio.CancelScope
        self._stop = anyio.Event()
        self._reload_due = False
        self._bound: list[Listen] = []
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
            state = StateDb(state_db(self.loaded.data_dir))
            stack.callback(state.close)
            self._streams = await stack.enter_async_context(
                open_streams(self.loaded.data_dir, state, stream_options(self.config), self._clock, self._log)
            )
            key_use = KeyUseFile(key_use_file(self.loaded.data_dir), self._log)
            self._keys = key_use.read()
            stack.callback(key_use.write, self._keys)
            self._oauth = AuthorizationServer(
                path=oauth_db(self.loaded.data_dir),
                addresses=lambda: [address.url for address in self._bound],
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
                tasks.start_soon(upkeep, self._kept(), lambda: self.config.log, self._clock, self._log)
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
                if self._not_ready == "starting":
                    self._starting.cancel()

    async def _reload_on_signal(self) -> None:
        self._delivery.reopen()
        try:
            self._log.info("reloaded", **await self.reload())
        except ConfigError as error:
            for problem in error.problems:
                self._log.error("not reloaded: the configuration is wrong", problem=str(problem))
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
        self._ingest = Ingest(
            settings=self._settings(self.loaded),
            append=self._append,
            clock=self._clock,
            metrics=self.metrics,
            log=self._log,
            ready=lambda: self._not_ready,
            keys=self._keys,
            oauth=self._oauth,
        )
        for name, routes in self._chains.routes().items():
            self._ingest.mount(name, routes)
            self._mounted.add(name)

    def _settings(self, loaded: LoadedConfig) -> IngestSettings:
        """Without a public_url, browsers on this machine are told the address that we listen on.

        An SDK that finds no address in the settings document sends to its vendor (wire.md §4).
        """
        settings = IngestSettings.of(loaded.config, loaded.config_id, self._library)
        if settings.api_host is None and self._bound and not self._bound[0].public:
            host = self._bound[0].url.removeprefix("http://")
            settings = msgspec.structs.replace(settings, api_host=f"{host}/v1", protocol="http")
        return settings

    async def _compressed(self, loaded: LoadedConfig) -> BrowserLibrary | None:
        """The browser library, made ready off the loop."""
        files = loaded.library
        return None if files is None else await anyio.to_thread.run_sync(BrowserLibrary.of, files)

    async def _append(self, lines: Sequence[bytes], config_id: int) -> object:
        return await self._streams.received.append(lines, config_id=config_id)

    def _kept(self) -> list[Kept]:
        streams = self._streams

        def pipeline_needs() -> Mapping[str, int]:
            cursor = streams.events.cursor
            return {"the pipeline": cursor.received.offset if cursor else 0}

        return [
            Kept(streams.received, pipeline_needs),
            Kept(streams.events, lambda: self._delivery.needed()),
            Kept(streams.discarded, dict),
        ]

    async def _serve(self) -> None:
        """From the first request that is taken to the last that is answered."""
        await self._delivery.ready()
        listen = [parse_listen(self._options.listen or self.config.http.listen)]
        async with (
            serve_control(self.loaded.data_dir / SOCKET, self, self._log, self._calls()),
            serve(self._ingest, listen) as bound,
        ):
            self._bound = bound
            self._ingest.apply(self._settings(self.loaded))
            self._not_ready = None
            calm_garbage_collector()
            addresses = [str(address) for address in bound]
            self._log.info("started", listen=addresses, data=str(self.loaded.data_dir))
            sys.stdout.write(banner(self.loaded, bound))
            sys.stdout.flush()
            if self._reload_due:
                await self._reload_on_signal()
            await self._stop.wait()
            self._not_ready = "stopping"
            async with self._reloading:
                pass  # a reload that is under way is finished first
            self._log.info("stopping: finishing the requests that are being answered")

    async def _stop_chains(self) -> None:
        await self._chains.shutdown()  # of those that a reload has brought, not those of the start

    # -- the control API ---------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        streams = self._streams
        return {
            "state": self._not_ready or "running",
            "version": version("cdpd-daemon"),
            "pid": os.getpid(),
            "uptime_seconds": (self._clock.now_ms() - self._started_ms) // 1000,
            "listen": [address.url for address in self._bound],
            "data_dir": str(self.loaded.data_dir.resolve()),
            "configuration": [str(file) for file in self.loaded.files] or "none: development defaults",
            "streams": {
                stream.name: {
                    "begin": stream.begin,
                    "end": stream.end.offset,
                    "lines": stream.end.offset - stream.begin,
                }
                for stream in streams.all()
            },
            "pipeline": self._pipeline.status(),
            "destinations": self._delivery.status(),
            "counters": self.metrics.snapshot(),
        }

    def _receiving(self) -> Receiving:
        """Takes what `cdpd import` brings."""
        streams = self._streams

        def behind() -> int:
            cursor = streams.events.cursor
            return streams.received.end.offset - (cursor.received.offset if cursor else 0)

        return Receiving(
            append=self._append,
            config=lambda: self.config,
            settings=lambda: self._settings(self.loaded),
            behind=behind,
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
            loaded = await anyio.to_thread.run_sync(self._load_again)
            library = await self._compressed(loaded)
            if self._stop.is_set():
                raise ConfigError([Problem("the daemon is stopping: nothing was changed")])
            changed = [
                name
                for name in Config.__struct_fields__
                if getattr(loaded.config, name) != getattr(self.config, name)
            ]
            restart = [
                name for name, read in _RESTART_NEEDED.items() if read(loaded.config) != read(self.config)
            ]
            if loaded.data_dir != self.loaded.data_dir and "data" not in restart:
                restart.append("data")
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
            self._ingest.apply(self._settings(loaded))
            self.loaded = msgspec.structs.replace(loaded, data_dir=self.loaded.data_dir)
            return {
                "changed": changed,
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
