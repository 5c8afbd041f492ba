"""`cdpd parked retry`: jobs of the daemon, begun and watched until it is known what came of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from msgspec import Struct

from cdpd.cli.exits import FAILED, CommandError
from cdpd.cli.output import plural, print_json
from cdpd.control.client import ControlClient
from cdpd.delivery.parked import ParkedFilter
from cdpd.terminal import printable

RateOption = Annotated[
    str | None,
    typer.Option(metavar="N/s", help="At most so many events, e.g. 100/s.", show_default=False),
]
_POLL: Final = 0.5
"""Seconds between two questions."""
_GOING: Final = ("running", "queued", "retrying", "paused", "waiting")


class _Retry(Struct, frozen=True):
    filter: ParkedFilter
    everything: bool
    dry_run: bool
    rate: str | None


class _Job(Struct, frozen=True):
    id: str


def retry_parked(
    daemon: ControlClient,
    which: ParkedFilter,
    *,
    everything: bool,
    rate: str | None,
    dry_run: bool,
    detach: bool,
    json: bool,
) -> None:
    """Begin it, watch it and tell. Raises CommandError where some were refused again, NotRunning, ControlRefused."""
    answer = daemon.call("POST /parked/retry", _Retry(which, everything, dry_run, rate), 10.0)
    held: dict[str, int] = answer["held"]
    found = answer["events"].values() if dry_run else (job["total"] for job in answer["jobs"])
    tell_missing(which, sum(found) + sum(held.values()))
    if dry_run:
        _tell_dry(answer["events"], held, json)
        return
    jobs = {job["id"]: job for job in answer["jobs"]}
    if not detach:
        try:
            for job in _watched(daemon, jobs, quiet=json):
                jobs[job["id"]] = job
        except KeyboardInterrupt:
            print(f"\nit goes on in the daemon: cdpd replay watch {' '.join(jobs)}", file=sys.stderr)
            raise
    if json:
        print_json({"jobs": list(jobs.values()), "held": held})
    else:
        _tell(jobs, held)
    _judge(jobs)


def tell_missing(which: ParkedFilter, found: int) -> None:
    """Say that not all ids that were named are there."""
    missing = len(set(which.ids or ())) - found
    if missing > 0:
        what = "one of these ids is" if missing == 1 else f"{missing} of these ids are"
        print(f"{what} not parked, or not like this: sent, dropped, or never there", file=sys.stderr)


def _tell_dry(events: dict[str, int], held: dict[str, int], json: bool) -> None:
    if json:
        print_json({"events": events, "held": held})
    elif not events and not held:
        print("no event is parked, or none like this")
    for name, count in () if json else events.items():
        print(f"{name}: {plural(count, 'parked event')} would be sent again")
    for name, count in () if json else held.items():
        print(f"{name}: {_holding(count)} would be tried at once")


def _watched(daemon: ControlClient, jobs: dict[str, Any], *, quiet: bool) -> Iterator[dict[str, Any]]:
    """Each job as it is, again and again, until all have ended."""
    going = {id: job for id, job in jobs.items() if job["state"] in _GOING}
    progress = _Progress(on=sys.stderr.isatty() and not quiet)
    while going:
        time.sleep(_POLL)
        for id in list(going):
            job = daemon.call("POST /jobs/show", _Job(id))
            going[id] = job
            yield job
        progress.show(going.values())
        going = {id: job for id, job in going.items() if job["state"] in _GOING}
    progress.clear()


class _Progress:
    """One line on the terminal, written over and over."""

    def __init__(self, *, on: bool) -> None:
        self._on = on

    def show(self, jobs: Any) -> None:
        if self._on:
            parts = [_one(job) for job in jobs]
            sys.stderr.write("\r\x1b[K" + "; ".join(parts)[:200])
            sys.stderr.flush()

    def clear(self) -> None:
        if self._on:
            sys.stderr.write("\r\x1b[K")


def _one(job: dict[str, Any]) -> str:
    text = f"{job['destination']}: {job['done']:,} of {plural(job['total'], 'event')}"
    if job["state"] not in ("running", "done"):
        text += f" ({job['state']}{': ' + printable(job['problem']) if job['problem'] else ''})"
    return text


def _tell(jobs: dict[str, Any], held: dict[str, int]) -> None:
    if not jobs and not held:
        print("no event is parked, or none like this")
    for id, job in jobs.items():
        if job["state"] in _GOING:
            waits = " (waits for its turn)" if job["state"] == "queued" else ""
            events = plural(job["total"], "parked event")
            print(f"{job['destination']}: {events} on the way{waits}: cdpd replay watch {id}")
            continue
        left_out = sum(job["filtered"].values()) + job["skipped"]
        told = [f"{job['delivered']:,} delivered", f"{job['parked']:,} refused again"]
        told += [f"{left_out:,} not meant for it"] if left_out else []
        print(f"{job['destination']}: {', '.join(told)}")
    for name, count in held.items():
        print(f"{name}: {_holding(count)}, tried at once: see `cdpd status`")


def _holding(count: int) -> str:
    return f"{plural(count, 'parked event')} that {'holds' if count == 1 else 'hold'} the line"


def _judge(jobs: dict[str, Any]) -> None:
    for job in jobs.values():
        if job["state"] in ("failed", "cancelled"):
            why = f": {printable(job['problem'])}" if job["problem"] else ""
            raise CommandError(f"the retry to {job['destination']} has {job['state']}{why}", FAILED)
    refused = [job["destination"] for job in jobs.values() if job["parked"]]
    if refused:
        raise CommandError(f"some were refused again: cdpd parked ls --destination {refused[0]}", FAILED)
