"""A replay: which stored events go to one destination again, and how each of them is changed before it does.

Source of the rules: spec/connections.md §11, “Replay”. The rules of the destination (sources, consent, filters,
mappings) are today's; the hooks do not run again; messageId and timestamp stay.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
from msgspec import Raw, Struct

from cdpd.delivery.route import NOT_CONNECTED, NotAnEvent, Route, Routes
from cdpd.event import Event, Position
from cdpd.timestamp import parse_time

NOT_CHOSEN: Final = Route(NOT_CONNECTED)
"""As if there were no such event."""
SOURCE_NOT_CONNECTED: Final = "SOURCE_NOT_CONNECTED"
"""Why an event is left out that live traffic would not even have counted."""
LATEST: Final = 60_000
"""An event's receivedAt is at most so many milliseconds before its log time; where it is more, it was brought in
later (`cdpd import`, `cdpd discarded retry`), and its log time counts."""


class Selection(Struct, frozen=True, omit_defaults=True):
    """What is asked of each event; what is not given does not restrict."""

    sources: list[str] | None = None
    events: list[str] | None = None
    """Names of tracks, pages and screens."""
    types: list[str] | None = None


class ReplaySpec(Struct, frozen=True, omit_defaults=True, tag="replay"):
    """A replay, as its row keeps it."""

    start: Position
    """Of `events`: where it began."""
    until: int
    """The offset of `events` before which it ends."""
    from_ms: int | None = None
    """Received at or after this …"""
    to_ms: int | None = None
    """… and before this, in milliseconds since the epoch."""
    selection: Selection = Selection()
    rate: str | None = None
    """At most so many events, e.g. `100/s`."""
    asked_from: str = ""
    asked_to: str = ""
    """As it was asked for."""

    @property
    def total(self) -> int:
        """Lines that are looked at."""
        return max(self.until - self.start.offset, 0)

    def done(self, at: int, _settled: int) -> int:
        """Lines that were, with the cursor at that offset."""
        return min(max(at - self.start.offset, 0), self.total)


class _Peek(Struct):
    projectId: Raw = Raw()
    type: Raw = Raw()
    event: Raw = Raw()
    name: Raw = Raw()


class _Received(Struct):
    receivedAt: Raw = Raw()


_peek: Final = msgspec.json.Decoder(_Peek).decode
_received: Final = msgspec.json.Decoder(_Received).decode
_string: Final = msgspec.json.Decoder(str).decode


class Chooser:
    """A selection, made quick to ask."""

    def __init__(self, selection: Selection) -> None:
        self._everything = selection == Selection()
        self._sources = _set(selection.sources)
        self._events = _set(selection.events)
        self._types = _set(selection.types)

    def takes(self, line: bytes) -> bool:
        """Whether a line of `events` is meant. Raises msgspec.DecodeError for what is no JSON object."""
        if self._everything:
            return True
        source, type_, name = described(line)
        return (
            (self._sources is None or source in self._sources)
            and (self._types is None or type_ in self._types)
            and (self._events is None or name in self._events)
        )


class ReplayRouter:
    """The destination's own router, for the lines that are chosen, as a replay sends them."""

    def __init__(self, inner: Routes, selection: Selection, name: str) -> None:
        """`name`: the destination's display name, its key in `integrations`."""
        self._inner = inner
        self._chooser = Chooser(selection)
        self._integrations = Raw(msgspec.json.encode({"All": False, name: True}))

    def know(self, names: Collection[str]) -> None:
        self._inner.know(names)

    def route(self, line: bytes) -> Route:
        """As Router.route; `line` of the answer is what is sent. Raises NotAnEvent."""
        try:
            if not self._chooser.takes(line):
                return NOT_CHOSEN
            event = Event(line)
            event.put_raw("integrations", self._integrations)
        except msgspec.DecodeError as error:
            raise NotAnEvent(str(error)) from error
        changed = event.line()
        route = self._inner.route(changed)
        if route.skip == NOT_CONNECTED:
            route.skip = SOURCE_NOT_CONNECTED
        if route.line is None:
            route.line = changed
        return route


def described(line: bytes) -> tuple[str, str, str]:
    """(source, type, name of a track, page or screen) of a line of `events`; "" where it has none.

    Raises msgspec.DecodeError for what is no JSON object.
    """
    peek = _peek(line)
    type_ = _text(peek.type)
    return _text(peek.projectId), type_, _text(peek.event if type_ == "track" else peek.name)


def received_ms(line: bytes, log_ms: int) -> int:
    """When cdpd got an event, in milliseconds since the epoch; `log_ms`: the log time of its frame."""
    try:
        raw = _received(line).receivedAt
    except msgspec.DecodeError:
        return log_ms
    ms = parse_time(_text(raw))
    return log_ms if ms is None or not 0 <= log_ms - ms <= LATEST else ms


def _set(texts: Collection[str] | None) -> frozenset[str] | None:
    return None if texts is None else frozenset(texts)


def _text(raw: Raw) -> str:
    """A JSON string's text; "" for anything else."""
    return _string(raw) if bytes(memoryview(raw)[:1]) == b'"' else ""
