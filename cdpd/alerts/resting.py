"""How far behind a destination is that does not run: the age of the event at its position, read in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio.to_thread

from cdpd.log.errors import LogError
from cdpd.log.folder import StreamFolder
from cdpd.log.readable import ReadableStream


class Resting:
    """Remembers what it has found: while a destination rests, its position does not change."""

    def __init__(self, events: ReadableStream) -> None:
        self._events = events
        self._found: dict[str, tuple[int, int]] = {}
        """Destination → its position, and the log time of the event there."""

    async def with_lag(
        self, destinations: Mapping[str, Mapping[str, Any]], now_ms: int
    ) -> Mapping[str, Mapping[str, Any]]:
        """The same, with `lag_seconds` where there are events that wait and it was not known."""
        filled = dict(destinations)
        for name, told in destinations.items():
            if told["lag_seconds"] is not None or not told["lag_events"]:
                continue
            position = int(told["position"])
            if name not in self._found or self._found[name][0] != position:
                at_ms = await anyio.to_thread.run_sync(self._log_time, position)
                if at_ms is None:
                    continue
                self._found[name] = position, at_ms
            filled[name] = {**told, "lag_seconds": max(now_ms - self._found[name][1], 0) // 1000}
        return filled

    def _log_time(self, offset: int) -> int | None:
        """Of the line at that offset of `events`, or the first one after it; None where that cannot be told."""
        try:
            reader = self._events.reader(StreamFolder(self._events.folder).at_offset(offset))
            try:
                piece = reader.read(1, 1)
            finally:
                reader.close()
        except (LogError, OSError):
            return None
        return None if piece is None else piece.frames[0].last_ms
