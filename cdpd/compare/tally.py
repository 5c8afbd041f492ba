"""Counting what would change: by hook, source, event and destination, with a few examples of each kind.

Only counts and examples are kept, however many events there are. What strangers name (events, keys) is kept apart up
to a number of different ones, the rest counted together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct, field

from cdpd.compare.deliveries import Compared
from cdpd.difference import Sign, changed_paths
from cdpd.lines import look_into
from cdpd.pipeline.discarded import Ended
from cdpd.pipeline.rehearsal import UNDECIDED, Rehearsed

Kind = Literal["discarded", "kept", "changed", "otherwise", "undecided", "no_longer", "newly"]
"""Of a group. By hook: newly discarded, newly kept, other fields, discarded by another hook or for another reason, not
decided. By destination: no longer sent, newly sent, another request (`changed`)."""

OTHERS: Final = "(others)"
BY_OPTIONS: Final = "its options"
BY_HOOKS: Final = "the hooks"
"""Why a destination is sent something else."""
_MOST_NAMES: Final = 500
_MOST_PATHS: Final = 200
_MOST_GROUPS: Final = 300


class Sample(Struct, frozen=True, omit_defaults=True):
    """An event as it was and as it would be."""

    message_id: str
    source: str
    type: str
    name: str
    who: str
    before: Raw | None = None
    """JSON: a line of `events`, or a payload; None where there was none."""
    after: Raw | None = None
    message: str = ""
    """Why, in the hook's own words."""
    paths: Sequence[str] = ()
    """Which of the places that differ are this hook's; none: all."""


class PathCount(Struct):
    """A place in events or payloads: in how many it is added, removed, or another value."""

    added: int = 0
    removed: int = 0
    changed: int = 0

    def count(self, sign: Sign) -> None:
        """One more."""
        if sign == "+":
            self.added += 1
        elif sign == "-":
            self.removed += 1
        else:
            self.changed += 1

    @property
    def events(self) -> int:
        return self.added + self.removed + self.changed


class Group(Struct):
    """Changes of one kind by one hook or destination."""

    who: str
    kind: Kind
    reason: str = ""
    """A code, or words."""
    events: int = 0
    paths: dict[str, PathCount] = {}
    samples: list[Sample] = []
    shapes: list[object] = field(default_factory=list)
    """What each sample is an example of: samples are to be different."""

    def count(self, paths: Mapping[str, Sign]) -> None:
        """One more event, with these places changed."""
        self.events += 1
        known = self.paths
        for path, sign in paths.items():
            counts = known.get(path)
            if counts is None:
                if len(known) >= _MOST_PATHS:
                    path = OTHERS
                counts = known.setdefault(path, PathCount())
            counts.count(sign)

    def offer(self, shape: object, most: int, make: Callable[[], Sample]) -> None:
        """An example: taken while there is room, or in the place of one that is like another."""
        if len(self.samples) < most:
            self.samples.append(make())
            self.shapes.append(shape)
        elif shape not in self.shapes:
            double = next((i for i, one in enumerate(self.shapes) if one in self.shapes[:i]), None)
            if double is not None:
                self.samples[double], self.shapes[double] = make(), shape


class Row(Struct):
    """Events of one source, or of one name."""

    events: int = 0
    discarded: int = 0
    kept: int = 0
    changed: int = 0
    otherwise: int = 0
    undecided: int = 0

    @property
    def affected(self) -> int:
        return self.events - self.same

    @property
    def same(self) -> int:
        return self.events - self.discarded - self.kept - self.changed - self.otherwise - self.undecided


class DestinationRow(Struct):
    """What one destination is sent."""

    before: int = 0
    after: int = 0
    no_longer: int = 0
    newly: int = 0
    changed: int = 0


