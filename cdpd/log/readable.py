"""A stream as its readers see it, whether this process writes it (stream.py) or another one (followed.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cdpd.event import BEGINNING, Position
from cdpd.log.frame import Cursor
from cdpd.log.reader import Reader


class ReadableStream(Protocol):
    """For the event loop; a reader may be used in one other thread."""

    name: str
    folder: Path

    @property
    def end(self) -> Position:
        """The durable, published end."""
        ...

    @property
    def begin(self) -> int:
        """First offset that is kept."""
        ...

    @property
    def cursor(self) -> Cursor | None:
        """The newest durable cursor (stream `events`)."""
        ...

    def reader(self, position: Position = BEGINNING) -> Reader:
        """A reader that goes up to the durable end."""
        ...

    async def wait_beyond(self, position: Position) -> None:
        """Return once there is a published line after `position`."""
        ...
