"""Whose turn it is: which batch goes next, when one may go later, and what its outcomes mean for all others.

Pure: no I/O, and times are passed in. A consumer asks `next`, sends, and tells `heed` what became of it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from cdpd.delivery.backoff import Random, retry_delay
from cdpd.delivery.health import TRIED_WHILE_FAILING, Health
from cdpd.delivery.lanes import Group, Item, Lanes
from cdpd.delivery.pace import Pace
from cdpd.delivery.verdict import Verdict
from cdpd.destinations.contract import BatchLimits

_FRESH_PROBE: Final = 3
"""Every so many probes asks with an event that was never tried: all that were may be refused for their content."""


class Turn(Struct, eq=False):
    """A batch on its way."""

    group: Group
    sent_at: float
    probe: bool = False
    """One event that asks whether the vendor is there again."""
    rest: Group | None = None
    """Of a probe that was tried before: the rest of its group."""


class News(Struct):
    """What a batch's outcomes changed."""

    well: bool = False
    """It was away or paused, and takes events again."""
    away_for: float | None = None
    """Seconds that it was, where that is known."""
    paused: bool = False
    """It is paused for a reason that was not known before."""


class Turns:
    """See the module. `concurrency` and `limits` of its pace and batches may change while it works."""

    def __init__(self, lanes: Lanes, pace: Pace, limits: BatchLimits, random: Random) -> None:
        self.lanes = lanes
        self.pace = pace
        self.limits = limits
        self.health = Health()
        self.in_flight = 0
        self._random = random
        self._recovering: deque[Group] = deque()
        self._probes = 0

    # -- what may go -----------------------------------------------------------------------------------------

    def next(self, now: float) -> Turn | None:
        """The batch that is to be sent now; it counts as in flight until `landed`."""
        turn = self._next(now)
        if turn is not None:
            self.in_flight += 1
            self.pace.take(len(turn.group.items), now)
        return turn

    def landed(self) -> None:
        """A batch is no longer in flight."""
        self.in_flight -= 1

    def _next(self, now: float) -> Turn | None:
        health, lanes = self.health, self.lanes
        if self.in_flight >= self.pace.calls or self.pace.wait(1, now):
            return None
        state = health.state(now)
        if state == "limited":
            return None
        if state in ("away", "paused") and not self.in_flight and now >= health.next_probe:
            probe = self._probe(now)
            if probe is not None:
                return probe
        if state == "paused":
            return None
        for group in lanes.waiting:
            if group.due <= now:
                if self.pace.wait(len(group.items), now):
                    return None
                lanes.take_again(group)
                return Turn(group, now)
        if self._takes_fresh(now):
            events = self.pace.room(now, self.limits.max_events)
            fresh = lanes.take(events, self.limits.max_bytes)
            return None if fresh is None else Turn(fresh, now)
        return None

    def _takes_fresh(self, now: float) -> bool:
        """Whether events go that were never tried: all while it is well, else a few batches."""
        if self.health.state(now) == "well":
            return True
        asked = sum(not group.suspect for group in self.lanes.waiting)
        return asked + self.in_flight < TRIED_WHILE_FAILING

    def _probe(self, now: float) -> Turn | None:
        lanes = self.lanes
        asked = [group for group in lanes.waiting if not group.suspect]
        self._probes += 1
        if not asked or self._probes % _FRESH_PROBE == 0:
            fresh = lanes.take(1, self.limits.max_bytes)
            if fresh is not None:
                return Turn(fresh, now, probe=True)
        if not lanes.waiting:
            return None
        group = (asked or lanes.waiting)[0]
        return Turn(lanes.split(group), now, probe=True, rest=group)

    def wake_in(self, now: float) -> float | None:
        """Seconds until time alone makes something possible; None where only a change does."""
        health, waiting = self.health, self.lanes.waiting
        if self.in_flight >= self.pace.calls or not (waiting or self.lanes.queued):
            return None
        due = min((group.due for group in waiting), default=None)
        pace = self.pace.wait(1, now)
        times: list[float] = []
        match health.state(now):
            case "limited":
                times.append(health.limited_until)
            case "paused":
                if self.in_flight:
                    return None
                times.append(health.next_probe)
            case state:
                if due is not None:
                    times.append(due)
                if state == "away" and waiting and not self.in_flight:
                    times.append(health.next_probe)
                if pace and self.lanes.queued and self._takes_fresh(now):
                    times.append(now + pace)
                if due is not None and due <= now:  # it has to wait for its pace
                    group = next(group for group in waiting if group.due <= now)
                    pace = self.pace.wait(len(group.items), now)
        return max(min(times) - now, pace, 0.001) if times else None

    def wake(self) -> None:
        """Try at once what waits for a retry or a probe."""
        self.health.wake()
        for group in self.lanes.waiting:
            group.due = 0.0

    # -- what became of it -----------------------------------------------------------------------------------

    def heed(self, turn: Turn, told: Verdict, now: float) -> News:
        """What the outcomes say of the destination, and when what is left is tried again."""
        health, news = self.health, News()
        before, since = health.state(now), health.failing_since
        if turn.rest is not None and not told.again:
            self.lanes.put_back(turn.rest)
        if told.too_much:
            self.pace.slower(turn.sent_at, now)
        elif told.answered:
            self.pace.faster()
        its_own = self._is_its_own(turn.group)
        if told.wrong is not None:
            news.paused = health.pause(told.wrong, now, probe=turn.probe)
        elif told.answered:
            if health.succeeded(turn.sent_at):
                self._recovering = deque(sorted(self.lanes.waiting, key=lambda group: group.suspect))
            if before in ("away", "paused"):
                news.well, news.away_for = True, None if since is None else now - since
        elif told.tries:
            if its_own:
                health.noted(told.tries[0].reason, "retry")
            else:
                health.failed(told.tries[0].reason, now, self._random)
        if told.limits or told.after is not None:
            health.limit(told.after, turn.sent_at, now, self._random)
            if told.limits:
                health.noted(told.limits[0].reason, "rate_limited")
        if told.again:
            self._again(turn, told, now, its_own=its_own)
        if self._recovering and health.state(now) in ("well", "failing"):
            self._wake_one(now)
        return news

    def _is_its_own(self, group: Group) -> bool:
        """Where these fail once more: whether the vendor took others since they last did."""
        return group.failed_at is not None and self.health.well_at > group.failed_at

    def _again(self, turn: Turn, told: Verdict, now: float, *, its_own: bool) -> None:
        for item in told.again:
            item.failing_since = now if item.failing_since is None else item.failing_since
        for item in told.tried:
            item.tries += 1
        items = self._slow(turn, told, now)
        if not items:
            return
        group, rest, lanes = turn.group, turn.rest, self.lanes
        if not told.tried:  # the vendor only asked to wait
            if rest is not None:
                lanes.put_back(rest, items)
            else:
                self._first(Group(items, group.failures, now, group.failed_at, group.suspect))
            return
        failures = group.failures + 1
        due = now + (retry_delay(failures, self._random) if told.after is None else told.after)
        if rest is not None:
            rest.failures, rest.due, rest.failed_at = failures, max(rest.due, due), now
            rest.suspect = rest.suspect or its_own
            lanes.rejoin(items, rest)
        elif turn.probe and (beside := self._with_room()) is not None:
            beside.items.extend(items)
        elif (its_own or group.suspect) and told.tries and len(halves := self._halves(told)) > 1:
            # One of them spoils all others: whoever it is, it is found in a few steps.
            soon = now + retry_delay(1, self._random)
            for half in halves:
                self._mark(lanes.wait(half, 1, soon), now, suspect=True)
        else:
            self._mark(lanes.wait(items, failures, due), now, suspect=group.suspect or its_own)

    def _slow(self, turn: Turn, told: Verdict, now: float) -> list[Item]:
        """Let users who are throttled wait on their own; the items of `again` that are left."""
        if not told.slow:
            return told.again
        lanes, rest = self.lanes, turn.rest
        waits: dict[object, float] = {}
        for item, outcome in told.slow:
            wait = (
                retry_delay(turn.group.failures + 1, self._random) if outcome.after is None else outcome.after
            )
            key = item if item.key is None else item.key
            waits[key] = max(waits.get(key, 0.0), wait)
        if rest is not None:
            # What the probe's group has of the same user waits with it.
            theirs = [item for item in rest.items if item.key is not None and item.key in waits]
            rest.items[:] = [item for item in rest.items if item not in theirs]
            lanes.put_back(rest)
            lanes.wait([*told.again, *theirs], turn.group.failures + 1, now + max(waits.values()))
            return []
        left: list[Item] = []
        users: dict[object, list[Item]] = {}
        for item in told.again:
            key = item if item.key is None else item.key
            (users.setdefault(key, []) if key in waits else left).append(item)
        for user, items in users.items():
            lanes.wait(items, turn.group.failures + 1, now + waits[user])
        return left

    def _halves(self, told: Verdict) -> list[list[Item]]:
        """The batch in two, where it failed as a whole: then its outcomes do not tell who is to blame."""
        return [] if told.done or told.wrong is not None else self.lanes.halves(told.again)

    def _first(self, group: Group) -> None:
        self.lanes.waiting.insert(0, group)

    def _with_room(self) -> Group | None:
        """A group that waits and has room for one event more, so that probes make no crowd of groups."""
        for group in reversed(self.lanes.waiting):
            if not group.suspect and len(group.items) < self.limits.max_events:
                return group
        return None

    @staticmethod
    def _mark(group: Group, now: float, *, suspect: bool) -> None:
        group.failed_at, group.suspect = now, suspect

    def _wake_one(self, now: float) -> None:
        """After an outage those who wait go one by one, each when the one before has told how it went."""
        while self._recovering:
            group = self._recovering.popleft()
            if group in self.lanes.waiting:
                group.due = now
                return
