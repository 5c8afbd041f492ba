"""The part of `received` that is looked at: in order, or evenly sampled, without what was turned away back then.

What ingest had to refuse, and what hooks that cannot be rehearsed (dedup) turned away, is left out and counted: of
these nothing can be said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from cdpd.event import Position
from cdpd.log.folder import StreamFolder
from cdpd.log.reader import Frame, Reader
from cdpd.pipeline.rehearsal import StoredLine

_A_STRETCH: Final = 100
_MOST_STRETCHES: Final = 1000
_LINES: Final = 1000
_NEVER: Final = 2**63 - 1


class Bounds(Struct, frozen=True):
    """Of `received`: from an offset or a log time on (ms), up to another, that one excluded. None: no bound."""

    from_offset: int | None = None
    from_ms: int | None = None
    to_offset: int | None = None
    to_ms: int | None = None


class Stretch(Struct, frozen=True):
    """Offsets [first, end)."""

    first: int
    end: int


class Plan(Struct, frozen=True):
    """What is going to be read."""

    first: int
    end: int
    """Offsets that the bounds enclose."""
    stretches: list[Stretch]

    @property
    def sampled(self) -> bool:
        """Whether lines between are left out."""
        return len(self.stretches) > 1 or any(s.end - s.first < self.end - self.first for s in self.stretches)

    @property
    def lines(self) -> int:
        """How many are read."""
        return sum(stretch.end - stretch.first for stretch in self.stretches)


def plan(received: StreamFolder, bounds: Bounds, limit: int | None) -> Plan:
    """What to read; with a `limit` so many lines at most, in stretches that lie evenly over it all. Raises LogError."""
    first, end = received.begin(), received.end().offset
    if bounds.from_offset is not None:
        first = max(first, bounds.from_offset)
    if bounds.from_ms is not None:
        from_ms = bounds.from_ms
        first = max(first, _first(received, from_ms, lambda frame: frame.last_ms >= from_ms))
    if bounds.to_offset is not None:
        end = min(end, bounds.to_offset)
    if bounds.to_ms is not None:
        to_ms = bounds.to_ms
        end = min(end, _first(received, to_ms, lambda frame: frame.first_ms >= to_ms))
    first = min(first, end)
    return Plan(first, end, _stretches(first, end, limit))


def _first(received: StreamFolder, ms: int, reached: Callable[[Frame], bool]) -> int:
    """The offset of the first frame around that time or later that has reached it; else the end."""
    reader = received.reader(received.at_time(ms))
    try:
        while (piece := reader.read()) is not None:
            for frame in piece.frames:
                if reached(frame):
                    return frame.base
        return reader.position.offset
    finally:
        reader.close()


def _stretches(first: int, end: int, limit: int | None) -> list[Stretch]:
    total = end - first
    if limit is None or total <= limit:
        return [Stretch(first, end)] if total else []
    count = max(1, min(_MOST_STRETCHES, limit // _A_STRETCH))
    starts = [first + total * i // count for i in range(count)]
    lengths = [limit // count + (i < limit % count) for i in range(count)]
    return [Stretch(start, start + length) for start, length in zip(starts, lengths, strict=True)]


class Span:
    """Reads what a plan says. `left_out_by`: hooks that cannot be rehearsed."""

    def __init__(
        self,
        received: StreamFolder,
        discarded: StreamFolder | None,
        planned: Plan,
        left_out_by: Collection[str],
    ) -> None:
        self.left_out: Counter[str] = Counter()
        """Hooks that are not rehearsed → lines that they turned away."""
        self.holes = 0
        """Events that were deleted."""
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        """Log times of what was read."""
        self._received = received
        self._plan = planned
        self._turned_away = _TurnedAway(discarded, frozenset(left_out_by))

    def read(self) -> Iterator[tuple[list[StoredLine], int]]:
        """Lines, up to about a thousand at once, and how many offsets they are of. Raises LogError."""
        reader = self._received.reader()
        try:
            for stretch in self._plan.stretches:
                reader.seek(self._received.at_offset(stretch.first))
                yield from self._stretch(reader, stretch)
        finally:
            reader.close()
            self._turned_away.close()

    def _stretch(self, reader: Reader, stretch: Stretch) -> Iterator[tuple[list[StoredLine], int]]:
        while reader.position.offset < stretch.end:
            piece = reader.read(min(_LINES, stretch.end - stretch.first))
            if piece is None:
                return
            lines: list[StoredLine] = []
            offsets = 0
            for frame in piece.frames:
                count = max(min(frame.count, stretch.end - frame.base), 0)
                offsets += count
                if count:
                    self._take(frame, count, lines)
                if len(lines) >= _LINES:  # a frame may be as long as it likes
                    yield lines, offsets
                    lines, offsets = [], 0
            yield lines, offsets

    def _take(self, frame: Frame, count: int, lines: list[StoredLine]) -> None:
        if self.first_ms is None:
            self.first_ms = frame.first_ms
        self.last_ms = frame.last_ms
        gone = self._turned_away.within(frame.base, frame.base + count, frame.first_ms)
        for i in range(count):
            text, offset = frame.lines[i], frame.base + i
            if not text:
                self.holes += 1
            elif offset in gone:
                self.left_out[gone[offset]] += 1
            else:
                lines.append(StoredLine(Position(offset, frame.epoch), text, frame.last_ms))


class _Line(Struct):
    """What is read of a line of `discarded`."""

    by: str = ""
    code: str = ""
    received: int = -1


_decode: Final = msgspec.json.Decoder(_Line).decode
_DUPLICATE: Final = "duplicate"


class _TurnedAway:
    """Follows `discarded`, whose lines are in the order of `received`, beside it."""

    def __init__(self, folder: StreamFolder | None, by: frozenset[str]) -> None:
        self._folder = folder
        self._by = by
        self._reader: Reader | None = None
        self._ahead: list[_Line] = []
        """Read already, of later lines; the next one last."""

    def within(self, first: int, end: int, first_ms: int) -> dict[int, str]:
        """Offsets of [first, end) that hooks like these turned away → the hook. `first_ms`: log time of `first`."""
        found: dict[int, str] = {}
        if self._folder is None:
            return found
        if self._reader is None:
            # A line is turned away after it was received.
            self._reader = self._folder.reader(self._folder.at_time(first_ms))
        while (line := self._next()) is not None:
            if line.received >= end:
                self._ahead.append(line)
                break
            if line.received >= first and (line.code == _DUPLICATE or line.by in self._by):
                found[line.received] = line.by
        return found

    def _next(self) -> _Line | None:
        if not self._ahead:
            assert self._reader is not None
            piece = self._reader.read()
            if piece is None:
                return None
            self._ahead = [_decode(text) for *_, text in piece.records()]
            self._ahead.reverse()
            return self._next()
        return self._ahead.pop()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
