"""What filters say: the tables of spec/connections.md §6.1, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from cdpd.mapping.fql.errors import FqlError, FqlSyntaxError
from cdpd.mapping.fql.filter import compile_filter, compile_value

EVENT: dict[str, Any] = {
    "type": "track",
    "event": "Button Clicked",
    "userId": "u",
    "properties": {
        "features": ["dark-mode"],
        "product 1": {"price": "19.99"},
        "a.b": 1,
        "n": 4,
        "f": 4.0,
        "yes": True,
        "no": False,
        "null": None,
        "empty": "",
        "version": "2.10",
        "list": [1, "1", True, None, [2]],
        "items": [{"sku": "a"}, {"sku": "b"}],
        "date": "2026-01-31",
    },
}


def test(text: str) -> bool:
    return compile_filter(text).test(EVENT)


test.__test__ = False  # type: ignore[attr-defined]  # it is no test by itself


def value(text: str) -> Any:
    return compile_value(text).value(EVENT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'dark-mode' in properties.features", True),
        (r"properties.product\ 1.price = '19.99'", True),
        ("match(event,'Button *')", True),
        ("match(event,'button*')", False),
        ("properties.x = null", True),
        ("properties.x != 'a'", True),
        ("properties.x > 3", False),
        ("!contains(properties.x,'a')", True),
        ("'1' = 1", False),
        ("length('ア') = 3", True),
        ("type in ['track'] or properties.x", True),
        ("typeof(properties.features) = 'list'", True),
        (r"match('ab*d','ab\*d')", True),
    ],
)
def test_the_acceptance_list_holds(text: str, expected: bool) -> None:
    assert test(text) is expected


def test_an_expression_on_the_length_of_an_id_tells_anonymous_events() -> None:
    anonymous = compile_filter("length(userId) < 1")
    assert anonymous.test({"type": "track", "anonymousId": "a"})
    assert not anonymous.test({"type": "track", "userId": "u"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", True),
        ("true", True),
        ("false", False),
        ("null", False),
        ("properties.yes", True),
        ("properties.no", False),
        ("properties.x", False),
        ("true or false and false", True),
        ("(true or false) and false", False),
        ("!false and false", False),
        ("!(false and false)", True),
        ("!!properties.yes", True),
        ("!properties.x", True),
        ("!type = 'page'", True),
        ("(!properties.yes) = false", True),
        ("properties.x or properties.yes", True),
        ("properties.no or properties.x", False),
        ("type='track'and event!='x'", True),
        ("type = 'track'\n  and event = \"Button Clicked\"\t", True),
    ],
)
def test_words_join_conditions_and_null_counts_as_false(text: str, expected: bool) -> None:
    assert test(text) is expected


def test_what_need_not_be_looked_at_cannot_fail() -> None:
    assert test("type = 'track' or properties.n")
    assert not test("type = 'page' and properties.n")
    with pytest.raises(FqlError, match=r"expected true, false or null, found a number in properties\.n"):
        test("type = 'track' and properties.n")


@pytest.mark.parametrize("text", ["properties.n", "event", "properties.features", "!event", "event or true"])
def test_anything_but_true_false_and_null_is_no_condition(text: str) -> None:
    with pytest.raises(FqlError, match="expected true, false or null"):
        test(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("properties.n = 4", True),
        ("properties.f = 4", True),
        ("properties.n = 4.0", True),
        ("properties.n = '4'", False),
        ("properties.yes = true", True),
        ("properties.yes = 1", False),
        ("1 = properties.yes", False),
        ("true = 1", False),
        ("0 = false", False),
        ("properties.yes != 1", True),
        ("properties.n != '4'", True),
        ("properties.null = null", True),
        ("properties.x = properties.null", True),
        ("properties.empty = null", False),
        ("properties.features = ['dark-mode']", True),
        ("properties.features != ['dark-mode', 'x']", True),
        ("[1, [2, 'a']] = [1.0, [2, 'a']]", True),
        ("[1] = [true]", False),
        ("[] = []", True),
        ("properties = properties", True),
        ("properties = traits", False),
        ("properties.items.0 = properties.items.1", False),
        ("-1 < 0", True),
        ("1.5e3 = 1500", True),
    ],
)
def test_equal_means_same_type_and_same_value(text: str, expected: bool) -> None:
    assert test(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("properties.n > 3", True),
        ("properties.n >= 4", True),
        ("properties.n < 4.5", True),
        ("properties.n <= 3", False),
        ("3 < properties.n", True),
        ("properties.date >= '2026-01-01'", True),
        ("properties.date < '2026'", False),
        ("'Z' < 'a'", True),
        ("'10' < '9'", True),
        ("properties.n > '3'", False),
        ("'5' > 3", False),
        ("properties.x < 3", False),
        ("null <= null", False),
        ("properties.yes > 0", False),
        ("[2] > [1]", False),
    ],
)
def test_order_is_between_two_numbers_or_two_texts(text: str, expected: bool) -> None:
    assert test(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 in properties.list", True),
        ("true in properties.list", True),
        ("2 in properties.list", False),
        ("false in properties.list", False),
        ("null in properties.list", True),
        ("properties.x in ['a', 'b']", False),
        ("properties.n in ['4']", False),
        ("properties.n in [properties.f]", True),
        ("'a' in properties.x", False),
        ("'a' in null", False),
        ("'a' in []", False),
    ],
)
def test_in_looks_for_an_equal_scalar(text: str, expected: bool) -> None:
    assert test(text) is expected


@pytest.mark.parametrize(
    "text", ["'a' in event", "1 in properties", "properties.list in ['a']", "properties in [1, 2]"]
)
def test_in_takes_a_scalar_and_a_list(text: str) -> None:
    with pytest.raises(FqlError, match="in: "):
        test(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("properties.items.1.sku", "b"),
        ("properties.items.2.sku", None),
        ("properties.items.01.sku", None),
        ("properties.items.sku", None),
        (r"properties.a\.b", 1),
        ("properties.a.b", None),
        ("event.length", None),
        ("properties.n.x", None),
        (r"\type", "track"),
        (r"\all", None),
        ("and-more", None),
    ],
)
def test_a_path_leads_through_objects_and_lists(text: str, expected: object) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("contains(event, 'on Cl')", True),
        ("contains(event, '')", True),
        ("contains(null, 'a')", False),
        ("contains('a', null)", False),
        ("length(properties.features)", 1),
        ("length(properties.x)", 0),
        ("length('aä')", 3),
        ("length([])", 0),
        ("lowercase('ÄB')", "äb"),
        ("uppercase('äb')", "ÄB"),
        ("lowercase(properties.x)", None),
        ("uppercase(null)", None),
        ("snakecase('Test String x')", "Test_String_x"),
        ("kebabcase('Test String')", "Test-String"),
        ("kebabcase(null)", None),
        ("titlecase('test string')", "Test String"),
        ("titlecase('an iPhone-case')", "An IPhone-case"),
        ("typeof('a')", "string"),
        ("typeof(1.5)", "number"),
        ("typeof([])", "list"),
        ("typeof(true)", "bool"),
        ("typeof(properties.x)", "null"),
        ("typeof(properties)", "object"),
        ("bool(null)", False),
        ("bool('')", False),
        ("bool(0)", False),
        ("bool(0.0)", False),
        ("bool([])", False),
        ("bool('false')", False),
        ("bool(false)", False),
        ("bool('0')", True),
        ("bool([0])", True),
        ("bool(properties)", True),
        ("string(1)", "1"),
        ("string(10.0)", "10"),
        ("string(0.1)", "0.1"),
        ("string(true)", "true"),
        ("string('a')", "a"),
        ("string(null)", None),
        ("string([1, 'a', null])", '[1,"a",null]'),
        ("number('12')", 12),
        ("number(' 1.5e3 ')", 1500.0),
        ("number('-.5')", -0.5),
        ("number(true)", 1),
        ("number(3)", 3),
        ("number(null)", None),
    ],
)
def test_functions_give(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "contains(properties.features, 'dark-mode')",
        "contains(event, properties.n)",
        "length(properties)",
        "length(properties.n)",
        "length(properties.yes)",
        "lowercase(properties.n)",
        "titlecase(properties.features)",
        "match(properties.n, '*')",
        "match(event, properties.n)",
        "match(event, properties.items)",
        "semver(properties.version, properties.x, '2')",
        "semver(properties.version, event, '2')",
        "number(event)",
        "number('')",
        "number('0x10')",
        "number('nan')",
        "number('1e999')",
        "number(properties.features)",
    ],
)
def test_functions_fail_on_a_type_they_cannot_take(text: str) -> None:
    with pytest.raises(FqlError, match=text.partition("(")[0]):
        value(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("semver('2', '=', '2.0.0')", True),
        ("semver(properties.version, '>', '2.9')", True),
        ("semver('1.2.3', '<=', '1.2.3')", True),
        ("semver('1.2.3', '!=', '1.2')", True),
        ("semver('1.2.3', '<', '1.2.3')", False),
        ("semver('1.2.3.4', '!=', '1')", False),
        ("semver('v1', '>=', '1')", False),
        ("semver('1.', '=', '1')", False),
        ("semver('\u0661', '=', '1')", False),
        ("semver(properties.x, '!=', '1')", False),
        ("semver(properties.n, '=', '4')", False),
        ("semver('4', '=', properties.n)", False),
    ],
)
def test_versions_are_compared_number_by_number(text: str, expected: bool) -> None:
    assert test(text) is expected


def test_values_too_deep_to_compare_are_an_error() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    other: Any = 1
    for _ in range(5000):
        other = [other]
    with pytest.raises(FqlError, match="nested too deep"):
        compile_filter("properties = traits").test({"properties": value, "traits": other})


def test_a_text_keeps_backslashes_that_escape_nothing() -> None:
    assert value(r"'it\'s \"x\" \\ \d'") == 'it\'s "x" \\ \\d'
    assert value('"it\'s"') == "it's"


def test_a_filter_tells_which_fields_it_reads() -> None:
    text = "type = 'track' and (contains(context.page.url, properties.x) or !('a' in [traits.b, userId]))"
    assert compile_filter(text).paths == {"type", "context", "properties", "traits", "userId"}
    assert compile_filter("all").paths == frozenset()


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (
            "propertes.plan = 'x'",
            "column 1: events have no field propertes by themselves; did you mean properties?",
        ),
        ("event = Signup", "column 9: Signup is read as a field; is text meant? then write 'Signup'"),
        ("event = 'Signup' and myField.x = 3", ""),
    ],
)
def test_what_looks_mistyped_is_warned_of(text: str, warnings: str) -> None:
    assert "\n".join(compile_filter(text).warnings) == warnings


@pytest.mark.parametrize(
    "text",
    ["'abc'", "3", "['a']", "length(event)", "type = 'track' and 'Signed Up'", "!'a'", "length(3) = 1",
     "contains(event, 3)", "lowercase(['a']) = 'a'", "['a'] in event", "'a' in 'abc'", "match(event, '[a')",
     "semver(event, '~', '1')"],
)  # fmt: skip
def test_what_could_never_be_evaluated_is_refused_beforehand(text: str) -> None:
    with pytest.raises(FqlSyntaxError):
        compile_filter(text)
