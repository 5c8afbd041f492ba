"""One destination's consumer: events from the log, routed, batched, delivered, tried again or parked.

It has its own cursor, window and time-outs; what happens here holds up no other destination. One batch is in
flight at a time; what arrives meanwhile makes the next (no linger).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import anyio
import structlog
from msgspec import Struct

from cdpd import metrics as names
from cdpd.clock import Clock
from cdpd.delivery.backoff import PROBE, backoff
from cdpd.delivery.masking import Mask
from cdpd.delivery.route import Peek, Route, peek
from cdpd.delivery.state import Attempt, Change, Parked, Progress, StateDb
from cdpd.delivery.verdict import Verdict, of_answer, of_exception
from cdpd.delivery.window import Item, Window
from cdpd.destinations.contract import Batch, BatchLimits, Destination
from cdpd.destinations.outcome import BadEvent, Delivered, Misconfigured, Outcome, TooLarge, TryAgain
from cdpd.event import Event, Position
from cdpd.log.stream import Stream
from cdpd.metrics import Metrics
from cdpd.section import Section

LONGEST_CALL: Final = 600.0
"""Seconds after which a `deliver` that does not return is given up: no destination hangs for ever."""
_READ_LINES: Final = 500
_READ_BYTES: Final = 256 * 1024
_TURN: Final = 100
"""Events that are looked at before the loop gets its turn (well under a millisecond)."""
_HELD: Final = 5.0
"""Seconds between two looks whether what holds a strict destination was dealt with."""


class Wiring(Struct, frozen=True):
    """What a consumer is given from outside."""

    events: Stream
    state: StateDb
    clock: Clock
    metrics: Metrics
    log: structlog.typing.FilteringBoundLogger
    uniform: Callable[[float, float], float]
    """random.uniform, or a test's."""
    seen: Callable[[Peek], None]
    """Told of every event that is read (one consumer counts unknown integrations for all)."""


