"""Do dead destinations slow the others? `python -m tests.bench isolation [--short] [--json] [--rounds N]`.

Five good webhooks, alone and beside ten that hang and five that answer 500: how fast the five work off a backlog, and
how late ingest answers at 500 single events a second afterwards. The rounds of both kinds alternate.
"""

from __future__ import annotations

import time
from typing import Final

from tests.bench.paced import Load, send
from tests.bench.report import Figure, figure, is_short, rounds, show
from tests.bench.servers import Daemon, daemon
from tests.bench.vendors import Vendors, vendors, webhooks

GOOD: Final = 5
RATE: Final = 500
_BATCH: Final = 100


def backlog(server: Daemon, events: int) -> None:
    """So many events, in the log and through the pipeline."""
    send(Load(server.port, 100, events / _BATCH / 100, _BATCH, 16, seed=3))
    until_piped(server)


def until_piped(server: Daemon) -> None:
    """Return once the pipeline has handled all that was received."""
    while True:
        status = server.status()
        if int(status["pipeline"]["received"]) >= int(status["streams"]["received"]["end"]):
            return
        time.sleep(0.05)


def behind(server: Daemon, names: list[str]) -> int:
    """Events that the slowest of these destinations has still to get."""
    status = server.status()
    end = int(status["streams"]["events"]["end"])
    return max(end - int(status["destinations"][name]["position"]) for name in names)


def one(many: Vendors, beside: str) -> tuple[float, float]:
    """(events a second that each of the five gets, ingest's p99 in ms)."""
    events = 20_000 if is_short() else 200_000
    seconds = 2.0 if is_short() else 10.0
    good = [f"good{number}" for number in range(GOOD)]
    later = 'from = "beginning"\nenabled = false'
    with daemon(webhooks(many, "good", GOOD, later) + beside) as server:
        backlog(server, events)
        config = server.folder / "cdpd.toml"
        config.write_text(config.read_text().replace("enabled = false", "enabled = true"))
        begun = time.perf_counter()
        server.reload()
        while behind(server, good) > 0:
            time.sleep(0.02)
        throughput = events / (time.perf_counter() - begun)
        live = send(Load(server.port, RATE, seconds, seed=4))
    return throughput, live.p99 * 1000


def measure() -> list[Figure]:
    alone: list[tuple[float, float]] = []
    beside: list[tuple[float, float]] = []
    with vendors() as many:
        dead = webhooks(many, "hang", 10, 'from = "beginning"') + webhooks(
            many, "fail", 5, 'from = "beginning"'
        )
        for _ in range(rounds()):
            alone.append(one(many, ""))
            beside.append(one(many, dead))
    rate = [each[0] for each in alone]
    p99 = [each[1] for each in alone]
    return [
        figure("5 destinations alone, a backlog", "events/s each", rate),
        figure(
            "5 beside 10 that hang and 5 that fail",
            "events/s each",
            [each[0] for each in beside],
            rate,
            "0.90 of alone",
            lambda it: (it.ratio or 0) >= 0.9,
        ),
        figure(f"answer p99 at {RATE}/s, alone", "ms", p99),
        figure(
            f"answer p99 at {RATE}/s, beside the dead",
            "ms",
            [each[1] for each in beside],
            p99,
            "as alone (1.2)",
            lambda it: (it.ratio or 0) <= 1.2,
        ),
    ]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
