"""Sealed segments are recompressed in the background: slowly, with a thread of low priority, one at a time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import anyio
import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.log.files import Files, OsFiles
from cdpd.log.frame import BadFrame
from cdpd.log.recompress import Recompression, recompressed
from cdpd.log.segment import segment_bases
from cdpd.log.stream import Stream
from cdpd.log.thread import OneThread

EVERY: Final = 60.0
"""Seconds between two looks for sealed segments."""
BUDGET: Final = 32 << 20
"""Bytes read and written a second, at most."""
_NICENESS: Final = 10
"""Behind everything else; not the last of all, as it sometimes holds what the loop waits for (the GIL)."""


class _Sum(Struct):
    segments: int = 0
    before: int = 0
    after: int = 0


class Recompressor:
    """Recompresses whatever is sealed, while `wanted()`; `room()` says whether the disk has room for a second copy."""

    def __init__(
        self,
        streams: Sequence[Stream],
        *,
        wanted: Callable[[], bool],
        room: Callable[[], bool],
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        files: Files | None = None,
    ) -> None:
        self._streams = streams
        self._wanted = wanted
        self._room = room
        self._clock = clock
        self._log = log
        self._files = files or OsFiles()
        self._done: dict[str, set[int]] = {stream.name: set() for stream in streams}
        """Bases of segments that need no look any more."""
        self._thread = OneThread("cdpd-recompress")

    async def run(self) -> None:
        """Round after round until cancelled. What fails is told, and tried again with the next."""
        try:
            await self._thread.run(_step_back)
            while True:
                for stream in self._streams:
                    try:
                        await self._round(stream)
                    except OSError as error:
                        self._log.error(
                            "a segment could not be recompressed", stream=stream.name, error=str(error)
                        )
                await self._clock.sleep(EVERY)
        finally:
            self._thread.close()

    async def _round(self, stream: Stream) -> None:
        done, total = self._done[stream.name], _Sum()
        bases = await self._thread.run(segment_bases, self._files, stream.folder)
        done &= set(bases)
        try:
            for base, end in pairwise(bases):
                if base in done or end > stream.live_segment or not self._wanted() or not self._room():
                    continue
                if await self._thread.run(recompressed, self._files, stream.folder, base, end) is False:
                    await self._recompress(stream, base, end, total)
                done.add(base)
        finally:
            if total.segments:
                self._log.info(
                    "sealed segments recompressed",
                    stream=stream.name,
                    segments=total.segments,
                    bytes_before=total.before,
                    bytes_after=total.after,
                )

    async def _recompress(self, stream: Stream, base: int, end: int, total: _Sum) -> None:
        """One segment. Raises OSError."""
        try:
            job = await self._thread.run(Recompression, self._files, stream.folder, base, end)
        except FileNotFoundError:
            return  # retention was faster
        try:
            while size := await self._thread.run(job.step):
                await self._clock.sleep(size / BUDGET)
            if await stream.exclusively(job.swap):
                await self._thread.run(job.finish)
                total.segments, total.before, total.after = (
                    total.segments + 1,
                    total.before + job.before,
                    total.after + job.after,
                )
        except BadFrame as error:
            self._log.error(
                "a segment is damaged and stays as it is; see `cdpd log verify`",
                stream=stream.name,
                segment=base,
                reason=str(error),
            )
        finally:
            with anyio.CancelScope(shield=True):
                await self._thread.run(job.close)


def _step_back() -> None:
    """Lower the priority of this thread (on Linux each has its own; elsewhere it is the process's)."""
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        except OSError:
            pass  # a sandbox forbids it (our unit does not): then the budget alone holds it back
