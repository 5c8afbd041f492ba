"""Lines of `received`: the client's own event with what ingest knows around it (ARCHITECTURE, The log).

`{"receivedAt", "source", "messageId", "sentAt"?, "via", "reject"?, "event": {…} | "raw": "…"}`. What goes in
here is safe for readers: one line, valid UTF-8, nested no deeper than the limit.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cdpd.ingest.nesting import deeper_than
from cdpd.ingest.refusal import too_large
from cdpd.ingest.settings import MAX_EVENTS, IngestSettings
from cdpd.ingest.shared import NOTHING_SHARED, Shared, name_all
from cdpd.ingest.split import Element, Peek, Split, peek

KEPT_WHOLE: Final = 512 * 1024
"""A rejected event up to this size stays whole in its line; of a larger one the first kilobyte is kept."""
RAW_BYTES: Final = 1024
MAX_ID: Final = 1024
"""Bytes of a messageId that are taken over into a rejected event's line."""
MAX_SENT_AT: Final = 256
"""A longer `sentAt` is no time; it would stand in every line of its batch."""
_LEAST: Final = 64
"""No line is shorter than its fixed part and so many bytes."""

_encode: Final = msgspec.json.Encoder().encode
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_string: Final = msgspec.json.Decoder(str).decode
_KEY: Final = re.compile(r'"write_?[kK]ey"\s*:\s*"[^"]*"?')
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_INTEGER: Final = re.compile(rb"-?\d+")


class Head(Struct, frozen=True):
    """What all lines of a request begin with."""

    received_at: bytes
    """`"…Z"` as JSON text."""
    source: bytes
    """The source's name as JSON text."""
    via: bytes
    """The `via` object as JSON text."""


