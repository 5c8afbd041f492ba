"""The three streams of a data folder, opened together by the one process that writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.data_folder import STREAMS, stream_folder
from cdpd.config.duration import parse_duration
from cdpd.config.model import Config
from cdpd.delivery.state import StateDb
from cdpd.event import Position
from cdpd.log.folder import StreamFolder
from cdpd.log.reader import Reader
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.measured_files import MeasuredFiles
from cdpd.metrics import Metrics


class Streams(Struct, frozen=True):
    """The streams of a daemon; plugins read through it (cdpd.plugins.Streams)."""

    received: Stream
    events: Stream
    discarded: Stream

    def all(self) -> tuple[Stream, Stream, Stream]:
        """In the order in which an event comes by."""
        return self.received, self.events, self.discarded

    @property
    def processed(self) -> int:
        """How far the pipeline has come in `received`."""
        cursor = self.events.cursor
        return cursor.received.offset if cursor else 0

    def reader(self, stream: str, position: Position) -> Reader:
        return self._named(stream).reader(position)

    def end(self, stream: str) -> Position:
        return self._named(stream).end

    def at_time(self, stream: str, ms: int) -> Position:
        return StreamFolder(self._named(stream).folder).at_time(ms)

    def _named(self, stream: str) -> Stream:
        if stream not in STREAMS:
            raise ValueError(f"there is no stream {stream!r}: {', '.join(STREAMS)}")
        chosen: Stream = getattr(self, stream)
        return chosen


def stream_options(config: Config) -> StreamOptions:
    """When segments are closed."""
    return StreamOptions(
        segment_bytes=config.log.segment_bytes, segment_age=parse_duration(config.log.segment_age)
    )


@asynccontextmanager
async def open_streams(
    data_dir: Path,
    state: StateDb,
    options: StreamOptions,
    clock: Clock,
    metrics: Metrics,
    log: structlog.typing.FilteringBoundLogger,
) -> AsyncIterator[Streams]:
    """Recover and open them inside the `with`: `events` first, whose last frame says where the others are.

    Raises StreamLocked, LogError, OSError.
    """
    async with AsyncExitStack() as stack:

        async def opened(name: str, *, floor: int = 0, target: int | None = None) -> Stream:
            def report(text: str) -> None:
                log.warning("the log", stream=name, problem=text)

            folder = stream_folder(data_dir, name)
            return await stack.enter_async_context(
                open_stream(
                    folder,
                    clock=clock,
                    options=options,
                    files=MeasuredFiles(metrics, name, clock.monotonic),
                    floor=floor,
                    target=target,
                    report=report,
                )
            )

        floor = max((position.offset for position in state.cursors().values()), default=0)
        events = await opened("events", floor=floor)
        cursor = events.cursor
        received = await opened("received", floor=cursor.received.offset if cursor else 0)
        discarded = await opened("discarded", target=cursor.discarded if cursor else 0)
        yield Streams(received, events, discarded)
