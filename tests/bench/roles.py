"""One process or several on the same cores: `python -m tests.bench roles [--short] [--json]`; needs `wrk`.

Requests are sent as fast as they are answered, then what waits is processed. "accepted": events answered 200 a second
while they are sent; "all the way": all of them, from the first request to the last delivery (hooks spec, dedup, ip; a
null destination). No process is pinned; `wrk` has a share of the second core, which in earnest is somebody else's: so
on two cores several processes are worth more than is seen here. Ratios are to one process in the same round.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.report import Figure, figure, is_short, rounds, show
from tests.bench.servers import Daemon, daemon
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


_UNITS: Final = {"accepted": "events/s", "all the way": "events/s", "by CPU": "events/CPU-ms"}


def flood(server: Daemon, events: int, connections: int, seconds: float) -> dict[str, float]:
    """What is measured of one daemon under one load, by the names in _UNITS."""
    requests_per_second(server.port, events, connections, 1)  # warm
    until_delivered(server)
    warm, cpu, begun = server.received(), cpu_seconds(server), time.monotonic()
    accepted = requests_per_second(server.port, events, connections, seconds) * events
    until_delivered(server)
    took = time.monotonic() - begun
    count = server.received() - warm
    return {
        "accepted": accepted,
        "all the way": count / took,
        "by CPU": count / (cpu_seconds(server) - cpu) / 1000,
    }


def until_delivered(server: Daemon) -> None:
    while server.lag("out") > 0:
        time.sleep(0.02)


def cpu_seconds(server: Daemon) -> float:
    """What the daemon's processes have used."""
    ticks = 0
    for pid in pids(server):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def pids(server: Daemon) -> Sequence[int]:
    status = server.status()
    return [status["pid"], *(process["pid"] for process in status.get("processes", {}).values())]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
