"""What is observed of the daemon as a whole: its loop's lag and its reloads; and where that is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.config.load import LoadedConfig
from cdpd.ingest.metrics_page import MetricsPage
from cdpd.metrics import Metrics
from cdpd.scrape.gauges import Parts
from cdpd.scrape.listener import PATH, serve_metrics
from cdpd.scrape.loop_lag import sample_loop_lag
from cdpd.scrape.scrape import Scrape


class Observation:
    """Of a process of the daemon. `loaded` gives the configuration of the moment.

    `page` makes what is shown of what this process knows; where there are several, all of them are on it.
    """

    def __init__(
        self,
        *,
        loaded: Callable[[], LoadedConfig],
        parts: Parts,
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        page: Callable[[Scrape], MetricsPage] = lambda scrape: scrape,
    ) -> None:
        self._loaded = loaded
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self.scrape = Scrape(metrics, parts, loaded().data_dir, lambda: loaded().config.metrics)
        """What this process knows."""
        self.page = page(self.scrape)
        """What is shown at /metrics."""
        self._applied()

    async def run(self) -> None:
        """Measure until cancelled."""
        await sample_loop_lag(self._clock, self._metrics)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serve /metrics where `[metrics] listen` says, inside the `with`. Raises ListenError."""
        async with serve_metrics(self.page, self._loaded().config.metrics.listen) as bound:
            if bound is not None:
                self._log.info("metrics are served", at=bound.url + ("" if bound.path else PATH))
            yield

    @contextmanager
    def reload(self) -> Iterator[None]:
        """Around a reload: whether what is in the files is what runs."""
        try:
            yield
        except Exception:
            self._metrics.set(names.RELOAD_OK, value=0)
            self._metrics.add(names.RELOADS, "refused")
            raise
        self._applied()
        self._metrics.add(names.RELOADS, "applied")

    def _applied(self) -> None:
        self._metrics.set(names.RELOAD_OK, value=1)
        self._metrics.set(names.RELOAD_TIME, value=self._clock.now_ms() / 1000)
