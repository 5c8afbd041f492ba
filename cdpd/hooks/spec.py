"""Makes every event the same shape: normalises it, and turns away what is no event (event-spec.md §10 and §11).

What it does, in this order; the codes are those of event-spec.md §11.

1. **type**: on a path of one type (`/v1/track`, `/v1/t`) the path's, whatever the body says; else the event's own
   in lower case; else what follows from the one of `event`, `previousId` and `groupId` that is there.
   `type_missing`, `unknown_type`.
2. **Legacy keys**, each only where today's is absent: `action` → `type`, `options` → `context`,
   `options.providers` → `integrations`, `sessionId` → `anonymousId`, `from`/`to` → `previousId`/`userId` on alias.
   A text as `context.library` becomes `{"name": …}`.
3. **Ids** (`userId`, `anonymousId`, `groupId`, `previousId`): finite numbers become their decimal text, integers of
   any size exactly; null, "" and blank count as absent and stay as they were sent; anything else is
   `id_not_string`. Where both userId and anonymousId are absent, those in `context.traits` take their place
   (RudderStack's older SDKs); without them: `no_user_anon_id`; a group without groupId, an alias without
   userId or previousId: `id_required`.
4. **Shape**: `event_not_defined`, `event_not_string`, `properties_not_object`, `traits_not_object`,
   `name_not_string`, `category_not_string`, `message_id_too_long`; the checks of consent events (privacy.md §7).
   A `context` that is no object becomes `{}` (violation `context_not_object`). An identify without `traits`
   gets a copy of `context.traits`.
5. **Times** by the table of wire.md §9: `originalTimestamp`, `timestamp`, `sentAt` (the batch's, where the event
   has none), `receivedAt`, all as `YYYY-MM-DDTHH:MM:SS.mmmZ`, never clamped. A text that is no time counts as
   absent (violation `timestamp_invalid`). `version` is 2. A client's `receivedAt` and `writeKey` go.
6. **Cap**: the first 10,000 values of `properties` and `traits` stay (violation `properties_capped`).

Never altered: the case and order of keys, nulls, empty strings, the text of numbers. Sections are looked into
only where a rule needs it. Not copied: names into properties, and any `channel` that was not sent.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cdpd.event import TYPES, Event, Received, Violation
from cdpd.hooks.rules.cap import LEAST_BYTES, MOST, capped
from cdpd.hooks.rules.identity import NotAnId, blank, number_id
from cdpd.hooks.rules.legacy import LEGACY, replace_legacy
from cdpd.hooks.rules.times import Times
from cdpd.hookspecs import Discard, hookimpl
from cdpd.plugins import Plugin, PluginEnv
from cdpd.section import decode_value

VERSION: Final = Raw(b"2")
"""Of the tracking API (event-spec.md §2)."""
MAX_MESSAGE_ID: Final = 100
CONSENT_EVENT: Final = "Segment Consent Preference Updated"
_CONSENT_RAW: Final = Raw(b'"%b"' % CONSENT_EVENT.encode())

_RAW_TYPES: Final = {name: Raw(b'"%b"' % name.encode()) for name in TYPES}
_TYPE_OF_RAW: Final = {bytes(raw): name for name, raw in _RAW_TYPES.items()}
_TYPE_OF_PATH: Final = {f"/v1/{path}": name for name in TYPES for path in (name, name[0])}
_TYPE_OF_KEY: Final = {"event": "track", "previousId": "alias", "groupId": "group"}
_SECTION: Final = {
    "track": ("properties", Discard("properties_not_object", "properties must be an object")),
    "page": ("properties", Discard("properties_not_object", "properties must be an object")),
    "screen": ("properties", Discard("properties_not_object", "properties must be an object")),
    "identify": ("traits", Discard("traits_not_object", "traits must be an object")),
    "group": ("traits", Discard("traits_not_object", "traits must be an object")),
}
_CAPPED: Final = ("properties", "traits")
_NULL: Final = Raw(b"null")
_EMPTY: Final = Raw(b"{}")
_EMPTY_STRING: Final = Raw(b'""')
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_BRACE: Final = 0x7B

_decode_string: Final = msgspec.json.Decoder(str).decode


class _Context(Struct):
    """What rules look at in `context`."""

    library: Raw | UnsetType = UNSET
    traits: Raw | UnsetType = UNSET


_look_into_context: Final = msgspec.json.Decoder(_Context).decode


class Turned(Exception):
    """The event is turned away."""

    def __init__(self, discard: Discard) -> None:
        super().__init__(discard.code)
        self.discard = discard


_TYPE_MISSING: Final = Discard("type_missing", "the event has no type, and none can be told from its fields")
_TOO_LONG: Final = Discard("message_id_too_long", f"messageId has more than {MAX_MESSAGE_ID} characters")
_NO_ID: Final = Discard("no_user_anon_id", "the event has neither userId nor anonymousId")
_NO_EVENT: Final = Discard("event_not_defined", "a track call needs an event name")
_EVENT_TYPE: Final = Discard("event_not_string", "the event name must be a string")


class Spec(Plugin):
    """Normalises events and turns away what is no event; belongs first in the chain."""

    def __init__(self, config: Any, env: PluginEnv) -> None:
        super().__init__(config, env)
        self._times = Times()
        self._verdict: Discard | None = None

    @hookimpl
    def cdpd_enrich(self, event: Event) -> None:
        fields = event.raw_fields()
        try:
            self._verdict = None
            self._normalise(event, fields)
        except Turned as turned:
            self._verdict = turned.discard
        else:
            event.put_raw_fields(fields)

    @hookimpl
    def cdpd_filter(self) -> Discard | None:
        # Called right after cdpd_enrich of the same event: that is the contract.
        return self._verdict

    def _normalise(self, event: Event, fields: dict[str, Raw]) -> None:
        received = event.received
        assert received is not None  # in the pipeline every event has it
        kind = _type(received.via.path, fields)
        if not LEGACY.isdisjoint(fields):
            replace_legacy(kind, fields)
        if len(received.message_id) > MAX_MESSAGE_ID:
            raise Turned(_TOO_LONG)
        _check_ids(kind, fields)
        _check_shape(kind, fields)
        _check_context(event, kind, fields)
        self._set_times(event, received, fields)
        fields["version"] = VERSION
        fields.pop("writeKey", None)
        _cap(event, fields)

    def _set_times(self, event: Event, received: Received, fields: dict[str, Raw]) -> None:
        times = self._times
        at = received.at_ms
        at_text = times.write_again(at)
        given, given_text, wrong = times.read(fields.get("timestamp"))
        if wrong:
            _invalid_time(event, "timestamp")
        original, original_text = given, given_text
        if "originalTimestamp" in fields:
            own, own_text, wrong = times.read(fields["originalTimestamp"])
            if wrong:
                _invalid_time(event, "originalTimestamp")
            if own is not None:
                original, original_text = own, own_text
            else:
                given = None
        else:
            given = None  # `timestamp` alone is the client's own time, to be corrected
        sent, sent_text, wrong = times.read(fields.get("sentAt"))
        if wrong:
            _invalid_time(event, "sentAt")
            del fields["sentAt"]
        if sent is None and received.sent_at is not None:
            sent, wrong = times.read_plain(received.sent_at)
            if wrong:
                _invalid_time(event, "sentAt")
        if sent is not None:
            fields["sentAt"] = sent_text or times.write_again(sent)
        if original is None:
            fields["originalTimestamp"] = fields["timestamp"] = at_text
        else:
            fields["originalTimestamp"] = original_text or times.write(original)
            if given is not None:  # rudder's form: both were sent, so the user set `timestamp` on purpose
                fields["timestamp"] = given_text or times.write(given)
            elif sent is None:
                fields["timestamp"] = fields["originalTimestamp"]
            else:
                try:
                    fields["timestamp"] = times.write(at - (sent - original))
                except OverflowError:  # no calendar has such a time
                    _invalid_time(event, "sentAt")
                    fields["timestamp"] = fields["originalTimestamp"]
        fields["receivedAt"] = at_text


def _type(path: str, fields: dict[str, Raw]) -> str:
    """The event's type, set in its fields."""
    kind = _TYPE_OF_PATH.get(path)
    if kind is not None:
        fields["type"] = _RAW_TYPES[kind]
        return kind
    raw = fields.get("type", _NULL)
    kind = _TYPE_OF_RAW.get(bytes(raw))
    if kind is not None:
        return kind
    if raw == _NULL and "action" in fields:
        raw = fields.pop("action")
    if raw != _NULL:
        value = decode_value(raw)
        if not isinstance(value, str):
            raise Turned(Discard("unknown_type", "type must be a string"))
        name = value.strip().lower()
        if name:
            if name not in _RAW_TYPES:
                raise Turned(Discard("unknown_type", f"{value[:100]!r} is none of {', '.join(TYPES)}"))
            fields["type"] = _RAW_TYPES[name]
            return name
    telling = [key for key in _TYPE_OF_KEY if fields.get(key, _NULL) != _NULL]
    if len(telling) != 1:
        raise Turned(_TYPE_MISSING)
    kind = _TYPE_OF_KEY[telling[0]]
    fields["type"] = _RAW_TYPES[kind]
    return kind


