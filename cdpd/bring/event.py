"""Events that were read, ready to be sent, and how an import treats them all."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cdpd.bring.batch import Item

Fields = dict[str, Raw]

_encode: Final = msgspec.json.Encoder().encode
_decode_fields: Final = msgspec.json.Decoder(Fields).decode
_WAREHOUSES: Final = "Warehouses"


class Treatment(Struct, frozen=True):
    """What is done to each event on its way in."""

    source: str
    received: Literal["archive", "now"] = "archive"
    """`now`: an event's receivedAt becomes the time of the import."""
    deliver: Sequence[str] | None = ()
    """Keys in `integrations` of the destinations that get the events; None: as the archive says."""


class Brought(Struct, frozen=True, gc=False):
    """An event, as it is sent to the daemon."""

    item: Item
    at_ms: int | None = None
    """When it happened; where it does not say, when it was received; None where nothing says."""
    timed: bool = True
    """Whether it says when it happened."""
    kind: str = ""
    name: str = ""
    """Of its track call, page or screen."""


class BadLine(Struct, frozen=True):
    """A line that holds no event."""

    message: str


def own_id(raw: Raw | UnsetType | None) -> bool:
    """Whether an event has a messageId of its own."""
    if raw is UNSET or raw is None:
        return False
    return bytes(raw).strip(b'" ') not in (b"", b"null") and bytes(raw)[:1] not in (b"{", b"[", b"t", b"f")


def made_id(source: str, *content: bytes) -> Raw:
    """A messageId that follows from the content: the same event gets the same one, from whatever file it comes."""
    digest = blake2b(source.encode(), digest_size=16)
    for part in content:
        digest.update(len(part).to_bytes(8, "big") + part)
    return Raw(b'"import-%b"' % digest.hexdigest().encode())


def set_integrations(fields: Fields, deliver: Sequence[str] | None) -> None:
    """Say which destinations get the event (connections.md §11, Replay); what warehouses were told stays."""
    if deliver is None:
        return
    said = fields.get("integrations")
    chosen: dict[str, object] = {"All": False, **dict.fromkeys(deliver, True)}
    if said is not None and bytes(said)[:1] == b"{":
        warehouses = _decode_fields(said).get(_WAREHOUSES)
        if warehouses is not None:
            chosen[_WAREHOUSES] = warehouses
    fields["integrations"] = Raw(_encode(chosen))
