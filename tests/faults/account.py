"""The balance of a run: what clients were promised against what became of it, from everybody's own notes.

    sent = acknowledged = delivered + discarded + parked + in the log

The clients' notes, the receiver's notes, the streams and state.db are read apart from each other, and each messageId
must be found in exactly one place. Pure: it is tested with forged notes (test_account.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field


class Sent(Struct):
    """What the clients note."""

    attempted: set[str] = field(default_factory=set)
    """Ids that were sent at least once."""
    acknowledged: set[str] = field(default_factory=set)
    """Ids that were answered 200."""
    unanswered: Counter[str] = field(default_factory=Counter)
    """How often an attempt got no answer at all: what became of it cannot be known."""


class Line(Struct, frozen=True):
    """A line of a stream."""

    offset: int
    id: str
    code: str = ""
    """Of `discarded`: why."""
    user: str = ""


class Stored(Struct):
    """The streams, and how far the pipeline has come."""

    received: Sequence[Line] = ()
    events: Sequence[Line] = ()
    discarded: Sequence[Line] = ()
    handled: int = 0
    """Offset of `received` before which everything went through the pipeline."""


class Delivered(Struct):
    """One destination: the receiver's notes, and what state.db says."""

    took: Sequence[str] = ()
    """Ids in the order in which they were taken, again and again where they came so."""
    unheard: Sequence[str] = ()
    """Of them those whose answer was lost, once for each time: they have to come again."""
    in_flight: Sequence[str] = ()
    """Of them those that were in flight when the daemon was killed, once for each time: they may come again."""
    parked: Sequence[str] = ()
    low: int = 0
    """Offset of `events` before which everything is finished."""
    finished: Sequence[tuple[int, int]] = ()
    """Ranges above it that are finished too, ends excluded."""
    foreign: Sequence[str] = ()
    """What the receiver found wrong in an event."""

    def waits(self, offset: int) -> bool:
        """Whether a line of `events` is still to be delivered."""
        return offset >= self.low and not any(first <= offset < end for first, end in self.finished)


class Balance(Struct):
    """Figures are numbers of different ids."""

    sent: int
    acknowledged: int
    delivered: int
    discarded: int
    parked: int
    waiting: int
    """In the log: not yet through the pipeline, or not yet sent."""
    named: int
    """Lost with a disk or by damage, and said so."""
    lost: list[str]
    doubled: list[str]
    """Delivered or stored once more than somebody's lost answer explains."""
    excused: int
    """Delivered again because an answer was lost or the daemon was killed."""
    disordered: list[str]
    """Delivered for the first time after a later event of the same user."""
    wrong: list[str]
    """Anything else that must not be, in words."""

    @property
    def holds(self) -> bool:
        return not (self.lost or self.doubled or self.disordered or self.wrong)

    def told(self) -> str:
        """What is wrong, in words."""
        parts = [
            f"{len(ids)} {what}: {', '.join(ids[:5])}{' …' if len(ids) > 5 else ''}"
            for what, ids in (
                ("lost", self.lost),
                ("doubled", self.doubled),
                ("out of order", self.disordered),
            )
            if ids
        ]
        return "; ".join([*parts, *self.wrong])


def balance(
    sent: Sent,
    stored: Stored,
    delivered: Delivered,
    *,
    gone: Iterable[str] = (),
    ordered: bool = True,
) -> Balance:
    """The balance of one destination.

    gone: ids of which it was said that they are lost (with a disk, or as damage); they may be anywhere or nowhere.
    """
    named = set(gone)
    received = Counter(line.id for line in stored.received)
    events = Counter(line.id for line in stored.events)
    refused = {line.id for line in stored.discarded if line.code != "duplicate"}
    took, parked = Counter(delivered.took), set(delivered.parked)
    in_pipeline = {line.id for line in stored.received if line.offset >= stored.handled}
    to_send = {line.id for line in stored.events if delivered.waits(line.offset)}
    ids = sent.attempted | set(received) | set(events) | refused | set(took) | parked

    places: dict[str, set[str]] = {}
    for one in ids:
        found = {
            "delivered": one in took,
            "discarded": one in refused,
            "parked": one in parked,
            "waiting": one not in took
            and one not in parked
            and (one in to_send or one in in_pipeline - refused),
        }
        places[one] = {place for place, is_there in found.items() if is_there}

    allowed = Counter(delivered.unheard) + Counter(delivered.in_flight)
    doubled = {one for one, times in took.items() if times > 1 + allowed[one]}
    doubled |= {one for one, times in events.items() if times > 1}
    doubled |= {
        one for one in ids if "delivered" in places[one] and "parked" in places[one] and not allowed[one]
    }
    doubled |= {one for one in refused if one in events}
    lost = {one for one in sent.acknowledged if not places[one]}
    # What was stored is promised too, whether the client heard so or not; and every line has to end somewhere.
    lost |= {one for one in received if not places[one]}
    lost |= {line.id for line in stored.events if line.id not in took and line.id not in parked | to_send}
    return Balance(
        sent=len(sent.attempted),
        acknowledged=len(sent.acknowledged),
        delivered=len(took),
        discarded=len(refused),
        parked=len(parked - set(took)),
        waiting=sum(places[one] == {"waiting"} for one in ids),
        named=len([one for one in named if not places.get(one)]),
        lost=sorted(lost - named),
        doubled=sorted(doubled - named),
        excused=sum(took[one] - 1 for one in took if one not in doubled),
        disordered=_disordered(stored.events, delivered.took, parked) if ordered else [],
        wrong=_wrong(sent, stored, received, events, took, named, delivered.foreign),
    )


def _disordered(events: Sequence[Line], took: Sequence[str], parked: set[str]) -> list[str]:
    """Ids that came first to the receiver after a later one of their user."""
    place = {line.id: (line.user, line.offset) for line in events}
    newest: dict[str, int] = {}
    found = []
    for one in dict.fromkeys(took):
        user, offset = place.get(one, ("", -1))
        if not user or one in parked:
            continue
        if offset < newest.get(user, -1):
            found.append(one)
        newest[user] = max(newest.get(user, -1), offset)
    return found


def _wrong(
    sent: Sent,
    stored: Stored,
    received: Mapping[str, int],
    events: Mapping[str, int],
    took: Mapping[str, int],
    named: set[str],
    foreign: Sequence[str],
) -> list[str]:
    out = []
    if strange := (set(received) | set(events) | set(took)) - sent.attempted:
        out.append(f"{len(strange)} that nobody sent: {', '.join(sorted(strange)[:5])}")
    # An attempt that was answered with an error may not be in the log: the client sends it again.
    halves = [
        one
        for one, times in received.items()
        if times > (one in sent.acknowledged) + sent.unanswered[one] and one not in named
    ]
    if halves:
        out.append(f"{len(halves)} refused, but stored: {', '.join(sorted(halves)[:5])}")
    ends = Counter(events)
    ends.update(line.id for line in stored.discarded)
    begun = Counter(line.id for line in stored.received if line.offset < stored.handled)
    if uneven := [one for one in set(ends) | set(begun) if ends[one] != begun[one] and one not in named]:
        out.append(f"{len(uneven)} whose lines do not add up: {', '.join(sorted(uneven)[:5])}")
    if foreign:
        out.append(f"{len(foreign)} with another content than was sent: {', '.join(sorted(foreign)[:5])}")
    return out
