"""What one destination's consumer counts, the same for every destination."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.delivery.verdict import Verdict
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import Outcome
from cdpd.metrics import Metrics


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

    def settled(self, told: Verdict, parked: int) -> None:
        """A batch whose outcome is stored."""
        for code, n in told.skipped.items():
            self._metrics.add(names.SKIPPED, self._destination, code, n=n)
        if told.delivered:
            self._metrics.add(names.DELIVERED, self._destination, n=told.delivered)
            oldest_ms = min(item.at_ms for item in told.done)
            self._age.observe(max(self._clock.now_ms() - oldest_ms, 0) / 1000)
        self.parked(parked)

    def retried(self) -> None:
        """A batch that is to be tried again."""
        self._metrics.add(names.RETRIED, self._destination)

    def parked(self, events: int) -> None:
        if events:
            self._metrics.add(names.PARKED, self._destination, n=events)
