"""Ids and their times in one memory-mapped file: a linear hash table that grows a page at a time.

Page 0 is the header; each further page of 4 KiB is a group of 256 slots of two words: the id's first 64 hash
bits (0: free), then 28 more of its hash bits above 36 bits of time (milliseconds since the table's start).
An id belongs to one group, by the low bits of its hash; looking it up touches one page. When the groups are
35 % full on average, the next one in turn is split in two, so growing never takes long (about 60 µs a split).

A killed process leaves the file as it was at any instruction. Each insertion becomes visible by one store of
one word, so it is there or not; a split is prepared aside and copied in while `busy` is set: a file that is
found busy is not to be trusted. What a power loss leaves is the caller's to find out (`checksum`).
"""

from __future__ import annotations

import mmap
import os
from array import array
from pathlib import Path
from typing import Final

import google_crc32c

_PAGE: Final = 4096
_WORDS: Final = _PAGE // 8
"""Words of a page, two a slot."""
_MAGIC: Final = int.from_bytes(b"CDPDSEEN", "little")
_VERSION: Final = 1
_TIME_BITS: Final = 36
TIME_LIMIT: Final = 1 << _TIME_BITS
"""Milliseconds that a table can span: about two years."""
_TIME_MASK: Final = TIME_LIMIT - 1
TAG_SHIFT: Final = _TIME_BITS
"""How far a second hash word of 64 bits is shifted right to make the tag of an entry."""
_FIRST_GROUPS: Final = 16
_FILL: Final = 90
"""Entries a group on average; one that waits for its split has twice as many, of 256 slots."""
_MOST_GROWTH: Final = 16 * 1024
"""Groups by which the file grows at once, at most (64 MiB)."""
_AT_ONCE: Final = 256
"""Pages that are read into memory at once for the checksum."""

# Words of the header.
_AT_MAGIC, _AT_VERSION, _AT_START, _AT_GROUPS, _AT_COUNT, _AT_BUSY, _AT_SPILT = range(7)


class Untrusted(Exception):
    """The file is none of ours, or was left in the middle of a change."""


