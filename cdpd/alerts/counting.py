"""Counting what alerts look back at: of sources in the log itself, of destinations by what delivery counts.

The streams are read on from a place that is stored together with the counts: what came while nobody counted is
counted later, nothing twice; and an alert that is new, or looks back further, has its past at once. It works as well
where another process writes the streams. What delivery counts between the last round and a crash is missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import anyio.to_thread
import msgspec
from msgspec import Struct

from cdpd import metrics as names
from cdpd.alerts.counts import Counts, What
from cdpd.event import Position
from cdpd.log.errors import InvalidCursor, LogError
from cdpd.log.folder import StreamFolder
from cdpd.log.readable import ReadableStream
from cdpd.log.reader import Reader
from cdpd.metrics import Metrics

_SLICES: Final = 100
"""So many slices of a stream at a time; then other alerts have their turn."""
_OF_DESTINATIONS: Final[Mapping[str, What]] = {names.DELIVERED.name: "delivered", names.PARKED.name: "parked"}
"""Their first label is the destination's name."""


class Place(Struct, frozen=True):
    """How far a stream is counted."""

    position: Position
    since_ms: int
    """From this log time on all of it is in the counts."""


class StreamCount:
    """Counts the lines of one stream by their source."""

    def __init__(
        self,
        what: What,
        stream: ReadableStream,
        count: Callable[[Iterable[bytes]], Counter[str]],
        place: Place | None,
    ) -> None:
        self.place = place
        """How far it is; stored with the counts."""
        self.problem: str | None = None
        """Why it does not get on."""
        self.through = False
        """Whether all that there was is counted."""
        self._what: What = what
        self._stream = stream
        self._count = count
        self._reader: Reader | None = None

    def close(self) -> None:
        """Close the file that is open; where to go on is looked for anew. Not during a `step`."""
        self.problem = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    async def step(self, counts: Counts, now_ms: int, from_ms: int) -> None:
        """Count on, for a while. Nobody looks back further than `from_ms`; what was before is not counted."""
        self.through = False
        try:
            if self._reader is None:
                await self._begin(counts, now_ms, from_ms)
            elif self.place is not None and self.place.since_ms < from_ms:
                self.place = Place(self.place.position, from_ms)
            for _ in range(_SLICES):
                if not await anyio.to_thread.run_sync(self._slice, counts):
                    self.through = True
                    break
            self.problem = None
        except InvalidCursor:  # of another log, or removed by retention: what is counted is not true any more
            self.close()
            self.place = None
        except LogError as error:
            self.problem = str(error)

    async def _begin(self, counts: Counts, now_ms: int, from_ms: int) -> None:
        start, since_ms = await anyio.to_thread.run_sync(self._start, now_ms, from_ms)
        place = self.place
        if place is None or place.since_ms > max(since_ms, from_ms) or place.position.offset < start.offset:
            counts.forget(self._what)
            self.place = place = Place(start, max(since_ms, from_ms))
        self._reader = self._stream.reader(place.position)

    def _start(self, now_ms: int, from_ms: int) -> tuple[Position, int]:
        """Where lines of that time begin, or a bit before; and since when the stream has all of them."""
        folder = StreamFolder(self._stream.folder)
        first = next(iter(folder.segments()), None)
        if first is None:
            return self._stream.end, now_ms
        return folder.at_time(from_ms), first.first_ms

    def _slice(self, counts: Counts) -> bool:
        """In a thread; nobody else touches the counts meanwhile. False where there was nothing to read."""
        assert self._reader is not None
        assert self.place is not None
        piece = self._reader.read()
        if piece is None:
            return False
        for frame in piece.frames:
            for source, n in self._count(frame.lines).items():
                counts.add(self._what, source, frame.last_ms, n)
        self.place = Place(piece.end, self.place.since_ms)
        return True


class Deliveries:
    """What delivery has counted of destinations since one looked last."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._before: Counter[tuple[What, str]] = Counter()

    def take(self, counts: Counts, now_ms: int) -> None:
        """Add it to the counts. The first look is to be at the daemon's start."""
        now: Counter[tuple[What, str]] = Counter()
        for one in self._metrics.series():
            what = _OF_DESTINATIONS.get(one.family.name)
            if what is not None:
                now[what, one.labels[0]] += int(one.value)
        for (what, name), n in (now - self._before).items():
            counts.add(what, name, now_ms, n)
        self._before = now


# -- lines → how many of each source ----------------------------------------------------------------------


class _Outer(Struct, rename="camel"):
    source: str = ""
    retry_of: int | None = None
    kind: str | None = None
    """Of an object (`set`), which is no event."""


class _Discarded(Struct):
    code: str = ""
    line: _Outer = msgspec.field(default_factory=_Outer)


_SOURCE: Final = b',"source":"'
_EVENT: Final = b',"event":'
_RETRY: Final = b',"retryOf":'
_KIND: Final = b',"kind":'
_HEAD: Final = 64
"""Bytes of a line within which ingest puts the source's name."""
_decode: Final = msgspec.json.Decoder(_Outer).decode
_decode_discarded: Final = msgspec.json.Decoder(_Discarded).decode


def received_by_source(lines: Iterable[bytes]) -> Counter[str]:
    """Lines of `received`, without objects and those that repeat an earlier one (`cdpd discarded retry`)."""
    found: dict[bytes, int] = {}
    slowly: Counter[str] = Counter()
    for line in lines:
        start = line.find(_SOURCE, 0, _HEAD) + len(_SOURCE)
        if start < len(_SOURCE):
            if line:  # not as ingest writes it
                slowly.update(_outer(line))
            continue
        event = line.find(_EVENT, start)
        if event < 0 or (line.find(_RETRY, start, event) < 0 and line.find(_KIND, start, event) < 0):
            name = line[start : line.find(b'"', start)]
            found[name] = found.get(name, 0) + 1
    return slowly + Counter({name.decode(errors="replace"): n for name, n in found.items()})


def discarded_by_source(lines: Iterable[bytes]) -> Counter[str]:
    """Lines of `discarded`, without duplicates, objects and those of a repeated line."""
    found: Counter[str] = Counter()
    for line in lines:
        if not line:
            continue
        try:
            seen = _decode_discarded(line)
        except msgspec.MsgspecError:
            continue
        if seen.code != "duplicate" and seen.line.retry_of is None and seen.line.kind is None:
            found[seen.line.source] += 1
    return found


def _outer(line: bytes) -> list[str]:
    try:
        seen = _decode(line)
    except msgspec.MsgspecError:
        return []
    return [seen.source] if seen.retry_of is None and seen.kind is None else []
