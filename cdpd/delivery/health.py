"""A destination's health: is it well, away, asking to wait, or wrongly configured? Decides what may be sent.

- well: everything may go.
- failing: the last batch wholly failed; a few other batches may still try (their events may be fine).
- away: several in a row failed. Probes of one event go, within 2 s of each other, so that a healed vendor is
  noticed soon, and whole batches whose own back-off is over; the first success wakes everybody who waits, one group
  after the other.
- limited: the vendor asked to wait: nothing goes before.
- paused: configuration or credentials are wrong, or, with strict order, an event is refused. Only probes go,
  rarely.
Pure: times are passed in, monotonic seconds.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from cdpd.delivery.backoff import Random, pause_delay, probe_delay, retry_delay
from cdpd.destinations.outcome import Misconfigured

TRIED_WHILE_FAILING: Final = 4
"""So many groups at most are tried before a success while nothing succeeds."""
AWAY_AFTER: Final = 2

State = Literal["well", "failing", "away", "limited", "paused"]


class Health(Struct):
    """See the module."""

    failures: int = 0
    """Failed sends in a row."""
    failing_since: float | None = None
    last_error: str = ""
    last_kind: str = ""
    """The class of that error: cdpd/destinations/outcome.py."""
    well_at: float = -1.0
    """When the newest batch that came through was sent."""
    limited_until: float = 0.0
    limits: int = 0
    """Rate limits in a row that named no time."""
    limited_at: float = -1.0
    """When the newest rate limit was heard."""
    paused: str | None = None
    """Why it is paused."""
    paused_since: float = 0.0
    probes: int = 0
    """Probes since then."""
    next_probe: float = 0.0

    def state(self, now: float) -> State:
        if self.paused is not None:
            return "paused"
        if self.limited_until > now:
            return "limited"
        if self.failures >= AWAY_AFTER:
            return "away"
        return "failing" if self.failures else "well"

    def succeeded(self, sent_at: float) -> bool:
        """A send came through. True where it was away or paused before: now whoever waits may try again.

        A time that the vendor named in the meantime still holds.
        """
        recovered = self.failures >= AWAY_AFTER or self.paused is not None
        self.failures = 0
        self.failing_since = None
        self.paused = None
        self.well_at = max(self.well_at, sent_at)
        if sent_at > self.limited_at:
            self.limits = 0
        return recovered

    def failed(self, reason: str, now: float, random: Random) -> None:
        """A send failed as a whole, for now."""
        self.failures += 1
        self.noted(reason, "retry")
        if self.failing_since is None:
            self.failing_since = now
        self.next_probe = max(now + probe_delay(now - self.failing_since, random), self.limited_until)

    def noted(self, reason: str, kind: str) -> None:
        """The newest trouble."""
        self.last_error, self.last_kind = reason, kind

    def limit(self, after: float | None, sent_at: float, now: float, random: Random) -> None:
        """The vendor asked to wait so many seconds; None: as long as after a failure, longer each time in a row."""
        if after is None:
            if sent_at <= self.limited_at:
                return  # the batches that were in flight then are told the same once more
            self.limits += 1
            after = retry_delay(self.limits, random)
        self.limited_at = now
        self.limited_until = max(self.limited_until, now + after)
        self.next_probe = max(self.next_probe, self.limited_until)

    def pause(self, wrong: Misconfigured, now: float, *, probe: bool) -> bool:
        """True where it was not paused for that reason before."""
        news = self.paused != wrong.reason
        if self.paused is None:
            self.paused_since, self.probes = now, 0
        elif probe:
            self.probes += 1
        self.paused = wrong.reason
        self.noted(wrong.reason, wrong.kind)
        self.next_probe = now + (pause_delay(wrong.kind, self.probes) if wrong.after is None else wrong.after)
        return news

    def wake(self) -> None:
        """Nothing that was waited for holds any longer."""
        self.limited_until = self.next_probe = 0.0
