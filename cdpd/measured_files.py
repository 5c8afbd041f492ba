"""A stream's files, measured: how long its syncs take, how much goes out with each, and what the disk refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cdpd.log.files import OsFiles, WritableFile
from cdpd.metrics import GROUP_BYTES, LOG_FAILURES, SYNC_SECONDS, Metrics


class MeasuredFiles(OsFiles):
    """The operating system's files, for one stream, whose one writer's thread may use them."""

    def __init__(self, metrics: Metrics, stream: str, monotonic: Callable[[], float]) -> None:
        # All labels are made here, on the loop: the writer's thread only changes their values.
        metrics.add(LOG_FAILURES, stream, n=0)
        self.syncs = metrics.histogram(SYNC_SECONDS, stream)
        self.groups = metrics.histogram(GROUP_BYTES, stream)
        self.monotonic = monotonic
        self._metrics = metrics
        self._stream = stream

    def create(self, path: Path) -> WritableFile:
        return _Measured(super().create(path), self)

    def failed(self) -> None:
        """The disk refused something."""
        self._metrics.add(LOG_FAILURES, self._stream)


class _Measured:
    """A file that is being written; each sync is one measurement."""

    def __init__(self, file: WritableFile, files: MeasuredFiles) -> None:
        self._file = file
        self._files = files
        self._unsynced = 0

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError:
            self._files.failed()
            raise
        self._unsynced += len(data)

    def sync(self) -> None:
        files = self._files
        began = files.monotonic()
        try:
            self._file.sync()
        except OSError:
            files.failed()
            raise
        files.syncs.observe(files.monotonic() - began)
        if self._unsynced:
            files.groups.observe(self._unsynced)
        self._unsynced = 0

    def truncate(self, size: int) -> None:
        self._file.truncate(size)
        self._unsynced = 0

    def close(self) -> None:
        self._file.close()
