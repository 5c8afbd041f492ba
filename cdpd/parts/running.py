"""The parts that run in this process: opened, kept going, reloaded, asked and stopped together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import anyio
import msgspec
import structlog

from cdpd.changes import changed, details, restart_needed
from cdpd.clock import Clock
from cdpd.config.load import LoadedConfig
from cdpd.config.roles import Role
from cdpd.control.contract import Calls, CannotDo, DiscardedFilter
from cdpd.disk import DiskFloor
from cdpd.ingest.metrics_page import MetricsPage
from cdpd.listeners import Listeners
from cdpd.logs import Threshold
from cdpd.metrics import Metrics
from cdpd.notify import Notifier
from cdpd.observation import Observation
from cdpd.parts.deliver import DeliverPart
from cdpd.parts.ingest import IngestPart
from cdpd.parts.part import Ground, Part
from cdpd.parts.process import ProcessPart
from cdpd.recompression import Recompressor
from cdpd.scrape import gauges
from cdpd.scrape.scrape import Scrape
from cdpd.status import daemon_status, status_line
from cdpd.streams import Streams, open_streams, stream_options
from cdpd.trace.indexer import Indexer
from cdpd.upkeep import Kept, upkeep
from cdpd.watchdog import watch_over

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

Ready = Callable[[], str | None]
"""None, or why traffic should not come here yet (or any more)."""


class Running:
    """Made by `open`."""

    def __init__(
        self,
        loaded: LoadedConfig,
        roles: Sequence[Role],
        ready: Ready,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        threshold: Threshold,
    ) -> None:
        self.loaded = loaded
        """The configuration that runs."""
        self.roles = roles
        self.metrics = Metrics()
        self._ready = ready
        self._clock = clock
        self._log = log
        self._threshold = threshold
        self._started_ms = clock.now_ms()
        self._streams: Streams
        self._ingest: IngestPart | None = None
        self._process: ProcessPart | None = None
        self._deliver: DeliverPart | None = None
        self._disk = DiskFloor(
            loaded.data_dir,
            lambda: self.loaded.config.log.min_free,
            tell=self._disk_full,
            clock=clock,
            log=log,
        )
        self.observation: Observation

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        loaded: LoadedConfig,
        roles: Sequence[Role],
        listeners: Listeners,
        ready: Ready,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        threshold: Threshold,
        page: Callable[[Scrape], MetricsPage] = lambda scrape: scrape,
        elsewhere: Mapping[str, Sequence[AbstractRouteDef]] | None = None,
    ) -> AsyncIterator[Self]:
        """With the streams and the parts of these roles open inside the `with`.

        `page` makes what is shown at /metrics of what this process knows; `elsewhere` are HTTP routes of hooks that
        run in another one. Raises StreamLocked, LogError,
        StateError, HookError, ConfigError, OSError.
        """
        self = cls(loaded, roles, ready, clock, log, threshold)
        options = stream_options(loaded.config)
        async with AsyncExitStack() as stack:
            self._streams = await stack.enter_async_context(
                open_streams(loaded.data_dir, options, clock, self.metrics, log, roles)
            )
            self.observation = Observation(
                loaded=lambda: self.loaded,
                parts=self._observed(),
                clock=clock,
                metrics=self.metrics,
                log=log,
                page=page,
            )
            ground = Ground(lambda: self.loaded, self._streams, clock, self.metrics, log)
            if "deliver" in roles:
                self._deliver = await stack.enter_async_context(DeliverPart.open(ground))
            if "ingest" in roles:
                shown = self.observation.page
                part = IngestPart.open(ground, listeners, lambda: ready() or self._disk.reason, shown)
                self._ingest = await stack.enter_async_context(part)
            if "process" in roles:
                self._process = await stack.enter_async_context(ProcessPart.open(ground))
            if self._ingest is not None:
                self._ingest.mount(self.routes if self._process is not None else elsewhere or {})
            yield self

    @property
    def routes(self) -> Mapping[str, Sequence[AbstractRouteDef]]:
        """HTTP routes of the hooks that run here, by the hook's name."""
        return {} if self._process is None else self._process.routes

    @property
    def parts(self) -> list[Part]:
        """In the order of ROLES."""
        return [part for part in (self._ingest, self._process, self._deliver) if part is not None]

    @asynccontextmanager
    async def work(self, notifier: Notifier) -> AsyncIterator[None]:
        """Every part at work inside the `with`, but no request is taken yet; at its end, what has begun is finished."""
        kept = [each for part in self.parts for each in part.kept()]
        async with anyio.create_task_group() as tasks:
            for part in self.parts:
                tasks.start_soon(part.run)
            tasks.start_soon(self.observation.run)
            tasks.start_soon(upkeep, kept, lambda: self.loaded.config.log, self._clock, self._log)
            if kept:
                tasks.start_soon(self._disk.run)
            tasks.start_soon(self._recompressor(kept).run)
            if kept:
                tasks.start_soon(self._indexer(kept).run)
            tasks.start_soon(self._watch, notifier)
            for part in self.parts:
                await part.ready()
            yield
            for part in self.parts:
                await part.stop()
            tasks.cancel_scope.cancel()

    def _recompressor(self, kept: Sequence[Kept]) -> Recompressor:
        return Recompressor(
            [each.stream for each in kept],
            wanted=lambda: self.loaded.config.log.recompress,
            room=lambda: self._disk.has_room(2 * self.loaded.config.log.segment_bytes),
            clock=self._clock,
            log=self._log,
        )

    def _indexer(self, kept: Sequence[Kept]) -> Indexer:
        streams = [each.stream for each in kept]
        return Indexer(streams, self.loaded.data_dir, self._clock, self._log)

    def _disk_full(self, reason: str | None) -> None:
        if self._ingest is not None:
            self._ingest.disk_full(reason)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Take requests inside the `with`, where that is a role of this process. Raises ListenError."""
        if self._ingest is None:
            yield
        else:
            async with self._ingest.serve():
                yield

    async def _watch(self, notifier: Notifier) -> None:
        await watch_over(
            notifier,
            streams=self._streams.written,
            pipeline=None if self._process is None else self._process.pipeline.status,
            status=self.line,
            clock=self._clock,
            log=self._log,
        )

    # -- reloading ---------------------------------------------------------------------------------------

    async def prepare(self, loaded: LoadedConfig) -> dict[str, Any]:
        """Get ready for another configuration: what is different, and what of it needs a restart.

        Then comes `apply` or `undo`. Raises ConfigError with nothing changed.
        """
        prepared: list[Part] = []
        restart = restart_needed(self.loaded, loaded)
        try:
            for part in self.parts:
                restart += await part.prepare(loaded)
                prepared.append(part)
        except BaseException:
            with anyio.CancelScope(shield=True):
                for part in reversed(prepared):
                    await part.undo()
            raise
        return {
            "changed": changed(self.loaded, loaded),
            "details": msgspec.to_builtins(details(self.loaded, loaded)),
            "needs_restart": restart,
            "warnings": [str(problem) for problem in loaded.warnings],
        }

    async def apply(self, loaded: LoadedConfig) -> None:
        """Use what was prepared."""
        self._threshold.level = loaded.config.logging.level
        for stream in self._streams.written:
            stream.options = stream_options(loaded.config)
        for part in self.parts:
            await part.apply(loaded)
        self.loaded = msgspec.structs.replace(loaded, data_dir=self.loaded.data_dir)

    async def undo(self) -> None:
        """Forget what was prepared."""
        for part in reversed(self.parts):
            await part.undo()

    def reopen(self) -> None:
        """Open output files again, after logrotate moved them."""
        for part in self.parts:
            part.reopen()

    # -- being asked -------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What `cdpd status` shows of this process."""
        return daemon_status(
            state=self._ready() or "running",
            uptime_ms=self._clock.now_ms() - self._started_ms,
            loaded=self.loaded,
            streams=self._streams.written,
            parts=self._told(),
            metrics=self.metrics,
        )

    def line(self) -> str:
        """The same, in one line."""
        return status_line(self._told())

    def calls(self) -> Calls:
        """What the parts answer on the control socket."""
        return {name: call for part in self.parts for name, call in part.calls().items()}

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        """See cdpd/control/contract.py."""
        if self._ingest is None:
            raise CannotDo("this process does not write `received`: ask the daemon's own socket")
        return await self._ingest.retry_discarded(which, dry_run)

    def _told(self) -> dict[str, Any]:
        told = {name: told for part in self.parts for name, told in part.status().items()}
        return {**told, "disk": self._disk.status()}

    def _observed(self) -> gauges.Parts:
        def pipeline() -> Any:
            assert self._process is not None
            return self._process.pipeline.status()

        def destinations() -> Any:
            return {} if self._deliver is None else self._deliver.delivery.status()

        def load() -> gauges.Load:
            assert self._ingest is not None
            return self._ingest.load()

        return gauges.Parts(
            streams=self._streams.written,
            pipeline=pipeline if "process" in self.roles else None,
            destinations=destinations if "deliver" in self.roles else None,
            load=load if "ingest" in self.roles else None,
            ready=lambda: self._ready() is None,
            sources=lambda: list(self.loaded.config.sources),
        )
