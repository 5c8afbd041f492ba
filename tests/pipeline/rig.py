"""Real streams in a folder, and a pipeline over them, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import structlog

from cdpd import discovery
from cdpd.clock import Clock
from cdpd.config.model import Config, PipelineConfig
from cdpd.config.plugin_options import Installed
from cdpd.event import BEGINNING, Position
from cdpd.log.folder import StreamFolder
from cdpd.log.reader import Reader
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.metrics import Metrics
from cdpd.pipeline.chain import Chains
from cdpd.pipeline.pipeline import Pipeline
from cdpd.plugins import Plugin, PluginEnv
from cdpd.timestamp import format_time

CONFIG_ID = 7


class Told:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, dict[str, Any]]] = []
        self.log = structlog.wrap_logger(
            None, processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )

    def _keep(self, _: object, level: str, entry: Any) -> Any:
        self.entries.append((level, entry.pop("event"), dict(entry)))
        raise structlog.DropEvent

    def texts(self, level: str) -> list[str]:
        return [text for kind, text, _ in self.entries if kind == level]


class InstalledClass:
    """A plugin class as if an installed package brought it."""

    distribution = "cdpd-example"

    def __init__(self, plugin: Any) -> None:
        self._plugin = plugin

    def load(self) -> Any:
        if isinstance(self._plugin, Exception):
            raise self._plugin
        return self._plugin


class Installation:
    """The built-in hooks and the classes given."""

    def __init__(self, classes: Mapping[str, Any] | None = None) -> None:
        self._hooks: dict[str, Installed] = dict(discovery.hooks())
        self._hooks |= {name: InstalledClass(plugin) for name, plugin in (classes or {}).items()}

    def hooks(self) -> Mapping[str, Installed]:
        return self._hooks

    def destinations(self) -> Mapping[str, Installed]:
        return {}


def configuration(**tables: Any) -> Config:
    """A configuration with the source `website`, where none is given."""
    return msgspec.convert({"sources": {"website": {"write_keys": ["wk"]}}} | tables, Config)


class Rig:
    """Three streams in one folder; `opened` holds them open."""

    def __init__(
        self, folder: Path, *, clock: Clock, metrics: Metrics | None = None, files: Any = None
    ) -> None:
        self.folder = folder
        self.clock = clock
        self.metrics = metrics or Metrics()
        self.told = Told()
        self.files = files
        self.received: Stream
        self.events: Stream
        self.discarded: Stream

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Rig]:
        """Open (recover) the streams as the daemon does."""
        async with AsyncExitStack() as stack:
            self.events = await self._open(stack, "events")
            cursor = self.events.cursor
            self.received = await self._open(stack, "received", floor=cursor.received.offset if cursor else 0)
            self.discarded = await self._open(stack, "discarded", target=cursor.discarded if cursor else 0)
            yield self

    async def _open(self, stack: AsyncExitStack, name: str, **places: Any) -> Stream:
        return await stack.enter_async_context(
            open_stream(
                self.folder / "log" / name,
                clock=self.clock,
                options=StreamOptions(),
                files=self.files,
                report=lambda text: self.told.log.warning(text),
                **places,
            )
        )

    # -- cdpd.plugins.Streams

    def reader(self, stream: str, position: Position) -> Reader:
        return self._stream(stream).reader(position)

    def end(self, stream: str) -> Position:
        return self._stream(stream).end

    def at_time(self, stream: str, ms: int) -> Position:
        return StreamFolder(self._stream(stream).folder, self.files).at_time(ms)

    def _stream(self, name: str) -> Stream:
        chosen: Stream = getattr(self, name)
        return chosen

    # -- the pipeline

    def env(self, name: str) -> PluginEnv:
        return PluginEnv(
            name=name,
            state_dir=self.folder / "plugins" / name,
            streams=self,
            clock=self.clock,
            log=self.told.log.bind(plugin=name),
        )

    def chains(
        self,
        config: Config | None = None,
        classes: Mapping[str, type[Plugin]] | None = None,
        previous: Chains | None = None,
    ) -> Chains:
        return Chains.build(config or configuration(), Installation(classes), self.env, previous)

    def pipeline(self, chains: Chains, options: PipelineConfig | None = None) -> Pipeline:
        return Pipeline(
            received=self.received,
            events=self.events,
            discarded=self.discarded,
            chains=chains,
            config_id=CONFIG_ID,
            options=options or PipelineConfig(),
            clock=self.clock,
            metrics=self.metrics,
            log=self.told.log,
        )

    async def until_handled(self, offset: int | None = None) -> None:
        """Return once everything of `received` (before `offset`) is handled durably."""
        wanted = self.received.end.offset if offset is None else offset
        # A cursor that moves over nothing but discarded lines wakes nobody: it has to be looked at.
        while (cursor := self.events.cursor) is None or cursor.received.offset < wanted:
            await anyio.lowlevel.checkpoint()

    async def handle_all(
        self,
        config: Config | None = None,
        classes: Mapping[str, type[Plugin]] | None = None,
        options: PipelineConfig | None = None,
    ) -> None:
        """Run a pipeline of this configuration until everything is handled."""
        chains = self.chains(config, classes)
        await chains.startup()
        pipeline = self.pipeline(chains, options or (config.pipeline if config else None))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipeline.run)
            await self.until_handled()
            tasks.cancel_scope.cancel()
        await chains.shutdown()

    # -- what is in the streams

    def stored(self) -> list[dict[str, Any]]:
        """The events in `events`."""
        return [msgspec.json.decode(line) for line in lines(self.events)]

    def turned_away(self) -> list[dict[str, Any]]:
        """The lines of `discarded`."""
        return [msgspec.json.decode(line) for line in lines(self.discarded)]

    def codes(self) -> list[str]:
        return [line["code"] for line in self.turned_away()]


def lines(stream: Stream) -> list[bytes]:
    """Everything that a stream shows."""
    reader = stream.reader(BEGINNING)
    found: list[bytes] = []
    while (piece := reader.read()) is not None:
        found += [line for frame in piece.frames for line in frame.lines if line]
    reader.close()
    return found


def received_line(
    event: Mapping[str, Any] | bytes,
    *,
    received_at: int | str = "2024-03-05T12:00:05.300Z",
    source: str = "website",
    message_id: str | None = None,
    path: str = "/v1/batch",
    ip: str = "203.0.113.7",
    via: Mapping[str, Any] | None = None,
    **more: Any,
) -> bytes:
    """A line of `received` as ingest writes it."""
    text = event if isinstance(event, bytes) else msgspec.json.encode(event)
    own = msgspec.json.decode(text).get("messageId") if not isinstance(event, bytes) else None
    line = {
        "receivedAt": received_at if isinstance(received_at, str) else format_time(received_at),
        "source": source,
        "messageId": message_id or own or "made-by-ingest",
        **more,
        "via": {"path": path, "ip": ip, **(via or {})},
        "event": msgspec.Raw(text),
    }
    return msgspec.json.encode(line)


async def run_events(
    rig: Rig, events: Sequence[Mapping[str, Any]], config: Config | None = None, **line: Any
) -> None:
    """Append these events to `received` in one group and handle them."""
    await rig.received.append([received_line(event, **line) for event in events], config_id=CONFIG_ID)
    await rig.handle_all(config)
