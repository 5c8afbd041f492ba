"""Objects (`set` calls): what one may be. They are rows for warehouses and no events.

Source: spec/connections.md §10, spec/warehouses.md §8. Ingest and source functions hold the same rules with this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

MOST: Final = 10
"""Objects of one `POST /v1/set`."""
LONGEST_COLLECTION: Final = 100
LONGEST_ID: Final = 100
"""Characters."""
LARGEST_VALUE: Final = 32 * 1024
"""A property's JSON text has fewer bytes than this …"""
LARGEST_OBJECT: Final = 400 * 1024
"""… and an object's no more than this."""
_COLLECTION: Final = re.compile(r"[a-z](?:[a-z0-9_]*[a-z0-9])?")
_SHOWN: Final = 50

_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_string: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


class WrongObject(ValueError):
    """It breaks a rule; the text says which: `properties.tags: …`."""


def checked_collection(raw: Raw | None) -> Raw:
    """A collection's name, as JSON text. Raises WrongObject."""
    name = _string(raw, "collection")
    if not _COLLECTION.fullmatch(name) or len(name) > LONGEST_COLLECTION:
        raise WrongObject(
            f"collection: {name[:_SHOWN]!r} is no name of one: lower-case letters, digits and _ are expected, "
            f"{LONGEST_COLLECTION} at most, a letter first and no _ last"
        )
    return Raw(_encode(name))


def checked_object(fields: Mapping[str, Raw]) -> tuple[Raw, Raw]:
    """An object's id and its properties, each property once, as JSON text without line breaks.

    Other keys are passed over. Raises WrongObject.
    """
    own_id = _string(fields.get("id"), "id")
    if not own_id.strip() or len(own_id) > LONGEST_ID:
        raise WrongObject(f"id: a text of 1 to {LONGEST_ID} characters is expected")
    raw = fields.get("properties")
    if raw is None or bytes(raw)[:1] != b"{":
        raise WrongObject(f"properties: an object is expected, not {_kind(raw)}")
    properties = _decode_fields(raw)
    for key, value in properties.items():
        text = bytes(value)
        if text[:1] in (b"{", b"["):
            raise WrongObject(
                f"properties.{key[:_SHOWN]}: a text, number, boolean or null is expected, not {_kind(value)}"
            )
        if len(text) >= LARGEST_VALUE:
            raise WrongObject(
                f"properties.{key[:_SHOWN]}: {len(text)} bytes; less than {LARGEST_VALUE} are allowed"
            )
    return Raw(_encode(own_id)), Raw(_encode(properties))


def set_event(collection: Raw, own_id: Raw, properties: Raw) -> bytes:
    """A checked object as it stands in `received`: `{"type":"set","collection","id","properties"}`."""
    return b'{"type":"set","collection":%b,"id":%b,"properties":%b}' % (
        bytes(collection),
        bytes(own_id),
        bytes(properties),
    )


def set_event_of(record: Mapping[str, Raw]) -> bytes:
    """The same of `{"collection", "id", "properties"}`, all rules but the size of the whole. Raises WrongObject."""
    collection = checked_collection(record.get("collection"))
    return set_event(collection, *checked_object(record))


def _string(raw: Raw | None, key: str) -> str:
    if raw is None or bytes(raw)[:1] != b'"':
        raise WrongObject(f"{key}: a text is expected, not {_kind(raw)}")
    return _decode_string(raw)


def _kind(raw: Raw | None) -> str:
    if raw is None:
        return "nothing"
    first = bytes(raw)[:1]
    kinds = {b"{": "an object", b"[": "a list", b'"': "a text", b"n": "null", b"t": "true", b"f": "false"}
    return kinds.get(first, "a number")
