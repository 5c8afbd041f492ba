"""The pipeline's loop: a slice of `received`, the chains, `discarded`, then `events`, exactly once.

What is turned away is synced first, unseen; then the frame of `events` that names the positions of both
streams; only then is `discarded` published. At a start, and after an append that failed, `discarded` is cut
back to what the last frame of `events` names, and the pipeline goes on from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog

from cdpd.clock import Clock
from cdpd.config.model import PipelineConfig
from cdpd.event import BEGINNING, Event, Position
from cdpd.foreign import ends_us, kind
from cdpd.log.append import Appended
from cdpd.log.errors import AppendFailed, LogError
from cdpd.log.frame import Cursor
from cdpd.log.readable import ReadableStream
from cdpd.log.reader import Reader, Slice
from cdpd.log.stream import Stream
from cdpd.metrics import (
    ACCEPTED,
    ACCEPTED_OBJECTS,
    DISCARDED,
    DUPLICATES,
    HOOK_FAILURES,
    HOOK_SECONDS,
    NOTED,
    Metrics,
)
from cdpd.pipeline.chain import Chains
from cdpd.pipeline.discarded import Ended, discarded_line
from cdpd.pipeline.finishing import Finishing
from cdpd.pipeline.line import Lines, Refused
from cdpd.pipeline.output import event_line
from cdpd.pipeline.pace import Pace
from cdpd.pipeline.passage import AskAgain, Passage, TooManyFailures
from cdpd.pipeline.watch import Watch

SLICE_LINES: Final = 1000
SLICE_BYTES: Final = 512 * 1024
"""A slice is whole frames of `received`, up to about this much."""
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 60.0
"""Seconds between two attempts at a slice; doubled each time."""
_CHUNK: Final = 64
"""Lines that are decoded, encoded or handed to cdpd_committed before the clock is looked at."""
_READ_HERE: Final = 64
"""So few lines are read on the loop; more, in a thread."""


class Pipeline:
    """One for a daemon; everything is called on its event loop."""

    def __init__(
        self,
        *,
        received: ReadableStream,
        events: Stream,
        discarded: Stream,
        chains: Chains,
        config_id: int,
        options: PipelineConfig,
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._received = received
        self._events = events
        self._discarded = discarded
        self._chains = chains
        self._config_id = config_id
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._pace = Pace(clock)
        self._watch = Watch(clock, log)
        self._lines = Lines()
        self._turn = anyio.Lock()
        self._finishing = Finishing(clock)
        self._changed = anyio.Event()
        self._state = "starting"
        self._reason = ""
        self._oldest_ms: int | None = None
        """When the oldest event came that is read, or ought to be, and not through the chains."""

    # -- for the daemon --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Process `received` from where `events` says, until cancelled.

        Cancellation, at whatever moment, neither loses nor doubles: a commit that has begun is finished first, and
        another `run` goes on from what is durable. (One that a dead disk holds up for 10 seconds is given up; then
        only another process can go on.) Raises LogError where the log cannot be read on (damage, a position that is
        not of this log): that needs a person.
        """
        try:
            await self._run()
        except BaseException as error:
            if not ends_us(error):
                self._say("failed", f"{type(error).__name__}: {error}")
                if self._oldest_ms is None:
                    self._oldest_ms = self._clock.now_ms()
            raise

    async def apply(self, chains: Chains, config_id: int, options: PipelineConfig) -> None:
        """From the next slice on, use these (already started) chains; returns once no slice uses the old ones.

        A pipeline that a plugin's failures stopped goes on.
        """
        async with self._turn:
            self._chains, self._config_id, self._options = chains, config_id, options
            self._watch.rows.clear()
            changed, self._changed = self._changed, anyio.Event()
            changed.set()

    def status(self) -> dict[str, Any]:
        """`state` (running, waiting, stopped, failed) with `reason`, how far it is, and what each hook cost."""
        cursor = self._events.cursor
        at = cursor.received.offset if cursor is not None else self._received.begin
        status: dict[str, Any] = {"state": self._state}
        if self._reason:
            status["reason"] = self._reason
        status["received"] = at
        behind = status["behind"] = max(self._received.end.offset - at, 0)
        since = self._oldest_ms if behind else None
        status["behind_seconds"] = 0.0 if since is None else max(self._clock.now_ms() - since, 0) / 1000
        status["hooks"] = {
            name: {
                "seconds": round(self._metrics.get(HOOK_SECONDS, name), 3),
                "failures": int(self._metrics.get(HOOK_FAILURES, name)),
            }
            for name in self._chains.instances
        }
        return status

    # -- the loop --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        wait = _FIRST_WAIT
        while True:
            reader: Reader | None = None
            try:
                reader = await self._begin()
                while True:
                    piece = await self._next(reader)
                    await self._bring_through(piece)
                    wait = _FIRST_WAIT
            except AppendFailed as error:
                self._say("waiting", str(error))
                self._log.error("the pipeline cannot write; trying again", error=str(error), in_seconds=wait)
            finally:
                if reader is not None:
                    reader.close()
            await self._clock.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _begin(self) -> Reader:
        """`discarded` as the newest frame of `events` names it, and a reader of `received` from its position."""
        if self._finishing.given_up:
            raise LogError("the last commit was given up, its outcome is not known: start the daemon again")
        cursor = self._events.cursor
        await self._discarded.cut_to(cursor.discarded if cursor is not None else 0)
        self._discarded.publish()
        return self._received.reader(cursor.received if cursor is not None else BEGINNING)

    async def _next(self, reader: Reader) -> Slice:
        """The next slice, once there is one."""
        while True:
            self._say("running")
            ahead = self._received.end.offset - reader.position.offset
            if 0 < ahead <= _READ_HERE:
                piece = reader.read(SLICE_LINES, SLICE_BYTES)
            elif ahead > 0:
                piece = await anyio.to_thread.run_sync(reader.read, SLICE_LINES, SLICE_BYTES)
            else:
                piece = None
            if piece is not None:
                self._oldest_ms = piece.frames[0].first_ms
                return piece
            await self._received.wait_beyond(reader.position)

    async def _bring_through(self, piece: Slice) -> None:
        """Commit a slice, however often a plugin asks for another attempt. Raises AppendFailed."""
        wait = _FIRST_WAIT
        while True:
            async with self._turn:
                changed = self._changed
                passage = Passage(self._chains, self._options, self._pace, self._clock, self._watch)
                try:
                    events, refused = await self._decode(piece)
                    survivors = await passage.run(events)
                except AskAgain as again:
                    self._say("waiting", str(again))
                    self._log.warning(
                        "a hook asks to be called again; the pipeline waits",
                        plugin=again.plugin,
                        reason=again.reason,
                        in_seconds=wait,
                    )
                    pause: float | None = wait
                except TooManyFailures as failures:
                    self._say("stopped", str(failures))
                    self._log.error(
                        "the pipeline is stopped: a hook fails for every event; "
                        "mend it, then `cdpd reload` or restart",
                        plugin=failures.plugin,
                        failures=failures.failures,
                        last=kind(failures.__cause__),
                    )
                    pause = None
                else:
                    self._say("running")
                    ended = self._all_ended(passage, refused)
                    lines = await self._encode(survivors)
                    await self._finishing.run(
                        partial(self._conclude, piece, passage, survivors, lines, ended)
                    )
                    return
            await self._pause(pause, changed)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _decode(self, piece: Slice) -> tuple[list[Event], list[Refused]]:
        events: list[Event] = []
        refused: list[Refused] = []
        for frame in piece.frames:
            for start in range(0, len(frame.lines), _CHUNK):
                if self._pace.due():
                    await self._pace.rest()
                stop = min(start + _CHUNK, len(frame.lines))
                self._lines.decode(frame, start, stop, events, refused)
        return events, refused

    def _all_ended(self, passage: Passage, refused: Sequence[Refused]) -> list[Ended]:
        """Everything of the slice that ends here, in the order of `received`."""
        ended = list(passage.ended.values())
        ended += [Ended(r.offset, r.source, r.by, r.code, r.message) for r in refused]
        ended.sort(key=lambda one: one.offset)
        return ended

    async def _encode(self, survivors: Sequence[Event]) -> list[bytes]:
        lines: list[bytes] = []
        project = self._lines.project
        for start in range(0, len(survivors), _CHUNK):
            if self._pace.due():
                await self._pace.rest()
            for event in survivors[start : start + _CHUNK]:
                assert event.received is not None
                lines.append(event_line(event, project(event.received.source)))
        return lines

    async def _conclude(
        self,
        piece: Slice,
        passage: Passage,
        survivors: Sequence[Event],
        lines: Sequence[bytes],
        ended: Sequence[Ended],
    ) -> None:
        """Everything that is to happen once a slice is through the chains. Raises AppendFailed."""
        appended = await self._commit(piece, survivors, lines, ended)
        self._oldest_ms = None
        self._count(passage, survivors, ended)
        await self._tell_committed(survivors, appended)

    async def _commit(
        self, piece: Slice, survivors: Sequence[Event], lines: Sequence[bytes], ended: Sequence[Ended]
    ) -> Appended:
        """Make a slice's outcome durable. Raises AppendFailed; then neither stream shows any of it."""
        before = self._events.cursor
        end = before.discarded if before is not None else 0
        kept = await self._discarded_lines(piece, ended)
        if kept:
            appended = await self._discarded.append(kept, config_id=self._config_id, publish=False)
            end = appended.end.offset
        appended = await self._events.append(
            lines,
            config_id=self._config_id,
            first_ms=piece.frames[0].first_ms,
            last_ms=piece.frames[-1].last_ms,
            cursor=Cursor(piece.end, end),
            origins=[event.received.position.offset for event in survivors if event.received is not None],
        )
        if kept:
            self._discarded.publish()
        return appended

    async def _discarded_lines(self, piece: Slice, ended: Sequence[Ended]) -> list[bytes]:
        lines: list[bytes] = []
        now_ms = self._clock.now_ms()
        frames = iter(piece.frames)
        frame = next(frames)
        for one in ended:
            if not one.record:
                continue
            while one.offset >= frame.base + frame.count:
                frame = next(frames)
            lines.append(discarded_line(one, frame.lines[one.offset - frame.base], now_ms))
            if self._pace.due():
                await self._pace.rest()
        return lines

    def _count(self, passage: Passage, survivors: Sequence[Event], ended: Sequence[Ended]) -> None:
        add = self._metrics.add
        self._watch.rows = passage.rows
        accepted: dict[str, int] = {}
        for event in survivors:
            if event.received is not None:
                source = event.received.source
                if event.received.is_object:
                    add(ACCEPTED_OBJECTS, source)
                    continue
                accepted[source] = accepted.get(source, 0) + 1
            for violation in event.violations:
                add(NOTED, violation.code)
        for source, n in accepted.items():
            add(ACCEPTED, source, n=n)
        for (source, by, code), n in Counter((one.source, one.by, one.code) for one in ended).items():
            add(DISCARDED, source, by, code, n=n)
        for one in ended:
            if one.code == "duplicate":
                add(DUPLICATES, one.source, "retry" if one.retry else "unannounced")
        for plugin, seconds in passage.seconds.items():
            add(HOOK_SECONDS, plugin, n=seconds)
        for plugin, n in passage.failures.items():
            add(HOOK_FAILURES, plugin, n=n)

    async def _tell_committed(self, survivors: Sequence[Event], appended: Appended) -> None:
        """cdpd_committed of every plugin, in handy pieces."""
        hooks = [hook for hook in self._chains.instances.values() if hook.committed is not None]
        if not survivors or not hooks:
            return
        for start in range(0, len(survivors), _CHUNK):
            some = survivors[start : start + _CHUNK]
            position = Position(appended.first + start + len(some), appended.end.epoch)
            for hook in hooks:
                assert hook.committed is not None
                began = self._pace.monotonic()
                try:
                    hook.committed(some, position)
                except BaseException as error:
                    if ends_us(error):
                        raise
                    # The events are durable; only the plugin missed it.
                    self._metrics.add(HOOK_FAILURES, hook.name)
                    self._watch.warn("cdpd_committed of a hook failed", hook.name, error=kind(error))
                self._metrics.add(HOOK_SECONDS, hook.name, n=self._pace.monotonic() - began)
                if self._pace.due():
                    await self._pace.rest()

    async def _pause(self, seconds: float | None, changed: anyio.Event) -> None:
        """Wait so long (None: without end), or until another configuration is applied."""

        async def until_changed() -> None:
            await changed.wait()
            either.cancel_scope.cancel()

        async with anyio.create_task_group() as either:
            either.start_soon(until_changed)
            if seconds is not None:
                await self._clock.sleep(seconds)
                either.cancel_scope.cancel()

    def _say(self, state: str, reason: str = "") -> None:
        self._state, self._reason = state, reason
