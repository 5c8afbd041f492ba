"""One line by its offset, with what its frame says of it, for any process. No more than one frame is expanded."""

from __future__ import annotations

import struct
from bisect import bisect_right
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.event import Position
from cdpd.log.errors import Damage, NoLongerKept, NotRecovered
from cdpd.log.files import Files, ReadableFile
from cdpd.log.frame import HEADER_MAGIC, SKIPPABLE_MAGIC, BadFrame, Codec
from cdpd.log.index import load_index
from cdpd.log.mark import read_mark
from cdpd.log.segment import Place, read_lines, segment_bases, segment_path, walk

_CHUNK: Final = 1 << 20
_HEAD: Final = struct.Struct("<II4sBBHQII")
"""How a frame begins (FORMAT.md): two of the skippable frame, magic, version, flags, 0, base, count, body length."""
_BEFORE_HEADER: Final = 8


class SingleLine(Struct, frozen=True):
    """A line; b"" is a hole."""

    position: Position
    """A reader that starts there begins with it."""
    text: bytes
    log_ms: int
    config_id: int
    origin: int | None
    """Stream `events`: its offset in `received`, where the frame tells."""


def single_line(files: Files, folder: Path, offset: int) -> SingleLine:
    """The line at an offset. Raises NoLongerKept, NotRecovered, Damage, NewerFormat; IndexError past the end."""
    for trusting in (True, True, False):
        mark = read_mark(files, folder)
        if mark is None:
            raise NotRecovered(f"{folder} has no durable mark: start the daemon once to recover it")
        if offset >= mark.end:
            raise IndexError(f"{folder} ends at offset {mark.end}")
        bases = [base for base in segment_bases(files, folder) if base <= mark.segment]
        if not bases or offset < bases[0]:
            raise NoLongerKept(f"{folder}: the line at offset {offset} is no longer kept")
        number = bisect_right(bases, offset) - 1
        path = segment_path(folder, bases[number])
        try:
            file = files.open(path)
        except FileNotFoundError:
            continue  # retention was faster
        try:
            end = bases[number + 1] if number + 1 < len(bases) else None
            limit = min(mark.size, file.size()) if end is None else file.size()
            place = _place(files, folder, file, path, bases[number], end, limit, offset, trusting)
            return _line(file, place, offset)
        except BadFrame as error:
            if not trusting:
                raise Damage(path, 0, str(error), offset) from None
        finally:
            file.close()
    raise Damage(segment_path(folder, offset), 0, "the segment is missing", offset)


def _place(
    files: Files,
    folder: Path,
    file: ReadableFile,
    path: Path,
    base: int,
    end: int | None,
    limit: int,
    offset: int,
    trusting: bool,
) -> Place:
    """The frame that holds the line. Raises BadFrame."""
    at = 0
    if trusting:
        index = None if end is None else load_index(files, folder, base)
        if index is not None and index.end == end:
            at = index.seek(offset).at
        at = skim(file, at, limit, offset)
    for place in walk(file, limit, path, at):
        header = place.header
        if header.base > offset:
            break
        if offset < header.end:
            return place
    raise BadFrame(f"no frame has the line at offset {offset}")


def skim(file: ReadableFile, at: int, limit: int, offset: int) -> int:
    """Where the frame with that line begins, by headers that are looked at and not checked, from the one at `at` on.

    Ten times as fast as walking; a guess, so whoever uses it looks whether that frame is the one. Raises BadFrame.
    """
    chunk, start = b"", at
    while at + _HEAD.size <= limit:
        if at < start or at + _HEAD.size > start + len(chunk):
            chunk, start = file.read(at, _CHUNK), at
            if len(chunk) < _HEAD.size:
                break
        skippable, length, magic, _, _, _, base, count, body = _HEAD.unpack_from(chunk, at - start)
        if skippable != SKIPPABLE_MAGIC or magic != HEADER_MAGIC or base > offset:
            break
        if offset < base + count:
            return at
        at += _BEFORE_HEADER + length + body
    raise BadFrame(f"no frame has the line at offset {offset}")


def _line(file: ReadableFile, place: Place, offset: int) -> SingleLine:
    header = place.header
    line = offset - header.base
    text = read_lines(file, place, Codec())[line]
    log_ms, left = header.last_ms, line
    for part in header.parts or ():
        log_ms = part.last_ms
        left -= part.count
        if left < 0:
            break
    origin = None if header.origins is None else header.origins[line]
    return SingleLine(Position(offset, header.epoch), text, log_ms, header.config_id, origin)
