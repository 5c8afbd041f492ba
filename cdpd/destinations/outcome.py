"""Outcomes: what became of one event at a destination, as `deliver` reports it and delivery acts on it."""

from __future__ import annotations

from msgspec import Struct


class Delivered(Struct, frozen=True, tag=True):
    """The vendor has it."""

    status: int | None = None


class TryAgain(Struct, frozen=True, tag=True):
    """Not now: time-out, connection, 429, 5xx. The same events come again after a back-off."""

    reason: str
    status: int | None = None
    after: float | None = None
    """Seconds that the vendor asked to wait (`Retry-After`)."""


class BadEvent(Struct, frozen=True, tag=True):
    """The vendor will never take this event (400, 422 …): it is parked with request and answer."""

    reason: str
    status: int | None = None
    request: str = ""
    answer: str = ""


class Misconfigured(Struct, frozen=True, tag=True):
    """Configuration or credentials are wrong (401, 403 …): the destination pauses and probes now and then."""

    reason: str
    status: int | None = None


class TooLarge(Struct, frozen=True, tag=True):
    """The request was too large (413): the same events come again in smaller batches; one alone is a BadEvent."""

    reason: str
    status: int | None = None
    request: str = ""
    answer: str = ""


Outcome = Delivered | TryAgain | BadEvent | Misconfigured | TooLarge
