"""A scrape: who may have it, and its text as of now."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from cdpd.config.model import MetricsConfig
from cdpd.metrics import Metrics, Series
from cdpd.scrape.gauges import Parts, beginnings, disk, gauges


class Scrape:
    """The metrics page of a daemon. `config` gives the configuration as it is now."""

    def __init__(
        self, metrics: Metrics, parts: Parts, data_dir: Path, config: Callable[[], MetricsConfig]
    ) -> None:
        self._metrics = metrics
        self._parts = parts
        self._data_dir = data_dir
        self._config = config
        self._limiter = anyio.CapacityLimiter(1)

    @property
    def has_token(self) -> bool:
        """Whether a token is configured: then the tracking API serves the page too, and everybody needs it."""
        return self._config().token is not None

    def admits(self, authorization: str) -> bool:
        """Whether who sends this `Authorization` header may have the page."""
        token = self._config().token
        if token is None:
            return True
        scheme, _, given = authorization.strip().partition(" ")
        given, wanted = given.strip(), token.reveal().strip()
        # An empty token (of an environment variable) admits nobody.
        return (
            scheme.lower() == "bearer"
            and bool(wanted)
            and hmac.compare_digest(given.encode(errors="replace"), wanted.encode())
        )

    async def page(self, accept: str) -> tuple[str, bytes]:
        """Content type and text, for a request's `Accept` header."""
        return await self.text(self.local(), accept)

    def local(self) -> list[Series]:
        """What was counted and measured in this process, but for the disk."""
        series = [*self._metrics.series(), *gauges(self._parts)]
        known = {(one.family, one.labels) for one in series}
        return series + [
            Series(*beginning) for beginning in beginnings(self._parts) if beginning not in known
        ]

    async def text(self, series: list[Series], accept: str) -> tuple[str, bytes]:
        """Content type and text of these series and the disk's. It is made off the loop."""
        return await anyio.to_thread.run_sync(_text, series, self._data_dir, accept, limiter=self._limiter)


def _text(series: list[Series], data_dir: Path, accept: str) -> tuple[str, bytes]:
    from cdpd.scrape.text import exposition  # most daemons are never asked: their start does not load it

    try:
        series = [*series, *disk(data_dir)]
    except OSError:
        pass  # the page tells of all else, and that the disk cannot be read the log does
    return exposition(series, accept)
