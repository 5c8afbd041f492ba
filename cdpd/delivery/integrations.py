"""The `integrations` object: may this destination have this event? Source: spec/connections.md §4."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw, Struct

FILTERED: Final = "FILTERED_BY_INTEGRATIONS_OBJECT"
_SETTLED: Final = frozenset({b"null", b"{}"})
_OWN: Final = frozenset({"All", "Segment.io", "Warehouses"})
"""Keys that name no destination."""

_decode: Final = msgspec.json.Decoder(dict[str, Raw]).decode


class Decision(Struct, frozen=True):
    """Whether to send, and the per-call options that the event has for this destination."""

    send: bool
    options: Raw | None = None


_SEND: Final = Decision(True)
_DROP: Final = Decision(False)


def decide(integrations: Raw | None, name: str, by_default: bool = True) -> Decision:
    """The rule for a destination with this display name; `by_default` False: opt-in plugins.

    An entry of its own wins over `All`; `false` drops, `true` and any object (which is the options) send; any
    other value is as if it were absent.
    """
    if integrations is None or bytes(integrations) in _SETTLED:
        return _SEND if by_default else _DROP
    try:
        fields = _decode(integrations)
    except msgspec.DecodeError:  # no object: as if there were none
        return _SEND if by_default else _DROP
    own = fields.get(name)
    if own is not None:
        text = bytes(own)
        if text == b"true":
            return _SEND
        if text == b"false":
            return _DROP
        if text.startswith(b"{"):
            return Decision(True, own)
    everything = fields.get("All")
    if everything is not None and bytes(everything) == b"false":
        return _DROP
    return _SEND if by_default else _DROP


def unknown_names(integrations: Raw | None, known: Iterable[str]) -> list[str]:
    """Keys that name no destination that is configured here."""
    if integrations is None or bytes(integrations) in _SETTLED:
        return []
    try:
        fields = _decode(integrations)
    except msgspec.DecodeError:
        return []
    return [name for name in fields if name not in _OWN and name not in known]
