"""A job at work: a consumer of its own, whose cursor and counts are the job's row."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Container
from functools import partial
from typing import Any, Final

import anyio
import msgspec
import structlog

from cdpd import metrics as names
from cdpd.config.rate import parse_rate
from cdpd.delivery.backoff import retry_delay
from cdpd.delivery.consumer import Consumer, Wiring
from cdpd.delivery.jobs_counts import Counts, JobStep
from cdpd.delivery.jobs_table import Job, put_cursor
from cdpd.delivery.making import Made, Maker
from cdpd.delivery.mask import Mask
from cdpd.delivery.reading import Feed
from cdpd.delivery.replay import ReplayRouter, ReplaySpec
from cdpd.delivery.replay_range import ReplayFeed
from cdpd.delivery.retry_parked import ParkedFeed, RetryRouter, RetrySpec
from cdpd.delivery.route import Routes, router_of
from cdpd.delivery.state import Moment, StateDb, StateError
from cdpd.delivery.waiting import first_of
from cdpd.destinations.outcome import Delivered, RateLimited, Skipped, TryAgain
from cdpd.event import Position
from cdpd.log.errors import LogError
from cdpd.log.readable import ReadableStream
from cdpd.metrics import Metrics
from cdpd.secret import secrets_in

OUTCOMES: Final = ("delivered", "skipped", "filtered", "parked")


class _Everything:
    """Any event of a job may be parked."""

    def __contains__(self, _: object) -> bool:
        return True


class JobStore:
    """A job's part of state.db (cdpd.delivery.keeping.Store): its outcomes, its cursor and its counts go together."""

    def __init__(self, job: Job, state: StateDb, metrics: Metrics) -> None:
        self._job = job
        self._state = state
        self._metrics = metrics
        self._left_out: deque[tuple[int, dict[str, int]]] = deque()
        """Lines in a row that do not go, not counted yet: (offset of the last, code → how many)."""
        self._gap = True
        self.holding: set[Position] = set()
        """Refused, and not done: with strict order they hold all others."""

    def begin(self) -> None:
        """Reading begins at the stored cursor: what was noted beyond it comes again."""
        self._left_out.clear()
        self._gap = True

    def routed(self, offset: int, skip: str | None) -> None:
        """Told of each chosen line, in order; those that do not go are counted once the cursor is beyond them."""
        if skip is None:
            self._gap = True
            return
        counts = {} if self._gap or not self._left_out else self._left_out.pop()[1]
        self._gap = False
        counts[skip] = counts.get(skip, 0) + 1
        self._left_out.append((offset, counts))

    def parked_count(self, destination: str) -> int:
        return self._state.parked_count(destination)

    def parked_positions(self, destination: str, since: int = 0) -> Container[Position]:
        del destination, since  # it may be any of them
        return _Everything()

    async def commit(self, moment: Moment) -> None:
        """Raises StateError; nothing is counted then."""
        passed: list[tuple[int, dict[str, int]]] = []
        while self._left_out and self._left_out[0][0] < moment.cursor.low.offset:
            passed.append(self._left_out.popleft())
        counts = _counted(moment, [codes for _, codes in passed])
        # One that holds the others is refused again and again; it may be delivered in the end.
        counts.parked -= len(self.holding.intersection(event.position for event in moment.parked))
        counts.parked -= len(self.holding.intersection(moment.unparked))
        try:
            await self._state.commit(msgspec.structs.replace(moment, job=JobStep(self._job.id, counts)))
        except StateError:
            self._left_out.extendleft(reversed(passed))
            raise
        self.holding |= {
            event.position for event in moment.parked if not moment.cursor.covers(event.position)
        }
        self.holding = {place for place in self.holding if not moment.cursor.covers(place)}
        job = self._job
        job.cursor, job.changed_ms = moment.cursor, moment.at_ms
        job.counts.add(counts)
        for outcome, n in zip(
            OUTCOMES,
            (counts.delivered, counts.skipped, sum(counts.filtered.values()), counts.parked),
            strict=True,
        ):
            if n:
                self._metrics.add(names.JOB_EVENTS, job.destination, job.kind, outcome, n=n)


def _counted(moment: Moment, left_out: Collection[dict[str, int]]) -> Counts:
    counts = Counts(parked=len(moment.parked))
    for attempt in moment.attempts:
        if attempt.outcome == Delivered.kind:
            counts.delivered += attempt.events
        elif attempt.outcome == Skipped.kind:
            counts.skipped += attempt.events
        elif attempt.outcome in (TryAgain.kind, RateLimited.kind):
            counts.retried += attempt.events
    for codes in left_out:
        for code, n in codes.items():
            counts.filtered[code] = counts.filtered.get(code, 0) + n
    return counts


