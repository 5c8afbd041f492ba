"""What a batch says for all its events: context and integrations, merged into each (wire.md §10).

Context is merged deeply, integrations one level deep; the event wins, arrays are replaced. Values that both
sides leave alone keep their text. `integrations.all` becomes `All` (analytics-go sends it so).
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

_decode: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_encode: Final = msgspec.json.Encoder().encode

Fields = dict[str, Raw]


def fields_of(raw: Raw | None) -> Fields | None:
    """The fields of an object; None for anything else and for an empty object."""
    if raw is None or not bytes(raw).startswith(b"{"):
        return None
    return _decode(raw) or None


class Shared:
    """One batch's context and integrations, ready to be merged."""

    __slots__ = ("_context", "_context_text", "_integrations", "_integrations_text", "size")

    def __init__(self, context: Raw | None, integrations: Raw | None) -> None:
        self._context = fields_of(context)
        self._context_text = context
        common = fields_of(integrations)
        self._integrations = None if common is None else with_all(common)
        self._integrations_text = None if common is None else Raw(_encode(self._integrations))
        self.size = 0
        if self._context is not None and context is not None:
            self.size += len(bytes(context))
        if self._integrations_text is not None:
            self.size += len(bytes(self._integrations_text))
        """Bytes that merging may add to an event."""

    def __bool__(self) -> bool:
        return self._context is not None or self._integrations is not None

    def merge_into(self, event: Fields) -> None:
        """Change an event's fields. A context that is no object is left for the `spec` hook to judge."""
        if self._context is not None and self._context_text is not None:
            own = event.get("context")
            if own is None or bytes(own) == b"null":
                event["context"] = self._context_text
            elif bytes(own).startswith(b"{"):
                event["context"] = Raw(_encode(_deep(self._context, _decode(own))))
        if self._integrations is not None and self._integrations_text is not None:
            own = event.get("integrations")
            if own is None or bytes(own) == b"null":
                event["integrations"] = self._integrations_text
            elif bytes(own).startswith(b"{"):
                event["integrations"] = Raw(_encode(_shallow(self._integrations, with_all(_decode(own)))))


NOTHING_SHARED: Final = Shared(None, None)
"""Of a single event, or a batch that says nothing."""


def with_all(integrations: Fields) -> Fields:
    """`all` under its proper name; an `All` beside it wins."""
    if "all" not in integrations:
        return integrations
    if "All" in integrations:
        return {key: value for key, value in integrations.items() if key != "all"}
    return {"All" if key == "all" else key: value for key, value in integrations.items()}


def name_all(event: Fields) -> None:
    """Put an event's own `integrations.all` right."""
    own = fields_of(event.get("integrations"))
    if own is not None and "all" in own:
        event["integrations"] = Raw(_encode(with_all(own)))


def _shallow(common: Fields, own: Fields) -> Fields:
    merged = dict(own)
    for key, value in common.items():
        merged.setdefault(key, value)
    return merged


def _deep(common: Fields, own: Fields) -> Fields:
    merged = dict(own)
    for key, value in common.items():
        mine = merged.get(key)
        if mine is None:
            merged[key] = value
        elif bytes(value).startswith(b"{") and bytes(mine).startswith(b"{"):
            merged[key] = Raw(_encode(_deep(_decode(value), _decode(mine))))
    return merged
