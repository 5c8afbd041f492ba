"""Reading on for one destination: from the log into its window and lanes, routed, within its memory bound."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread
from msgspec import Struct

from cdpd import metrics as names
from cdpd.delivery.lanes import Item, Lanes
from cdpd.delivery.route import NOT_CONNECTED, NotAnEvent, Routes
from cdpd.delivery.window import Window
from cdpd.event import Position
from cdpd.log.reader import Frame, Slice
from cdpd.metrics import Metrics

MOST_SPREAD: Final = 20_000
"""Finished events above the low-water mark; then all wait for the oldest."""
_READ_LINES: Final = 2000
_READ_BYTES: Final = 512 * 1024
_IN_THREAD: Final = 256
"""From so many lines behind on, reading (and unpacking) goes off the loop."""
_TURN: Final = 150
"""Events that are routed before the loop gets its turn: well under a millisecond."""


class Bound(Struct, frozen=True):
    """How much may be in memory; reading pauses beyond it. One frame more may come (1 MiB at most)."""

    events: int
    bytes: int


class FeedReader(Protocol):
    """Reads on from `position`; may be used in one other thread. Like cdpd.log.reader.Reader."""

    @property
    def position(self) -> Position: ...

    def read(self, max_lines: int = ..., max_bytes: int = ...) -> Slice | None: ...

    def close(self) -> None: ...


class Feed(Protocol):
    """Where a consumer's events come from: the stream `events` (cdpd.log.readable), or a job's part of it."""

    @property
    def end(self) -> Position: ...

    def reader(self, position: Position = ...) -> FeedReader: ...

    async def wait_beyond(self, position: Position) -> None: ...


Routed = Callable[[int, str | None], None]
"""Told of every line that means something to the destination: its offset, and why it does not go (None: it goes)."""


class Intake:
    """Fills `window` and `lanes`. `bad_line`: told of a line that is no event."""

    def __init__(
        self,
        *,
        name: str,
        events: Feed,
        reader: FeedReader,
        router: Routes,
        window: Window,
        lanes: Lanes,
        bound: Bound,
        metrics: Metrics,
        bad_line: Callable[[Item, str], None],
        until: int | None = None,
        routed: Routed | None = None,
        failed_filter: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`until`: the offset before which reading ends for good. `failed_filter`: told the title of a filter that
        could not judge an event; the event is not sent."""
        self.counts_unknown = False
        """One consumer counts unknown integrations for all."""
        self._name = name
        self._events = events
        self._reader = reader
        self._router = router
        self._window = window
        self._lanes = lanes
        self._bound = bound
        self._metrics = metrics
        self._bad_line = bad_line
        self._until = until
        self._failed_filter = failed_filter
        self._routed = routed

    @property
    def has_room(self) -> bool:
        window = self._window
        return (
            window.events < self._bound.events
            and window.bytes < self._bound.bytes
            and window.spread < MOST_SPREAD
        )

    @property
    def at_end(self) -> bool:
        """Whether all that is durable has been read."""
        return self._events.end.offset <= self._window.read_to.offset

    @property
    def is_through(self) -> bool:
        """Whether all that is ever to be read has been."""
        return self._until is not None and self._window.read_to.offset >= self._until

    async def read(self) -> bool:
        """Read on; False at the log's durable end, or where reading ends. Raises LogError."""
        if self.is_through:
            return False
        if self._events.end.offset - self._reader.position.offset >= _IN_THREAD:
            piece = await anyio.to_thread.run_sync(self._reader.read, _READ_LINES, _READ_BYTES)
        else:
            piece = self._reader.read(_READ_LINES, _READ_BYTES)
        if piece is None:
            return False
        await self._route(piece)
        return True

    async def _route(self, piece: Slice) -> None:
        skipped: dict[str, int] = {}
        unknown = turn = 0
        until = sys.maxsize if self._until is None else self._until
        for frame in piece.frames:
            for offset, line in enumerate(frame.lines, frame.base):
                if offset >= until:
                    break
                if not line:
                    continue
                turn += 1
                if not turn % _TURN:
                    self._window.read(Position(offset, frame.epoch))
                    await anyio.lowlevel.checkpoint()
                if self._window.was_finished(offset, frame.epoch):
                    continue
                try:
                    route = self._router.route(line)
                except NotAnEvent as error:
                    item = self._item(offset, frame, line)
                    self._window.add(item)
                    self._bad_line(item, f"the line is no event: {error}")
                    continue
                unknown += route.unknown
                if self._routed is not None and route.skip != NOT_CONNECTED:
                    self._routed(offset, route.skip)
                if route.skip is None:
                    item = self._item(offset, frame, line if route.line is None else route.line)
                    item.key, item.options = route.key, route.options
                    self._window.add(item)
                    self._lanes.add(item)
                elif route.skip:
                    if route.problem:
                        self._failed_filter(route.by)
                    skipped[route.skip] = skipped.get(route.skip, 0) + 1
        end = piece.end
        if self._until is not None and end.offset > self._until:
            end = Position(self._until, end.epoch)
        self._window.read(end)
        for code, n in skipped.items():
            self._metrics.add(names.SKIPPED, self._name, code, n=n)
        if unknown and self.counts_unknown:
            self._metrics.add(names.NOTED, "UNKNOWN_INTEGRATION", n=unknown)

    @staticmethod
    def _item(offset: int, frame: Frame, line: bytes) -> Item:
        return Item(Position(offset, frame.epoch), frame.last_ms, None, line)

    def close(self) -> None:
        self._reader.close()
