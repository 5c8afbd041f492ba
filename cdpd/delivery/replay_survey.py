"""Looking at what a replay would do, without sending anything: a portion of the archive at a time."""

from __future__ import annotations

from typing import Final

import anyio.lowlevel
import anyio.to_thread
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.delivery.replay import ReplaySpec, described
from cdpd.delivery.replay_range import ReplayFeed
from cdpd.delivery.route import NOT_CONNECTED, NotAnEvent, Routes
from cdpd.event import Position
from cdpd.log.readable import ReadableStream

NO_EVENT: Final = "NOT_AN_EVENT"
MOST_NAMES: Final = 2000
"""Different rows of one portion; events beyond them stand under …"""
OTHER_NAMES: Final = "…"
_SECONDS: Final = 1.0
"""A portion is over after so long …"""
_LINES: Final = 200_000
"""… or after so many lines."""
_TURN: Final = 150
"""Events that are routed before the loop gets its turn."""


class Row(Struct, frozen=True):
    """Events that are alike."""

    source: str
    type: str
    name: str
    """Of a track, page or screen."""
    skip: str
    """Why they would not go; "" where they would."""
    events: int


class Portion(Struct, frozen=True):
    """What was looked at."""

    at: Position
    """Where the next portion begins."""
    done: int
    """Lines of the replay that have been looked at, with all portions before."""
    over: bool
    rows: list[Row]


async def survey(
    events: ReadableStream, spec: ReplaySpec, router: Routes, at: Position, clock: Clock
) -> Portion:
    """The next portion, from `at` on. Raises LogError."""
    reader = ReplayFeed(events, spec).reader(at)
    began, found, turn = clock.monotonic(), dict[tuple[str, str, str, str], int](), 0
    try:
        while reader.position.offset < spec.until:
            piece = await anyio.to_thread.run_sync(reader.read, 2000, 512 * 1024)
            if piece is None:
                return Portion(reader.position, spec.total, True, _rows(found))
            for frame in piece.frames:
                for line in frame.lines[: max(spec.until - frame.base, 0)]:
                    if not line:
                        continue
                    turn += 1
                    if not turn % _TURN:
                        await anyio.lowlevel.checkpoint()
                    _count(found, router, line)
            if clock.monotonic() - began >= _SECONDS or reader.position.offset - at.offset >= _LINES:
                break
        position = reader.position
    finally:
        reader.close()
    over = position.offset >= spec.until
    return Portion(position, spec.done(position.offset, 0), over, _rows(found))


def _rows(found: dict[tuple[str, str, str, str], int]) -> list[Row]:
    return [Row(*key, n) for key, n in found.items()]


def _count(found: dict[tuple[str, str, str, str], int], router: Routes, line: bytes) -> None:
    try:
        skip = router.route(line).skip
        if skip == NOT_CONNECTED:
            return
        key = *described(line), skip or ""
    except NotAnEvent:
        key = "", "", "", NO_EVENT
    if key not in found and len(found) >= MOST_NAMES:
        source, type_, _, skip = key
        key = source, type_, OTHER_NAMES, skip or ""
    found[key] = found.get(key, 0) + 1
