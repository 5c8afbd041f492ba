"""What an HTTP answer, or its absence, means: the one table that every HTTP destination uses.

Source: spec/destinations.md §0.2 and §0.4, spec/connections.md §7. A destination that knows its vendor better says
so in a `Table` of its own, which differs from this one only where it has to:

    ANSWERS = Table(
        {404: Rule("bad_config", "no such list: check `list_id`"), 409: Rule("retry")},
        body=lambda answer: Rule("bad_event") if answer.body.startswith("0") else None,
    )
    outcome_of(answer, now_ms, request, ANSWERS)
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from msgspec import Struct, field

from cdpd.destinations.outcome import (
    BadConfig,
    BadCredentials,
    BadEvent,
    Delivered,
    Kind,
    Misconfigured,
    Outcome,
    RateLimited,
    Resend,
    Skipped,
    TooLarge,
    TryAgain,
)

SHORTEST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 3600.0
_EPOCH_SECONDS: Final = 1_000_000_000
_EPOCH_MS: Final = 1_000_000_000_000
_RESETS: Final = ("X-RateLimit-Reset", "RateLimit-Reset")
_TOOK_TOO_LONG: Final = (408, 504)
"""A server, or a proxy before it, says that there was a time-out."""


class Answer(Struct, frozen=True):
    """A vendor's answer, as far as it was read."""

    status: int
    headers: Mapping[str, str]
    """Look up without regard to case (aiohttp's own mapping does)."""
    body: str = ""
    """The first 64 KiB."""
    request: str = ""
    """The request that was answered so, as it is shown where its events are parked; empty where nobody keeps it."""


class Rule(Struct, frozen=True):
    """What one kind of answer means."""

    kind: Kind
    advice: str = ""
    """What to do about it, after what the vendor said; may name `{location}`."""


class Table(Struct, frozen=True):
    """Where a vendor's answers mean something else than by default."""

    status: Mapping[int, Rule] = field(default_factory=dict)
    """By the answer's status, before the default."""
    body: Callable[[Answer], Rule | None] | None = None
    """Looks at the answer itself, before the status; None: the status decides."""
    waits: tuple[str, ...] = ()
    """Headers of this vendor that tell the seconds to wait, looked at after those that all have."""


_USUAL: Final = Table()
_RULES: Final[Mapping[int, Rule]] = {
    401: Rule("bad_credentials", "check the credentials"),
    402: Rule("bad_config", "the account wants payment"),
    403: Rule("bad_credentials", "check the credentials"),
    408: Rule("retry"),
    413: Rule("too_large"),
    423: Rule("retry"),
    425: Rule("retry"),
    429: Rule("rate_limited"),
    501: Rule("bad_config", "check the address and the method"),
}
_DELIVERED: Final = Rule("delivered")
_BAD_EVENT: Final = Rule("bad_event")
_RETRY: Final = Rule("retry")
_RATE_LIMITED: Final = Rule("rate_limited")


def rule_of(answer: Answer, now_ms: int, table: Table = _USUAL) -> Rule:
    """The row of the table that this answer falls under."""
    own = table.body(answer) if table.body is not None else None
    own = own or table.status.get(answer.status)
    if own is not None:
        return own
    status = answer.status
    if 200 <= status < 300:
        return _DELIVERED
    if 300 <= status < 400:
        nowhere = "Location" not in answer.headers
        where = (
            "nowhere" if nowhere else "to {location}: put that address into the configuration if it is right"
        )
        return Rule("bad_config", f"it redirects {where}")
    if status == 503 and _retry_after(answer.headers, now_ms) is not None:
        return _RATE_LIMITED
    return _RULES.get(status) or (_BAD_EVENT if 400 <= status < 500 else _RETRY)