class LineBuilder:
    """Makes the lines of one request. `size` is what they come to so far."""

    def __init__(self, settings: IngestSettings, head: Head, split: Split, multiline: bool) -> None:
        self._limit = settings.max_event_bytes
        self._depth = settings.max_depth
        self._most = settings.max_lines_bytes
        self._multiline = multiline
        self._start = b'{"receivedAt":' + head.received_at + b',"source":' + head.source + b',"messageId":'
        sent_at = b""
        self.dropped_sent_at = False
        if split.sent_at is not None:
            text = bytes(split.sent_at)
            self.dropped_sent_at = len(text) > MAX_SENT_AT
            if not self.dropped_sent_at:
                sent_at = b',"sentAt":' + self._one_line(text)
        self._via = sent_at + b',"via":' + head.via
        self._middle = self._via + b',"event":'
        self._shared_too_deep = split.shared_too_deep
        if split.context is None and split.integrations is None:
            self._shared = NOTHING_SHARED
        else:
            for section in (split.context, split.integrations):
                if section is not None and deeper_than(bytes(section), self._depth - 1):
                    self._shared_too_deep = True
            self._shared = (
                NOTHING_SHARED if self._shared_too_deep else Shared(split.context, split.integrations)
            )
        self._shared_too_large = self._shared.size > self._limit
        self._first = split.seen
        self._index = 0
        self.size = 0
        self.rejected = 0
        if len(split.events) * (len(self._start) + len(self._middle) + _LEAST) > self._most:
            raise too_large("what this batch makes", self._most)

    def build(self, events: Sequence[Raw | Element]) -> list[bytes]:
        """The lines of the next events of the request.

        Raises Refused (too_large) where all lines together come to more than the request may make.
        """
        lines: list[bytes] = []
        start, middle, limit, depth = self._start, self._middle, self._limit, self._depth
        ordinary = (
            not (self._multiline or self._shared or self._shared_too_deep)
            and self._first is None
            and self._index + len(events) <= MAX_EVENTS
        )
        for event in events:
            line = None
            if ordinary and type(event) is Raw:
                # Nearly every event: nothing of it changes. All else is for _line to judge.
                text = bytes(event)
                try:
                    seen = peek(text)
                except (msgspec.DecodeError, RecursionError):
                    pass
                else:
                    if (
                        seen.messageId is not UNSET
                        and (own_id := bytes(seen.messageId))[0] == _QUOTE
                        and 0x20 < (first := own_id[1]) < 0x7F
                        and first != _QUOTE
                        and first != _BACKSLASH
                        and seen.writeKey is UNSET
                        and seen.write_key is UNSET
                        and (seen.integrations is UNSET or b"all" not in bytes(seen.integrations))
                        and len(text) <= limit
                        and not deeper_than(text, depth)
                    ):
                        self._index += 1
                        line = b"".join((start, own_id, middle, text, b"}"))
            lines.append(line or self._line(event))
        self.size += sum(map(len, lines))
        if self.size > self._most:
            raise too_large("what this batch makes", self._most)
        return lines

    def _line(self, event: Raw | Element) -> bytes:
        index = self._index
        self._index = index + 1
        if isinstance(event, Element):
            text = event.text
            if event.too_deep:
                return self._rejected("too_deep", text)
        else:
            text = bytes(event)
        try:
            seen = peek(text) if self._first is None else self._first
        except msgspec.ValidationError:
            return self._rejected("event_not_object", text)
        except RecursionError:
            return self._rejected("too_deep", text)
        self._first = None
        if self._shared_too_deep or deeper_than(text, self._depth):
            return self._rejected("too_deep", text, seen)
        if len(text) > self._limit or self._shared_too_large:
            return self._rejected("event_too_large", text, seen, whole=len(text) <= KEPT_WHOLE)
        if index >= MAX_EVENTS:
            return self._rejected("batch_too_long", text, seen, whole=True)
        if (
            self._shared
            or seen.has_key
            or (seen.integrations is not UNSET and b"all" in bytes(seen.integrations))
        ):
            text = self._changed(text)
        return b"".join((self._start, message_id(seen.messageId), self._middle, self._one_line(text), b"}"))

    def _changed(self, text: bytes) -> bytes:
        fields = _without_key(_decode_fields(text))
        if self._shared:
            self._shared.merge_into(fields)
        name_all(fields)
        return _encode(fields)

    def _rejected(self, code: str, text: bytes, seen: Peek | None = None, *, whole: bool = False) -> bytes:
        """A line for an event that the chain cannot be given; `whole`: its text may stand in it as it is."""
        self.rejected += 1
        own_id = UNSET if seen is None else seen.messageId
        if own_id is not UNSET and len(bytes(own_id)) > MAX_ID:
            own_id = UNSET
        if whole and seen is not None:
            if seen.has_key:
                text = _encode(_without_key(_decode_fields(text)))
            kept = b',"event":' + self._one_line(text)
        else:
            start = text[:RAW_BYTES].decode(errors="ignore").replace("\0", "\ufffd")
            kept = b',"raw":' + _encode(_KEY.sub('"writeKey":null', start))
        reject = b',"reject":"' + code.encode() + b'"'
        return b"".join((self._start, message_id(own_id), self._via, reject, kept, b"}"))

    def _one_line(self, text: bytes) -> bytes:
        """Without line breaks, which stand only between values; these keep their text."""
        if self._multiline and (b"\n" in text or b"\r" in text):
            return msgspec.json.format(text, indent=-1)
        return text


def _without_key(fields: dict[str, Raw]) -> dict[str, Raw]:
    """No archive line ever holds a write key (event-spec.md, acceptance 25)."""
    fields.pop("writeKey", None)
    fields.pop("write_key", None)
    return fields


def message_id(raw: Raw | UnsetType) -> bytes:
    """The id of a line as JSON text: the event's own, a number as its decimal text, else a new UUIDv4."""
    if raw is not UNSET:
        text = bytes(raw)
        first = text[0]
        if first == 0x22:  # a string
            if b"\\" not in text and text.isascii():
                if text[1:-1].strip():
                    return text
            elif _decode_string(text).strip():
                return text
        elif first == 0x2D or 0x30 <= first <= 0x39:
            return b'"' + _decimal(text) + b'"'
    return b'"%b"' % str(uuid.uuid4()).encode()


def _decimal(text: bytes) -> bytes:
    """A number's decimal text, without `.0` or an exponent where it is a whole number of a sane size."""
    if _INTEGER.fullmatch(text):
        return text
    try:
        value = Decimal(text.decode())
    except InvalidOperation:  # an exponent beyond all reason
        return text
    if value == value.to_integral_value() and abs(value.adjusted()) <= RAW_BYTES:
        return f"{value:.0f}".encode()
    return text
