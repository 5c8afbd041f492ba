"""A log that keeps what it is told."""

from __future__ import annotations

import sys
from typing import Any

import structlog
from msgspec import Struct


class Entry(Struct, frozen=True):
    """One call of the log."""

    level: str
    """debug, info, warning or error."""
    text: str
    details: dict[str, Any]
    """What it was told by name; `exc_info`, where it is there, is the exception."""


class KeptLog:
    """`log` is what a plugin gets; `entries` is what it said."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
            None, processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )

    def _keep(self, _: object, level: str, told: structlog.typing.EventDict) -> structlog.typing.EventDict:
        details = dict(told)
        if details.get("exc_info") is True:
            details["exc_info"] = sys.exc_info()[1]
        self.entries.append(Entry(level, str(details.pop("event", "")), details))
        raise structlog.DropEvent

    def texts(self, level: str) -> list[str]:
        """What was said at that level."""
        return [entry.text for entry in self.entries if entry.level == level]
