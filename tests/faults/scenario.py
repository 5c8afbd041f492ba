"""A scenario: one fault, what was promised for it, and the row of the report that it comes to."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

import anyio
from msgspec import Struct, field

from tests.faults.account import Balance
from tests.faults.machine import Page
from tests.faults.world import OUT, World, world

LONGEST = 120.0
"""Seconds after which a scenario is given up (times its scale)."""

Verdict = Literal["kept", "broken", "known fault", "skipped"]


class Scenario(Struct, frozen=True):
    """`run` plays it and says what happened; the balance is made afterwards, of a daemon that has stopped."""

    name: str
    promised: str
    run: Callable[[World], Awaitable[str]]
    needs: tuple[Callable[[], str | None], ...] = ()
    """Each says what is missing here, or None."""
    machine: bool = False
    """Whether the daemon runs on a machine that fails on demand (machine.py)."""
    may_wait: bool = False
    """Whether events may still be in the log at the end."""
    known: str = ""
    """A fault of ours that is known, and why it is not mended: then the promise must be broken."""

    def missing(self) -> str | None:
        """What cannot be had here; None where it can be played."""
        return next((what for need in self.needs if (what := need()) is not None), None)


def scenario(
    promised: str,
    *needs: Callable[[], str | None],
    machine: bool = False,
    may_wait: bool = False,
    known: str = "",
) -> Callable[[Callable[[World], Awaitable[str]]], Scenario]:
    """Makes one of a function, named as it is."""

    def make(run: Callable[[World], Awaitable[str]]) -> Scenario:
        name = run.__name__.strip("_").replace("_", "-")
        return Scenario(name, promised, run, needs, machine, may_wait, known)

    return make


class Row(Struct):
    """What became of one round."""

    name: str
    promised: str
    seed: int
    verdict: Verdict
    happened: str = ""
    reason: str = ""
    """Why it was broken or skipped."""
    seconds: float = 0.0
    balances: dict[str, Balance] = field(default_factory=dict)

    @property
    def out(self) -> Balance | None:
        """Of the destination that the scenario is about."""
        return self.balances.get(OUT)


async def play(scenario: Scenario, seed: int, library: Path | None, scale: float = 1.0) -> Row:
    """One round. library: machine.c, built."""
    row = Row(scenario.name, scenario.promised, seed, "skipped")
    missing = scenario.missing()
    if missing is None and scenario.machine and library is None:
        missing = "a C compiler"
    if missing is not None:
        row.reason = f"needs {missing}"
        return row
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cdpd-faults-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        page = Page(library, place / "page") if scenario.machine and library is not None else None
        row.verdict, row.reason = "kept", ""
        try:
            with anyio.fail_after(LONGEST * scale):
                await _play(scenario, row, place, seed, page, scale)
        except Exception as error:  # noqa: BLE001 - a row tells of whatever went wrong
            row.verdict, row.reason = "broken", _described(error)
    row.seconds = time.monotonic() - begun
    if scenario.known:
        if row.verdict == "broken":
            row.verdict, row.reason = "known fault", scenario.known
        else:
            row.verdict, row.reason = "broken", f"it is mended: take `known` off ({scenario.known})"
    return row


async def _play(
    scenario: Scenario, row: Row, folder: Path, seed: int, page: Page | None, scale: float
) -> None:
    async with world(folder, seed, page) as it:
        it.scale = scale
        try:
            row.happened = await scenario.run(it)
            if it.daemon.runs:
                await it.stop()
            row.balances = it.balances()
        except BaseException:
            if (code := it.daemon.ended) is not None:
                it.told.append(f"the daemon ended by itself, with {code}")
            row.happened = "; ".join(it.told)
            raise
        log = it.daemon.log()
    for name, found in row.balances.items():
        assert found.holds, f"{name}: {found.told()}"
        assert not found.waiting or scenario.may_wait, f"{name}: {found.waiting} are still in the log"
    assert "Traceback" not in log, f"a traceback in the log: {log[log.index('Traceback') - 500 :][:3000]}"


def _described(error: Exception) -> str:
    single: BaseException = error
    while isinstance(single, BaseExceptionGroup) and len(single.exceptions) == 1:
        single = single.exceptions[0]
    if isinstance(single, AssertionError):
        return str(single) or "".join(traceback.format_exception(single)[-3:])
    return "".join(traceback.format_exception(single))[-3000:]


def named(scenarios: Sequence[Scenario], names: Sequence[str]) -> list[Scenario]:
    """Those of these names; all where there are none. Raises KeyError with a name that is none."""
    known = {one.name: one for one in scenarios}
    return [known[name] for name in names] if names else list(scenarios)
