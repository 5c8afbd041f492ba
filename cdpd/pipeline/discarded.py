"""A line of `discarded`: what was turned away, by whom and why, with the whole line of `received`."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from cdpd.timestamp import format_time

MAX_TRACEBACK: Final = 8192
"""Characters of a traceback that are kept, its end."""


class DiscardedLine(Struct, omit_defaults=True, frozen=True):
    """See ARCHITECTURE, “A line of discarded”."""

    at: str
    by: str
    """A hook plugin's name, `ingest`, or `pipeline` for what no plugin was given."""
    code: str
    message: str
    received: int
    """The offset in `received`."""
    line: Raw
    traceback: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Raw).decode
decode_discarded: Final = msgspec.json.Decoder(DiscardedLine).decode


class Ended(Struct):
    """An event or line that ends here, before it is known how the slice as a whole comes out."""

    offset: int
    source: str
    by: str
    code: str
    message: str
    record: bool = True
    traceback: str = ""
    retry: bool = False
    """Its request said that it was one sent again."""


def discarded_line(ended: Ended, received: bytes, now_ms: int) -> bytes:
    """The line for it. A `received` line that is no JSON in UTF-8 stands in it as `{"raw": text}`."""
    try:
        received.decode()
        _decode(received)
        line = Raw(received)
        if b"\n" in received:
            line = Raw(msgspec.json.format(received, indent=-1))
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        line = Raw(_encode({"raw": received.decode(errors="replace")}))
    return _encode(
        DiscardedLine(
            at=format_time(now_ms),
            by=ended.by,
            code=ended.code,
            message=ended.message,
            received=ended.offset,
            line=line,
            traceback=ended.traceback[-MAX_TRACEBACK:],
        )
    )
