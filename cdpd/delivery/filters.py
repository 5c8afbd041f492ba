"""Destination filters at work: what of an event a destination gets, if anything. Source: spec/connections.md §6.

Every condition is judged on the event as it is in the archive. Then, of all filters whose condition fits: every SAMPLE,
every DROP, DROP_PROPERTIES, ALLOW_PROPERTIES. An event on which a condition cannot be judged is not sent (it fails
closed).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from cdpd.destinations.filter_setup import FilterAction, FilterSetup, Kind
from cdpd.event import Event
from cdpd.mapping.fql.errors import FqlError
from cdpd.mapping.fql.filter import Filter, compile_value
from cdpd.mapping.view import View

BY_RULES: Final = "FILTERED_BY_RULES"
FAILED: Final = "FILTER_FAILED"
"""A condition could not be judged: not in the delivery metrics' own codes, since it is a fault to be seen to."""
_ORDER: Final[tuple[Kind, ...]] = ("sample", "drop", "drop_properties", "allow_properties")

_decode_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode
_encode: Final = msgspec.json.Encoder().encode

Random = Callable[[], float]


class Filtered(Struct, frozen=True):
    """What the filters make of an event."""

    line: bytes
    """The event as it is sent; as it came where nothing changed it."""
    skip: str | None = None
    """Why it is not sent: BY_RULES or FAILED."""
    by: str = ""
    """The title of the filter that kept it back."""
    problem: str = ""
    """Where a filter failed: how."""


class _Rule(Struct, frozen=True):
    title: str
    sources: frozenset[str] | None
    condition: Filter
    actions: Sequence[FilterAction]
    keeps: Mapping[int, Callable[[View], bool]]
    """Number of an action that samples → whether the event is kept."""


class Filters:
    """Those of one destination. `random`: for samples without a path."""

    def __init__(self, setups: Sequence[FilterSetup], random: Random) -> None:
        self._rules = [
            _Rule(
                setup.title or f"filter {number}",
                None if setup.sources is None else frozenset(setup.sources),
                setup.compiled,
                setup.actions,
                {
                    at: _sampler(action, random)
                    for at, action in enumerate(setup.actions)
                    if action.kind == "sample"
                },
            )
            for number, setup in enumerate(setups, 1)
            if setup.enabled
        ]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def apply(self, line: bytes) -> Filtered:
        """Judge an event; `line` is a JSON object."""
        event = Event(line)
        view = View(event)
        try:
            fitting = list(self._fitting(event, view))
        except _CannotJudge as error:
            return Filtered(line, FAILED, error.title, error.problem)
        return self._judged(line, view, fitting)

    @staticmethod
    def _judged(line: bytes, view: View, fitting: Sequence[_Rule]) -> Filtered:
        for kind in ("sample", "drop"):
            for rule in fitting:
                for at, action in enumerate(rule.actions):
                    if action.kind != kind or (kind == "sample" and rule.keeps[at](view)):
                        continue
                    return Filtered(line, BY_RULES, rule.title)
        try:
            return Filtered(_without_fields(line, fitting))
        except RecursionError:
            return Filtered(
                line, FAILED, fitting[0].title, "the event is nested too deep to take fields out of it"
            )

    def _fitting(self, event: Event, view: View) -> Iterator[_Rule]:
        for rule in self._rules:
            if rule.sources is not None and event.source not in rule.sources:
                continue
            try:
                if rule.condition.test(view.of(rule.condition.paths)):
                    yield rule
            except FqlError as error:
                raise _CannotJudge(rule.title, str(error)) from error
            except RecursionError:
                raise _CannotJudge(rule.title, "the event is nested too deep to be judged") from None


class _CannotJudge(Exception):
    def __init__(self, title: str, problem: str) -> None:
        super().__init__(problem)
        self.title = title
        self.problem = problem


def _sampler(action: FilterAction, random: Random) -> Callable[[View], bool]:
    """Whether an event is kept: by the value at the path, the same everywhere; by chance where there is none."""
    percent = 1.0 if action.percent is None else action.percent
    place = None if action.path is None else compile_value(action.path)

    def keeps(view: View) -> bool:
        value = None if place is None else place.value(view.of(place.paths))
        if value is None or isinstance(value, dict | list):
            return random() < percent
        text = value if isinstance(value, str) else _text(value)
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < percent

    return keeps


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _without_fields(line: bytes, fitting: Sequence[_Rule]) -> bytes:
    text = whole = Raw(line)
    for kind in _ORDER[2:]:
        for rule in fitting:
            for action in rule.actions:
                if action.kind == kind:
                    for place, names in (action.fields or {}).items():
                        # Every event keeps its messageId.
                        kept = names if place or kind == "drop_properties" else [*names, "messageId"]
                        change = partial(_drop if kind == "drop_properties" else _allow, names=kept)
                        text = _changed(text, place.split(".") if place else [], change)
    return line if text is whole else bytes(text)


def _drop(fields: dict[str, Raw], names: Sequence[str]) -> bool:
    found = [name for name in names if name in fields]
    for name in found:
        del fields[name]
    return bool(found)


def _allow(fields: dict[str, Raw], names: Sequence[str]) -> bool:
    others = [name for name in fields if name not in names]
    for name in others:
        del fields[name]
    return bool(others)


def _changed(text: Raw, path: Sequence[str], change: Callable[[dict[str, Raw]], bool]) -> Raw:
    """JSON text with the objects at a path changed, of a list every element; what is untouched keeps its own text.

    `change` changes an object's fields, and says whether it did.
    """
    first = bytes(memoryview(text)[:1])
    if first == b"[":
        items = _decode_list(text)
        made = [_changed(item, path, change) for item in items]
        same = all(one is other for one, other in zip(items, made, strict=True))
        return text if same else Raw(_encode(made))
    if first != b"{":
        return text
    fields = _decode_object(text)
    if not path:
        return Raw(_encode(fields)) if change(fields) else text
    inner = fields.get(path[0])
    if inner is None:
        return text
    fields[path[0]] = _changed(inner, path[1:], change)
    return text if fields[path[0]] is inner else Raw(_encode(fields))
