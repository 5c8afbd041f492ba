"""An event's fields as plain values, decoded when something first reads them.

Filters and mappings work on plain dicts. They say which top-level keys they read (`paths`); a View decodes just
these, once for all filters and mappings that look at the same event.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from cdpd.event import Event
from cdpd.section import decode_value


class View:
    """One event, read by any number of filters and mappings. Later changes of the event do not show."""

    __slots__ = ("_event", "_fields", "_whole")

    def __init__(self, event: Event) -> None:
        self._event = event
        self._fields: dict[str, Any] = {}
        self._whole: dict[str, Any] | None = None

    def of(self, keys: Set[str] | None) -> dict[str, Any]:
        """A dict with at least these top-level keys (where the event has them); None: the whole event, in its order.

        The dict and its values belong to the view: do not change them.
        """
        fields = self._fields
        if keys is None:
            whole = self._whole
            if whole is None:
                self.of(self._event.keys())
                whole = self._whole = {key: fields[key] for key in self._event}
            return whole
        for key in keys:
            if key not in fields:
                raw = self._event.raw_field(key)
                if raw is not None:
                    fields[key] = decode_value(raw)
        return fields
