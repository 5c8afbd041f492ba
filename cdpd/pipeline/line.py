"""A line of `received` → an event with what ingest knows of it, or why there is none.

The form of a line is ARCHITECTURE's (“A line of received”); ingest/line.py makes them.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cdpd.event import Event, Position, Received, Via
from cdpd.log.reader import Frame
from cdpd.section import decode_value
from cdpd.timestamp import parse_time

INGEST: Final = "ingest"
PIPELINE: Final = "pipeline"
UNDECODABLE: Final = "undecodable"
_REJECTED: Final = {
    "event_not_object": "an event must be a JSON object",
    "event_too_large": "the event is larger than one event may be",
    "too_deep": "the event is nested deeper than max_depth of [http] allows (default: 64)",
    "batch_too_long": "the event stood after the last that one batch may have",
}
_MOST_KEPT: Final = 4096


class Refused(Struct, frozen=True):
    """A line that no hook can be given."""

    offset: int
    by: str
    code: str
    message: str
    source: str


class _Line(Struct, rename="camel", gc=False):
    received_at: str
    source: str
    message_id: Raw
    event: dict[str, Raw]
    via: Via
    sent_at: Raw | UnsetType = UNSET
    reject: str | None = None
    retry_of: int | None = None
    kind: Literal["set"] | None = None
    """Of an object; an event has none."""


class _Outer(Struct, rename="camel"):
    """What a line must have so that its refusal can be told."""

    source: str = ""
    reject: str | None = None


_decode: Final = msgspec.json.Decoder(_Line).decode
_decode_outer: Final = msgspec.json.Decoder(_Outer).decode
_decode_string: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


class Lines:
    """Decodes lines. Keeps what the lines of a batch share, so that it is decoded once."""

    def __init__(self) -> None:
        self._times: dict[str, int | None] = {}
        self._sent: dict[bytes, Any] = {}
        self._projects: dict[str, Raw] = {}

    def project(self, source: str) -> Raw:
        """The value of `projectId` for a source, always the same object."""
        project = self._projects.get(source)
        if project is None:
            project = self._projects[source] = Raw(_encode(source))
        return project

    def decode(
        self, frame: Frame, start: int, stop: int, events: list[Event], refused: list[Refused]
    ) -> None:
        """Append what the frame's lines [start, stop) are; holes are left out."""
        self._forget()
        times, epoch, log_ms, base = self._times, frame.epoch, frame.last_ms, frame.base
        for i in range(start, stop):
            text = frame.lines[i]
            if not text:
                continue
            try:
                line = _decode(text)
                message_id = _decode_string(line.message_id)
            except (msgspec.DecodeError, RecursionError) as error:
                refused.append(_refused(base + i, text, error))
                continue
            if line.reject is not None:
                refused.append(_rejected(base + i, line.reject, line.source))
                continue
            at = line.received_at
            at_ms = times[at] if at in times else self._time(at)
            if at_ms is None:
                message = f"receivedAt {at!r} is no time"
                refused.append(Refused(base + i, PIPELINE, UNDECODABLE, message, line.source))
                continue
            source, fields = line.source, line.event
            fields["messageId"] = line.message_id
            fields["projectId"] = self._projects.get(source) or self.project(source)
            is_object = line.kind is not None
            if is_object:  # no hook gives it these
                fields["timestamp"] = fields["receivedAt"] = Raw(_encode(at))
            received = Received(
                at_ms,
                Position(base + i, epoch),
                message_id,
                source,
                None if line.sent_at is UNSET else self._sent_at(line.sent_at),
                line.via,
                line.retry_of,
                log_ms,
                is_object,
            )
            events.append(Event.from_fields(fields, received))

    def _time(self, text: str) -> int | None:
        at_ms = self._times[text] = parse_time(text)
        return at_ms

    def _sent_at(self, raw: Raw) -> Any:
        text = bytes(raw)
        if text not in self._sent:
            self._sent[text] = decode_value(raw)
        return self._sent[text]

    def _forget(self) -> None:
        for kept in (self._times, self._sent, self._projects):
            if len(kept) > _MOST_KEPT:
                kept.clear()


def _rejected(offset: int, code: str, source: str) -> Refused:
    return Refused(offset, INGEST, code, _REJECTED.get(code, "ingest could not take it"), source)


def _refused(offset: int, text: bytes, error: Exception) -> Refused:
    """Why a line has no event: ingest said so, or it is not of the form that ingest writes."""
    try:
        outer = _decode_outer(text)
    except (msgspec.DecodeError, RecursionError):
        outer = _Outer()
    if outer.reject is not None:
        return _rejected(offset, outer.reject, outer.source)
    reason = str(error) or type(error).__name__
    message = f"the line is not of the form that ingest writes: {reason}"
    return Refused(offset, PIPELINE, UNDECODABLE, message, outer.source)
