"""How many events there were, in slots of five minutes: what windows of time are summed from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

SLOT_MS: Final = 300_000

What = Literal["received", "discarded", "delivered", "parked"]
"""Of a source the first two; of a destination the others, `parked` as they are parked."""
Row = tuple[What, str, int, int]
"""What, of whom, the slot (times SLOT_MS since the epoch), events."""


class Counts:
    """Made of the rows that are stored. Bounded by `forget_before`."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._series: dict[tuple[What, str], dict[int, int]] = {}
        self._changed: set[tuple[What, str, int]] = set()
        self._forgotten: set[What] = set()
        for what, name, slot, events in rows:
            self._series.setdefault((what, name), {})[slot] = events

    def add(self, what: What, name: str, at_ms: int, events: int) -> None:
        """Count so many more at that time."""
        series = self._series.setdefault((what, name), {})
        slot = at_ms // SLOT_MS
        series[slot] = series.get(slot, 0) + events
        self._changed.add((what, name, slot))

    def latest(self, what: What, name: str, over: float, now_ms: int, *, within: bool = False) -> int:
        """Events of the last `over` seconds, with or (`within`) without the slot in which that began."""
        first = (now_ms - round(over * 1000)) // SLOT_MS
        return self._between(what, name, first + within, None)

    def whole(self, what: What, name: str, over: float, now_ms: int, *, back: int = 0) -> int:
        """Events of `over` seconds, in slots that are over; `back`: so many such windows earlier."""
        slots = -(-round(over * 1000) // SLOT_MS)
        end = now_ms // SLOT_MS - slots * back
        return self._between(what, name, end - slots, end)

    def _between(self, what: What, name: str, first: int, end: int | None) -> int:
        series = self._series.get((what, name), {})
        return sum(n for slot, n in series.items() if slot >= first and (end is None or slot < end))

    # -- storing -----------------------------------------------------------------------------------------

    def changed(self) -> Iterator[Row]:
        """What is to be stored: how many there are now."""
        for what, name, slot in self._changed:
            events = self._series.get((what, name), {}).get(slot)
            if events is not None:
                yield what, name, slot, events

    def forgotten(self) -> list[What]:
        """What is not to be stored any more, before what has changed is."""
        return sorted(self._forgotten)

    def stored(self) -> None:
        """All that is stored."""
        self._changed.clear()
        self._forgotten.clear()

    def forget_before(self, ms: int) -> None:
        """Nobody looks back further than that."""
        first = ms // SLOT_MS
        for key, series in list(self._series.items()):
            kept = {slot: n for slot, n in series.items() if slot >= first}
            if not kept:
                del self._series[key]
            elif len(kept) < len(series):
                self._series[key] = kept

    def forget(self, what: What) -> None:
        """All of it: it is counted anew."""
        self._forgotten.add(what)
        for key in [key for key in self._series if key[0] == what]:
            del self._series[key]
