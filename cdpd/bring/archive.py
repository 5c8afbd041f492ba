"""A line of Segment's, RudderStack's or another cdpd's archive → its events, with the times that they had there.

Segment writes one whole event a line. RudderStack's destinations do too; its archiver puts each event into
`payload` (older backups: `event_payload`, with all events of a request in `batch`). Source of the rules of time:
wire.md §9. An event that has `timestamp` and `originalTimestamp` keeps both through the `spec` hook, so that is how
each one goes: where only the client's time is there (RudderStack's raw events), `timestamp` is corrected as
RudderStack would have, by the archive's own receivedAt; nothing is corrected twice.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from cdpd.bring.batch import Item, Known
from cdpd.bring.event import BadLine, Brought, Fields, Treatment, made_id, own_id, set_integrations
from cdpd.ingest.mend import mend
from cdpd.section import decode_value
from cdpd.timestamp import format_time, parse_time

Form = Literal["auto", "segment", "rudder"]

_WRAPPED: Final = ("payload", "event_payload", "EventPayload")
_ADDRESS: Final = ("request_ip", "requestIP")
_NULL: Final = Raw(b"null")
_decode: Final = msgspec.json.Decoder(Fields).decode
_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_string: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


class _Outer(Struct, frozen=True):
    """What a line says of the events in it."""

    received_at: Raw | None = None
    sent_at: Raw | None = None
    ip: Raw | None = None


def events_of(line: bytes, form: Form, treatment: Treatment) -> Iterator[Brought | BadLine]:
    """The events of a line.

    What is no object, or nested too deep, goes as it is: the daemon turns it away, and `cdpd discarded` shows it.
    """
    text = line.strip()
    if b"\\u" in text or b"\0" in text:
        text, _ = mend(text)
    try:
        text.decode()
        fields = _decode(text)
    except UnicodeDecodeError as error:
        yield BadLine(f"not UTF-8 (byte {error.start} of the line)")
    except (msgspec.ValidationError, RecursionError):
        yield Brought(Item(text), timed=False)
    except msgspec.DecodeError as error:
        mended, counts = mend(text)
        if counts:  # NaN and its like
            yield from events_of(mended, form, treatment)
        else:
            yield BadLine(f"not JSON: {str(error).removeprefix('JSON is malformed: ')}")
    else:
        try:
            for inner, outer in _unwrapped(fields, form):
                yield _brought(inner, outer, treatment)
        except msgspec.DecodeError as error:
            yield BadLine(f"an event wrapped in another form than RudderStack's: {error}")


def _unwrapped(fields: Fields, form: Form) -> Iterator[tuple[Fields, _Outer]]:
    """The events that a line holds. Raises msgspec.DecodeError."""
    if form == "segment" or "type" in fields:
        yield fields, _Outer()
        return
    outer = _Outer(
        fields.get("receivedAt") or fields.get("createdAt"),
        fields.get("sentAt"),
        fields.get("request_ip") or fields.get("requestIP"),
    )
    for key in _WRAPPED:
        if bytes(fields.get(key, b""))[:1] == b"{":
            inner = _decode(fields[key])
            outer = _Outer(
                inner.get("receivedAt") or outer.received_at,
                inner.get("sentAt") or outer.sent_at,
                inner.get("request_ip") or inner.get("requestIP") or outer.ip,
            )
            fields = inner
            break
    if "type" not in fields and bytes(fields.get("batch", b""))[:1] == b"[":
        for element in _decode_list(fields["batch"]):
            yield _decode(element), outer
    else:
        yield fields, outer


def _brought(fields: Fields, outer: _Outer, treatment: Treatment) -> Brought:
    if not own_id(fields.get("messageId")):
        fields["messageId"] = made_id(treatment.source, _encode(fields))
    addresses = [fields.pop(key, None) for key in _ADDRESS]
    received_raw = fields.get("receivedAt")
    received = _time(received_raw)
    if received is None:
        received = _time(outer.received_at)
    happened = _settle_times(fields, received, outer)
    set_integrations(fields, treatment.deliver)
    known = Known(
        None if received is None or treatment.received == "now" else format_time(received),
        _address(next((raw for raw in (*addresses, outer.ip) if raw is not None), None)),
    )
    kind = _text(fields.get("type"))
    name = _text(fields.get("event" if kind == "track" else "name"))
    at = received if happened is None else happened
    return Brought(Item(_encode(fields), known), at, happened is not None, kind, name)


def _settle_times(fields: Fields, received: int | None, outer: _Outer) -> int | None:
    """Give the event both of its times, as the archive means them; when it happened, None where it does not say."""
    given, original = _time(fields.get("timestamp")), _time(fields.get("originalTimestamp"))
    if given is not None:
        if original is None:
            fields["originalTimestamp"] = fields["timestamp"]
        return given
    if original is None:
        return None
    sent = _time(fields.get("sentAt") or outer.sent_at)
    corrected = original if sent is None or received is None else received - (sent - original)
    try:
        fields["timestamp"] = Raw(_encode(format_time(corrected)))
    except OverflowError:  # no calendar has such a time
        fields["timestamp"], corrected = fields["originalTimestamp"], original
    return corrected


def _time(raw: Raw | None) -> int | None:
    if raw is None or raw == _NULL:
        return None
    return parse_time(decode_value(raw))


def _text(raw: Raw | None) -> str:
    return _decode_string(raw) if raw is not None and bytes(raw)[:1] == b'"' else ""


def _address(raw: Raw | None) -> str:
    """A client's address, "" for what is none."""
    if raw is None:
        return ""
    try:
        return str(ipaddress.ip_address(_text(raw).strip().removeprefix("[").removesuffix("]")))
    except ValueError:
        return ""
