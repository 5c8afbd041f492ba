"""A payload is made valid: empty values go, types are coerced, unknown keys are dropped, every error is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpd.mapping.kit.coerce import check
from cdpd.mapping.kit.field import Field, default_mapping


def fields(**described: dict[str, Any]) -> dict[str, Field]:
    """Fields from their JSON."""
    return msgspec.convert(described, dict[str, Field])


def one(field: dict[str, Any], value: object) -> Any:
    """What becomes of a single value; an error as text, and "absent" where it is dropped."""
    payload, errors = check(fields(f=field), {"f": value})
    return str(errors[0]) if errors else payload.get("f", "absent")


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        ("string", "a", "a"),
        ("string", 3, "3"),
        ("string", 10.0, "10"),
        ("string", 1.5, "1.5"),
        ("string", True, "true"),
        ("string", ["a"], "a"),
        ("string", [3], "3"),
        ("text", 3, "3"),
        ("password", False, "false"),
        ("number", "12", 12),
        ("number", " 1.5 ", 1.5),
        ("number", "-1e3", -1000.0),
        ("number", True, 1),
        ("number", ["2"], 2),
        ("number", 1.5, 1.5),
        ("integer", 10.0, 10),
        ("integer", "10", 10),
        ("integer", "10.0", 10),
        ("integer", 2**70, 2**70),
        ("boolean", True, True),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("boolean", 1, True),
        ("boolean", 0, False),
        ("boolean", [1], True),
        ("datetime", "2026-01-31", "2026-01-31"),
        ("datetime", "2026-01-31T12:00:00.123Z", "2026-01-31T12:00:00.123Z"),
        ("datetime", "2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00+02:00"),
        ("datetime", 1769860800, 1769860800),
        ("datetime", 1769860800123, 1769860800123),
        ("datetime", 1769860800.5, 1769860800.5),
        ("datetime", "1769860800123", "1769860800123"),
        ("object", {"a": [None, ""]}, {"a": [None, ""]}),
    ],
)
def test_a_value_is_coerced_where_possible(kind: str, value: object, result: object) -> None:
    found = one({"type": kind}, value)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("string", ["a", "b"], "f: expected a string, found a list of 2"),
        ("string", {}, "f: expected a string, found an object"),
        ("number", "12a", 'f: expected a number, found "12a"'),
        ("number", "nan", 'f: expected a number, found "nan"'),
        ("number", "0x1", 'f: expected a number, found "0x1"'),
        ("number", "1e999", 'f: expected a number, found "1e999"'),
        ("integer", 1.5, "f: expected a whole number, found 1.5"),
        ("integer", "1.5", 'f: expected a whole number, found "1.5"'),
        ("boolean", "yes", 'f: expected true or false, found "yes"'),
        ("boolean", "1", 'f: expected true or false, found "1"'),
        ("boolean", 2, "f: expected true or false, found 2"),
        ("datetime", "soon", 'f: expected an ISO 8601 time or epoch seconds, found "soon"'),
        ("datetime", "2026-02-31", 'f: expected an ISO 8601 time or epoch seconds, found "2026-02-31"'),
        ("datetime", True, "f: expected an ISO 8601 time or epoch seconds, found true"),
        ("object", "{}", 'f: expected an object, found "{}"'),
        ("object", [{}], "f: expected an object, found a list of 1"),
    ],
)
def test_what_cannot_be_coerced_is_an_error(kind: str, value: object, message: str) -> None:
    assert one({"type": kind}, value) == message


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(one({"type": "number"}, "x" * 500)) < 100


@pytest.mark.parametrize(
    ("field", "value", "result"),
    [
        ({"type": "string"}, None, "absent"),
        ({"type": "string", "allowNull": True}, None, None),
        ({"type": "string"}, "", "absent"),
        ({"type": "number"}, "", "absent"),
        ({"type": "object"}, "", "absent"),
        ({"type": "object", "properties": {"s": {"type": "string"}}}, {"s": ""}, {"s": ""}),
        ({"type": "object", "properties": {"s": {"type": "text"}}}, {"s": ""}, {"s": ""}),
        ({"type": "object", "properties": {"n": {"type": "number"}}}, {"n": ""}, {}),
        ({"type": "object", "properties": {"s": {"type": "string"}}}, {"s": None}, {}),
        ({"type": "object"}, {"s": None, "t": ""}, {"s": None, "t": ""}),
        ({"type": "string", "multiple": True}, [None, "", "a"], ["", "a"]),
        ({"type": "number", "multiple": True}, [None, "", "1"], [1]),
        ({"type": "string", "multiple": True, "allowNull": True}, [None], [None]),
    ],
)
def test_the_empty_value_pass(field: dict[str, Any], value: object, result: object) -> None:
    assert one(field, value) == result


def test_a_list_field_takes_a_single_value() -> None:
    assert one({"type": "integer", "multiple": True}, "3") == [3]
    assert one({"type": "integer", "multiple": True}, ["3", 4.0]) == [3, 4]
    assert one({"type": "object", "multiple": True}, {"a": 1}) == [{"a": 1}]
    assert one({"type": "integer", "multiple": True}, [1, "x"]) == 'f[1]: expected a whole number, found "x"'


def test_unknown_keys_are_dropped_unless_they_are_wanted() -> None:
    described = fields(
        closed={"type": "object", "properties": {"a": {"type": "number"}}},
        open={"type": "object", "properties": {"a": {"type": "number"}}, "extraKeys": True},
        free={"type": "object"},
    )
    value = {"a": "1", "b": {"c": None}}
    payload, errors = check(described, {"closed": value, "open": value, "free": value, "more": 1})
    assert not errors
    assert payload == {"closed": {"a": 1}, "open": {"a": 1, "b": {"c": None}}, "free": value}


def test_every_error_is_told_with_its_name() -> None:
    items = {"id": {"type": "string", "required": True}, "price": {"type": "number"}}
    described = fields(
        email={"type": "string", "required": True},
        items={"type": "object", "multiple": True, "properties": items},
        plan={"type": "string", "choices": ["free", {"label": "Pro", "value": "pro"}]},
        at={"type": "datetime", "required": True},
    )
    given_ = {"email": "", "items": [{"id": 1, "price": "x"}, {"price": 2}], "plan": "gold", "at": "never"}
    _, errors = check(described, given_)
    assert list(map(str, errors)) == [
        'items[0].price: expected a number, found "x"',
        "items[1].id: is required",
        'plan: expected one of free, pro, found "gold"',
        'at: expected an ISO 8601 time or epoch seconds, found "never"',
        "email: is required",
    ]


def test_a_choice_is_compared_after_coercion() -> None:
    assert one({"type": "integer", "choices": [1, 2]}, "2") == 2
    assert one({"type": "number", "choices": [1, 2]}, "2.0") == 2
    assert one({"type": "string", "multiple": True, "choices": ["a"]}, ["a", "b"]).startswith(
        "f[1]: expected one of"
    )


@pytest.mark.parametrize(
    ("condition", "payload", "is_required"),
    [
        ({"fieldKey": "kind", "operator": "is", "value": "x"}, {"kind": "x"}, True),
        ({"fieldKey": "kind", "operator": "is", "value": "x"}, {"kind": "y"}, False),
        ({"fieldKey": "kind", "operator": "is", "value": "x"}, {}, False),
        ({"fieldKey": "kind", "operator": "is"}, {}, True),
        ({"fieldKey": "kind", "operator": "is_not"}, {"kind": "y"}, True),
        ({"type": "field", "fieldKey": "on", "operator": "is", "value": True}, {"on": "true"}, True),
        ({"fieldKey": "on", "operator": "is_not", "value": True}, {}, True),
    ],
)
def test_a_field_is_required_beside_others(
    condition: dict[str, Any], payload: dict[str, Any], is_required: bool
) -> None:
    described = fields(
        kind={"type": "string"}, on={"type": "boolean"}, f={"type": "string", "required": {"conditions": [condition]}}
    )  # fmt: skip
    assert [str(error) for error in check(described, payload)[1]] == (
        ["f: is required"] if is_required else []
    )


def test_conditions_hold_together_or_one_by_one() -> None:
    two = [{"fieldKey": "a", "value": 1}, {"fieldKey": "b", "value": 1}]
    for match, expected in (("all", 0), ("any", 1)):
        needed = {"type": "string", "required": {"conditions": two, "match": match}}
        described = fields(a={"type": "number"}, b={"type": "number"}, f=needed)
        assert len(check(described, {"a": 1})[1]) == expected


def test_the_given_payload_is_left_as_it_is() -> None:
    given_ = {"o": {"n": "1"}, "l": ["1"]}
    described = fields(
        o={"type": "object", "properties": {"n": {"type": "number"}}}, l={"type": "number", "multiple": True}
    )
    assert check(described, given_) == ({"o": {"n": 1}, "l": [1]}, [])
    assert given_ == {"o": {"n": "1"}, "l": ["1"]}


def test_a_new_mapping_starts_with_the_defaults() -> None:
    described = fields(a={"type": "string", "default": {"@path": "$.userId"}}, b={"type": "string"})
    assert default_mapping(described) == {"a": {"@path": "$.userId"}}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
    | st.sampled_from(["1", "true", "2026-01-31", "-3.0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
SCALAR_FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "text", "number", "integer", "boolean", "datetime", "object"])},
    optional={"multiple": st.booleans(), "allowNull": st.booleans(), "required": st.booleans()},
)
FIELDS = st.recursive(
    SCALAR_FIELDS,
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2)},
        optional={"multiple": st.booleans(), "extraKeys": st.booleans()},
    ),
    max_leaves=4,
)
IS: dict[str, tuple[type, ...]] = {
    "string": (str,), "text": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,),
    "datetime": (int, float, str), "object": (dict,),
}  # fmt: skip


def fits(field: dict[str, Any], value: Any) -> bool:
    """Whether a value is valid as it stands; independent of the code under test."""
    if value is None:
        return bool(field.get("allowNull"))
    if field.get("multiple"):
        return isinstance(value, list) and all(fits({**field, "multiple": False}, item) for item in value)
    if not isinstance(value, IS[field["type"]]) or (isinstance(value, bool) and field["type"] != "boolean"):
        return False
    inner = field.get("properties")
    if not inner:
        return True
    known = field.get("extraKeys") or set(value) <= set(inner)
    needed = all(name in value for name, one_ in inner.items() if one_.get("required"))
    return (
        bool(known)
        and needed
        and all(fits(inner[name], item) for name, item in value.items() if name in inner)
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from("ab"), FIELDS, max_size=2),
    st.dictionaries(st.sampled_from("abc"), VALUES),
)
def test_a_payload_without_errors_is_valid_and_stays_as_it_is(
    described: dict[str, Any], payload: dict[str, Any]
) -> None:
    made, errors = check(fields(**described), payload)
    if not errors:
        assert fits({"type": "object", "properties": described, "extraKeys": not described}, made)
        assert check(fields(**described), made) == (made, [])
