"""The part that takes events in: the tracking API with its sources, keys and tokens, into `received`."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import anyio.to_thread

from cdpd import discovery
from cdpd import metrics as names
from cdpd.bring.receiving import Receiving
from cdpd.config.data_folder import functions_db, key_use_file, oauth_db
from cdpd.config.load import LoadedConfig
from cdpd.config.roles import Role
from cdpd.control.contract import Busy, Calls, DiscardedFilter
from cdpd.functions.host import Surroundings
from cdpd.functions.kept import FunctionsDb
from cdpd.functions.source import SourceFunctions
from cdpd.ingest.browser_library import BrowserLibrary
from cdpd.ingest.ingest import Ingest
from cdpd.ingest.key_use import KeyUse, KeyUseFile
from cdpd.ingest.metrics_page import MetricsPage
from cdpd.ingest.refusal import disk_full
from cdpd.ingest.report import sources_report
from cdpd.ingest.settings import IngestSettings
from cdpd.listeners import Listeners
from cdpd.log.errors import AppendFailed
from cdpd.oauth.apps import Apps
from cdpd.oauth.calls import token_calls
from cdpd.oauth.server import AuthorizationServer
from cdpd.parts.part import Ground
from cdpd.pipeline.retry_discarded import retry_discarded
from cdpd.scrape.gauges import Load
from cdpd.supervise import supervise
from cdpd.upkeep import Kept

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

SOURCES: Final = "GET /sources"


class IngestPart:
    """Made by `open`."""

    role: Final[Role] = "ingest"

    def __init__(
        self,
        ground: Ground,
        listeners: Listeners,
        ready: Callable[[], str | None],
        page: MetricsPage,
        library: BrowserLibrary | None,
        keys: KeyUse,
        key_file: KeyUseFile,
    ) -> None:
        self._ground = ground
        self._listeners = listeners
        self._library = library
        self._keys = keys
        self._key_file = key_file
        self._prepared: tuple[Apps, BrowserLibrary | None] | None = None
        loaded = ground.loaded()
        self._full: str | None = None
        self._received = ground.streams.writer("received")
        self._oauth = AuthorizationServer(
            path=oauth_db(loaded.data_dir),
            addresses=lambda: listeners.urls,
            clock=ground.clock,
            metrics=ground.metrics,
            log=ground.log,
        )
        self.functions = SourceFunctions(
            append=self._append,
            settings=self._settings,
            around=Surroundings(FunctionsDb(functions_db(loaded.data_dir)), ground.clock, ground.log),
            metrics=ground.metrics,
            random=random.random,
        )
        self.ingest = Ingest(
            settings=listeners.settings(loaded, library),
            append=self._append,
            append_then=self._received.append_then,
            clock=ground.clock,
            metrics=ground.metrics,
            log=ground.log,
            ready=ready,
            keys=keys,
            oauth=self._oauth,
            page=page,
            functions=self.functions,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls, ground: Ground, listeners: Listeners, ready: Callable[[], str | None], page: MetricsPage
    ) -> AsyncIterator[Self]:
        """With what it keeps open inside the `with`; no request is taken yet. Raises OSError, ConfigError."""
        loaded = ground.loaded()
        file = KeyUseFile(key_use_file(loaded.data_dir), ground.log)
        keys = file.read()
        try:
            library = await _compressed(loaded)
            part = cls(ground, listeners, ready, page, library, keys, file)
            try:
                part._oauth.apply(await part._oauth.read(loaded.config))
                await part.functions.apply(loaded.config)
                yield part
            finally:
                part._oauth.close()
                with anyio.CancelScope(shield=True):
                    await part.functions.close()
        finally:
            file.write(keys)

    def mount(self, routes: Mapping[str, Sequence[AbstractRouteDef]]) -> None:
        """Serve the routes of hooks. Before `serve` only."""
        for name, its in routes.items():
            self.ingest.mount(name, its)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """From the first request that is taken to the last that is answered. Raises ListenError."""
        loaded = self._ground.loaded()
        async with self._listeners.serve(self.ingest, loaded):
            self.ingest.apply(self._settings())
            yield

    async def run(self) -> None:
        clock, log = self._ground.clock, self._ground.log
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(supervise, "trying of webhooks again", self.functions.run, clock, log)
            await self._key_file.keep(self._keys, clock)

    async def ready(self) -> None:
        """At once."""

    async def stop(self) -> None:
        """Nothing: the end of `serve` answers what has begun."""

    async def prepare(self, loaded: LoadedConfig) -> list[str]:
        library = await _compressed(loaded)
        self._prepared = await self._oauth.read(loaded.config), library
        return self._listeners.restart_needed(self._ground.loaded().config, loaded.config)

    async def apply(self, loaded: LoadedConfig) -> None:
        assert self._prepared is not None, "it was prepared"
        (apps, self._library), self._prepared = self._prepared, None
        self._oauth.apply(apps)
        self._listeners.apply(loaded)
        self.ingest.apply(self._listeners.settings(loaded, self._library))
        await self.functions.apply(loaded.config)

    async def undo(self) -> None:
        self._prepared = None

    def kept(self) -> list[Kept]:
        return [Kept(self._received, lambda: {"the pipeline": self._ground.streams.processed})]

    def status(self) -> dict[str, Any]:
        return self._listeners.status()

    def load(self) -> Load:
        """What it is busy with, for metrics."""
        busy, limit = self.ingest, self._ground.loaded().config.http.max_in_flight_bytes
        return Load(
            len(busy.watch.connections),
            busy.active,
            busy.in_flight_bytes,
            limit,
            self._listeners.certificate_ends,
        )

    def calls(self) -> Calls:
        ground = self._ground

        async def sources(_: bytes) -> dict[str, Any]:
            return sources_report(ground.loaded().config.sources, self._keys, ground.metrics)

        receiving = Receiving(
            append=self._append,
            config=lambda: ground.loaded().config,
            settings=self._settings,
            behind=lambda: self._received.end.offset - ground.streams.processed,
            catalogue=discovery,
            clock=ground.clock,
            metrics=ground.metrics,
        )
        return {SOURCES: sources, **receiving.calls(), **token_calls(self._oauth)}

    async def retry_discarded(self, which: DiscardedFilter, dry_run: bool) -> dict[str, Any]:
        """Append the matching lines of `discarded` to `received` again (cdpd/control/contract.py)."""
        if self._full is not None and not dry_run:
            raise Busy(self._full)
        config_id, discarded = self._ground.loaded().config_id, self._ground.streams.discarded
        return await retry_discarded(discarded, self._received, which, config_id=config_id, dry_run=dry_run)

    def reopen(self) -> None:
        """It writes no files but its own."""

    def _settings(self) -> IngestSettings:
        return self._listeners.settings(self._ground.loaded(), self._library)

    def disk_full(self, reason: str | None) -> None:
        """Take no events any more, for this reason; None: take them again."""
        self._full = reason
        self.ingest.close_for(None if reason is None else disk_full)

    async def _append(self, lines: Sequence[bytes], config_id: int) -> object:
        if self._full is not None:
            raise AppendFailed(self._full)
        clock = self._ground.clock
        began = clock.monotonic()
        appended = await self._received.append(lines, config_id=config_id)
        self._ground.metrics.observe(names.APPEND_SECONDS, clock.monotonic() - began)
        return appended


async def _compressed(loaded: LoadedConfig) -> BrowserLibrary | None:
    """The browser library, made ready off the loop."""
    files = loaded.library
    return None if files is None else await anyio.to_thread.run_sync(BrowserLibrary.of, files)
