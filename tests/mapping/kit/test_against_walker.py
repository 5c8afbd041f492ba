"""Compiled mappings agree with a tree walker that is written from the specification alone."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpd.mapping.kit.compile import compile_mapping


class Undefined:
    """JavaScript's undefined, which stays in objects until the end."""

    def __bool__(self) -> bool:
        return False


UNDEFINED = Undefined()


# -- the walker ----------------------------------------------------------------------------------------------


def cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: cleaned(item) for key, item in value.items() if item is not UNDEFINED}
    if isinstance(value, list):
        return [None if item is UNDEFINED else cleaned(item) for item in value]
    return value


def is_truthy(value: Any) -> bool:
    return isinstance(value, dict | list) or bool(value)


def get(value: Any, path: str) -> Any:
    if path in ("", "."):
        return value
    for name in path.split("."):
        if not is_truthy(value):
            return value
        if isinstance(value, dict):
            value = value.get(name, UNDEFINED)
        elif isinstance(value, list) and name in map(str, range(len(value))):
            value = value[int(name)]
        else:
            return UNDEFINED
    return value


def shown(value: Any) -> str:
    if value is None or value is UNDEFINED:
        return ""
    if isinstance(value, list):
        return ",".join(shown(item) for item in value)
    if isinstance(value, dict):
        return "[object Object]"
    return value if isinstance(value, str) else json.dumps(value)


def walk(tree: Any, event: Any) -> Any:
    if isinstance(tree, list):
        return [walk(item, event) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1 and next(iter(tree)).startswith("@"):
        ((name, options),) = tree.items()
        return globals()[f"walk_{name[1:]}"](options, event)
    return {key: walk(item, event) for key, item in tree.items()}


def walk_path(path: Any, event: Any) -> Any:
    return get(event, path.replace("$.", "", 1))


def walk_template(template: str, event: Any) -> Any:
    for braces in (3, 2):
        pattern = "{" * braces + "([^}]+)" + "}" * braces
        template = re.sub(pattern, lambda found: shown(get(event, found[1].strip())), template)
    return template


def walk_literal(value: Any, event: Any) -> Any:
    return walk(value, event)


def walk_if(options: Any, event: Any) -> Any:
    if is_truthy(options.get("exists")):
        found = walk(options["exists"], event)
        holds = found is not UNDEFINED and found is not None
    else:
        found = walk(options["blank"], event)
        blank = (
            found is UNDEFINED
            or found is None
            or found is False
            or (found == 0 and not isinstance(found, list | dict))
        )
        holds = not blank and (isinstance(found, dict) or shown(found) != "")
    if holds:
        return walk(options["then"], event) if "then" in options else UNDEFINED
    return walk(options["else"], event) if is_truthy(options.get("else")) else UNDEFINED


def walk_arrayPath(options: Any, event: Any) -> Any:
    root = walk_path(options[0], event) if isinstance(options[0], str) else walk(options[0], event)
    if isinstance(root, dict | list) and len(options) > 1 and isinstance(options[1], dict) and options[1]:
        return [walk(options[1], item) for item in (root if isinstance(root, list) else [root])]
    return root


def walk_case(options: Any, event: Any) -> Any:
    if not is_truthy(options.get("value")):
        return UNDEFINED
    found = walk(options["value"], event)
    if isinstance(found, str):
        return found.lower() if options["operator"] == "lower" else found.upper()
    return found


def walk_replace(options: Any, event: Any) -> Any:
    found = walk(options["value"], event)
    if found is None or found is UNDEFINED or isinstance(found, list | dict):
        return ""
    text = shown(found)
    flags = re.IGNORECASE if options.get("ignorecase") else 0
    count = 0 if options.get("global", True) else 1
    for n in ("", "2"):
        if f"pattern{n}" in options:
            with_ = options.get(f"replacement{n}", "")
            text = re.sub(
                re.escape(options[f"pattern{n}"]), lambda _, w=with_: w, text, count=count, flags=flags
            )  # type: ignore[misc]
    return text


def walk_json(options: Any, event: Any) -> Any:
    found = walk(options["value"], event)
    if options["mode"] == "encode":
        return (
            UNDEFINED
            if found is UNDEFINED
            else json.dumps(cleaned(found), separators=(",", ":"), ensure_ascii=False)
        )
    try:
        return json.loads(found) if isinstance(found, str) else found
    except ValueError:
        return found


def walk_flatten(options: Any, event: Any) -> Any:
    flat: dict[str, Any] = {}

    def go(value: Any, names: list[str]) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                go(item, [*names, key])
        elif isinstance(value, list) and not options.get("omitArrays"):
            for i, item in enumerate(value):
                go(item, [*names, str(i)])
        else:
            flat[options["separator"].join(names)] = value

    go(cleaned(walk(options["value"], event)), [])
    return flat


def walk_merge(options: Any, event: Any) -> Any:
    objects = [walk(item, event) for item in options["objects"]]
    if options["direction"] == "left":
        objects.reverse()
    merged: dict[str, Any] = {}
    for found in objects:
        merged.update(found if isinstance(found, dict) else {})
    return merged


def walk_transform(options: Any, event: Any) -> Any:
    return walk(options["mapping"], cleaned(walk(options["apply"], event)))


def walk_excludeWhenNull(value: Any, event: Any) -> Any:
    def strip(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: strip(item) for key, item in found.items() if item is not None}
        return found

    found = walk(value, event)
    return UNDEFINED if found is None else strip(found)


# -- mappings and events ----------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "0", "c d"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.sampled_from(["", "a", "Ab-a", "ä b", "12", '{"a":1}', "x"])
)
EVENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(KEYS, v, max_size=3), max_leaves=6
    ),
    max_size=4,
)
PATHS = st.tuples(st.sampled_from(["", "$."]), st.lists(KEYS, max_size=3)).map(
    lambda p: p[0] + ".".join(p[1])
)
PATH_DIRECTIVES = st.fixed_dictionaries({"@path": PATHS})
TEMPLATES = st.lists(
    st.sampled_from(["x", " ", "{{a}}", "{{ b.a }}", "{{{c d}}}", "{{a.0}}", "{{", "}", "{{.}}"]), max_size=4
).map("".join)
PATTERNS = st.sampled_from(["a", "-", "A", "1", "ä "])


