"""What triggers say: the table of spec/connections.md §8.1, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpd.mapping.fql.errors import FqlSyntaxError
from cdpd.mapping.fql.trigger import compile_trigger

MISSING = object()
VALUES: dict[str, Any] = {
    "missing": MISSING, "null": None, "v": "v", "xvx": "xvx", "v...": "vx", "...v": "xv", "empty": "", "3": 3,
    "3.0": 3.0, "4": 4, "'3'": "3", "true": True, "false": False, "list": ["v"], "object": {"v": 1},
}  # fmt: skip


def says(trigger: str, value: object) -> bool:
    properties = {} if value is MISSING else {"f": value}
    return compile_trigger(trigger).test({"type": "track", "properties": properties})


@pytest.mark.parametrize(
    ("trigger", "true_for"),
    [
        ('properties.f = "v"', {"v"}),
        ('"v" = properties.f', {"v"}),
        ('properties.f != "v"', set(VALUES) - {"v"}),
        ("properties.f = 3", {"3", "3.0"}),
        ("properties.f != 3", {"4"}),
        ("properties.f > 3", {"4"}),
        ("properties.f >= 3", {"3", "3.0", "4"}),
        ("properties.f < 4", {"3", "3.0"}),
        ("properties.f <= 3", {"3", "3.0"}),
        ("4 > properties.f", {"3", "3.0"}),
        ('contains(properties.f, "v")', {"v", "xvx", "v...", "...v"}),
        ('!contains(properties.f, "v")', {"empty", "'3'"}),
        ('match(properties.f, "v*")', {"v", "v..."}),
        ('!match(properties.f, "v*")', {"xvx", "...v", "empty", "'3'"}),
        ('match(properties.f, "*v")', {"v", "...v"}),
        ('!match(properties.f, "*v")', {"xvx", "v...", "empty", "'3'"}),
        ("properties.f != null", set(VALUES) - {"missing", "null"}),
        ("properties.f = null", {"missing", "null"}),
        ("properties.f = true", {"true"}),
        ("properties.f = false", {"false"}),
        ('properties.f in ["v", 3]', {"v", "3", "3.0"}),
        ("all", set(VALUES)),
        ("!all", set()),
    ],
)
def test_an_operator_is_true_for(trigger: str, true_for: set[str]) -> None:
    assert {name for name, value in VALUES.items() if says(trigger, value)} == true_for


def test_the_acceptance_list_holds() -> None:
    assert says('properties.plan != "free"', MISSING)
    assert not says('!contains(properties.plan,"x")', MISSING)
    assert not compile_trigger("properties.n != 3").test({"properties": {"n": "4"}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('!(properties.f = "v")', 'properties.f != "v"'),
        ("!(properties.f = 3)", "properties.f != 3"),
        ("!(properties.f > 3)", "properties.f <= 3"),
        ('!!contains(properties.f, "v")', 'contains(properties.f, "v")'),
        ('!(properties.f = "v" or properties.f = 3)', 'properties.f != "v" and properties.f != 3'),
        (
            '!(contains(properties.f, "v") and properties.f != null)',
            '!contains(properties.f, "v") or properties.f = null',
        ),
        ('!(properties.f in ["v", "xv"])', 'properties.f != "v" and properties.f != "xv"'),
    ],
)
def test_not_is_the_opposite_operator_of_everything_in_its_reach(one: str, other: str) -> None:
    for value in VALUES.values():
        assert says(one, value) is says(other, value)


def test_and_binds_stronger_than_or() -> None:
    trigger = compile_trigger('type = "page" or type = "track" and event = "A"')
    assert trigger.test({"type": "page"})
    assert trigger.test({"type": "track", "event": "A"})
    assert not trigger.test({"type": "track", "event": "B"})


def test_the_text_of_a_prefix_is_taken_as_it_is() -> None:
    starts = compile_trigger('match(event, "a?[b*")')
    assert starts.test({"event": "a?[bc"})
    assert not starts.test({"event": "ax[bc"})


@pytest.mark.parametrize(
    ("trigger", "part"),
    [
        ('groupId = "g"', "a trigger cannot read groupId"),
        ('propertes.f = "g"', "did you mean properties?"),
        ('properties = "g"', "write properties.NAME"),
        ('event.name = "g"', "event has no fields inside"),
        ("properties.f", "write properties.f = true"),
        ("properties.a = properties.b", "a written value"),
        ("properties.f = ['a']", "a written value"),
        ("1 = 1", "put the field on the left"),
        ("properties.f > 'a'", "> compares numbers in a trigger"),
        ("lowercase(event) = 'a'", "not lowercase(…)"),
        ("bool(event)", "cannot call bool"),
        ("match(event, 'a')", "one star"),
        ("match(event, 'a*b')", "one star"),
        ("match(event, '*a*')", "write contains(field, 'text')"),
        ("contains(event, properties.f)", "takes a written text"),
        ("event in properties.f", "write ['a', 'b']"),
        ("'a'", "expected a condition"),
    ],
)
def test_what_a_trigger_cannot_do_is_refused(trigger: str, part: str) -> None:
    with pytest.raises(FqlSyntaxError) as caught:
        compile_trigger(trigger)
    assert part in str(caught.value)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("fg0"), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY_JSON)
def test_no_event_makes_a_trigger_fail(value: object) -> None:
    trigger = compile_trigger(
        '!(contains(properties.f, "v") or properties.f.g > 3 or properties.f.0 = "a") and match(event, "*")'
    )
    assert trigger.test({"properties": value, "event": value}) in (True, False)
