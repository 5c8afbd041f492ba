"""What is remembered: how much, for how long, and that finding out more never holds the loop."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from cdpd.hooks.remembered import Remembered, Steps
from tests.clock import FakeClock


class Ticking(FakeClock):
    """A clock on which every look at it takes 0.2 ms."""

    def monotonic(self) -> float:
        self.elapsed += 0.0002
        return self.elapsed


class Squares:
    """Finds squares, in so many steps each."""

    def __init__(self, steps: int = 1) -> None:
        self.steps = steps
        self.found: list[int] = []

    def __call__(self, key: int) -> Steps[int]:
        for _ in range(self.steps):
            yield
        self.found.append(key)
        return key * key


async def test_a_key_is_found_out_once() -> None:
    squares = Squares()
    known = Remembered(10, squares)
    assert [known.get(3), known.get(3), known.get(4)] == [9, 9, 16]
    await known.ahead([5], FakeClock())
    assert known.get(5) == 25
    assert squares.found == [3, 4, 5]


@pytest.mark.parametrize("ahead", [True, False])
async def test_of_more_keys_than_there_is_room_for_those_longest_unused_go(ahead: bool) -> None:
    squares = Squares()
    known = Remembered(3, squares)
    for key in (1, 2, 3, 1, 4):
        if ahead and key not in known:
            await known.ahead([key], FakeClock())
        else:
            known.get(key)
    assert len(known) == 3
    assert [key for key in range(5) if key in known] == [1, 3, 4]


async def test_finding_out_ahead_gives_the_loop_its_turn_every_half_millisecond() -> None:
    turns = 0
    known = Remembered(100, Squares(steps=50))

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        await known.ahead(range(10), Ticking())
        tasks.cancel_scope.cancel()
    assert len(known) == 10
    assert turns >= 10 * 50 / 4  # a look at the clock takes 0.2 ms: every third step, and the next begins


async def test_of_a_flood_what_two_seconds_do_not_suffice_for_is_found_out_when_it_is_wanted() -> None:
    squares = Squares(steps=1000)
    known = Remembered(1000, squares)
    await known.ahead(range(100), Ticking())
    assert 5 <= len(known) <= 20
    assert known.get(99) == 99 * 99
