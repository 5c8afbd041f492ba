"""A destination's pace: how many batches go at once, and how many events and batches a second.

- At once: the destination's own `concurrency` at most. A rate limit or a time-out halves it; what comes through gives
  a sixteenth back each round (additive increase, multiplicative decrease).
- A second: `max_events_per_second` and `max_requests_per_second` of its configuration.
Times are passed in, monotonic seconds; only `turn` waits.
"""

from __future__ import annotations

import math
from typing import Final

from cdpd.clock import Clock
from cdpd.delivery.bucket import Bucket

LEAST: Final = 1 / 16
"""The share of its most that a destination keeps, however often it is told to slow down."""
STEP: Final = 1 / 16
"""What a round of batches that came through gives back."""
SLICE: Final = 0.1
"""Seconds: events of so long may go together where `max_requests_per_second` asks for no larger batches."""


class Pace:
    """See the module."""

    def __init__(
        self, most: int, *, events: float | None = None, requests: float | None = None, now: float
    ) -> None:
        """`most`: calls of `deliver` at once; `events`, `requests`: the most a second, None for any number."""
        self.most = most
        self.share = 1.0
        """How much of what it may do at once a destination does at present."""
        self._halved_at = -math.inf
        self._requests = None if requests is None else Bucket.full(requests, 1.0, now)
        self._events = None
        if events is not None:
            # As many events as keep the rate with as few requests as are allowed, and always at least one.
            seconds = SLICE if requests is None else max(1 / requests, SLICE)
            self._events = Bucket.full(events, max(events * seconds, 1.0), now)

    # -- at once -------------------------------------------------------------------------------------------

    @property
    def calls(self) -> int:
        """Calls of `deliver` that may run at once."""
        return max(int(self.most * self.share), 1)

    def slower(self, sent_at: float, now: float) -> None:
        """A batch was too much. Batches that were sent before it got slower say nothing new."""
        if sent_at > self._halved_at:
            self.share = max(self.share / 2, LEAST)
            self._halved_at = now

    def faster(self) -> None:
        """A batch came through."""
        if self.share < 1:
            self.share = min(self.share + STEP / self.calls, 1.0)

    # -- a second ------------------------------------------------------------------------------------------

    def wait(self, events: int, now: float) -> float:
        """Seconds until a batch of so many events may go; 0: now."""
        waits = [0.0]
        if self._requests is not None:
            waits.append(self._requests.wait(1, now))
        if self._events is not None:
            waits.append(self._events.wait(events, now))
        return max(waits)

    def room(self, now: float, most: int) -> int:
        """How many events a batch may have, `most` at most, now that one may go."""
        return most if self._events is None else min(most, max(int(self._events.has(now) + 1e-9), 1))

    async def turn(self, events: int, clock: Clock) -> None:
        """Wait until a batch of so many events may go, and take it."""
        while wait := self.wait(events, clock.monotonic()):
            await clock.sleep(wait)
        self.take(events, clock.monotonic())

    def take(self, events: int, now: float) -> None:
        """A batch of so many events goes now."""
        if self._requests is not None:
            self._requests.take(1, now)
        if self._events is not None:
            self._events.take(events, now)
