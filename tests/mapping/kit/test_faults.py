"""A mapping that cannot be used is refused when it is compiled, with every fault and its place."""

from __future__ import annotations

from typing import Any

import pytest

from cdpd.mapping.kit.compile import compile_mapping
from cdpd.mapping.kit.errors import MappingFaults


def faults(mapping: object) -> list[str]:
    with pytest.raises(MappingFaults) as caught:
        compile_mapping(mapping)
    return list(map(str, caught.value.faults))


def test_a_directive_with_a_sibling_is_refused() -> None:
    assert faults({"foo": "bar", "@path": "$.x"}) == ["@path stands alone in its object; beside it: foo"]


def test_every_fault_is_told_with_its_place() -> None:
    mapping = {
        "a": {"@pth": "$.x"},
        "b": {"c c": {"@path": 3, "@template": "x"}},
        "items": {"@arrayPath": ["$.items", {"id": {"@path": {"@template": 3}}}]},
        "d": {"@if": {"then": {"@template": []}, "els": 1}},
        "e": {"@merge": {"objects": [{"x": {"@replace": {"value": "a", "pattern": ""}}}], "direction": "up"}},
        "ok": {"@path": "$.fine"},
    }
    assert faults(mapping) == [
        "a.@pth: no directive; did you mean @path?",
        'b["c c"]: an object holds one directive, not @path, @template',
        'b["c c"].@path: expected a path, like $.properties.plan, or a directive that gives one',
        "items.@arrayPath[1].id.@path.@template: expected a text, like Hello {{traits.name}}",
        "d.@if.els: no option of @if; did you mean else?",
        "d.@if: it needs exists or blank, with what to look at",
        "d.@if.then.@template: expected a text, like Hello {{traits.name}}",
        "e.@merge.direction: expected left or right: whose values win",
        "e.@merge.objects[0].x.@replace.pattern: expected a text of 1 to 10 characters",
    ]


@pytest.mark.parametrize(
    ("directive", "message"),
    [
        ({"@path": None}, "a.@path: expected a path"),
        ({"@path": {"no": "directive"}}, "a.@path: expected a path"),
        ({"@template": 1}, "a.@template: expected a text"),
        ({"@if": "x"}, "a.@if: expected an object with exists, blank, then, else, found a string"),
        ({"@if": {"exists": "", "blank": 0}}, "a.@if: it needs exists or blank"),
        ({"@arrayPath": "x"}, "a.@arrayPath: expected [path, shape]"),
        ({"@arrayPath": []}, "a.@arrayPath: expected [path, shape]"),
        ({"@arrayPath": [1]}, "a.@arrayPath: expected [path, shape]"),
        ({"@arrayPath": ["x", {}, 1]}, "a.@arrayPath: expected [path, shape]"),
        ({"@case": {"value": "x"}}, "a.@case: operator is missing"),
        ({"@case": {"operator": "title", "value": "x"}}, "a.@case.operator: expected lower or upper"),
        ({"@replace": {"value": "x"}}, "a.@replace: pattern is missing"),
        (
            {"@replace": {"value": "x", "pattern": "12345678901"}},
            "a.@replace.pattern: expected a text of 1 to 10",
        ),
        ({"@replace": {"value": "x", "pattern": "a", "pattern2": ""}}, "a.@replace.pattern2: expected"),
        (
            {"@replace": {"value": "x", "pattern": "a", "replacement": "12345678901"}},
            "a.@replace.replacement: exp",
        ),
        (
            {"@replace": {"value": "x", "pattern": "a", "global": 1}},
            "a.@replace.global: expected true or false",
        ),
        ({"@json": {"mode": "parse", "value": 1}}, "a.@json.mode: expected encode or decode"),
        ({"@json": {"mode": "encode"}}, "a.@json: value is missing"),
        ({"@flatten": {"value": 1}}, "a.@flatten: separator is missing"),
        ({"@flatten": {"value": 1, "separator": 1}}, "a.@flatten.separator: expected a text"),
        ({"@merge": {"objects": []}}, "a.@merge: direction is missing"),
        ({"@merge": {"objects": {}, "direction": "left"}}, "a.@merge.objects: expected a list of objects"),
        ({"@transform": {"apply": {}}}, "a.@transform: mapping is missing"),
        (
            {"@transform": {"apply": 1, "mapping": {}}},
            "a.@transform.apply: expected an object or a directive",
        ),
        ({"@liquid": 1}, "a.@liquid: expected a Liquid template"),
        ({"@unknown": 1}, "a.@unknown: no directive; there are @path, @template"),
        ({"x": object()}, "a.x: object is no JSON value"),
    ],
)
def test_an_option_that_is_wrong_is_told(directive: dict[str, Any], message: str) -> None:
    (found,) = faults({"a": directive})
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("mapping", "kind"), [([], "a list"), ("x", "a string"), (None, "null"), (3, "a number")]
)
def test_a_mapping_is_an_object(mapping: object, kind: str) -> None:
    assert faults(mapping) == [f"a mapping is an object, not {kind}"]


@pytest.mark.parametrize("directive", [1, {}, {"@path": "x"}, {"@transform": 1}, {"@a": {}, "@b": {}}])
def test_the_root_directive_is_one_with_options(directive: object) -> None:
    assert faults({"__segment_internal_directive": directive, "a": 1})[0].startswith(
        "__segment_internal_directive: expected one directive"
    )


def test_a_mapping_has_a_bounded_depth() -> None:
    mapping: Any = "x"
    for _ in range(1000):
        mapping = {"a": mapping}
    assert "at most 64 levels" in faults(mapping)[0]
