"""What a destination costs in memory: `python -m tests.bench many [--short] [--json] [--rounds N]`.

A hundred webhooks (`--short`: thirty) at once under a load of 100 events a second, against one; anonymous memory of the
daemon at its highest.
"""

from __future__ import annotations

import threading
from typing import Final

from tests.bench.isolation import behind
from tests.bench.paced import Load, send
from tests.bench.report import Figure, figure, is_short, rounds, show
from tests.bench.servers import daemon
from tests.bench.vendors import Vendors, vendors, webhooks

RATE: Final = 20
_BATCH: Final = 5


def highest(many: Vendors, count: int) -> tuple[float, float]:
    """(MB at most, ingest's p99 in ms) with so many destinations."""
    seconds = 3.0 if is_short() else 30.0
    most = 0
    with daemon(webhooks(many, "good", count)) as server:
        sent = []
        load = Load(server.port, RATE, seconds, _BATCH, 4, seed=6)
        sender = threading.Thread(target=lambda: sent.append(send(load)))
        sender.start()
        while sender.is_alive():
            sender.join(0.25)
            most = max(most, server.memory())
        waiter = threading.Event()
        names = [f"good{number}" for number in range(count)]
        while behind(server, names) > 0:
            waiter.wait(0.1)
            most = max(most, server.memory())
    return most / 1e6, sent[0].p99 * 1000


def measure() -> list[Figure]:
    count = 30 if is_short() else 100
    one: list[tuple[float, float]] = []
    all_of_them: list[tuple[float, float]] = []
    with vendors() as many:
        for _ in range(rounds()):
            one.append(highest(many, 1))
            all_of_them.append(highest(many, count))
    each = [(all_[0] - single[0]) / (count - 1) for single, all_ in zip(one, all_of_them, strict=True)]
    return [
        figure("anonymous memory, 1 destination", "MB", [it[0] for it in one]),
        figure(
            f"anonymous memory, {count} destinations",
            "MB",
            [it[0] for it in all_of_them],
            [it[0] for it in one],
        ),
        figure("memory of a destination", "MB", each, (), "2 MB", lambda it: it.median <= 2),
        figure("answer p99, 1 destination", "ms", [it[1] for it in one]),
        figure(
            f"answer p99, {count} destinations", "ms", [it[1] for it in all_of_them], [it[1] for it in one]
        ),
    ]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