def outcome_of(answer: Answer, now_ms: int, request: str = "", table: Table = _USUAL) -> Outcome:
    """The outcome of every event in the request that was answered so. `request`: as shown where it is parked."""
    rule = rule_of(answer, now_ms, table)
    status = answer.status
    if rule.kind == "delivered":
        return Delivered(status)
    said, body = _said(answer, rule.advice), answer.body
    match rule.kind:
        case "skipped":
            return Skipped(rule.advice or "NOTHING_TO_DO")
        case "retry":
            code = "ETIMEDOUT" if status in _TOOK_TOO_LONG else ""
            return TryAgain(said, status, retry_after(answer.headers, now_ms, table.waits), body, code)
        case "rate_limited":
            return RateLimited(said, status, retry_after(answer.headers, now_ms, table.waits), body)
        case "resend":
            return Resend(said, status, body)
        case "too_large":
            return TooLarge(said, status, request, body)
        case "bad_event":
            return BadEvent(said, status, request, body)
        case "bad_config":
            return BadConfig(said, status, answer=body)
        case "bad_credentials":
            return BadCredentials(said, status, answer=body)


def failure_of(error: BaseException) -> TryAgain | Misconfigured | None:
    """What a request that got no answer means; None where the exception is no failure of the network."""
    # Only where a request failed aiohttp is surely loaded; `cdpd check` imports this module without it.
    import aiohttp

    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return BadConfig(f"the address is no URL: {error}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return BadConfig(f"the server's certificate is not trusted: {error.certificate_error}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return BadConfig(f"the server's certificate is not trusted: {error.verify_message}")
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return TryAgain("no answer in time (ETIMEDOUT)", code="ETIMEDOUT")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return TryAgain(f"the host name {error.host} cannot be resolved (ENOTFOUND)", code="ENOTFOUND")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return TryAgain("the connection was closed before the answer (ECONNRESET)", code="ECONNRESET")
    if isinstance(error, aiohttp.ClientOSError):
        return TryAgain(f"no connection: {_os_text(error)}", code=_os_code(error))
    if isinstance(error, aiohttp.ClientError):
        return TryAgain(f"the exchange failed: {type(error).__name__}: {error}"[:300])
    if isinstance(error, OSError):
        return TryAgain(_os_text(error), code=_os_code(error))
    return None


def _os_code(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "")


def _os_text(error: OSError) -> str:
    code = _os_code(error)
    text = error.strerror or str(error)
    return f"{text} ({code})" if code else text


def retry_after(headers: Mapping[str, str], now_ms: int, waits: tuple[str, ...] = ()) -> float | None:
    """Seconds that the vendor asks to wait, within 1 s and 1 h; None where it says nothing usable.

    The first of these that can be read: `Retry-After`; `X-RateLimit-Reset` and `RateLimit-Reset`; `waits`, headers
    of one vendor. Source: spec/destinations.md §0.4.
    """
    seconds = _retry_after(headers, now_ms)
    for name in _RESETS:
        if seconds is None:
            seconds = _reset(headers.get(name), now_ms)
    for name in waits:
        if seconds is None:
            seconds = _number(headers.get(name))
    return None if seconds is None else min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def _number(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text) if text.isascii() and text.replace(".", "", 1).isdecimal() and len(text) < 20 else None


def _retry_after(headers: Mapping[str, str], now_ms: int) -> float | None:
    text = headers.get("Retry-After")
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    until = _http_date(text)
    if until is None:
        return None
    # By the vendor's own clock where it tells it: ours may be wrong.
    date = headers.get("Date")
    now = _http_date(date) if date else None
    return until - (now_ms / 1000 if now is None else now)


def _http_date(text: str) -> float | None:
    """Seconds since the epoch. IMF-fixdate, RFC 850 and asctime, as HTTP has them."""
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


def _said(answer: Answer, advice: str) -> str:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    text = f"it answered {answer.status} {phrase}".rstrip()
    body = " ".join(answer.body.split())
    if body and (answer.status >= 400 or answer.status < 300):
        text = f"{text}: {body[:200]}"
    if not advice:
        return text
    return f"{text}; {advice.replace('{location}', answer.headers.get('Location', ''))}"
