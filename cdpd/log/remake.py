"""One segment made again: what is good of it as it is, in the place of damage lines that are holes.

For `repair` (repair.py). At whatever moment it is interrupted, it can be done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from cdpd.log.files import Files, ReadableFile
from cdpd.log.frame import Codec, Cursor, Header, Start, encode_frame
from cdpd.log.lineage import epoch_of, known_lineage
from cdpd.log.mark import NAME as MARK
from cdpd.log.mark import Mark
from cdpd.log.rewrite import Draft, hole_frames, trimmed
from cdpd.log.scan import Bad, scan
from cdpd.log.segment import NEW_SUFFIX, Place, read_opening, segment_path
from cdpd.log.verify import DAMAGED_SUFFIX

_DETACHED: Final = (1 << 64) - 1
"""`last_frame` of a mark whose segment is about to be replaced: neither is its size to be believed."""


class Mended(Struct, frozen=True):
    """Something that was wrong, and is not any more."""

    path: Path
    reason: str
    at: int = 0
    offset: int = 0
    end: int = 0
    """Lines [offset, end) are holes now."""
    aside: Path | None = None
    """The file that keeps the damaged bytes; None where there were none."""
    first_ms: int = 0
    last_ms: int = 0
    """The lost lines' log time lies between these; 0: not known."""
    origins: tuple[int, int] | None = None
    """Stream `events`: the lines came from these offsets of `received`, [from, to)."""
    again_from: int | None = None
    """Stream `events`: the pipeline goes over `received` again from here on, as it is lost how far it was."""


class State(Struct):
    """What the frames up to here say."""

    config_id: int = 0
    last_ms: int = 0
    cursor: Cursor | None = None

    def note(self, header: Header) -> None:
        self.config_id, self.last_ms = header.config_id, header.last_ms
        self.cursor = header.cursor or self.cursor


