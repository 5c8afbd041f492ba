"""Destinations of two configurations: which get an event, and what they would be sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cdpd import discovery
from cdpd.compare.report import Destination, Report
from cdpd.config.load import LoadedConfig
from cdpd.config.plugin_options import Installed
from cdpd.destinations.contract import Batch
from cdpd.destinations.contract import Destination as Contract
from cdpd.destinations.outcome import Outcome
from cdpd.event import Event
from cdpd.hookspecs import hookimpl
from cdpd.plugins import Plugin
from tests.pipeline.rig import InstalledClass

from .traffic import compared, configuration, handle, track

HOOKS = '[pipeline]\nhooks = ["spec"]\n'
CRM = HOOKS + '[destinations.crm]\ntype = "webhook"\nurl = "https://crm.example/in"\n'


@pytest.fixture
def old(tmp_path: Path) -> LoadedConfig:
    return configuration(tmp_path, "old", CRM)


def one(report: Report, name: str = "crm") -> Destination:
    return next(destination for destination in report.destinations if destination.name == name)


def figures(row: Destination) -> tuple[int, int, int, int, int]:
    return row.before, row.after, row.no_longer, row.newly, row.changed


def reasons(row: Destination) -> list[tuple[str, str, int]]:
    return [(change.kind, change.reason, change.events) for change in row.changes]


def texts(row: Destination) -> tuple[Any, Any]:
    """The payloads of the first example."""
    sample = row.changes[0].samples[0]
    return tuple(None if raw is None else json.loads(bytes(raw)) for raw in (sample.before, sample.after))


def test_another_address_is_another_request_for_every_event(tmp_path: Path, old: LoadedConfig) -> None:
    handle(old, [track(n) for n in range(6)])
    report = compared(old, configuration(tmp_path, "new", CRM.replace("/in", "/v2")))
    row = one(report)
    assert (row.state, list(row.options), figures(row)) == ("changed", ["url"], (6, 6, 0, 0, 6))
    assert reasons(row) == [("changed", "its options", 6)]
    assert [(path.path, path.changed) for path in row.changes[0].paths] == [("url", 6)]
    before, after = texts(row)
    assert (before["url"], after["url"]) == ("https://crm.example/in", "https://crm.example/v2")
    assert (report.differs, report.counts.same, report.deliveries_changed) == (True, 6, 6)
    assert report.hooks == []


def test_what_options_do_and_what_hooks_do_to_a_request_are_told_apart(
    tmp_path: Path, old: LoadedConfig
) -> None:
    handle(old, [track(n, context={"direct": True}) for n in range(4)])
    other = CRM.replace("/in", "/v2").replace('"spec"', '"spec", "ip"')
    row = one(compared(old, configuration(tmp_path, "new", other)))
    assert figures(row) == (4, 4, 0, 0, 4)
    told = {change.reason: [path.path for path in change.paths] for change in row.changes}
    assert told == {"its options": ["url"], "the hooks": ["body.context.direct", "body.context.ip"]}


def test_a_destination_with_the_same_options_changes_only_with_the_events(
    tmp_path: Path, old: LoadedConfig
) -> None:
    handle(old, [track(n, event="A" if n else "B") for n in range(4)])
    drops = CRM.replace('"spec"', '"spec", "drop"') + '[hooks.drop]\nrules = [{ event = "A" }]\n'
    row = one(compared(old, configuration(tmp_path, "new", drops)))
    assert (row.state, figures(row)) == ("same", (4, 1, 3, 0, 0))
    assert reasons(row) == [("no_longer", "the event is discarded", 3)]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('sources = ["app"]\n', "the source is not connected"),
        ("enabled = false\n", "it is disabled"),
    ],
)
def test_an_event_that_a_destination_no_longer_gets_has_a_reason(
    tmp_path: Path, old: LoadedConfig, more: str, reason: str
) -> None:
    handle(old, [track(n) for n in range(3)])
    other = configuration(tmp_path, "new", CRM + more)
    assert reasons(one(compared(old, other))) == [("no_longer", reason, 3)]
    assert reasons(one(compared(other, old))) == [("newly", reason, 3)]


def test_integrations_of_an_event_decide_as_they_do_in_delivery(tmp_path: Path, old: LoadedConfig) -> None:
    events = [
        track(1, integrations={"All": False}),
        track(2, integrations={"All": False, "Webhook": True}),
        track(3),
    ]
    handle(old, events)
    row = one(compared(old, configuration(tmp_path, "new", CRM.replace("/in", "/v2"))))
    assert figures(row) == (2, 2, 0, 0, 2)


def test_destinations_that_are_new_gone_or_renamed_are_told_as_such(
    tmp_path: Path, old: LoadedConfig
) -> None:
    handle(old, [track(1)])
    renamed = CRM.replace("destinations.crm", "destinations.sales") + 'was = "crm"\n'
    row = one(compared(old, configuration(tmp_path, "new", renamed)), "sales")
    assert (row.state, list(row.options), figures(row)) == ("renamed from crm", [], (1, 1, 0, 0, 0))
    other = configuration(tmp_path, "new", HOOKS + "[destinations.null]\n")
    report = compared(old, other)
    assert [(row.name, row.state) for row in report.destinations] == [("null", "new"), ("crm", "gone")]
    assert reasons(one(report)) == [("no_longer", "it is gone", 1)]
    assert reasons(one(report, "null")) == [("newly", "it is new", 1)]
    assert texts(one(report, "null"))[1]["messageId"] == "m1"


FILTER = """
[[destinations.crm.filters]]
title = "paid only"
if = 'event = "Paid"'
actions = [{ type = "drop" }]
"""
SAMPLE = """
[[destinations.crm.filters]]
if = 'type = "track"'
actions = [{ type = "sample", percent = 0.5 }]
"""


def test_filters_decide_as_they_do_in_delivery(tmp_path: Path, old: LoadedConfig) -> None:
    handle(old, [track(1, "Paid"), track(2)])
    other = CRM + FILTER
    assert reasons(one(compared(old, configuration(tmp_path, "new", other)))) == [
        ("no_longer", "the filter 'paid only' keeps it back", 1)
    ]
    other = CRM + FILTER.replace('"drop"', '"drop_properties", fields = { properties = ["n"] }')
    row = one(compared(old, configuration(tmp_path, "new", other)))
    assert figures(row) == (2, 2, 0, 0, 1)
    assert [path.path for path in row.changes[0].paths] == ["body.properties.n"]


def test_samples_of_filters_draw_the_same_events_on_both_sides(tmp_path: Path) -> None:
    before = configuration(tmp_path, "old", CRM + SAMPLE)
    handle(before, [track(n) for n in range(200)])
    for text in (CRM.replace("/in", "/v2") + SAMPLE, CRM.replace('"spec"', '"spec", "ip"') + SAMPLE):
        row = one(compared(before, configuration(tmp_path, "new", text)))
        assert row.before == row.after
        assert 50 < row.after < 150
        assert (row.no_longer, row.newly) == (0, 0)


class Odd(Contract):
    """Sends nothing for some events, and cannot say what it sends for others."""

    name = "Odd"

    async def deliver(self, batch: Batch) -> list[Outcome]:
        raise AssertionError("nothing is to be delivered")

    def preview(self, event: Event) -> object:
        if event.event == "Nothing":
            return None
        if event.event == "Unmapped":
            return [{"mapping": "a", "outcome": "bad_event", "reason": f"INVALID: {event.message_id} is not"}]
        if event.event == "Network":
            self.env.http.get("https://vendor.example")
        return {"type": self.config.type, "options": event.options}


class Renames(Plugin):
    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        event.event = {"Sent": "Unmapped", "Unmapped": "Sent"}.get(event.event or "", event.event)


class Catalogue:
    def hooks(self) -> dict[str, Installed]:
        return {**discovery.hooks(), "renames": InstalledClass(Renames)}

    def destinations(self) -> dict[str, Installed]:
        return {"odd": InstalledClass(Odd), "odder": InstalledClass(Odd)}


def test_a_preview_may_send_nothing_fail_or_want_the_network(tmp_path: Path) -> None:
    before, after = (configuration(tmp_path, name, HOOKS) for name in ("old", "new"))
    before.config.destinations["d"] = {"type": "odd"}
    after.config.destinations["d"] = {"type": "odder"}
    events = [track(1, "Nothing"), track(2, "Network"), track(3, integrations={"Odd": {"a": 1}})]
    handle(before, events)
    row = one(compared(before, after, catalogue=Catalogue()), "d")
    assert figures(row) == (2, 2, 0, 0, 1)
    assert texts(row) == ({"type": "odd", "options": {"a": 1}}, {"type": "odder", "options": {"a": 1}})
    nothing = configuration(tmp_path, "nothing", HOOKS)
    newly = one(compared(nothing, after, catalogue=Catalogue()), "d").changes[0]
    shown = [json.loads(bytes(sample.after or b"null")) for sample in newly.samples]
    assert {"cannot be shown": "RuntimeError: preview has no network (http.get)"} in shown


def test_why_a_destination_would_send_nothing_is_told_without_the_details(tmp_path: Path) -> None:
    before, after = (configuration(tmp_path, name, HOOKS) for name in ("old", "new"))
    before.config.destinations["d"] = {"type": "odd"}
    handle(before, [track(1, "Sent"), track(2, "Unmapped"), track(3, "Unmapped")])
    after.config.destinations["d"] = {"type": "odd"}
    after.config.pipeline.hooks.append("renames")
    row = one(compared(before, after, catalogue=Catalogue()), "d")
    assert reasons(row) == [("newly", "bad_event: INVALID", 2), ("no_longer", "bad_event: INVALID", 1)]
