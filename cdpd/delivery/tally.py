"""What one destination's consumer counts, the same for every destination."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.delivery.verdict import Verdict
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import Outcome
from cdpd.metrics import Metrics

UNREADABLE: Final = "unreadable"
"""What a line that is no event is parked for."""


class Tally:
    """The metrics of one destination."""

    def __init__(self, destination: str, metrics: Metrics, clock: Clock) -> None:
        self._destination = destination
        self._metrics = metrics
        self._clock = clock
        self._seconds = metrics.histogram(names.DELIVERY_SECONDS, destination)
        self._age = metrics.histogram(names.DELIVERED_AGE, destination)

    @property
    def delivered(self) -> int:
        """Events since the daemon's start."""
        return int(self._metrics.get(names.DELIVERED, self._destination))

    def timed(
        self, deliver: Callable[[Batch], Awaitable[Sequence[Outcome]]]
    ) -> Callable[[Batch], Awaitable[Sequence[Outcome]]]:
        """The same, and each call is measured."""

        async def call(batch: Batch) -> Sequence[Outcome]:
            began = self._clock.monotonic()
            try:
                return await deliver(batch)
            finally:
                self._seconds.observe(self._clock.monotonic() - began)

        return call

    def settled(self, told: Verdict) -> None:
        """A batch whose outcome is stored."""
        for code, n in told.skipped.items():
            self._metrics.add(names.SKIPPED, self._destination, code, n=n)
        if told.delivered:
            self._metrics.add(names.DELIVERED, self._destination, n=told.delivered)
            oldest_ms = min(item.at_ms for item in told.done)
            self._age.observe(max(self._clock.now_ms() - oldest_ms, 0) / 1000)
        if told.tries or told.limits or told.slow:
            self._metrics.add(names.RETRIED, self._destination)
        if told.limits or told.slow:
            self._metrics.add(names.RATE_LIMITED, self._destination)
        for refused in told.refused:
            self.parked(refused.kind, 1)

    def parked(self, kind: str, events: int) -> None:
        """Events were parked for this: a class of outcomes, or UNREADABLE."""
        self._metrics.add(names.PARKED, self._destination, kind, n=events)
