"""The floor of free disk: below it no new events are taken, so that what is there already can be finished.

Who may use the room below the floor, in this order: what is received already goes on through the pipeline into
`events` and `discarded`, is delivered, and the destinations' state is kept; retention frees space. Recompression
(which needs room for a second copy of a segment) waits. Only when the disk is really full do they wait too, each
trying again until there is room; nothing that was acknowledged is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import structlog
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.config.size import parse_floor

EVERY: Final = 1.0
"""Seconds between two looks."""
_AGAIN: Final = 1.25
"""So many times the floor have to be free until events are taken again."""


class Space(Struct, frozen=True):
    """Of a file system, in bytes."""

    free: int
    """What is left for us (root may have more)."""
    total: int


def space_of(folder: Path) -> Space:
    """What `statvfs` says. Raises OSError."""
    found = os.statvfs(folder)
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class DiskFloor:
    """Watches the data folder's disk; `tell` hears why no events are to be taken, and None once they are again."""

    def __init__(
        self,
        folder: Path,
        min_free: Callable[[], str],
        *,
        tell: Callable[[str | None], None],
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        look: Callable[[Path], Space] = space_of,
    ) -> None:
        self.reason: str | None = None
        """Why no events are taken."""
        self._folder = folder
        self._min_free = min_free
        self._tell = tell
        self._clock = clock
        self._log = log
        self._look = look
        self._space: Space | None = None
        self._since = 0.0
        self._blind = False

    @property
    def floor(self) -> int:
        """Bytes."""
        return parse_floor(self._min_free()).of(0 if self._space is None else self._space.total)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be written without going below the floor."""
        return self._space is None or self._space.free - size > self.floor

    def status(self) -> dict[str, Any]:
        """For `cdpd status`."""
        space = self._space
        return {
            "state": "full" if self.reason else "ok",
            "free_bytes": None if space is None else space.free,
            "floor_bytes": self.floor,
        }

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            try:
                # In a thread: a disk that hangs (a network's) is not to stop the loop.
                space = await anyio.to_thread.run_sync(self._look, self._folder)
            except OSError as error:
                if not self._blind:
                    self._log.error("how much of the disk is free cannot be told", error=str(error))
                self._blind = True
            else:
                self._blind = False
                self.see(space)
            await self._clock.sleep(EVERY)

    def see(self, space: Space) -> None:
        """Judge by what is free now."""
        self._space = space
        floor = self.floor
        if self.reason is None and space.free < floor:
            self._since = self._clock.monotonic()
            self.reason = (
                f"the disk of {self._folder} is nearly full: {_mib(space.free)} free, "
                f"and {_mib(floor)} are kept free ([log] min_free)"
            )
            self._log.error(
                "the disk is nearly full: new events are refused (503) until there is room; what was taken goes on. "
                "Make room, keep less ([log.received] keep), or move the data folder",
                free_bytes=space.free,
                floor_bytes=floor,
                folder=str(self._folder),
            )
            self._tell(self.reason)
        elif self.reason is not None and space.free >= floor * _AGAIN:
            self.reason = None
            self._log.warning(
                "there is room on the disk again: events are taken",
                free_bytes=space.free,
                after_seconds=round(self._clock.monotonic() - self._since),
            )
            self._tell(None)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
