"""`cdpd replay` and `cdpd parked retry` on the control socket: jobs are planned, begun, watched and ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.config.rate import parse_rate
from cdpd.control.contract import Calls, CannotDo
from cdpd.delivery.jobs import JobError, Jobs
from cdpd.delivery.parked import ParkedFilter
from cdpd.delivery.replay import ReplaySpec, Selection
from cdpd.delivery.state import StateError
from cdpd.event import Position

PLAN: Final = "POST /replay/plan"
SURVEY: Final = "POST /replay/survey"
REPLAY: Final = "POST /replay"
JOBS: Final = "GET /jobs"
SHOW: Final = "POST /jobs/show"
CANCEL: Final = "POST /jobs/cancel"
RESUME: Final = "POST /jobs/resume"
RETRY: Final = "POST /parked/retry"
JOB_CALLS: Final = (PLAN, SURVEY, REPLAY, JOBS, SHOW, CANCEL, RESUME, RETRY)


class ReplayRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body of `plan` and `replay`."""

    destination: str
    start: str
    """`now`, `beginning`, a time (ISO 8601) or an offset of `events`."""
    end: str = "now"
    """The same; this place is not meant any more."""
    selection: Selection = Selection()
    rate: str | None = None
    """At most so many events, e.g. `100/s`."""


class SurveyRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body of `survey`: what `plan` answered, and how far it is."""

    destination: str
    spec: ReplaySpec
    at: Position
    """At first `start` of the spec, then `at` of the answer before."""


class JobRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The body of calls about one job."""

    id: str


class RetryParkedRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body of `retry`."""

    filter: ParkedFilter = ParkedFilter()
    everything: bool = False
    """Says that a filter which restricts nothing is meant so."""
    dry_run: bool = False
    rate: str | None = None


def job_calls(jobs: Jobs) -> Calls:
    """The calls. A job in an answer is as cdpd/delivery/jobs_shown.py says."""

    async def plan(body: bytes) -> dict[str, Any]:
        asked = msgspec.json.decode(body, type=ReplayRequest)
        spec = await _planned(jobs, asked)
        return {"spec": msgspec.to_builtins(spec), "total": spec.total}

    async def survey(body: bytes) -> dict[str, Any]:
        asked = msgspec.json.decode(body, type=SurveyRequest)
        found: dict[str, Any] = msgspec.to_builtins(
            await jobs.survey(asked.destination, asked.spec, asked.at)
        )
        return found

    async def replay(body: bytes) -> dict[str, Any]:
        asked = msgspec.json.decode(body, type=ReplayRequest)
        job = await jobs.replay(asked.destination, await _planned(jobs, asked))
        return jobs.status(job)

    async def all_jobs(_: bytes) -> dict[str, Any]:
        return {"jobs": [jobs.status(job) for job in jobs.all()]}

    async def show(body: bytes) -> dict[str, Any]:
        return jobs.status(jobs.job(_id(body)))

    async def cancel(body: bytes) -> dict[str, Any]:
        return jobs.status(await jobs.cancel(_id(body)))

    async def resume(body: bytes) -> dict[str, Any]:
        return jobs.status(await jobs.resume(_id(body)))

    async def retry(body: bytes) -> dict[str, Any]:
        """`jobs`: those that were begun. `held`: destination → how many events its live consumer sends again itself,
        since they hold its line. Of a dry run `events`: destination → how many a job would send."""
        asked = msgspec.json.decode(body, type=RetryParkedRequest)
        _check_rate(asked.rate)
        if not asked.filter.restricts and not asked.everything:
            raise CannotDo("say which parked events are meant, or that all are")
        if asked.dry_run:
            found = await jobs.count_parked(asked.filter)
            return {
                "events": {name: spec.total for name, (spec, _) in found.items() if spec is not None},
                "held": {name: held for name, (_, held) in found.items() if held},
            }
        begun, held = await jobs.retry_parked(asked.filter, asked.rate)
        return {"jobs": [jobs.status(job) for job in begun], "held": held}

    handlers = (plan, survey, replay, all_jobs, show, cancel, resume, retry)
    return {name: _refusing(call) for name, call in zip(JOB_CALLS, handlers, strict=True)}


async def _planned(jobs: Jobs, asked: ReplayRequest) -> ReplaySpec:
    _check_rate(asked.rate)
    return await jobs.plan_replay(asked.destination, asked.start, asked.end, asked.selection, asked.rate)


def _check_rate(rate: str | None) -> None:
    if rate is not None:
        try:
            parse_rate(rate)
        except ValueError as error:
            raise CannotDo(f"rate: {error}") from None


def _id(body: bytes) -> str:
    return msgspec.json.decode(body, type=JobRequest).id


def _refusing(
    call: Callable[[bytes], Awaitable[dict[str, Any]]],
) -> Callable[[bytes], Awaitable[dict[str, Any]]]:
    async def handle(body: bytes) -> dict[str, Any]:
        try:
            return await call(body)
        except (JobError, StateError) as error:
            raise CannotDo(str(error)) from error

    return handle
