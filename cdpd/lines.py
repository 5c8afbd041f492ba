"""A stored line as people and filters see it, whichever stream it is from."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from cdpd.event import SET, TYPES
from cdpd.terminal import paint, printable
from cdpd.timestamp import parse_time

_SECTIONS = {"identify": "traits", "group": "traits"}
_CALLS = {**{call: call for call in TYPES}, **{call[0]: call for call in TYPES}}
"""Last part of a request's path → the call: `/v1/track`, `/v1/t`."""


class _Via(Struct):
    path: str = ""


class _Stored(Struct, rename="camel"):
    """What any of the three streams' lines may have."""

    type: object = None
    event: Raw = Raw(b"null")
    """The name in `events`; the whole event in `received`."""
    name: object = None
    project_id: object = None
    user_id: object = None
    anonymous_id: object = None
    group_id: object = None
    collection: object = None
    id: object = None
    message_id: object = None
    received_at: object = None
    properties: Raw = Raw(b"null")
    traits: Raw = Raw(b"null")
    source: object = None
    via: _Via | None = None
    reject: str | None = None
    at: object = None
    by: str = ""
    code: str = ""
    message: str = ""
    line: Raw = Raw(b"null")
    """In `discarded`: the whole line of `received`."""


class Line(Struct, frozen=True):
    """A line, looked into."""

    at: str
    """When it came in, or was discarded; as stored."""
    source: str
    type: str
    name: str
    """A track's event, a page's or screen's name, an object's collection."""
    who: str
    message_id: str
    detail: str
    """Properties or traits, compact JSON; for a discarded line the message."""
    by: str = ""
    code: str = ""

    @property
    def at_ms(self) -> int | None:
        return parse_time(self.at)


_decode = msgspec.json.Decoder(_Stored).decode


def look_into(stream: str, text: bytes) -> Line:
    """The line of a stream. Raises msgspec.DecodeError for what no stream of ours holds."""
    stored = _decode(text)
    if stream == "events":
        return _line(stored, _text(stored.received_at), _text(stored.project_id), _text(stored.message_id))
    if stream == "received":
        return _received(stored, _text(stored.received_at), stored.reject or "")
    inner = _object(stored.line)
    line = _received(inner, _text(stored.at), stored.code)
    return msgspec.structs.replace(line, by=stored.by, detail=stored.message)


def _received(stored: _Stored, at: str, code: str) -> Line:
    event = _object(stored.event)
    if event.type is None and stored.via is not None:
        event.type = _CALLS.get(stored.via.path.rpartition("/")[2])
    line = _line(event, at, _text(stored.source), _text(stored.message_id))
    return msgspec.structs.replace(line, code=code) if code else line


def _object(raw: Raw) -> _Stored:
    try:
        return _decode(raw)
    except msgspec.DecodeError:  # a rejected line may hold anything where an event should be
        return _Stored()


def _line(event: _Stored, at: str, source: str, message_id: str) -> Line:
    kind = _text(event.type)
    name = _text(msgspec.json.decode(event.event)) if kind == "track" else _text(event.name)
    section = event.traits if kind in _SECTIONS else event.properties
    who = _text(event.user_id) or _text(event.anonymous_id) or _text(event.group_id)
    if kind == SET:
        name, who = _text(event.collection), _text(event.id)
    detail = "" if bytes(section) in (b"null", b"{}") else bytes(section).decode(errors="replace")
    return Line(at, source, kind, name, who, message_id, detail)


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)


def pretty(line: Line, colour: bool, width: int | None = None) -> str:
    """One line for a terminal: time, source, call, name, who, details; cut at `width` where that is given."""
    time = line.at[11:23] if line.at[10:11] == "T" else line.at
    parts = [
        (time, "dim"),
        (line.source, "cyan"),
        (line.type or "?", "blue"),
        (line.name, "bold"),
        (line.who, "magenta"),
        (f"{line.by}: {line.code}" if line.by else line.code, "red"),
        (line.detail, "dim"),
    ]
    shown, left = [], width
    for text, style in parts:
        text = printable(text)
        if not text or (left is not None and left <= 1):
            continue
        if left is not None and len(text) > left:
            text = text[: left - 1] + "…"
        if left is not None:
            left -= len(text) + 2
        shown.append(paint(text, style, colour))
    return "  ".join(shown)
