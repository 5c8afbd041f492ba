"""The `integrations` object: does a destination get an event, and with which options? (spec/connections.md §4)"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

_decode: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_any: Final = msgspec.json.Decoder().decode
_SAYS_NOTHING: Final = frozenset((b"{}", b'{"All":true}', b'{"all":true}', b"null"))
WAREHOUSES: Final = "Warehouses"
RESERVED: Final = frozenset(("All", WAREHOUSES, "Segment.io"))
"""Keys that name no destination: every one, the warehouses, and what browser SDKs say of the tracking API."""


class Decision(Struct, frozen=True):
    """`options`: the JSON object of the event's own entry, handed to the destination; None where it has none."""

    send: bool
    options: Raw | None = None


_SEND: Final = Decision(True)
_DROP: Final = Decision(False)


def decide(
    integrations: bytes | Raw | None, name: str, *, opt_in: bool = False, schema_off: bool = False
) -> Decision:
    """Whether the destination with display name `name` (exact) gets the event.

    integrations: the JSON text of the event's object, None where absent; what is no object counts as absent.
    opt_in: the destination wants only events that name it. schema_off: the source's schema integration filter
    is off for this event and destination (§3.4); only an explicit true or object overrides it.
    """
    default = _DROP if opt_in or schema_off else _SEND
    if integrations is None or bytes(integrations) in _SAYS_NOTHING:
        return default
    table = _table(integrations)
    own = table.get(name)
    if own is not None:
        text = bytes(own)
        if text == b"true":
            return _SEND
        if text == b"false":
            return _DROP
        if text[:1] == b"{":
            return Decision(True, own)
    every = table.get("All")
    return _DROP if every is not None and bytes(every) == b"false" else default


def decide_warehouse(integrations: bytes | Raw | None, warehouse_id: str) -> bool:
    """Whether a warehouse gets the event: it obeys only `Warehouses`, never `All` or a destination's name."""
    table = _table(integrations) if integrations is not None else {}
    rule: Any = _decode_any(table[WAREHOUSES]) if WAREHOUSES in table else None
    if rule is False:
        return False
    if not isinstance(rule, dict):
        return True
    wanted = rule.get("warehouseIds")
    if isinstance(wanted, list):
        return warehouse_id in wanted
    return rule.get("all") is not False


def unknown_names(integrations: bytes | Raw, known: Collection[str]) -> int:
    """How many keys name nothing that is configured."""
    return sum(key not in known and key not in RESERVED for key in _table(integrations))


def _table(integrations: bytes | Raw) -> dict[str, Raw]:
    try:
        return _decode(integrations)
    except msgspec.DecodeError:
        return {}
