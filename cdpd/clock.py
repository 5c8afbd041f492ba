"""Time, passed in: the wall clock, the monotonic clock and sleeping, so that tests control all three."""

from __future__ import annotations

import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """What code that needs the time is given. Wall times are milliseconds since the epoch, UTC."""

    def now_ms(self) -> int:
        """The wall clock; it can jump in both directions."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back, for durations and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long on the monotonic clock."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    monotonic = staticmethod(time.monotonic)  # asked for after every hook: no call in between

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
