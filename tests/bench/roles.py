"""One process or several on the same cores: `python -m tests.bench roles [--short] [--json]`; needs `wrk`.

Requests are sent as fast as they are answered, then what waits is processed. "accepted": events answered 200 a second
while they are sent; "all the way": all of them, from the first request to the last delivery (hooks spec, dedup, ip; a
null destination). No process is pinned; `wrk` has a share of the second core, which in earnest is somebody else's: so
on two cores several processes are worth more than is seen here, and on a machine that is busy otherwise nothing.
Therefore, from the processor time that was used, also "by CPU", what all of it costs, and "by the busiest", what could
go all the way if each process had a core to itself. Ratios are to one process in the same round.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from tests.bench.report import Figure, figure, is_short, rounds, show
from tests.bench.servers import Daemon, Server, daemon
from tests.bench.wrk import need_wrk, requests_per_second
from tests.running import roles

LAYOUTS: Final[dict[str, list[list[str]]]] = {
    "one process": [],
    "ingest | process, deliver": [["ingest"], ["process", "deliver"]],
    "ingest | process | deliver": [["ingest"], ["process"], ["deliver"]],
}
LOADS: Final = {"single": (1, 64), "batch of 100": (100, 16)}
"""Name → events a request, connections."""
NULL: Final = '[destinations.out]\ntype = "null"\nfrom = "beginning"\n'


def measure() -> list[Figure]:
    need_wrk()
    seconds = 1 if is_short() else 5
    found: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(rounds()):
        for layout, groups in LAYOUTS.items():
            for load, (events, connections) in LOADS.items():
                with daemon(NULL + roles(groups), pinned=False) as server:
                    rates = flood(server, events, connections, seconds)
                for what, rate in rates.items():
                    found.setdefault((load, what, layout), []).append(rate)
    return [
        figure(f"{load}, {what}: {layout}", _UNITS[what], found[load, what, layout], found[load, what, first])
        for load in LOADS
        for what in _UNITS
        for layout, first in ((layout, next(iter(LAYOUTS))) for layout in LAYOUTS)
    ]


_UNITS: Final = {
    "accepted": "events/s",
    "all the way": "events/s",
    "by CPU": "events/CPU-ms",
    "by the busiest": "events/CPU-ms",
}


def flood(server: Daemon, events: int, connections: int, seconds: float) -> dict[str, float]:
    """What is measured of one daemon under one load, by the names in _UNITS."""
    requests_per_second(server.port, events, connections, 1)  # warm
    until_delivered(server)
    warm, cpu, begun = server.received(), cpu_seconds(server), time.monotonic()
    accepted = requests_per_second(server.port, events, connections, seconds) * events
    until_delivered(server)
    took = time.monotonic() - begun
    count = server.received() - warm
    used = [after - before for after, before in zip(cpu_seconds(server), cpu, strict=True)]
    return {
        "accepted": accepted,
        "all the way": count / took,
        "by CPU": count / sum(used) / 1000,
        "by the busiest": count / max(used) / 1000,
    }


def until_delivered(server: Daemon) -> None:
    while server.lag("out") > 0:
        time.sleep(0.02)


def cpu_seconds(server: Daemon) -> list[float]:
    """What each of the daemon's processes has used."""
    return [Server(server.port, pid).cpu_seconds() for pid in pids(server)]


def pids(server: Daemon) -> Sequence[int]:
    status = server.status()
    return [status["pid"], *(process["pid"] for process in status.get("processes", {}).values())]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
