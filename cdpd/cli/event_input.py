"""Events for `cdpd send`: from NDJSON, a JSON array or options; a bad line costs only itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import msgspec
from msgspec import Struct

from cdpd.cli.exits import USAGE, CommandError
from cdpd.config.problem import did_you_mean
from cdpd.event import TYPES
from cdpd.timestamp import parse_time

_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_KINDS: Final = {"[": "a list", '"': "a string", "n": "null", "t": "true", "f": "false"}


class BadInput(Struct, frozen=True):
    """A line, or an element of the array, that is no event."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class Ready(Struct, frozen=True):
    """An event as it goes out, with the bytes of input behind it."""

    text: bytes
    read: int


def read_events(file: BinaryIO, name: str) -> Iterator[Ready | BadInput]:
    """The events of a file of NDJSON, or of one JSON array (told apart by the first character)."""
    started = False
    for number, line in enumerate(file, 1):
        text = line.strip()
        if not text:
            continue
        if not started and text.startswith(b"["):
            yield from _array(line + file.read(), name, number)
            return
        started = True
        yield _ready(text, f"{name}:{number}", len(line))


def _array(content: bytes, name: str, number: int) -> Iterator[Ready | BadInput]:
    try:
        elements = msgspec.json.decode(content, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        yield BadInput(f"{name}:{number}", f"starts like a JSON array and is none: {error}")
        return
    for i, element in enumerate(elements, 1):
        yield _ready(bytes(element), f"{name}: element {i}", len(element))


def _ready(text: bytes, place: str, read: int) -> Ready | BadInput:
    try:
        fields = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError):
            kind = _KINDS.get(text[:1].decode(errors="replace"), "a number")
            return BadInput(place, f"expected an event, an object like {{…}}, found {kind}")
        return BadInput(place, f"not JSON: {error}")
    problem = type_problem(fields)
    if problem:
        return BadInput(place, problem)
    if not _has_id(fields.get("messageId")):
        # Made here, so that a batch that is sent twice after a lost answer is stored once.
        fields["messageId"] = msgspec.Raw(msgspec.json.encode(f"cdpd-send-{secrets.token_hex(16)}"))
    return Ready(msgspec.json.encode(fields), read)


def type_problem(fields: dict[str, msgspec.Raw]) -> str:
    """What is wrong with an event's type; "" where it is one of the six calls."""
    raw = fields.get("type")
    kind = msgspec.json.decode(raw) if raw is not None else None
    if kind in TYPES:
        return ""
    calls = ", ".join(TYPES)
    if not isinstance(kind, str) or not kind:
        return f'has no "type": one of {calls}'
    return f'"type" is "{kind}"; {did_you_mean(kind, TYPES) or f"one of {calls}"}'


def _has_id(raw: msgspec.Raw | None) -> bool:
    return raw is not None and bytes(raw).strip() not in (b"", b"null", b'""')


def event_of_options(
    kind: str,
    texts: dict[str, str | None],
    pairs: dict[str, Sequence[str]],
) -> Iterable[Ready]:
    """The event that options describe: `texts` are its strings, `pairs` its sections as KEY=VALUE. CommandError."""
    fields: dict[str, Any] = {"type": kind, **{key: text for key, text in texts.items() if text is not None}}
    if kind not in TYPES:
        hint = did_you_mean(kind, TYPES) or f"one of {', '.join(TYPES)}"
        raise CommandError(f"--type {kind!r} is no call; {hint}", USAGE)
    if kind == "track" and not fields.get("event"):
        raise CommandError("a track event needs its name: --event 'Signed Up'", USAGE)
    if kind == "group" and not fields.get("groupId"):
        raise CommandError("a group event needs its group: --group ID", USAGE)
    if kind == "alias" and not (fields.get("userId") and fields.get("previousId")):
        raise CommandError("an alias event needs both ids: --user NEW --previous OLD", USAGE)
    when = fields.get("timestamp")
    if when is not None and parse_time(when) is None:
        raise CommandError(f"--timestamp {when!r} is no time: write 2026-01-31T12:00:00Z", USAGE)
    if not (fields.get("userId") or fields.get("anonymousId")):
        raise CommandError("say whose event it is: --user ID, or --anonymous ID", USAGE)
    for section, given in pairs.items():
        if given:
            fields[section] = dict(_pair(text) for text in given)
    fields.setdefault("messageId", f"cdpd-send-{secrets.token_hex(16)}")
    return [Ready(msgspec.json.encode(fields), 0)]


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CommandError(f"{text!r}: write KEY=VALUE, like plan=pro", USAGE)
    try:
        return key, msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return key, value
