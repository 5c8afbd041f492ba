"""The event loop's lag: how late it is for a timer, which is what every request and event waits in addition."""

from __future__ import annotations

from typing import Final

from cdpd.clock import Clock
from cdpd.metrics import LOOP_LAG, Metrics

EVERY: Final = 0.5
"""Seconds between two samples."""


async def sample_loop_lag(clock: Clock, metrics: Metrics) -> None:
    """Measure until cancelled."""
    lag = metrics.histogram(LOOP_LAG)
    while True:
        began = clock.monotonic()
        await clock.sleep(EVERY)
        lag.observe(max(clock.monotonic() - began - EVERY, 0.0))
