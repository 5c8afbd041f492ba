"""The event: the one shape that flows from the pipeline to every hook and destination.

An `Event` is the client's own JSON object with typed accessors on top. Whatever nobody changes keeps its
text: unknown keys, key order, `1.10`, big integers. Source of the fields: spec/event-spec.md §2.
"""

from __future__ import annotations

from typing import Final, Self

import msgspec
from msgspec import Raw, Struct

from cdpd.section import Branch, Section

TYPES: Final = ("identify", "track", "page", "screen", "group", "alias")
SET: Final = "set"
"""The type of objects, which are no events: they are given to warehouses alone (cdpd/ingest/objects.py)."""


class Position(Struct, frozen=True, order=True, gc=False):
    """A place in a stream; opaque to consumers: compare positions of one stream, never calculate with them.

    Locally: the writer's epoch and the offset of the next line (ARCHITECTURE, The log, Positions). Text form
    `EPOCH.OFFSET`, the epoch as 16 hex digits.
    """

    offset: int
    epoch: int

    def __str__(self) -> str:
        return f"{self.epoch:016x}.{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `str()` wrote. Raises ValueError for any other text."""
        epoch, _, offset = text.partition(".")
        if len(epoch) != 16 or not offset.isdecimal():
            raise ValueError(f"not a position: {text!r} (expected EPOCH.OFFSET)")
        return cls(offset=int(offset), epoch=int(epoch, 16))


BEGINNING: Final = Position(offset=0, epoch=0)
"""Before the first line of any stream; valid for every stream."""


class Via(Struct, omit_defaults=True, rename="camel", frozen=True, gc=False):
    """How an event came in: the request's path, the client's address, and what its headers said."""

    path: str = ""
    ip: str = ""
    user_agent: str = ""
    origin: str = ""
    retry: int = 0
    """The client's own count of attempts (`X-Retry-Count`), 0 for the first."""


class Received(Struct, frozen=True, gc=False):
    """What ingest noted of an event: when, by which request, and where it stands in `received`."""

    at_ms: int
    """Arrival by the server's clock, milliseconds since the epoch; of a retried event its first arrival."""
    position: Position
    """Of its own line: a reader of `received` that starts there begins with it."""
    message_id: str
    source: str
    sent_at: object = None
    """The batch's own `sentAt`, as sent (any JSON value); None where absent."""
    via: Via = Via()
    retry_of: int | None = None
    """The `received` offset that this line repeats, when it came by `cdpd discarded retry`."""
    log_ms: int = 0
    """Log time: when the line was appended to `received`; never goes back along the stream."""
    is_object: bool = False
    """It is an object (`set`) and no event; hooks get none, but those that ask for them (`Plugin.takes_objects`)."""


class Violation(Struct, frozen=True):
    """Something wrong with an event that does not by itself discard it; later hooks see it on the event."""

    plugin: str
    code: str
    message: str
    path: str = ""


