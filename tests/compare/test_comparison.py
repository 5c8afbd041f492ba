"""What another configuration would change, over real streams and configurations as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cdpd.compare.comparison import Wanted
from cdpd.compare.report import Change, Report
from cdpd.compare.span import Bounds
from cdpd.config.load import LoadedConfig
from cdpd.event import Event
from cdpd.hookspecs import Retry, hookimpl
from cdpd.plugins import Plugin
from tests.pipeline.rig import Installation, received_line
from tests.stored import AT_MS

from .traffic import SOURCES, compared, configuration, handle, track

PLAIN = '[pipeline]\nhooks = ["spec", "dedup"]\n'


@pytest.fixture
def old(tmp_path: Path) -> LoadedConfig:
    return configuration(tmp_path, "old", PLAIN)


def new(tmp_path: Path, text: str, sources: str = SOURCES) -> LoadedConfig:
    return configuration(tmp_path, "new", text, sources)


def kinds(report: Report) -> list[tuple[str, str, str, int]]:
    return [(change.who, change.kind, change.reason, change.events) for change in report.hooks]


def places(change: Change) -> dict[str, tuple[int, int, int]]:
    """(added, removed, another value) by path."""
    return {path.path: (path.added, path.removed, path.changed) for path in change.paths}


def ids(change: Change) -> list[str]:
    return [sample.message_id for sample in change.samples]


def test_the_same_configuration_needs_no_event_to_be_looked_at(tmp_path: Path, old: LoadedConfig) -> None:
    handle(old, [track(1)])
    report = compared(old, new(tmp_path, '[http]\nlisten = "127.0.0.1:1"\n' + PLAIN))
    assert (report.compared, report.differs, report.looked.events) == (False, False, 0)
    assert [setting.key for setting in report.settings] == ["http.listen"]


def test_what_a_hook_would_newly_discard_is_told_by_hook_and_code(tmp_path: Path, old: LoadedConfig) -> None:
    handle(old, [track(n, "Debug Tick" if n % 4 == 0 else "Signed Up") for n in range(40)])
    drops = '[pipeline]\nhooks = ["spec", "dedup", "drop"]\n[hooks.drop]\nrules = [{ event = "Debug *" }]\n'
    report = compared(old, new(tmp_path, drops))
    assert kinds(report) == [("drop", "discarded", "dropped", 10)]
    assert (report.counts.events, report.counts.same, report.counts.discarded) == (40, 30, 10)
    (change,) = report.hooks
    assert ids(change) == ["m0", "m4", "m8"]
    assert change.samples[0].message == "rule 1 of the drop hook: event = 'Debug *'"
    assert [(name.type, name.name, name.counts.discarded, name.counts.same) for name in report.names] == [
        ("track", "Debug Tick", 10, 0),
        ("track", "Signed Up", 0, 30),
    ]


def test_what_would_be_kept_now_is_told_by_the_hook_that_discarded_it(
    tmp_path: Path, old: LoadedConfig
) -> None:
    handle(old, [track(1), track(2, type="trak"), track(3, type="trak")])
    report = compared(old, new(tmp_path, "[pipeline]\nhooks = []\n"))
    assert ("spec", "kept", "unknown_type", 2) in kinds(report)
    assert report.counts.kept == 2
    assert report.counts.changed == 1  # without spec it has other fields


def test_changed_fields_are_told_by_place_and_by_the_hook_whose_work_they_are(
    tmp_path: Path, old: LoadedConfig
) -> None:
    before = configuration(tmp_path, "old", '[pipeline]\nhooks = ["spec", "ip"]\n')
    mine = {"ip": "198.51.100.77"}
    handle(before, [track(n, context=mine if n % 2 else {"direct": True}) for n in range(10)])
    hides = '[pipeline]\nhooks = ["spec", "ip"]\n[hooks.ip]\nanonymize = true\n'
    report = compared(before, new(tmp_path, hides))
    (change,) = report.hooks
    assert (change.who, change.kind, change.events) == ("ip", "changed", 10)
    assert places(change) == {"context.ip": (0, 0, 10)}
    sample = change.samples[0]
    assert sample.before is not None
    assert sample.after is not None
    assert json.loads(bytes(sample.before))["context"]["ip"] == "203.0.113.7"
    assert json.loads(bytes(sample.after))["context"]["ip"] == "203.0.113.0"


def test_what_a_hook_that_is_taken_out_no_longer_adds_is_told_as_its_own(
    tmp_path: Path, old: LoadedConfig
) -> None:
    before = configuration(tmp_path, "old", '[pipeline]\nhooks = ["spec", "ip", "user_agent"]\n')
    handle(before, [track(n, context={"direct": True, "userAgent": "curl/8"}) for n in range(5)])
    report = compared(before, new(tmp_path, '[pipeline]\nhooks = ["spec", "user_agent"]\n'))
    told = {change.who: places(change) for change in report.hooks}
    assert told == {"ip": {"context.ip": (0, 5, 0), "context.direct": (5, 0, 0)}}


def test_a_source_that_is_gone_or_disabled_takes_its_events_along(tmp_path: Path, old: LoadedConfig) -> None:
    handle(old, [track(n) for n in range(20)], source=lambda n: "app" if n < 5 else "website")
    gone = compared(old, new(tmp_path, PLAIN, SOURCES.partition("[sources.app]")[0]))
    assert kinds(gone) == [("pipeline", "discarded", "source_removed", 5)]
    assert {source.name: (source.state, source.counts.discarded) for source in gone.sources} == {
        "app": ("gone", 5),
        "website": ("same", 0),
    }
    disabled = compared(old, new(tmp_path, PLAIN, SOURCES + "enabled = false\n"))
    assert kinds(disabled) == [("ingest", "discarded", "source_disabled", 5)]


def test_an_event_that_both_discard_but_not_alike_is_neither_new_nor_the_same(
    tmp_path: Path, old: LoadedConfig
) -> None:
    handle(old, [track(1, type="trak")])
    first = '[pipeline]\nhooks = ["drop", "spec"]\n[hooks.drop]\nrules = [{ source = "website" }]\n'
    assert kinds(compared(old, new(tmp_path, first))) == [
        ("drop", "otherwise", "dropped, not unknown_type by spec", 1)
    ]


def test_an_event_that_is_only_written_otherwise_is_the_same(tmp_path: Path, old: LoadedConfig) -> None:
    class Rewrites(Plugin):
        @hookimpl
        def cdpd_enrich(self, event: Event) -> None:
            event["userId"] = event.pop("userId")  # to the end

    handle(old, [track(1)])
    other = msgspec.structs.replace(old, config=msgspec.structs.replace(old.config))
    other.config.pipeline.hooks[:] = ["spec", "dedup", "rewrites"]
    before = configuration(tmp_path, "old", PLAIN)
    report = compared(before, other, catalogue=_Also({"rewrites": Rewrites}))
    assert (report.counts.events, report.counts.same, report.differs) == (1, 1, False)


def test_what_a_hook_cannot_decide_is_told_apart(tmp_path: Path, old: LoadedConfig) -> None:
    class Waits(Plugin):
        @hookimpl
        def cdpd_prepare(self) -> None:
            raise Retry("nobody answers")

    handle(old, [track(1)])
    other = configuration(tmp_path, "new", PLAIN)
    other.config.pipeline.hooks.append("waits")
    report = compared(old, other, catalogue=_Also({"waits": Waits}))
    assert kinds(report) == [("waits", "undecided", "undecided", 1)]
    assert report.hooks[0].samples[0].message == "nobody answers"


def test_duplicates_of_then_and_what_ingest_refused_are_left_out_and_counted(
    tmp_path: Path, old: LoadedConfig
) -> None:
    refused = received_line({"messageId": "x"}, reject="event_too_large")
    handle(old, [track(1), track(2), track(1), refused, track(3), track(2), track(1)], a_frame=2)
    for text in (PLAIN.replace("dedup", "ip"), PLAIN.replace(', "dedup"', ', "dedup", "ip"')):
        report = compared(old, new(tmp_path, text))
        assert report.looked.events == 3
        assert report.looked.turned_away_then == {"dedup": 3}
        assert report.looked.refused_by_ingest == 1
    assert report.notes[0].startswith("dedup is left out on both sides: ")


def test_a_configuration_without_dedup_is_told_what_the_figures_leave_out(
    tmp_path: Path, old: LoadedConfig
) -> None:
    handle(old, [track(1)])
    report = compared(old, new(tmp_path, '[pipeline]\nhooks = ["spec"]\n'))
    assert (
        "source website no longer has the hook dedup: what that changes is not counted here" in report.notes
    )


@pytest.mark.parametrize(
    ("bounds", "seen"),
    [
        (Bounds(), range(100)),
        (Bounds(from_offset=95), range(95, 100)),
        (Bounds(to_offset=5), range(5)),
        (Bounds(from_offset=15, to_offset=18), range(15, 18)),
        (Bounds(from_ms=AT_MS + 8000), range(80, 100)),
        (Bounds(from_ms=AT_MS + 1, to_ms=AT_MS + 3000), range(10, 30)),
        (Bounds(from_ms=AT_MS + 10**9), range(0)),
        (Bounds(from_offset=50, to_offset=50), range(0)),
    ],
)
def test_only_the_time_that_is_asked_for_is_looked_at(
    tmp_path: Path, old: LoadedConfig, bounds: Bounds, seen: range
) -> None:
    handle(old, [track(n) for n in range(100)])
    other = new(tmp_path, '[pipeline]\nhooks = ["drop"]\n[hooks.drop]\nrules = [{ type = "track" }]\n')
    report = compared(old, other, bounds=bounds, samples=200)
    assert [id for change in report.hooks for id in ids(change)] == [f"m{n}" for n in seen]
    assert (report.looked.events, report.looked.in_span) == (len(seen), len(seen))
    assert not report.looked.sampled


def test_where_there_are_more_a_sample_lies_evenly_over_the_time(tmp_path: Path, old: LoadedConfig) -> None:
    handle(old, [track(n) for n in range(2000)], a_frame=7)
    other = new(tmp_path, '[pipeline]\nhooks = ["drop"]\n[hooks.drop]\nrules = [{ type = "track" }]\n')
    report = compared(old, other, limit=200, samples=200)
    numbers = [int(id[1:]) for id in ids(report.hooks[0])]
    assert numbers == [*range(100), *range(1000, 1100)]
    assert (report.looked.sampled, report.looked.stretches, report.looked.in_span) == (True, 2, 2000)
    assert not compared(old, other, limit=2000).looked.sampled


def test_only_what_is_wanted_is_looked_at(tmp_path: Path, old: LoadedConfig) -> None:
    events: list[dict[str, Any]] = [
        track(1),
        track(2, "Paid"),
        {"type": "page", "name": "Paid", "messageId": "m3", "userId": "u"},
    ]
    handle(old, events, source=lambda n: "app" if n == 2 else "website")
    other = new(tmp_path, '[pipeline]\nhooks = ["spec"]\n[hooks.sample]\nrate = 0.0\n')
    other.config.pipeline.hooks.append("sample")

    def looked(wanted: Wanted) -> list[str]:
        return [id for change in compared(old, other, wanted=wanted).hooks for id in ids(change)]

    assert looked(Wanted()) == ["m1", "m2", "m3"]
    assert looked(Wanted(source="website")) == ["m1", "m2"]
    assert looked(Wanted(event="Paid")) == ["m2", "m3"]
    assert looked(Wanted(source="app", event="Paid")) == ["m3"]


def test_examples_of_a_kind_are_different_and_not_more_than_wanted(tmp_path: Path, old: LoadedConfig) -> None:
    names = ["A"] * 20 + ["B", "C", "D"]
    handle(old, [track(n, name) for n, name in enumerate(names)])
    other = new(tmp_path, '[pipeline]\nhooks = ["drop"]\n[hooks.drop]\nrules = [{ type = "track" }]\n')
    (change,) = compared(old, other, samples=3).hooks
    assert [sample.name for sample in change.samples] == ["A", "B", "C"]
    assert change.events == 23
    assert compared(old, other, samples=0).hooks[0].samples == []


def test_strangers_names_and_keys_are_counted_one_by_one_up_to_a_number(
    tmp_path: Path, old: LoadedConfig
) -> None:
    before = configuration(tmp_path, "old", "[pipeline]\nhooks = []\n")
    handle(before, [track(n, f"Event {n}") for n in range(700)], a_frame=100)

    class Renames(Plugin):
        @hookimpl
        def cdpd_enrich(self, event: Event) -> None:
            event.properties[event.message_id] = 1

    other = configuration(tmp_path, "new", "[pipeline]\nhooks = []\n")
    other.config.pipeline.hooks.append("renames")
    report = compared(before, other, catalogue=_Also({"renames": Renames}))
    assert len(report.names) == 501
    assert sum(name.counts.changed for name in report.names) == report.counts.changed == 700
    assert {name.counts.changed for name in report.names if name.type == "(others)"} == {200}
    (change,) = report.hooks
    assert len(change.paths) == 201
    assert (change.paths[0].path, change.paths[0].added) == ("(others)", 500)


class _Also(Installation):
    """The installed plugins with their destinations, and these hooks."""
