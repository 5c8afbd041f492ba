"""Disk, memory and start: `python -m tests.bench size [--short] [--json]`.

Disk: the bytes of both streams as a share of the bodies received, at 1, 10 and 64 events a request's frame, as
written. Memory: anonymous, after ten million events that are all within the dedup window (`--short`: 50,000). Start:
to the first answer, on what that left.
"""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import msgspec

from cdpd.log.folder import StreamFolder
from tests.bench.paced import Load, send
from tests.bench.report import Figure, figure, is_short, show
from tests.bench.servers import Daemon, daemon
from tests.bench.steady import NULL


def share(events: int, requests: int) -> float:
    """Bytes of both streams ÷ bytes of the events received, with so many events a request."""
    with daemon(NULL) as whole:
        sent = send(
            Load(whole.port, max(2000 / events, 50), requests / max(2000 / events, 50), events, 1, seed=8)
        )
        assert not sent.refused
        while whole.lag("out") > 0:
            time.sleep(0.1)
        received = sum(len(line) for line in _events(whole.data))
        on_disk = sum(
            path.stat().st_size
            for stream in ("received", "events")
            for path in (whole.data / "log" / stream).glob("*.zst")
        )
    return on_disk / received


class _Line(msgspec.Struct):
    event: msgspec.Raw


def _events(data: Path) -> list[bytes]:
    """The events' own JSON, as they came."""
    decode = msgspec.json.Decoder(_Line).decode
    reader = StreamFolder(data / "log" / "received").reader()
    found = []
    while (piece := reader.read()) is not None:
        found += [bytes(decode(line).event) for _, _, _, line in piece.records()]
    reader.close()
    return found


def memory_and_start(events: int) -> tuple[float, float, float]:
    """(MB of anonymous memory after so many events, GB of archive, seconds to the first answer of the next start)."""
    with daemon(NULL) as whole:
        left = events
        seed = 100
        while left > 0:
            count = min(left, 200_000)
            send(Load(whole.port, 200, count / 100 / 200, 100, 16, seed=seed))
            left -= count
            seed += 1
            while whole.lag("out") > 100_000:
                time.sleep(0.5)
        while whole.lag("out") > 0:
            time.sleep(0.2)
        memory = whole.memory() / 1e6
        size = sum(path.stat().st_size for path in (whole.data / "log").rglob("*") if path.is_file()) / 1e9
        folder = whole.folder
        whole.stop()
        begin = time.monotonic()
        again = Daemon(folder, NULL)
        with urllib.request.urlopen(f"http://127.0.0.1:{again.port}/health/ready") as answer:
            assert answer.status == 200
        start = time.monotonic() - begin
        again.stop()
    return memory, size, start


def measure() -> list[Figure]:
    requests = 100 if is_short() else 2000
    single, ten, large = share(1, requests), share(10, requests // 5), share(64, requests // 20)
    memory, size, start = memory_and_start(50_000 if is_short() else 10_000_000)
    return [
        figure("disk for both streams, 1 event a frame", "of received", [single]),
        figure(
            "disk for both streams, 10 events a frame",
            "of received",
            [ten],
            (),
            "0.55",
            lambda one: one.median <= 0.55,
        ),
        figure(
            "disk for both streams, 64 events a frame",
            "of received",
            [large],
            (),
            "0.55",
            lambda one: one.median <= 0.55,
        ),
        figure(
            "anonymous memory",
            "MB",
            [memory],
            (),
            "200 MB after 10 million events",
            lambda one: one.median <= 200,
        ),
        figure("archive", "GB", [size]),
        figure("start to the first answer", "s", [start], (), "2 s", lambda one: one.median <= 2),
    ]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
