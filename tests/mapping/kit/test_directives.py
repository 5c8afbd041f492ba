"""What directives resolve to: the table of spec/connections.md §8.2, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from cdpd.mapping.kit.compile import compile_mapping
from cdpd.mapping.kit.errors import MappingError
from cdpd.mapping.kit.nothing import NOTHING

PRODUCTS = [{"product_id": 1, "price": 2.5}, {"product_id": 2}]


def made(value: object, event: dict[str, Any] | None = None) -> Any:
    """What a field resolves to; NOTHING where it is not there."""
    return compile_mapping({"field": value}).resolve(event or {}).get("field", NOTHING)


def path(text: str) -> dict[str, str]:
    return {"@path": text}


# -- the acceptance list ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "payload"), [({"x": None}, {"a": None}), ({}, {}), ({"x": {}}, {}), ({"x": 0}, {"a": 0})]
)
def test_a_path_ends_at_what_is_falsy(event: dict[str, Any], payload: dict[str, Any]) -> None:
    assert compile_mapping({"a": path("$.x.y")}).resolve(event) == payload


def test_a_template_is_filled() -> None:
    template = {"@template": "Hi {{traits.name}} ({{n}}){{o}}"}
    assert made(template, {"n": 1, "o": {}}) == "Hi  (1)[object Object]"


@pytest.mark.parametrize(("event", "result"), [({}, NOTHING), ({"z": None}, NOTHING), ({"z": 0}, 1)])
def test_if_exists(event: dict[str, Any], result: object) -> None:
    assert made({"@if": {"exists": path("z"), "then": 1, "else": False}}, event) is result


def test_if_blank_takes_else_for_zero() -> None:
    assert made({"@if": {"blank": path("z"), "then": 1, "else": 2}}, {"z": 0}) == 2


def test_array_path_makes_a_list_of_a_single_object() -> None:
    event = {"properties": {"products": {"product_id": "p"}}}
    mapping = {"@arrayPath": ["$.properties.products", {"id": path("$.product_id")}]}
    assert made(mapping, event) == [{"id": "p"}]


def test_replace_once() -> None:
    once = {"@replace": {"value": path("x"), "pattern": "-", "replacement": "@", "global": False}}
    assert made(once, {"x": "a-b-c"}) == "a@b-c"
    assert made(once, {"x": None}) == ""


def test_flatten_and_merge() -> None:
    nested = {"a": {"b": {"c": 1}, "d": 2}}
    assert made({"@flatten": {"value": nested, "separator": "."}}) == {"a.b.c": 1, "a.d": 2}
    merge = {"@merge": {"objects": [{"h": 1}, {"h": 2, "i": 3}], "direction": "left"}}
    assert made(merge) == {"h": 1, "i": 3}


# -- what is no directive ---------------------------------------------------------------------------------------


def test_objects_lists_and_scalars_resolve_part_by_part() -> None:
    value = {
        "a": [1, path("x"), path("gone"), {"b": path("gone"), "c": None}],
        "d": {"e": path("gone")},
        "f": True,
    }
    assert made(value, {"x": "X"}) == {"a": [1, "X", None, {"c": None}], "d": {}, "f": True}


def test_metadata_beside_a_directive_is_ignored() -> None:
    assert made({"@path": "x", "_metadata": {"any": 1}}, {"x": 1}) == 1
    assert made({"@path": "x", "_metadata": {"@path": 3}}, {"x": 1}) == 1


def test_in_a_list_what_is_no_directive_is_data() -> None:
    assert made([{"foo": "bar", "@path": "$.x"}, {"@nope": path("x")}], {"x": 1}) == [
        {"foo": "bar", "@path": "$.x"},
        {"@nope": 1},
    ]


def test_a_mapping_makes_a_new_payload_each_time() -> None:
    mapping = compile_mapping({"a": [{"b": {}}]})
    first = mapping.resolve({})
    first["a"][0]["b"]["c"] = 1
    assert mapping.resolve({}) == {"a": [{"b": {}}]}


def test_a_root_that_is_a_directive_may_give_anything() -> None:
    assert compile_mapping(path("$.")).resolve({"a": 1}) == {"a": 1}
    assert compile_mapping(path("b")).resolve({"a": 1}) is NOTHING
    assert not NOTHING


def test_the_root_directive_gets_the_other_fields_as_its_mapping() -> None:
    mapping = {
        "__segment_internal_directive": {"@transform": {"apply": {"x": path("$.properties.deep")}}},
        "a": path("$.x"),
        "b": path("$.properties"),
    }
    assert compile_mapping(mapping).resolve({"properties": {"deep": 1}}) == {"a": 1}


# -- @path ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", {"whole": True}),
        (".", {"whole": True}),
        ("$.", {"whole": True}),
    ],
)
def test_an_empty_path_is_the_whole_event(text: str, result: object) -> None:
    assert made(path(text), {"whole": True}) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("properties.a", 1),
        ("$.properties.a", 1),
        ("properties.$.a", 1),
        ("properties.two words", 2),
        ("properties['two words']", 2),
        ('properties["two words"]', 2),
        ("properties.list[1]", "b"),
        ("properties.list.1", "b"),
        ("properties.list[9]", NOTHING),
        ("properties.list.01", NOTHING),
        ("properties.list.name", NOTHING),
        ("properties.list.length", 2),
        ("properties.nested[0][1]", "y"),
        ("properties.items[0]['sku']", "s"),
        ("properties.items[sku]", "odd"),
        ("properties.text.length", 3),
        ("properties.text.0", NOTHING),
        ("properties.text.x", NOTHING),
        ("properties.a.x", NOTHING),
        ("properties.yes.x", NOTHING),
        ("properties.no.x", False),
        ("properties.none.x.y", None),
        ("properties.zero.x", 0),
        ("properties.empty.x", ""),
        ("properties.object.x", NOTHING),
        ("properties.own.length", 9),
        ("$", NOTHING),
    ],
)
def test_a_path_leads_through_objects_and_lists(text: str, result: object) -> None:
    properties = {
        "a": 1, "two words": 2, "list": ["a", "b"], "nested": [["x", "y"]], "items": [{"sku": "s"}],
        "items[sku]": "odd", "text": "a😀", "yes": True, "no": False, "none": None, "zero": 0, "empty": "",
        "object": {}, "own": {"length": 9},
    }  # fmt: skip
    found = made(path(text), {"properties": properties})
    assert found == result
    assert type(found) is type(result)


def test_a_path_can_be_computed() -> None:
    computed = {"@path": {"@template": "$.properties.{{type}}"}}
    assert made(computed, {"type": "track", "properties": {"track": 1}}) == 1
    with pytest.raises(MappingError, match="computed path is nothing, expected a string"):
        made({"@path": path("gone")})


# -- @template --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("{{a}}{{{a}}}", "11"),
        ("{{ a }}", "1"),
        ("{{$.a}}", ""),
        ("{{gone}}{{null}}", ""),
        ("{{yes}} {{no}}", "true false"),
        ("{{ten}} {{tiny}} {{huge}} {{half}}", "10 1e-7 1e+21 0.5"),
        ("{{list}}", "1,,true,a,[object Object],2,3"),
        ("{{empty}}|{{list.length}}", "|6"),
        ("{{}} {a} }}{{", "{{}} {a} }}{{"),
        ("{{two words}}", "w"),
        ("{{mean}}", "{{a}}"),
        ("{{{{a}}}}", "}"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_a_template_gives_text(template: str, result: str) -> None:
    event = {
        "a": 1, "null": None, "yes": True, "no": False, "ten": 10.0, "tiny": 1e-7, "huge": 1e21, "half": 0.5,
        "list": [1, None, True, "a", {}, [2, 3]], "empty": "", "two words": "w", "mean": "{{a}}",
    }  # fmt: skip
    assert made({"@template": template}, event) == result


# -- @literal, @if ------------------------------------------------------------------------------------------------


def test_directives_in_a_literal_are_resolved() -> None:
    assert made({"@literal": {"a": path("x"), "b": [path("x")]}}, {"x": 1}) == {"a": 1, "b": [1]}
    assert made({"@literal": None}) is None


@pytest.mark.parametrize("value", [0, 0.0, False, "", [], [""], [None], [[]], None])
def test_these_are_blank(value: object) -> None:
    assert made({"@if": {"blank": path("x"), "then": "then", "else": "else"}}, {"x": value}) == "else"


@pytest.mark.parametrize("value", [1, True, " ", "0", [0], {}, [{}]])
def test_these_are_not_blank(value: object) -> None:
    assert made({"@if": {"blank": path("x"), "then": "then", "else": "else"}}, {"x": value}) == "then"


def test_if_without_a_branch_is_nothing() -> None:
    assert made({"@if": {"exists": path("x")}}, {"x": 1}) is NOTHING
    assert made({"@if": {"exists": path("x"), "then": 1}}) is NOTHING
    assert made({"@if": {"exists": path("x"), "then": False}}, {"x": 1}) is False
    assert made({"@if": {"exists": path("x"), "then": None}}, {"x": 1}) is None


@pytest.mark.parametrize("other", [False, 0, "", None])
def test_a_falsy_else_is_nothing_and_a_computed_one_is_not(other: object) -> None:
    assert made({"@if": {"exists": path("x"), "else": other}}) is NOTHING
    assert made({"@if": {"exists": path("x"), "else": path("y")}}, {"y": other}) is other


def test_exists_goes_before_blank_unless_it_is_written_falsy() -> None:
    assert made({"@if": {"exists": path("x"), "blank": path("y"), "then": 1}}, {"y": 1}) is NOTHING
    assert made({"@if": {"exists": None, "blank": path("y"), "then": 1}}, {"y": 1}) == 1


# -- @arrayPath, @transform ---------------------------------------------------------------------------------------


def test_array_path_resolves_its_shape_on_each_item() -> None:
    shape = {"id": path("$.product_id"), "price": path("price"), "label": {"@template": "#{{product_id}}"}}
    assert made({"@arrayPath": ["$.products", shape]}, {"products": PRODUCTS}) == [
        {"id": 1, "price": 2.5, "label": "#1"},
        {"id": 2, "label": "#2"},
    ]


@pytest.mark.parametrize(
    ("event", "result"),
    [
        ({}, NOTHING),
        ({"x": None}, None),
        ({"x": "a"}, "a"),
        ({"x": []}, []),
        ({"x": [1, None]}, [{}, {"a": None}]),
    ],
)
def test_array_path_passes_on_what_is_no_list(event: dict[str, Any], result: object) -> None:
    assert made({"@arrayPath": ["x", {"a": path("a")}]}, event) == result


def test_array_path_without_a_shape_is_the_value() -> None:
    for mapping in (["x"], ["x", {}], ["x", None], [path("x")], [{"@literal": path("x")}, {}]):
        assert made({"@arrayPath": mapping}, {"x": PRODUCTS}) == PRODUCTS


def test_a_shape_may_be_a_directive() -> None:
    assert made({"@arrayPath": ["x", path("product_id")]}, {"x": [*PRODUCTS, {}]}) == [1, 2, None]


def test_transform_maps_what_apply_makes_and_nothing_else() -> None:
    mapping = {"@transform": {"apply": {"n": path("a.b")}, "mapping": {"m": path("n"), "a": path("a")}}}
    assert made(mapping, {"a": {"b": 1}}) == {"m": 1}
    assert made({"@transform": {"apply": path("a"), "mapping": path("b")}}, {"a": {"b": 1}}) == 1


# -- text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "result"), [("ÄbC", "äbc"), (3, 3), (None, None), (["A"], ["A"])])
def test_case_changes_text_alone(value: object, result: object) -> None:
    assert made({"@case": {"operator": "lower", "value": path("x")}}, {"x": value}) == result


def test_case_without_a_value_is_nothing() -> None:
    assert made({"@case": {"operator": "upper", "value": path("x")}}) is NOTHING
    assert made({"@case": {"operator": "upper"}}) is NOTHING
    assert made({"@case": {"operator": "upper", "value": ""}}) is NOTHING
    assert made({"@case": {"operator": "upper", "value": "a"}}) == "A"


@pytest.mark.parametrize(
    ("options", "value", "result"),
    [
        ({"pattern": "-"}, "a-b-c", "abc"),
        ({"pattern": "-", "replacement": "$&"}, "a-b", "a$&b"),
        ({"pattern": ".", "replacement": "!"}, "a.b", "a!b"),
        ({"pattern": "B", "replacement": "x"}, "abB", "abx"),
        ({"pattern": "B", "replacement": "x", "ignorecase": True}, "abB", "axx"),
        ({"pattern": "B", "replacement": "\\1", "ignorecase": True, "global": False}, "abB", "a\\1B"),
        ({"pattern": "a", "replacement": "b", "pattern2": "b", "replacement2": "c"}, "ab", "cc"),
        ({"pattern": "a", "pattern2": "b", "global": False}, "aabb", "ab"),
        ({"pattern": "1", "replacement": "2"}, 101, "202"),
        ({"pattern": "1"}, 10.0, "0"),
        ({"pattern": "t"}, True, "rue"),
        ({"pattern": "a"}, None, ""),
        ({"pattern": "a"}, {"a": 1}, ""),
        ({"pattern": "a"}, ["a"], ""),
    ],
)
def test_replace_takes_its_patterns_literally(options: dict[str, Any], value: object, result: str) -> None:
    assert made({"@replace": {"value": path("x"), **options}}, {"x": value}) == result


def test_replace_on_a_missing_value_is_empty() -> None:
    assert made({"@replace": {"value": path("x"), "pattern": "a"}}) == ""
    assert made({"@replace": {"pattern": "a"}}) == ""


# -- shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, "ä", None, 10.0, 1.5]}, '{"a":[1,"ä",null,10,1.5]}'),
        ("a", '"a"'),
        (None, "null"),
        (float("inf"), "null"),
        (2**70, str(2**70)),
    ],
)
def test_json_encodes_compactly(value: object, text: str) -> None:
    assert made({"@json": {"mode": "encode", "value": path("x")}}, {"x": value}) == text


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ('{"a":[1]}', {"a": [1]}),
        ("12", 12),
        ("null", None),
        ("1" * 30, int("1" * 30)),
        ("{a}", "{a}"),
        ("NaN", "NaN"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
        (["[1]"], ["[1]"]),
        (3, 3),
        (None, None),
    ],
)
def test_json_decodes_what_is_json(value: object, result: object) -> None:
    assert made({"@json": {"mode": "decode", "value": path("x")}}, {"x": value}) == result


def test_json_of_nothing_is_nothing() -> None:
    for mode in ("encode", "decode"):
        assert made({"@json": {"mode": mode, "value": path("x")}}) is NOTHING


@pytest.mark.parametrize(
    ("value", "omit", "result"),
    [
        ({"a": [1, {"b": 2}], "c": {}}, False, {"a_0": 1, "a_1_b": 2}),
        ({"a": [1, {"b": 2}], "c": {"d": []}}, True, {"a": [1, {"b": 2}], "c_d": []}),
        ({"a": {"b": None}}, False, {"a_b": None}),
        ([], False, {}),
        (["x"], False, {"0": "x"}),
        (3, False, {"": 3}),
        (None, False, {"": None}),
    ],
)
def test_flatten_joins_keys(value: object, omit: bool, result: object) -> None:
    options = {"value": path("x"), "separator": "_", "omitArrays": omit}
    assert made({"@flatten": options}, {"x": value}) == result


def test_merge_skips_what_is_no_object() -> None:
    objects = [{"a": 1, "b": 1}, None, path("gone"), path("o"), 3, {"b": path("none"), "c": path("gone")}]
    event = {"o": {"a": 2, "c": 2}, "none": None}
    assert made({"@merge": {"objects": objects, "direction": "right"}}, event) == {"a": 2, "b": None}
    assert made({"@merge": {"objects": objects, "direction": "left"}}, event) == {"a": 1, "b": 1, "c": 2}


def test_exclude_when_null_goes_through_objects_not_lists() -> None:
    value = {"a": None, "b": {"c": None, "d": 0}, "e": [None, {"f": None}]}
    assert made({"@excludeWhenNull": path("x")}, {"x": value}) == {"b": {"d": 0}, "e": [None, {"f": None}]}
    assert made({"@excludeWhenNull": path("x")}, {"x": None}) is NOTHING
    assert made({"@excludeWhenNull": path("x")}, {"x": ""}) == ""


# -- what is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "paths"),
    [
        (
            {"a": path("$.context.ip"), "b": {"@template": "{{type}} {{{traits.x}}}"}},
            {"context", "type", "traits"},
        ),
        ({"a": {"@arrayPath": ["properties.x", {"i": path("id"), "all": path("$.")}]}}, {"properties"}),
        ({"a": {"@transform": {"apply": {"p": path("name")}, "mapping": path("p")}}}, {"name"}),
        ({"a": {"@if": {"exists": path("a[0].b"), "then": path("c"), "else": path("d")}}}, {"a", "c", "d"}),
        ({"a": path("$.")}, None),
        ({"a": {"@path": {"@template": "{{type}}"}}}, None),
        ({"a": 1}, set()),
    ],
)
def test_a_mapping_tells_which_fields_it_reads(mapping: dict[str, Any], paths: set[str] | None) -> None:
    assert compile_mapping(mapping).paths == paths


def test_an_event_too_deep_for_a_mapping_is_an_error_of_this_event() -> None:
    value: Any = 1
    for _ in range(20_000):
        value = {"a": value}
    with pytest.raises(MappingError, match="nested too deep"):
        made({"@flatten": {"value": path("x"), "separator": "."}}, {"x": value})
