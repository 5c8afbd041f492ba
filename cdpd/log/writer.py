"""The live end of a stream on disk: appends become frames, frames are written and synced, failures are cut back.

Synchronous, for one thread at a time; `Stream` (stream.py) runs it off the event loop. Layout: FORMAT.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from cdpd.log.append import FrameContent, Unit, lay_out
from cdpd.log.files import Files, WritableFile
from cdpd.log.frame import Codec, Cursor, Start, encode_frame
from cdpd.log.index import IndexBuilder, index_path, write_index
from cdpd.log.lineage import pruned
from cdpd.log.mark import NAME as MARK_NAME
from cdpd.log.mark import Mark
from cdpd.log.recovery import Recovered
from cdpd.log.segment import NEW_SUFFIX, Place, segment_bases, segment_path


class _Live(Struct):
    """The segment being written."""

    base: int
    path: Path
    file: WritableFile
    head: int
    opened: float
    """Monotonic seconds."""
    index: IndexBuilder


class Writer:
    """Writes one stream's folder."""

    def __init__(
        self,
        files: Files,
        folder: Path,
        recovered: Recovered,
        epoch: int,
        report: Callable[[str], None],
    ) -> None:
        self._files = files
        self._folder = folder
        self._report = report
        self._codec = Codec()
        self._live: _Live | None = None
        self._started = False
        self._lineage: list[Start] = recovered.lineage
        self.epoch = epoch
        self.synced: Mark = recovered.mark
        """What the mark would say if all that is synced was published."""
        self.cursor: Cursor | None = recovered.cursor
        """Of the newest synced frame."""
        self.begin = recovered.begin
        self.settled = True
        """False: what failed could not be cut back for certain, and may come back after a power loss."""

    def publish(self, mark: Mark) -> None:
        """Let readers go up to `mark`. Raises OSError; the mark is then as it was."""
        self._files.overwrite(self._folder / MARK_NAME, mark.encode())

    def commit(
        self, units: Sequence[Unit], now_ms: int, now: float, roll_bytes: int, roll_age: float
    ) -> dict[int, Mark]:
        """Write and sync these appends, and publish the mark up to the last that wants it.

        Returns the mark after each that was written; sets `first`, `end` and `fault` (why one was not: it cannot
        be, whatever the disk does). Raises OSError: none of them is, or will be, served.
        """
        live = self._live
        if live is not None and (self.synced.size >= roll_bytes or now - live.opened >= roll_age):
            self.seal()
        contents = lay_out(units, self.synced.end, self.epoch)
        if not contents:
            return {}
        if self._live is None:
            self.open_segment(now)
        before = self.synced, self.cursor
        try:
            after = self._write(contents, now_ms)
            public = [after[i] for i, unit in enumerate(units) if unit.publish and i in after]
            if public:
                self.publish(public[-1])
        except OSError:
            self.synced, self.cursor = before
            self.cut_back()
            raise
        return after

    def _write(self, contents: list[FrameContent], now_ms: int) -> dict[int, Mark]:
        """Write, sync and note these frames; the mark after each unit."""
        live = self._live
        assert live is not None
        mark, cursor, at = self.synced, self.cursor, self.synced.size
        pieces: list[bytes] = []
        places: list[Place] = []
        after: dict[int, Mark] = {}
        for content in contents:
            # A stream that has a cursor has it on the last frame of every append, so that the end alone tells it.
            cursor = cursor if content.continues else (content.cursor or cursor)
            header, data = content.encode(self._codec, mark.last_ms, now_ms, cursor)
            place = Place(at, header)
            at = place.after
            mark = Mark(
                mark.boot_id, self.epoch, header.end, live.base, at, place.at, header.last_ms, live.head
            )
            for i in content.units:
                after[i] = mark
            pieces.append(data)
            places.append(place)
        live.file.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        live.file.sync()
        for place in places:
            live.index.add(place)
        self.synced, self.cursor = mark, cursor
        return after

    def open_segment(self, now: float) -> None:
        """Begin a new segment at the end: durable, with its name, before anything is written to it.

        Its first frame holds no lines, but the lineage and the newest cursor, so it says what the end of the
        segment before it says; a segment without lines is replaced by it. Raises OSError.
        """
        self.seal()
        self._remove_beyond()
        synced, base = self.synced, self.synced.end
        if not self._started:
            lineage = [*pruned(self._lineage, self.begin), Start(self.epoch, base)]
        else:
            lineage = pruned(self._lineage, self.begin)
        header, data = encode_frame(
            self._codec,
            b"",
            base=base,
            count=0,
            first_ms=synced.last_ms,
            last_ms=synced.last_ms,
            epoch=self.epoch,
            config_id=0,
            cursor=self.cursor,
            lineage=lineage,
        )
        path = segment_path(self._folder, base)
        temporary = path.with_name(path.name + NEW_SUFFIX)
        file = self._files.create(temporary)
        try:
            file.write(data)
            file.sync()
            self._files.rename(temporary, path)
            self._files.sync_folder(self._folder)
        except OSError:
            file.close()
            self._discard(temporary)
            raise
        place = Place(0, header, int.from_bytes(data[header.length - 4 : header.length], "little"))
        live = _Live(base, path, file, place.head, now, IndexBuilder(base))
        live.index.add(place)
        self._live = live
        self._lineage, self._started = lineage, True
        self.settled = True
        self.synced = Mark(synced.boot_id, self.epoch, base, base, place.after, 0, synced.last_ms, place.head)

    def _discard(self, path: Path) -> None:
        try:
            self._files.remove(path)
        except OSError:
            pass  # recovery removes it, the next segment writes over it

    def seal(self) -> None:
        """Close the live segment; the next append opens another. Its index is only a convenience."""
        live, self._live = self._live, None
        if live is None:
            return
        live.file.close()
        try:
            if self.synced.end > live.base:
                write_index(self._files, self._folder, live.index.build())
        except OSError as error:
            self._report(f"{live.path.name}: no index could be written ({error}); it is made again later")

    def cut_to(self, mark: Mark) -> None:
        """Go back to `mark`, an earlier `synced`; the next append opens a new segment there.

        Raises OSError where segments beyond could not be removed: the next append does that first, then.
        """
        live, self.synced = self._live, mark
        if live is not None and live.base == mark.segment:
            self.cut_back()
        elif live is not None:
            self._live = None
            live.file.close()
        self._files.remove(index_path(self._folder, mark.segment))
        self._remove_beyond()

    def _remove_beyond(self) -> None:
        """Remove segments above the end: they would void what is written from there on."""
        end = self.synced.end
        beyond = [base for base in segment_bases(self._files, self._folder) if base > end]
        for base in beyond:
            self._files.remove(index_path(self._folder, base))
            self._files.remove(segment_path(self._folder, base))
        if beyond:
            self._files.sync_folder(self._folder)

    def cut_back(self) -> None:
        """After a failure: cut the live segment to what is synced, for good; the next append opens another."""
        live, self._live = self._live, None
        if live is None:
            return
        try:
            live.file.truncate(self.synced.size if self.synced.segment == live.base else 0)
            live.file.sync()
        except OSError as error:
            self.settled = False
            self._report(
                f"{live.path}: a failed write could not be cut back ({error}); "
                "the next segment will void it, and it is never served"
            )
        finally:
            live.file.close()
