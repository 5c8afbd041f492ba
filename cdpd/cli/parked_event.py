"""One parked event, for people and for machines."""

from __future__ import annotations

import time

import msgspec
from msgspec import Raw

from cdpd.cli.status_report import duration
from cdpd.delivery.parked import Parked
from cdpd.terminal import printable
from cdpd.timestamp import format_time


def event_text(one: Parked, line: bytes) -> str:
    """All of it, in paragraphs; ends with a line break."""
    offset = one.position.offset
    times = "once" if one.attempts == 1 else f"{one.attempts} times, last {format_time(one.tried_ms)}"
    facts = [
        ("parked", f"{one.id}, for {one.destination}"),
        ("event", f"{one.event or '?'}, from {one.source or '?'}, messageId {one.message_id or '?'}"),
        ("why", one.reason),
        ("status", "" if one.status is None else str(one.status)),
        ("when", f"{format_time(one.at_ms)}, {_ago(one.at_ms)} ago; refused {times}"),
        ("place", f"offset {offset} of events: cdpd log cat events --from {offset} --to {offset + 1}"),
    ]
    parts = ["".join(f"{name:<8}{printable(value)}\n" for name, value in facts if value)]
    for title, text in (("request", one.request), ("answer", one.answer)):
        if text:
            parts.append(f"{title}\n{_indented(text)}")
    parts.append(f"event\n{_indented(_pretty(line))}")
    return "\n".join(parts)


def event_json(one: Parked, line: bytes | None = None) -> str:
    """One JSON object on a line; with the event itself as `line`, where it is given and JSON, else as a text."""
    told: dict[str, object] = {
        "id": one.id,
        "destination": one.destination,
        "offset": one.position.offset,
        "message_id": one.message_id,
        "source": one.source,
        "event": one.event,
        "reason": one.reason,
        "status": one.status,
        "parked": format_time(one.at_ms),
        "refused": one.attempts,
        "last_refused": format_time(one.tried_ms),
        "request": one.request,
        "answer": one.answer,
    }
    if line is not None:
        told["line"] = Raw(line) if _is_json(line) else line.decode(errors="replace")
    return msgspec.json.encode(told).decode() + "\n"


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def _pretty(line: bytes) -> str:
    if _is_json(line):
        line = msgspec.json.format(line, indent=2)
    return line.decode(errors="replace")


def _indented(text: str) -> str:
    return "".join(f"  {printable(part)}".rstrip() + "\n" for part in text.splitlines())


def _ago(ms: int) -> str:
    return duration(max(time.time() - ms / 1000, 0))
