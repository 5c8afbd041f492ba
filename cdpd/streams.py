"""The three streams of a data folder: those that this process writes, opened together, and readers of the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.data_folder import STREAMS, UNFINISHED_BACKUP, state_db, stream_folder
from cdpd.config.duration import parse_duration
from cdpd.config.model import Config
from cdpd.config.roles import ROLES, Role
from cdpd.delivery.stored import stored_cursors
from cdpd.event import Position
from cdpd.log.errors import LogError
from cdpd.log.folder import StreamFolder
from cdpd.log.followed import followed
from cdpd.log.readable import ReadableStream
from cdpd.log.reader import Reader
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.measured_files import MeasuredFiles
from cdpd.metrics import Metrics

WRITTEN_BY: Final[dict[Role, tuple[str, ...]]] = {
    "ingest": ("received",),
    "process": ("events", "discarded"),
    "deliver": (),
}


class Streams(Struct, frozen=True):
    """The streams of a daemon; plugins read through it (cdpd.plugins.Streams)."""

    received: ReadableStream
    events: ReadableStream
    discarded: ReadableStream
    written: tuple[Stream, ...]
    """Those that this process writes, in the order in which an event comes by."""

    @property
    def processed(self) -> int:
        """How far the pipeline has come in `received`."""
        cursor = self.events.cursor
        return cursor.received.offset if cursor else 0

    def writer(self, stream: str) -> Stream:
        """One of `written`."""
        return next(one for one in self.written if one.name == stream)

    def reader(self, stream: str, position: Position) -> Reader:
        return self._named(stream).reader(position)

    def end(self, stream: str) -> Position:
        return self._named(stream).end

    def at_time(self, stream: str, ms: int) -> Position:
        return StreamFolder(self._named(stream).folder).at_time(ms)

    def _named(self, stream: str) -> ReadableStream:
        if stream not in STREAMS:
            raise ValueError(f"there is no stream {stream!r}: {', '.join(STREAMS)}")
        chosen: ReadableStream = getattr(self, stream)
        return chosen


def stream_options(config: Config) -> StreamOptions:
    """When segments are closed."""
    return StreamOptions(
        segment_bytes=config.log.segment_bytes, segment_age=parse_duration(config.log.segment_age)
    )


@asynccontextmanager
async def open_streams(
    data_dir: Path,
    options: StreamOptions,
    clock: Clock,
    metrics: Metrics,
    log: structlog.typing.FilteringBoundLogger,
    roles: Sequence[Role] = ROLES,
) -> AsyncIterator[Streams]:
    """Recover and open what these roles write inside the `with`; the others are followed.

    `events` comes first: its last frame says where the others are. Raises StreamLocked, LogError, StateError, OSError.
    """
    if (data_dir / UNFINISHED_BACKUP).exists():
        raise LogError(
            f"{data_dir} is a backup that was not finished: run `cdpd backup` to it again, or use another one"
        )
    async with AsyncExitStack() as stack:
        written: dict[str, Stream] = {}

        async def opened(name: str, *, floor: int = 0, target: int | None = None) -> ReadableStream:
            def report(text: str) -> None:
                log.warning("the log", stream=name, problem=text)

            folder = stream_folder(data_dir, name)
            if not any(name in WRITTEN_BY[role] for role in roles):
                return stack.enter_context(followed(folder))
            written[name] = await stack.enter_async_context(
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
            return written[name]

        stored = stored_cursors(state_db(data_dir))
        events = await opened("events", floor=max((cursor.highest for cursor in stored.values()), default=0))
        cursor = events.cursor
        received = await opened("received", floor=cursor.received.offset if cursor else 0)
        discarded = await opened("discarded", target=cursor.discarded if cursor else 0)
        in_order = tuple(written[name] for name in STREAMS if name in written)
        yield Streams(received, events, discarded, in_order)
