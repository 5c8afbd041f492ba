"""Jobs: bounded sets of events for one destination, beside its live traffic: replays, and retries of parked events.

A job has a consumer of its own, so that it goes where live traffic does not at present: to a destination that is
paused or disabled. Of each destination one replay and one retry run at a time; others wait for their turn. After a
restart jobs go on from their cursors.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from cdpd.config.problem import did_you_mean
from cdpd.delivery.consumer import Wiring
from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.jobs_shown import shown
from cdpd.delivery.jobs_table import ALL_JOBS, Job, JobState, Spec, job_of, put_job, put_state
from cdpd.delivery.jobs_working import Working
from cdpd.delivery.making import DestinationError, Made, Maker
from cdpd.delivery.parked import ParkedFilter
from cdpd.delivery.replay import ReplayRouter, ReplaySpec, Selection
from cdpd.delivery.replay_range import range_of
from cdpd.delivery.replay_survey import Portion, survey
from cdpd.delivery.retry_parked import RetrySpec, parked_at, retry_of
from cdpd.delivery.route import router_of
from cdpd.delivery.state import Change, StateDb, StateError
from cdpd.delivery.waiting import first_of
from cdpd.event import Position
from cdpd.log.errors import LogError
from cdpd.log.readable import ReadableStream

GRACE: Final = 10.0
"""Seconds that batches in flight get when a job is stopped."""
_STORE_AGAIN: Final = 1.0
_GONE: Final = (
    "the destination is no longer in the configuration; `cdpd replay resume {}` goes on where the job stopped, once "
    "it is there again"
)


class JobError(Exception):
    """A job that cannot be begun, found or ended; the text says why."""


class Jobs:
    """All jobs of a daemon."""

    def __init__(
        self,
        maker: Maker,
        wiring: Wiring,
        events: ReadableStream,
        state: StateDb,
        wake: Callable[[str], None],
    ) -> None:
        """`wake`: lets a destination's live consumer try at once what waits."""
        self._maker = maker
        self._wiring = wiring
        self._events = events
        self._state = state
        self._clock = wiring.clock
        self._log: structlog.typing.FilteringBoundLogger = wiring.log
        self._wake = wake
        self._made: Mapping[str, Made] = {}
        self._jobs: dict[str, Job] | None = None
        """Read from state.db when they are first needed; oldest first."""
        self._working: dict[str, Working] = {}
        self._cancelled: set[str] = set()
        self._halted: set[str] = set()
        """Destinations none of whose jobs may begin."""
        self._stopped = False
        self._tasks: TaskGroup

    # -- with the daemon -----------------------------------------------------------------------------------

    async def apply(self, tasks: TaskGroup, made: Mapping[str, Made]) -> None:
        """Use these destinations from now on: jobs of those that changed go on with their new options.

        Jobs of a destination that is gone fail, loudly. Raises StateError.
        """
        await self.halt(made)
        self._tasks = tasks
        first, jobs = self._jobs is None, self._known()
        for found in self._read_all():  # a destination may have another name now
            if found.id in jobs:
                jobs[found.id].destination = found.destination
        self._made = made
        self._halted.clear()
        for job in [job for job in jobs.values() if job.state == "running"]:
            if job.destination not in made:
                await self._finish(job, "failed", _GONE.format(job.id))
            elif first:
                self._log.info("a job goes on after the restart", job=job.id, destination=job.destination)
        self._fill()

    async def halt(self, made: Mapping[str, Made]) -> None:
        """End the jobs of destinations that will be others, or gone; until `apply` or `go_on` they rest."""
        self._halted = {name for name, before in self._made.items() if made.get(name) != before}
        await self._end([one for one in self._working.values() if one.job.destination in self._halted])

    def go_on(self) -> None:
        """It is as it was before `halt`."""
        self._halted.clear()
        self._fill()

    async def stop(self) -> None:
        """End every job after the batches that it has in flight, at most GRACE seconds; they go on after a restart."""
        self._stopped = True
        await self._end(list(self._working.values()))

    def reopen(self) -> None:
        """Destinations that write files open them again (logrotate)."""
        for working in self._working.values():
            if working.consumer is not None:
                working.consumer.destination.reopen()

    def wake(self, destination: str) -> None:
        """Its jobs try at once what waits for a retry or a probe."""
        for working in self._working.values():
            if working.job.destination == destination:
                working.wake()

    async def pass_dropped(self, destination: str) -> None:
        """Parked events of it were dropped: where they held a job's line (`ordering = "strict"`), it goes on."""
        for working in list(self._working.values()):
            if working.job.destination == destination and working.holding:
                dropped = working.holding - self._state.parked_positions(destination)
                if dropped:
                    working.pass_over(dropped)

    # -- asked for -----------------------------------------------------------------------------------------

    async def plan_replay(
        self, destination: str, start: str, end: str, selection: Selection, rate: str | None = None
    ) -> ReplaySpec:
        """What a replay of these events would read. `start`, `end`: places in `events`; the end is fixed with this.

        Raises JobError.
        """
        self._of(destination)
        try:
            found = await range_of(self._events, start, end)
        except (DestinationError, LogError) as error:
            raise JobError(str(error)) from error
        return ReplaySpec(
            found.start,
            found.until,
            found.from_ms,
            found.to_ms,
            selection,
            rate,
            asked_from=start,
            asked_to=end,
        )

    async def survey(self, destination: str, spec: ReplaySpec, at: Position) -> Portion:
        """What a replay would do with the next portion of the archive. Raises JobError."""
        made = self._of(destination)
        router = ReplayRouter(router_of(made.kind, made.config), spec.selection, made.kind.name)
        try:
            return await survey(self._events, spec, router, at, self._clock)
        except LogError as error:
            raise JobError(str(error)) from error

    async def replay(self, destination: str, spec: ReplaySpec) -> Job:
        """Begin it, or line it up. Raises JobError, StateError."""
        self._of(destination)
        return await self._begin(destination, spec, spec.start)

    async def retry_parked(
        self, which: ParkedFilter, rate: str | None = None
    ) -> tuple[list[Job], dict[str, int]]:
        """Send parked events again: the jobs, one a destination; and what the live consumer itself sends again.

        The latter are those that hold their line (`ordering = "strict"`): destination → how many.
        Raises JobError where a destination is not configured, StateError.
        """
        begun, held = [], {}
        for name, (found, waiting) in (await self.count_parked(which)).items():
            if waiting:
                held[name] = waiting
                self._wake(name)
            if found is not None:
                spec = msgspec.structs.replace(found, rate=rate)
                begun.append(await self._begin(name, spec, Position(found.first, 0)))
        return begun, held

    async def count_parked(self, which: ParkedFilter) -> dict[str, tuple[RetrySpec | None, int]]:
        """What `retry_parked` would do: destination → (what a job would send, how many the live consumer would)."""
        names = [which.destination] if which.destination is not None else await parked_at(self._state, which)
        told = {}
        for name in names:
            below = self._line(name)
            spec, held = await retry_of(self._state, msgspec.structs.replace(which, destination=name), below)
            if spec is not None or held:
                told[name] = spec, held
        return told

    async def cancel(self, id: str) -> Job:
        """End it after the batches in flight. Raises JobError, StateError."""
        job = self.job(id)
        if job.state != "running":
            raise JobError(f"{id} has ended already: it is {job.state}")
        self._cancelled.add(id)
        working = self._working.get(id)
        if working is not None:
            await self._end([working])
        else:
            try:
                await self._finish(job, "cancelled")
            finally:
                self._cancelled.discard(id)
        self._fill()
        return job

    async def resume(self, id: str) -> Job:
        """Let one that failed or was cancelled go on from where it was. Raises JobError, StateError."""
        job = self.job(id)
        if job.state not in ("failed", "cancelled"):
            raise JobError(f"{id} is {job.state}: only what failed or was cancelled can go on")
        self._of(job.destination)
        await self._store(job, "running", "")
        self._fill()
        return job

    def job(self, id: str) -> Job:
        """Raises JobError."""
        jobs = self._known()
        if id not in jobs:
            raise JobError(f"there is no job {id!r}: `cdpd replay ls` shows them")
        return jobs[id]

    def all(self) -> list[Job]:
        """Oldest first."""
        return list(self._known().values())

    def status(self, job: Job) -> dict[str, Any]:
        """A job, as `cdpd replay` shows it."""
        return shown(job, self._working.get(job.id))

    # -- inside --------------------------------------------------------------------------------------------

    def _known(self) -> dict[str, Job]:
        if self._jobs is None:
            self._jobs = {job.id: job for job in self._read_all()}
        return self._jobs

    def _read_all(self) -> list[Job]:
        try:
            return [job_of(row) for row in self._state.rows(ALL_JOBS)]
        except (ValueError, sqlite3.Error) as error:
            raise StateError(f"{self._state.path}: the jobs cannot be read: {error}") from error

    def _of(self, destination: str) -> Made:
        made = self._made.get(destination)
        if made is None:
            known = ", ".join(self._made) or "none"
            hint = did_you_mean(destination, list(self._made)) or f"there are: {known}"
            raise JobError(f"there is no destination {destination!r} in the configuration that runs; {hint}")
        return made

    def _line(self, name: str) -> int | None:
        """With strict order: the offset from which on its parked events are the live consumer's to send."""
        if self._of(name).config.ordering != "strict":
            return None
        cursor = self._state.cursor(name)
        return None if cursor is None else cursor.low.offset

    async def _begin(self, destination: str, spec: Spec, start: Position) -> Job:
        now = self._clock.now_ms()
        job = Job(
            id="",
            destination=destination,
            spec=spec,
            cursor=DeliveryCursor(start),
            began_ms=now,
            changed_ms=now,
        )
        await self._state.change(lambda db: put_job(db, job))
        jobs = self._known()
        jobs[job.id] = job
        for id in jobs.keys() - {id for (id,) in self._state.rows("select id from jobs")}:
            del jobs[id]  # ended long ago
        self._log.info("a job begins", job=job.id, destination=destination, events=spec.total)
        self._fill()
        return job

    def _fill(self) -> None:
        """Set to work whose turn it is."""
        if self._stopped:
            return
        busy = {(working.job.destination, working.job.kind) for working in self._working.values()}
        for job in self._known().values():
            turn = job.destination, job.kind
            may = job.state == "running" and job.destination in self._made
            rests = job.destination in self._halted or job.id in self._cancelled
            if may and turn not in busy and not rests:
                busy.add(turn)
                known = frozenset(made.kind.name for made in self._made.values())
                working = Working(
                    job,
                    self._made[job.destination],
                    self._maker,
                    self._wiring,
                    self._events,
                    self._state,
                    known,
                )
                self._working[job.id] = working
                self._tasks.start_soon(self._work, working)

    async def _work(self, working: Working) -> None:
        job, problem = working.job, ""
        try:
            # Shielded: a cancelled daemon first lets batches in flight end (`stop`), so that none is doubled.
            with working.scope:
                try:
                    await working.run()
                except LogError as error:
                    problem = str(error)
            with anyio.CancelScope(shield=True):
                if problem:
                    await self._finish(job, "failed", problem)
                elif working.through:
                    await self._finish(job, "done")
                elif job.id in self._cancelled:
                    await self._finish(job, "cancelled")
        finally:
            self._cancelled.discard(job.id)
            del self._working[job.id]
            working.ended.set()
        self._fill()

    async def _finish(self, job: Job, state: JobState, problem: str = "") -> None:
        tell = self._log.error if state == "failed" else self._log.info
        counts = job.counts
        facts = {
            "delivered": counts.delivered,
            "skipped": counts.skipped,
            "filtered": sum(counts.filtered.values()),
            "parked": counts.parked,
        }
        tell(
            f"a job {'has failed' if state == 'failed' else f'is {state}'}",
            job=job.id,
            destination=job.destination,
            **facts,
            **({"problem": problem} if problem else {}),
        )
        await self._store(job, state, problem)

    async def _store(self, job: Job, state: JobState, problem: str) -> None:
        now = self._clock.now_ms()
        change: Change = partial(put_state, id=job.id, state=state, problem=problem, at_ms=now)
        while True:
            try:
                await self._state.change(change)
                break
            except StateError as error:
                self._log.error(
                    "the state of a job cannot be stored; trying again", job=job.id, problem=str(error)
                )
            await self._clock.sleep(_STORE_AGAIN)
        job.state, job.problem, job.changed_ms = state, problem, now

    async def _end(self, workings: Collection[Working]) -> None:
        """Stop these, all at once."""
        if not workings:
            return
        for working in workings:
            working.stop()

        async def all_ended() -> None:
            for working in workings:
                await working.ended.wait()

        await first_of(all_ended, lambda: self._clock.sleep(GRACE))
        for working in workings:
            working.scope.cancel()
        await all_ended()
