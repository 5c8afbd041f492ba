"""Several requests of one batch: side by side where they may be, each user's one after the other.

A destination that makes more than one request of a batch plans them here. Which requests: entries with the same key
share one, within its limits, unless that would let a user's later entry overtake an earlier one. Pure but for
`run_steps`, which starts each step when those before it have ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Final

import anyio
from msgspec import Struct, field

from cdpd.destinations.outcome import HELD, Misconfigured, Outcome, RateLimited, TryAgain
from cdpd.event import Event

_FINISHED: Final = frozenset(("delivered", "skipped", "bad_event"))
_STRICT: Final = frozenset(("delivered", "skipped"))


class Entry(Struct, eq=False):
    """Something to be sent: it shares a request with others of the same `key`."""

    key: Hashable
    user: Hashable | None
    """Entries of one user keep their order; None: of nobody."""
    size: int = 0
    """Bytes."""
    weight: int = 1
    """How many of `most` it counts for."""
    most: int = 1
    """Entries of its request at most …"""
    most_bytes: int = 1 << 62
    """… and bytes; a single larger one still goes, alone."""


class Step(Struct, eq=False):
    """One request."""

    places: list[int]
    """Which entries."""
    after: set[int] = field(default_factory=set)
    """Steps that have to be over before."""
    size: int = 0
    weight: int = 0


def plan(entries: Iterable[Entry]) -> list[Step]:
    """As few requests as the limits and everybody's order allow; each depends on earlier ones alone."""
    steps: list[Step] = []
    open_: dict[Hashable, int] = {}
    last: dict[Hashable, int] = {}  # user → the last step that has something of theirs
    for place, entry in enumerate(entries):
        at = open_.get(entry.key)
        before = None if entry.user is None else last.get(entry.user)
        if at is not None:
            step = steps[at]
            full = step.weight + entry.weight > entry.most or step.size + entry.size > entry.most_bytes
            if full or (before is not None and before > at):
                at = None
        if at is None:
            at = open_[entry.key] = len(steps)
            steps.append(Step([]))
        step = steps[at]
        step.places.append(place)
        step.size += entry.size
        step.weight += entry.weight
        if before is not None and before != at:
            step.after.add(before)
        if entry.user is not None:
            last[entry.user] = at
    return steps


def user_of(event: Event, ordering: str) -> Hashable | None:
    """Whose order an event has to keep: with `strict` everybody's, with `none` nobody's.

    Of delivery's own events the user is known even where a filter or an insert function has taken the ids out.
    """
    if ordering == "strict":
        return ""
    if ordering == "none":
        return None
    return event.lane or event.user_id or event.anonymous_id or None


async def run_steps(
    entries: Sequence[Entry],
    steps: Sequence[Step],
    send: Callable[[list[int]], Awaitable[Sequence[Outcome]]],
    *,
    at_once: int,
    strict: bool = False,
) -> list[Outcome]:
    """The outcome of each entry. `send` makes the request of some entries' places, and does not raise.

    What follows an unfinished entry of the same user is held, and so is the rest once the vendor has refused everybody
    or `at_once` requests in a row have failed: a vendor that is away is not asked for the whole batch. `strict`: an
    entry that was refused holds those after it too.
    """
    run = _Run(entries, steps, send, at_once, _STRICT if strict else _FINISHED)
    if len(steps) == 1:
        await run.step(0)
        return run.outcomes
    async with anyio.create_task_group() as tasks:
        for number in range(len(steps)):
            tasks.start_soon(run.step, number)
    return run.outcomes


class _Run:
    def __init__(
        self,
        entries: Sequence[Entry],
        steps: Sequence[Step],
        send: Callable[[list[int]], Awaitable[Sequence[Outcome]]],
        at_once: int,
        finished: frozenset[str],
    ) -> None:
        self.outcomes: list[Outcome] = [HELD] * len(entries)
        self._entries = entries
        self._steps = steps
        self._send = send
        self._at_once = at_once
        self._finished = finished
        self._over = [anyio.Event() for _ in steps]
        self._running = anyio.CapacityLimiter(at_once)
        self._held: set[Hashable] = set()
        """Users of whom something is not finished."""
        self._misses = 0
        """Requests in a row that failed."""

    async def step(self, number: int) -> None:
        try:
            for earlier in self._steps[number].after:
                await self._over[earlier].wait()
            async with self._running:
                await self._request(self._steps[number].places)
        finally:
            self._over[number].set()

    async def _request(self, places: Sequence[int]) -> None:
        going = [place for place in places if self._entries[place].user not in self._held]
        if going and self._misses < self._at_once:
            told = await self._send(going)
            for place, outcome in zip(going, told, strict=True):
                self.outcomes[place] = outcome
            self._heed(told)
        for place in places:
            user = self._entries[place].user
            if user is not None and self.outcomes[place].kind not in self._finished:
                self._held.add(user)

    def _heed(self, told: Sequence[Outcome]) -> None:
        if any(_refuses_everybody(outcome) for outcome in told):
            self._misses = self._at_once
        elif all(outcome.kind == "retry" for outcome in told):
            self._misses += 1
        elif self._misses < self._at_once:
            self._misses = 0


def _refuses_everybody(outcome: Outcome) -> bool:
    if isinstance(outcome, RateLimited):
        return outcome.scope == "destination"
    return isinstance(outcome, Misconfigured) or (isinstance(outcome, TryAgain) and outcome.after is not None)
