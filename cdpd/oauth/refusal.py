"""Why a token request is refused: RFC 6749 §5.2, with the statuses and texts that SDKs act on (wire.md §2).

400, 401 and 415 are final for the SDKs; after 429 and 5xx they ask again.
"""

from __future__ import annotations

import re
from typing import Final

EXPIRED: Final = "Token is expired"
TOO_EARLY: Final = "Token used before issued"
"""With `invalid_request`: segment-analytics-python puts its clock right by our `Date` and asks again at once."""
_LONGEST: Final = 500
_QUOTED: Final = re.compile(r"'.*'|'.*$")
"""To the last quote: what a client sent may have some of its own."""
_NOT_ALLOWED: Final = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")


class Refusal(Exception):
    """Answers a token request with an error."""

    def __init__(self, status: int, error: str, description: str, retry_after: int | None = None) -> None:
        super().__init__(f"{error}: {description}")
        self.status = status
        self.error = error
        self.description = _NOT_ALLOWED.sub("?", description.replace('"', "'"))[:_LONGEST]
        """Of the characters that RFC 6749 §5.2 allows, whatever a client sent."""
        self.retry_after = retry_after

    @property
    def for_log(self) -> str:
        """The description without what it quotes of the request."""
        return _QUOTED.sub("'…'", self.description)


def bad_request(description: str) -> Refusal:
    """The request itself is malformed."""
    return Refusal(400, "invalid_request", description)


def bad_client(description: str) -> Refusal:
    """The assertion does not prove that an app asks (RFC 7521 §4.2.1)."""
    return Refusal(401, "invalid_client", description)


def later(seconds: int, description: str, status: int = 429) -> Refusal:
    """Come again after that many seconds."""
    return Refusal(status, "temporarily_unavailable", description, seconds)
