"""A configured destination and what runs for it."""

from __future__ import annotations

import anyio
import msgspec
from msgspec import Struct

from cdpd.delivery.consumer import Consumer
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.making import Made
from cdpd.delivery.paused import Paused


class Slot(Struct, eq=False):
    """One `[destinations.NAME]` at work, or not."""

    name: str
    made: Made
    cursor: DeliveryCursor | None = None
    """As stored, while no consumer runs."""
    paused: Paused | None = None
    """By hand."""
    consumer: Consumer | None = None
    problem: str = ""
    stopping: anyio.Event = msgspec.field(default_factory=anyio.Event)
    ended: anyio.Event | None = None
    """None: was never started."""
    scope: anyio.CancelScope = msgspec.field(default_factory=lambda: anyio.CancelScope(shield=True))

    def same_as(self, other: Slot) -> bool:
        """Whether nothing changed that a consumer would notice."""
        mine, theirs = (msgspec.structs.replace(slot.made.config, was=None) for slot in (self, other))
        return self.made.kind is other.made.kind and mine == theirs

    @property
    def may_run(self) -> bool:
        """Whether a consumer is wanted."""
        return self.made.config.enabled and self.paused is None

    @property
    def at_rest(self) -> str:
        """What it is while no consumer runs."""
        if not self.made.config.enabled:
            return "disabled"
        if self.paused is not None:
            return "paused by hand"
        return "stopped" if self.problem else "starting"

    @property
    def committed(self) -> DeliveryCursor:
        """The cursor as stored."""
        if self.consumer is not None:
            return self.consumer.committed
        assert self.cursor is not None  # it is begun before anybody sees the slot
        return self.cursor
