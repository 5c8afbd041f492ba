"""`cdpd replay --dry-run`: counts what would be sent and what left out, and prints it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any, Final

from msgspec import Struct

from cdpd.cli.job_watch import why
from cdpd.cli.output import columns, plural
from cdpd.control.client import ControlClient
from cdpd.terminal import printable

_SHOWN: Final = 40
"""Rows of a table for people."""


class _Survey(Struct):
    destination: str
    spec: dict[str, Any]
    at: dict[str, Any]


def dry_run(daemon: ControlClient, destination: str, request: Struct) -> dict[str, Any]:
    """`total` lines looked at; `events` that would be sent, `sent` by source, type and name; `left_out` by reason."""
    plan = daemon.call("POST /replay/plan", request, patience=10)
    spec, total = plan["spec"], plan["total"]
    sent, left_out = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str, str]]()
    began, at = time.monotonic(), spec["start"]
    with ExitStack() as stack:
        bar = _bar(stack, total)
        while True:
            portion = daemon.call("POST /replay/survey", _Survey(destination, spec, at), patience=5)
            at = portion["at"]
            for row in portion["rows"]:
                key = row["source"], row["type"], row["name"]
                if row["skip"]:
                    left_out[row["skip"], *key] += row["events"]
                else:
                    sent[key] += row["events"]
            if bar is not None:
                bar.update(bar.task_ids[0], completed=portion["done"])
            if portion["over"]:
                break
    return {
        "destination": destination,
        "dry_run": True,
        "total": total,
        "events": sent.total(),
        "sent": [
            {"source": source, "type": kind, "name": name, "events": n}
            for (source, kind, name), n in sent.most_common()
        ],
        "left_out": [
            {"code": code, "source": source, "type": kind, "name": name, "events": n}
            for (code, source, kind, name), n in left_out.most_common()
        ],
        "seconds": round(time.monotonic() - began, 3),
    }


def text(found: dict[str, Any]) -> str:
    """For people."""
    destination = printable(found["destination"])
    left_out = sum(row["events"] for row in found["left_out"])
    head = f"{plural(found['events'], 'event')} would be sent to {destination}"
    head += f", {left_out:,} left out" if left_out else ""
    head += f"; {plural(found['total'], 'line')} of the archive looked at\n"
    parts = [head]
    if found["sent"]:
        rows = [(r["events"], r["source"], r["type"], printable(r["name"])) for r in found["sent"]]
        parts.append("\n" + _table(rows, ("events", "source", "type", "name")))
    if left_out:
        reasons = Counter[str]()
        for row in found["left_out"]:
            reasons[row["code"]] += row["events"]
        parts.append(
            "\nleft out:\n" + columns([(n, why(code)) for code, n in reasons.most_common()], indent="  ")
        )
    parts.append("\nnothing was sent: this was a dry run\n")
    return "".join(parts)


def _table(rows: list[tuple[Any, ...]], header: tuple[str, ...]) -> str:
    more = f"  … and {plural(len(rows) - _SHOWN, 'row')} more: --json has all\n" if len(rows) > _SHOWN else ""
    return columns(rows[:_SHOWN], header, indent="  ") + more


def _bar(stack: ExitStack, total: int) -> Any:
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("counting"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    stack.enter_context(bar)
    bar.add_task("counting", total=total)
    return bar
