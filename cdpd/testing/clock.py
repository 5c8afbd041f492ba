"""A clock that tests hold in their hands."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class FakeClock:
    """Stands still until `advance`; sleepers wake in order of their deadlines."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self.wall_ms = start_ms
        self.elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.elapsed + seconds, next(self._order), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many tasks wait for this clock."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    @property
    def next_wake(self) -> float | None:
        """Seconds until the first sleeper is due, or None."""
        pending = [due for due, _, woken in self._sleepers if not woken.done()]
        return min(pending) - self.elapsed if pending else None

    async def advance(self, seconds: float) -> None:
        """Let that much time pass, on both clocks, waking whoever is due, and let them run."""
        target = self.elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, woken = heapq.heappop(self._sleepers)
            self.wall_ms += round((due - self.elapsed) * 1000)
            self.elapsed = due
            if not woken.done():
                woken.set_result(None)
            for _ in range(20):
                await asyncio.sleep(0)
        self.wall_ms += round((target - self.elapsed) * 1000)
        self.elapsed = target
        for _ in range(20):
            await asyncio.sleep(0)
