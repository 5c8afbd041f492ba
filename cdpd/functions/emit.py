"""`Segment`: how a source function emits events and objects. Source: spec/connections.md §9.1, §10."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from cdpd.functions.errors import ValidationError

Emitted = list[dict[str, Any]]
_emitted: Final[ContextVar[Emitted | None]] = ContextVar("emitted", default=None)
_COLLECTION: Final = re.compile(r"[a-z](?:[a-z0-9_]{0,98}[a-z0-9])?", re.ASCII)
_LONGEST_ID: Final = 100


class Emitter:
    """A method for each call: `Segment.track(event="Signed Up", userId="u1", properties={…})`, or with a dict."""

    def identify(self, event: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        self._emit("identify", event, fields)

    def track(self, event: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        self._emit("track", event, fields)

    def page(self, event: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        self._emit("page", event, fields)

    def screen(self, event: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        self._emit("screen", event, fields)

    def group(self, event: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        self._emit("group", event, fields)

    def alias(self, event: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        self._emit("alias", event, fields)

    def set(self, record: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        """An object, for warehouses: `Segment.set(collection="plans", id="pro", properties={"price": 9})`.

        Raises ValidationError where it breaks a rule of objects.
        """
        whole = {**(record or {}), **fields}
        problem = _wrong_object(whole)
        if problem:
            raise ValidationError(f"Segment.set: {problem}")
        self._emit("set", whole, {})

    def _emit(self, kind: str, event: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> None:
        collected = _emitted.get()
        if collected is None:
            raise RuntimeError(f"Segment.{kind} works in a source function only, while it handles a request")
        collected.append({**(event or {}), **fields, "type": kind})


@contextmanager
def collecting() -> Iterator[Emitted]:
    """What is emitted inside the `with`, by this task and what it calls."""
    collected: Emitted = []
    token = _emitted.set(collected)
    try:
        yield collected
    finally:
        _emitted.reset(token)


def _wrong_object(record: Mapping[str, Any]) -> str:
    """What is wrong with an object; "" where nothing is."""
    collection, own_id = record.get("collection"), record.get("id")
    properties = record.get("properties")
    if not isinstance(collection, str) or not _COLLECTION.fullmatch(collection):
        return "collection: lower-case letters, digits and _ are expected, 100 at most, a letter first and no _ last"
    if not isinstance(own_id, str) or not own_id or len(own_id) > _LONGEST_ID:
        return f"id: a text of 1 to {_LONGEST_ID} characters is expected"
    if not isinstance(properties, Mapping):
        return "properties: an object is expected"
    for key, value in properties.items():
        if not isinstance(value, str | int | float | bool | None):
            return f"properties: {key}: a text, number, boolean or null is expected, no list or object"
    return ""


Segment: Final = Emitter()
