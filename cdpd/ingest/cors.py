"""Cross-origin answers, exactly as browsers running SDKs need them (wire.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ALLOWED: Final = (
    "authorization, content-type, x-retry-count, anonymousid, sentat, rsa-retry-attempt, rsa-retry-reason, "
    "rsa-since-first-attempt, rsa-since-last-attempt, rsa-recovered, x-requested-with"
)
_ECHOED: Final = (
    b"\r\nVary: Origin"
    b"\r\nAccess-Control-Allow-Credentials: true"
    b"\r\nAccess-Control-Expose-Headers: Retry-After, X-RateLimit-Reset\r\n"
)
FOR_ANYBODY: Final = (
    b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After, X-RateLimit-Reset\r\n"
)
"""For requests that could not be read so far as to know their Origin."""


def cors(origin: str | None) -> bytes:
    """The header lines of an answer to a request with this `Origin`; nothing where it has none.

    The origin is echoed, for `*` would shut out requests with credentials.
    """
    if not origin:
        return b""
    return b"Access-Control-Allow-Origin: " + origin.encode("utf-8", "surrogateescape") + _ECHOED


def preflight(headers: Mapping[str, str]) -> bytes:
    """The further lines of the answer to an OPTIONS request."""
    asked = headers.get("access-control-request-headers") or _ALLOWED
    lines = (
        b"Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
        b"Access-Control-Max-Age: 7200\r\n"
        b"Access-Control-Allow-Headers: " + asked.encode("utf-8", "surrogateescape") + b"\r\n"
    )
    if headers.get("access-control-request-private-network", "").lower() == "true":
        lines += b"Access-Control-Allow-Private-Network: true\r\n"
    return lines
