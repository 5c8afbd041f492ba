"""The operating system's files, with faults on demand."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from cdpd.log.files import OsFiles, WritableFile


class FaultyFiles(OsFiles):
    """`failing`: kinds of operations that fail, as long as they are in it.

    write, sync, truncate, create, overwrite, rename, remove, sync_folder. `done`: those that did not.
    """

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.done: list[str] = []

    def check(self, kind: str, path: Path) -> None:
        if kind in self.failing:
            code = errno.EIO if "sync" in kind else errno.ENOSPC
            raise OSError(code, os.strerror(code), str(path))
        self.done.append(f"{kind} {path.name}")

    def create(self, path: Path) -> WritableFile:
        self.check("create", path)
        return _Faulty(self, path, super().create(path))

    def overwrite(self, path: Path, data: bytes) -> None:
        self.check("overwrite", path)
        super().overwrite(path, data)

    def rename(self, old: Path, new: Path) -> None:
        self.check("rename", new)
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self.check("remove", path)
        super().remove(path)

    def sync_folder(self, path: Path) -> None:
        self.check("sync_folder", path)
        super().sync_folder(path)


class _Faulty:
    def __init__(self, files: FaultyFiles, path: Path, file: WritableFile) -> None:
        self._files = files
        self._path = path
        self._file = file

    def write(self, data: bytes) -> None:
        if "write" in self._files.failing:
            self._file.write(data[: len(data) // 2])
        self._files.check("write", self._path)
        self._file.write(data)

    def sync(self) -> None:
        self._files.check("sync", self._path)
        self._file.sync()

    def truncate(self, size: int) -> None:
        self._files.check("truncate", self._path)
        self._file.truncate(size)

    def close(self) -> None:
        self._file.close()
