"""File: events appended to a file, one JSON object a line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import msgspec

from cdpd.destinations.contract import Batch, BatchLimits, Destination, DestinationConfig, DestinationEnv
from cdpd.destinations.outcome import Delivered, Misconfigured, Outcome

_TAIL: Final = 1 << 20
_MODE: Final = 0o640


class File(Destination):
    """File: events appended to a file, one JSON object a line.

    Each batch is on disk (synced) before it counts as delivered. After a crash the last batch may be appended
    again: its lines then stand twice, with the same messageId. SIGHUP (or logrotate's `postrotate` with
    `cdpd reload`) opens the file anew.
    """

    name = "File"
    limits = BatchLimits(max_events=1000)
    # An archive takes everything, whatever `integrations` says (spec/connections.md §4).
    obeys_integrations = False

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        path: Path
        """The file; a relative path is below the folder of the configuration. Made (0640) where it is missing."""

    config: Config

    def __init__(self, config: Config, env: DestinationEnv) -> None:
        super().__init__(config, env)
        self._fd: int | None = None
        self._reopen = False

    async def stop(self) -> None:
        self._close()

    def reopen(self) -> None:
        self._reopen = True

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        text = b"".join(event.line() + b"\n" for event in batch.events)
        if self._reopen:
            self._reopen = False
            self._close()
        try:
            await anyio.to_thread.run_sync(self._append, text)
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            self._close()
            reason = (error.strerror or str(error)).lower()
            return [Misconfigured(f"{self.config.path} cannot be written: {reason}")] * len(batch.events)
        except OSError:
            self._close()
            raise
        return [Delivered()] * len(batch.events)

    def _append(self, text: bytes) -> None:
        """All of `text`, synced, or (as far as the disk allows) nothing of it. Raises OSError."""
        if self._fd is None:
            self._fd = _open(self.config.path)
        before = os.fstat(self._fd).st_size
        try:
            view = memoryview(text)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, before)
            raise

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _open(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        _mend_end(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _mend_end(fd: int) -> None:
    """See to it that the next line begins a line: a write may have been interrupted by a crash."""
    try:
        size = os.fstat(fd).st_size
        tail = os.pread(fd, _TAIL, max(size - _TAIL, 0))
    except OSError:
        return  # a pipe or a terminal has no end to mend
    if not tail or tail.endswith(b"\n"):
        return
    begun = tail.rpartition(b"\n")[2]
    if _whole(begun) or len(begun) == _TAIL:
        os.write(fd, b"\n")
    else:
        os.ftruncate(fd, size - len(begun))  # the event comes again: it was not told to be delivered


def _whole(text: bytes) -> bool:
    try:
        decoded: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return isinstance(decoded, dict)
