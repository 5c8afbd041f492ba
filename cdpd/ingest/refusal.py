"""A request refused as a whole: which status, which code, and what the sender can do about it."""

from __future__ import annotations

from typing import Final

OVERLOAD_RETRY: Final = 1
"""Seconds until a refused client may try again when too many bodies are in flight."""
APPEND_RETRY: Final = 5
"""… and when the log could not be written."""
DISK_RETRY: Final = 30
"""… and when the disk is nearly full: somebody has to make room."""


class Refused(Exception):
    """Raised anywhere in the handling of a request; becomes the JSON of wire.md §0 rule 2.

    `retry_after` (seconds, 1 to 300) goes out as `Retry-After` and `X-RateLimit-Reset`; `close` ends the
    connection after the answer; `allow` is the `Allow` header of a 405, `challenge` a `WWW-Authenticate`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: int | None = None,
        close: bool = False,
        allow: str = "",
        challenge: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.close = close
        self.allow = allow
        self.challenge = challenge


def overloaded() -> Refused:
    """Too many bytes are being read or written at this moment."""
    return Refused(
        503,
        "overloaded",
        "too much is being received at this moment; send the same request again",
        retry_after=OVERLOAD_RETRY,
    )


def disk_full() -> Refused:
    """There is less room on the disk than is to be kept free."""
    return Refused(
        503,
        "disk_full",
        "the disk is nearly full, no more events are taken; send the same request again later",
        retry_after=DISK_RETRY,
    )


def rate_limited(seconds: int) -> Refused:
    """Too many requests; `seconds` until the next."""
    return Refused(
        429,
        "rate_limited",
        f"too many requests: send the same again in {seconds} s",
        retry_after=seconds,
    )


def invalid_json(why: str) -> Refused:
    return Refused(400, "invalid_json", f"the body is not valid JSON: {why}")


def broken_compression(why: str) -> Refused:
    return Refused(400, "invalid_json", f"the body's compression is broken: {why}")


def too_large(what: str, limit: int, unit: str = "bytes") -> Refused:
    """400 and never 413: some SDKs keep what got a 413 for ever (wire.md §0 rule 3)."""
    return Refused(400, "too_large", f"{what} is over the limit of {limit} {unit}")
