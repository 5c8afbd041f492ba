"""Places in `events` as people name them for a destination: "now", "beginning", a time or an offset."""

from __future__ import annotations

import anyio.to_thread

from cdpd.delivery.making import DestinationError
from cdpd.event import BEGINNING, Position
from cdpd.log.folder import StreamFolder
from cdpd.log.readable import ReadableStream
from cdpd.timestamp import parse_time


async def place_in(events: ReadableStream, text: str) -> Position:
    """The position. Raises DestinationError for what is none of these, and LogError."""
    if text == "now":
        return events.end
    if text == "beginning":
        return BEGINNING
    if text.isascii() and text.isdecimal():
        return await anyio.to_thread.run_sync(StreamFolder(events.folder).at_offset, int(text))
    ms = parse_time(text)
    if ms is None:
        raise DestinationError(f'from = "{text}": expected "now", "beginning" or an ISO 8601 time')
    return await anyio.to_thread.run_sync(_at_time, events, ms)


def _at_time(events: ReadableStream, ms: int) -> Position:
    """Before the first events of that log time; the stream's own index is only near it."""
    reader = events.reader(StreamFolder(events.folder).at_time(ms))
    try:
        while (piece := reader.read()) is not None:
            for frame in piece.frames:
                if frame.last_ms >= ms:
                    return Position(frame.base, frame.epoch)
        return reader.position
    finally:
        reader.close()
