"""What rounds come to: a Markdown table, a row for each scenario, with totals, versions, machine and seeds."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.faults.scenario import Row

_PLACES: Final = ("sent", "acknowledged", "delivered", "discarded", "parked", "waiting", "named", "excused")
_MARK: Final = {"kept": "✓", "broken": "**✗ broken**", "known fault": "known fault", "skipped": "skipped"}


def surroundings() -> dict[str, str]:
    """What a reader has to know to play it again."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "cdpd": f"{version('cdpd-daemon')}{f' at {commit}' if commit else ''}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "aiohttp": version("aiohttp"),
        "kernel": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0))),
    }


def figures(rows: Iterable[Row]) -> dict[str, int]:
    """Sums over the balances of `out`, the destination that scenarios are about."""
    total = dict.fromkeys((*_PLACES, "lost", "doubled", "rounds", "kept", "broken"), 0)
    for row in rows:
        if row.verdict == "skipped":
            continue
        total["rounds"] += 1
        total["kept"] += row.verdict == "kept"
        total["broken"] += row.verdict == "broken"
        if (found := row.out) is not None:
            for place in _PLACES:
                total[place] += getattr(found, place)
        for balance in row.balances.values():  # of both destinations: neither may
            total["lost"] += len(balance.lost)
            total["doubled"] += len(balance.doubled)
    return total


def markdown(rows: Sequence[Row], *, seed: int, where: Mapping[str, str], seconds: float) -> str:
    """The report."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    total = figures(rows)
    broken = [row for row in rows if row.verdict == "broken"]
    verdict = "Every promise was kept" if not broken else f"{len(broken)} promises were broken"
    lines = [
        "# Faults",
        "",
        f"**{verdict}**: {total['rounds']:,} rounds of {len(by_name)} scenarios, {total['acknowledged']:,} events "
        f"acknowledged; lost {total['lost']}, doubled {total['doubled']}.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds / 60:.1f} minutes, seed {seed}. "
        + ", ".join(f"{name} {text}" for name, text in where.items())
        + ".",
        "",
        "sent ≥ acknowledged; what is stored = delivered + discarded + parked + in the log. Numbers are of different "
        "events and of the destination that the scenario is about; the daemon has a second one, which is checked alike "
        "and must not notice. “Again”: delivered more than once because the vendor's answer was lost, the daemon was "
        "killed with a batch in flight, or it was made to forget. “Named”: lost with a disk or by damage, and told so.",
        "",
        "| scenario | rounds | promised | happened (first round) | sent | ack. | delivered | discarded | parked | "
        "in the log | named | again | lost | doubled | kept |",
        "| --- | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [_line(name, some) for name, some in by_name.items()]
    lines.append(_total_line(total))
    if broken:
        lines += ["", "## Broken", ""]
        for row in broken:
            lines += [
                f"### {row.name}, seed {row.seed}",
                "",
                f"`python -m tests.faults {row.name} --seed {row.seed}`",
                "",
                "```",
                *([row.happened.strip()] if row.happened else []),
                row.reason.strip(),
                "```",
                "",
            ]
    return "\n".join(lines).rstrip() + "\n"


def _line(name: str, rows: Sequence[Row]) -> str:
    played = [row for row in rows if row.verdict != "skipped"]
    first = rows[0]
    if not played:
        cells = [name, "0", first.promised, f"skipped: {first.reason}", *[""] * 10, "skipped"]
    else:
        total = figures(played)
        marks = list(dict.fromkeys(_MARK[row.verdict] for row in played))
        happened = played[0].happened or played[0].reason
        numbers = [f"{total[key]:,}" for key in (*_PLACES, "lost", "doubled")]
        cells = [name, f"{len(played):,}", first.promised, happened, *numbers, ", ".join(marks)]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _total_line(total: Mapping[str, int]) -> str:
    numbers = [f"**{total[key]:,}**" for key in (*_PLACES, "lost", "doubled")]
    kept = f"**{total['kept']:,} of {total['rounds']:,}**"
    return "| " + " | ".join(["**all**", f"**{total['rounds']:,}**", "", "", *numbers, kept]) + " |"


def _cell(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= 220 else flat[:219] + "…"


def document(row: Row) -> dict[str, Any]:
    """A row for machines."""
    found: dict[str, Any] = msgspec.to_builtins(row)
    return found