class Seen(Struct, frozen=True):
    """An event under comparison: both outcomes, and what kind of event it is."""

    text: bytes
    """Its line of `received`."""
    old: Rehearsed
    new: Rehearsed
    type: str
    name: str

    def sample(
        self, before: bytes | None, after: bytes | None, message: str = "", paths: Sequence[str] = ()
    ) -> Sample:
        """As an example."""
        return Sample(
            self.old.message_id,
            self.old.source,
            self.type,
            self.name,
            look_into("received", self.text).who,
            None if before is None else Raw(before),
            None if after is None else Raw(after),
            message,
            paths,
        )


class _Peek(Struct):
    type: Raw = Raw()
    event: Raw = Raw()
    name: Raw = Raw()


_peek: Final = msgspec.json.Decoder(_Peek).decode


class Tally:
    """All counts of a comparison. `samples`: how many examples of each kind are kept."""

    def __init__(self, samples: int) -> None:
        self.whole = Row()
        self.sources: dict[str, Row] = {}
        self.names: dict[tuple[str, str], Row] = {}
        """By (type, name)."""
        self.groups: dict[tuple[str, Kind, str], Group] = {}
        """By (hook, kind, code)."""
        self.destinations: dict[str, DestinationRow] = {}
        self.payloads: dict[tuple[str, Kind, str], Group] = {}
        """By (destination, kind, reason)."""
        self._samples = samples
        self._kinds: dict[tuple[bytes, bytes, bytes], tuple[str, str]] = {}

    def see(self, text: bytes, old: Rehearsed, new: Rehearsed) -> Seen:
        """What kind of event it is."""
        line = old.line or new.line
        if line is None:
            found = look_into("received", text)
            kind = found.type, found.name
        else:
            peek = _peek(line)
            key = bytes(peek.type), bytes(peek.event), bytes(peek.name)
            known = self._kinds.get(key)
            if known is None:
                found = look_into("events", line)
                if len(self._kinds) > 4096:
                    self._kinds.clear()
                known = self._kinds[key] = found.type, found.name if found.type != "identify" else ""
            kind = known
        return Seen(text, old, new, *kind)

    def add(self, seen: Seen) -> None:
        """Count what the hooks make of it."""
        kind = self._judge(seen)
        for row in (self.whole, self._source(seen), self._name(seen)):
            row.events += 1
            if kind is not None:
                setattr(row, kind, getattr(row, kind) + 1)

    def _source(self, seen: Seen) -> Row:
        return _bounded(self.sources, seen.old.source, OTHERS, Row)

    def _name(self, seen: Seen) -> Row:
        return _bounded(self.names, (seen.type, seen.name), (OTHERS, ""), Row)

    def _judge(self, seen: Seen) -> Kind | None:
        old, new = seen.old, seen.new
        if old is new:
            return None
        for ended in (new.ended, old.ended):
            if ended is not None and ended.code == UNDECIDED:
                return self._ended(seen, "undecided", ended)
        if old.ended is not None and new.ended is not None:
            if (old.ended.by, old.ended.code) == (new.ended.by, new.ended.code):
                return None
            return self._ended(seen, "otherwise", new.ended, f"{new.ended.code}, not {_told(old.ended)}")
        if new.ended is not None:
            return self._ended(seen, "discarded", new.ended)
        if old.ended is not None:
            return self._ended(seen, "kept", old.ended)
        assert old.line is not None
        assert new.line is not None
        if old.line == new.line:
            return None
        paths = changed_paths(old.line, new.line)
        if not paths:  # written in another way, and the same to everybody
            return None
        for hook, own in _by_hook(paths, old, new).items():
            group = self._group(self.groups, hook, "changed", "")
            group.count(own)
            group.offer(
                (seen.type, tuple(own.items())),
                self._samples,
                lambda own=own: seen.sample(old.line, new.line, paths=tuple(own)),  # type: ignore[misc]  # bound now
            )
        return "changed"

    def _ended(self, seen: Seen, kind: Kind, ended: Ended, reason: str | None = None) -> Kind:
        group = self._group(self.groups, ended.by, kind, ended.code if reason is None else reason)
        group.count({})
        group.offer(
            (seen.old.source, seen.type, seen.name),
            self._samples,
            lambda: seen.sample(seen.old.line, seen.new.line, ended.message),
        )
        return kind

    def _group(self, groups: dict[tuple[str, Kind, str], Group], who: str, kind: Kind, reason: str) -> Group:
        key = who, kind, reason
        group = groups.get(key)
        if group is None:
            if len(groups) >= _MOST_GROUPS:
                key = who, kind, OTHERS
            group = groups.setdefault(key, Group(*key))
        return group

    def deliver(self, seen: Seen, destination: str, compared: Compared) -> bool:
        """Count what a destination is sent for it; whether that differs."""
        row, before, after = self.destinations[destination], compared.before, compared.after
        row.before += before is not None
        row.after += after is not None
        if before is None or after is None:
            if before is after:
                return False
            kind: Kind = "newly" if before is None else "no_longer"
            row.newly += before is None
            row.no_longer += after is None
            group = self._group(self.payloads, destination, kind, compared.reason)
            group.count({})
            shape = seen.old.source, seen.type, seen.name
            group.offer(shape, self._samples, lambda: seen.sample(before, after))
            return True
        if before == after:
            return False
        halfway = before if compared.halfway is None else compared.halfway
        own = self._otherwise(seen, destination, BY_OPTIONS, before, halfway)
        others = self._otherwise(seen, destination, BY_HOOKS, halfway, after)
        row.changed += own or others
        return own or others

    def _otherwise(self, seen: Seen, destination: str, reason: str, before: bytes, after: bytes) -> bool:
        if before == after or not (paths := changed_paths(before, after)):
            return False
        group = self._group(self.payloads, destination, "changed", reason)
        group.count(paths)
        shape = seen.type, tuple(paths.items())
        group.offer(shape, self._samples, lambda: seen.sample(before, after))
        return True


