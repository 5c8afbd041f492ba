"""What a webhook's requests may have, and how they are signed. Source: spec/destinations.md §14."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final, Literal
from urllib.parse import urlsplit

_OURS: Final = frozenset(("host", "content-length", "transfer-encoding", "connection", "content-encoding"))
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")


def is_address(url: str) -> bool:
    """Whether it is one that requests can go to: http or https, with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()
    except ValueError:
        return False


def is_header_value(text: str) -> bool:
    return _VALUE.fullmatch(text) is not None


def why_no_header(name: str, value: str) -> str:
    """What is wrong with a header, in words without its value; "" where nothing is."""
    if not _NAME.fullmatch(name) or name.lower() in _OURS:
        return f"{name!r} cannot be set"
    return "" if is_header_value(value) else f"the value of {name} must be printable ASCII"


def signatures(
    secret: str, wanted: Literal["sha256", "sha1", "both"], body: bytes, first: bytes, seconds: int
) -> dict[str, str]:
    """The headers: `X-Timestamp` and `X-Signature-256` of the body, `X-Signature` of the first event's JSON."""
    key = secret.encode()
    out: dict[str, str] = {}
    if wanted != "sha1":
        stamp = str(seconds)
        digest = hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        out = {"X-Timestamp": stamp, "X-Signature-256": f"sha256={digest}"}
    if wanted != "sha256":
        out["X-Signature"] = hmac.new(key, first, hashlib.sha1).hexdigest()
    return out