class Table:
    """One table. `create` or `open` makes it; times are milliseconds since the epoch, not before `start`."""

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self.path = path
        self._fd = fd
        self._spilt: dict[int, int] = {}
        self._map(size)

    @classmethod
    def create(cls, path: Path, start: int) -> Table:
        """A new empty table for times from `start` on; replaces what is there. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        size = (1 + _FIRST_GROUPS) * _PAGE
        try:
            _reserve(fd, 0, size)
            table = cls(path, fd, size)
        except OSError:
            os.close(fd)
            raise
        words = table._words
        words[_AT_VERSION], words[_AT_START], words[_AT_GROUPS] = _VERSION, start, _FIRST_GROUPS
        words[_AT_MAGIC] = _MAGIC
        table._read_header()
        return table

    @classmethod
    def open(cls, path: Path, start: int) -> Table:
        """The table that is there. Raises Untrusted, OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        size = os.fstat(fd).st_size
        if size < 2 * _PAGE or size % _PAGE:
            os.close(fd)
            raise Untrusted(f"{path}: not the size of a table")
        table = cls(path, fd, size)
        words = table._words
        sound = (words[_AT_MAGIC], words[_AT_VERSION], words[_AT_START]) == (_MAGIC, _VERSION, start)
        if not sound or not 1 <= words[_AT_GROUPS] < size // _PAGE:
            table.close()
            raise Untrusted(f"{path}: not a table for times from {start}")
        if words[_AT_BUSY] or words[_AT_SPILT]:
            table.close()
            raise Untrusted(f"{path}: left in the middle of a change")
        table._read_header()
        return table

    def _map(self, size: int) -> None:
        self._memory = mmap.mmap(self._fd, size)
        self._words = memoryview(self._memory).cast("Q")
        self._capacity = size // _PAGE - 1

    def _read_header(self) -> None:
        self.start = self._words[_AT_START]
        self._count = self._words[_AT_COUNT]
        self._set_groups(self._words[_AT_GROUPS])

    def _set_groups(self, groups: int) -> None:
        self._groups = groups
        self._low = (1 << (groups.bit_length() - 1)) - 1
        self._high = self._low * 2 + 1
        self._split_at = groups * _FILL

    def __len__(self) -> int:
        return self._count

    def find(self, key: int, tag: int) -> int | None:
        """The time of an id (`key`: 64 hash bits, not 0; `tag`: 28 more), or None."""
        words = self._words
        group = key & self._high
        if group >= self._groups:
            group &= self._low
        base = (group + 1) * _WORDS
        at = (key >> 56) * 2
        for _ in range(_WORDS // 2):
            found = words[base + at]
            if not found:
                return None
            if found == key:
                entry = words[base + at + 1]
                if entry >> _TIME_BITS == tag:
                    return self.start + (entry & _TIME_MASK)
            at = (at + 2) & (_WORDS - 1)
        time = self._spilt.get(key ^ tag)
        return None if time is None else self.start + time

    def add(self, key: int, tag: int, ms: int) -> None:
        """Note an id at a time; of two times the later counts. Raises OSError where the file cannot grow."""
        if self._count >= self._split_at:
            self._split()
        words = self._words
        group = key & self._high
        if group >= self._groups:
            group &= self._low
        base = (group + 1) * _WORDS
        at = (key >> 56) * 2
        time = ms - self.start
        for _ in range(_WORDS // 2):
            found = words[base + at]
            if not found:
                words[base + at + 1] = tag << _TIME_BITS | time
                words[base + at] = key
                self._count += 1
                words[_AT_COUNT] = self._count
                return
            if found == key and words[base + at + 1] >> _TIME_BITS == tag:
                if words[base + at + 1] & _TIME_MASK < time:
                    words[base + at + 1] = tag << _TIME_BITS | time
                return
            at = (at + 2) & (_WORDS - 1)
        # The group is full, which chance alone hardly ever does. The id is kept in memory; the file says that it
        # is not whole, so the next start makes it again, with other hashes.
        words[_AT_SPILT] = 1
        self._spilt[key ^ tag] = max(time, self._spilt.get(key ^ tag, 0))

    def _split(self) -> None:
        """Share the entries of the next group in turn with a new one."""
        new = self._groups
        if new >= self._capacity:
            self._grow()
        words = self._words
        old = new - (self._low + 1)
        at_old, at_new = (old + 1) * _WORDS, (new + 1) * _WORDS
        stay, move = array("Q", bytes(_PAGE)), array("Q", bytes(_PAGE))
        entries = words[at_old : at_old + _WORDS].tolist()
        high = self._high
        for i in range(0, _WORDS, 2):
            key = entries[i]
            if key:
                page = move if key & high == new else stay
                at = (key >> 56) * 2
                while page[at]:
                    at = (at + 2) & (_WORDS - 1)
                page[at] = key
                page[at + 1] = entries[i + 1]
        words[_AT_BUSY] = 1
        words[at_new : at_new + _WORDS] = memoryview(move)
        words[at_old : at_old + _WORDS] = memoryview(stay)
        words[_AT_GROUPS] = new + 1
        words[_AT_BUSY] = 0
        self._set_groups(new + 1)

    def _grow(self) -> None:
        size = (1 + self._capacity) * _PAGE
        more = min(max(self._capacity // 2, _FIRST_GROUPS), _MOST_GROWTH) * _PAGE
        _reserve(self._fd, size, more)
        self._words.release()
        self._memory.close()
        self._map(size + more)

    def checksum(self) -> int:
        """CRC-32C of everything in use; what to compare with after a start of the machine."""
        value = 0
        for group in range(0, 1 + self._groups, _AT_ONCE):
            stop = min(group + _AT_ONCE, 1 + self._groups)
            value = google_crc32c.extend(value, self._memory[group * _PAGE : stop * _PAGE])
        return value

    @property
    def whole(self) -> bool:
        """Whether the file holds every id."""
        return not self._spilt

    def close(self) -> None:
        """Let go of the file; it stays."""
        self._words.release()
        self._memory.close()
        os.close(self._fd)


def _reserve(fd: int, start: int, size: int) -> None:
    """Take the disk space now: a mapped page that finds no room later would kill the process (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, start, size)
    else:
        os.ftruncate(fd, start + size)
