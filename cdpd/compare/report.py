"""What a comparison found, as it is shown: plain facts, the same for people and for machines (`cdpd diff --json`)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from cdpd.compare.comparison import Comparison
from cdpd.compare.deliveries import Pair
from cdpd.compare.settings import Setting
from cdpd.compare.span import Plan
from cdpd.compare.tally import Group, Kind, PathCount, Row, Sample, sorted_groups
from cdpd.timestamp import format_time


class Side(Struct, frozen=True):
    """A configuration."""

    files: Sequence[str]
    """Empty: the development daemon's own."""
    id: str
    """`configuration_id` of `cdpd status`."""


class Looked(Struct, frozen=True):
    """The traffic that was compared."""

    events: int
    first: str | None
    last: str | None
    """When the first and the last of it were received; None where there is none."""
    in_span: int
    """Lines of `received` in the time span, of which `events` are looked at."""
    sampled: bool
    stretches: int
    complete: bool
    """False: it was stopped early."""
    refused_by_ingest: int
    turned_away_then: dict[str, int]
    """By hooks that are not rehearsed, like dedup → how many; left out on both sides."""
    source: str | None = None
    event: str | None = None
    """Only of these."""


class Counts(Struct, frozen=True):
    """Events by what would become of them."""

    events: int
    same: int
    discarded: int
    """Newly."""
    kept: int
    """Newly: discarded now."""
    changed: int
    """Kept, with other fields."""
    otherwise: int
    """Discarded by another hook, or for another reason."""
    undecided: int
    """A hook could not decide about them."""


class Path(Struct, frozen=True):
    """A place in events or payloads: in how many it is added, removed, or another value."""

    path: str
    added: int
    removed: int
    changed: int


class Change(Struct, frozen=True):
    """Changes of one kind by one hook or destination, the most frequent places first."""

    who: str
    kind: Kind
    reason: str
    events: int
    paths: Sequence[Path]
    samples: Sequence[Sample]


class Source(Struct, frozen=True):
    """Events of a source. `state`: same, changed (its chain), new or gone."""

    name: str
    state: str
    counts: Counts


class Name(Struct, frozen=True):
    """Events of one name."""

    type: str
    name: str
    counts: Counts


class Destination(Struct, frozen=True):
    """How many events a destination is sent, by both configurations."""

    name: str
    state: str
    """same, changed (its options), new, gone, or `renamed from OLD`."""
    options: Sequence[str]
    """Names of those that differ."""
    before: int
    after: int
    no_longer: int
    newly: int
    changed: int
    """Sent by both, but not the same."""
    changes: Sequence[Change]


class Report(Struct, frozen=True):
    """All of it."""

    old: Side
    new: Side
    settings: Sequence[Setting]
    differs: bool
    """Whether anything would change for the events that were looked at."""
    compared: bool
    """False: every chain and every destination is the same, so no event was looked at."""
    looked: Looked
    counts: Counts
    deliveries_changed: int
    """Events of which at least one destination gets another request, none any more, or one at last."""
    hooks: Sequence[Change]
    sources: Sequence[Source]
    names: Sequence[Name]
    destinations: Sequence[Destination]
    notes: Sequence[str]


def report(comparison: Comparison, planned: Plan, notes: Sequence[str], *, complete: bool = True) -> Report:
    """What is known by now. `notes` come before the comparison's own."""
    tally, span, wanted = comparison.tally, comparison.span, comparison.wanted
    groups: dict[str, list[Change]] = {}
    for group in sorted_groups(tally.payloads):
        groups.setdefault(group.who, []).append(_change(group))
    by_share = sorted(tally.names.items(), key=lambda item: (-item[1].affected, -item[1].events, item[0]))
    return Report(
        old=_side(comparison.old.files, comparison.old.config_id),
        new=_side(comparison.new.files, comparison.new.config_id),
        settings=comparison.settings,
        differs=comparison.differs,
        compared=not comparison.nothing_to_compare,
        looked=Looked(
            events=tally.whole.events,
            first=None if span is None or span.first_ms is None else format_time(span.first_ms),
            last=None if span is None or span.last_ms is None else format_time(span.last_ms),
            in_span=planned.end - planned.first,
            sampled=planned.sampled,
            stretches=len(planned.stretches),
            complete=complete,
            refused_by_ingest=comparison.refused,
            turned_away_then={} if span is None else dict(span.left_out),
            source=wanted.source,
            event=wanted.event,
        ),
        counts=_counts(tally.whole),
        deliveries_changed=comparison.deliveries_changed,
        hooks=[_change(group) for group in sorted_groups(tally.groups)],
        sources=[
            Source(name, _source_state(comparison, name), _counts(row))
            for name, row in sorted(tally.sources.items())
        ],
        names=[Name(*key, _counts(row)) for key, row in by_share],
        destinations=[_destination(comparison, pair, groups.get(pair.name, ())) for pair in comparison.pairs],
        notes=[*notes, *comparison.notes],
    )


def _side(files: Sequence[object], config_id: int) -> Side:
    return Side([str(file) for file in files], f"{config_id:016x}")


def _counts(row: Row) -> Counts:
    return Counts(row.events, row.same, row.discarded, row.kept, row.changed, row.otherwise, row.undecided)


def _change(group: Group) -> Change:
    paths = sorted(group.paths.items(), key=lambda item: (-item[1].events, item[0]))
    return Change(
        group.who, group.kind, group.reason, group.events, [_path(*one) for one in paths], group.samples
    )


def _path(path: str, counts: PathCount) -> Path:
    return Path(path, counts.added, counts.removed, counts.changed)


def _source_state(comparison: Comparison, name: str) -> str:
    before, after = name in comparison.old.config.sources, name in comparison.new.config.sources
    if before != after:
        return "gone" if before else "new"
    return "same" if comparison.chain_is_the_same(name) else "changed"


def _destination(comparison: Comparison, pair: Pair, changes: Sequence[Change]) -> Destination:
    row = comparison.tally.destinations[pair.name]
    return Destination(
        name=pair.name,
        state=pair.state,
        options=pair.options,
        before=row.before,
        after=row.after,
        no_longer=row.no_longer,
        newly=row.newly,
        changed=row.changed,
        changes=changes,
    )
