"""Order, and nothing lost, whatever a vendor says and whenever the daemon dies: random stories of a whole consumer."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from cdpd.delivery.consumer import LEAST_READ
from cdpd.delivery.state import StateDb
from tests.delivery.world import Answer, Crash, Memory, Plan, Step, Store, World, by_key, firsts

STEPS = st.builds(
    Step,
    st.sampled_from(get_args(Answer)),
    turns=st.integers(0, 6),
    crash=st.none() | st.sampled_from(get_args(Crash)),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    users = draw(st.lists(st.integers(0, 4), min_size=1, max_size=30))
    bad = draw(st.dictionaries(st.integers(0, len(users) - 1), st.integers(1, 2), max_size=4))
    return Plan(
        users,
        bad,
        draw(st.sampled_from(["user", "strict", "none"])),
        concurrency=draw(st.integers(1, 4)),
        max_events=draw(st.integers(1, 5)),
        frame=draw(st.integers(1, 7)),
        steps=draw(st.lists(STEPS, max_size=25)),
    )


def settle_accounts(world: World) -> None:
    """What holds at the end of every story."""
    plan, taken = world.plan, world.taken
    everything = set(range(len(plan.users)))
    positions = world.store.parked_positions("d")
    parked = {offset for offset in everything if world.position(offset) in positions}
    assert set(taken) | parked == everything, "every event is delivered or parked"
    assert parked <= set(plan.bad), "what the vendor takes is not parked"
    if plan.ordering == "strict":
        assert not parked, "what was refused is taken in the end, and is parked no longer"

    # A parked event holds nobody up; where that is forgotten in a crash, the vendor may take it after later ones.
    free = [offset for offset in firsts(taken) if plan.ordering == "strict" or offset not in plan.bad]
    for order in by_key(world, free).values():
        assert order == sorted(order), "first successes are in order"

    for offset, times in Counter(taken).items():
        assert times <= 1 + world.unstored[offset], "doubled is only what was in flight at a crash"
    assert world.most_unstored <= plan.concurrency * plan.max_events

    most = 1 if plan.ordering == "strict" else plan.concurrency
    assert world.most_at_once <= most
    assert world.most_in_memory <= max((most + 4) * plan.max_events, LEAST_READ) + plan.frame


@settings(max_examples=250, deadline=None)
@given(plans())
def test_every_event_is_delivered_or_parked_in_order_and_a_crash_doubles_only_what_was_in_flight(
    plan: Plan,
) -> None:
    world = World(plan, Memory().again)
    asyncio.run(world.run())
    settle_accounts(world)


@settings(max_examples=25, deadline=None)
@given(plans())
def test_so_it_is_with_a_real_state_db_that_is_opened_again_after_each_crash(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:

        def open_state() -> Store:
            opened.close()
            state = StateDb(Path(folder) / "state.db")
            opened.callback(state.close)
            return state

        world = World(plan, open_state)
        asyncio.run(world.run())
        settle_accounts(world)


def test_a_commit_that_fails_does_not_let_a_later_cursor_pass_what_it_parked() -> None:
    """Two batches are in flight; the moment of the refused one cannot be stored, and then the daemon dies."""
    for crash in get_args(Crash):
        plan = Plan([1, 2], {0: 1}, max_events=1, steps=[Step(), Step(crash=crash)])
        memory = Memory()
        memory.failures = 1
        world = World(plan, memory.again)
        asyncio.run(world.run())
        settle_accounts(world)
