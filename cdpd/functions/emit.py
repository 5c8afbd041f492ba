"""`Segment`: how a source function emits events and objects. Source: spec/connections.md §9.1, §10."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from msgspec import Raw

from cdpd.functions.errors import ValidationError
from cdpd.objects import set_event_of

Emitted = list[dict[str, Any]]
_emitted: Final[ContextVar[Emitted | None]] = ContextVar("emitted", default=None)


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
        try:
            set_event_of({key: Raw(json.dumps(value).encode()) for key, value in whole.items()})
        except ValueError as error:
            raise ValidationError(f"Segment.set: {error}") from None
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


Segment: Final = Emitter()
