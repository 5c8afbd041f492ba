"""A configured destination and what runs for it."""

from __future__ import annotations

import anyio
import msgspec
from msgspec import Struct

from cdpd.delivery.consumer import Consumer
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.making import Made


class Slot(Struct, eq=False):
    """One `[destinations.NAME]` at work, or not."""

    name: str
    made: Made
    cursor: DeliveryCursor | None = None
    """As stored, while no consumer runs."""
    consumer: Consumer | None = None
    problem: str = ""
    stopping: anyio.Event = msgspec.field(default_factory=anyio.Event)
    ended: anyio.Event | None = None
    """None: was never started."""
    scope: anyio.CancelScope = msgspec.field(default_factory=lambda: anyio.CancelScope(shield=True))

    def same_as(self, other: Slot) -> bool:
        return self.made == other.made

    @property
    def committed(self) -> DeliveryCursor:
        """The cursor as stored."""
        if self.consumer is not None:
            return self.consumer.committed
        assert self.cursor is not None  # it is begun before anybody sees the slot
        return self.cursor
