"""What the streams of one data folder say of each other: `events` names positions in `received` and `discarded`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdpd.event import Position
from cdpd.log.errors import InvalidCursor
from cdpd.log.files import Files
from cdpd.log.frame import BadFrame, Cursor
from cdpd.log.lineage import check_position, known_lineage
from cdpd.log.mark import Mark, read_mark
from cdpd.log.segment import Place, segment_bases, segment_path, walk
from cdpd.log.verify import Finding


def newest_cursor(files: Files, folder: Path, mark: Mark) -> tuple[Path, Place, Cursor] | None:
    """The newest cursor up to a mark, and the frame that carries it, damage passed over; None where there is none.

    Raises NewerFormat, OSError.
    """
    for base in reversed([base for base in segment_bases(files, folder) if base <= mark.segment]):
        path = segment_path(folder, base)
        try:
            file = files.open(path)
        except FileNotFoundError:
            continue  # removed by retention meanwhile
        found = None
        try:
            limit = min(mark.size, file.size()) if base == mark.segment else file.size()
            for place in walk(file, limit, path):
                if place.header.end > mark.end:
                    break
                if place.header.cursor is not None:
                    found = path, place, place.header.cursor
        except BadFrame:
            pass  # verify names it
        finally:
            file.close()
        if found is not None:
            return found
    return None


def disagreements(files: Files, events: Path, received: Path, discarded: Path) -> Iterator[Finding]:
    """Where `events` names what the other two do not have. The folders may be in use. Raises NewerFormat, OSError."""
    mark = read_mark(files, events)  # first: what it names was durable, and published, before it
    newest = None if mark is None else newest_cursor(files, events, mark)
    if newest is None:
        return
    path, place, cursor = newest
    reason = _beyond(files, received, cursor.received)
    if reason is not None:
        text = f"the pipeline's position in `received` is not of that stream: {reason}"
        yield Finding(path, text, place.at, place.after, place.header.base)
    if _end_with_unpublished(files, discarded) < cursor.discarded:
        text = f"it says that `discarded` reached offset {cursor.discarded}, which does not go so far"
        yield Finding(path, text, place.at, place.after, place.header.base)


def _beyond(files: Files, folder: Path, position: Position) -> str | None:
    mark = read_mark(files, folder)
    if mark is None:
        return None  # that is told of `received` itself
    bases = [base for base in segment_bases(files, folder) if base <= mark.segment]
    try:
        check_position(position, known_lineage(files, folder, bases), mark, folder)
    except InvalidCursor as error:
        return str(error)
    return None


def _end_with_unpublished(files: Files, folder: Path) -> int:
    """The end of the bytes: `discarded` is published a moment after `events` names it."""
    mark = read_mark(files, folder)
    end = 0 if mark is None else mark.end
    for base in reversed(segment_bases(files, folder)):
        path = segment_path(folder, base)
        try:
            file = files.open(path)
        except FileNotFoundError:
            continue
        try:
            for place in walk(file, file.size(), path):
                end = max(end, place.header.end)
        except BadFrame:
            pass
        finally:
            file.close()
        return end
    return end
