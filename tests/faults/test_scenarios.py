"""The short form: each scenario once, on the real daemon. `python -m tests.faults --long` plays a thousand."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdpd.testing import CUT, Reply
from tests.faults.catalogue import SCENARIOS
from tests.faults.machine import RIGHTS, BlockDisk, lacks_power_loss, lacks_preload, library
from tests.faults.report import markdown
from tests.faults.runner import Plan
from tests.faults.scenario import Row, Scenario, play
from tests.faults.world import World
from tests.services import need


@pytest.fixture(scope="module")
def machine() -> Iterator[Path | None]:
    """machine.c, built, where there is a compiler."""
    if lacks_preload() is not None:
        yield None
        return
    with library() as built:
        yield built


def _need(missing: str | None) -> None:
    if missing in RIGHTS:
        pytest.skip(f"needs {missing}")
    need(missing is None, missing or "")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[one.name for one in SCENARIOS])
async def test_a_promise_is_kept(scenario: Scenario, machine: Path | None) -> None:
    _need(scenario.missing())
    seed = int(os.environ.get("CDPD_FAULTS_SEED") or random.randrange(1 << 31))
    row = await play(scenario, seed, machine)
    again = f"again: python -m tests.faults {scenario.name} --seed {seed}"
    assert row.verdict != "broken", f"{scenario.promised}\n{row.reason}\n{again}"
    if row.verdict == "known fault":
        pytest.xfail(f"{row.reason} ({again})")


async def _on_a_disk_that_lies(world: World) -> str:
    world.page.lie()
    world.vendor.otherwise = Reply(503)
    await world.vendor.open()
    with BlockDisk(world.folder, world.daemon.data) as disk:
        await world.start()
        await world.load.send(50)
        disk.lose_power()
        await world.kill()
        disk.power_on()
        world.page.new_boot()
        await world.start()
        await world.finish()
    return "nothing was synced"


async def test_a_daemon_that_does_not_sync_is_found_out_by_a_power_loss(machine: Path | None) -> None:
    _need(lacks_power_loss() or lacks_preload())
    lying = Scenario("lies", "Nothing is lost.", _on_a_disk_that_lies, machine=True, may_wait=True)
    row = await play(lying, 1, machine)
    assert row.verdict == "broken"
    assert "lost: m" in row.reason


async def test_a_vendor_that_hides_what_it_took_is_found_out(machine: Path | None) -> None:
    async def hides(world: World) -> str:
        await world.vendor.open()
        await world.start()
        world.vendor.replies(CUT)
        await world.load.send(30)
        await world.until_delivered()
        world.vendor.unheard.clear()
        return "it took events, cut its answer, and does not say so"

    row = await play(Scenario("hides", "Nothing is doubled.", hides), 1, machine)
    assert row.verdict == "broken"
    assert "doubled: m" in row.reason


def test_scenarios_have_names_of_their_own() -> None:
    assert len({one.name for one in SCENARIOS}) == len(SCENARIOS)


def test_a_plan_is_the_same_again_for_its_seed_and_may_be_gone_on_with() -> None:
    def steps(seed: int, begin: int = 0) -> list[tuple[int, str, int]]:
        return [(n, one.name, its) for n, one, its in Plan(SCENARIOS, seed, 100, begin).steps()]

    whole = steps(7)
    assert whole == steps(7)
    assert whole != steps(8)
    assert steps(7, begin=90) == whole[90:]
    assert {name for _, name, _ in whole} == {one.name for one in SCENARIOS if one.missing() is None}


def test_the_report_names_what_is_broken_and_how_to_play_it_again() -> None:
    rows = [
        Row("hangs", "Waits.", 5, "kept", "it waited"),
        Row("refuses", "Comes | again.", 6, "broken", reason="out: 1 lost: m5"),
        Row("full-disk", "Refuses.", 7, "skipped", reason="needs root"),
    ]
    text = markdown(rows, seed=1, where={"cdpd": "0"}, seconds=60)
    assert "**1 promises were broken**: 2 rounds of 3 scenarios" in text
    assert "| hangs | 1 | Waits. | it waited |" in text
    assert r"Comes \| again." in text
    assert "skipped: needs root" in text
    assert "`python -m tests.faults refuses --seed 6`" in text
    assert "out: 1 lost: m5" in text
