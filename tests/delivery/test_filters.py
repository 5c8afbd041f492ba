"""Destination filters: what is kept back, what is taken out, who fails closed. Source: spec/connections.md §6."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cdpd import metrics as names
from cdpd.delivery.filters import BY_RULES, FAILED, Filtered, Filters
from cdpd.destinations.contract import DestinationConfig
from cdpd.destinations.filter_setup import FilterAction, FilterSetup
from tests.delivery.rig import Rig

DROP = [{"type": "drop"}]


def filters(*setups: dict[str, Any], random: Callable[[], float] = lambda: 0.5) -> Filters:
    return Filters(msgspec.convert(list(setups), list[FilterSetup]), random)


def apply(event: dict[str, Any], *setups: dict[str, Any]) -> Filtered:
    return filters(*setups).apply(json.dumps(event).encode())


def sent(event: dict[str, Any], *setups: dict[str, Any]) -> Any:
    found = apply(event, *setups)
    assert found.skip is None, found
    return json.loads(found.line)


def dropping(condition: str, **more: Any) -> dict[str, Any]:
    return {"if": condition, "actions": DROP, **more}


def taking(kind: str, fields: dict[str, list[str]], condition: str = "all") -> dict[str, Any]:
    return {"if": condition, "actions": [{"type": kind, "fields": fields}]}


def test_what_fits_a_drop_is_not_sent_and_the_filter_is_named() -> None:
    setup = dropping("length(userId) < 1", title="nobody")
    assert apply({"anonymousId": "a"}, setup) == Filtered(b'{"anonymousId": "a"}', BY_RULES, "nobody")
    assert sent({"userId": "u"}, setup) == {"userId": "u"}


def test_only_send_filters_intersect() -> None:
    both = (dropping('!(event = "A" or event = "B")'), dropping('!(event = "B" or event = "C")'))
    assert [apply({"event": name}, *both).skip for name in "ABC"] == [BY_RULES, None, BY_RULES]
    assert apply({"event": "A"}, *both).by == "filter 2"


def test_a_filter_that_is_off_or_for_other_sources_does_nothing() -> None:
    event = {"projectId": "web"}
    assert sent(event, dropping("all", enabled=False), dropping("all", sources=["app"])) == event
    assert apply(event, dropping("all", sources=["web"])).skip == BY_RULES


def test_fields_are_taken_out_where_they_are_named_of_every_element_of_a_list() -> None:
    event = {
        "messageId": "m", "userId": "u", "context": {"ip": "1", "os": {"name": "x"}},
        "properties": {"products": [{"price": 1, "id": 2}, {"id": 3}, "text"], "n": 1},
    }  # fmt: skip
    fields = {
        "context": ["ip"],
        "": ["userId"],
        "properties.products": ["price"],
        "traits": ["x"],
        "context.os.name": ["y"],
    }
    assert sent(event, taking("drop_properties", fields)) == {
        "messageId": "m", "context": {"os": {"name": "x"}},
        "properties": {"products": [{"id": 2}, {"id": 3}, "text"], "n": 1},
    }  # fmt: skip


def test_allowed_fields_are_all_that_stays_there_and_the_message_id() -> None:
    event = {"messageId": "m", "type": "track", "properties": {"a": 1, "b": 2}, "context": {"ip": "1"}}
    assert sent(event, taking("allow_properties", {"properties": ["a"]})) == {
        "messageId": "m", "type": "track", "properties": {"a": 1}, "context": {"ip": "1"},
    }  # fmt: skip
    assert sent(event, taking("allow_properties", {"": ["type"]})) == {"messageId": "m", "type": "track"}


def test_what_is_untouched_keeps_its_own_text() -> None:
    line = b'{"properties":{"price":1.10,"n":12345678901234567890,"gone":1},"context":{"a":1.0}}'
    found = filters(taking("drop_properties", {"properties": ["gone"]})).apply(line)
    assert found.line == b'{"properties":{"price":1.10,"n":12345678901234567890},"context":{"a":1.0}}'


def test_every_condition_sees_the_event_as_it_was_and_drops_come_before_fields() -> None:
    take = taking("drop_properties", {"properties": ["plan"]})
    assert (
        apply({"properties": {"plan": "free"}}, take, dropping('properties.plan = "free"')).skip == BY_RULES
    )
    assert apply({"properties": {"plan": "paid"}}, take, dropping('properties.plan = "free"')).skip is None


def test_older_names_mean_the_same() -> None:
    assert apply({}, {"if": "all", "actions": [{"type": "drop_event"}]}).skip == BY_RULES
    assert apply({}, {"if": "all", "actions": [{"type": "sample_event", "percent": 0}]}).skip == BY_RULES
    assert sent({"a": 1, "b": 2}, taking("blocklist_fields", {"": ["a"]})) == {"b": 2}
    assert sent({"a": 1, "b": 2}, taking("whitelist_fields", {"": ["a"]})) == {"a": 1}


def test_samples_by_a_path_keep_all_or_nothing_of_a_user_and_about_the_share() -> None:
    sampling = filters({"if": "all", "actions": [{"type": "sample", "percent": 0.5, "path": "userId"}]})
    kept = 0
    for number in range(10_000):
        line = json.dumps({"userId": f"user-{number}"}).encode()
        answers = {sampling.apply(line).skip is None for _ in range(3)}
        assert len(answers) == 1
        kept += answers.pop()
    assert 4500 <= kept <= 5500


def test_a_sample_by_a_path_is_the_same_everywhere() -> None:
    # The first 8 bytes of the SHA-256 of "u1", of 2^64: 0.7325
    for percent, kept in ((0.73, False), (0.74, True)):
        setup = {"if": "all", "actions": [{"type": "sample", "percent": percent, "path": "userId"}]}
        assert (apply({"userId": "u1"}, setup).skip is None) is kept


def test_samples_without_a_value_go_by_chance() -> None:
    setup = {"if": "all", "actions": [{"type": "sample", "percent": 0.5, "path": "userId"}]}
    for chance, kept in ((0.49, True), (0.5, False)):
        for event in (b"{}", b'{"userId":null}', b'{"userId":{"a":1}}'):
            assert (filters(setup, random=lambda chance=chance: chance).apply(event).skip is None) is kept  # type: ignore[misc]


def test_what_cannot_be_judged_is_not_sent() -> None:
    found = apply({"properties": {"x": 1}}, dropping("lowercase(properties.x) = 'a'", title="odd"))
    assert (found.skip, found.by) == (FAILED, "odd")
    assert "lowercase" in found.problem


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ({"if": 'userId = oops"', "actions": DROP}, "if: column"),
        ({"if": "all", "actions": []}, "needs `actions`"),
        ({"if": "all", "actions": [{"type": "sample"}]}, "needs `percent`"),
        ({"if": "all", "actions": [{"type": "sample", "percent": 2}]}, "<= 1"),
        ({"if": "all", "actions": [{"type": "sample", "percent": 1, "path": "length(a)"}]}, "is no path"),
        ({"if": "all", "actions": [{"type": "drop", "percent": 1}]}, "belong to `sample`"),
        ({"if": "all", "actions": [{"type": "drop", "fields": {"": ["a"]}}]}, "`fields` belong"),
        ({"if": "all", "actions": [{"type": "drop_properties"}]}, "needs `fields`"),
        ({"if": "all", "actions": [{"type": "drop_properties", "fields": {"": ["messageId"]}}]}, "messageId"),
        ({"if": "all", "actions": DROP, "title": "x" * 65}, "64"),
        ({"if": "all", "actions": [{"type": "dorp"}]}, "dorp"),
    ],
)
def test_a_filter_that_is_wrong_is_refused_with_what_is_wrong(setup: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(setup, FilterSetup)


def test_a_destination_has_ten_filters_at_most() -> None:
    assert len(msgspec.convert({"filters": [dropping("all")] * 10}, DestinationConfig).filters) == 10
    with pytest.raises(msgspec.ValidationError, match="10"):
        msgspec.convert({"filters": [dropping("all")] * 11}, DestinationConfig)


async def test_only_its_own_destination_is_filtered_and_a_failing_filter_is_loud(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    odd = dropping("lowercase(userId) = 'x'", title="odd")
    free = taking("drop_properties", {"properties": ["secret"]})
    options = {"type": "scripted", "from": "beginning"}
    async with rig.running(
        d={**options, "filters": [odd, free]},
        e={"type": "file", "from": "beginning", "path": str(tmp_path / "e")},
    ):
        await rig.append({"userId": "x"}, {"userId": "y", "properties": {"secret": 1, "a": 2}}, {"userId": 7})
        await rig.settle("d")
        await rig.settle("e")
    assert rig.sent == ["m1"]
    assert dict(rig.batches[0].events[0].properties) == {"a": 2}
    assert len((tmp_path / "e").read_text().splitlines()) == 3
    assert [entry["filter"] for entry in rig.told if "cannot judge" in str(entry.get("event"))] == ["odd"]
    skipped = {code: rig.metrics.get(names.SKIPPED, "d", code) for code in (BY_RULES, FAILED)}
    assert skipped == {BY_RULES: 1, FAILED: 1}


@pytest.mark.parametrize(
    ("metadata", "sent"),
    [
        ({"bundled": ["Segment.io", "Scripted"]}, False),
        ({"bundled": ["Segment.io", "scripted"]}, True),
        ({"bundled": [], "unbundled": ["Scripted"]}, True),
        ({"bundled": "Scripted"}, True),
        ("Scripted", True),
        (None, True),
    ],
)
async def test_what_the_browser_has_delivered_itself_is_not_sent_again(
    tmp_path: Path, metadata: Any, sent: bool
) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={"type": "scripted", "from": "beginning"}):
        await rig.append({"_metadata": metadata})
        await rig.as_time_passes(lambda: rig.low("d") == 1)
    assert rig.sent == (["m0"] if sent else [])
    assert rig.metrics.get(names.SKIPPED, "d", "MESSAGE_SENT_CLIENT_SIDE") == (0 if sent else 1)


@pytest.mark.parametrize("place", ["$.properties", "properties..a", ".context", "context."])
def test_a_place_that_is_none_is_refused_since_it_would_hide_nothing(place: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="is no place of an object, write"):
        msgspec.convert({"type": "drop_properties", "fields": {place: ["a"]}}, FilterAction)


@pytest.mark.parametrize("levels", [600, 5_000])
async def test_an_event_too_deep_for_a_filter_stops_no_destination(tmp_path: Path, levels: int) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    deep = (
        b'{"type":"track","projectId":"website","messageId":"x","a":' + b"[" * levels + b"]" * levels + b"}"
    )
    drop = {"if": "all", "actions": [{"type": "drop_properties", "fields": {"a": ["x"]}}]}
    async with rig.running(d={"type": "scripted", "filters": [drop]}):
        await rig.append({}, deep, {})
        await rig.settle()
    assert rig.sent == ["m0", "m2"]
