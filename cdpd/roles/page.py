"""/metrics where the daemon is several processes: all of them on one page, whoever shows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.to_thread

from cdpd.control.client import ControlClient, ControlRefused, NotRunning
from cdpd.metrics import Series
from cdpd.roles.calls import SERIES
from cdpd.roles.series import decoded
from cdpd.scrape.scrape import Scrape

_PATIENCE = 5.0
"""Seconds for all processes to answer."""


class WholePage:
    """As MetricsPage: who may have it is known here, what stands on it comes from `collect`."""

    def __init__(self, local: Scrape, collect: Callable[[], Awaitable[list[Series]]]) -> None:
        self._local = local
        self._collect = collect

    @property
    def has_token(self) -> bool:
        return self._local.has_token

    def admits(self, authorization: str) -> bool:
        return self._local.admits(authorization)

    async def page(self, accept: str) -> tuple[str, bytes]:
        return await self._local.text(await self._collect(), accept)


def supervisors_page(local: Scrape, control: Path) -> WholePage:
    """What the supervisor (on its socket) has collected; only our own part, where it does not answer."""

    async def collect() -> list[Series]:
        client = ControlClient(control, _PATIENCE)
        try:
            return decoded(await anyio.to_thread.run_sync(client.call, SERIES))
        except (NotRunning, ControlRefused):
            return local.local()

    return WholePage(local, collect)
