"""What the pipeline keeps about each plugin between slices: failures in a row, and warnings not told too often."""

from __future__ import annotations

from typing import Final

import structlog

from cdpd.clock import Clock

_QUIET: Final = 60.0
"""Seconds between two warnings of one kind about one plugin."""


class Watch:
    """One for a pipeline."""

    def __init__(self, clock: Clock, log: structlog.typing.FilteringBoundLogger) -> None:
        self.rows: dict[str, int] = {}
        """Failures in a row, by plugin, of what has been committed."""
        self._clock = clock
        self._log = log
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def warn(self, text: str, plugin: str, **details: object) -> None:
        """Warn of a plugin; of the same text at most once a minute, with how many were left out."""
        now = self._clock.monotonic()
        last, left_out = self._told.get((text, plugin), (now - _QUIET, 0))
        if now - last < _QUIET:
            self._told[text, plugin] = (last, left_out + 1)
            return
        self._told[text, plugin] = (now, 0)
        if left_out:
            details["left_out_since_last"] = left_out
        self._log.warning(text, plugin=plugin, **details)
