"""What an alert says: as an event for a destination, and as the body of a webhook."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from cdpd.alerts.reading import Reading
from cdpd.alerts.words import amount, duration
from cdpd.config.alerts import AlertConfig, Condition, Unit
from cdpd.timestamp import format_time

Status = Literal["fired", "resolved", "test"]
EVENTS: Final[Mapping[Status, str]] = {
    "fired": "Alert Fired",
    "resolved": "Alert Resolved",
    "test": "Alert Test",
}
_NAMES: Final = {
    "success_rate": "success rate",
    "newly_parked": "newly parked events",
    "parked": "parked events",
    "lag": "lag",
    "failing": "state",
    "misconfigured": "state",
    "paused": "state",
    "stopped": "state",
    "volume": "volume",
    "volume_change": "change of volume",
    "discarded_share": "discarded share",
    "disk_free": "disk",
    "disk_full": "disk",
}
_HINTS: Final = {
    "success_rate": "`cdpd parked ls --destination {about}` shows why; `cdpd parked retry` sends them again",
    "newly_parked": "`cdpd parked ls --destination {about}` shows why; `cdpd parked retry` sends them again",
    "parked": "`cdpd parked ls --destination {about}` shows why; `cdpd parked retry` sends them again",
    "lag": "`cdpd status` shows whether it is held up, and by what; nothing is lost, its events wait in the archive",
    "failing": "`cdpd status` shows the problem; nothing is lost, its events wait in the archive",
    "misconfigured": "correct its options or credentials, then `cdpd reload`: it is tried again at once",
    "paused": "`cdpd status` shows why; `cdpd resume {about}` where it was by hand",
    "stopped": "`cdpd status` shows why, and what to do",
    "volume": "look at what sends to this source: `cdpd sources` shows when each write key was last used",
    "volume_change": "look at what sends to this source, and whether something was released",
    "discarded_share": "`cdpd discarded ls --source {about}` shows why each was turned away",
    "disk_free": "make room, or keep less: [log.received] keep",
    "disk_full": "make room, or keep less ([log.received] keep); until then new events are answered 503",
}


class Message(Struct, frozen=True):
    """One message, the same for every channel."""

    message_id: str
    at_ms: int
    status: Status
    properties: dict[str, Any]
    """`alert`, `kind`, `destination` or `source`, `when`, `value`, `threshold`, `since`, `text`, `hint` …"""

    @property
    def text(self) -> str:
        return str(self.properties["text"])

    def line(self) -> bytes:
        """As an event (a line as in `events`)."""
        at = format_time(self.at_ms)
        return msgspec.json.encode(
            {
                "messageId": self.message_id,
                "type": "track",
                "event": EVENTS[self.status],
                "anonymousId": "cdpd",
                "properties": self.properties,
                "context": {"library": {"name": "cdpd", "version": version("cdpd-daemon")}},
                "integrations": {},
                "timestamp": at,
                "originalTimestamp": at,
                "sentAt": at,
                "receivedAt": at,
                "projectId": "cdpd",
            }
        )

    def body(self) -> bytes:
        """As the body of a webhook: `text` for chats, the rest for programs."""
        told = {"text": self.text, "event": EVENTS[self.status], "messageId": self.message_id}
        return msgspec.json.encode({**told, "timestamp": format_time(self.at_ms), **_without_text(self)})


def _without_text(message: Message) -> dict[str, Any]:
    return {name: value for name, value in message.properties.items() if name != "text"}


class Facts(Struct, frozen=True):
    """What a message is about."""

    name: str
    """Of the alert."""
    alert: AlertConfig
    condition: Condition
    subject: str
    """Destination or source; "" for the disk."""
    host: str
    """Where the daemon runs."""


def fired(facts: Facts, reading: Reading, since_ms: int, now_ms: int) -> Message:
    """It holds since `since_ms`."""
    text = f"{_headline(facts, 'FIRING')}: {_value(facts, reading)}"
    return _message(facts, "fired", reading, text, since_ms, now_ms, since_ms)


def resolved(facts: Facts, reading: Reading, since_ms: int, now_ms: int) -> Message:
    """It is over; it held since `since_ms`."""
    lasted = duration((now_ms - since_ms) / 1000)
    text = f"{_headline(facts, 'RESOLVED')} after {lasted}: {_value(facts, reading)}"
    return _message(facts, "resolved", reading, text, since_ms, now_ms, since_ms)


def unwatched(facts: Facts, why: str, since_ms: int, now_ms: int) -> Message:
    """It fired, and is not watched any more."""
    text = f"{_headline(facts, 'RESOLVED')}: {why}"
    return _message(facts, "resolved", Reading(None, why), text, since_ms, now_ms, since_ms)


def trial(facts: Facts, now_ms: int) -> Message:
    """Whether messages of this alert arrive."""
    text = f"{_headline(facts, 'TEST')}: this is how it would tell of {facts.alert.when!r}; nothing is wrong"
    return _message(facts, "test", Reading(None, ""), text, now_ms, now_ms, now_ms)


def _headline(facts: Facts, status: str) -> str:
    about = {"destination": f" of {facts.subject}", "source": f" of {facts.subject}", "disk": ""}
    of = about[facts.condition.kind.about] if facts.subject else ""
    return f"[cdpd {facts.host}] {status} {facts.name}: {_NAMES[facts.condition.kind.name]}{of}"


def _value(facts: Facts, reading: Reading) -> str:
    condition = facts.condition
    if not condition.operator:
        return reading.text
    limit = amount(condition.limit, condition.unit)
    return f"{reading.text} (alert at {condition.operator} {limit})"


def _plain(value: float) -> float:
    """Whole numbers without a point, others with three digits after it."""
    return int(value) if value == int(value) else round(value, 3)


def _message(
    facts: Facts, status: Status, reading: Reading, text: str, since_ms: int, now_ms: int, key_ms: int
) -> Message:
    condition, alert = facts.condition, facts.alert
    kind = condition.kind
    unit: Unit | None = condition.unit if condition.operator else None
    properties: dict[str, Any] = {
        "alert": facts.name,
        "status": status,
        "kind": kind.name,
        **({kind.about: facts.subject} if facts.subject else {}),
        "when": alert.when,
        "over_seconds": alert.over_seconds or None,
        "value": None if reading.value is None else _plain(reading.value),
        "threshold": _plain(float(condition.limit)) if unit else None,
        "unit": unit,
        "since": format_time(since_ms),
        "host": facts.host,
        "text": text,
        "hint": _HINTS[kind.name].replace("{about}", facts.subject) if status == "fired" else None,
        "note": alert.note or None,
    }
    return Message(
        message_id=f"cdpd-alert-{facts.name}-{facts.subject}-{key_ms}-{status}",
        at_ms=now_ms,
        status=status,
        properties={name: value for name, value in properties.items() if value is not None},
    )
