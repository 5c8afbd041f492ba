"""A soak: `python -m tests.bench soak [--minutes N] [--rate N] [--json]` (20 minutes, 5,000 single events a second).

The daemon with spec, dedup, ip and a null destination. Memory and descriptors are read every ten seconds; flat means
that the last third is where the second was.
"""

from __future__ import annotations

import statistics
import sys
import threading
from pathlib import Path

from tests.bench.paced import Load, Sent, send
from tests.bench.report import Figure, figure, is_short, show
from tests.bench.servers import Daemon, daemon
from tests.bench.steady import NULL

EVERY = 10.0
"""Seconds between two readings."""


def option(name: str, default: float) -> float:
    """`--name N` of the command line."""
    return float(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


class Readings:
    """Memory (MB) and descriptors of a daemon as time goes by."""

    def __init__(self, server: Daemon) -> None:
        self._server = server
        self.memory: list[float] = []
        self.descriptors: list[float] = []
        self.lag: list[float] = []

    def read(self) -> None:
        self.memory.append(self._server.memory() / 1e6)
        self.descriptors.append(len(list(Path(f"/proc/{self._server.process.pid}/fd").iterdir())))
        self.lag.append(self._server.lag("out"))


def measure() -> list[Figure]:
    seconds = 20.0 if is_short() else option("--minutes", 20) * 60
    rate = option("--rate", 5000)
    sent: list[Sent] = []
    with daemon(NULL) as whole:
        readings = Readings(whole)

        def load() -> None:
            # In pieces, so that the sender keeps no list of hundreds of thousands of latencies.
            left, seed = seconds, 1
            while left > 0:
                piece = min(left, 60.0)
                sent.append(send(Load(whole.port, rate, piece, seed=seed)))
                left -= piece
                seed += 1

        sender = threading.Thread(target=load)
        sender.start()
        while sender.is_alive():
            sender.join(EVERY if not is_short() else 2)
            readings.read()
        received = whole.received()
    third = max(len(readings.memory) // 3, 1)
    second, last = readings.memory[third : 2 * third], readings.memory[-third:]
    grown = statistics.mean(last) - statistics.mean(second or last)
    return [
        figure("events", "received", [float(received)]),
        figure("requests refused", "requests", [float(sum(one.refused for one in sent))]),
        figure("answer p99, each minute", "ms", [one.p99 * 1000 for one in sent]),
        figure("lag", "events", readings.lag),
        figure("anonymous memory", "MB", readings.memory),
        figure(
            "memory, last third over second",
            "MB",
            [grown],
            (),
            "flat: 5 MB at most",
            lambda one: one.median <= 5,
        ),
        figure("descriptors", "open", readings.descriptors),
        figure(
            "descriptors, most in the last third over the second",
            "open",
            [max(readings.descriptors[-third:]) - max(readings.descriptors[third : 2 * third] or [0])],
            (),
            "flat: none",
            lambda one: one.median <= 0,
        ),
    ]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