class Working:
    """Runs one job until it is through, or stopped."""

    def __init__(
        self,
        job: Job,
        made: Made,
        maker: Maker,
        wiring: Wiring,
        events: ReadableStream,
        state: StateDb,
        known: Collection[str],
    ) -> None:
        self.job = job
        self.made = made
        self.problem = ""
        """Why it does not get on at present."""
        self.consumer: Consumer | None = None
        self.ended = anyio.Event()
        self.scope = anyio.CancelScope(shield=True)
        self._maker = maker
        self._state = state
        self._known = known
        self._stopping = anyio.Event()
        self._passing: set[Position] = set()
        self._random = wiring.random
        self._clock = wiring.clock
        self._store = store = JobStore(job, state, wiring.metrics)
        self._log: structlog.typing.FilteringBoundLogger = wiring.log.bind(job=job.id)
        feed: Feed = (
            ReplayFeed(events, job.spec)
            if isinstance(job.spec, ReplaySpec)
            else ParkedFeed(state.reader, job.spec, job.destination)
        )
        self._wiring = Wiring(
            events=feed,
            state=store,
            clock=wiring.clock,
            metrics=Metrics(),  # not the daemon's: those are of live traffic
            log=self._log,
            random=wiring.random,
            routed=store.routed,
            unparks=True,
        )

    @property
    def through(self) -> bool:
        """Whether everything is settled."""
        return self.job.cursor.low.offset >= self.job.spec.until

    def stop(self) -> None:
        """End after the batches that are in flight."""
        self._stopping.set()
        if self.consumer is not None:
            self.consumer.stop()

    @property
    def holding(self) -> set[Position]:
        """Events that were refused and hold all others (`ordering = "strict"`)."""
        return self._store.holding

    def pass_over(self, dropped: set[Position]) -> None:
        """These count as finished, from now on."""
        self._passing |= dropped
        if self.consumer is not None:
            self.consumer.stop()

    def wake(self) -> None:
        """Try at once what waits for a retry or a probe."""
        if self.consumer is not None:
            self.consumer.wake()

    def status(self) -> dict[str, Any]:
        """How its consumer is."""
        if self.consumer is None:
            return {
                "state": "starting",
                "in_flight": 0,
                "waiting_to_retry": 0,
                "problem": self.problem or None,
            }
        told = self.consumer.status()
        return {key: told[key] for key in ("state", "in_flight", "waiting_to_retry", "problem")}

    async def run(self) -> None:
        """Return when it is through or stopped. Raises LogError where the archive cannot be read on."""
        mask, failures = Mask(secrets_in(self.made.config)), 0
        while not self._stopping.is_set() and not self.through:
            try:
                await self._pass()
                await self._consume()
            except Exception as error:
                single = _single(error)
                if isinstance(single, LogError):
                    raise single from error
                failures += 1
                self.problem = mask(f"{type(single).__name__}: {single}")
                wait = retry_delay(failures, self._random)
                self._log.error(
                    "the destination failed; its job is started again",
                    destination=self.job.destination,
                    again_in_seconds=round(wait, 1),
                    exc_info=error,
                )
                await first_of(self._stopping.wait, partial(self._clock.sleep, wait))

    async def _pass(self) -> None:
        """What counts as finished without having been sent; the consumer goes on behind it."""
        dropped, self._passing = self._passing, set()
        if dropped:
            cursor = self.job.cursor.without(dropped)
            await self._state.change(partial(put_cursor, id=self.job.id, cursor=cursor))
            self.job.cursor, self._store.holding = cursor, self._store.holding - dropped

    async def _consume(self) -> None:
        job, made = self.job, _for_job(self.made, self.job)
        self._store.begin()
        async with self._maker.instance(job.destination, made) as destination:
            consumer = Consumer(
                job.destination,
                destination,
                job.cursor,
                self._wiring,
                self._router(made),
                until=job.spec.until,
            )
            self.consumer, self.problem = consumer, ""
            if self._stopping.is_set() or self._passing:
                consumer.stop()
            try:
                await consumer.run()
            finally:
                self.consumer = None

    def _router(self, made: Made) -> Routes:
        # What is parked has passed the filters when it was first read.
        replay = isinstance(self.job.spec, ReplaySpec)
        inner = router_of(made.kind, made.config, self._known, filtered=replay)
        if isinstance(self.job.spec, ReplaySpec):
            return ReplayRouter(inner, self.job.spec.selection, made.kind.name)
        return RetryRouter(inner)


def _for_job(made: Made, job: Job) -> Made:
    """The destination as the job uses it."""
    config = made.config
    if job.spec.rate is not None:
        rate = parse_rate(job.spec.rate)
        asked, configured = rate.count / rate.seconds, config.max_events_per_second
        if configured is None or configured > asked:
            config = msgspec.structs.replace(config, max_events_per_second=asked)
    if isinstance(job.spec, RetrySpec) and config.ordering == "strict":
        # They come late anyway: one that is refused once more need not hold the others.
        config = msgspec.structs.replace(config, ordering="user")
    return Made(made.kind, config)


def _single(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
