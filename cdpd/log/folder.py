"""A stream's folder as anybody sees it, in any process: places, segments, reading, following, verifying.

Takes no lock and writes nothing; the mark file tells how far one may read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Final

import anyio
from msgspec import Struct

from cdpd.event import BEGINNING, Position
from cdpd.log.files import Files, OsFiles
from cdpd.log.frame import COMPACT
from cdpd.log.index import Index, build_index, sealed_index
from cdpd.log.lineage import known_lineage, position_of
from cdpd.log.mark import Mark, read_mark
from cdpd.log.reader import Reader, Slice
from cdpd.log.segment import read_opening, segment_bases, segment_path
from cdpd.log.verify import Finding, Verified, verify

_SOONEST: Final = 0.002
_LATEST: Final = 0.05
"""Seconds between two looks at the mark: soon after the last line, then less and less often."""


class SegmentInfo(Struct, frozen=True):
    """A segment: offsets [base, end), its size, and the log times of its first and last frame."""

    path: Path
    base: int
    end: int
    bytes: int
    first_ms: int
    last_ms: int
    sealed: bool
    recompressed: bool = False


class StreamFolder:
    """Reads one stream's folder."""

    def __init__(self, path: Path, files: Files | None = None) -> None:
        self.path = path
        self._files: Files = files or OsFiles()

    def end(self) -> Position:
        """The durable end: the position of somebody who has read everything."""
        mark = read_mark(self._files, self.path)
        return BEGINNING if mark is None else mark.position

    def begin(self) -> int:
        """The first offset that is kept."""
        bases = segment_bases(self._files, self.path)
        return bases[0] if bases else self.end().offset

    def at_offset(self, offset: int) -> Position:
        """The position of a reader whose next line is `offset`, or the nearest that is kept."""
        mark = read_mark(self._files, self.path)
        bases = self._bases(mark)
        if mark is None or not bases:
            return BEGINNING
        offset = min(max(offset, bases[0]), mark.end)
        if offset == mark.end:
            return mark.position
        return position_of(offset, known_lineage(self._files, self.path, bases))

    def at_time(self, ms: int) -> Position:
        """A position at or a bit before the first line of that log time (or later): nothing of it is missed."""
        mark = read_mark(self._files, self.path)
        if mark is None or mark.last_ms < ms:
            return BEGINNING if mark is None else mark.position
        for info, index in self._indexed(mark):
            if index is not None and info.last_ms >= ms:
                return self.at_offset(index.seek_time(ms).offset)
        return mark.position

    def reader(self, position: Position = BEGINNING) -> Reader:
        """A reader from `position` up to the durable end."""
        return Reader(self.path, position, files=self._files)

    async def follow(self, position: Position) -> AsyncIterator[Slice]:
        """Everything after `position`, then what is appended, without end. Raises as `Reader.read` does."""
        reader = self.reader(position)
        pause = _SOONEST
        try:
            while True:
                piece = reader.read()
                if piece is None:
                    await anyio.sleep(pause)
                    pause = min(pause * 2, _LATEST)
                else:
                    pause = _SOONEST
                    yield piece
        finally:
            reader.close()

    def segments(self) -> list[SegmentInfo]:
        """The segments, oldest first, as far as they are durable."""
        mark = read_mark(self._files, self.path)
        return [] if mark is None else [info for info, _ in self._indexed(mark)]

    def verify(
        self, first: int = 0, last: int | None = None, verified: Verified | None = None
    ) -> Iterator[Finding]:
        """Read everything that is durable (of segments with lines of [first, last)): what is wrong, and where."""
        return verify(self._files, self.path, first, last, verified)

    def _bases(self, mark: Mark | None) -> list[int]:
        if mark is None or not mark.size:
            return []
        return [base for base in segment_bases(self._files, self.path) if base <= mark.segment]

    def _indexed(self, mark: Mark) -> Iterator[tuple[SegmentInfo, Index | None]]:
        bases = self._bases(mark)
        if not bases:
            return
        for base, end in zip_longest(bases, bases[1:], fillvalue=mark.end):
            path = segment_path(self.path, base)
            sealed = base != bases[-1]
            try:
                if sealed:
                    index = sealed_index(self._files, self.path, base, end)
                    file = self._files.open(path)
                    try:
                        size = file.size()
                    finally:
                        file.close()
                else:
                    index, size = build_index(self._files, self.path, base, end, mark.size), mark.size
            except FileNotFoundError:
                continue  # removed by retention while we look
            first_ms, last_ms = (0, 0) if index is None else (index.first_ms, index.last_ms)
            opening = read_opening(self._files, self.path, base) if sealed else None
            compact = opening is not None and bool(opening.header.flags & COMPACT)
            yield SegmentInfo(path, base, end, size, first_ms, last_ms, sealed, compact), index
