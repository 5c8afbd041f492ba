"""From lines of the three streams that have one id to receipts: which line of `events` came of which of `received`."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from cdpd.lines import Line, look_into
from cdpd.log.single import SingleLine
from cdpd.pipeline.discarded import DiscardedLine, decode_discarded
from cdpd.section import decode_value
from cdpd.timestamp import parse_time
from cdpd.trace.story import Archived, Discarded, Receipt


class _Via(Struct, rename="camel"):
    path: object = ""
    ip: object = ""
    user_agent: object = ""
    origin: object = ""
    retry: object = 0


class _Received(Struct, rename="camel"):
    received_at: object = ""
    source: object = ""
    via: object = None
    sent_at: Raw = Raw(b"null")
    retry_of: object = None
    reject: object = None
    event: Raw = Raw()


class _Library(Struct):
    name: object = ""
    version: object = ""


class _Context(Struct):
    library: object = None


class _Event(Struct, rename="camel"):
    context: object = None
    received_at: object = ""
    project_id: object = ""


_decode_received: Final = msgspec.json.Decoder(_Received).decode
_decode_event: Final = msgspec.json.Decoder(_Event).decode


def configuration_text(config_id: int) -> str:
    """A configuration's id as `cdpd status --json` has it."""
    return f"{config_id:016x}"


def receipts_of(
    received: list[SingleLine], events: list[SingleLine], discarded: list[SingleLine], pipeline_at: int
) -> list[tuple[Receipt, bytes | None]]:
    """Each receipt with its line of `received`, where that is known.

    pipeline_at: how far the pipeline has come in `received`.
    """
    found: dict[int, tuple[Receipt, bytes | None]] = {}
    for line in received:
        receipt = received_receipt(line.text)
        receipt.offset, receipt.log_ms = line.position.offset, line.log_ms
        receipt.configuration = configuration_text(line.config_id)
        if line.position.offset >= pipeline_at:
            receipt.fate, receipt.behind = "waiting", line.position.offset - pipeline_at
        found[line.position.offset] = receipt, line.text
    for line in discarded:
        turned = decode_discarded(line.text)
        if turned.received not in found:
            receipt = received_receipt(bytes(turned.line))
            receipt.offset, receipt.kept = turned.received, False
            found[turned.received] = receipt, bytes(turned.line)
        receipt = found[turned.received][0]
        receipt.fate, receipt.behind, receipt.discarded = "discarded", None, _discarded(line, turned)
    loose: list[tuple[Receipt, bytes | None]] = []
    for line in events:
        entry = None if line.origin is None else found.get(line.origin)
        if entry is None:
            entry = archived_receipt(line), None
            if line.origin is None:
                loose.append(entry)
            else:
                found[line.origin] = entry
        entry[0].fate, entry[0].behind, entry[0].archived = "archived", None, _archived(line)
    return loose + [found[offset] for offset in sorted(found)]


def _archived(line: SingleLine) -> Archived:
    return Archived(line.position.offset, configuration_text(line.config_id), Raw(line.text))


def _discarded(line: SingleLine, turned: DiscardedLine) -> Discarded:
    at_ms = parse_time(turned.at) or line.log_ms
    return Discarded(line.position.offset, at_ms, turned.by, turned.code, turned.message, turned.traceback)


def received_receipt(text: bytes) -> Receipt:
    """What a line of `received` says."""
    try:
        line = _decode_received(text)
    except msgspec.DecodeError:
        return Receipt("no trace", "")
    via = _as(line.via, _Via) or _Via()
    looked = _look_into("received", text)
    event = _decoded(line.event)
    return Receipt(
        "no trace",
        _text(line.source),
        at_ms=parse_time(line.received_at),
        path=_text(via.path),
        ip=_text(via.ip),
        origin=_text(via.origin),
        user_agent=_text(via.user_agent),
        retry=via.retry if isinstance(via.retry, int) else 0,
        retry_of=line.retry_of if isinstance(line.retry_of, int) else None,
        sent_at=_text(decode_value(line.sent_at)),
        sdk=_sdk(event),
        reject=_text(line.reject),
        type=looked.type,
        name=looked.name,
        who=looked.who,
        event=line.event if bytes(line.event) else None,
    )


def archived_receipt(line: SingleLine) -> Receipt:
    """Of an event whose line of `received` is gone: what its line of `events` says."""
    event, looked = _decoded(Raw(line.text)), _look_into("events", line.text)
    return Receipt(
        "archived",
        looked.source,
        offset=line.origin,
        kept=False,
        at_ms=parse_time(event.received_at),
        log_ms=line.log_ms,
        sdk=_sdk(event),
        type=looked.type,
        name=looked.name,
        who=looked.who,
    )


def _look_into(stream: str, text: bytes) -> Line:
    try:
        return look_into(stream, text)
    except (msgspec.DecodeError, RecursionError):  # a client's own keys may be called like ours
        return Line("", "", "", "", "", "", "")


def _decoded(raw: Raw) -> _Event:
    try:
        return _decode_event(raw)
    except msgspec.DecodeError:
        return _Event()


def _sdk(event: _Event) -> str:
    context = _as(event.context, _Context)
    library = None if context is None else _as(context.library, _Library)
    return "" if library is None else f"{_text(library.name)} {_text(library.version)}".strip()


def _as(value: object, kind: type[Any]) -> Any:
    """Clients write what they like: what is no such object counts as absent."""
    return msgspec.convert(value, kind) if isinstance(value, dict) else None


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)