def _check_ids(kind: str, fields: dict[str, Raw]) -> None:
    user = _id("userId", fields) if "userId" in fields else False
    anonymous = _id("anonymousId", fields) if "anonymousId" in fields else False
    group = _id("groupId", fields) if "groupId" in fields else False
    previous = _id("previousId", fields) if "previousId" in fields else False
    if not user and not anonymous:
        user, anonymous = _ids_in_traits(fields)
    if kind == "group" and not group:
        raise Turned(Discard("id_required", "a group call needs a groupId"))
    if kind == "alias" and not (user and previous):
        missing = "userId" if previous else "previousId"
        raise Turned(Discard("id_required", f"an alias call needs a {missing}"))


def _ids_in_traits(fields: dict[str, Raw]) -> tuple[bool, bool]:
    """The ids of an event that has them in `context.traits` alone, as RudderStack's older SDKs do, put in place."""
    traits = _fields(_fields(fields.get("context")).get("traits"))
    found = {key for key in ("userId", "anonymousId") if key in traits and _id(key, traits)}
    if not found:
        raise Turned(_NO_ID)
    for key in found:
        fields[key] = traits[key]
    return "userId" in found, "anonymousId" in found


def _id(key: str, fields: dict[str, Raw]) -> bool:
    """Whether an id is there; a number becomes a string."""
    text = bytes(fields[key])
    if text[0] == _QUOTE:
        # Nearly every id begins with an ordinary character; else it has to be looked at.
        return (len(text) > 2 and 0x20 < text[1] < 0x80 and text[1] != _BACKSLASH) or not blank(text)
    if text == b"null":
        return False
    try:
        fields[key] = number_id(text)
    except NotAnId:
        raise Turned(Discard("id_not_string", f"{key} must be a string")) from None
    return True


