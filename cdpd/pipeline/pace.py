"""The yield budget: the pipeline holds the event loop for at most about a millisecond at a time."""

from __future__ import annotations

from typing import Final

import anyio.lowlevel

from cdpd.clock import Clock

BUDGET: Final = 0.0008
"""Seconds of work after which the loop gets its turn (ARCHITECTURE: at most 1 ms, whatever the work is)."""


class Pace:
    """Measures the work since the loop last had its turn. Between two pieces of work call `rest` when `due`."""

    def __init__(self, clock: Clock) -> None:
        self.monotonic = clock.monotonic
        self.deadline = 0.0
        """On the monotonic clock: work after it has to wait for the loop."""

    def due(self) -> bool:
        """Whether the loop should have its turn now."""
        return self.monotonic() >= self.deadline

    async def rest(self) -> None:
        """Give the loop its turn."""
        await anyio.lowlevel.checkpoint()
        self.deadline = self.monotonic() + BUDGET
