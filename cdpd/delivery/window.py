"""The window: events that a destination has read from the log and not finished with, in their order.

Pure bookkeeping, no I/O. Events run in lanes: within a lane none overtakes another; a lane that waits for a
retry does not hold the others. What is finished above the low-water mark is remembered, so that it is not sent
again after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from cdpd.delivery.route import Peek
from cdpd.delivery.state import Progress
from cdpd.event import Position

Ordering = Literal["user", "strict", "none"]

MOST_ABOVE: Final = 10_000
"""So many events may be finished above the low-water mark; then all wait for the oldest."""


class Item(Struct, eq=False):
    """An event on its way to a destination."""

    before: Position
    """The position right before it: where one would have to read on to get it again."""
    offset: int
    line: bytes
    seen: Peek
    log_ms: int
    """Log time."""
    attempts: int = 0
    not_before: float = 0.0
    """On the monotonic clock: when it may be tried again."""
    limit: int = 0
    """Not to be sent together with more than so many (0: no bound of its own): its request was too large."""


class Window:
    """The events between the low-water mark and how far has been read."""

    def __init__(self, ordering: Ordering, progress: Progress) -> None:
        self._ordering = ordering
        self._items: list[Item] = []
        self._read = progress.position
        self._above: set[int] = {offset for begin, end in progress.ranges for offset in range(begin, end)}
        self._bytes = 0

    # -- filling -------------------------------------------------------------------------------------------

    def add(self, item: Item) -> None:
        """The next event that is meant for the destination."""
        self._items.append(item)
        self._bytes += len(item.line)

    def finished(self, offset: int) -> bool:
        """Whether this event was finished before a restart."""
        return offset in self._above

    def read_up_to(self, position: Position) -> None:
        """Everything before this has been looked at."""
        self._read = position

    def room(self, events: int, size: int) -> bool:
        """Whether more should be read, to have `events` and `size` bytes ready."""
        return len(self._items) < events and self._bytes < size and len(self._above) < MOST_ABOVE

    # -- what is to be done --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._items)

    @property
    def oldest(self) -> Item | None:
        """The first event that is not finished."""
        return self._items[0] if self._items else None

    def next_wake(self, now: float) -> float | None:
        """When the first waiting event may be tried again (monotonic); None where none waits."""
        return min((item.not_before for item in self._items if item.not_before > now), default=None)

    def lane(self, item: Item) -> object:
        """What the item's order is kept within."""
        if self._ordering == "strict":
            return ""
        return (item.seen.lane or item.offset) if self._ordering == "user" else item.offset

    def take(self, now: float, max_events: int, max_bytes: int) -> list[Item]:
        """The next batch: as many as fit, in order, none before an unfinished one of its lane. Empties nothing."""
        batch: list[Item] = []
        waiting: set[object] = set()
        size = 0
        for item in self._items:
            if item.not_before > now:
                waiting.add(self.lane(item))
                if self._ordering == "strict":
                    break
                continue
            if waiting and self.lane(item) in waiting:
                continue
            if item.limit:
                max_events = min(max_events, item.limit)
            if len(batch) >= max_events or (batch and size + len(item.line) > max_bytes):
                break
            batch.append(item)
            size += len(item.line)
        return batch

    # -- finishing -----------------------------------------------------------------------------------------

    def finish(self, items: Sequence[Item]) -> None:
        """These are done with: delivered or parked."""
        if not items:
            return
        done = {item.offset for item in items}
        self._bytes -= sum(len(item.line) for item in items)
        self._items = [item for item in self._items if item.offset not in done]
        self._above |= done
        low = self.progress_offset
        if not self._items:
            self._above.clear()
        else:
            self._above = {offset for offset in self._above if offset >= low}

    @property
    def progress_offset(self) -> int:
        """The low-water mark."""
        return self._items[0].offset if self._items else self._read.offset

    def progress(self) -> Progress:
        """What to keep: read on from there, leaving out the ranges."""
        if not self._items:
            return Progress(self._read)
        return Progress(self._items[0].before, _ranges(self._above))


def _ranges(offsets: set[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    begin = end = -1
    for offset in sorted(offsets):
        if offset == end:
            end += 1
            continue
        if begin >= 0:
            ranges.append((begin, end))
        begin, end = offset, offset + 1
    if begin >= 0:
        ranges.append((begin, end))
    return ranges
