"""Null: takes every event and only counts it, for measuring and for trying things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationEnv
from cdpd.destinations.outcome import Delivered, Outcome


class Null(Destination):
    """Null: takes every event and only counts it."""

    name = "Null"
    limits = BatchLimits(max_events=5000, max_bytes=16 * 1024 * 1024)

    def __init__(self, config: Any, env: DestinationEnv) -> None:
        super().__init__(config, env)
        self.events = 0

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        self.events += len(batch.events)
        return [Delivered()] * len(batch.events)

    async def check(self) -> Checked:
        return Checked("ok", "there is nothing to connect to")
