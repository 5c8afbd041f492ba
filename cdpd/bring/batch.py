"""The body of `POST /import`: how events of an archive go from the command to the daemon.

Lines: first `{"source": NAME}`, then two for each event: what is known of it besides (`{"receivedAt"?, "ip"?}`),
and its text as it is. So a text that no decoder takes (nested too deep) does not cost its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

MAX_EVENTS: Final = 500
MAX_BYTES: Final = 1024 * 1024
"""Of one batch; a single larger event goes alone."""


class Known(Struct, rename="camel", forbid_unknown_fields=True, frozen=True, omit_defaults=True, gc=False):
    """What an archive tells of an event's arrival."""

    received_at: str | None = None
    """When the system that archived it received it, ISO 8601."""
    ip: str = ""
    """The client's address, where the archive keeps it outside the event."""


class Item(Struct, frozen=True, gc=False):
    """An event on its way: its JSON text, without line breaks, and what is known of it."""

    text: bytes
    known: Known = Known()

    @property
    def size(self) -> int:
        """Bytes of a batch, about."""
        return len(self.text) + 64


class _Head(Struct, forbid_unknown_fields=True):
    source: str


_encode: Final = msgspec.json.Encoder().encode
_decode_head: Final = msgspec.json.Decoder(_Head).decode
_decode_known: Final = msgspec.json.Decoder(Known).decode


def encode_batch(source: str, items: Sequence[Item]) -> bytes:
    """The body for these events."""
    lines = [_encode(_Head(source))]
    for item in items:
        lines += (_encode(item.known), item.text)
    return b"\n".join(lines)


def decode_batch(body: bytes) -> tuple[str, list[Item]]:
    """(the source's name, the events). Raises msgspec.DecodeError."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"the batch is not UTF-8 (byte {error.start})") from None
    lines = body.split(b"\n")
    if len(lines) % 2 == 0:
        raise msgspec.DecodeError("the batch ends in the middle of an event")
    items = [Item(lines[i + 1], _decode_known(lines[i])) for i in range(1, len(lines), 2)]
    return _decode_head(lines[0]).source, items
