"""How many bytes of bodies and lines are in memory, over all connections."""

from __future__ import annotations


class InFlight:
    """The sum; `limit` may change while it runs."""

    __slots__ = ("limit", "total")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0


class Charge:
    """One request's share; give it back with `release`."""

    __slots__ = ("_all", "_mine")

    def __init__(self, all_of_them: InFlight) -> None:
        self._all = all_of_them
        self._mine = 0

    def fits(self, size: int) -> bool:
        """Whether so many bytes more would be within the limit."""
        return self._all.total + size <= self._all.limit

    def add(self, size: int) -> bool:
        """Take so many bytes more; False, and nothing taken, where that is over the limit."""
        if self._all.total + size > self._all.limit:
            return False
        self._all.total += size
        self._mine += size
        return True

    def release(self) -> None:
        """Give everything back."""
        self._all.total -= self._mine
        self._mine = 0
