"""The destination contract: what a class in the entry-point group `cdpd.destinations` must offer.

    class Signups(Destination):
        name = "Signups"

        class Config(DestinationConfig):
            url: str

        async def deliver(self, batch: Batch) -> list[Outcome]:
            ...

Everything else is done for it: its own cursor, the `integrations` rules, batching, retrying with back-off,
parking, metrics, logging.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from msgspec import Meta, Raw, Struct, field

from cdpd.clock import Clock
from cdpd.config.duration import parse_duration
from cdpd.config.functions import FunctionSetup
from cdpd.destinations.checked import UNTESTED, Checked
from cdpd.destinations.filter_setup import MOST_FILTERS, FilterSetup
from cdpd.destinations.outcome import Outcome
from cdpd.event import TYPES, Event

if TYPE_CHECKING:  # `cdpd check` and `cdpd plugins` import destinations for their Config alone
    import aiohttp
    import structlog


class BatchLimits(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """How much goes in one `deliver` call. There is no linger: what is there is sent."""

    max_events: Annotated[int, Meta(ge=1)] = 500
    """Most events."""
    max_bytes: Annotated[int, Meta(ge=1)] = 4 * 1024 * 1024
    """Sum of the events' own JSON; a single larger event still goes, alone."""


class DestinationConfig(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Options that every `[destinations.NAME]` has; a destination's own Config extends them."""

    type: str = ""
    """Which destination: a name from `cdpd plugins`. Default: the section's own name."""
    was: str | None = None
    """The name that this destination had before: it goes on where that one was, with its parked events. Once; it may
    stay here."""
    sources: list[str] | None = None
    """Names of the sources to take events from. Default: all."""
    enabled: bool = True
    """False: nothing is sent; its events wait in the log."""
    start: str = field(name="from", default="now")
    """Where a new destination begins: `now`, `beginning` or an ISO 8601 time. Later changes do nothing."""
    ordering: Literal["user", "strict", "none"] = "user"
    """`user`: each user's events in order. `strict`: all events in order. `none`: any order."""
    batch: BatchLimits | None = None
    """Batch limits, at most the destination's own."""
    timeout: Annotated[float, Meta(gt=0)] = 10.0
    """Seconds for one request."""
    max_events_per_second: Annotated[float, Meta(gt=0)] | None = None
    """Most events a second, averaged; batches become as small as that needs. Default: as fast as they are taken."""
    max_requests_per_second: Annotated[float, Meta(gt=0)] | None = None
    """Most batches a second, evenly spread (`0.5`: one every two seconds). Default: as fast as they are taken."""
    filters: Annotated[list[FilterSetup], Meta(max_length=MOST_FILTERS)] = field(default_factory=list)
    """What it does not get, or not all of: conditions in FQL, and what is done to events that fit them."""
    client: dict[str, Any] | None = None
    """Its settings for browsers (device mode): served to the pages of its sources in the settings document, under its
    display name. Everybody can read them. Events that a page says it has delivered itself are not sent again."""
    insert: str | FunctionSetup | None = None
    """An insert function, which changes events on their way here or drops them: a Python file, or
    `{ file = "…", settings = {…}, timeout = 5 }` (cdpd/functions/README.md). It is trusted code."""
    retry_for: str | None = None
    """How long an event is tried before it is parked, e.g. `4h`, counted anew after a restart. Default: for ever."""

    def __post_init__(self) -> None:
        if self.retry_for is not None:
            try:
                parse_duration(self.retry_for)
            except ValueError as error:
                raise ValueError(f"retry_for: {error}") from None


class Batch(Struct, frozen=True):
    """What `deliver` gets: events in order. Their `options` hold the per-call integration options."""

    events: Sequence[Event]
    attempt: int = 1
    """1 for the first try of these events; a try that met a rate limit does not count."""
    share: float = 1.0
    """Above 0, at most 1: how much of what it may do at once a destination shall do; less while a vendor that asked to
    slow down, or did not answer in time, recovers. Delivery itself heeds it in the number of `deliver` calls."""


class Insert(Protocol):
    """A destination's insert function, ready to be called (`insert` in its configuration; cdpd/functions)."""

    async def __call__(self, events: Sequence[Event]) -> Sequence[Event | Outcome]:
        """For each event how it goes on, or what became of it: then it is not sent. Never raises."""
        ...


class DestinationEnv(Struct, frozen=True):
    """What delivery hands to a destination."""

    name: str
    """The instance's name in the configuration."""
    http: aiohttp.ClientSession
    """Its own connection pool, with the configured time-out; used inside `deliver` and `check` only."""
    state_dir: Path
    clock: Clock
    log: structlog.typing.FilteringBoundLogger
    insert: Insert | None = None
    """Its insert function. Delivery calls it before `deliver`, unless the destination does (`calls_insert`)."""


class Problem(Struct, frozen=True):
    """Something wrong with a configuration that its types cannot tell."""

    path: tuple[str | int, ...]
    """Where, below `[destinations.NAME]`: keys, and numbers of list items."""
    message: str
    hint: str = ""
    """What to do, or what was meant perhaps."""


class Destination:
    """Base of every destination.

    Several instances of one configured destination may be at work at once: that of live traffic, and one for each
    replay and each retry of parked events. They share `state_dir`, and whatever else the configuration names.
    """

    name: ClassVar[str]
    """Display name: the key in an event's `integrations` object (exact, case sensitive)."""
    Config: ClassVar[type[DestinationConfig]] = DestinationConfig
    supports: ClassVar[frozenset[str]] = frozenset(TYPES)
    """Calls that it takes; others are skipped as UNSUPPORTED_EVENT_TYPE."""
    opt_in: ClassVar[bool] = False
    """True: gets an event only where `integrations` names it (spec/connections.md §4, plugin default)."""
    obeys_integrations: ClassVar[bool] = True
    """False for archives, which ignore the `integrations` object."""
    limits: BatchLimits = BatchLimits()
    """Most that goes in one `deliver`, whatever the configuration says; may be set in `__init__`."""
    calls_insert: bool = False
    """True: `deliver` itself calls `env.insert`, between its triggers and its mappings."""
    concurrency: int = 1
    """How many `deliver` calls may run at once (never with events of one user, unless `ordering = "none"`); may be set
    in `__init__`. It is the most: fewer run while the vendor says that it is too much."""

    def __init__(self, config: Any, env: DestinationEnv) -> None:
        self.config = config
        self.env = env

    @classmethod
    def problems(cls, config: Any) -> Iterable[Problem]:
        """What is wrong with a configuration beyond its types, for `cdpd check`. Without network or files."""
        if config.filters and not cls.obeys_integrations:
            yield Problem(("filters",), "an archive takes everything: it cannot have filters", "remove them")
        if config.insert is not None and not cls.obeys_integrations:
            text = "an archive takes everything as it is: it cannot have an insert function"
            yield Problem(("insert",), text, "remove it")

    async def start(self) -> None:
        """Once, before the first batch. What may fail belongs into `deliver`, whose outcomes say what to do."""

    async def stop(self) -> None:
        """Once, after the last batch."""

    def reopen(self) -> None:
        """On SIGHUP: open files again (logrotate)."""

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send the batch; one outcome an event, in the batch's order (cdpd/destinations/outcome.py).

        `cdpd.destinations.answers` turns an HTTP answer into an outcome. May raise: aiohttp and OS errors and
        time-outs count as TryAgain for the whole batch (a certificate or an address that is wrong: BadConfig);
        any other exception is a fault of the destination: TryAgain too, loudly, with its traceback in the log.
        A wrong number of outcomes is such a fault as well. Where the daemon dies before the outcomes are committed,
        the batches in flight (at most `concurrency`) come again, with the same messageIds.
        """
        raise NotImplementedError

    async def check(self) -> Checked:
        """Test the connection, for `cdpd destination check`: are the settings right, does the vendor answer?

        Between `start` and `stop`, on an instance of its own, whether or not a daemon runs. It never sends an event,
        nor changes anything at the vendor's. May raise what `deliver` may. Default: it cannot be tested.
        """
        return Checked("unknown", UNTESTED)

    @classmethod
    def can_check(cls) -> bool:
        """Whether its connection can be tested."""
        return cls.check is not Destination.check

    def preview(self, event: Event) -> object:
        """What `deliver` would send for this event alone, for `cdpd diff`: JSON types, or msgspec.Raw for JSON text.

        Without network or files, on an instance that was made but never started; secrets, and what is another at every
        try (times, signatures), as `cdpd.secret.HIDDEN`. Where nothing is sent: None, or a list of nothing but
        `{"outcome": kind, "reason": why}`. Default: the event itself.
        """
        return Raw(event.line())
