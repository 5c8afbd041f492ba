"""The sampler of the loop's lag."""

from __future__ import annotations

import anyio
import pytest

from cdpd.metrics import LOOP_LAG, Metrics
from cdpd.scrape.loop_lag import sample_loop_lag
from tests.clock import FakeClock


class HeldUp(FakeClock):
    """A clock whose sleepers wake as late as is said, one after the other; then never."""

    def __init__(self, *late: float) -> None:
        super().__init__()
        self.late = list(late)
        self.over = anyio.Event()

    async def sleep(self, seconds: float) -> None:
        if not self.late:
            self.over.set()
            await anyio.sleep_forever()
        self.elapsed += seconds + self.late.pop(0)


async def test_a_loop_that_is_held_up_shows_as_lag() -> None:
    clock, metrics = HeldUp(0.0, 0.2, -0.001), Metrics()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sample_loop_lag, clock, metrics)
        await clock.over.wait()
        tasks.cancel_scope.cancel()
    lag = metrics.histogram(LOOP_LAG)
    assert sum(lag.counts) == 3
    assert lag.sum == pytest.approx(0.2), "a timer that comes too early is no lag"
