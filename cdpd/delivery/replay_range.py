"""From times to places: the part of `events` that a replay reads, and the reader that keeps to it."""

from __future__ import annotations

from typing import Final

import anyio.to_thread
import msgspec
from msgspec import Struct

from cdpd.delivery.making import DestinationError
from cdpd.delivery.reading import FeedReader
from cdpd.delivery.replay import LATEST, ReplaySpec, received_ms
from cdpd.event import BEGINNING, Position
from cdpd.log.folder import StreamFolder
from cdpd.log.readable import ReadableStream
from cdpd.log.reader import Frame, Slice
from cdpd.timestamp import format_time, parse_time

PLACES: Final = "now, beginning, an ISO 8601 time or an offset of events"


class Range(Struct, frozen=True):
    """Lines [start, until) of `events`; of them those received in [from_ms, to_ms)."""

    start: Position
    until: int
    from_ms: int | None = None
    to_ms: int | None = None


async def range_of(events: ReadableStream, start: str, end: str) -> Range:
    """What lies between two places that somebody named. Raises DestinationError, LogError."""
    return await anyio.to_thread.run_sync(_range_of, events, start, end)


def _range_of(events: ReadableStream, start: str, end: str) -> Range:
    begin, until = events.begin, events.end.offset
    from_ms = to_ms = None
    if start == "now":
        first = events.end
    elif start == "beginning":
        first = BEGINNING
    elif _is_offset(start):
        first = StreamFolder(events.folder).at_offset(int(start))
    else:
        from_ms = _time(start)
        first = _edge(events, from_ms, late=False)
    if end == "beginning":
        until = begin
    elif _is_offset(end):
        until = min(int(end), until)
    elif end != "now":
        to_ms = _time(end)
        until = _edge(events, to_ms + LATEST, late=True).offset
    at = max(first.offset, begin)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise DestinationError(f"there is no event from {start} to {end}: it ends before it begins")
    if at >= until:
        raise DestinationError(f"there is no event from {start} to {end}; {_stored(events)}")
    if first == BEGINNING and begin:
        first = StreamFolder(events.folder).at_offset(begin)
    return Range(first, until, from_ms, to_ms)


def _is_offset(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _time(text: str) -> int:
    ms = parse_time(text)
    if ms is None:
        raise DestinationError(f"{text!r} is no place in the archive: write {PLACES}")
    return ms


def _edge(events: ReadableStream, ms: int, *, late: bool) -> Position:
    """The first frame that ends (late: begins) at that log time or after it; the stream's index is only near it."""
    reader = events.reader(StreamFolder(events.folder).at_time(ms))
    try:
        while (piece := reader.read()) is not None:
            for frame in piece.frames:
                if (frame.first_ms if late else frame.last_ms) >= ms:
                    return Position(frame.base, frame.epoch)
        return reader.position
    finally:
        reader.close()


def _stored(events: ReadableStream) -> str:
    segments = StreamFolder(events.folder).segments()
    if not segments or events.begin >= events.end.offset:
        return "nothing is stored yet"
    first, last = format_time(segments[0].first_ms), format_time(segments[-1].last_ms)
    return f"stored are offsets {events.begin} to {events.end.offset - 1}, received from {first} to {last}"


class ReplayFeed:
    """A replay's part of `events` (cdpd.delivery.reading.Feed)."""

    def __init__(self, events: ReadableStream, spec: ReplaySpec) -> None:
        self._events = events
        self._spec = spec

    @property
    def end(self) -> Position:
        return self._events.end

    def reader(self, position: Position = BEGINNING) -> FeedReader:
        return _InTime(self._events.reader(position), self._spec.from_ms, self._spec.to_ms)

    async def wait_beyond(self, position: Position) -> None:
        await self._events.wait_beyond(position)


class _InTime:
    """Makes holes of lines that were received before or after the times that were asked for."""

    def __init__(self, inner: FeedReader, from_ms: int | None, to_ms: int | None) -> None:
        self._inner = inner
        self._from_ms = from_ms
        self._to_ms = to_ms

    @property
    def position(self) -> Position:
        return self._inner.position

    def read(self, max_lines: int = 1000, max_bytes: int = 1 << 20) -> Slice | None:
        piece = self._inner.read(max_lines, max_bytes)
        if piece is None or not any(self._at_edge(frame) for frame in piece.frames):
            return piece
        frames = [
            msgspec.structs.replace(frame, lines=self._within(frame)) if self._at_edge(frame) else frame
            for frame in piece.frames
        ]
        return Slice(frames, piece.start, piece.end)

    def close(self) -> None:
        self._inner.close()

    def _at_edge(self, frame: Frame) -> bool:
        """Whether there may be lines of other times in it; nearly all frames lie well within."""
        return (self._from_ms is not None and frame.first_ms < self._from_ms + LATEST) or (
            self._to_ms is not None and frame.last_ms >= self._to_ms
        )

    def _within(self, frame: Frame) -> list[bytes]:
        first = 0 if self._from_ms is None else self._from_ms
        end = self._to_ms
        lines = []
        for line in frame.lines:
            ms = received_ms(line, frame.last_ms) if line else 0
            lines.append(line if ms >= first and (end is None or ms < end) else b"")
        return lines
