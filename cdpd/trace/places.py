"""Times to offsets and back, a segment at a time, and how far the pipeline is: from indexes and headers alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from pathlib import Path

from cdpd.log.agreement import newest_cursor
from cdpd.log.files import Files
from cdpd.log.frame import BadFrame
from cdpd.log.index import load_index
from cdpd.log.mark import read_mark
from cdpd.log.segment import read_place, segment_bases, segment_path, walk


def offsets_of(files: Files, folder: Path, from_ms: int | None, to_ms: int | None) -> tuple[int, int | None]:
    """The offsets of the segments that may have lines of that time: (first, end), None: to the stream's end."""
    bases = segment_bases(files, folder)

    def begins(base: int) -> int:
        return times_of(files, folder, base)[0]

    first = 0
    if from_ms is not None and bases:
        first = bases[max(bisect_left(bases, from_ms, key=begins) - 1, 0)]
    if to_ms is None:
        return first, None
    after = bisect_right(bases, to_ms, key=begins)
    return first, bases[after] if after < len(bases) else None


def times_of(files: Files, folder: Path, base: int) -> tuple[int, int]:
    """Log times of a segment's first and last line; without an index the first one's twice, (0, 0) where it is gone."""
    index = load_index(files, folder, base)
    if index is not None:
        return index.first_ms, index.last_ms
    path = segment_path(folder, base)
    try:
        file = files.open(path)
    except FileNotFoundError:
        return 0, 0
    try:
        headers = (place.header for place in walk(file, file.size(), path))
        first_ms = next((header.first_ms for header in headers if header.count), 0)
    except BadFrame:
        first_ms = 0
    finally:
        file.close()
    return first_ms, first_ms


def pipeline_at(files: Files, events: Path) -> int:
    """How far the pipeline has come in `received`: the newest frame of `events` says it."""
    mark = read_mark(files, events)
    if mark is None or not mark.size:
        return 0
    path = segment_path(events, mark.segment)
    try:
        file = files.open(path)
    except FileNotFoundError:
        return 0
    try:
        cursor = read_place(file, mark.last_frame, mark.size, path).header.cursor
    except BadFrame:
        cursor = None
    finally:
        file.close()
    if cursor is None:  # damage, or the mark was written by a repair
        found = newest_cursor(files, events, mark)
        return 0 if found is None else found[2].received.offset
    return cursor.received.offset
