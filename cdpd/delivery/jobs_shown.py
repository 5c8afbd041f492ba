"""A job as the control API and `cdpd replay` show it."""

from __future__ import annotations

from typing import Any

import msgspec

from cdpd.delivery.jobs_table import Job, Spec
from cdpd.delivery.jobs_working import Working
from cdpd.delivery.retry_parked import RetrySpec
from cdpd.timestamp import format_time


def shown(job: Job, working: Working | None) -> dict[str, Any]:
    """`total` and `done`: of a replay lines of the archive, of a retry events.

    `state`: as stored, or for one that has not ended `running`, `queued` (waits for its turn), `retrying`, `paused`,
    `waiting` (state.db cannot be written), and then `problem` says why.
    """
    spec, counts = job.spec, job.counts
    told: dict[str, Any] = {
        "id": job.id,
        "destination": job.destination,
        "kind": job.kind,
        "state": job.state,
        "problem": job.problem or None,
        "total": spec.total,
        "done": spec.total if job.state == "done" else spec.done(job.cursor.low.offset, counts.settled),
        "delivered": counts.delivered,
        "skipped": counts.skipped,
        "filtered": counts.filtered,
        "parked": counts.parked,
        "retried": counts.retried,
        "in_flight": 0,
        "waiting_to_retry": 0,
        "rate": spec.rate,
        "began": format_time(job.began_ms),
        "changed": format_time(job.changed_ms),
        "asked": _asked(spec),
    }
    if job.state != "running":
        return told
    if working is None:
        told["state"] = "queued"
    else:
        its = working.status()
        told |= {key: its[key] for key in ("in_flight", "waiting_to_retry", "problem")}
        if its["state"] in ("retrying", "paused", "waiting"):
            told["state"] = its["state"]
    return told


def _asked(spec: Spec) -> dict[str, Any]:
    """What was asked for."""
    if isinstance(spec, RetrySpec):
        return {"which": msgspec.to_builtins(spec.which)}
    return {
        "from": spec.asked_from,
        "to": spec.asked_to,
        "from_offset": spec.start.offset,
        "to_offset": spec.until,
        **msgspec.to_builtins(spec.selection),
    }
