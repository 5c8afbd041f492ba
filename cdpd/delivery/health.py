"""A destination's health: is it well, away, asking to wait, or wrongly configured? Decides what may be sent.

- well: everything may go.
- failing: the last batch wholly failed; a few other batches may still try (their events may be fine).
- away: several in a row failed. Only probes of one event go, within 2 s of each other, so that a healed vendor
  is noticed soon; the first success wakes everybody who waits, one group after the other.
- limited: the vendor named a time (`Retry-After`): nothing goes before.
- paused: configuration or credentials are wrong, or, with strict order, an event is refused. Only probes go,
  rarely.
Pure: times are passed in, monotonic seconds.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from cdpd.delivery.backoff import MISCONFIGURED_PROBE, Random, probe_delay

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
    limited_until: float = 0.0
    paused: str | None = None
    """Why it is paused."""
    paused_since: float = 0.0
    next_probe: float = 0.0

    def state(self, now: float) -> State:
        if self.paused is not None:
            return "paused"
        if self.limited_until > now:
            return "limited"
        if self.failures >= AWAY_AFTER:
            return "away"
        return "failing" if self.failures else "well"

    def succeeded(self) -> bool:
        """A send came through. True where it was away or paused before: now whoever waits may try again."""
        recovered = self.failures >= AWAY_AFTER or self.paused is not None
        self.failures = 0
        self.failing_since = None
        self.limited_until = 0.0
        self.paused = None
        return recovered

    def failed(self, reason: str, after: float | None, now: float, random: Random) -> None:
        """A send failed as a whole, for now; `after`: seconds that the vendor asked for."""
        self.failures += 1
        self.last_error = reason
        if self.failing_since is None:
            self.failing_since = now
        if after is not None:
            self.limited_until = max(self.limited_until, now + after)
        self.next_probe = max(now + probe_delay(now - self.failing_since, random), self.limited_until)

    def limit(self, after: float, now: float) -> None:
        """The vendor took some and asked to wait with the rest."""
        self.limited_until = max(self.limited_until, now + after)

    def pause(self, reason: str, after: float | None, now: float) -> bool:
        """True where it was not paused for that reason before."""
        news = self.paused != reason
        if self.paused is None:
            self.paused_since = now
        self.paused = self.last_error = reason
        self.next_probe = now + (MISCONFIGURED_PROBE if after is None else after)
        return news
