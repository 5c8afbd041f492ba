"""Events for commands that try something on them: NDJSON from a file or a pipe, line by line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

from msgspec import Raw, Struct

from cdpd.cli.exits import USAGE, CommandError
from cdpd.section import decode_value

_SHOWN: Final = 20
"""Complaints about single lines."""


class EventLine(Struct, frozen=True):
    """A line that is not blank."""

    place: str
    """`events.ndjson:3`"""
    text: bytes
    """As it was read, without the line break."""
    event: dict[str, Any] | None
    """None where the line is no JSON object; `problem` says why."""
    problem: str = ""


class EventLines(Struct, frozen=True):
    """An open file of them."""

    file: BinaryIO
    name: str

    @property
    def is_live(self) -> bool:
        """From a pipe: what is printed of a line should not wait for the next."""
        return self.name == "stdin"

    def __iter__(self) -> Iterator[EventLine]:
        for number, line in enumerate(self.file, 1):
            text = line.strip()
            if text:
                yield _read(text, f"{self.name}:{number}")


def _read(text: bytes, place: str) -> EventLine:
    try:
        found = decode_value(Raw(text))
    except json.JSONDecodeError as error:
        return EventLine(place, text, None, f"not JSON: {error.msg.lower()}, at character {error.pos + 1}")
    except ValueError as error:
        return EventLine(place, text, None, f"not JSON: {error}")
    except RecursionError:
        return EventLine(place, text, None, "nested too deep")
    if not isinstance(found, dict):
        return EventLine(place, text, None, "expected an event, an object like {…}")
    return EventLine(place, text, found)


@contextmanager
def open_event_lines(file: str | None) -> Iterator[EventLines]:
    """FILE, or what is piped in. CommandError where there is neither."""
    if file == "-" or (file is None and not sys.stdin.isatty()):
        yield EventLines(sys.stdin.buffer, "stdin")
        return
    if file is None:
        raise CommandError("no events: name a FILE, or pipe them in, one a line", USAGE)
    try:
        opened = open(file, "rb")  # noqa: SIM115 - closed below; an error of reading it is not one of opening it
    except OSError as error:
        raise CommandError(f"cannot read {file}: {(error.strerror or str(error)).lower()}", USAGE) from None
    with opened:
        yield EventLines(opened, file)


class Complaints:
    """Lines that something was wrong with: told on stderr, the first of them."""

    def __init__(self) -> None:
        self.count = 0

    def tell(self, text: str) -> None:
        self.count += 1
        if self.count <= _SHOWN:
            sys.stderr.write(f"cdpd: {text}\n")
        elif self.count == _SHOWN + 1:
            sys.stderr.write("cdpd: more such lines follow; they are not told one by one\n")
