"""Noticing, at the start, that state.db is older than the log: a copy that was restored alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from cdpd.delivery.state import StateDb
from cdpd.event import Position
from cdpd.log.files import OsFiles
from cdpd.log.mark import read_mark
from cdpd.log.readable import ReadableStream
from cdpd.timestamp import format_time

_LATER_MS: Final = 60_000
"""A daemon that delivers writes state.db within seconds of what it appends to `events`."""


def tell_if_older(
    state: StateDb,
    events: ReadableStream,
    positions: Mapping[str, Position],
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Warn where destinations may get again what a newer state.db would know that they have.

    `positions`: destination → where it goes on. It may be a false alarm: where nothing was delivered on purpose.
    """
    mark, newest = read_mark(OsFiles(), events.folder), state.newest_ms()
    if mark is None or state.created or mark.last_ms - newest < _LATER_MS:
        return
    behind = {name: events.end.offset - position.offset for name, position in positions.items()}
    behind = {name: count for name, count in behind.items() if count > 0}
    if behind:
        log.warning(
            "state.db is older than the log. If it was restored without the log, destinations get events again that "
            "they have (with the same messageId); `cdpd destinations reset NAME --from TIME` lets one go on later",
            last_written=format_time(newest),
            newest_event=format_time(mark.last_ms),
            events_to_send=behind,
        )
