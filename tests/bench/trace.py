"""Looking for one event among very many: `python -m tests.bench trace [--short] [--json] [--events N]`.

Most of the archive is filler: lines `{}`, which are quick to write, with an index as if each had an id of its own; what
is looked for are real events between them. A hundred million lines by default (about 1.7 GB, nearly all of it the
index); the newest segments of both streams are not indexed, as in a daemon that runs.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio

from cdpd.clock import SystemClock
from cdpd.config.data_folder import ids_folder, stream_folder
from cdpd.event import Position
from cdpd.log.files import OsFiles
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import Cursor
from cdpd.log.segment import segment_bases
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.trace.gather import gather
from cdpd.trace.ids import HEADER_BYTES, hash_of, ids_in, write_ids
from cdpd.trace.lookup import Lookup
from tests.bench.bodies import Bodies
from tests.bench.report import Figure, figure, is_short, show

FILES: Final = OsFiles()
_A_SEGMENT: Final = 100_000
"""Lines of filler in one segment: 1,000 segments for a hundred million."""
_REAL: Final = 50
"""Real events in each."""
_MERGED: Final = 40
"""Segments of one index file, which is about what the daemon makes of them."""
_CONFIG: Final = """
[sources.website]
type = "browser"
write_keys = ["wk_1"]
[destinations.hook]
type = "webhook"
url = "http://127.0.0.1:9/"
"""


class Archive:
    """Both streams, and what is real in them."""

    def __init__(self, folder: Path, lines: int) -> None:
        self.data = folder / "data"
        self.config = folder / "cdpd.toml"
        self.config.write_text(_CONFIG)
        self.config.chmod(0o600)
        self.segments = max(lines // _A_SEGMENT, 2)
        self.random = Random(5)
        self.bodies = Bodies(seed=3)
        self.ids: list[str] = []
        """Of real events, oldest first; equally many in each segment."""

    async def write(self, newest: int) -> None:
        """`newest`: real events in the live segment."""
        options = StreamOptions(segment_bytes=1, segment_age=1e9)
        clock, report = SystemClock(), print
        received = open_stream(
            stream_folder(self.data, "received"), clock=clock, options=options, report=report
        )
        events = open_stream(stream_folder(self.data, "events"), clock=clock, options=options, report=report)
        async with received as first, events as second:
            for number in range(self.segments):
                await self._segment(first, second, _REAL, number)
            await self._append(first, second, self._real(1))
            left = newest - 1
            live = StreamOptions(segment_bytes=1 << 30, segment_age=1e9)
            first.options = second.options = live
            while left > 0:
                await self._append(first, second, self._real(min(left, 100)))
                left -= 100

    async def _segment(self, received: Stream, events: Stream, real: int, number: int) -> None:
        filler = [b"{}"] * (_A_SEGMENT - real)
        pairs = [(line, line) for line in filler] + self._real(real)
        await self._append(received, events, pairs)

    async def _append(self, received: Stream, events: Stream, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        at = (await received.append([one for one, _ in pairs], config_id=1)).first
        cursor = Cursor(Position(at + len(pairs), received.end.epoch), 0)
        origins = range(at, at + len(pairs))
        await events.append([other for _, other in pairs], config_id=1, cursor=cursor, origins=origins)

    def _real(self, count: int) -> list[tuple[bytes, bytes]]:
        """Events as `received` and as `events` have them."""
        return [self._pair(self.bodies.event()) for _ in range(count)]

    def _pair(self, event: dict[str, Any]) -> tuple[bytes, bytes]:
        self.ids.append(event["messageId"])
        time_ = "2026-01-31T12:00:01.000Z"
        outer = {
            "receivedAt": time_,
            "source": "website",
            "messageId": event["messageId"],
            "via": {"path": "/v1/batch", "ip": "203.0.113.9"},
            "event": event,
        }
        line = {**event, "projectId": "website", "receivedAt": time_, "timestamp": time_}
        return json.dumps(outer).encode(), json.dumps(line).encode()

    def index(self, stream: str) -> None:
        """Index files as of so many ids: the real ones, and random ones for the filler."""
        folder, ids = stream_folder(self.data, stream), ids_folder(self.data, stream)
        FILES.make_folder(ids)
        bases = segment_bases(FILES, folder)[: self.segments + 1]
        epoch = StreamFolder(folder).end().epoch
        groups = range(0, self.segments, _MERGED)
        for start in groups:
            stop = min(start + _MERGED, self.segments)
            first, end = bases[start], bases[stop]
            real = sorted(
                hash_of(self.ids[number * _REAL + i].encode()) << 32
                | bases[number] - first + _A_SEGMENT - _REAL + i
                for number in range(start, stop)
                for i in range(_REAL)
            )
            write_ids(FILES, ids, first, Position(end, epoch), self._entries(end - first, real))

    def _entries(self, lines: int, real: Sequence[int]) -> Iterator[list[int]]:
        """All entries in order: those of the filler stand as evenly as those of many random ids do."""
        step, random = (1 << 64) // lines, self.random.getrandbits
        bits = step.bit_length() - 1
        filler = ((number * step + random(bits) >> 32) << 32 | number for number in range(lines))
        piece: list[int] = []
        for entry in merge(filler, real):
            piece.append(entry)
            if len(piece) == 4096:
                yield piece
                piece = []
        yield piece


def measure(lines: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("CDPD_BENCH_DIR"), prefix="cdpd-bench-") as temporary:
        archive = Archive(Path(temporary), lines)
        anyio.run(archive.write, 1000 if is_short() else 100_000)
        for stream in ("received", "events"):
            archive.index(stream)
        return [*_lookups(archive), *_gathering(Path(temporary)), *_commands(archive)]


def _lookups(archive: Archive) -> list[Figure]:
    """In this process, one stream: ids spread over the archive, some that are nowhere, and the live segment."""
    lookup = Lookup(archive.data, "events")
    live = StreamFolder(stream_folder(archive.data, "events")).segments()[-1]
    sealed = live.base
    old = archive.ids[: _REAL * archive.segments]
    found, nowhere, newest = list[float](), list[float](), list[float]()
    for message_id in archive.random.sample(old, min(200, len(old))):
        began = time.perf_counter()
        looked = lookup.find(message_id, 0, sealed)
        found.append(1000 * (time.perf_counter() - began))
        assert len(looked.hits) == 1
        assert not looked.scanned
    for number in range(100):
        began = time.perf_counter()
        assert not lookup.find(f"nowhere-{number}", 0, sealed).hits
        nowhere.append(1000 * (time.perf_counter() - began))
    for message_id in archive.ids[-5:]:
        began = time.perf_counter()
        assert len(lookup.find(message_id, sealed).hits) == 1
        newest.append(1000 * (time.perf_counter() - began))
    per_event = sum(
        ids.path.stat().st_size - HEADER_BYTES for ids in ids_in(FILES, ids_folder(archive.data, "events"))
    )
    return [
        figure("index", "bytes an event and stream", [per_event / sealed]),
        figure("an id in the index", "ms", found),
        figure("an id that is nowhere", "ms", nowhere),
        figure(f"an id in a live segment of {live.bytes >> 20} MiB", "ms", newest),
    ]


def _gathering(folder: Path) -> list[Figure]:
    """What indexing costs, without the pauses that the daemon makes."""
    bodies, count = Bodies(seed=9), 2000 if is_short() else 50_000
    lines = [json.dumps(bodies.event()).encode() for _ in range(count)]
    stream, ids = folder / "other" / "events", folder / "other" / "ids"

    async def write() -> None:
        options = StreamOptions(segment_bytes=1, segment_age=1e9)
        async with open_stream(stream, clock=SystemClock(), options=options, report=print) as its:
            await its.append(lines, config_id=1)
            await its.append(lines[:1], config_id=1)

    anyio.run(write)
    FILES.make_folder(ids)
    began = time.perf_counter()
    for base, end in pairwise(segment_bases(FILES, stream)):
        assert gather(FILES, stream, ids, base, end) is not None
    return [figure("indexing", "µs an event", [1e6 * (time.perf_counter() - began) / count])]


def _commands(archive: Archive) -> list[Figure]:
    """The command itself: Python's start, the look-up in three streams, hooks and destinations."""
    times, used = [], []
    chosen = [archive.ids[0], archive.ids[len(archive.ids) // 2], archive.ids[-1]]
    for message_id in chosen * (1 if is_short() else 3):
        command = [sys.executable, "-m", "cdpd", "trace", message_id, "--json"]
        command += ["--config", str(archive.config), "--data-dir", str(archive.data)]
        began, before = time.perf_counter(), _used()
        done = subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - began)
        used.append(_used() - before)
        (receipt,) = json.loads(done.stdout)["receipts"]
        assert receipt["fate"] == "archived"
    return [
        figure("cdpd trace", "s", times, (), "1 s", lambda one: one.median <= 1),
        figure("cdpd trace, processor time", "s", used),
    ]


def _used() -> float:
    """Seconds of processor that commands have used so far; unlike the time on the clock, no other load is in it."""
    its = resource.getrusage(resource.RUSAGE_CHILDREN)
    return its.ru_utime + its.ru_stime


def main() -> None:
    events = 100_000_000
    if "--events" in sys.argv:
        events = int(sys.argv[sys.argv.index("--events") + 1])
    show(measure(200_000 if is_short() else events))


if __name__ == "__main__":
    main()
