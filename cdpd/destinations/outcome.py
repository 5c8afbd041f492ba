"""Outcomes: what became of one event at a destination, as `deliver` reports it and delivery acts on it."""

from __future__ import annotations

from msgspec import Struct


class Delivered(Struct, frozen=True, tag=True):
    """The vendor has it."""

    status: int | None = None


class Skipped(Struct, frozen=True, tag=True):
    """There was nothing to send for this event: done, counted apart, no error."""

    code: str


class TryAgain(Struct, frozen=True, tag=True):
    """Not now: time-out, connection, 429, 5xx. The same events come again after a back-off."""

    reason: str
    status: int | None = None
    after: float | None = None
    """Seconds that the vendor asked to wait (`Retry-After`): the whole destination waits."""


class TooLarge(Struct, frozen=True, tag=True):
    """The request was too large (413): the batch is halved and sent at once; a single event is parked."""

    reason: str
    status: int | None = None
    request: str = ""
    answer: str = ""


class BadEvent(Struct, frozen=True, tag=True):
    """The vendor will never take this event (400, 422 …): it is parked with request and answer."""

    reason: str
    status: int | None = None
    request: str = ""
    answer: str = ""


class Misconfigured(Struct, frozen=True, tag=True):
    """Configuration or credentials are wrong (401, 403 …): the destination pauses and probes now and then."""

    reason: str
    """What is wrong and what to do about it."""
    status: int | None = None
    after: float | None = None
    """Seconds until it is tried again with one event; default: 5 minutes."""


Outcome = Delivered | Skipped | TryAgain | TooLarge | BadEvent | Misconfigured
