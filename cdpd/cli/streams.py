"""The stored streams, for commands that read them: opening one, and the places that people name in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from cdpd.cli.exits import USAGE, CommandError
from cdpd.config.data_folder import STREAMS, stream_folder
from cdpd.config.duration import parse_duration
from cdpd.config.problem import did_you_mean
from cdpd.event import BEGINNING, Position
from cdpd.log.folder import StreamFolder
from cdpd.log.reader import Frame
from cdpd.timestamp import format_time, parse_time

PLACE_FORMS: Final = "an offset (1234), a time (2026-01-31T12:00:00Z), an age (15m, 7d), beginning or now"
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="PLACE", help=f"Where to start: {PLACE_FORMS}.", show_default=False),
]
ToOption = Annotated[
    str | None,
    typer.Option("--to", metavar="PLACE", help="Where to stop, that place excluded.", show_default=False),
]


def open_stream(data_dir: Path, name: str) -> StreamFolder:
    """A stream by its name. Raises CommandError where there is none."""
    if name not in STREAMS:
        hint = did_you_mean(name, STREAMS) or f"one of {', '.join(STREAMS)}"
        raise CommandError(f"there is no stream {name!r}; {hint}", USAGE)
    path = stream_folder(data_dir, name)
    if not path.is_dir():
        raise CommandError(f"nothing is stored in {data_dir} yet; is it the right folder (--data-dir)?")
    return StreamFolder(path)


class Place:
    """A place that somebody named: an offset, or a moment."""

    def __init__(self, offset: int | None = None, ms: int | None = None) -> None:
        self.offset = offset
        self.ms = ms

    def position(self, folder: StreamFolder) -> Position:
        """Where a reader starts to see everything from this place on (a moment: and perhaps a bit before)."""
        if self.ms is not None:
            return folder.at_time(self.ms)
        return folder.at_offset(self.offset) if self.offset else BEGINNING

    def reached(self, offset: int, at_ms: Callable[[], int | None]) -> bool:
        """Whether a line is at or after the place; its time is only asked for where it matters."""
        if self.ms is None:
            return self.offset is None or offset >= self.offset
        at = at_ms()
        return at is None or at >= self.ms

    def passed(self, frame: Frame) -> bool:
        """Whether everything from this frame on is at or after the place: log times never go back."""
        if self.ms is not None:
            return frame.first_ms >= self.ms
        return self.offset is not None and frame.base >= self.offset


def parse_place(text: str, folder: StreamFolder, now_ms: int) -> Place:
    """The place that `text` names. Raises CommandError."""
    if text == "beginning":
        return Place(offset=0)
    if text in ("now", "end"):
        return Place(offset=folder.end().offset)
    if text.isascii() and text.isdecimal():
        return Place(offset=int(text))
    at = parse_time(text)
    if at is not None:
        return Place(ms=at)
    try:
        return Place(ms=now_ms - round(parse_duration(text) * 1000))
    except ValueError:
        raise CommandError(f"{text!r} is no place in a stream: write {PLACE_FORMS}", USAGE) from None


def told_place(text: str, now_ms: int) -> str:
    """A place as the daemon understands it: now, beginning, an offset or a time. Raises CommandError."""
    if text in ("now", "beginning") or (text.isascii() and text.isdecimal()) or parse_time(text) is not None:
        return text
    try:
        return format_time(now_ms - round(parse_duration(text) * 1000))
    except ValueError:
        raise CommandError(f"{text!r} is no place in a stream: write {PLACE_FORMS}", USAGE) from None
