"""How often tokens may be asked for: the generic cell rate algorithm, one number for each limited party."""

from __future__ import annotations

import math
from collections.abc import Callable

from cdpd.config.rate import Rate


class Limit:
    """One rate for each party; a whole period's count may come at once."""

    def __init__(self, rate: Rate, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._step = rate.seconds / rate.count
        self._monotonic = monotonic
        self._over: dict[str, float] = {}
        """When all that a party has asked for would be over, at the steady rate."""

    def take(self, party: str) -> int | None:
        """Count one: None, or the whole seconds until the next may come (then nothing is counted)."""
        now = self._monotonic()
        over = max(self._over.get(party, now), now) + self._step
        late = over - now - self._rate.seconds
        if late > self._step * 1e-6:
            return max(math.ceil(late), 1)
        self._over[party] = over
        return None

    def keep(self, parties: frozenset[str]) -> None:
        """Forget all others."""
        self._over = {party: over for party, over in self._over.items() if party in parties}
