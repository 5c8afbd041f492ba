"""Is an event meant for a destination? The stages 10 to 15 of spec/connections.md §1 that need no mapping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw, Struct

from cdpd.delivery.integrations import FILTERED, decide
from cdpd.destinations.contract import Destination, DestinationConfig

UNSUPPORTED: Final = "UNSUPPORTED_EVENT_TYPE"
NOT_CONNECTED: Final = ""
"""Of a source that is not connected: not counted, as if there were no such event."""


class Peek(Struct, rename="camel"):
    """What routing looks at; everything else stays undecoded."""

    type: object = None
    project_id: object = None
    user_id: object = None
    anonymous_id: object = None
    message_id: object = None
    integrations: Raw | None = None

    @property
    def lane(self) -> str:
        """Events of one lane are delivered in order: one user's."""
        return str(self.user_id or self.anonymous_id or "")


peek: Final[Callable[[bytes], Peek]] = msgspec.json.Decoder(Peek).decode


class Route:
    """The rules of one destination instance."""

    def __init__(self, destination: type[Destination], config: DestinationConfig) -> None:
        self._name = destination.name
        self._supports = destination.supports
        self._obeys = destination.obeys_integrations
        self._by_default = not destination.opt_in
        self._sources = None if config.sources is None else frozenset(config.sources)

    def skip(self, event: Peek) -> str | None:
        """The code with which the event is skipped, or None."""
        if self._sources is not None and event.project_id not in self._sources:
            return NOT_CONNECTED
        if self._obeys and not decide(event.integrations, self._name, self._by_default).send:
            return FILTERED
        if event.type not in self._supports:
            return UNSUPPORTED
        return None

    def options(self, event: Peek) -> Raw | None:
        """The event's own options for this destination."""
        if not self._obeys or event.integrations is None:
            return None
        return decide(event.integrations, self._name).options
