"""What an HTTP answer, or its absence, means: the one table that every HTTP destination uses.

Source: spec/destinations.md §0.2 and §0.4, spec/connections.md §7. A destination that knows its vendor better
looks at the answer first and leaves the rest to this.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from cdpd.destinations.outcome import BadEvent, Delivered, Misconfigured, Outcome, TooLarge, TryAgain

SHORTEST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 3600.0
_RETRY: Final = frozenset((408, 423, 425, 429))
_EPOCH_SECONDS: Final = 1_000_000_000
_EPOCH_MS: Final = 1_000_000_000_000


class Answer(Struct, frozen=True):
    """A vendor's answer, as far as it was read."""

    status: int
    headers: Mapping[str, str]
    """Look up without regard to case (aiohttp's own mapping does)."""
    body: str = ""
    """The first 64 KiB."""


def outcome_of(answer: Answer, now_ms: int, request: str = "") -> Outcome:
    """The outcome of every event in the request that was answered so. `request`: as shown where it is parked."""
    status, said = answer.status, _said(answer)
    if 200 <= status < 300:
        return Delivered(status)
    if 300 <= status < 400:
        target = answer.headers.get("Location", "")
        hint = f"to {target}: put that address into the configuration if it is right" if target else "nowhere"
        return Misconfigured(f"{said}; it redirects {hint}", status)
    if status in (401, 403):
        return Misconfigured(f"{said}; check the credentials", status)
    if status == 402:
        return Misconfigured(f"{said}; the account wants payment", status)
    if status == 501:
        return Misconfigured(f"{said}; check the address and the method", status)
    if status == 413:
        return TooLarge(said, status, request, answer.body)
    if 400 <= status < 500 and status not in _RETRY:
        return BadEvent(said, status, request, answer.body)
    return TryAgain(said, status, retry_after(answer.headers, now_ms))


def failure_of(error: BaseException) -> TryAgain | Misconfigured | None:
    """What a request that got no answer means; None where the exception is no failure of the network."""
    # Only where a request failed aiohttp is surely loaded; `cdpd check` imports this module without it.
    import aiohttp

    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return Misconfigured(f"the address is no URL: {error}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Misconfigured(f"the server's certificate is not trusted: {error.certificate_error}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Misconfigured(f"the server's certificate is not trusted: {error.verify_message}")
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return TryAgain("no answer in time (ETIMEDOUT)")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return TryAgain(f"the host name {error.host} cannot be resolved (ENOTFOUND)")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return TryAgain("the connection was closed before the answer (ECONNRESET)")
    if isinstance(error, aiohttp.ClientOSError):
        return TryAgain(f"no connection: {_os_text(error)}")
    if isinstance(error, aiohttp.ClientError):
        return TryAgain(f"the exchange failed: {type(error).__name__}: {error}"[:300])
    if isinstance(error, OSError):
        return TryAgain(_os_text(error))
    return None


def _os_text(error: OSError) -> str:
    code = errno.errorcode.get(error.errno or 0, "")
    text = error.strerror or str(error)
    return f"{text} ({code})" if code else text


def retry_after(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Seconds that the vendor asks to wait, within 1 s and 1 h; None where it says nothing usable."""
    seconds = _retry_after(headers.get("Retry-After"), headers.get("Date"), now_ms)
    for name in ("X-RateLimit-Reset", "RateLimit-Reset"):
        if seconds is None:
            seconds = _reset(headers.get(name), now_ms)
    return None if seconds is None else min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def _number(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text) if text.isascii() and text.replace(".", "", 1).isdecimal() and len(text) < 20 else None


def _retry_after(text: str | None, date: str | None, now_ms: int) -> float | None:
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    until = _http_date(text)
    if until is None:
        return None
    # By the vendor's own clock where it tells it: ours may be wrong.
    now = _http_date(date) if date else None
    return until - (now_ms / 1000 if now is None else now)


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _reset(text: str | None, now_ms: int) -> float | None:
    number = _number(text)
    if number is None or number < _EPOCH_SECONDS:
        return number
    return (number - now_ms) / 1000 if number >= _EPOCH_MS else number - now_ms / 1000


def _said(answer: Answer) -> str:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    text = f"it answered {answer.status} {phrase}".rstrip()
    body = " ".join(answer.body.split())
    return f"{text}: {body[:200]}" if body and answer.status >= 400 else text
