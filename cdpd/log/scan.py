"""A segment looked at byte for byte: its frames, and past each damage on to the next frame that is one.

Readers stop at damage; this is for those who have to say, or mend, all of it (verify.py, repair.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.log.files import ReadableFile
from cdpd.log.frame import HEADER_MAGIC, SKIPPABLE_MAGIC, BadFrame, Codec
from cdpd.log.segment import Place, read_lines, read_place

_MAGIC: Final = struct.pack("<I", SKIPPABLE_MAGIC)
_CHUNK: Final = 1 << 20
_BEFORE_MAGIC: Final = 8
"""Bytes from the start of a frame to HEADER_MAGIC."""


class Good(Struct, frozen=True):
    """A frame that is as it was written, and its lines."""

    place: Place
    lines: list[bytes]


class Bad(Struct, frozen=True):
    """Bytes [at, after) that are no valid frames, in the place of lines [offset, end)."""

    at: int
    after: int
    offset: int
    end: int
    reason: str
    place: Place | None = None
    """Its header, where that can be read."""
    lines: list[bytes] | None = None
    """What can be read of its lines: where the only trouble is that it goes on past the segment's end."""


def scan(
    file: ReadableFile, path: Path, base: int, end: int | None, limit: int, *, live: bool
) -> Iterator[Good | Bad]:
    """Everything of a segment from byte 0 to `limit`, in order.

    `base`: its first offset. `end`: after its last line; None: not known. What follows that line is void and left
    out, but for a `live` segment, of which all bytes count. Lines that should be there and are not come as a `Bad`
    too. Raises NewerFormat.
    """
    codec = Codec()
    at, offset = 0, base
    while at < limit and (live or end is None or offset < end or not at):
        try:
            place = read_place(file, at, limit, path)
        except BadFrame as error:
            found = _next_frame(file, path, at + 1, limit, offset, end)
            after, reached = (
                (limit, _at_least(end, offset)) if found is None else (found.at, found.header.base)
            )
            yield Bad(at, after, offset, reached, str(error))
            at, offset = after, reached
            continue
        header = place.header
        if header.base != offset:
            reason = f"a frame for offset {header.base} stands where {offset} belongs"
            if header.base > offset and (end is None or header.base <= end):
                yield Bad(at, at, offset, header.base, reason)
                offset = header.base
            else:
                yield Bad(at, place.after, offset, offset, reason)
                at = place.after
                continue
        try:
            lines = read_lines(file, place, codec)
        except BadFrame as error:
            yield Bad(at, place.after, offset, _at_most(end, header.end), str(error), place)
        else:
            if end is not None and header.end > end:
                reason = f"frames go on past offset {end}, where the {'stream ends' if live else 'next segment begins'}"
                yield Bad(at, place.after, offset, end, reason, place, lines[: end - offset])
            else:
                yield Good(place, lines)
        at, offset = place.after, _at_most(end, header.end)
    if end is not None and offset < end:
        yield Bad(at, at, offset, end, f"the segment ends here, but should go on to offset {end}")


def _at_most(end: int | None, offset: int) -> int:
    return offset if end is None else min(end, offset)


def _at_least(end: int | None, offset: int) -> int:
    return offset if end is None else max(end, offset)


def _next_frame(
    file: ReadableFile, path: Path, at: int, limit: int, offset: int, end: int | None
) -> Place | None:
    """The first whole frame from byte `at` on that can be of this segment.

    No body looks like one: the magic number's bytes are in no JSON text, and compressed they would have to be
    followed by a header with its checksum.
    """
    while at < limit:
        chunk = file.read(at, min(_CHUNK, limit - at))
        here = chunk.find(_MAGIC)
        while here >= 0:
            start = at + here
            if file.read(start + _BEFORE_MAGIC, len(HEADER_MAGIC)) == HEADER_MAGIC:
                try:
                    place = read_place(file, start, limit, path)
                except BadFrame:
                    pass
                else:
                    if place.header.base >= offset and (end is None or place.header.end <= end):
                        return place
            here = chunk.find(_MAGIC, here + 1)
        if len(chunk) < len(_MAGIC):
            return None
        at += len(chunk) - len(_MAGIC) + 1
    return None
