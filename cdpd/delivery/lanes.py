"""Lanes: which events may be sent now, so that each user's order holds. Pure: no I/O, no clock.

Events wait in the order of the log. A batch takes events of any users, except of those who have an event in
flight or waiting to be tried again: their later events are held until that is settled. So one user's retry
holds up nobody else. With `ordering = "strict"` all events are one user's; with "none" nobody's (key None).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct, field

from cdpd.event import Position


class Item(Struct, eq=False):
    """An event on its way to one destination."""

    position: Position
    """Of its own line."""
    at_ms: int
    """Its log time."""
    key: bytes | None
    line: bytes
    options: Raw | None = None
    failing_since: float | None = None
    """Monotonic time of its first failed try."""
    tries: int = 0
    """How often it was tried in vain; what met a rate limit does not count."""


class Group(Struct, eq=False):
    """Events that were or will be sent together."""

    items: list[Item]
    failures: int = 0
    """How often in a row they could not be delivered."""
    due: float = 0.0
    """Monotonic time before which they are not tried again."""
    failed_at: float | None = None
    """When they last failed as a whole."""
    suspect: bool = False
    """They failed while others came through: the reason may be one of them, and not the vendor."""

    @property
    def bytes(self) -> int:
        return sum(len(item.line) for item in self.items)

    @property
    def tries(self) -> int:
        """How often the most unlucky of them was tried in vain."""
        return max((item.tries for item in self.items), default=0)


class _Released(Struct, eq=False):
    """Events of one user that had to wait and may go now; they stand before all later ones of that user."""

    key: bytes
    items: deque[Item]


class Lanes(Struct, eq=False):
    """Everything that a consumer has read and not finished."""

    waiting: list[Group] = field(default_factory=list)
    """Groups to be tried again, oldest failure first."""
    _ready: deque[Item | _Released] = field(default_factory=deque)
    _held: dict[bytes, deque[Item]] = field(default_factory=dict)
    # user → later events; a user is in here exactly while an event of theirs is in flight or waiting
    _queued: int = 0

    @property
    def queued(self) -> int:
        """Events that were never tried."""
        return self._queued

    def add(self, item: Item) -> None:
        """Events come in the order of the log."""
        self._ready.append(item)
        self._queued += 1

    def take(self, max_events: int, max_bytes: int) -> Group | None:
        """The next batch of events that were never tried and may go; at least one, however large."""
        taken: list[Item] = []
        size = 0
        ready, held = self._ready, self._held
        kept: _Released | None = None
        while ready and len(taken) < max_events:
            entry = ready.popleft()
            if isinstance(entry, _Released):
                if entry.key in held:
                    self._hold(entry.key, entry.items)
                    continue
                while entry.items and len(taken) < max_events:
                    if taken and size + len(entry.items[0].line) > max_bytes:
                        break
                    item = entry.items.popleft()
                    size += len(item.line)
                    taken.append(item)
                if entry.items:
                    kept = entry
                    break
                continue
            key = entry.key
            if key is not None and key in held:
                held[key].append(entry)
                continue
            if taken and size + len(entry.line) > max_bytes:
                ready.appendleft(entry)
                break
            size += len(entry.line)
            taken.append(entry)
        if kept is not None:
            ready.appendleft(kept)
        if not taken:
            return None
        for item in taken:
            if item.key is not None and item.key not in held:
                held[item.key] = deque()
        self._queued -= len(taken)
        return Group(taken)

    def _hold(self, key: bytes, items: deque[Item]) -> None:
        # What was released stands before everything else of that user, so nothing can be held yet.
        self._held[key].extend(items)

    def take_again(self, group: Group) -> None:
        """This waiting group is being sent now."""
        self.waiting.remove(group)

    def split(self, group: Group) -> Group:
        """Take a waiting group's first event as a group of its own, a probe.

        The group itself (perhaps empty now) waits no longer until `rejoin` or `put_back`: none of its events may
        overtake the probe.
        """
        self.waiting.remove(group)
        first = group.items.pop(0)
        return Group([first], group.failures, failed_at=group.failed_at, suspect=group.suspect)

    def rejoin(self, items: list[Item], rest: Group) -> None:
        """The probe failed: another user's event is probed next, of another group where there is one.

        So the probe goes to the end of its group, with whatever else of its user is in there, and the group to the
        end of those that wait.
        """
        keys = {item.key for item in items if item.key is not None}
        theirs = [item for item in rest.items if item.key in keys]
        rest.items[:] = [item for item in rest.items if item.key not in keys] + items + theirs
        self.waiting.append(rest)

    def put_back(self, rest: Group, items: Iterable[Item] = ()) -> None:
        """The probe came through, or `items` of it only have to wait: its group is first to be tried."""
        rest.items[:0] = items
        if rest.items:
            self.waiting.insert(0, rest)

    def wait(self, items: list[Item], failures: int, due: float) -> Group:
        """These are to be tried again, together; their users' later events stay held."""
        group = Group(items, failures, due)
        self.waiting.append(group)
        return group

    def halves(self, items: Sequence[Item]) -> list[list[Item]]:
        """Two groups of about as many users, each user in one of them; one where they are all one user's."""
        users: dict[object, list[Item]] = {}
        for item in items:
            users.setdefault(item if item.key is None else item.key, []).append(item)
        lists, half = list(users.values()), (len(users) + 1) // 2
        parts = (lists[:half], lists[half:])
        return [[item for user in part for item in user] for part in parts if part]

    def settle(self, finished: Iterable[Item], unfinished: Iterable[Item] = ()) -> None:
        """These are done: their users' later events may go, except of users with something in `unfinished`."""
        busy = {item.key for item in unfinished}
        for group in self.waiting:
            busy.update(item.key for item in group.items)
        for key in {item.key for item in finished}:
            if key is None or key in busy:
                continue
            later = self._held.pop(key, None)
            if later:
                self._ready.appendleft(_Released(key, later))
