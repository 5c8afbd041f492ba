"""The acceptance list of spec/connections.md, row by row, where no test nearer to the code holds a row literally."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cdpd.delivery.filters import BY_RULES, Filters
from cdpd.destinations.contract import Batch, DestinationConfig
from cdpd.destinations.filter_setup import FilterSetup
from cdpd.destinations.outcome import BadConfig, BadEvent, Delivered, Outcome, RateLimited, TryAgain
from cdpd.mapping.fql.trigger import compile_trigger
from cdpd.mapping.kit.compile import compile_mapping
from cdpd.mapping.kit.errors import MappingFaults
from cdpd.testing import run_action, running_destination, running_vendor
from tests.delivery.rig import Rig
from tests.destinations.actions.radio import Radio
from tests.stored import event


def filters(*setups: dict[str, Any]) -> Filters:
    return Filters([msgspec.convert(setup, FilterSetup) for setup in setups], lambda: 0.5)


def dropping(condition: str) -> dict[str, Any]:
    return {"if": condition, "actions": [{"type": "drop"}]}


def line(**fields: Any) -> bytes:
    return json.dumps({"type": "track", "messageId": "m", "projectId": "website", **fields}).encode()


def mapped(mapping: object, fields: dict[str, Any]) -> object:
    return compile_mapping(mapping).resolve(fields)


async def test_row_5_a_filter_on_the_length_of_the_user_id_drops_anonymous_tracks() -> None:
    it = filters(dropping("length(userId) < 1"))
    assert it.apply(line(anonymousId="a")).skip == BY_RULES
    assert it.apply(line(userId="")).skip == BY_RULES
    assert it.apply(line(userId="u")).skip is None


def test_row_7_a_filter_that_is_no_fql_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"oops|never closed"):
        filters(dropping('userId = oops"'))


def test_row_8_a_sample_by_user_keeps_all_or_nothing_of_each_and_half_of_them() -> None:
    it = filters({"if": "all", "actions": [{"type": "sample", "percent": 0.5, "path": "userId"}]})
    kept = 0
    for user in range(10_000):
        told = {it.apply(line(userId=f"u{user}", event=name)).skip for name in ("a", "b", "c")}
        assert len(told) == 1
        kept += None in told
    assert 4500 <= kept <= 5500


async def test_row_9_fields_that_are_dropped_vanish_there_and_stay_in_the_log(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    fields = {"context": ["ip"], "": ["userId"], "properties.products": ["price"]}
    drop = {"if": "all", "actions": [{"type": "drop_properties", "fields": fields}]}
    whole = event(
        0,
        userId="u",
        context={"ip": "192.0.2.1", "locale": "de"},
        properties={"products": [{"id": 1, "price": 2}, {"id": 3, "price": 4}], "price": 6},
    )
    text = json.dumps(whole).encode()
    async with rig.running(d={"type": "scripted", "filters": [drop]}):
        await rig.append(text)
        await rig.settle()
        piece = rig.events.reader(msgspec.structs.replace(rig.events.end, offset=0)).read(10, 1 << 20)
    assert piece is not None
    assert [bytes(each) for frame in piece.frames for each in frame.lines] == [text]
    (sent,) = (each.plain() for batch in rig.batches for each in batch.events)
    expected = {key: value for key, value in whole.items() if key != "userId"}
    expected["context"] = {"locale": "de"}
    expected["properties"] = {"products": [{"id": 1}, {"id": 3}], "price": 6}
    assert sent == expected


def test_row_10_of_an_allowed_place_nothing_else_stays_and_other_places_are_untouched() -> None:
    allow = {"type": "allow_properties", "fields": {"properties": ["a"]}}
    told = filters({"if": "all", "actions": [allow]}).apply(
        line(properties={"a": 1, "b": 2}, context={"ip": "192.0.2.1"})
    )
    assert json.loads(told.line) == json.loads(line(properties={"a": 1}, context={"ip": "192.0.2.1"}))


@pytest.mark.parametrize(
    ("trigger", "fields", "fires"),
    [
        ('properties.plan != "free"', {}, True),
        ('!contains(properties.plan,"x")', {}, False),
        ("properties.n != 3", {"properties": {"n": "4"}}, False),
    ],
)
def test_row_11_triggers_have_their_own_answers_for_what_is_missing(
    trigger: str, fields: dict[str, Any], fires: bool
) -> None:
    assert compile_trigger(trigger).test(fields) is fires


@pytest.mark.parametrize(
    ("mapping", "fields", "result"),
    [
        ({"a": {"@path": "$.x.y"}}, {"x": None}, {"a": None}),
        ({"a": {"@path": "$.x.y"}}, {}, {}),
        ({"a": {"@path": "$.x.y"}}, {"x": 0}, {"a": 0}),
        (
            {"t": {"@template": "Hi {{traits.name}} ({{n}}){{o}}"}},
            {"n": 1, "o": {}},
            {"t": "Hi  (1)[object Object]"},
        ),
        ({"a": {"@if": {"exists": {"@path": "z"}, "then": 1, "else": False}}}, {}, {}),
        ({"a": {"@if": {"exists": {"@path": "z"}, "then": 1, "else": False}}}, {"z": None}, {}),
        ({"a": {"@if": {"exists": {"@path": "z"}, "then": 1, "else": False}}}, {"z": 0}, {"a": 1}),
        ({"a": {"@if": {"blank": {"@path": "z"}, "then": 1, "else": 2}}}, {"z": 0}, {"a": 2}),
        (
            {"a": {"@arrayPath": ["$.properties.products", {"id": {"@path": "$.product_id"}}]}},
            {"properties": {"products": {"product_id": "p"}}},
            {"a": [{"id": "p"}]},
        ),
        (
            {"a": {"@replace": {"value": "a-b-c", "pattern": "-", "replacement": "@", "global": False}}},
            {},
            {"a": "a@b-c"},
        ),
        ({"a": {"@replace": {"value": {"@path": "z"}, "pattern": "-"}}}, {"z": None}, {"a": ""}),
        (
            {"a": {"@flatten": {"value": {"@path": "z"}, "separator": "."}}},
            {"z": {"a": {"b": {"c": 1}, "d": 2}}},
            {"a": {"a.b.c": 1, "a.d": 2}},
        ),
        (
            {"a": {"@merge": {"objects": [{"h": 1}, {"h": 2, "i": 3}], "direction": "left"}}},
            {},
            {"a": {"h": 1, "i": 3}},
        ),
    ],
)
def test_rows_12_to_17_mappings_give(mapping: object, fields: dict[str, Any], result: object) -> None:
    assert mapped(mapping, fields) == result


def test_row_18_a_directive_with_a_key_beside_it_is_refused() -> None:
    with pytest.raises(MappingFaults):
        compile_mapping({"a": {"foo": "bar", "@path": "$.x"}})


def answering(*outcomes: Outcome) -> Callable[[Batch], Sequence[Outcome]]:
    left = list(outcomes)
    return lambda batch: [left.pop(0) if len(left) > 1 else left[0]] * len(batch.events)


async def test_row_19_two_rate_limits_and_then_delivered_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(answering(RateLimited("429", 429), RateLimited("429", 429), Delivered()))
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.as_time_passes(lambda: rig.low() == 1)
        assert (len(rig.batches), rig.status()["delivered"], rig.status()["parked"]) == (3, 1, 0)


async def test_row_19_a_refused_event_is_parked_after_one_request(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(answering(BadEvent("400", 400)))
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.settle()
        assert (len(rig.batches), rig.status()["parked"]) == (1, 1)


async def test_row_19_a_501_pauses_the_destination() -> None:
    told = (
        await run_action(Radio, "listen", {"type": "identify", "userId": "u"}, settings=URL, replies=[501])
    ).outcome
    assert isinstance(told, BadConfig)


async def test_row_19_after_four_hours_of_500_it_is_still_tried_and_the_cursor_waits(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(answering(TryAgain("500", 500)))
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        begun = rig.clock.elapsed
        await rig.as_time_passes(lambda: rig.clock.elapsed - begun > 4 * 3600)
        before = len(rig.batches)
        await rig.as_time_passes(lambda: len(rig.batches) > before)
        assert (rig.low(), rig.status()["parked"]) == (0, 0)


async def test_row_22_an_event_that_matches_no_trigger_reaches_no_mapping() -> None:
    options = {"presets": False, "actions": [{"action": "listen", "when": 'event = "B"'}]}
    async with running_destination(Radio, {**URL, **options}) as it:
        (told,) = await it.deliver({"type": "track", "event": "A", "userId": "u"})
    assert getattr(told, "code", "") == "NO_MATCHING_MAPPING"


async def test_row_27_two_mappings_that_match_are_two_requests() -> None:
    listen = {"action": "listen", "when": "all"}
    async with running_vendor() as vendor:
        options = {"url": vendor.url, "presets": False, "actions": [listen, listen]}
        async with running_destination(Radio, options) as it:
            (told,) = await it.deliver({"type": "identify", "userId": "u", "traits": {}})
    assert (told.kind, len(vendor.requests)) == ("delivered", 2)


def test_row_28_an_eleventh_filter_and_a_title_of_65_characters_are_refused() -> None:
    one = dropping("all")
    msgspec.convert({"filters": [{**one, "title": "x" * 64}] * 10}, DestinationConfig)
    for wrong in ([one] * 11, [{**one, "title": "x" * 65}]):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"filters": wrong}, DestinationConfig)


URL = {"url": "https://radio.example"}
