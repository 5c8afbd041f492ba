"""Segments: files of frames, named by the offset of their first line; walking over their headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.log.errors import NewerFormat
from cdpd.log.files import Files, ReadableFile
from cdpd.log.frame import (
    PREFIX,
    BadFrame,
    Codec,
    Header,
    NewerVersion,
    Start,
    decode_header,
    header_length,
)

SUFFIX: Final = ".ndjson.zst"
NEW_SUFFIX: Final = ".new"
_NAME = re.compile(r"(\d{20})\.ndjson\.zst")
# One read usually brings a whole header; frames of `events` carry origins, so theirs can be larger.
_GUESS = 512


def segment_path(folder: Path, base: int) -> Path:
    """The file of the segment whose first line has offset `base`."""
    return folder / f"{base:020d}{SUFFIX}"


def segment_bases(files: Files, folder: Path) -> list[int]:
    """Base offsets of the segments in a folder, ascending."""
    return sorted(int(match[1]) for name in files.names(folder) if (match := _NAME.fullmatch(name)))


class Place(Struct, frozen=True):
    """A frame and where it stands in its segment."""

    at: int
    header: Header
    head: int = 0
    """The header's own checksum."""

    @property
    def body_at(self) -> int:
        return self.at + self.header.length

    @property
    def after(self) -> int:
        return self.body_at + self.header.body_length


def read_place(file: ReadableFile, at: int, limit: int, path: Path) -> Place:
    """The frame header at byte `at`. Raises BadFrame where none lies wholly before `limit`."""
    data = file.read(at, min(_GUESS, limit - at))
    length = header_length(data[:PREFIX])
    if at + length > limit:
        raise BadFrame("the frame's header is cut short")
    if len(data) < length:
        data += file.read(at + len(data), length - len(data))
    try:
        place = Place(at, decode_header(data), int.from_bytes(data[length - 4 : length], "little"))
    except NewerVersion as error:
        raise NewerFormat(f"{path}: {error}; install a newer cdpd to read this log") from error
    if place.after > limit:
        raise BadFrame("the frame's body is cut short")
    return place


def read_lines(file: ReadableFile, place: Place, codec: Codec) -> list[bytes]:
    """A frame's lines, checked. Raises BadFrame."""
    return codec.expand(place.header, file.read(place.body_at, place.header.body_length))


def walk(file: ReadableFile, limit: int, path: Path, at: int = 0) -> Iterator[Place]:
    """Headers from byte `at` to `limit`, bodies skipped. Raises BadFrame at the first that is wrong."""
    while at < limit:
        place = read_place(file, at, limit, path)
        yield place
        at = place.after


def read_opening(files: Files, folder: Path, base: int) -> Place | None:
    """A segment's first frame, or None where the segment or that frame cannot be read."""
    path = segment_path(folder, base)
    try:
        file = files.open(path)
    except FileNotFoundError:
        return None
    try:
        return read_place(file, 0, file.size(), path)
    except BadFrame:
        return None
    finally:
        file.close()


def read_lineage(files: Files, folder: Path, base: int) -> list[Start] | None:
    """The lineage in a segment's first frame, or None where it cannot be read."""
    opening = read_opening(files, folder, base)
    return None if opening is None or opening.header.lineage is None else list(opening.header.lineage)
