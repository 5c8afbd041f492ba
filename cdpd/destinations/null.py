"""Null: takes every event and does nothing with it; delivery counts them. For measuring and for trying things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationConfig
from cdpd.destinations.outcome import Delivered, Outcome

_DONE: Final = Delivered()


class Null(Destination):
    """Null: takes every event and does nothing with it."""

    name = "Null"
    limits = BatchLimits(max_events=1000)

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        pass

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        return [_DONE] * len(batch.events)
