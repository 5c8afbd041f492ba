"""`@liquid`: templates without loops, within bounds."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from cdpd.mapping.kit.compile import compile_mapping
from cdpd.mapping.kit.errors import MappingError, MappingFaults
from cdpd.mapping.kit.liquid import FILTERS_OFF, Liquid

EVENT = {
    "type": "track",
    "properties": {"price": 2.5, "name": "book", "tags": ["a", "b"]},
    "long": "x" * 30_000,
}


def made(template: str, event: dict[str, Any] = EVENT) -> Any:
    return compile_mapping({"field": {"@liquid": template}}).resolve(event)["field"]


def fault(template: object) -> str:
    with pytest.raises(MappingFaults) as caught:
        compile_mapping({"field": {"@liquid": template}})
    (found,) = caught.value.faults
    assert found.path == "field.@liquid"
    return found.message


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{ properties.name | upcase }}!", "BOOK!"),
        ("{{ properties.price | times: 2 }}", "5.0"),
        ("{% if properties.price > 2 %}dear{% else %}cheap{% endif %}", "dear"),
        ("{% assign n = properties.name | append: 's' %}{{ n | capitalize }}", "Books"),
        ("{{ properties.gone }}{{ gone.gone }}", ""),
        ("{{ properties.tags | join: '-' }}", "a-b"),
    ],
)
def test_a_template_gives_text(template: str, result: str) -> None:
    assert made(template) == result


def test_a_template_tells_which_fields_it_reads() -> None:
    template = "{% assign a = properties.x %}{{ a }}{{ traits['y'] }}{% if type == 'track' %}1{% endif %}"
    assert compile_mapping({"a": {"@liquid": template}}).paths == {"properties", "traits", "type"}


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("{% for a in b %}x{% endfor %}", "for"),
        ("{% case a %}{% when 1 %}x{% endcase %}", "case"),
        ("{% tablerow a in b %}x{% endtablerow %}", "tablerow"),
        ("{% include 'a' %}", "include"),
        ("{% render 'a' %}", "render"),
    ],
)
def test_these_tags_are_off(template: str, tag: str) -> None:
    assert fault(template) == f"the Liquid tag {tag} is off in mappings"


@pytest.mark.parametrize("name", sorted(FILTERS_OFF))
def test_these_filters_are_off(name: str) -> None:
    assert fault(f"{{{{ properties.tags | {name}: 'a' }}}}") == f"the Liquid filter {name} is off in mappings"


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("{{ a | nope }}", "Liquid has no filter nope"),
        ("{{ a", "expected"),
        ("{% if %}", "expression"),
        ("{% layout 'a' %}", "layout"),
        ("x" * 1001, "at most 1,000 characters, not 1,001"),
        (3, "expected a Liquid template"),
    ],
)
def test_a_template_that_cannot_be_used_is_a_fault(template: object, part: str) -> None:
    assert part in fault(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% assign a = long %}" + "{% assign a = a | append: a %}" * 20 + "{{ a | size }}",
        "{{ long | replace: 'x', long | size }}",
        "{{ long | replace: '', long | size }}",
        "{{ long | split: '' | join: long | size }}",
        "{% capture a %}{{ long }}{% endcapture %}"
        + "{% capture a %}{{ a }}{{ a }}{{ a }}{% endcapture %}" * 12,
    ],
)
def test_text_cannot_grow_without_bound(template: str) -> None:
    with pytest.raises(MappingError, match="@liquid"):
        made(template)


def test_a_template_has_half_a_second() -> None:
    moments = iter([0.0, 0.4, 0.6])
    resolve, _ = Liquid(lambda: next(moments)).compile("{{ 'a' | upcase | downcase }}")
    with pytest.raises(MappingError, match="longer than 500 ms"):
        resolve({})


def test_an_error_on_one_event_is_this_events() -> None:
    with pytest.raises(MappingError, match="@liquid"):
        made("{{ properties.price | divided_by: properties.zero }}", {"properties": {"price": 1, "zero": 0}})


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "liquid", None)
    assert "cdpd-daemon[liquid]" in fault("{{ a }}")
    assert compile_mapping({"a": {"@liquid": ""}}).resolve({}) == {"a": ""}
