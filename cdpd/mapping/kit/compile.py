"""A mapping (JSON: objects, lists, scalars, directives) → closures, once. Spec: connections.md §8.2.

A directive is an object with one key that starts with `@`, beside which only `_metadata` may stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from msgspec import Struct

from cdpd.mapping.closest import closest
from cdpd.mapping.kit.directives import DIRECTIVES
from cdpd.mapping.kit.errors import Fault, MappingError, MappingFaults, Place, place_text
from cdpd.mapping.kit.liquid import Liquid
from cdpd.mapping.kit.nothing import NOTHING
from cdpd.mapping.kit.path import Resolve

METADATA: Final = "_metadata"
ROOT: Final = "__segment_internal_directive"
"""A root key whose one directive gets all other fields as its `mapping`."""
DEEPEST: Final = 64
"""Levels of a mapping; as many as an event may have."""


class CompiledMapping(Struct, frozen=True):
    """A mapping, made by `compile_mapping`."""

    _resolve: Resolve
    paths: frozenset[str] | None
    """The top-level keys that it reads; None: it needs the whole event. `View.of` takes either."""

    def resolve(self, event: Mapping[str, Any]) -> Any:
        """The payload for a decoded event: a new dict, without the keys that resolve to nothing.

        Values taken from the event are the event's own: do not change them in place. A root that is itself a directive
        may give any value, and NOTHING. Raises MappingError.
        """
        try:
            return self._resolve(event)
        except RecursionError:
            raise MappingError("the event is nested too deep for this mapping") from None


def compile_mapping(mapping: object) -> CompiledMapping:
    """Compile a decoded JSON object. Raises MappingFaults with every fault found."""
    compiler = Compiler()
    if isinstance(mapping, dict):
        resolve = compiler.root(mapping)
    else:
        resolve = compiler.fault((), f"a mapping is an object, not {json_type(mapping)}")
    if compiler.faults:
        raise MappingFaults(compiler.faults)
    return CompiledMapping(resolve, None if compiler.reads_all else frozenset(compiler.reads))


class Compiler:
    """One mapping's compilation: faults are gathered, so that all are told at once."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.reads: set[str] = set()
        self.reads_all = False
        self.liquid = Liquid()
        self._inner = 0

    # -- for directives ------------------------------------------------------------------------------------

    def fault(self, place: Place, message: str) -> Resolve:
        """Note a fault; what is returned stands in for what could not be compiled, and never runs."""
        self.faults.append(Fault(place_text(place), message))
        return lambda _: NOTHING

    def note_read(self, segments: tuple[str, ...]) -> None:
        """A path is read, of the event unless it is inside of `elsewhere`."""
        if self._inner:
            return
        if segments:
            self.reads.add(segments[0])
        else:
            self.reads_all = True

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """What is compiled in here is resolved on something else than the event."""
        self._inner += 1
        try:
            yield
        finally:
            self._inner -= 1

    def options(
        self, value: Any, place: Place, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Any] | None:
        """The options of a directive, checked for their keys; None (and a fault) where it is no object."""
        known = (*required, *optional)
        if not isinstance(value, dict):
            self.fault(place, f"expected an object with {', '.join(known)}, found {json_type(value)}")
            return None
        for key in value:
            if key not in known and key != METADATA:
                near = closest(key, known)
                hint = f"did you mean {near}?" if near else f"it takes {', '.join(known)}"
                self.fault((*place, key), f"no option of {place[-1]}; {hint}")
        missing = [key for key in required if key not in value]
        for key in missing:
            self.fault(place, f"{key} is missing")
        return None if missing else value

    # -- values --------------------------------------------------------------------------------------------

    def root(self, mapping: dict[str, Any]) -> Resolve:
        if ROOT not in mapping:
            return self.value(mapping, ())
        directive = mapping[ROOT]
        fields = {key: value for key, value in mapping.items() if key != ROOT}
        name = directive_name(directive)
        if name is None or not isinstance(directive[name], dict):
            return self.fault((ROOT,), "expected one directive, like @transform, with an object of options")
        return self.value({name: {**directive[name], "mapping": fields}}, (ROOT,))

    def value(self, value: Any, place: Place, lenient: bool = False) -> Resolve:
        """Anything in a mapping. `lenient`: inside a list, where an object with `@` that is no directive is data."""
        if len(place) > DEEPEST:
            return self.fault(place[:4], f"a mapping has at most {DEEPEST} levels")
        if isinstance(value, dict):
            return self._object(value, place, lenient)
        if isinstance(value, list):
            items = [self.value(item, (*place, i), True) for i, item in enumerate(value)]
            return _list(items)
        if value is None or isinstance(value, str | int | float):
            return lambda _: value
        return self.fault(place, f"{type(value).__name__} is no JSON value")

    def _object(self, value: dict[str, Any], place: Place, lenient: bool) -> Resolve:
        name = directive_name(value)
        if name is not None:
            return DIRECTIVES[name](self, value[name], (*place, name))
        if not lenient and any(key.startswith("@") for key in value):
            return self._malformed(value, place)
        return _object(self.fields(value, place, lenient))

    def fields(self, value: dict[str, Any], place: Place, lenient: bool = False) -> list[tuple[str, Resolve]]:
        """Each key of an object that is no directive."""
        return [(key, self.value(item, (*place, key), lenient)) for key, item in value.items()]

    def _malformed(self, value: dict[str, Any], place: Place) -> Resolve:
        """Tell what is wrong with an object that has a `@` and is no directive, and in it."""
        directives = [key for key in value if key.startswith("@")]
        if len(directives) > 1:
            self.fault(place, f"an object holds one directive, not {', '.join(directives)}")
        for key in directives:
            if key not in DIRECTIVES:
                near = closest(key, DIRECTIVES)
                hint = f"did you mean {near}?" if near else f"there are {', '.join(DIRECTIVES)}"
                self.fault((*place, key), f"no directive; {hint}")
        others = [key for key in value if not key.startswith("@") and key != METADATA]
        if directives and others:
            self.fault(place, f"{directives[0]} stands alone in its object; beside it: {', '.join(others)}")
        for key in (*directives, *others):
            DIRECTIVES.get(key, Compiler.value)(self, value[key], (*place, key))
        return lambda _: NOTHING


def directive_name(value: object) -> str | None:
    """The directive that an object is; None where it is none, or malformed."""
    if not isinstance(value, dict):
        return None
    keys = [key for key in value if key != METADATA]
    return keys[0] if len(keys) == 1 and keys[0] in DIRECTIVES else None


def json_type(value: object) -> str:
    """`a list`, for messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _list(items: list[Resolve]) -> Resolve:
    """A nothing in a list is null, as JSON has it."""

    def resolve(event: Any) -> Any:
        values = [item(event) for item in items]
        return [None if value is NOTHING else value for value in values]

    return resolve


def _object(fields: list[tuple[str, Resolve]]) -> Resolve:
    def resolve(event: Any) -> Any:
        made = {}
        for key, field in fields:
            value = field(event)
            if value is not NOTHING:
                made[key] = value
        return made

    return resolve
