"""Outcomes: what became of one event at a destination, as `deliver` reports it and delivery acts on it.

There are nine. Each has a `kind`, the name by which the journal, metrics, `cdpd trace` and the cases of destinations
know it. Source: spec/destinations.md §0.1.

| outcome | `kind` | what delivery does |
| --- | --- | --- |
| Delivered | `delivered` | the event is done |
| Skipped | `skipped` | done, counted apart |
| TryAgain | `retry` | the same event again, after a back-off |
| RateLimited | `rate_limited` | the whole destination waits as long as it was told; this uses up no attempt |
| Resend | `resend` | at once again, without the events that were refused; this uses up no attempt |
| TooLarge | `too_large` | the batch is halved and both halves go at once; a single event is a BadEvent |
| BadEvent | `bad_event` | the event is parked; the rest goes on |
| BadConfig | `bad_config` | the destination pauses; probes after 5 minutes, and then less and less often |
| BadCredentials | `bad_credentials` | the destination pauses; a probe every 5 minutes |
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from msgspec import Struct

Kind = Literal[
    "delivered",
    "skipped",
    "retry",
    "rate_limited",
    "resend",
    "too_large",
    "bad_event",
    "bad_config",
    "bad_credentials",
]
"""The names of the classes."""


class Delivered(Struct, frozen=True, tag="delivered"):
    """The vendor has it."""

    kind: ClassVar[Kind] = "delivered"
    status: int | None = None


class Skipped(Struct, frozen=True, tag="skipped"):
    """There was nothing to send for this event: done, counted apart, no error."""

    kind: ClassVar[Kind] = "skipped"
    code: str


class TryAgain(Struct, frozen=True, tag="retry"):
    """Not now: time-out, connection, 408, 5xx. The same events come again after a back-off."""

    kind: ClassVar[Kind] = "retry"
    reason: str
    status: int | None = None
    after: float | None = None
    """Seconds that the vendor asked to wait: the whole destination waits."""
    answer: str = ""
    code: str = ""
    """Of a failure of the network: `ETIMEDOUT`, `ECONNREFUSED` …"""
    sent: bool = True
    """False: see HELD."""


class RateLimited(Struct, frozen=True, tag="rate_limited"):
    """Told to slow down (429, 503 with `Retry-After`): nothing is sent until then, and fewer batches at once after."""

    kind: ClassVar[Kind] = "rate_limited"
    reason: str
    status: int | None = None
    after: float | None = None
    """Seconds that the vendor asked to wait. None: the back-off of a retry, longer each time in a row."""
    answer: str = ""
    scope: Literal["destination", "user"] = "destination"
    """`user`: the vendor throttles only this event's user; nobody else waits."""


class Resend(Struct, frozen=True, tag="resend"):
    """The event was fine, but the vendor refused the whole batch because of others in it.

    One of those others has to have another outcome; a batch of nothing but Resend is a fault of the destination.
    """

    kind: ClassVar[Kind] = "resend"
    reason: str = "the vendor refused the whole batch because of other events in it"
    status: int | None = None
    answer: str = ""


class TooLarge(Struct, frozen=True, tag="too_large"):
    """The request was too large (413): the batch is halved and sent at once; a single event is parked."""

    kind: ClassVar[Kind] = "too_large"
    reason: str
    status: int | None = None
    request: str = ""
    answer: str = ""


class BadEvent(Struct, frozen=True, tag="bad_event"):
    """The vendor will never take this event (400, 422 …): it is parked with request and answer."""

    kind: ClassVar[Kind] = "bad_event"
    reason: str
    status: int | None = None
    request: str = ""
    answer: str = ""


class Misconfigured(Struct, frozen=True, tag="misconfigured"):
    """What BadConfig and BadCredentials have in common; used itself it means BadConfig. Nothing is parked."""

    kind: ClassVar[Kind] = "bad_config"
    reason: str
    """What is wrong and what to do about it."""
    status: int | None = None
    after: float | None = None
    """Seconds until it is tried again with one event; default: see the module's table."""
    answer: str = ""


class BadConfig(Misconfigured, frozen=True, tag="bad_config"):
    """A setting is wrong for every event (501, a redirect, an untrusted certificate, 402): the destination pauses."""

    kind: ClassVar[Kind] = "bad_config"


class BadCredentials(Misconfigured, frozen=True, tag="bad_credentials"):
    """The key is refused (401, 403): the destination pauses and is probed every 5 minutes."""

    kind: ClassVar[Kind] = "bad_credentials"


HELD: Final = TryAgain("an earlier event has to go first", sent=False)
"""Of what was not sent at all, because something else has to be sent before: no attempt, and no word on the vendor."""

Outcome = Delivered | Skipped | TryAgain | RateLimited | Resend | TooLarge | BadEvent | Misconfigured
OUTCOMES: Final = (Delivered, Skipped, TryAgain, RateLimited, Resend, TooLarge, BadEvent, Misconfigured)
"""The same, for `isinstance`."""
