"""Catching up after an outage: `python -m tests.bench outage [--short] [--json] [--rounds N]`.

A webhook gets a live load of 1,000 events a second; its vendor is away for a minute (`--short`: seconds), and heals.
How fast events are delivered until none waits, against the live rate, and how late ingest answers meanwhile.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from tests.bench.isolation import behind
from tests.bench.paced import Load, Sent, send
from tests.bench.report import Figure, figure, is_short, rounds, show
from tests.bench.servers import Daemon, daemon
from tests.bench.vendors import vendors, webhooks

RATE: Final = 1000
_BATCH: Final = 2


class Live:
    """A load that goes on until it is told to end, in pieces; `p99` of the newest, in ms."""

    def __init__(self, server: Daemon, piece: float) -> None:
        self._server = server
        self._piece = piece
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.pieces: list[tuple[float, Sent]] = []
        """(when it began, what became of it)."""

    def __enter__(self) -> Live:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _send(self) -> None:
        seed = 20
        while not self._end.is_set():
            begun = time.perf_counter()
            load = Load(self._server.port, RATE / _BATCH, self._piece, _BATCH, seed=seed)
            self.pieces.append((begun, send(load)))
            seed += 1

    def p99(self, begin: float, end: float) -> float:
        """The worst of the pieces that touch this time, in ms."""
        return 1000 * max(
            (sent.p99 for at, sent in self.pieces if at < end and at + self._piece > begin), default=0.0
        )


def one() -> tuple[float, float, float]:
    """(events a second while catching up, p99 before, p99 while), milliseconds."""
    away = 5.0 if is_short() else 60.0
    piece = 2.0
    with vendors() as many, daemon(webhooks(many, "good", 1)) as server:
        with Live(server, piece) as live:
            time.sleep(3 * piece)  # the live rate, nobody away
            before = time.perf_counter()
            many.set_away(True)
            time.sleep(away)
            many.set_away(False)
            begun, waiting = _first_delivered(server)
            while behind(server, ["good0"]) > RATE / 10:
                time.sleep(0.02)
            ended = time.perf_counter()
        delivered = waiting + RATE * (ended - begun)
        calm = live.p99(before - 2 * piece, before)
        return delivered / (ended - begun), calm, live.p99(begun, ended)


def _first_delivered(server: Daemon) -> tuple[float, int]:
    """When the vendor is noticed to be well again, and how many wait then."""
    at = int(server.status()["destinations"]["good0"]["delivered"])
    while True:
        now = server.status()["destinations"]["good0"]
        if int(now["delivered"]) > at:
            return time.perf_counter(), int(now["lag_events"])
        time.sleep(0.01)


def measure() -> list[Figure]:
    found = [one() for _ in range(rounds())]
    rate = [float(RATE)] * len(found)
    calm = [it[1] for it in found]
    return [
        figure("live", "events/s", rate),
        figure(
            "delivered while it catches up",
            "events/s",
            [it[0] for it in found],
            rate,
            "3 times the live rate",
            lambda it: (it.ratio or 0) >= 3,
        ),
        figure("answer p99 before", "ms", calm),
        figure(
            "answer p99 while it catches up",
            "ms",
            [it[2] for it in found],
            calm,
            "twice that before",
            lambda it: (it.ratio or 0) <= 2,
        ),
    ]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