def directives(inner: Any) -> Any:
    one = st.fixed_dictionaries
    looked_at = PATH_DIRECTIVES | inner.filter(is_truthy)
    branches = {"then": inner, "else": inner}
    objects = st.dictionaries(KEYS, inner, max_size=2) | PATH_DIRECTIVES
    replacements = {
        "replacement": PATTERNS | st.just(""),
        "pattern2": PATTERNS,
        "replacement2": PATTERNS,
        "ignorecase": st.booleans(),
        "global": st.booleans(),
    }
    members = st.lists(objects | st.none(), max_size=3)
    flags = {"omitArrays": st.booleans()}
    return st.one_of(
        one({"@literal": inner}),
        one({"@if": one({"exists": looked_at}, optional=branches)}),
        one({"@if": one({"blank": looked_at}, optional=branches)}),
        one({"@arrayPath": st.tuples(PATHS | PATH_DIRECTIVES, inner).map(list)}),
        one({"@case": one({"operator": st.sampled_from(["lower", "upper"])}, optional={"value": inner})}),
        one({"@replace": one({"value": inner, "pattern": PATTERNS}, optional=replacements)}),
        one({"@json": one({"mode": st.sampled_from(["encode", "decode"]), "value": inner})}),
        one({"@flatten": one({"value": inner, "separator": st.just(".")}, optional=flags)}),
        one({"@merge": one({"objects": members, "direction": st.sampled_from(["left", "right"])})}),
        one({"@transform": one({"apply": objects, "mapping": objects})}),
        one({"@excludeWhenNull": inner}),
    )


VALUES = st.recursive(
    SCALARS | PATH_DIRECTIVES | st.fixed_dictionaries({"@template": TEMPLATES}),
    lambda inner: directives(inner) | st.dictionaries(KEYS, inner, max_size=2) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=3), EVENTS)
def test_the_payload_is_the_walkers(mapping: dict[str, Any], event: dict[str, Any]) -> None:
    before = json.dumps(event)
    compiled = compile_mapping(mapping)
    payload = compiled.resolve(event)
    assert json.dumps(payload, sort_keys=True) == json.dumps(cleaned(walk(mapping, event)), sort_keys=True)
    assert json.dumps(event) == before, "the event is left as it is"
    if compiled.paths is not None:
        read = {key: value for key, value in event.items() if key in compiled.paths}
        assert compiled.resolve(read) == payload, "it reads no other fields than it says"
