"""A stream as its one writer holds it: group commit (without timers), the durable end, readers in this process."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from msgspec import Struct

from cdpd.clock import Clock
from cdpd.event import BEGINNING, Position
from cdpd.log.append import Appended, Group, Unit
from cdpd.log.errors import AppendFailed
from cdpd.log.files import Files, OsFiles
from cdpd.log.frame import Cursor
from cdpd.log.lock import take_lock
from cdpd.log.mark import Mark
from cdpd.log.reader import Reader
from cdpd.log.recovery import Recovered, recover
from cdpd.log.retention import Retained, Retention, make_indexes, retain
from cdpd.log.segment import segment_bases
from cdpd.log.thread import OneThread
from cdpd.log.writer import Writer

_T = TypeVar("_T")
_GROUP_BYTES: Final = 8 * 1024 * 1024
"""Most bytes of lines in one group; more waits for the next."""
_RETRY: Final = 1.0
"""Seconds between two attempts to void what could not be cut back."""


class StreamOptions(Struct, frozen=True):
    """When a segment is closed and the next one opened."""

    segment_bytes: int = 64 * 1024 * 1024
    segment_age: float = 3600.0
    """Seconds."""


class Stream:
    """One stream; made by `open_stream`. Not for threads: everything is called on the event loop."""

    def __init__(
        self, folder: Path, files: Files, clock: Clock, options: StreamOptions, report: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.name = folder.name
        self.options = options
        self._files = files
        self._clock = clock
        self._report = report
        # Of its own: other work in threads never delays a commit. Clients wait for `received` alone: it goes first.
        self._thread = OneThread(f"cdpd-{folder.name}", niceness=0 if folder.name == "received" else 5)
        self._in_thread = self._thread.run
        self._lock = anyio.Lock()
        self._writer: Writer
        self._mark: Mark
        self._cursor: Cursor | None
        self._unpublished: deque[Mark] = deque()
        self._publish_due: Mark | None = None
        self._groups: deque[Group] = deque()
        self._work = anyio.Event()
        self._advanced: anyio.Event | None = None
        self.writing_since: float | None = None
        """When the write that is under way began, by the monotonic clock; for the watchdog."""
        self._failed = 0
        """Groups that failed since the last that did not."""
        self._closed = False
        self._closing = anyio.Event()

    @property
    def end(self) -> Position:
        """The durable, published end."""
        return self._mark.position

    @property
    def begin(self) -> int:
        """First offset that is kept."""
        return self._writer.begin

    @property
    def cursor(self) -> Cursor | None:
        """The newest durable cursor (stream `events`)."""
        return self._cursor

    async def append(
        self,
        lines: Sequence[bytes],
        *,
        config_id: int,
        first_ms: int | None = None,
        last_ms: int | None = None,
        cursor: Cursor | None = None,
        origins: Sequence[int] | None = None,
        publish: bool = True,
    ) -> Appended:
        """Write lines (each valid JSON without line break); returns once they are durable and published.

        Without `first_ms`/`last_ms` the log time is now. No lines but a `cursor`: a frame without events.
        `publish=False`: durable, but not to be seen before `publish()`. A cancelled append may still be written.
        Raises AppendFailed: nothing of it is or will be served; only where the disk refuses even to cut it back may
        a power loss before the next append bring it back. With a cursor (exactly-once) it is therefore raised only
        once that is impossible. Raises ValueError for lines that are not lines.
        """
        if self._closed:
            raise AppendFailed(f"{self.folder}: the stream is closed")
        if not lines and cursor is None:
            return Appended(self._mark.end, self._mark.position)
        size = sum(map(len, lines)) + len(lines)
        group = self._group(size)
        unit = group.add(Unit(lines, size, config_id, first_ms, last_ms, cursor, origins, publish))
        await group.ended()
        if group.failure is not None:
            raise AppendFailed(group.failure)
        if unit.fault is not None:
            raise ValueError(f"{self.folder}: cannot be appended: {unit.fault}")
        assert unit.end is not None
        return Appended(unit.first, unit.end)

    def append_then(self, lines: Sequence[bytes], config_id: int, then: Callable[[str | None], None]) -> None:
        """Write lines, at least one, without a task that waits: `then` is called once they are durable and published.

        It gets None, or why they are not and never will be; it must not raise.
        """
        if self._closed:
            # Never from inside this call: who is called may append again.
            asyncio.get_running_loop().call_soon(then, f"{self.folder}: the stream is closed")
            return
        size = sum(map(len, lines)) + len(lines)
        group = self._group(size)
        group.then(group.add(Unit(lines, size, config_id, None, None, None, None, True)), then)

    def _group(self, size: int) -> Group:
        """The one that so many bytes may go out with."""
        groups = self._groups
        if not groups or groups[-1].size + size > _GROUP_BYTES:
            groups.append(Group())
            self._work.set()
        return groups[-1]

    def publish(self) -> None:
        """Advance the durable mark over everything that `append(publish=False)` made durable.

        A mark that cannot be written is reported, and written with the next one.
        """
        if not self._unpublished:
            return
        self._publish_due = self._unpublished[-1]
        if not self._lock.locked():
            self._publish_what_is_due()

    def _publish_what_is_due(self) -> None:
        mark, self._publish_due = self._publish_due, None
        if mark is None or mark not in self._unpublished:
            return  # meanwhile cut off, or published with what came later
        while self._unpublished.popleft() is not mark:
            pass
        try:
            self._writer.publish(mark)
        except OSError as error:
            self._report(f"{self.folder}: the durable mark could not be written: {error}")
        self._advance(mark)

    async def cut_to(self, end: int) -> None:
        """Cut back to `end`: of what was appended with `publish=False`, the part from there on was never there.

        For `discarded`, after a failed append to `events`. A disk that refuses is reported, and what should have
        gone is void with the next append. Raises ValueError where no append ended there or it is already published.
        """
        async with self._exclusive():
            # Appends that were cancelled before they were written belong to what goes.
            while self._groups:
                self._groups.popleft().fail(f"{self.folder}: cut back to {end}")
            mark = self._mark
            for mark in [self._mark, *self._unpublished]:
                if mark.end == end:
                    break
            else:
                raise ValueError(
                    f"{self.folder}: cannot cut to {end}: no append since {self._mark.end} ended there"
                )
            if mark is self._mark and not self._unpublished:
                return
            while self._unpublished and self._unpublished[-1] is not mark:
                self._unpublished.pop()
            try:
                await self._in_thread(self._writer.cut_to, mark)
            except OSError as error:
                self._report(f"{self.folder}: not everything past {end} could be removed: {error}")

    def reader(self, position: Position = BEGINNING) -> Reader:
        """A reader in this process; it goes up to the durable end, which it knows without the disk."""
        return Reader(self.folder, position, files=self._files, mark=lambda: self._mark)

    async def wait_beyond(self, position: Position) -> None:
        """Return once there is a published line after `position`."""
        while self._mark.end <= position.offset:
            if self._advanced is None:
                self._advanced = anyio.Event()
            await self._advanced.wait()

    async def retain(self, rule: Retention, needed: Mapping[str, int]) -> Retained:
        """Remove old sealed segments. `needed`: who → the offset from which on they still read. Raises OSError."""
        async with self._exclusive():
            if self._quiet_for_too_long(rule, needed):
                # Nothing new closes this segment, so it is closed now: its lines are not kept past their time.
                await self._in_thread(self._writer.open_segment, self._clock.monotonic())
                await self._in_thread(self._writer.publish, self._writer.synced)
                self._advance(self._writer.synced)
            return await self._in_thread(self._retain, rule, dict(needed), self._clock.now_ms())

    @property
    def live_segment(self) -> int:
        """Base of the segment that may still change; those before it do not."""
        return self._mark.segment

    async def exclusively(self, work: Callable[[], _T]) -> _T:
        """Run something short off the loop while nothing is written to the folder or removed from it."""
        async with self._exclusive():
            return await self._in_thread(work)

    def _quiet_for_too_long(self, rule: Retention, needed: Mapping[str, int]) -> bool:
        mark = self._writer.synced
        return (
            rule.keep is not None
            and mark.end > mark.segment
            and mark.last_ms < self._clock.now_ms() - rule.keep * 1000
            and not self._unpublished
            and all(offset >= mark.end for offset in needed.values())
        )

    def _retain(self, rule: Retention, needed: Mapping[str, int], now_ms: int) -> Retained:
        make_indexes(self._files, self.folder, self._mark.segment)
        retained = retain(self._files, self.folder, rule, needed, live=self._mark.segment, now_ms=now_ms)
        bases = segment_bases(self._files, self.folder)
        if bases:
            self._writer.begin = bases[0]
        return retained

    # --- the writer task ---

    async def _open(self, recovered: Recovered) -> None:
        epoch = secrets.randbits(63) | 1
        self._writer = Writer(self._files, self.folder, recovered, epoch, self._report)
        if recovered.damaged:
            await self._in_thread(self._writer.open_segment, self._clock.monotonic())
        await self._in_thread(self._writer.publish, self._writer.synced)
        self._mark, self._cursor = self._writer.synced, recovered.cursor

    async def _write_on(self) -> None:
        """Write group after group until closed and empty."""
        with anyio.CancelScope(shield=True):  # whoever is inside `open_stream` may still append while ending
            try:
                while True:
                    if self._groups:
                        async with self._exclusive():
                            if self._groups:
                                await self._write(self._groups.popleft())
                    elif self._closed:
                        break
                    else:
                        self._work = anyio.Event()
                        await self._work.wait()
            finally:
                self._closed = True
                for group in self._groups:
                    group.fail(f"{self.folder}: the writer has stopped")
                await self._in_thread(self._writer.seal)

    async def _write(self, group: Group) -> None:
        options = self.options
        self.writing_since = now = self._clock.monotonic()
        try:
            marks = await self._in_thread(
                self._writer.commit,
                group.units,
                self._clock.now_ms(),
                now,
                options.segment_bytes,
                options.segment_age,
            )
        except OSError as error:
            self.writing_since = None  # it failed: that is told, and is no hanging
            group.failure = f"{self.folder}: {error}"
            self._failed += 1
            if self._failed == 1:  # a full disk refuses many: the first is told, and when it is over
                self._report(f"{self.folder}: an append failed and was cut back: {error}")
            if any(unit.cursor is not None for unit in group.units):
                await self._settle()
        except BaseException:
            group.failure = f"{self.folder}: the writer has stopped"
            raise
        else:
            self._note(group.units, marks)
            if self._failed:
                self._report(f"{self.folder}: appends succeed again, after {self._failed} writes that failed")
                self._failed = 0
        finally:
            self.writing_since = None
            group.end()

    def _note(self, units: Sequence[Unit], marks: Mapping[int, Mark]) -> None:
        self._cursor = self._writer.cursor
        public = None
        for i, mark in marks.items():
            if units[i].publish:
                public = mark
                self._unpublished.clear()
            else:
                self._unpublished.append(mark)
        if public is not None:
            self._advance(public)

    async def _settle(self) -> None:
        """Open a new segment where a failed write could not be cut back: that voids it for good."""
        while not self._writer.settled and not self._closed:
            try:
                await self._in_thread(self._writer.open_segment, self._clock.monotonic())
            except OSError as error:
                self._report(f"{self.folder}: a failed append cannot be made void yet, trying again: {error}")
                await self._pause()

    async def _pause(self) -> None:
        """Wait a little, or until the stream is closed."""

        async def wait() -> None:
            await self._clock.sleep(_RETRY)
            pause.cancel_scope.cancel()

        async with anyio.create_task_group() as pause:
            pause.start_soon(wait)
            await self._closing.wait()
            pause.cancel_scope.cancel()

    def _advance(self, mark: Mark) -> None:
        forward = mark.end > self._mark.end
        self._mark = mark
        if forward and self._advanced is not None:
            waiting, self._advanced = self._advanced, None
            waiting.set()

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        """The disk to oneself; a publish that was asked for meanwhile follows."""
        async with self._lock:
            yield
        self._publish_what_is_due()

    def _close(self) -> None:
        self._closed = True
        self._closing.set()
        self._work.set()


@asynccontextmanager
async def open_stream(
    folder: Path,
    *,
    clock: Clock,
    options: StreamOptions,
    files: Files | None = None,
    floor: int = 0,
    target: int | None = None,
    report: Callable[[str], None],
) -> AsyncIterator[Stream]:
    """Lock and recover a stream, and be its one writer inside the `with`.

    `floor`: the highest offset of it that something durable names (cursors, headers of `events`). `target`: for
    `discarded`, the end that `events` names. `report` is told, in words for the daemon's log, what recovery and
    failures did. Raises StreamLocked (naming the holder's pid), NewerFormat, OSError.
    """
    files = files or OsFiles()
    lock = await anyio.to_thread.run_sync(take_lock, files, folder)
    try:
        recovered = await anyio.to_thread.run_sync(lambda: recover(files, folder, floor=floor, target=target))
        for text in recovered.reports:
            report(text)
        stream = Stream(folder, files, clock, options, report)
        with closing(stream._thread):
            await stream._open(recovered)
            failure: Exception | None = None
            async with anyio.create_task_group() as writing:
                writing.start_soon(stream._write_on)
                try:
                    yield stream
                except Exception as error:  # noqa: BLE001  # raised below as it is, not in a task group's wrapping
                    failure = error
                finally:
                    stream._close()
        if failure is not None:
            raise failure
    finally:
        lock.close()