class Remake:
    """One segment, `bases[number]`, with lines up to `end`; `live`: the mark, where it speaks of this one."""

    def __init__(
        self,
        files: Files,
        folder: Path,
        bases: Sequence[int],
        number: int,
        end: int,
        live: Mark | None,
        state: State,
    ) -> None:
        self._files = files
        self._folder = folder
        self._base = bases[number]
        self._following = bases[number + 1] if number + 1 < len(bases) else None
        self._bases = bases
        self._path = segment_path(folder, self._base)
        self._end = end
        self._live = live
        self._state = state
        self._codec = Codec()

    def mend(self, dry_run: bool) -> Iterator[Mended]:
        try:
            file = self._files.open(self._path)
        except FileNotFoundError:
            file = None
        try:
            items = list(self._items(file))
            opened = isinstance(items[0], Place) and items[0].header.lineage is not None
            if opened and not any(isinstance(item, Bad) for item in items):
                good = [item for item in items if isinstance(item, Place)]
                for place in good:
                    self._state.note(place.header)
                yield from self._fit_mark(good, dry_run)
                return
            if not opened and isinstance(items[0], Place):
                reason = "the segment's first frame carries no lineage"
                items.insert(0, Bad(0, 0, self._base, self._base, reason))
            yield from self._describe(items, structs.replace(self._state))
            if dry_run:
                for item in items:
                    self._frames(item, items)
            else:
                self._make_again(file, items)
        finally:
            if file is not None:
                file.close()

    def _items(self, file: ReadableFile | None) -> Iterator[Place | Bad]:
        limit, live = 0 if file is None else file.size(), False
        if self._live is not None and self._live.last_frame != _DETACHED:
            limit, live = min(self._live.size, limit), True
        if file is None or not limit:
            reason = "the segment is missing" if file is None else "the file is empty"
            yield Bad(0, 0, self._base, self._end, reason)
            return
        for item in scan(file, self._path, self._base, self._end, limit, live=live):
            yield item if isinstance(item, Bad) else item.place

    # -- saying what is wrong ------------------------------------------------------------------------------

    def _describe(self, items: Sequence[Place | Bad], state: State) -> Iterator[Mended]:
        for i, item in enumerate(items):
            if isinstance(item, Place):
                state.note(item.header)
                continue
            aside = free_name(self._files, self._path, f".{item.at}") if item.after > item.at else None
            following = next((later.header for later in items[i + 1 :] if isinstance(later, Place)), None)
            header = None if item.place is None else item.place.header
            offset = item.offset + len(item.lines or ())
            first_ms, last_ms = state.last_ms, self._time_after(following)
            origins, again = None, None
            if header is not None:
                first_ms, last_ms = header.first_ms, header.last_ms
                if header.origins and item.end > offset:
                    origins = header.origins[offset - header.base], header.origins[-1] + 1
                state.note(header)
            elif item.end > item.offset:
                start = 0 if state.cursor is None else state.cursor.received.offset
                cursor = self._cursor_after(following)
                if cursor is not None:
                    origins = start, cursor.received.offset
                elif state.cursor is not None and self._live is not None:
                    again = start
            yield Mended(
                self._path, item.reason, item.at, offset, max(item.end, offset), aside, first_ms, last_ms,
                origins, again,
            )  # fmt: skip

    def _opening_after(self) -> Header | None:
        if self._following is None:
            return None
        opening = read_opening(self._files, self._folder, self._following)
        return None if opening is None else opening.header

    def _time_after(self, following: Header | None) -> int:
        after = following or self._opening_after()
        if after is not None:
            return after.first_ms
        return 0 if self._live is None else self._live.last_ms

    def _cursor_after(self, following: Header | None) -> Cursor | None:
        after = following or self._opening_after()
        return None if after is None else after.cursor

    # -- making it again -----------------------------------------------------------------------------------

    def _make_again(self, file: ReadableFile | None, items: Sequence[Place | Bad]) -> None:
        files, folder, live = self._files, self._folder, self._live
        bad = [item for item in items if isinstance(item, Bad) and item.after > item.at]
        for damage in bad:
            assert file is not None
            self._keep(file, damage)
        if bad:
            files.sync_folder(folder)  # before the segment's name means another file
        with Draft(files, folder, self._base) as draft:
            for item in items:
                for header, data in self._frames(item, items):
                    if isinstance(item, Place):
                        assert file is not None
                        data = file.read(item.at, item.after - item.at)
                    draft.add(header, data)
            draft.sync()
            if live is not None:
                # Until the mark fits again, a start walks the segment and believes nothing that the mark says of it.
                detached = structs.replace(live, head=live.head ^ 0xFFFF_FFFF, last_frame=_DETACHED)
                _put_mark(files, folder, detached)
            draft.put_in_place()
            files.sync_folder(folder)
        if live is not None and draft.last is not None:
            _put_mark(files, folder, _fitting(live, draft.head, draft.last))

    def _fit_mark(self, places: Sequence[Place], dry_run: bool) -> Iterator[Mended]:
        """Where the live segment is whole, but the mark does not fit it: a repair was interrupted, or worse."""
        if self._live is None:
            return
        mark = _fitting(self._live, places[0].head, places[-1])
        if mark != self._live:
            if not dry_run:
                _put_mark(self._files, self._folder, mark)
            yield Mended(self._folder / MARK, "it did not fit the last segment")

    def _keep(self, file: ReadableFile, bad: Bad) -> None:
        kept = self._files.create(free_name(self._files, self._path, f".{bad.at}"))
        try:
            at = bad.at
            while at < bad.after and (piece := file.read(at, min(bad.after - at, 1 << 20))):
                kept.write(piece)
                at += len(piece)
            kept.sync()
        finally:
            kept.close()

    def _frames(self, item: Place | Bad, items: Sequence[Place | Bad]) -> list[tuple[Header, bytes]]:
        """What stands in the new file for an item, headers with bytes (of a good frame: the header alone)."""
        state = self._state
        if isinstance(item, Place):
            state.note(item.header)
            return [(item.header, b"")]
        frames: list[tuple[Header, bytes]] = []
        if item is items[0]:
            frames.append(self._opening(items))
        if item.place is not None:
            header = item.place.header
            state.note(header)
            if item.lines is not None:
                frames.append(trimmed(self._codec, header, item.lines))
                return frames
            return frames + hole_frames(
                self._codec,
                item.offset,
                item.end,
                epoch=header.epoch,
                config_id=header.config_id,
                first_ms=header.first_ms,
                last_ms=header.last_ms,
                cursor=state.cursor,
                flags=header.flags,
                origins=header.origins,
            )
        for offset, end, epoch in self._epochs(item, items):
            frames += hole_frames(
                self._codec,
                offset,
                end,
                epoch=epoch,
                config_id=state.config_id,
                first_ms=state.last_ms,
                last_ms=state.last_ms,
                cursor=state.cursor,
            )
        return frames

    def _opening(self, items: Sequence[Place | Bad]) -> tuple[Header, bytes]:
        state, epoch = self._state, self._epoch(items)
        lineage = [start for start in self._lineage() if start.base <= self._base]
        if epoch not in {start.epoch for start in lineage}:
            lineage.append(Start(epoch, self._base))
        return encode_frame(
            self._codec,
            b"",
            base=self._base,
            count=0,
            first_ms=state.last_ms,
            last_ms=state.last_ms,
            epoch=epoch,
            config_id=0,
            cursor=state.cursor,
            lineage=lineage,
        )

    def _lineage(self) -> list[Start]:
        return known_lineage(self._files, self._folder, self._bases)

    def _epochs(self, bad: Bad, items: Sequence[Place | Bad]) -> Iterator[tuple[int, int, int]]:
        """Lines [offset, end) that are lost, each with the epoch that wrote them: whole segments may be missing."""
        lineage = self._lineage()
        own = Start(self._epoch(items), bad.offset)
        if own.epoch in {start.epoch for start in lineage}:
            own = Start(epoch_of(bad.offset, lineage) or own.epoch, bad.offset)
        inside = [start for start in lineage if bad.offset < start.base < bad.end]
        starts = [own, *inside]
        for start, end in zip(starts, [*(start.base for start in inside), bad.end], strict=True):
            yield start.base, end, start.epoch

    def _epoch(self, items: Sequence[Place | Bad]) -> int:
        """Of the start that wrote this segment: one start writes the whole of it."""
        for item in items:
            place = item if isinstance(item, Place) else item.place
            if place is not None:
                return place.header.epoch
        if self._live is not None:
            return self._live.epoch
        return epoch_of(self._base, self._lineage()) or 0


def _fitting(mark: Mark, head: int, last: Place) -> Mark:
    """The mark for a live segment that begins and ends so; its end stays."""
    header = last.header
    return structs.replace(
        mark,
        epoch=header.epoch,
        size=last.after,
        last_frame=last.at,
        last_ms=header.last_ms,
        head=head,
    )


def _put_mark(files: Files, folder: Path, mark: Mark) -> None:
    """Replace the mark, for once durably: a repair may be interrupted by a power loss."""
    temporary = folder / f"{MARK}{NEW_SUFFIX}"
    file = files.create(temporary)
    try:
        file.write(mark.encode())
        file.sync()
    finally:
        file.close()
    files.rename(temporary, folder / MARK)
    files.sync_folder(folder)


def free_name(files: Files, path: Path, part: str) -> Path:
    """A free name beside `path`: nothing that was set aside earlier is lost."""
    taken = set(files.names(path.parent))
    number = 1
    while (name := f"{path.name}{part}{f'.{number}' if number > 1 else ''}{DAMAGED_SUFFIX}") in taken:
        number += 1
    return path.with_name(name)
