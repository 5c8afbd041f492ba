"""Keeps the index by messageId up to date: in the background, behind everything else, a segment at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import anyio
import structlog

from cdpd.clock import Clock
from cdpd.config.data_folder import CACHE_TAG, ids_folder
from cdpd.log.errors import Damage, InvalidCursor, LogError
from cdpd.log.files import Files, OsFiles
from cdpd.log.lineage import check_position, known_lineage
from cdpd.log.mark import read_mark
from cdpd.log.segment import segment_bases
from cdpd.log.stream import Stream
from cdpd.log.thread import OneThread
from cdpd.trace.gather import gather, merge, to_merge
from cdpd.trace.ids import CACHE_TEXT, NEW_SUFFIX, BadIds, Ids, IdsFile, ids_in

EVERY: Final = 30.0
"""Seconds between two looks for sealed segments."""
_STRETCH: Final = 0.0004
"""Seconds of work in one piece; the loop may have to wait that long for the interpreter …"""
_REST: Final = 4
"""… and so many times as long nothing is done after it."""
_NICENESS: Final = 10


class _Stopped(Exception):
    """The daemon stops."""


class Indexer:
    """Indexes what is sealed of these streams, the newest first. `rests=False`: without pauses, for tests."""

    def __init__(
        self,
        streams: Sequence[Stream],
        data_dir: Path,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        files: Files | None = None,
        *,
        rests: bool = True,
    ) -> None:
        self._streams = streams
        self._data_dir = data_dir
        self._clock = clock
        self._log = log
        self._files = files or OsFiles()
        self._thread = OneThread("cdpd-ids", _NICENESS)
        self._stop = threading.Event()
        self._rests = rests
        self._since = 0.0
        self._given_up: set[tuple[str, int]] = set()
        """(stream, base) of segments that are damaged: `cdpd log verify` tells."""

    async def run(self) -> None:
        """Round after round until cancelled. What fails is told, and tried again with the next."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._until_cancelled)
            try:
                while True:
                    for stream in self._streams:
                        await self._round(stream)
                    await self._clock.sleep(EVERY)
            finally:
                self._thread.close()

    async def _until_cancelled(self) -> None:
        """What the thread does is waited for, whatever is cancelled: it has to be told."""
        try:
            await anyio.sleep_forever()
        finally:
            self._stop.set()

    async def _round(self, stream: Stream) -> None:
        try:
            await self._thread.run(self._keep_up, stream)
        except _Stopped:
            pass
        except (OSError, LogError) as error:
            self._log.error("messageIds could not be indexed", stream=stream.name, error=str(error))

    # -- in the thread -------------------------------------------------------------------------------------

    def _keep_up(self, stream: Stream) -> None:
        """Index every sealed segment that is not, and let small files become larger ones. Raises _Stopped."""
        folder = ids_folder(self._data_dir, stream.name)
        self._make(folder)
        present = self._sorted_out(stream.folder, folder)
        bases = [base for base in segment_bases(self._files, stream.folder) if base <= stream.live_segment]
        for base, end in reversed(list(pairwise(bases))):
            self._rest()
            if (stream.name, base) in self._given_up:
                continue
            if any(ids.first <= base and end <= ids.end for ids in present):
                continue
            try:
                gather(self._files, stream.folder, folder, base, end, self._rest)
            except Damage:
                self._given_up.add((stream.name, base))
        while (parts := to_merge(self._sorted_out(stream.folder, folder))) is not None:
            merge(self._files, folder, parts, self._rest)
            for ids in parts:
                self._files.remove(ids.path)

    def _make(self, folder: Path) -> None:
        self._files.make_folder(folder)
        tag = folder.parent / CACHE_TAG
        if tag.name not in self._files.names(tag.parent):
            file = self._files.create(tag)
            file.write(CACHE_TEXT)
            file.close()
        for name in self._files.names(folder):
            if name.endswith(NEW_SUFFIX):
                self._files.remove(folder / name)

    def _sorted_out(self, stream: Path, folder: Path) -> list[Ids]:
        """The files that are to stay, in order; those that are not, go: of another log, of lines that are no longer
        kept, within what a larger one covers."""
        mark = read_mark(self._files, stream)
        bases = segment_bases(self._files, stream)
        lineage = known_lineage(self._files, stream, bases)
        kept: list[Ids] = []
        for ids in sorted(ids_in(self._files, folder), key=lambda ids: (ids.first, -ids.end)):
            fits = bool(bases) and ids.end > bases[0] and (not kept or ids.end > kept[-1].end)
            if fits and mark is not None:
                try:
                    file = IdsFile(self._files, ids)
                    file.close()
                    check_position(file.position, lineage, mark, stream)
                except (BadIds, InvalidCursor):
                    fits = False
            if fits:
                kept.append(ids)
            else:
                self._files.remove(ids.path)
        return kept

    def _rest(self) -> None:
        """Let the others by: after each stretch of work, for longer than it took. Raises _Stopped."""
        if self._stop.is_set():
            raise _Stopped
        worked = time.monotonic() - self._since
        if worked >= _STRETCH and self._rests:
            self._stop.wait(_REST * min(worked, 0.05))
            self._since = time.monotonic()
