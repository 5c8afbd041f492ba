"""How often a request that got no answer is made again: Google knows no doubles, and may have counted it.

Source: spec/destinations.md §1.3.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from cdpd.destinations.actions import BadEvent, Outcome, TryAgain
from cdpd.event import Event

MOST_RETRIES: Final = 3
_MOST_EVENTS: Final = 10_000


class Patience:
    """Counts each event's time-outs; in memory only: a restart begins anew."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()

    def heed(self, event: Event, outcome: Outcome) -> Outcome:
        """The outcome as it is, or a BadEvent instead of one time-out too many."""
        key = (event.source, event.message_id)
        if not isinstance(outcome, TryAgain):
            if outcome.kind in ("delivered", "skipped", "bad_event"):
                self._counts.pop(key, None)
            return outcome
        if outcome.code != "ETIMEDOUT" or outcome.status is not None:
            return outcome
        count = self._counts.pop(key, 0) + 1
        if count > MOST_RETRIES:
            return BadEvent(
                f"no answer in time, {count} times: Google may have counted it {count} times already"
            )
        self._counts[key] = count
        if len(self._counts) > _MOST_EVENTS:
            self._counts.popitem(last=False)
        return outcome
