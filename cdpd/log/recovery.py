"""Recovery: what of a stream's files counts after a crash, and cutting off what does not.

Same boot as the mark: the page cache is whole, so the mark is the truth; what is past it was never answered.
Another boot: what is whole and valid is kept. Rules: ARCHITECTURE, The log, Recovery; FORMAT.md.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from cdpd.log.files import Files
from cdpd.log.frame import BadFrame, Codec, Cursor, Start
from cdpd.log.mark import Mark, read_mark
from cdpd.log.segment import (
    NEW_SUFFIX,
    Place,
    read_lineage,
    read_lines,
    read_place,
    segment_bases,
    segment_path,
    walk,
)


class Recovered(Struct):
    """Where a stream ends, and what was found on the way there."""

    end: int = 0
    epoch: int = 0
    segment: int = 0
    bytes: int = 0
    last_frame: int = 0
    last_ms: int = 0
    begin: int = 0
    cursor: Cursor | None = None
    lineage: list[Start] = []
    reports: list[str] = []
    """For the log of the daemon: what was cut off or is damaged."""


def recover(files: Files, folder: Path, *, floor: int, target: int | None) -> Recovered:
    """Find the end of a stream, cut what lies past it, and make what is kept durable.

    `floor`: the highest offset of this stream that something durable names (cursors, headers of `events`):
    bytes below it cannot be a torn tail. `target`: for `discarded`, the end that `events` names: exactly that
    is kept. Raises OSError, NewerFormat.
    """
    for name in files.names(folder):
        if name.endswith(NEW_SUFFIX):
            files.remove(folder / name)
    mark = read_mark(files, folder)
    boot = files.boot_id()
    same_boot = mark is not None and mark.boot_id == boot and boot != bytes(16)
    if mark is not None:
        floor = max(floor, mark.end)
    if target is not None:
        floor = target
    out = Recovered(lineage=[], reports=[])
    bases = segment_bases(files, folder)
    out.begin = bases[0] if bases else 0
    if target is not None:
        stop: int | None = target
    elif same_boot and mark is not None and mark.end >= floor:
        stop = mark.end
    else:
        stop = None
    _find_end(files, folder, bases, out, stop, mark if same_boot else None, floor)
    if out.end < floor:
        out.reports.append(
            f"{folder}: offsets {out.end} to {floor} were written but cannot be read (damage); "
            f"new lines go on at {floor}, readers stop at the damage. See `cdpd log verify {folder.name}`"
        )
        # The damaged bytes stay where they are; the next segment starts behind them.
        out.end = floor
    if out.begin > out.end:
        out.begin = out.end
    if bases:
        _sync_kept(files, folder, out)
    return out


def _find_end(
    files: Files,
    folder: Path,
    bases: list[int],
    out: Recovered,
    stop: int | None,
    mark: Mark | None,
    floor: int,
) -> None:
    """Walk the last segments that count and cut what is past the end. Fills `out`."""
    while bases:
        base = bases[-1]
        path = segment_path(folder, base)
        past_stop = stop is not None and base >= stop
        # A segment that begins at the end may still hold frames without events: those count only by the mark.
        if past_stop and not (mark is not None and mark.segment == base and mark.bytes):
            files.remove(path)
            bases.pop()
            continue
        last, at, cursor, problem = _walk_segment(files, path, base, stop, mark)
        if last is None and base >= floor:
            # Not one whole frame, and nothing durable names it: a torn first write.
            files.rename(path, path.with_name(path.name + ".cut"))
            out.reports.append(f"{path.name} had no whole frame ({problem}); set aside as {path.name}.cut")
            bases.pop()
            continue
        out.lineage = read_lineage(files, folder, base) or _earlier_lineage(files, folder, bases)
        out.segment = base
        if last is None:
            out.end, out.bytes = base, 0
            return
        header = last.header
        out.end, out.epoch, out.last_ms = header.end, header.epoch, header.last_ms
        out.bytes, out.last_frame, out.cursor = at, last.at, cursor
        if problem is None or out.end >= floor:
            _cut(files, path, at, stop, problem, out)
        return


def _earlier_lineage(files: Files, folder: Path, bases: list[int]) -> list[Start]:
    for base in reversed(bases[:-1]):
        lineage = read_lineage(files, folder, base)
        if lineage is not None:
            return lineage
    return []


def _walk_segment(
    files: Files, path: Path, base: int, stop: int | None, mark: Mark | None
) -> tuple[Place | None, int, Cursor | None, str | None]:
    """The last frame that counts, the byte after it, the last cursor, and why the walk ended early (or None)."""
    file = files.open(path)
    try:
        size = file.size()
        if mark is not None and mark.segment == base and stop == mark.end:
            if not mark.bytes:
                return None, 0, None, None
            try:
                last = read_place(file, mark.last_frame, min(mark.bytes, size), path)
            except BadFrame as error:
                return None, 0, None, str(error)
            return last, mark.bytes, last.header.cursor, None
        last, at, cursor, expected = None, 0, None, base
        codec = Codec()
        try:
            for place in walk(file, size, path):
                if place.header.base != expected:
                    raise BadFrame(f"a frame for offset {place.header.base} stands where {expected} belongs")
                if stop is not None and place.header.end > stop:
                    break
                read_lines(file, place, codec)
                last, at, expected = place, place.after, place.header.end
                cursor = place.header.cursor or cursor
        except BadFrame as error:
            return last, at, cursor, str(error)
        return last, at, cursor, None
    finally:
        file.close()


def _cut(files: Files, path: Path, at: int, stop: int | None, problem: str | None, out: Recovered) -> None:
    """Cut a segment to `at` bytes; a torn tail is set aside first, what was simply never answered is not."""
    file = files.open(path)
    try:
        size = file.size()
        tail = file.read(at, size - at) if size > at else b""
    finally:
        file.close()
    if not tail:
        return
    if stop is None:
        aside = path.with_name(f"{path.name}.{at}.cut")
        kept = files.create(aside)
        try:
            kept.write(tail)
            kept.sync()
        finally:
            kept.close()
        out.reports.append(
            f"{path.name}: {len(tail)} bytes from byte {at} on are no whole frame ({problem}): "
            f"an interrupted write that was never answered; set aside as {aside.name}"
        )
    files.open_end(path, at).close()


def _sync_kept(files: Files, folder: Path, out: Recovered) -> None:
    """What is kept may still be in the page cache only: it is synced before anybody is told of it."""
    if out.bytes:
        file = files.open_end(
            segment_path(folder, out.segment), _size(files, segment_path(folder, out.segment))
        )
        try:
            file.sync()
        finally:
            file.close()
    files.sync_folder(folder)


def _size(files: Files, path: Path) -> int:
    file = files.open(path)
    try:
        return file.size()
    finally:
        file.close()
