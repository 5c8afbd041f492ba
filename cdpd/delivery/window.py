"""The window: what has been read of `events` and is not finished; it tells the cursor. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterable

from cdpd.delivery.cursor import DeliveryCursor, Range, ranges_of
from cdpd.delivery.lanes import Item
from cdpd.event import Position


class Window:
    """Starts from a stored cursor; `read` and `finished` move it on."""

    def __init__(self, cursor: DeliveryCursor) -> None:
        self._read_to = cursor.low
        self._open: dict[int, Item] = {}  # in the order of the log
        self._bytes = 0
        self._done: dict[int, int] = {}  # offset → epoch of finished events above the low-water mark
        self._stored = sorted(cursor.finished)

    @property
    def events(self) -> int:
        """Events that are read and not finished."""
        return len(self._open)

    @property
    def bytes(self) -> int:
        """Their size."""
        return self._bytes

    @property
    def read_to(self) -> Position:
        """Everything before this has been read."""
        return self._read_to

    @property
    def oldest(self) -> Item | None:
        """The first event that is not finished."""
        return next(iter(self._open.values()), None)

    @property
    def spread(self) -> int:
        """Finished events above the low-water mark: what the cursor has to name."""
        return len(self._done)

    def was_finished(self, offset: int, epoch: int) -> bool:
        """Whether the stored cursor already has this line as finished; ask in the order of the log."""
        stored = self._stored
        while stored and stored[0].end <= offset:
            stored.pop(0)
        for item in stored:
            if item.first > offset:
                break
            if offset < item.end and item.epoch == epoch:
                self._done[offset] = epoch
                return True
        return False

    def add(self, item: Item) -> None:
        """An event to be delivered; in the order of the log."""
        self._open[item.position.offset] = item
        self._bytes += len(item.line)

    def read(self, end: Position) -> None:
        """Everything before `end` has been read and added where it is to be delivered."""
        self._read_to = end

    def finish(self, items: Iterable[Item]) -> None:
        """These need not be sent again."""
        for item in items:
            del self._open[item.position.offset]
            self._bytes -= len(item.line)
            self._done[item.position.offset] = item.position.epoch

    def cursor(self) -> DeliveryCursor:
        """What to store: from here nothing is lost and nothing that is finished is sent again."""
        oldest = self.oldest
        low = self._read_to if oldest is None else oldest.position
        if self._done:
            if oldest is None:
                self._done.clear()
            else:
                below = [offset for offset in self._done if offset < low.offset]
                for offset in below:
                    del self._done[offset]
        # Ranges that reading has not come to yet still hold.
        unread = [item for item in self._stored if item.end > self._read_to.offset]
        finished: list[Range] = ranges_of(self._done.items())
        for item in unread:
            first = max(item.first, self._read_to.offset)
            finished.append(Range(first, item.end, item.epoch))
        return DeliveryCursor(low, finished)
