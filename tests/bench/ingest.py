"""Ingest alone: `python -m tests.bench ingest [--short] [--json]`; needs `wrk`.

One after the other in each round, each server alone on one core: a bare aiohttp + uvloop server that reads the body
and answers, ingest with a log that takes everything at once, ingest with the real log.
"""

from __future__ import annotations

from tests.bench.report import Figure, figure, is_short, rounds, show
from tests.bench.servers import SERVERS, running
from tests.bench.wrk import need_wrk, requests_per_second

LOADS = {"single": (1, 64), "batch of 100": (100, 16)}
"""Name → events a request, connections."""


def measure() -> list[Figure]:
    need_wrk()
    seconds = 1 if is_short() else 4
    rates: dict[tuple[str, str], list[float]] = {}
    costs: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds()):
        for name in SERVERS:
            with running(name) as server:
                requests_per_second(server.port, 1, 16, 1)  # warm
                for load, (events, connections) in LOADS.items():
                    before = server.cpu_seconds()
                    rate = (
                        requests_per_second(server.port, events, connections, seconds, unique=False) * events
                    )
                    rates.setdefault((load, name), []).append(rate)
                    cost = (server.cpu_seconds() - before) / (rate * seconds) * 1e6
                    costs.setdefault((load, name), []).append(cost)
    figures = []
    for (load, name), values in rates.items():
        goal, least = "", 0.0
        if name == "ingest, durable":
            goal, least = ("0.70 of bare", 0.70) if load == "single" else ("0.154 of bare", 100_000 / 650_000)
        base = rates[load, "bare aiohttp"]
        met = (lambda one, least=least: (one.ratio or 0) >= least) if goal else None
        figures.append(figure(f"{load}: {name}", "events/s", values, base, goal, met))
    for (load, name), values in costs.items():
        inverse = [1 / value for value in values]
        base = [1 / value for value in costs[load, "bare aiohttp"]]
        figures.append(
            figure(
                f"{load}: {name}, by CPU",
                "events/CPU-ms",
                [one * 1000 for one in inverse],
                [one * 1000 for one in base],
            )
        )
    return figures


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
