"""Which mappings of an event are through already, where the event comes again because of the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

from cdpd.event import Event

_MOST: Final = 10_000


class Memory:
    """In memory only: after a restart an event that was sent in part is sent whole."""

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()

    def sent(self, event: Event) -> Collection[str]:
        """Names of the mappings that are through."""
        return self._sent.get(_key(event), ()) if self._sent else ()

    def keep(self, event: Event, names: Collection[str]) -> None:
        self._sent[_key(event)] = frozenset(names)
        if len(self._sent) > _MOST:
            self._sent.popitem(last=False)

    def forget(self, event: Event) -> None:
        if self._sent:
            self._sent.pop(_key(event), None)


def _key(event: Event) -> tuple[str, str]:
    return event.source, event.message_id
