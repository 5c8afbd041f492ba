"""The cap on an event's properties: the first 10,000 values in document order, depth first, stay.

Source: event-spec.md §2. A value is whatever is no filled object or array; `{}` and `[]` count as one.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

MOST: Final = 10_000
LEAST_BYTES: Final = 2 * MOST
"""A shorter text cannot have more values than that: each takes two bytes at least, with its comma."""

_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_array: Final = msgspec.json.Decoder(list[Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def capped(raw: Raw, room: int = MOST) -> tuple[Raw, int]:
    """The text with its first `room` values, and how many these are. A text within the cap stays as it is."""
    first = bytes(raw)[:1]
    if first == b"{":
        fields = _object(raw)
        if not fields:
            return raw, 1
        kept: dict[str, Raw] = {}
        used = 0
        for key, value in fields.items():
            if used == room:
                break
            kept[key], more = capped(value, room - used)
            used += more
        whole = len(kept) == len(fields) and all(kept[key] is fields[key] for key in fields)
        return (raw if whole else Raw(_encode(kept))), used
    if first == b"[":
        elements = _array(raw)
        if not elements:
            return raw, 1
        some: list[Raw] = []
        used = 0
        for element in elements:
            if used == room:
                break
            part, more = capped(element, room - used)
            some.append(part)
            used += more
        whole = len(some) == len(elements) and all(a is b for a, b in zip(some, elements, strict=True))
        return (raw if whole else Raw(_encode(some))), used
    return raw, 1
