"""A destination's cursor: the low-water mark, and the ranges above it that are finished already.

Text form: the position, one `EPOCH.FIRST-END` a range, then `=` and the CRC-32 of all before, separated by spaces; END
is excluded. SQLite has no checksums: without one, a digit that changes on the disk would leave events out unnoticed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

from msgspec import Struct

from cdpd.event import Position


class Range(Struct, frozen=True, order=True):
    """Lines `first` … `end - 1`, as written in that epoch.

    The epoch is kept so that a range taken from another history of the log (a restored backup) is not
    believed: its lines are then sent again.
    """

    first: int
    end: int
    epoch: int

    def __str__(self) -> str:
        return f"{self.epoch:016x}.{self.first}-{self.end}"

    @classmethod
    def parse(cls, text: str) -> Range:
        """The range that `str()` wrote. Raises ValueError."""
        start, _, end = text.partition("-")
        first = Position.parse(start)
        if not end.isdecimal() or int(end) <= first.offset:
            raise ValueError(f"not a range: {text!r} (expected EPOCH.FIRST-END)")
        return cls(first.offset, int(end), first.epoch)


class DeliveryCursor(Struct, frozen=True):
    """Everything before `low` is finished, and the lines of `finished` too."""

    low: Position
    finished: Sequence[Range] = ()

    @property
    def highest(self) -> int:
        """The highest offset that this cursor speaks of."""
        return max([self.low.offset, *(item.end for item in self.finished)])

    def covers(self, position: Position) -> bool:
        """Whether that line is finished."""
        offset, epoch = position.offset, position.epoch
        return offset < self.low.offset or any(
            item.first <= offset < item.end and item.epoch == epoch for item in self.finished
        )

    def without(self, positions: Iterable[Position]) -> DeliveryCursor:
        """The same, and those lines count as finished."""
        lines = [(position.offset, position.epoch) for position in positions if not self.covers(position)]
        for item in self.finished:
            lines += ((offset, item.epoch) for offset in range(item.first, item.end))
        return DeliveryCursor(self.low, ranges_of(lines))

    def __str__(self) -> str:
        text = " ".join([str(self.low), *map(str, self.finished)])
        return f"{text} ={_checksum(text)}"

    @classmethod
    def parse(cls, text: str) -> DeliveryCursor:
        """The cursor that `str()` wrote, or an earlier version, which had no checksum. Raises ValueError."""
        words, marked, checksum = text.partition(" =")
        if marked and checksum != _checksum(words):
            raise ValueError(f"the checksum of {text!r} is wrong")
        low, *ranges = words.split(" ")
        return cls(Position.parse(low), [Range.parse(item) for item in ranges])


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def ranges_of(lines: Iterable[tuple[int, int]]) -> list[Range]:
    """(offset, epoch) of single lines → as few ranges as say the same."""
    out: list[Range] = []
    first = end = epoch = -1
    for offset, its_epoch in sorted(lines):
        if offset == end and its_epoch == epoch:
            end += 1
            continue
        if end > first:
            out.append(Range(first, end, epoch))
        first, end, epoch = offset, offset + 1, its_epoch
    if end > first:
        out.append(Range(first, end, epoch))
    return out
