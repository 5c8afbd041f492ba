"""Recovery: what of a stream's files counts after a crash, and cutting off what does not.

Same boot as the mark: the page cache is whole, so the mark is the truth; what is past it was never answered.
Another boot: what is whole and valid is kept. Rules: ARCHITECTURE, The log, Recovery; FORMAT.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct, field

from cdpd.log.files import Files
from cdpd.log.frame import COMPACT, CONTINUES, BadFrame, Codec, Cursor, Start
from cdpd.log.index import index_path
from cdpd.log.lineage import known_lineage
from cdpd.log.mark import Mark, read_mark
from cdpd.log.rewrite import trim
from cdpd.log.segment import (
    NEW_SUFFIX,
    Place,
    read_lines,
    read_opening,
    read_place,
    segment_bases,
    segment_path,
    walk,
)

CUT_SUFFIX: Final = ".cut"


class Recovered(Struct):
    """Where a stream ends, and what was found on the way there."""

    mark: Mark
    """The end, to be published; everything below it is durable."""
    begin: int
    cursor: Cursor | None
    lineage: list[Start]
    damaged: bool
    """The end is above what can be read: the next segment has to be opened before anybody asks for the end."""
    reports: list[str]
    """For the log of the daemon: what was cut off or is damaged."""


class _Found(Struct):
    """What counts of the last segment."""

    last: Place | None = None
    at: int = 0
    cursor: Cursor | None = None
    problem: str | None = None
    """Why the walk ended before the end of the file, where that was not by the rules."""


class _Search(Struct):
    """One recovery."""

    files: Files
    folder: Path
    mark: Mark | None
    """The mark, where it can be trusted to the byte (same boot)."""
    stop: int | None
    """Lines from this offset on do not count."""
    required: int
    """Something durable names the offsets below: bytes there cannot be a torn tail."""
    aside: bool
    """What is cut off is kept in a file beside; else it was simply never answered."""
    reports: list[str] = field(default_factory=list)


def recover(files: Files, folder: Path, *, floor: int, target: int | None) -> Recovered:
    """Find the end of a stream, cut what lies past it, and make what is kept durable.

    `floor`: the highest offset of this stream that something durable names (cursors, headers of `events`):
    bytes below it cannot be a torn tail. `target`: for `discarded`, the end that `events` names: exactly that
    is kept. Raises OSError, NewerFormat.
    """
    for name in files.names(folder):
        if name.endswith(NEW_SUFFIX):
            files.remove(folder / name)
    mark, boot = read_mark(files, folder), files.boot_id()
    published = 0 if mark is None else mark.end
    same_boot = mark is not None and mark.boot_id == boot and boot != bytes(16)
    search = _Search(files, folder, mark if same_boot else None, None, max(floor, published), aside=True)
    if target is not None:
        # Above the target nothing was ever served, unless the log or `events` is not the one it was.
        search.stop = search.required = target
        search.aside = published > target
    elif same_boot and published >= floor:
        search.stop, search.aside = published, False
    bases = segment_bases(files, folder)
    if target is not None:
        _cut_inside(search, bases, target)
    found = _last_segment(search, bases)
    opening = read_opening(files, folder, bases[-1]) if bases else None
    end = bases[-1] if bases else 0
    epoch = last_ms = last_frame = 0
    if found.last is not None:
        header = found.last.header
        end, epoch, last_ms, last_frame = header.end, header.epoch, header.last_ms, found.last.at
    damaged = end < search.required
    if bases:
        _cut(search, bases[-1], found, damaged)
    if damaged:
        search.reports.append(
            f"{folder}: offsets {end} to {search.required} were written but cannot be read (damage); "
            f"new lines go on at {search.required}, readers stop at the damage. See `cdpd log verify {folder.name}`"
        )
        # The damaged bytes stay where they are; the next segment starts behind them.
        end = search.required
    files.sync_folder(folder)
    return Recovered(
        mark=Mark(
            boot_id=boot,
            epoch=epoch,
            end=end,
            segment=bases[-1] if bases else 0,
            size=found.at,
            last_frame=last_frame,
            last_ms=last_ms,
            head=0 if opening is None else opening.head,
        ),
        begin=bases[0] if bases else end,
        cursor=found.cursor,
        lineage=known_lineage(files, folder, bases),
        damaged=damaged,
        reports=search.reports,
    )


def _cut_inside(search: _Search, bases: list[int], target: int) -> None:
    """Where the target lies inside of a frame, which only recompression makes, let that frame end there."""
    base = max((base for base in bases if base < target), default=None)
    opening = None if base is None else read_opening(search.files, search.folder, base)
    if base is None or opening is None or not opening.header.flags & COMPACT:
        return
    aside = _aside(search, f"{segment_path(search.folder, base).name}.{target}")
    try:
        if trim(search.files, search.folder, base, target, aside):
            text = f"what is behind offset {target} does not count; it is set aside, with its frame, as {aside.name}"
            search.reports.append(f"{segment_path(search.folder, base).name}: {text}")
    except BadFrame:
        pass  # damage: what follows says where


def _last_segment(search: _Search, bases: list[int]) -> _Found:
    """Find the last segment that counts, remove those after it (from `bases` too), and say what counts of it."""
    while bases:
        base = bases[-1]
        if search.stop is not None and base > search.stop:
            _put_away(search, base, "it lies past the end")
            bases.pop()
            continue
        found = _examine(search, base)
        if found.last is None and base >= search.required:
            # Not one whole frame, and nothing durable names it: a torn first write.
            search.aside = True
            _put_away(search, base, f"it has no whole frame: {found.problem}")
            bases.pop()
            # What the segment before it has from here on was void before this one was made.
            search.stop = base if search.stop is None else min(search.stop, base)
            continue
        return found
    return _Found()


def _examine(search: _Search, base: int) -> _Found:
    path, mark = segment_path(search.folder, base), search.mark
    file = search.files.open(path)
    try:
        size = file.size()
        if mark is not None and search.stop == mark.end and (mark.segment == base or mark.end == base):
            try:
                opening = read_place(file, 0, size, path)
                if mark.segment == base and mark.size and opening.head == mark.head:
                    if size >= mark.size:
                        last = read_place(file, mark.last_frame, mark.size, path)
                        return _Found(last, mark.size, last.header.cursor)
                elif mark.end == base:
                    # Just opened, perhaps in place of one without lines: its first frame says what that one said,
                    # or the segment before it; the mark has not heard of it, so nothing else in it counts.
                    return _Found(opening, opening.after, opening.header.cursor)
            except BadFrame:
                pass  # damage: the walk says where
        found, expected, codec = _Found(), base, Codec()
        try:
            for place in walk(file, size, path):
                header = place.header
                if header.base != expected:
                    raise BadFrame(f"a frame for offset {header.base} stands where {expected} belongs")
                if search.stop is not None and header.end > search.stop:
                    break
                read_lines(file, place, codec)
                expected = header.end
                if not header.flags & CONTINUES:  # all frames of an append, or none
                    found.last, found.at = place, place.after
                    found.cursor = header.cursor or found.cursor
        except BadFrame as error:
            found.problem = str(error)
        return found
    finally:
        file.close()


def _cut(search: _Search, base: int, found: _Found, damaged: bool) -> None:
    """Cut the last segment to what counts, and sync it: it may be in the page cache only."""
    files, path = search.files, segment_path(search.folder, base)
    file = files.open(path)
    try:
        size = file.size()
        tail = b"" if damaged else file.read(found.at, size - found.at)
    finally:
        file.close()
    if tail and search.aside:
        aside = _aside(search, f"{path.name}.{found.at}")
        kept = files.create(aside)
        try:
            kept.write(tail)
            kept.sync()
        finally:
            kept.close()
        search.reports.append(
            f"{path.name}: {len(tail)} bytes from byte {found.at} on do not count "
            f"({found.problem or 'they are no whole append, or past the end'}): set aside as {aside.name}"
        )
    files.remove(index_path(search.folder, base))
    writable = files.open_end(path, size - len(tail))
    try:
        writable.sync()
    finally:
        writable.close()


def _put_away(search: _Search, base: int, why: str) -> None:
    path = segment_path(search.folder, base)
    search.files.remove(index_path(search.folder, base))
    if search.aside:
        aside = _aside(search, path.name)
        search.files.rename(path, aside)
        search.reports.append(f"{path.name} does not count ({why}); set aside as {aside.name}")
    else:
        search.files.remove(path)


def _aside(search: _Search, name: str) -> Path:
    """A free name for what is cut off: nothing that was set aside earlier is lost."""
    taken = set(search.files.names(search.folder))
    number = 1
    while (free := f"{name}{f'.{number}' if number > 1 else ''}{CUT_SUFFIX}") in taken:
        number += 1
    return search.folder / free
