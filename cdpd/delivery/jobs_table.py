"""The table `jobs` of state.db: what a job is, how far it is, and what it has counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from cdpd.delivery.cursor import DeliveryCursor
from cdpd.delivery.jobs_counts import Counts, decode_counts, encode_counts
from cdpd.delivery.replay import ReplaySpec
from cdpd.delivery.retry_parked import RetrySpec

JobState = Literal["running", "done", "cancelled", "failed"]
Spec = ReplaySpec | RetrySpec
ENDED_KEPT: Final = 200
"""Ended jobs that are remembered; the oldest are forgotten when a new one begins."""


class Job(Struct, kw_only=True):
    """A row."""

    id: str
    destination: str
    spec: Spec
    cursor: DeliveryCursor
    state: JobState = "running"
    """`running` means: not ended; it may have to wait for its turn."""
    counts: Counts = field(default_factory=Counts)
    problem: str = ""
    """Why it failed."""
    began_ms: int = 0
    changed_ms: int = 0

    @property
    def kind(self) -> str:
        return "replay" if isinstance(self.spec, ReplaySpec) else "retry"


_COLUMNS: Final = "id, destination, spec, cursor, state, counts, problem, began_ms, changed_ms"
ALL_JOBS: Final = f"select {_COLUMNS} from jobs order by number"
"""Oldest first."""
_decode_spec: Final = msgspec.json.Decoder(Spec).decode


def job_of(row: Sequence[object]) -> Job:
    """A row of ALL_JOBS. Raises ValueError for what a newer cdpd, or nobody, wrote."""
    id, destination, spec, cursor, state, counts, problem, began_ms, changed_ms = row
    return msgspec.convert(
        {
            "id": id,
            "destination": destination,
            "spec": _decode_spec(str(spec)),
            "cursor": DeliveryCursor.parse(str(cursor)),
            "state": state,
            "counts": decode_counts(str(counts)),
            "problem": problem,
            "began_ms": began_ms,
            "changed_ms": changed_ms,
        },
        Job,
    )


def put_job(db: sqlite3.Connection, job: Job) -> None:
    """A new one; it gets its id here: `replay-7` is the seventh job of this state.db."""
    (number,) = db.execute("select coalesce(max(number), 0) + 1 from jobs").fetchone()
    job.id = f"{job.kind}-{number}"
    db.execute(
        "insert into jobs (id, number, destination, kind, spec, cursor, state, counts, problem, began_ms, changed_ms) "
        "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            job.id,
            number,
            job.destination,
            job.kind,
            msgspec.json.encode(job.spec).decode(),
            str(job.cursor),
            job.state,
            encode_counts(job.counts),
            job.problem,
            job.began_ms,
            job.changed_ms,
        ),
    )
    db.execute("delete from jobs where state != 'running' and number <= ?", (number - ENDED_KEPT,))


def put_cursor(db: sqlite3.Connection, id: str, cursor: DeliveryCursor) -> None:
    db.execute("update jobs set cursor = ? where id = ?", (str(cursor), id))


def put_state(db: sqlite3.Connection, id: str, state: JobState, problem: str, at_ms: int) -> None:
    db.execute(
        "update jobs set state = ?, problem = ?, changed_ms = ? where id = ?", (state, problem, at_ms, id)
    )