class Consumer:
    """Delivers to one destination instance, from its committed progress on."""

    def __init__(self, name: str, destination: Destination, progress: Progress, wiring: Wiring) -> None:
        self.name = name
        self.destination = destination
        self._wiring = wiring
        self._config = config = destination.config
        self._limits = _limits(destination)
        self._route = Route(type(destination), config)
        self._window = Window(config.ordering, progress)
        self._reader = wiring.events.reader(progress.position)
        self._mask = Mask(config)
        self._log = wiring.log.bind(destination=name)
        self._state = "running"
        self._problem = ""
        self._failures = 0
        self._wait_until = 0.0
        self._since_ms: int | None = None
        self._ticket = 0
        self._last_ms = 0
        self._stopping = anyio.Event()
        self._woken = anyio.Event()
        self._told: str | None = None

    # -- from outside --------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End after the batch that is in flight."""
        self._stopping.set()
        self.wake()

    def wake(self) -> None:
        """Try at once what waits for a retry or a probe."""
        self._wait_until = 0.0
        self._woken.set()

    def status(self) -> dict[str, Any]:
        """For `cdpd status`."""
        wiring, metrics = self._wiring, self._wiring.metrics
        oldest = self._window.oldest
        lag = wiring.events.end.offset - self._window.progress_offset
        return {
            "state": self._state,
            "position": self._window.progress_offset,
            "lag_events": lag,
            "lag_seconds": max(wiring.clock.now_ms() - oldest.log_ms, 0) // 1000 if oldest else 0,
            "delivered": int(metrics.get(names.DELIVERED, self.name)),
            "parked": wiring.state.parked(self.name),
            "failing_since_ms": self._since_ms,
            "problem": self._problem or None,
        }

    # -- the loop ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until stopped or cancelled. Raises LogError where the log cannot be read on."""
        await self.destination.start()
        try:
            while not self._stopping.is_set():
                await self._fill()
                now = self._wiring.clock.monotonic()
                wait = self._wait_until - now
                batch = (
                    []
                    if wait > 0
                    else self._window.take(now, self._limits.max_events, self._limits.max_bytes)
                )
                if batch and await self._free():
                    await self._send(batch)
                elif not batch:
                    await self._idle(wait, now)
            await self._wiring.state.committed(self._ticket)
        finally:
            self._reader.close()
            with anyio.CancelScope(shield=True), anyio.move_on_after(self._config.timeout):
                await self.destination.stop()

    async def _fill(self) -> None:
        """Read on until two batches are ready, or the log's end."""
        window, limits = self._window, self._limits
        while window.room(2 * limits.max_events, 2 * limits.max_bytes):
            piece = self._reader.read(_READ_LINES, _READ_BYTES)
            if piece is None:
                return
            looked_at = 0
            for frame in piece.frames:
                for offset, line in enumerate(frame.lines, frame.base):
                    if line:
                        self._look_at(offset, frame.epoch, frame.last_ms, line)
                    looked_at += 1
                    if not looked_at % _TURN:
                        await anyio.lowlevel.checkpoint()
            window.read_up_to(piece.end)
            self._last_ms = piece.frames[-1].last_ms
            if not len(window):
                self._save()

    def _look_at(self, offset: int, epoch: int, log_ms: int, line: bytes) -> None:
        seen = peek(line)
        self._wiring.seen(seen)
        code = self._route.skip(seen)
        if code is not None:
            if code:
                self._wiring.metrics.add(names.SKIPPED, self.name, code)
        elif not self._window.finished(offset):
            self._window.add(Item(Position(offset=offset, epoch=epoch), offset, line, seen, log_ms))

    async def _free(self) -> bool:
        """Whether a batch may go out: at most one earlier one is not yet committed, and nothing holds us."""
        await self._wiring.state.committed(self._ticket - 1)
        if self._config.ordering == "strict" and self._wiring.state.parked(self.name):
            self._fail("held", "a parked event holds the later ones (ordering = strict)")
            self._wait_until = self._wiring.clock.monotonic() + _HELD
            return False
        return True

    async def _idle(self, wait: float, now: float) -> None:
        """Wait for new events, for the next try, or to be woken."""
        if wait <= 0:
            next_wake = self._window.next_wake(now)
            wait = next_wake - now if next_wake is not None else 0.0
        self._woken = anyio.Event()
        if self._stopping.is_set():
            return
        reasons: list[Callable[[], Awaitable[None]]] = [self._woken.wait]
        if wait > 0:
            reasons.append(lambda: self._wiring.clock.sleep(wait))
        if wait <= 0 or self._window.room(self._limits.max_events, self._limits.max_bytes):
            reasons.append(lambda: self._wiring.events.wait_beyond(self._reader.position))
        await _first_of(reasons)

    async def _send(self, batch: Sequence[Item]) -> None:
        clock = self._wiring.clock
        attempt = 1 + max(item.attempts for item in batch)
        started_ms, begun = clock.now_ms(), clock.monotonic()
        verdict = await self._deliver([self._event(item) for item in batch], attempt)
        took_ms = round((clock.monotonic() - begun) * 1000)
        if verdict.fault is not None and self._told != str(verdict.fault):
            self._told = str(verdict.fault)
            self._log.error("the destination itself failed", exc_info=verdict.fault)
        parked = self._settle(batch, verdict.outcomes)
        first = next((o for o in verdict.outcomes if not isinstance(o, Delivered)), verdict.outcomes[0])
        self._save(
            parked,
            Attempt(
                first=batch[0].offset,
                last=batch[-1].offset,
                events=len(batch),
                bytes=sum(len(item.line) for item in batch),
                attempt=attempt,
                started_ms=started_ms,
                took_ms=took_ms,
                outcome=type(first).__name__,
                status=first.status,
                reason=self._mask(getattr(first, "reason", "")),
            ),
        )

    async def _deliver(self, events: list[Event], attempt: int) -> Verdict:
        try:
            with anyio.fail_after(LONGEST_CALL):
                answer = await self.destination.deliver(Batch(events, attempt))
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything; of_exception decides
            return of_exception(_single(error), len(events))
        return of_answer(answer, len(events), type(self.destination).__name__)

    def _event(self, item: Item) -> Event:
        event = Event(item.line)
        options = self._route.options(item.seen)
        if options is not None:
            event.options = Section(options)
        return event

    # -- what comes of it ----------------------------------------------------------------------------------

    def _settle(self, batch: Sequence[Item], outcomes: Sequence[Outcome]) -> list[Parked]:
        """Act on each outcome; the events that are to be parked."""
        metrics = self._wiring.metrics
        done: list[Item] = []
        parked: list[Parked] = []
        again: list[tuple[Item, TryAgain | TooLarge]] = []
        wrong: Misconfigured | None = None
        for item, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, TooLarge) and len(batch) == 1:
                outcome = BadEvent(outcome.reason, outcome.status, outcome.request, outcome.answer)
            if isinstance(outcome, Delivered):
                done.append(item)
            elif isinstance(outcome, BadEvent):
                done.append(item)
                parked.append(self._parked(item, outcome))
            elif isinstance(outcome, Misconfigured):
                wrong = wrong or outcome
            else:
                again.append((item, outcome))
        if len(done) > len(parked):
            metrics.add(names.DELIVERED, self.name, n=len(done) - len(parked))
        if parked:
            metrics.add(names.PARKED, self.name, n=len(parked))
            self._log.warning("events were parked", events=len(parked), reason=parked[0].reason)
        self._window.finish(done)
        if wrong is not None:
            self._pause(self._mask(wrong.reason))
        elif again:
            self._try_again(again, someone_passed=bool(done), batch_size=len(batch))
        else:
            self._recovered()
        return parked

    def _try_again(
        self, again: Sequence[tuple[Item, TryAgain | TooLarge]], *, someone_passed: bool, batch_size: int
    ) -> None:
        """The whole destination waits where nothing got through, or the vendor asked; else only these lanes."""
        now = self._wiring.clock.monotonic()
        too_large = [item for item, outcome in again if isinstance(outcome, TooLarge)]
        for item in too_large:
            item.limit = max(batch_size // 2, 1)
        refused = [(item, outcome) for item, outcome in again if isinstance(outcome, TryAgain)]
        if not refused:
            return
        self._wiring.metrics.add(names.RETRIED, self.name)
        asked = [outcome.after for _, outcome in refused if outcome.after is not None]
        self._failures = 0 if someone_passed else self._failures + 1
        for item, _ in refused:
            item.attempts += 1
        attempt = max(self._failures, 1 if not someone_passed else max(item.attempts for item, _ in refused))
        wait = max(asked) if asked else backoff(attempt, self._wiring.uniform)
        if someone_passed and not asked:
            for item, _ in refused:
                item.not_before = now + wait
        else:
            self._wait_until = now + wait
        self._fail("retrying", self._mask(refused[0][1].reason), wait)

    def _pause(self, reason: str) -> None:
        self._wait_until = self._wiring.clock.monotonic() + PROBE
        self._fail("paused", reason, PROBE)

    def _fail(self, state: str, problem: str, wait: float | None = None) -> None:
        if self._since_ms is None:
            self._since_ms = self._wiring.clock.now_ms()
        # Told once a problem, not once a try.
        if (state, problem) != (self._state, self._problem):
            what = {
                "retrying": "delivery failed, its events wait and are tried again",
                "paused": "the destination refuses its configuration or credentials; it is probed now and then",
                "held": "the destination waits",
            }[state]
            tell = self._log.error if state == "paused" else self._log.warning
            tell(what, problem=problem, next_try_in_seconds=None if wait is None else round(wait, 1))
        self._state, self._problem = state, problem

    def _recovered(self) -> None:
        self._failures = 0
        self._told = None
        oldest = self._window.oldest
        if self._state != "running" and (oldest is None or not oldest.attempts):
            self._log.info("the destination takes events again", failing_since_ms=self._since_ms)
            self._state, self._problem, self._since_ms = "running", "", None

    def _parked(self, item: Item, outcome: BadEvent) -> Parked:
        return Parked(
            offset=item.offset,
            message_id=str(item.seen.message_id or ""),
            reason=self._mask(outcome.reason),
            status=outcome.status,
            request=self._mask(outcome.request),
            answer=self._mask(outcome.answer),
            line=item.line,
        )

    def _save(self, parked: Sequence[Parked] = (), attempt: Attempt | None = None) -> None:
        self._ticket = self._wiring.state.submit(
            Change(
                destination=self.name,
                progress=self._window.progress(),
                at_ms=self._wiring.clock.now_ms(),
                parked=parked,
                attempts=() if attempt is None else (attempt,),
            )
        )


def _limits(destination: Destination) -> BatchLimits:
    """The configured limits, at most the destination's own."""
    own = type(destination).limits
    asked: BatchLimits | None = destination.config.batch
    if asked is None:
        return own
    return BatchLimits(min(asked.max_events, own.max_events), min(asked.max_bytes, own.max_bytes))


def _single(error: Exception) -> Exception:
    """The one exception inside a task group's wrapping."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _first_of(reasons: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Return when the first of them does."""
    if len(reasons) == 1:
        await reasons[0]()
        return
    async with anyio.create_task_group() as tasks:

        async def wait_for(reason: Callable[[], Awaitable[None]]) -> None:
            await reason()
            tasks.cancel_scope.cancel()

        for reason in reasons:
            tasks.start_soon(wait_for, reason)
