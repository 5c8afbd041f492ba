"""The whole daemon in steady state: `python -m tests.bench steady [--short] [--json]`; needs `wrk` for the baseline.

Hooks spec, dedup and ip are on. A rate counts where, sent for some seconds at that pace, the last delivered event is
never more than a second behind the last received one, and nobody is refused; the highest such rate is searched for.
`--minute` holds the batches' rate for 60 s.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import aiohttp.web
import anyio
import uvloop

from tests.bench.paced import Load, send
from tests.bench.report import Figure, figure, is_short, rounds, show
from tests.bench.servers import Daemon, daemon, running
from tests.bench.wrk import need_wrk, requests_per_second

LAG = 1.0
"""Seconds."""
NULL = '[destinations.out]\ntype = "null"\nfrom = "beginning"\n'


class Watched:
    """The greatest lag of a daemon while a load is sent, in seconds at that load's rate."""

    def __init__(self, server: Daemon, per_second: float) -> None:
        self._server = server
        self._rate = per_second
        self._end = threading.Event()
        self.longest = 0.0
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        self._end.wait(1)
        while not self._end.wait(0.25):
            self.longest = max(self.longest, self._server.lag("out") / self._rate)


def holds(server: Daemon, events: int, rate: float, seconds: float, seed: int) -> bool:
    """Whether the daemon keeps up with so many events a second."""
    with Watched(server, rate) as watched:
        sent = send(Load(server.port, rate / events, seconds, events, 64 if events == 1 else 16, seed=seed))
    return not sent.refused and sent.late < 0.5 and sent.p99 < LAG and watched.longest < LAG


def highest(server: Daemon, events: int, bare: float, seconds: float) -> float:
    """The highest rate, events a second, that is held; to about 4 %."""
    low, high = 0.0, bare
    rate = bare * (0.3 if events == 1 else 0.04)
    for step in range(4 if is_short() else 9):
        if holds(server, events, rate, seconds, step + 2):
            low, rate = rate, min(rate * 1.5, (rate + high) / 2)
        else:
            high, rate = rate, (low + rate) / 2
        if high - low < 0.04 * high:
            break
        _settle(server)
    return low


def _settle(server: Daemon) -> None:
    """Wait until everything is delivered."""
    for _ in range(600):
        if server.lag("out") <= 0:
            return
        threading.Event().wait(0.1)


def measure() -> list[Figure]:
    need_wrk()
    seconds = 1.5 if is_short() else 5
    bare: dict[int, list[float]] = {1: [], 100: []}
    found: dict[int, list[float]] = {1: [], 100: []}
    hook: list[float] = []
    for _ in range(rounds()):
        for events, connections in ((1, 64), (100, 16)):
            with running("bare aiohttp") as server:
                rate = requests_per_second(server.port, events, connections, seconds) * events
            bare[events].append(rate)
            with daemon(NULL) as whole:
                found[events].append(highest(whole, events, rate, seconds))
        with webhook() as url, daemon(webhook_config(url)) as whole:
            hook.append(highest(whole, 100, bare[100][-1], seconds))
    figures = [
        figure(
            "single events to null",
            "events/s",
            found[1],
            bare[1],
            "0.50 of bare",
            lambda one: (one.ratio or 0) >= 0.5,
        ),
        figure(
            "batches to null", "events/s", found[100], bare[100], "30,000/s", lambda one: one.median >= 30_000
        ),
        figure(
            "batches to a webhook, 500 each",
            "events/s",
            hook,
            bare[100],
            "20,000/s",
            lambda one: one.median >= 20_000,
        ),
    ]
    if "--minute" in sys.argv:
        with daemon(NULL) as whole:
            kept = holds(whole, 100, 30_000, 60, 99)
        figures.append(
            figure("30,000 events/s in batches for 60 s", "held" if kept else "NOT held", [30_000.0])
        )
    return figures


def webhook_config(url: str) -> str:
    """A destination that sends arrays of 500 events there."""
    return f'[destinations.out]\ntype = "webhook"\nmode = "batch"\nurl = "{url}"\nfrom = "beginning"\n'


@contextmanager
def webhook() -> Iterator[str]:
    """A vendor on the second core that takes everything."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_vendor, args=(there,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/"
    finally:
        process.terminate()
        process.join()


def _vendor(pipe: Connection) -> None:
    """Says its port, and answers 200."""

    async def serve() -> None:
        async def take(request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
            await request.read()
            return aiohttp.web.Response(body=b"{}")

        runner = aiohttp.web.ServerRunner(aiohttp.web.Server(take))
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await anyio.sleep_forever()

    uvloop.run(serve())


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
