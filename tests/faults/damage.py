"""Scenarios of bits that change by themselves, in any file of the data folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cdpd.testing import Reply
from tests.faults.account import Stored
from tests.faults.scenario import Scenario, scenario
from tests.faults.world import World

_LOST: Final = re.compile(r"(received|events|discarded) --from (\d+) --to (\d+)")
"""How `cdpd log repair` names what it made holes of."""


def _name_lost(world: World, before: Stored, said: str) -> int:
    """Note what is said to be lost; how many lines."""
    lost = 0
    for stream, first, end in _LOST.findall(said):
        for line in getattr(before, stream):
            if int(first) <= line.offset < int(end):
                world.gone.add(line.id)
                lost += 1
    return lost


def flip(world: World, path: Path) -> str:
    """Change one bit, anywhere in the file; where."""
    content = bytearray(path.read_bytes())
    at = world.random.randrange(len(content))
    content[at] ^= 1 << world.random.randrange(8)
    path.write_bytes(content)
    return f"{path.relative_to(world.daemon.data)} at byte {at} of {len(content)}"


async def _before(world: World) -> Stored:
    """A daemon with a past (delivered, parked, waiting, several segments), stopped; what is in its streams."""
    world.configure(mode="single", log="segment_bytes = 6000\nrecompress = false")
    await world.vendor.open()
    world.vendor.refuses_bad = True
    await world.start()
    await world.load.send(120)
    await world.until_delivered(but=world.load.bad)
    world.vendor.otherwise = Reply(503)
    await world.load.send(80)
    await world.until_failing()
    if world.random.random() < 0.5:
        await world.kill()
        world.note_start()
    else:
        await world.stop()
    return world.stored()


async def _after(world: World, before: Stored, where: str) -> str:
    """Start, doing what we are told to do about it; everything arrives that was not named as lost."""
    world.vendor.otherwise = Reply()
    told = []
    said = await world.log_command("log", "repair")
    if lost := _name_lost(world, before, said):
        told.append(f"{lost} lines named as lost")
    try:
        await world.start()
    except AssertionError:
        said = world.said()
        assert "Traceback" not in said, said
        assert "state.db" in said, said
        told.append("refused to start on state.db, which was then removed")
        for path in world.daemon.data.glob("state.db*"):
            path.unlink()
        world.may_come_again()
        await world.start()
    await world.load.send(30)
    await world.until_delivered(but=world.load.bad)
    return f"{where}: {'; '.join(told) or 'nothing of it matters'}"


@scenario(
    "A bit flips in a stream's file: never served, named to the line by `log repair`; all else arrives."
)
async def bit_of_a_stream(world: World) -> str:
    before = await _before(world)
    paths = [path for path in sorted(world.daemon.data.glob("log/*/*")) if path.stat().st_size]
    where = flip(world, world.random.choice(paths))
    return await _after(world, before, where)


@scenario("A bit flips in state.db: noticed, or of no consequence; nothing is left out because of it.")
async def bit_of_the_state(world: World) -> str:
    before = await _before(world)
    paths = [path for path in sorted(world.daemon.data.glob("state.db*")) if path.stat().st_size]
    where = flip(world, world.random.choice(paths))
    return await _after(world, before, where)


@scenario("A bit flips in any other file (dedup's tables, indexes, locks): made again, or of no consequence.")
async def bit_of_anything_else(world: World) -> str:
    before = await _before(world)
    paths = [
        path
        for path in sorted(world.daemon.data.rglob("*"))
        if path.is_file()
        and path.stat().st_size
        and "log" not in path.parts[-3:]
        and "state.db" not in path.name
    ]
    where = flip(world, world.random.choice(paths))
    return await _after(world, before, where)


DAMAGE: Final[tuple[Scenario, ...]] = (bit_of_a_stream, bit_of_the_state, bit_of_anything_else)