def _check_shape(kind: str, fields: dict[str, Raw]) -> None:
    if kind == "track":
        raw = fields.get("event", _NULL)
        if raw in (_NULL, _EMPTY_STRING):
            raise Turned(_NO_EVENT)
        if bytes(raw)[0] != _QUOTE:
            raise Turned(_EVENT_TYPE)
    elif kind in ("page", "screen"):
        for key in ("name", "category"):
            raw = fields.get(key, _NULL)
            if raw != _NULL and (raw == _EMPTY_STRING or bytes(raw)[0] != _QUOTE):
                raise Turned(Discard(f"{key}_not_string", f"{key} must be a string that is not empty"))
    rule = _SECTION.get(kind)
    if rule is not None and rule[0] in fields:
        raw = fields[rule[0]]
        if bytes(raw)[0] != _BRACE and raw != _NULL:
            raise Turned(rule[1])


def _check_context(event: Event, kind: str, fields: dict[str, Raw]) -> None:
    raw = fields.get("context")
    if raw is not None:
        text = bytes(raw)
        if text[0] == _BRACE:
            seen = _look_into_context(raw)
            if seen.library is not UNSET and bytes(seen.library)[0] == _QUOTE:
                inner = _fields(raw)
                inner["library"] = Raw(b'{"name":%b}' % bytes(seen.library))
                fields["context"] = Raw(msgspec.json.encode(inner))
            if (
                kind == "identify"
                and seen.traits is not UNSET
                and fields.get("traits", _NULL) == _NULL
                and bytes(seen.traits)[0] == _BRACE
            ):
                fields["traits"] = seen.traits
        elif text != b"null":
            fields["context"] = _EMPTY
            message = "context must be an object; it was replaced by an empty one"
            event.violations.append(Violation("spec", "context_not_object", message, "context"))
    if kind == "track" and _is_consent(fields["event"]):
        _check_consent(fields.get("context"))


