"""The file layer: the few operations on files that the log is made of, so that tests can simulate a disk.

Everything the log does to a disk goes through `Files`; every operation may raise OSError.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Protocol


class WritableFile(Protocol):
    """A file being written, at its end only."""

    def write(self, data: bytes) -> None:
        """Append all of `data`; nothing is durable before `sync`."""
        ...

    def sync(self) -> None:
        """`fdatasync`: what was written before is durable when this returns."""
        ...

    def truncate(self, size: int) -> None:
        """Cut to `size` bytes; later writes go there."""
        ...

    def close(self) -> None: ...


class ReadableFile(Protocol):
    """A file being read at any place."""

    def read(self, at: int, size: int) -> bytes:
        """Up to `size` bytes from `at`; fewer only at the end of the file."""
        ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class Files(Protocol):
    """A file system, as the log needs it."""

    def make_folder(self, path: Path) -> None:
        """The folder (0700) and those above it, where missing."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Names of the files in a folder; empty where there is no folder."""
        ...

    def create(self, path: Path) -> WritableFile:
        """A new empty file (0600); what was there is replaced."""
        ...

    def open_end(self, path: Path, size: int) -> WritableFile:
        """An existing file, cut to `size`, to be written on at its end."""
        ...

    def open(self, path: Path) -> ReadableFile:
        """Raises FileNotFoundError where there is none."""
        ...

    def read_all(self, path: Path) -> bytes | None:
        """The whole content, or None where there is no such file."""
        ...

    def overwrite(self, path: Path, data: bytes) -> None:
        """Write `data` over the first bytes of a file that keeps its length, unsynced.

        In one piece, as readers and a dying process see it; where it raises, nothing was changed.
        """
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name; what had that name is replaced, in one step."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file; nothing happens where there is none."""
        ...

    def sync_folder(self, path: Path) -> None:
        """Make names (created, renamed, removed) of this folder durable."""
        ...

    def mode(self, path: Path) -> int:
        """Permission bits of a file or folder. Raises FileNotFoundError where there is none."""
        ...

    def make_private(self, path: Path) -> None:
        """Take everybody else's rights to a file or folder away."""
        ...

    def boot_id(self) -> bytes:
        """16 bytes that change with every start of the machine."""
        ...

    def lock(self, path: Path) -> WritableFile | None:
        """An exclusive lock that ends with the process; None where another process has it."""
        ...


class _OsWritable:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        # macOS has no fdatasync; fsync there only reaches the drive's cache, enough for development.
        self._sync = getattr(os, "fdatasync", os.fsync)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def sync(self) -> None:
        self._sync(self._fd)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        os.lseek(self._fd, size, os.SEEK_SET)
        self._sync = os.fsync  # a cut is metadata: fdatasync need not bring all of it to the disk

    def close(self) -> None:
        os.close(self._fd)


class _OsReadable:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self._fd, size, at)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)


class OsFiles:
    """The operating system's files."""

    def make_folder(self, path: Path) -> None:
        if not path.parent.exists():
            self.make_folder(path.parent)  # `parents=True` would give them the rights that are usual
        path.mkdir(mode=0o700, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        try:
            return [path.name for path in folder.iterdir()]
        except FileNotFoundError:
            return []

    def create(self, path: Path) -> WritableFile:
        return _OsWritable(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))

    def open_end(self, path: Path, size: int) -> WritableFile:
        file = _OsWritable(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        file.truncate(size)
        return file

    def open(self, path: Path) -> ReadableFile:
        return _OsReadable(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def read_all(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def overwrite(self, path: Path, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.pwrite(fd, data, 0) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        old.replace(new)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_folder(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def mode(self, path: Path) -> int:
        return path.stat().st_mode & 0o777

    def make_private(self, path: Path) -> None:
        path.chmod(path.stat().st_mode & 0o700)

    def boot_id(self) -> bytes:
        try:
            return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
        except OSError:
            return bytes(16)  # unknown: every start counts as another boot

    def lock(self, path: Path) -> WritableFile | None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return _OsWritable(fd)
