"""What can go wrong with a stream, each with its place and what to do about it."""

from __future__ import annotations

from pathlib import Path


class LogError(Exception):
    """Something about a stream that a person has to know."""


class AppendFailed(LogError):
    """A write or sync failed: nothing of this append is or will be served. The next append starts afresh."""


class StreamLocked(LogError):
    """Another process is this stream's writer."""


class NewerFormat(LogError):
    """Written by a newer cdpd."""


class Damage(LogError):
    """Bytes below the durable end that are not what was written."""

    def __init__(self, path: Path, at: int, reason: str, offset: int | None = None) -> None:
        self.path = path
        self.at = at
        self.offset = offset
        self.reason = reason
        where = f"{path}, byte {at}" + ("" if offset is None else f" (offset {offset})")
        super().__init__(
            f"damaged log: {where}: {reason}. Nothing from there on is served; "
            f"`cdpd log verify {path.parent.name}` lists the damage, `cdpd log repair` makes it holes"
        )


class NotRecovered(LogError):
    """The machine started anew, and the stream's writer has not yet found out where the stream ends."""


class InvalidCursor(LogError):
    """A position that does not belong to this log."""


class NoLongerKept(InvalidCursor):
    """A position below what retention has left."""
