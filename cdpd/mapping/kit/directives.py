"""The directives, one function each: options → closure. Spec: connections.md §8.2; “falsy” is JavaScript's.

Each takes the compiler, the directive's value and its place, and tells faults to the compiler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from cdpd.mapping.kit.errors import MappingError, Place
from cdpd.mapping.kit.javascript import json_text, text_of, truthy
from cdpd.mapping.kit.liquid import LiquidProblem
from cdpd.mapping.kit.nothing import NOTHING
from cdpd.mapping.kit.path import Resolve, reader, segments_of, without_root
from cdpd.mapping.kit.reshape import decoded_json, flattened, without_nulls
from cdpd.mapping.kit.template import filler, pieces_of

if TYPE_CHECKING:  # the compiler knows the directives
    from cdpd.mapping.kit.compile import Compiler

Directive = Callable[["Compiler", Any, Place], Resolve]
_MOST_CHARACTERS: Final = 10
"""Of the patterns and replacements of `@replace`."""


def _path(compiler: Compiler, value: Any, place: Place) -> Resolve:
    if isinstance(value, str):
        segments = segments_of(without_root(value))
        compiler.note_read(segments)
        return reader(segments)
    if not isinstance(value, dict) or not any(key.startswith("@") for key in value):
        return compiler.fault(place, "expected a path, like $.properties.plan, or a directive that gives one")
    computed = compiler.value(value, place)
    compiler.note_read(())

    def resolve(event: Any) -> Any:
        path = computed(event)
        if not isinstance(path, str):
            raise MappingError(f"@path: the computed path is {_what(path)}, expected a string")
        return reader(segments_of(without_root(path)))(event)

    return resolve


def _template(compiler: Compiler, value: Any, place: Place) -> Resolve:
    if not isinstance(value, str):
        return compiler.fault(place, "expected a text, like Hello {{traits.name}}")
    pieces = pieces_of(value)
    for piece in pieces:
        if not isinstance(piece, str):
            compiler.note_read(piece)
    return filler(pieces)


def _literal(compiler: Compiler, value: Any, place: Place) -> Resolve:
    return compiler.value(value, place)


def _if(compiler: Compiler, value: Any, place: Place) -> Resolve:
    options = compiler.options(value, place, (), ("exists", "blank", "then", "else"))
    if options is None:
        return compiler.value(None, place)
    kind = next((key for key in ("exists", "blank") if truthy(options.get(key))), None)
    if kind is None:
        compiler.fault(place, "it needs exists or blank, with what to look at")
    holds = _exists if kind == "exists" else _not_blank
    operand = compiler.value(options.get(kind or ""), (*place, kind or ""))
    nothing: Resolve = lambda _: NOTHING  # noqa: E731 - one value for two names
    then = compiler.value(options["then"], (*place, "then")) if "then" in options else nothing
    otherwise = compiler.value(options.get("else"), (*place, "else"))
    if not truthy(options.get("else")):
        otherwise = nothing
    return lambda event: then(event) if holds(operand(event)) else otherwise(event)


def _exists(value: Any) -> bool:
    return value is not NOTHING and value is not None


def _not_blank(value: Any) -> bool:
    """Not loosely equal to "", which 0, false and a list without text are."""
    if isinstance(value, list):
        return text_of(value) != ""
    return truthy(value)


def _array_path(compiler: Compiler, value: Any, place: Place) -> Resolve:
    if not isinstance(value, list) or not 1 <= len(value) <= 2 or not isinstance(value[0], str | dict):
        return compiler.fault(place, "expected [path, shape], like [$.properties.products, {…}]")
    if isinstance(value[0], str):
        items = _path(compiler, value[0], (*place, 0))
    else:
        items = compiler.value(value[0], (*place, 0))
    if len(value) == 1 or not isinstance(value[1], dict) or not value[1]:
        return items
    with compiler.elsewhere():
        shape = compiler.value(value[1], (*place, 1))

    def resolve(event: Any) -> Any:
        found = items(event)
        if isinstance(found, dict):
            found = [found]
        elif not isinstance(found, list):
            return found
        shaped = [shape(item) for item in found]
        return [None if item is NOTHING else item for item in shaped]

    return resolve


def _case(compiler: Compiler, value: Any, place: Place) -> Resolve:
    options = compiler.options(value, place, ("operator",), ("value",))
    if options is None:
        return compiler.value(None, place)
    change = {"lower": str.lower, "upper": str.upper}.get(str(options["operator"]))
    if change is None:
        return compiler.fault((*place, "operator"), "expected lower or upper")
    operand = compiler.value(options.get("value"), (*place, "value"))
    if not truthy(options.get("value")):
        return lambda _: NOTHING

    def resolve(event: Any) -> Any:
        found = operand(event)
        return change(found) if isinstance(found, str) else found

    return resolve


def _replace(compiler: Compiler, value: Any, place: Place) -> Resolve:
    optional = ("replacement", "pattern2", "replacement2", "ignorecase", "global")
    options = compiler.options(value, place, ("pattern",), ("value", *optional))
    if options is None:
        return compiler.value(None, place)
    flags = {"ignorecase": False, "global": True}
    for name in flags:
        flags[name] = _flag(compiler, options, name, place, flags[name])
    changes: list[Callable[[str], str]] = []
    for number in ("", "2"):
        if f"pattern{number}" in options:
            pattern = _short(compiler, options, f"pattern{number}", place, 1)
            replacement = _short(compiler, options, f"replacement{number}", place, 0)
            changes.append(_replacer(pattern, replacement, flags["ignorecase"], flags["global"]))
    operand = compiler.value(options.get("value"), (*place, "value"))

    def resolve(event: Any) -> Any:
        found = operand(event)
        if found is None or found is NOTHING or isinstance(found, dict | list):
            return ""
        text = text_of(found)
        for change in changes:
            text = change(text)
        return text

    return resolve


def _short(compiler: Compiler, options: Mapping[str, Any], name: str, place: Place, least: int) -> str:
    text = options.get(name, "")
    if isinstance(text, str) and least <= len(text) <= _MOST_CHARACTERS:
        return text
    compiler.fault((*place, name), f"expected a text of {least} to {_MOST_CHARACTERS} characters")
    return "?"


def _flag(compiler: Compiler, options: Mapping[str, Any], name: str, place: Place, default: bool) -> bool:
    flag = options.get(name, default)
    if not isinstance(flag, bool):
        compiler.fault((*place, name), "expected true or false")
    return bool(flag)


def _replacer(pattern: str, replacement: str, ignorecase: bool, everywhere: bool) -> Callable[[str], str]:
    if not ignorecase:
        return lambda text: text.replace(pattern, replacement, -1 if everywhere else 1)
    expression = re.compile(re.escape(pattern), re.IGNORECASE)
    return lambda text: expression.sub(lambda _: replacement, text, count=0 if everywhere else 1)


def _json(compiler: Compiler, value: Any, place: Place) -> Resolve:
    options = compiler.options(value, place, ("mode", "value"))
    if options is None:
        return compiler.value(None, place)
    operand = compiler.value(options["value"], (*place, "value"))
    if options["mode"] == "encode":

        def encode(event: Any) -> Any:
            found = operand(event)
            return NOTHING if found is NOTHING else json_text(found)

        return encode
    if options["mode"] == "decode":

        def decode(event: Any) -> Any:
            found = operand(event)
            return decoded_json(found) if isinstance(found, str) else found

        return decode
    return compiler.fault((*place, "mode"), "expected encode or decode")


def _flatten(compiler: Compiler, value: Any, place: Place) -> Resolve:
    options = compiler.options(value, place, ("value", "separator"), ("omitArrays",))
    if options is None:
        return compiler.value(None, place)
    separator = options["separator"]
    if not isinstance(separator, str):
        return compiler.fault((*place, "separator"), "expected a text, like .")
    omit_arrays = _flag(compiler, options, "omitArrays", place, False)
    operand = compiler.value(options["value"], (*place, "value"))

    def resolve(event: Any) -> Any:
        found = operand(event)
        return {} if found is NOTHING else flattened(found, separator, omit_arrays)

    return resolve


def _merge(compiler: Compiler, value: Any, place: Place) -> Resolve:
    options = compiler.options(value, place, ("objects", "direction"))
    if options is None:
        return compiler.value(None, place)
    if options["direction"] not in ("left", "right"):
        compiler.fault((*place, "direction"), "expected left or right: whose values win")
    objects = options["objects"]
    if not isinstance(objects, list):
        return compiler.fault((*place, "objects"), "expected a list of objects")
    members = [_member(compiler, item, (*place, "objects", i)) for i, item in enumerate(objects)]
    earlier_wins = options["direction"] == "left"

    def resolve(event: Any) -> Any:
        merged: dict[str, Any] = {}
        for member in members:
            found = member(event)
            if isinstance(found, dict):  # null, nothing and what is no object are skipped
                merged.update({**found, **merged} if earlier_wins else found)
        return {key: found for key, found in merged.items() if found is not NOTHING}

    return resolve


def _member(compiler: Compiler, value: Any, place: Place) -> Resolve:
    """An object of `@merge`; a key that is written in it counts, though its value be nothing."""
    before = len(compiler.faults)
    resolve = compiler.value(value, place)
    if not isinstance(value, dict) or any(key.startswith("@") for key in value):
        return resolve
    if len(compiler.faults) > before:
        return resolve
    fields = compiler.fields(value, place)
    return lambda event: {key: field(event) for key, field in fields}


def _transform(compiler: Compiler, value: Any, place: Place) -> Resolve:
    options = compiler.options(value, place, ("apply", "mapping"))
    if options is None:
        return compiler.value(None, place)
    for name in ("apply", "mapping"):
        if not isinstance(options[name], dict):
            return compiler.fault((*place, name), "expected an object or a directive")
    apply = compiler.value(options["apply"], (*place, "apply"))
    with compiler.elsewhere():
        mapping = compiler.value(options["mapping"], (*place, "mapping"))
    return lambda event: mapping(apply(event))


def _exclude_when_null(compiler: Compiler, value: Any, place: Place) -> Resolve:
    operand = compiler.value(value, place)
    return lambda event: without_nulls(operand(event))


def _liquid(compiler: Compiler, value: Any, place: Place) -> Resolve:
    if not isinstance(value, str):
        return compiler.fault(place, "expected a Liquid template, a text")
    if value == "":
        return lambda _: ""
    try:
        resolve, keys = compiler.liquid.compile(value)
    except LiquidProblem as problem:
        return compiler.fault(place, str(problem))
    for key in keys:
        compiler.note_read((key,))
    return resolve


def _what(value: Any) -> str:
    return "nothing" if value is NOTHING else "null" if value is None else type(value).__name__


DIRECTIVES: Final[Mapping[str, Directive]] = {
    "@path": _path,
    "@template": _template,
    "@literal": _literal,
    "@if": _if,
    "@arrayPath": _array_path,
    "@case": _case,
    "@replace": _replace,
    "@json": _json,
    "@flatten": _flatten,
    "@merge": _merge,
    "@transform": _transform,
    "@excludeWhenNull": _exclude_when_null,
    "@liquid": _liquid,
}
