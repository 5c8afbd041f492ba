"""What the daemon's log says of an outcome: without the vendor's words, which may quote an event.

All of it is in `cdpd status` and the journal of deliveries.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from cdpd.delivery.verdict import STRICTLY_HELD, TOO_LATE
from cdpd.destinations.outcome import BadEvent, Misconfigured, RateLimited, TryAgain

_CODE: Final = re.compile(r"\(E[A-Z]+\)$")
"""An error of the network, at the end of a reason."""


def for_log(outcome: TryAgain | RateLimited | BadEvent | Misconfigured) -> str:
    """`it answered 503 Service Unavailable`; where nobody answered, the reason up to its first colon."""
    ours, reason = "", outcome.reason
    for words in (STRICTLY_HELD, TOO_LATE):
        if reason.startswith(words):
            ours, reason = ours + words, reason.removeprefix(words)
    if outcome.status is not None:
        return f"{ours}it answered {outcome.status} {_phrase(outcome.status)}".rstrip()
    words, colon, rest = reason.partition(": ")
    code = _CODE.search(rest) if colon else None
    return f"{ours}{words} {code[0]}" if code else ours + words


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
