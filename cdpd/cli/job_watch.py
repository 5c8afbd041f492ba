"""Watching a job of the daemon (a replay, a retry of parked events): a bar while it runs, and what it came to."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final

import typer
from msgspec import Struct

from cdpd.cli.exits import FAILED, NOT_RUNNING, CommandError
from cdpd.cli.output import columns, plural
from cdpd.control.client import ControlClient, NotRunning
from cdpd.terminal import printable
from cdpd.timestamp import parse_time

ENDED: Final = ("done", "cancelled", "failed")
_POLL: Final = 0.3
"""Seconds between two looks."""
_EVERY: Final = 10.0
"""Seconds between two lines where nobody watches a bar."""
_WINDOW: Final = 10.0
"""Seconds over which the rate is measured."""
_INTERRUPTED: Final = 130


class JobId(Struct):
    """The body of calls about one job."""

    id: str


def watch(daemon: ControlClient, id: str) -> dict[str, Any]:
    """The job at its end. Ctrl-C leaves it running, says so, and ends the command.

    Raises CommandError where the daemon goes away.
    """
    try:
        with ExitStack() as stack:
            view = _Bar(stack) if sys.stderr.isatty() else _Lines()
            while True:
                job = daemon.call("POST /jobs/show", JobId(id))
                if job["state"] in ENDED:
                    return job
                view.show(job)
                time.sleep(_POLL)
    except NotRunning:
        raise CommandError(
            f"the daemon has stopped. When it runs again, {id} goes on where it was: cdpd replay watch {id}",
            NOT_RUNNING,
        ) from None
    except KeyboardInterrupt:
        sys.stderr.write(f"\ncdpd: {goes_on(id)}\n")
        raise typer.Exit(_INTERRUPTED) from None


def goes_on(id: str) -> str:
    """How to get at a job that nobody watches."""
    return f"{id} runs in the daemon. Watch it: cdpd replay watch {id}; end it: cdpd replay cancel {id}"


def exit_code(job: Mapping[str, Any]) -> int:
    """Of a command that waited for the job's end."""
    return 0 if job["state"] == "done" else FAILED


def summary(job: Mapping[str, Any]) -> str:
    """What a job came to, or how it stands."""
    id, state, retry = job["id"], job["state"], job["kind"] == "retry"
    total = plural(job["total"], "event" if retry else "line")
    what = (
        f"{total} parked at {job['destination']}"
        if retry
        else f"{total} of the archive to {job['destination']}"
    )
    if state in ("done", "cancelled", "failed"):
        took = _seconds(job)
        head = f"{id} {'has failed' if state == 'failed' else f'is {state}'}: {what}"
        head += f", in {took:,.1f} s" if state == "done" and took is not None else ""
    else:
        head = f"{id} ({state}): {what}"
    lines = [printable(head)]
    if job["problem"]:
        lines.append(f"  {printable(job['problem'])}")
    return "\n".join(lines) + "\n" + columns(_rows(job), indent="  ")


def _rows(job: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    retry = job["kind"] == "retry"
    rows: list[tuple[str, int, str]] = [("delivered", job["delivered"], "")]
    if job["skipped"]:
        rows.append(("skipped", job["skipped"], "the destination has nothing to send for them"))
    for code, n in sorted(job["filtered"].items(), key=lambda item: -item[1]):
        rows.append(("left out", n, why(code) + ("; they stay parked" if retry else "")))
    if job["parked"]:
        parked = "refused again, parked still" if retry else "refused"
        rows.append(("parked", job["parked"], f"{parked}: cdpd parked ls --destination {job['destination']}"))
    settled = job["delivered"] + job["skipped"] + job["parked"] + sum(job["filtered"].values())
    rest = job["done"] - settled
    if not retry and rest > 0:
        rows.append(("not chosen", rest, "of another time, source, type or name, or deleted"))
    left = job["total"] - job["done"]
    if left > 0:
        rows.append(("not done", left, "dropped meanwhile" if retry and job["state"] == "done" else ""))
    if job["retried"]:
        rows.append(("tried again", job["retried"], "counted each time"))
    return rows


_WHY: Final = {
    "SOURCE_NOT_CONNECTED": "their source is not in its `sources`",
    "FILTERED_BY_INTEGRATIONS_OBJECT": "their `integrations` say so",
    "UNSUPPORTED_EVENT_TYPE": "it does not take calls of that type",
    "NOT_AN_EVENT": "the line is no event: it would be parked",
}


def why(code: str) -> str:
    return f"{code}: {_WHY[code]}" if code in _WHY else printable(code)


def _seconds(job: Mapping[str, Any]) -> float | None:
    began, ended = parse_time(job["began"]), parse_time(job["changed"])
    return None if began is None or ended is None else max(ended - began, 0) / 1000


class _Rate:
    """Events a second, over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, count: int) -> float:
        now = time.monotonic()
        self._seen.append((now, count))
        while now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        then, before = self._seen[0]
        return (count - before) / (now - then) if now > then else 0.0


class _Bar:
    """For a terminal."""

    def __init__(self, stack: ExitStack) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        stack.enter_context(self._bar)
        self._task: Any = None
        self._rate = _Rate()
        self._problem: str | None = None

    def show(self, job: Mapping[str, Any]) -> None:
        rate, counts = self._rate.of(job["done"]), _counts(job)
        title = f"{job['id']}: {job['state']}"
        if self._task is None:
            self._task = self._bar.add_task(
                title, total=job["total"], completed=job["done"], rate=rate, counts=counts
            )
        self._bar.update(self._task, description=title, completed=job["done"], rate=rate, counts=counts)
        if job["problem"] and job["problem"] != self._problem:
            self._bar.console.print(printable(job["problem"]), markup=False, highlight=False)
        self._problem = job["problem"]


class _Lines:
    """For a pipe or a log: a line now and then."""

    def __init__(self) -> None:
        self._told = time.monotonic()
        self._rate = _Rate()

    def show(self, job: Mapping[str, Any]) -> None:
        rate = self._rate.of(job["done"])
        if time.monotonic() - self._told < _EVERY:
            return
        self._told = time.monotonic()
        problem = f"; {job['problem']}" if job["problem"] else ""
        sys.stderr.write(
            printable(
                f"cdpd: {job['id']}: {job['state']}, {job['done']:,} of {job['total']:,}, {rate:,.0f}/s, "
                f"{_counts(job)}{problem}"
            )
            + "\n"
        )


def _counts(job: Mapping[str, Any]) -> str:
    parts = [f"delivered {job['delivered']:,}"]
    left_out = job["skipped"] + sum(job["filtered"].values())
    if left_out:
        parts.append(f"skipped {left_out:,}")
    if job["parked"]:
        parts.append(f"parked {job['parked']:,}")
    if job["waiting_to_retry"]:
        parts.append(f"waiting {job['waiting_to_retry']:,}")
    return ", ".join(parts)