def _is_consent(event: Raw) -> bool:
    return event == _CONSENT_RAW or (b"\\" in bytes(event) and _decode_string(event) == CONSENT_EVENT)


def _check_consent(context: Raw | None) -> None:
    """The consent event's own checks (privacy.md §7); other events are not checked."""
    outer = _fields(context)
    consent = _fields(outer.get("consent"))
    preferences = consent.get("categoryPreferences", _NULL)
    if preferences == _NULL:
        message = "context.consent.categoryPreferences object is required"
        raise Turned(Discard("consent_categorypreferences_should_exist", message))
    if bytes(preferences)[0] != _BRACE:
        message = "context.consent.categoryPreferences must be an object"
        raise Turned(Discard("consent_categorypreferences_fields_should_be_object", message))
    for key, value in _fields(preferences).items():
        if bytes(value) not in (b"true", b"false"):
            message = f"context.consent.categoryPreferences[{key[:100]!r}] must be true or false"
            raise Turned(Discard("consent_categorypreferences_fields_should_be_bool", message))
    version = consent.get("version", _NULL)
    if version != _NULL and bytes(version)[0] not in b"-0123456789":
        message = "context.consent.version must be a number"
        raise Turned(Discard("consent_version_should_be_number", message))
    advertising = _fields(outer.get("device")).get("advertisingId", _NULL)
    if advertising != _NULL and bytes(advertising)[0] != _QUOTE:
        message = "context.device.advertisingId must be a string"
        raise Turned(Discard("device_advertisingid_should_be_string", message))


_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode


def _fields(raw: Raw | None) -> dict[str, Raw]:
    """An object's fields; none for anything else."""
    return _decode_fields(raw) if raw is not None and bytes(raw)[0] == _BRACE else {}


def _invalid_time(event: Event, path: str) -> None:
    event.violations.append(Violation("spec", "timestamp_invalid", f"{path} is no time", path))


def _cap(event: Event, fields: dict[str, Raw]) -> None:
    size = 0
    for key in _CAPPED:
        if key in fields:
            size += len(memoryview(fields[key]))
    if size <= LEAST_BYTES:
        return
    room = MOST
    for key in _CAPPED:
        raw = fields.get(key)
        if raw is None:
            continue
        shorter, used = capped(raw, room)
        room -= used
        if shorter is not raw:
            fields[key] = shorter
            message = f"more than {MOST} values; the rest was dropped"
            event.violations.append(Violation("spec", "properties_capped", message, key))
