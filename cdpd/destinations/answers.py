"""What a vendor's HTTP answer means: the one place that turns status, headers and body into an outcome.

Source of the rules: spec/connections.md §7, spec/destinations.md §0.2 and §0.4. A destination whose vendor
speaks otherwise looks at the answer first and leaves the rest to `outcome_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from cdpd.destinations.outcome import BadEvent, Delivered, Misconfigured, Outcome, TooLarge, TryAgain

if TYPE_CHECKING:  # `cdpd check` imports destinations for their Config alone
    import aiohttp

KEPT_BYTES: Final = 4096
"""How much of an answer is kept for a person to read."""
_SHORTEST: Final = 1.0
_LONGEST: Final = 3600.0
"""Bounds of what a vendor may ask to wait, seconds."""
_EPOCH_FROM: Final = 1_000_000_000
_EPOCH_MS_FROM: Final = 1_000_000_000_000
_HOPS: Final = 20

_TRY_AGAIN: Final = frozenset({408, 423, 425, 429})
_MISCONFIGURED: Final = {
    401: "the credentials were refused",
    402: "the vendor asks for payment",
    403: "the credentials do not allow it",
    501: "the vendor does not know this kind of request",
}


class Answer(Struct, frozen=True):
    """An HTTP answer, its body cut to KEPT_BYTES."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


async def send(
    http: aiohttp.ClientSession, method: str, url: str, *, data: bytes, headers: Mapping[str, str]
) -> Answer:
    """One request. 307 and 308 are followed with the same body, other redirects are the answer.

    Raises aiohttp.ClientError, TimeoutError, OSError; delivery knows what they mean.
    """
    for _ in range(_HOPS):
        async with http.request(method, url, data=data, headers=headers, allow_redirects=False) as answer:
            body = await answer.content.read(KEPT_BYTES)
            while await answer.content.read(1 << 16):
                pass  # read to the end, so that the connection can be used again
            location = answer.headers.get("Location")
            if answer.status not in (307, 308) or not location:
                return Answer(answer.status, answer.headers, body)
            url = str(answer.url.join(type(answer.url)(location)))
    return Answer(answer.status, answer.headers, body)


def outcome_of(answer: Answer, now_ms: int, request: str = "") -> Outcome:
    """The outcome for every event of the request. `request`: what was sent, kept with an event that is parked."""
    status = answer.status
    said = " ".join(answer.text[:300].split())
    reason = f"HTTP {status}" + (f": {said}" if said else "")
    if 200 <= status < 300:
        return Delivered(status)
    if status in _MISCONFIGURED:
        return Misconfigured(f"{_MISCONFIGURED[status]} ({reason})", status)
    if status < 400:
        where = answer.headers.get("Location", "nowhere")
        return Misconfigured(f"redirected to {where} ({reason}): configure the final address", status)
    if status == 413:
        return TooLarge(reason, status, request, answer.text)
    if status in _TRY_AGAIN or status >= 500:
        asked = retry_after(answer.headers, now_ms) if status in (429, 503) else None
        return TryAgain(reason, status, asked)
    return BadEvent(reason, status, request, answer.text)


def retry_after(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Seconds that the vendor asks to wait, 1 to 3600; None where it says nothing that can be read."""
    wait = _seconds(headers.get("Retry-After"), headers.get("Date"), now_ms)
    if wait is None:
        for name in ("X-RateLimit-Reset", "RateLimit-Reset"):
            number = _number(headers.get(name))
            if number is not None:
                wait = _from_now(number, now_ms)
                break
    return None if wait is None else min(max(wait, _SHORTEST), _LONGEST)


def _seconds(text: str | None, date: str | None, now_ms: int) -> float | None:
    if text is None:
        return None
    number = _number(text)
    if number is not None:
        return number
    until = _http_date(text)
    if until is None:
        return None
    # The vendor's own clock, where it says what that shows.
    now = _http_date(date) if date is not None else None
    return until - (now_ms / 1000 if now is None else now)


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < 1e15 else None


def _from_now(number: float, now_ms: int) -> float:
    if number >= _EPOCH_MS_FROM:
        return (number - now_ms) / 1000
    return number - now_ms / 1000 if number >= _EPOCH_FROM else number