class Event(Section):
    """One call. Read `event.user_id`, `event["userId"]`, `event.context["ip"]`; write the same way."""

    __slots__ = ("_options", "lane", "received", "violations")

    received: Received | None
    """Set in the pipeline; None for an event read back from the archive."""
    violations: list[Violation]
    """What hooks found wrong with it, in order."""
    lane: bytes | None
    """In a destination: what tells its user from others, by the ids that it came with; None: not known."""
    _options: Section | None

    def __init__(self, text: Raw | bytes, received: Received | None = None) -> None:
        super().__init__(text)
        self.received = received
        self.violations = []
        self.lane = None
        self._options = None

    @classmethod
    def from_fields(cls, fields: dict[str, Raw], received: Received | None = None) -> Self:
        """An event from already split fields, which become its own (the fast path of the pipeline)."""
        event = cls.__new__(cls)
        event._text = event._parent = event._key = event._options = event.lane = None
        event._fields = fields  # type: ignore[assignment]  # dict is invariant
        event._unopened = True
        event.received = received
        event.violations = []
        return event

    @property
    def options(self) -> Section:
        """In a destination: its own entry of the `integrations` object (empty where that is no object)."""
        if self._options is None:
            self._options = Section()
        return self._options

    @options.setter
    def options(self, value: Section) -> None:
        self._options = value

    # -- identity and naming; a value that is no string reads as None ------------------------------------

    def _string(self, key: str) -> str | None:
        value = self._read().get(key)
        if not isinstance(value, Raw):
            return None
        try:
            return _decode_string(value)
        except msgspec.DecodeError:
            return None

    def _set_string(self, key: str, value: str | None) -> None:
        if value is None:
            self.pop(key, None)
        else:
            self[key] = value

    @property
    def message_id(self) -> str:
        """Unique per source; set at ingest and never changed."""
        return self._string("messageId") or ""

    @property
    def type(self) -> str:
        """One of TYPES after the `spec` hook; before it, whatever the client sent ("" where no string)."""
        return self._string("type") or ""

    @type.setter
    def type(self, value: str) -> None:
        self["type"] = value

    @property
    def event(self) -> str | None:
        """The name of a track call."""
        return self._string("event")

    @event.setter
    def event(self, value: str | None) -> None:
        self._set_string("event", value)

    @property
    def name(self) -> str | None:
        """The name of a page or screen call."""
        return self._string("name")

    @property
    def user_id(self) -> str | None:
        return self._string("userId")

    @user_id.setter
    def user_id(self, value: str | None) -> None:
        self._set_string("userId", value)

    @property
    def anonymous_id(self) -> str | None:
        return self._string("anonymousId")

    @anonymous_id.setter
    def anonymous_id(self, value: str | None) -> None:
        self._set_string("anonymousId", value)

    @property
    def group_id(self) -> str | None:
        return self._string("groupId")

    @property
    def previous_id(self) -> str | None:
        return self._string("previousId")

    @property
    def source(self) -> str:
        """The name of the source that received it (`projectId` on the wire; set by cdpd, never the client)."""
        return self._string("projectId") or ""

    @property
    def timestamp(self) -> str | None:
        """When it happened, corrected for the client's clock (after the `spec` hook)."""
        return self._string("timestamp")

    @property
    def received_at(self) -> str | None:
        return self._string("receivedAt")

    # -- sections ----------------------------------------------------------------------------------------

    @property
    def context(self) -> Section:
        return self.section("context")

    @property
    def properties(self) -> Section:
        return self.section("properties")

    @property
    def traits(self) -> Section:
        return self.section("traits")

    @property
    def integrations(self) -> Section:
        return self.section("integrations")

    # -- the message id is fixed ---------------------------------------------------------------------------

    def __setitem__(self, key: str, value: object) -> None:
        if key == "messageId":
            raise ValueError("messageId is given at ingest and cannot be changed")
        super().__setitem__(key, value)

    def _put(self, key: str, value: Branch) -> None:
        if key == "messageId":
            raise ValueError("messageId is given at ingest and cannot be changed")
        super()._put(key, value)

    def put_raw(self, key: str, text: Raw) -> None:
        if key == "messageId":
            raise ValueError("messageId is given at ingest and cannot be changed")
        super().put_raw(key, text)

    def put_raw_fields(self, fields: dict[str, Raw]) -> None:
        if fields.get("messageId") != self._read().get("messageId"):
            raise ValueError("messageId is given at ingest and cannot be changed or removed")
        self._fields = fields  # type: ignore[assignment]  # dict is invariant
        self._unopened = True
        self._text = None

    def __delitem__(self, key: str) -> None:
        if key == "messageId":
            raise ValueError("messageId is given at ingest and cannot be removed")
        super().__delitem__(key)

    def line(self) -> bytes:
        """The event as one line of JSON, without the line break."""
        if self._text is None and self._unopened:
            return _encode(self._fields)
        return bytes(self.raw())


_decode_string = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
