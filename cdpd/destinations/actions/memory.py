"""What became of some of an event's mappings, where the event comes again because of the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import msgspec

from cdpd.destinations.outcome import BadEvent, Outcome
from cdpd.event import Event

_MOST: Final = 10_000
_LONGEST: Final = 2_000
"""Characters of a refused request and its answer that are kept."""
_OVER: Final = frozenset(("delivered", "skipped", "bad_event"))


class Memory:
    """In memory only: after a restart an event that was sent in part is sent whole."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], dict[str, Outcome]] = OrderedDict()

    def told(self, event: Event) -> Mapping[str, Outcome]:
        """Name → outcome of the mappings that are over."""
        return self._told.get(_key(event), {}) if self._told else {}

    def keep(self, event: Event, told: Mapping[str, Outcome]) -> None:
        """Remember those that are over: they are not sent again with the others."""
        self._told[_key(event)] = {name: _short(one) for name, one in told.items() if one.kind in _OVER}
        if len(self._told) > _MOST:
            self._told.popitem(last=False)

    def forget(self, event: Event) -> None:
        if self._told:
            self._told.pop(_key(event), None)


def _short(outcome: Outcome) -> Outcome:
    if not isinstance(outcome, BadEvent):
        return outcome
    return msgspec.structs.replace(
        outcome, request=outcome.request[:_LONGEST], answer=outcome.answer[:_LONGEST]
    )


def _key(event: Event) -> tuple[str, str]:
    return event.source, event.message_id
