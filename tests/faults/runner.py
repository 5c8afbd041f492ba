"""The command `python -m tests.faults` (README.md): plays scenarios, tells of each, writes the report."""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Final

import anyio
from msgspec import Struct

from tests.faults.catalogue import SCENARIOS
from tests.faults.machine import lacks_preload, library
from tests.faults.report import document, markdown, surroundings
from tests.faults.scenario import Row, Scenario, named, play

LONG_ROUNDS: Final = 1000
LONG_SCALE: Final = 4.0
"""How much longer slow scenarios take with --long."""


class Plan(Struct, frozen=True):
    """What is played: round number → scenario and seed, the same for the same seed."""

    scenarios: Sequence[Scenario]
    seed: int
    rounds: int | None
    """None: each scenario once, with the plan's own seed."""
    begin: int = 0

    def steps(self) -> Iterator[tuple[int, Scenario, int]]:
        """(round, scenario, its seed)."""
        if self.rounds is None:
            for number, one in list(enumerate(self.scenarios))[self.begin :]:
                yield number, one, self.seed
            return
        random = Random(self.seed)
        possible = [one for one in self.scenarios if one.missing() is None] or list(self.scenarios)
        deck: list[Scenario] = []
        for number in range(self.rounds):
            if not deck:  # each once before any comes again, in an order by chance
                deck = random.sample(possible, len(possible))
            one, seed = deck.pop(), random.randrange(1 << 31)
            if number >= self.begin:
                yield number, one, seed


class Runner:
    """Plays a plan; `rows` are what came of it."""

    def __init__(self, plan: Plan, scale: float, jobs: int, report: Path | None, as_json: bool) -> None:
        self.rows: list[Row] = []
        self.ended_early = False
        """By a signal."""
        self._plan = plan
        self._scale = scale
        self._jobs = jobs
        self._report = report
        self._as_json = as_json
        self._begun = time.monotonic()
        self._where = surroundings()

    async def run(self, built: Path | None) -> None:
        """As many at once as there are jobs."""
        steps = self._plan.steps()

        async def job() -> None:
            for number, one, seed in steps:
                self._tell(number, await play(one, seed, built, self._scale))

        async def ended(whole: anyio.CancelScope) -> None:
            # As Ctrl-C: daemons, mounts and folders of the rounds that are played go with it.
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    self.ended_early = True
                    whole.cancel()

        async with anyio.create_task_group() as whole:
            whole.start_soon(ended, whole.cancel_scope)
            async with anyio.create_task_group() as jobs:
                for _ in range(self._jobs):
                    jobs.start_soon(job)
            whole.cancel_scope.cancel()

    def _tell(self, number: int, row: Row) -> None:
        self.rows.append(row)
        if self._as_json:
            print(json.dumps({"round": number, **document(row)}), flush=True)
        else:
            mark = {"kept": "✓", "broken": "✗", "skipped": "-", "known fault": "!"}[row.verdict]
            text = row.reason if row.verdict != "kept" else row.happened
            first = " ".join(text.split())[:110] if row.verdict != "broken" else f"\n{row.happened}\n{text}"
            print(
                f"{number:4} {mark} {row.name:28} {row.seconds:5.1f} s  seed {row.seed:<10} {first}",
                flush=True,
            )
        if self._report is not None:  # after each: it may take hours, and be ended before its end
            self._report.write_text(self.markdown())

    def markdown(self) -> str:
        """The report so far."""
        seconds = time.monotonic() - self._begun
        return markdown(self.rows, seed=self._plan.seed, where=self._where, seconds=seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Break everything around a real daemon, and prove that nothing is lost or doubled.",
        epilog="Scenarios: " + ", ".join(one.name for one in SCENARIOS),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios; default: all")
    parser.add_argument(
        "--long", action="store_true", help=f"{LONG_ROUNDS} rounds by chance, slow ones at length"
    )
    parser.add_argument("--rounds", type=int, help="so many rounds, scenarios and moments by chance")
    parser.add_argument("--seed", type=int, help="the same again as with this seed; default: a new one")
    parser.add_argument("--from-round", type=int, default=0, help="go on there (with --seed and --rounds)")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once; default: 1")
    parser.add_argument(
        "--report", type=Path, metavar="FILE.md", help="write the report there, after each round"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a round on stdout, and no report")
    asked = parser.parse_args()
    try:
        scenarios = named(SCENARIOS, asked.names)
    except KeyError as error:
        parser.error(f"there is no scenario {error}; there are: {', '.join(one.name for one in SCENARIOS)}")
    seed = secrets.randbelow(1 << 31) if asked.seed is None else asked.seed
    rounds = asked.rounds or (LONG_ROUNDS if asked.long else None)
    scale = LONG_SCALE if asked.long else 1.0
    runner = Runner(
        Plan(scenarios, seed, rounds, asked.from_round), scale, asked.jobs, asked.report, asked.json
    )
    if not asked.json:
        again = f" --rounds {rounds}" if rounds else ""
        print(f"seed {seed} (the same again: --seed {seed}{again})", flush=True)
    with ExitStack() as stack:
        built = stack.enter_context(library()) if lacks_preload() is None else None
        anyio.run(runner.run, built)
    if runner.ended_early:
        print(f"ended by a signal, after {len(runner.rows)} rounds", file=sys.stderr)
    if not asked.json and asked.report is None:
        print("\n" + runner.markdown())
    raise SystemExit(runner.ended_early or any(row.verdict == "broken" for row in runner.rows))
