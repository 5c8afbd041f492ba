"""File: events appended to a file, one JSON object a line (NDJSON).

An event counts as delivered once the file is synced. Where the daemon dies between that sync and the commit of
its cursor, the batch in flight is written again: at most one batch (`batch.max_events`, `batch.max_bytes`), at
the file's end, with the same messageIds. A line that a crash left half-written is cut off before anything is
appended: two events never share a line. On SIGHUP the file is opened anew under its name (logrotate).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import msgspec
from msgspec import Raw

from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import Batch, Destination, DestinationConfig, DestinationEnv
from cdpd.destinations.outcome import BadConfig, Delivered, Outcome, TryAgain
from cdpd.event import Event

_AGAIN: Final = 5.0
"""Seconds until a path that cannot be opened is tried again."""
_LOOK_BACK: Final = 64 * 1024


class File(Destination):
    """File: events appended to a file, one JSON object a line; opened anew on SIGHUP, so that logrotate works.

    A batch is on disk (synced) before it counts as delivered. After a crash the last one may be appended again: its
    lines then stand twice, with the same messageId.
    """

    name = "File"

    class Config(DestinationConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        path: Path
        """The file; a relative path is below the folder of the configuration. Made (0640) where it is missing, its
        folder is not."""

    def __init__(self, config: Any, env: DestinationEnv) -> None:
        super().__init__(config, env)
        self._path: Path = config.path.absolute()
        self._fd: int | None = None
        self._reopen = False

    def reopen(self) -> None:
        self._reopen = True

    async def stop(self) -> None:
        self._close()

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        lines = b"".join(event.line() + b"\n" for event in batch.events)
        outcome = await anyio.to_thread.run_sync(self._append, lines)
        return [outcome] * len(batch.events)

    async def check(self) -> Checked:
        return await anyio.to_thread.run_sync(self._looked_at)

    def _looked_at(self) -> Checked:
        """Whether whoever asks may append to the file, or make it; neither is done."""
        path, folder = self._path, self._path.parent
        error: OSError | None = None
        if path.is_dir():
            error = IsADirectoryError()
        elif not folder.is_dir():
            error = FileNotFoundError()
        elif not (
            os.access(path, os.R_OK | os.W_OK) if path.exists() else os.access(folder, os.W_OK | os.X_OK)
        ):
            error = PermissionError()
        if error is not None:
            return Checked("failed", _what_to_do(path, error))
        will_be = "can be appended to" if path.exists() else "can be made"
        return Checked("ok", f"{path} {will_be}, by the user who asks")

    def preview(self, event: Event) -> object:
        return {"path": str(self._path), "line": Raw(event.line())}

    def _append(self, lines: bytes) -> Outcome:
        if self._reopen:
            self._reopen = False
            self._close()
        if self._fd is None:
            try:
                self._fd = self._open()
            except OSError as error:
                return BadConfig(_what_to_do(self._path, error), after=_AGAIN)
        with _alone(self._fd):
            begin = os.fstat(self._fd).st_size
            try:
                written = 0
                while written < len(lines):
                    written += os.write(self._fd, lines[written:])
                os.fsync(self._fd)
                return Delivered()
            except OSError as error:
                failed = error.strerror
                self._take_back(begin)
        self._close()
        return TryAgain(f"{self._path} cannot be written: {failed}")

    def _open(self) -> int:
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            with _alone(fd):
                self._mend(fd)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)  # the name itself must survive a power loss
            finally:
                os.close(folder)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _mend(self, fd: int) -> None:
        """See to it that the file ends with a line break."""
        size = os.fstat(fd).st_size
        tail = b""
        begin = size
        while begin and b"\n" not in tail:
            begin = max(begin - _LOOK_BACK, 0)
            tail = os.pread(fd, size - begin, begin)
        last = tail.rpartition(b"\n")[2]
        if not last:
            return
        if last.startswith(b"{") and not _is_json(last):
            # The beginning of an event that was being written when the daemon died: it comes again whole.
            os.ftruncate(fd, size - len(last))
            self.env.log.warning(
                "cut off a half-written line at the file's end", path=str(self._path), bytes=len(last)
            )
        else:
            os.write(fd, b"\n")

    def _take_back(self, begin: int) -> None:
        """What was written of a failed batch goes; opening the file again mends what this cannot."""
        assert self._fd is not None
        try:
            os.ftruncate(self._fd, begin)
        except OSError:
            self.env.log.warning("a failed write could not be taken back", path=str(self._path))

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)


@contextmanager
def _alone(fd: int) -> Iterator[None]:
    """No other instance writes to the file meanwhile: a replay has one of its own, and a mend may cut lines off.

    Where the file system knows no locks nothing is waited for.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:
        pass
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _what_to_do(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"the folder {path.parent} does not exist: make it, and let the daemon's user write there"
    if isinstance(error, PermissionError):
        return f"{path} may not be written by the daemon's user: change its owner or permissions"
    if isinstance(error, IsADirectoryError):
        return f"{path} is a folder: `path` has to name a file in it"
    return f"{path} cannot be opened: {error.strerror}"
