"""Events in the address of an image, for e-mails and pages without scripts (wire.md §1).

`/v1/pixel/TYPE` takes `?data=` (an event as base64 or as JSON) or its fields one by one, dotted
(`properties.subject=…`). `/pixel/v1/{page,track}` is RudderStack's: fields only.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw, Struct

from cdpd.ingest.mend import mend
from cdpd.ingest.refusal import Refused

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent pixel: the answer whatever happens, lest a mail shows a broken picture."""
MAX_FIELDS: Final = 1000

_decode: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


class Pixel(Struct, frozen=True):
    """One path of a pixel."""

    path: str
    type: str
    rudder: bool = False


def pixel_event(pixel: Pixel, query: str, user_agent: str) -> bytes:
    """The event that a pixel's query says, JSON; `user_agent` (the request's) is filled in where it has none.

    Raises Refused for what cannot be read as one.
    """
    try:
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Refused(400, "bad_request", f"a pixel has {MAX_FIELDS} fields at most") from None
    fields = dict(given)
    data = "" if pixel.rudder else fields.pop("data", "")
    event: dict[str, Any] = dict(_event_in(data)) if data else _nested(fields)
    if data and "writeKey" not in event and "writeKey" in fields:
        event["writeKey"] = fields["writeKey"]
    event["type"] = pixel.type
    if pixel.rudder:
        event["channel"] = "web"
        event["integrations"] = {"All": True}
        if pixel.type == "page" and not event.get("name"):
            event["name"] = "Unknown Page"
    context = _context(event.get("context"))
    if context is not None and user_agent and not _is_filled(context.get("userAgent")):
        event["context"] = {**context, "userAgent": user_agent}
    try:
        return _encode(event)
    except UnicodeEncodeError:  # bytes in the query that are no text
        raise Refused(400, "invalid_encoding", "the query is not UTF-8") from None


def _event_in(data: str) -> Mapping[str, Raw]:
    """The fields of `?data=`. Raises Refused."""
    text = data.encode("utf-8", "surrogateescape")
    if not text.lstrip().startswith(b"{"):
        # Spaces are pluses that were not escaped; both alphabets and missing padding are met.
        plain = text.strip().replace(b" ", b"+").replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
        try:
            text = base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise Refused(400, "invalid_json", "`data` is neither base64 nor a JSON object") from None
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _decode(mend(text)[0])
    except msgspec.ValidationError:
        raise Refused(400, "invalid_json", "`data` is no JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, "invalid_json", f"`data` is no valid JSON: {error}") from None


def _nested(fields: Mapping[str, str]) -> dict[str, Any]:
    """Dotted names as objects in objects; where one name is both a value and an object, the later one stands."""
    whole: dict[str, Any] = {}
    for name, value in fields.items():
        *outer, last = name.split(".")
        at = whole
        for part in outer:
            inner = at.get(part)
            if not isinstance(inner, dict):
                inner = at[part] = {}
            at = inner
        at[last] = value
    return whole


def _context(found: object) -> dict[str, Any] | None:
    """An event's context, empty where it has none; None where it is no object (for `spec` to judge)."""
    if isinstance(found, Raw):
        if bytes(found) == b"null":
            return {}
        return dict(_decode(found)) if bytes(found).startswith(b"{") else None
    if found is None:
        return {}
    return found if isinstance(found, dict) else None


def _is_filled(found: object) -> bool:
    return found not in (None, "", Raw(b"null"), Raw(b'""'))
