"""Rate limits by source and by client address: who comes too often is told when to come again.

The generic cell rate algorithm: one number for each limited party, the moment at which all that it has sent would
be over at the steady rate. A whole period's count may come at once.
"""

from __future__ import annotations

import ipaddress
import math
from typing import Final

from cdpd.clock import Clock
from cdpd.config.rate import Rate

MOST: Final = 100_000
"""Addresses that are remembered; beyond it those that could send again anyway are forgotten first."""
LONGEST: Final = 300
"""Seconds that a client is told to wait at most: SDKs listen to no more (wire.md §8)."""


class Rates:
    """The counters of all limits; outlives reloads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[tuple[str, str], float] = {}

    def take(self, source: str, rate: Rate, address: str = "") -> int | None:
        """Count one request: None, or the seconds until the next may come (and nothing is counted)."""
        now = self._clock.monotonic()
        party = (source, _network(address) if address else "")
        due = max(self._due.get(party, now), now)
        step = rate.seconds / rate.count
        late = due + step - now - rate.seconds
        if late > 1e-9 * rate.seconds:
            return min(max(math.ceil(late), 1), LONGEST)
        if party not in self._due and len(self._due) >= MOST:
            self._forget(now)
        self._due[party] = due + step
        return None

    def _forget(self, now: float) -> None:
        self._due = {party: due for party, due in self._due.items() if due > now}
        if len(self._due) >= MOST:  # all of them are busy: the first half starts anew
            self._due = dict(list(self._due.items())[MOST // 2 :])


def _network(address: str) -> str:
    """An IPv6 client has a /64 to itself."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, 64), strict=False))
    except ValueError:
        return address
