"""Hearing that a file was written to by another process: inotify where there is one, looking now and then elsewhere.

Costs nothing while nobody waits and nothing is written.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio

_MODIFY: Final = 0x2
"""IN_MODIFY, inotify(7)."""
_SOONEST: Final = 0.002
_LATEST: Final = 0.02
"""Seconds between two looks, where there is no inotify: soon after the last change, then less and less often."""
_DOUBT: Final = 1.0
"""Seconds without a word after which one looks all the same."""


class FileWatch:
    """Watches one file, which may not be there yet. For one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._watched = False
        self._next: asyncio.Event | None = None
        self._pause = _SOONEST

    def close(self) -> None:
        """End it; nobody may be waiting."""
        if self._fd >= 0:
            self._disarm()
            os.close(self._fd)
            self._fd = -1

    async def changed(self, is_there: Callable[[], bool]) -> None:
        """Return after a change that `is_there` has not seen; perhaps sooner.

        What is looked for with `is_there` after the watch has begun cannot be missed.
        """
        if not self._watching():
            await anyio.sleep(self._pause)
            self._pause = _SOONEST if is_there() else min(self._pause * 2, _LATEST)
            return
        if self._next is None:
            self._next = asyncio.Event()
            asyncio.get_running_loop().add_reader(self._fd, self._wake)
        waited = self._next
        if not is_there():
            with anyio.move_on_after(_DOUBT) as patience:
                await waited.wait()
            if patience.cancelled_caught:
                self._watched = False  # perhaps another file has its name by now: then that is watched

    def _watching(self) -> bool:
        if sys.platform == "linux" and not self._watched:
            # Both fail where the user's share is used up, the second also while the file is not there.
            if self._fd < 0:
                self._fd = _libc("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
            self._watched = (
                self._fd >= 0 and _libc("inotify_add_watch", self._fd, os.fsencode(self._path), _MODIFY) >= 0
            )
        return self._watched

    def _wake(self) -> None:
        try:
            os.read(self._fd, 65536)
        except BlockingIOError:
            return
        self._disarm()

    def _disarm(self) -> None:
        if self._next is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._next.set()
            self._next = None


def _libc(function: str, *arguments: int | bytes) -> int:
    """Call a function of the C library that answers with a number, -1 for an error."""
    return int(getattr(ctypes.CDLL(None), function)(*arguments))
