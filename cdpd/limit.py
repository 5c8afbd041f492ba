"""Rate limits: who comes too often is told when to come again.

The generic cell rate algorithm: one number for each limited party, the moment at which all that it has sent would be
over at the steady rate. A whole period's count may come at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final

from cdpd.config.rate import Rate

MOST: Final = 100_000
"""Parties that are remembered; beyond it those that could come again anyway are forgotten first."""
LONGEST: Final = 300
"""Seconds that a client is told to wait at most: SDKs listen to no more (wire.md §8)."""


class Limit:
    """The counters of any number of parties, on a clock of seconds that never goes back."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._over: dict[str, float] = {}

    def take(self, party: str, rate: Rate) -> int | None:
        """Count one: None, or the whole seconds until the next may come (then nothing is counted)."""
        now = self._monotonic()
        step = rate.seconds / rate.count
        over = max(self._over.get(party, now), now) + step
        late = over - now - rate.seconds
        if late > step * 1e-6:
            return min(max(math.ceil(late), 1), LONGEST)
        if len(self._over) >= MOST and party not in self._over:
            self._forget(now)
        self._over[party] = over
        return None

    def keep(self, parties: Collection[str]) -> None:
        """Forget all others."""
        self._over = {party: over for party, over in self._over.items() if party in parties}

    def _forget(self, now: float) -> None:
        self._over = {party: over for party, over in self._over.items() if over > now}
        if len(self._over) >= MOST:  # all of them are busy: the first half starts anew
            self._over = dict(list(self._over.items())[MOST // 2 :])
