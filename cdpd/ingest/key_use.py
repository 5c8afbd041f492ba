"""When each write key was last used, so that an old one can be taken away once nobody has it any more.

Kept in memory, and in a small file in the data folder: to the minute after a crash. The file holds hashes of
keys, not keys.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import msgspec
from msgspec import Struct

from cdpd.clock import Clock

if TYPE_CHECKING:  # a command reads the file without the daemon's log
    import structlog

KEEP_EVERY: Final = 60.0
"""Seconds between two writings of the file."""


class Use(Struct):
    """Of one key. Times are milliseconds since the epoch."""

    first_ms: int
    last_ms: int
    requests: int = 0
    """Requests that were let in with it."""


_decode: Final = msgspec.json.Decoder(dict[str, Use]).decode


class KeyUse:
    """The uses of all keys."""

    def __init__(self, earlier: Mapping[str, Use] | None = None) -> None:
        self._uses: dict[str, Use] = {}
        """By key."""
        self._earlier = dict(earlier or {})
        """By a key's hash: of keys that this run has not seen yet."""
        self.changed = False
        """Something is new since this was last set to False."""

    def note(self, key: str, at_ms: int) -> None:
        """A request with this key was let in."""
        use = self._uses.get(key)
        if use is None:
            self._uses[key] = use = self._earlier.pop(hashed(key), None) or Use(at_ms, at_ms)
        use.last_ms = at_ms
        use.requests += 1
        self.changed = True

    def of(self, key: str) -> Use | None:
        """The use of a key; None where nobody ever used it."""
        return self._uses.get(key) or self._earlier.get(hashed(key))

    def all(self) -> dict[str, Use]:
        """Everything, by the keys' hashes."""
        return {**self._earlier, **{hashed(key): use for key, use in self._uses.items()}}

    def report(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """`{"key", "first_ms", "last_ms", "requests"}` of each; None and 0 where it was never used."""
        found = []
        for key in keys:
            use = self.of(key)
            times = (None, None, 0) if use is None else (use.first_ms, use.last_ms, use.requests)
            found.append({"key": key, "first_ms": times[0], "last_ms": times[1], "requests": times[2]})
        return found


def hashed(key: str) -> str:
    """What stands in the file for a key: `sha256:` and its hash in hex."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def read_uses(path: Path) -> KeyUse:
    """What the file holds; nothing where there is none. Raises OSError, msgspec.DecodeError."""
    try:
        return KeyUse(_decode(path.read_bytes()))
    except FileNotFoundError:
        return KeyUse()
    except UnicodeDecodeError as error:  # no DecodeError to msgspec
        raise msgspec.DecodeError(str(error)) from error


class KeyUseFile:
    """The file that a KeyUse outlives a restart in."""

    def __init__(self, path: Path, log: structlog.typing.FilteringBoundLogger) -> None:
        self._path = path
        self._log = log

    def read(self) -> KeyUse:
        """What an earlier run wrote; a file that cannot be read is told of, and begun anew."""
        try:
            return read_uses(self._path)
        except (msgspec.DecodeError, OSError) as error:
            text = "the last uses of write keys are not known"
            self._log.warning(text, file=str(self._path), error=str(error))
            return KeyUse()

    async def keep(self, uses: KeyUse, clock: Clock) -> None:
        """Write it every minute in which a key was used; runs until cancelled. The end writes it with `write`."""
        while True:
            await clock.sleep(KEEP_EVERY)
            if uses.changed:
                uses.changed = False
                if not await anyio.to_thread.run_sync(self._write, msgspec.json.encode(uses.all())):
                    uses.changed = True

    def write(self, uses: KeyUse) -> None:
        """Write it now, where something is new."""
        if uses.changed:
            self._write(msgspec.json.encode(uses.all()))

    def _write(self, content: bytes) -> bool:
        """Whether it could be written; a disk that refuses is told of."""
        made = self._path.with_suffix(".new")
        try:
            with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            made.replace(self._path)
        except OSError as error:
            self._log.warning("the last uses of write keys cannot be kept", error=str(error))
            return False
        return True
