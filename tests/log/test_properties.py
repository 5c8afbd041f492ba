"""The log against a model, on a simulated disk that loses, tears and fails: three streams, as the daemon uses them.

What must hold, whatever happens: an acknowledged line stays where it was; nobody ever sees an offset twice with
different content; each received line is in `events` or `discarded` exactly once, as far as `events` says.
`CDPD_LOG_EXAMPLES=3000 pytest tests/log/test_properties.py` runs longer than the ordinary 250 examples.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cdpd.event import BEGINNING
from cdpd.log.errors import AppendFailed, NoLongerKept, NotRecovered
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import Cursor
from cdpd.log.reader import Reader
from cdpd.log.recompress import Recompression
from cdpd.log.retention import Retention
from cdpd.log.segment import segment_bases
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.log.thread import OneThread
from tests.clock import FakeClock
from tests.log.disk import KINDS, Disk, Fault

T = TypeVar("T")
LOG = Path("/simulated")
NAMES = ("received", "events", "discarded")
NOT_CUT = [
    ("sync", "truncate"),
    ("sync", "truncate", "create"),
    ("write", "truncate"),
    ("sync", "truncate", "sync_folder"),
]
BATCHES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0, 10, 30, 150])), min_size=1, max_size=5)
OPTIONS = StreamOptions(segment_bytes=900, segment_age=500.0)


class Died(Exception):
    """The simulated process is dead and waits for ever."""


async def inline(work: Callable[..., T], *args: Any, **_: Any) -> T:
    """In place of a worker thread: others may run before, so that appends gather; then it is done at once."""
    for _i in range(3):
        await asyncio.sleep(0)
    return work(*args)


async def in_place_of_a_thread(_: OneThread, work: Callable[..., T], *args: Any) -> T:
    return await inline(work, *args)


class Log(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patches = [
            mock.patch("anyio.to_thread.run_sync", inline),
            mock.patch.object(OneThread, "run", in_place_of_a_thread),
            mock.patch("cdpd.log.append.MAX_CONTENT", 200),
            mock.patch("cdpd.log.recompress.MAX_CONTENT", 1000),
            mock.patch("cdpd.log.recompress._SYNC_EVERY", 300),
        ]
        for patch in self.patches:
            patch.start()
        self.loop = asyncio.new_event_loop()
        self.disk = Disk()
        self.clock = FakeClock()
        self.reports: list[str] = []
        self.number = 0
        self.acknowledged: dict[int, bytes] = {}
        self.refused: set[bytes] = set()
        self.seen: dict[str, dict[int, tuple[bytes, int]]] = {name: {} for name in NAMES}
        self.consumers = dict.fromkeys(NAMES, BEGINNING)
        self.streams: dict[str, Stream] = {}
        self.readers: dict[str, Reader] = {}
        self.life: asyncio.Task[None] | None = None

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.disk.random.seed(seed)
        assert self._start()

    # --- running the loop ---

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(self._through(work))

    async def _through(self, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
            if turns > 300:
                if self.disk.dead:
                    task.cancel()
                    raise Died
                assert self.clock.sleepers, f"nothing moves any more: {self.disk.history[-20:]}"
                await self.clock.advance(1.0)
                turns = 0
        return await task

    async def _live(self, up: asyncio.Event, down: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:

            async def opened(name: str, floor: int, target: int | None) -> Stream:
                return await stack.enter_async_context(
                    open_stream(
                        LOG / name, clock=self.clock, options=OPTIONS, files=self.disk,
                        floor=floor, target=target, report=self.reports.append,
                    )
                )  # fmt: skip

            events = await opened("events", self.consumers["events"].offset, None)
            cursor = events.cursor
            received = await opened("received", cursor.received.offset if cursor else 0, None)
            discarded = await opened("discarded", 0, cursor.discarded if cursor else 0)
            self.streams = {"received": received, "events": events, "discarded": discarded}
            up.set()
            await down.wait()

    def _end(self) -> None:
        """Leave the streams' context; whether the disk still takes anything is another matter."""
        if self.life is not None:
            self.down.set()
            self.loop.run_until_complete(asyncio.wait([self.life]))
            self.life.exception()  # a dead disk may say so at the end
        self.life, self.streams = None, {}

    def _crash(self, reboot: bool, look: bool = False) -> None:
        self.disk.operations_left = 0
        self._end()
        if reboot:
            self.disk.reboot()
        else:
            self.disk.next_process()
        self._start_again(look)

    def _start_again(self, look: bool) -> None:
        if look:
            for name in NAMES:
                self.consume(name, 3)
        if not self._start():  # it was refused by a failing disk: another process, which has better luck
            self.disk.next_process()
            assert self._start()

    def _start(self) -> bool:
        up, self.down = asyncio.Event(), asyncio.Event()
        self.reports.clear()
        self.life = self.loop.create_task(self._live(up, self.down))

        async def wait_up() -> None:
            waiting = asyncio.ensure_future(up.wait())
            await asyncio.wait([waiting, self.life or waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

        self.run(wait_up())
        damage = [text for text in self.reports if "damage" in text]
        assert not damage, damage
        if self.life.done():
            error = self.life.exception()
            assert isinstance(error, OSError), f"a start failed: {error!r}"
            self.life, self.streams = None, {}
            return False
        self._check_everything()
        return True

    # --- what goes wrong ---

    @rule(look=st.booleans())
    def stop_and_start(self, look: bool) -> None:
        self._end()
        self.disk.next_process()
        self._start_again(look)

    @rule(reboot=st.booleans(), look=st.booleans())
    def crash(self, reboot: bool, look: bool) -> None:
        self._crash(reboot, look)

    @rule(
        operations=st.integers(0, 9),
        receiving=st.booleans(),
        then=st.sampled_from([[False], [True], [False, True]]),
        batches=BATCHES,
        keep=st.integers(0, 255),
    )
    def crash_at_work(
        self, operations: int, receiving: bool, then: list[bool], batches: list[tuple[int, int]], keep: int
    ) -> None:
        """The process dies in the middle; what follows, a power loss or another process, may be cut short too."""
        if not receiving:
            self.receive(batches, 1)
        life = self.life
        self.disk.operations_left = operations
        if receiving:
            self.receive(batches, 1)
        if self.life is life:
            self.pipeline(8, keep, False)
        for reboot in then[self.life is not life :]:
            self._crash(reboot)

    @rule(operations=st.integers(0, 12))
    def die_soon(self, operations: int) -> None:
        self.disk.operations_left = operations

    @rule(
        kind=st.sampled_from(KINDS),
        skip=st.integers(0, 3),
        times=st.integers(1, 4),
        folder=st.none() | st.sampled_from(NAMES),
    )
    def disk_will_fail(self, kind: str, skip: int, times: int, folder: str | None) -> None:
        self.disk.faults.append(Fault(kind, skip, times, folder))

    @rule(kinds=st.sampled_from(NOT_CUT), folder=st.sampled_from(NAMES))
    def write_will_fail_and_not_be_cut(self, kinds: tuple[str, ...], folder: str) -> None:
        self.disk.faults += [Fault(kind, 0, 1, folder) for kind in kinds]

    @rule(
        kinds=st.sampled_from([("sync",), ("overwrite",), *NOT_CUT]),
        then=st.sampled_from(["go on", "reboot", "go on and reboot"]),
        keep=st.integers(0, 255),
    )
    def events_fail(self, kinds: tuple[str, ...], then: str, keep: int) -> None:
        """The pipeline's append to `events` fails after `discarded` was synced."""
        self.receive([(4, 10)], 1)
        self.pipeline(3, keep, False)
        faults = [Fault(kind, 0, 1, "events") for kind in kinds]
        self.disk.faults += faults
        self.pipeline(8, keep, False)
        for fault in faults:
            fault.times = 0
        if then != "reboot":
            self.pipeline(8, ~keep & 255, False)
        if then != "go on":
            self._crash(reboot=True)

    @rule(seconds=st.sampled_from([1, 200, 600]), back=st.booleans())
    def time_passes(self, seconds: int, back: bool) -> None:
        self.loop.run_until_complete(self.clock.advance(seconds))
        if back:
            self.clock.wall_ms -= 2 * seconds * 1000

    # --- the daemon's work ---

    @rule(
        batches=BATCHES,
        config_id=st.integers(1, 2),
    )
    def receive(self, batches: list[tuple[int, int]], config_id: int) -> None:
        received = self.streams["received"]

        async def one(count: int, size: int) -> None:
            lines = [self._line(pad="x" * size) for _ in range(count)]
            try:
                done = await received.append(lines, config_id=config_id)
            except AppendFailed:
                if received._writer.settled and not self.disk.dead:
                    self.refused.update(lines)
                return
            assert done.end.offset == done.first + count
            for offset, line in enumerate(lines, done.first):
                assert offset not in self.acknowledged, f"offset {offset} was given out twice"
                self.acknowledged[offset] = line

        async def all_together() -> None:
            await asyncio.gather(*(one(count, size) for count, size in batches))

        self._work(all_together())

    @rule(count=st.integers(2, 12), keep=st.integers(0, 255))
    def trickle(self, count: int, keep: int) -> None:
        """Line after line, each in a frame of its own at a time of its own."""
        for _ in range(count):
            self.receive([(1, 0)], 1)
            self.loop.run_until_complete(self.clock.advance(1))
            self.pipeline(8, keep, False)

    def _line(self, **more: object) -> bytes:
        self.number += 1
        return json.dumps({"n": self.number, **more}).encode()

    def _work(self, work: Awaitable[None]) -> None:
        try:
            self.run(work)
        except Died:
            pass
        if self.disk.dead:
            self._crash(reboot=self.disk.random.random() < 0.6, look=self.disk.random.random() < 0.3)

    @rule(slice_=st.integers(1, 8), keep=st.integers(0, 255), split=st.booleans())
    def pipeline(self, slice_: int, keep: int, split: bool) -> None:
        self._work(self._pipeline(slice_, keep, split))

    async def _pipeline(self, max_lines: int, keep: int, split: bool) -> None:
        received, events, discarded = (self.streams[name] for name in NAMES)
        try:
            cursor = events.cursor or Cursor(BEGINNING, 0)
            reader = received.reader(cursor.received)
            piece = reader.read(max_lines=max_lines)
            if piece is None:
                return
            kept, dropped, origins = [], [], []
            pad = "x" * (80 if keep & 16 else 0)  # some appends take several frames
            for i, (_, offset, _, _) in enumerate(piece.records()):
                if keep >> (i % 8) & 1:
                    kept.append(self._line(of=offset, pad=pad))
                    origins.append(offset)
                else:
                    dropped.append(self._line(of=offset, pad=pad))
            end = cursor.discarded
            for part in [dropped[:1], dropped[1:]] if split else [dropped]:
                if part:
                    done = await discarded.append(part, config_id=1, publish=False)
                    assert done.first == end
                    end = done.end.offset
            last_ms = piece.frames[-1].last_ms
            await events.append(
                kept, config_id=1, cursor=Cursor(piece.end, end), origins=origins,
                first_ms=piece.frames[0].first_ms, last_ms=last_ms,
            )  # fmt: skip
            discarded.publish()
        except AppendFailed:
            await discarded.cut_to((events.cursor or Cursor(BEGINNING, 0)).discarded)

    @rule(
        name=st.sampled_from(NAMES),
        keep_bytes=st.none() | st.integers(0, 3000),
        keep=st.none() | st.sampled_from([0.0, 300.0]),
    )
    def retain(self, name: str, keep_bytes: int | None, keep: float | None) -> None:
        self._read(name, self.streams[name].reader())
        cursor = self.streams["events"].cursor or Cursor(BEGINNING, 0)
        needed = {"consumer": self.consumers[name].offset}
        if name == "received":
            needed["pipeline"] = cursor.received.offset

        async def work() -> None:
            try:
                done = await self.streams[name].retain(Retention(keep, keep_bytes), needed)
            except OSError:
                return
            assert all(part.end <= min(needed.values()) for part in done.removed)
            assert set(done.held) <= set(needed)

        self._work(work())

    @rule(
        name=st.sampled_from(NAMES),
        which=st.integers(0, 5),
        operations=st.none() | st.integers(0, 12),
        between=st.sampled_from(["nothing", "retention", "reading"]),
    )
    def recompress(self, name: str, which: int, operations: int | None, between: str) -> None:
        """In the background; the process may die on the way, segments may go, readers have the old file open."""
        stream = self.streams[name]
        sealed = [
            (base, end)
            for base, end in pairwise(segment_bases(self.disk, LOG / name))
            if end <= stream.live_segment
        ]
        if not sealed:
            return
        base, end = sealed[which % len(sealed)]
        self.disk.operations_left = operations

        async def work() -> None:
            try:
                job = Recompression(self.disk, LOG / name, base, end)
                try:
                    while job.step():
                        await asyncio.sleep(0)
                        if between == "reading":
                            self.read_on(name, 1)
                    if between == "retention":
                        needed = {"consumer": self.consumers[name].offset}
                        if name == "received":
                            cursor = self.streams["events"].cursor or Cursor(BEGINNING, 0)
                            needed["pipeline"] = cursor.received.offset
                        await stream.retain(Retention(0.0, 0), needed)
                    if await stream.exclusively(job.swap):
                        job.finish()
                finally:
                    job.close()
            except (OSError, NoLongerKept):
                pass

        self._read(name, stream.reader())
        self._work(work())

    # --- reading ---

    @rule(name=st.sampled_from(NAMES), lines=st.integers(1, 5))
    def read_on(self, name: str, lines: int) -> None:
        """A reader that keeps its file open, whatever happens meanwhile."""
        reader = self.readers.setdefault(name, StreamFolder(LOG / name, self.disk).reader())
        try:
            self._read(name, reader, lines, pieces=1)
        except NoLongerKept:
            reader.seek(BEGINNING)
        except NotRecovered:
            assert self.life is None

    @rule(name=st.sampled_from(NAMES), lines=st.integers(1, 5))
    def consume(self, name: str, lines: int) -> None:
        """A consumer in another process goes on where it was, whatever happened meanwhile."""
        reader = StreamFolder(LOG / name, self.disk).reader(self.consumers[name])
        try:
            self._read(name, reader, lines, pieces=2)
        except NoLongerKept:
            self.consumers[name] = BEGINNING
        except NotRecovered:
            assert self.life is None
        else:
            self.consumers[name] = reader.position

    def _read(self, name: str, reader: Reader, lines: int = 1000, pieces: int = 10**6) -> None:
        expected = None
        while pieces and (piece := reader.read(max_lines=lines, max_bytes=500)) is not None:
            pieces -= 1
            seen = self.seen[name]
            for frame in piece.frames:
                assert expected in (None, frame.base), f"{name} goes on at {frame.base}, not at {expected}"
                assert len(frame.lines) == frame.count
                expected = frame.base + frame.count
                for offset, line in enumerate(frame.lines, frame.base):
                    before = seen.setdefault(offset, (line, frame.last_ms))
                    assert before == (line, frame.last_ms), f"{name} {offset}: {before}, then {line!r}"
                    assert line not in self.refused, f"{name} {offset}: {line!r} was refused"
                if frame.origins is not None:
                    assert [json.loads(line)["of"] for line in frame.lines] == list(frame.origins)
            assert piece.end == reader.position

    @rule()
    def check_everything(self) -> None:
        self._check_everything()

    def _check_everything(self) -> None:
        for name, stream in self.streams.items():
            for reader in (stream.reader(), stream.reader(self.consumers[name])):
                try:
                    self._read(name, reader)
                except NoLongerKept:
                    assert self.consumers[name].offset < stream.begin
                else:
                    assert reader.position.offset == max(stream.end.offset, 0)
            times = [ms for _, (_, ms) in sorted(self.seen[name].items())]
            assert times == sorted(times), f"log time of {name} goes back"
        received, events, discarded = (self.streams[name] for name in NAMES)
        for offset, line in self.acknowledged.items():
            known = self.seen["received"].get(offset)
            assert known is not None or offset < received.begin, f"acknowledged, and lost: {offset} {line!r}"
            assert known is None or known[0] == line, (
                f"{offset}: {line!r} was acknowledged, {known[0]!r} is there"
            )
        cursor = events.cursor or Cursor(BEGINNING, 0)
        handled = sorted(
            json.loads(line)["of"] for name in ("events", "discarded") for line, _ in self.seen[name].values()
        )
        assert handled == list(range(cursor.received.offset)), (handled, cursor)
        assert discarded.end.offset == cursor.discarded, "discarded and events disagree"

    @invariant()
    def ends_are_readable(self) -> None:
        for name, stream in self.streams.items():
            end = StreamFolder(LOG / name, self.disk).end()
            assert end.offset <= stream.end.offset or name == "discarded"

    def teardown(self) -> None:
        try:
            self._crash(reboot=True)
            for name in NAMES:
                findings = StreamFolder(LOG / name, self.disk).verify()
                assert not [finding for finding in findings if finding.kind != "note"]
        finally:
            self._end()
            self.loop.close()
            for patch in self.patches:
                patch.stop()


Log.TestCase.settings = settings(
    max_examples=int(os.environ.get("CDPD_LOG_EXAMPLES", "250")),
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestLog = Log.TestCase