def _told(ended: Ended) -> str:
    return f"{ended.code} by {ended.by}"


def _bounded(rows: dict, key: object, others: object, make: Callable[[], Row]) -> Row:  # type: ignore[type-arg]  # either kind of key
    row: Row | None = rows.get(key)
    if row is None:
        if len(rows) >= _MOST_NAMES:
            key = others
        row = rows.setdefault(key, make())
    return row


def _by_hook(paths: Mapping[str, Sign], old: Rehearsed, new: Rehearsed) -> dict[str, dict[str, Sign]]:
    """Which hook a changed place is the work of: the last that touched it, in the new chain, else in the old.

    What touched the place itself comes before what touched one around it.
    """
    left = dict(paths)
    found: dict[str, dict[str, Sign]] = {}
    touched: list[tuple[str, Mapping[str, Sign]]] = []
    for step in (*reversed(new.steps), *reversed(old.steps)):
        places = changed_paths(step.before, step.after)
        touched.append((step.hook, places))
        own = [path for path in left if path in places or _is_within(places, path)]
        if own:
            found.setdefault(step.hook, {}).update((path, left.pop(path)) for path in own)
            if not left:
                return found
    for path, sign in left.items():
        hook = next((hook for hook, places in touched if _is_around(places, path)), OTHERS)
        found.setdefault(hook, {})[path] = sign
    return found


def _is_within(places: Mapping[str, Sign], path: str) -> bool:
    """Whether one of the places is in that one."""
    below = (f"{path}.", f"{path}[]")
    return any(place.startswith(below) for place in places)


def _is_around(places: Mapping[str, Sign], path: str) -> bool:
    """Whether one of the places is around that one."""
    while path:
        path = path[:-2] if path.endswith("[]") else path.rpartition(".")[0]
        if path in places:
            return True
    return False


def sorted_groups(groups: Mapping[tuple[str, Kind, str], Group]) -> Sequence[Group]:
    """The largest first."""
    return sorted(groups.values(), key=lambda group: (-group.events, group.who, group.kind, group.reason))
