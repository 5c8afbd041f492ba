"""What `cdpd trace` tells, as data: one story for an id, in it one receipt for each time that such an event came in.

This is also the form of `cdpd trace --json`. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct, field

from cdpd.difference import Sign

Fate = Literal["archived", "discarded", "waiting", "no trace"]
State = Literal[
    "delivered",
    "skipped",
    "parked",
    "refused",
    "retrying",
    "waiting",
    "not connected",
    "filtered",
    "passed over",
    "done",
    "not begun",
]


class Searched(Struct):
    """Where was looked: the lines [first, end) of a stream, and the log times that these have."""

    stream: str
    first: int
    end: int
    from_ms: int | None = None
    to_ms: int | None = None
    keep: str | None = None
    """How long the stream is kept, as the configuration says."""
    more: int = 0
    """Lines with the id that are left out, as there are very many: between the first and the last ones."""
    scanned: int = 0
    """Lines that had to be read, since no index covers them (yet)."""
    unread: list[str] = field(default_factory=list)
    """What could not be read, and why."""


class Step(Struct):
    """A hook that changed the event: the places that it changed, and the lines of a diff."""

    hook: str
    changed: dict[str, Sign]
    before: Raw
    after: Raw


class Hooks(Struct, omit_defaults=True):
    """The hooks, tried again on the stored line with the configuration of today."""

    names: list[str] = field(default_factory=list)
    """Those of the event's source, in order, which were tried."""
    steps: list[Step] = field(default_factory=list)
    violations: list[dict[str, str]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Hooks that cannot be tried again → why."""
    ended_by: str = ""
    """The hook that turned it away when it was tried again …"""
    ended_code: str = ""
    """… and the code."""
    differs: dict[str, Sign] = field(default_factory=dict)
    """Places of the stored event that differ from what the hooks make of it today."""
    problem: str = ""
    """Why they could not be tried at all."""


class Archived(Struct):
    """Its line in `events`."""

    offset: int
    configuration: str
    """Id of the configuration that it went through (`configuration_id` in `cdpd status --json`)."""
    event: Raw


class Discarded(Struct, omit_defaults=True):
    """Its line in `discarded`."""

    offset: int
    at_ms: int
    by: str
    code: str
    message: str
    traceback: str = ""


class Try(Struct, omit_defaults=True):
    """A call to a destination that had the event in it."""

    at_ms: int
    attempt: int
    seconds: float
    events: int
    """How many events had the same outcome in that call."""
    outcome: str
    status: int | None = None
    reason: str = ""
    answer: str = ""
    job: str = ""
    """The replay, or retry of parked events, that it belongs to."""


class ParkedAs(Struct):
    """Where it is parked."""

    id: int
    at_ms: int
    reason: str
    status: int | None
    attempts: int
    request: str
    answer: str


class Delivered(Struct, omit_defaults=True):
    """What became of it at one destination."""

    name: str
    state: State
    code: str = ""
    """Of a rule that keeps it from being sent: FILTERED_BY_INTEGRATIONS_OBJECT …"""
    text: str = ""
    """The state in words, where there is more to say."""
    before_it: int | None = None
    """Lines of `events` that stand before it where it waits."""
    first_in_line: Try | None = None
    """What was last tried with the event for which it waits."""
    next_ms: int | None = None
    """By when it is tried again; while the destination is away, once that answers again."""
    tries: list[Try] = field(default_factory=list)
    parked: ParkedAs | None = None


class Receipt(Struct, omit_defaults=True):
    """One time that an event with this id came in."""

    fate: Fate
    source: str
    offset: int | None = None
    """In `received`; None where it is not known."""
    kept: bool = True
    """Whether its line is still in `received`."""
    at_ms: int | None = None
    """When it came in; a retried one: first."""
    log_ms: int | None = None
    """When its line was appended."""
    path: str = ""
    ip: str = ""
    origin: str = ""
    user_agent: str = ""
    retry: int = 0
    """The client's own count of attempts: 0 for the first."""
    retry_of: int | None = None
    """Offset of the receipt that `cdpd discarded retry` repeated with it."""
    sent_at: str = ""
    """The client's own time of sending, as it said."""
    sdk: str = ""
    """Name and version of the library that sent it."""
    reject: str = ""
    """Why ingest did not give it to the hooks."""
    configuration: str = ""
    behind: int | None = None
    """Lines of `received` before it that the pipeline has not come to."""
    type: str = ""
    name: str = ""
    who: str = ""
    event: Raw | None = None
    """As it came in."""
    hooks: Hooks | None = None
    discarded: Discarded | None = None
    archived: Archived | None = None
    destinations: list[Delivered] = field(default_factory=list)


class Story(Struct):
    """All that is known of a messageId."""

    message_id: str
    now_ms: int
    searched: list[Searched]
    receipts: list[Receipt] = field(default_factory=list)
    """In the order of `received`; those whose line there is not known come first."""
    configuration: str = ""
    """Id of the configuration as it is in its files."""
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        return bool(self.receipts)
