"""The ids of a window of time, on disk: one table a time bucket, dropped whole, and the position in `events`.

The folder holds `store` (what it was made for, and the position), `N.ids` (a table for the times from N windows
on), and after a clean stop `clean` (each table's checksum). Nothing is ever synced: after a power loss only a
folder whose checksums fit is believed. After a kill on the same boot the files are as the process left them, and
every state in which it can leave them is either usable as it is or says that it is not (see table.py). A store
that cannot be believed is begun anew, empty, at no position: its owner fills it from `events` again.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from struct import Struct as Packed
from typing import Any, Final, Self

import google_crc32c
import msgspec
from msgspec import Struct

from cdpd.event import BEGINNING, Position
from cdpd.hooks.seen.table import TAG_SHIFT, TIME_LIMIT, Table, Untrusted

SLACK_MS: Final = 20 * 60 * 1000
"""A table is kept so much longer than the window: times come in nearly in order, not strictly."""
MAX_WINDOW_MS: Final = TIME_LIMIT
_STORE: Final = "store"
_CLEAN: Final = "clean"
_SUFFIX: Final = ".ids"
_HEAD: Final = Packed("<8sQ16s16s")
_MAGIC: Final = b"CDPDSEN1"
_PLACE: Final = Packed("<QQQQ")
"""A position record: how often it was written, epoch, offset, newest time."""
_CRC: Final = Packed("<I")
_AT_PLACES: Final = (64, 128)
_hash_words: Final = Packed("<QQ").unpack


class _Clean(Struct, frozen=True):
    """What a clean stop leaves."""

    place: tuple[int, int, int, int]
    tables: dict[str, int]
    """Checksum by file name."""


class SeenStore:
    """Made by `open`. `position`: everything of `events` before it is in the store."""

    def __init__(self, folder: Path, window_ms: int, secret: bytes, fd: int) -> None:
        self.position = BEGINNING
        self.newest_ms = 0
        """The newest time that was noted."""
        self._folder = folder
        self._window = window_ms
        self._secret = secret
        self._prefixes: dict[str, bytes] = {}
        self._fd = fd
        self._writes = 0
        self._tables: dict[int, Table] = {}
        self._searched: list[Table] = []
        """Newest first."""

    @classmethod
    def open(cls, folder: Path, window_ms: int, boot_id: bytes) -> Self:
        """The store in a folder of its own, as it was left if that can be believed, else empty.

        `boot_id`: 16 bytes that change with each start of the machine; zeros where that is not known.
        Raises OSError, BlockingIOError among them where another store has the folder open.
        """
        try:
            return cls._reopen(folder, window_ms, boot_id)
        except (Untrusted, FileNotFoundError):
            return cls._create(folder, window_ms, boot_id)

    @classmethod
    def _create(cls, folder: Path, window_ms: int, boot_id: bytes) -> Self:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700, parents=True)
        secret = secrets.token_bytes(16)
        fd = os.open(folder / _STORE, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        store = cls(folder, window_ms, secret, fd)
        store._write_head(boot_id)
        return store

    @staticmethod
    def remove_unused(folder: Path) -> None:
        """Remove a store that nobody has open."""
        try:
            fd = os.open(folder / _STORE, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # whoever has it open is about to take over, or to stop: the next one looks again
        finally:
            os.close(fd)

    @classmethod
    def _reopen(cls, folder: Path, window_ms: int, boot_id: bytes) -> Self:
        fd = os.open(folder / _STORE, os.O_RDWR | os.O_CLOEXEC)
        store: Self | None = None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            head = _sealed(os.pread(fd, _HEAD.size + _CRC.size, 0), _HEAD)
            if head is None or head[:2] != (_MAGIC, window_ms):
                raise Untrusted(f"{folder}: not a store for this window")
            store = cls(folder, window_ms, head[2], fd)
            same_boot = head[3] == boot_id and any(boot_id)
            store._take_over(None if same_boot else _read_clean(folder))
            (folder / _CLEAN).unlink(missing_ok=True)
            store._write_head(boot_id)
        except (Untrusted, OSError):
            if store is not None:
                store._let_go()
            else:
                os.close(fd)
            raise
        return store

    def _take_over(self, clean: _Clean | None) -> None:
        """What is in the folder. `clean` (after another boot): it must be exactly that. Raises Untrusted."""
        places = [
            place
            for at in _AT_PLACES
            if (place := _sealed(os.pread(self._fd, _PLACE.size + _CRC.size, at), _PLACE))
        ]
        place = max(places, default=(0, 0, 0, 0))
        names = sorted(path.name for path in self._folder.iterdir() if path.suffix == _SUFFIX)
        if clean is not None and (place != clean.place or names != sorted(clean.tables)):
            raise Untrusted(f"{self._folder}: not as the last stop left it")
        for name in names:
            bucket = int(name.removesuffix(_SUFFIX))
            table = self._tables[bucket] = Table.open(self._folder / name, bucket * self._window)
            if clean is not None and table.checksum() != clean.tables[name]:
                raise Untrusted(f"{self._folder / name}: not as the last stop left it")
        self._writes, epoch, offset, self.newest_ms = place
        self.position = Position(offset=offset, epoch=epoch)
        self._order()

    def _order(self) -> None:
        self._searched = [table for _, table in sorted(self._tables.items(), reverse=True)]

    # -- ids -----------------------------------------------------------------------------------------------------

    def digest(self, source: str, message_id: str) -> bytes:
        """What stands for an id in the store; differs from store to store, so that nobody can aim at it."""
        prefix = self._prefixes.get(source)
        if prefix is None:
            prefix = self._prefixes[source] = self._secret + source.encode(errors="surrogatepass") + b"\0"
        return blake2b(prefix + message_id.encode(errors="surrogatepass"), digest_size=16).digest()

    def seen(self, digest: bytes, ms: int) -> bool:
        """Whether the id was noted less than a window before `ms`."""
        key, tag = _hash_words(digest)
        since = ms - self._window
        for table in self._searched:
            at = table.find(key or 1, tag >> TAG_SHIFT)
            if at is not None and at > since:
                return True
        return False

    def add(self, ids: Iterable[tuple[bytes, int]], position: Position) -> None:
        """Note ids (digest, time in milliseconds); `position` is then the store's.

        Raises OSError where the disk is full; some may have been noted then, the position stays, and all of
        them can be added again.
        """
        tables, window, newest = self._tables, self._window, self.newest_ms
        for digest, ms in ids:
            if ms > newest:
                newest = ms
            bucket = ms // window
            table = tables.get(bucket)
            if table is None:
                if self._past(bucket, newest):
                    continue
                table = self._new_table(bucket)
            key, tag = _hash_words(digest)
            table.add(key or 1, tag >> TAG_SHIFT, ms)
        if newest > self.newest_ms:
            self.newest_ms = newest
            self._drop_past()
        self._write_place(position)

    def _past(self, bucket: int, newest: int) -> bool:
        """Whether nothing in a bucket can matter any more."""
        return (bucket + 1) * self._window <= newest - self._window - SLACK_MS

    def _new_table(self, bucket: int) -> Table:
        path = self._folder / f"{bucket}{_SUFFIX}"
        table = self._tables[bucket] = Table.create(path, bucket * self._window)
        self._order()
        return table

    def _drop_past(self) -> None:
        past = [bucket for bucket in self._tables if self._past(bucket, self.newest_ms)]
        for bucket in past:
            table = self._tables.pop(bucket)
            table.close()
            table.path.unlink(missing_ok=True)
        if past:
            self._order()

    # -- the files -----------------------------------------------------------------------------------------------

    def _write_head(self, boot_id: bytes) -> None:
        os.pwrite(self._fd, _seal(_HEAD.pack(_MAGIC, self._window, self._secret, boot_id)), 0)

    def _write_place(self, position: Position) -> None:
        """Written in turn to two places: a kill in between leaves one of them whole."""
        self._writes += 1
        record = _PLACE.pack(self._writes, position.epoch, position.offset, self.newest_ms)
        os.pwrite(self._fd, _seal(record), _AT_PLACES[self._writes % 2])
        self.position = position

    def close(self) -> None:
        """Leave it so that it can be believed even after another start of the machine. Raises OSError.

        However it comes out the store is closed then; closing it again does nothing.
        """
        if self._fd < 0:
            return
        try:
            if all(table.whole for table in self._searched):
                place = (self._writes, self.position.epoch, self.position.offset, self.newest_ms)
                sums = {table.path.name: table.checksum() for table in self._searched}
                new = self._folder / f"{_CLEAN}.new"
                new.write_bytes(msgspec.json.encode(_Clean(place, sums)))
                new.replace(self._folder / _CLEAN)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        for table in self._tables.values():
            table.close()
        self._tables.clear()
        self._searched.clear()
        fd, self._fd = self._fd, -1  # the number may soon be another file's
        os.close(fd)

    def __len__(self) -> int:
        return sum(map(len, self._searched))


def _seal(data: bytes) -> bytes:
    return data + _CRC.pack(google_crc32c.value(data))


def _sealed(data: bytes, packed: Packed) -> tuple[Any, ...] | None:
    """What `_seal` was given, unpacked; None where it is not whole."""
    body = data[: packed.size]
    if len(data) < packed.size + _CRC.size or _CRC.unpack_from(data, packed.size)[0] != google_crc32c.value(
        body
    ):
        return None
    return packed.unpack(body)


def _read_clean(folder: Path) -> _Clean:
    try:
        return msgspec.json.decode((folder / _CLEAN).read_bytes(), type=_Clean)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Untrusted(f"{folder}: not stopped cleanly") from error
