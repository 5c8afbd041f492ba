"""Scenarios of bits that change by themselves, in any file of the data folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cdpd.testing import Reply
from tests.faults.account import Line, Stored
from tests.faults.scenario import Scenario, scenario
from tests.faults.world import World

_STREAM: Final = re.compile(r"(received|events|discarded): ")
_LOST: Final = re.compile(r"  lost: .*?offsets? (\d+)(?: to (\d+))?")
"""How `cdpd log repair` names what it made holes of: the stream, then the lines."""


def _name_lost(world: World, before: Stored, said: str) -> int:
    """Note what is said to be lost, or to come twice; how many lines are lost."""
    lost: set[str] = set()
    count = 0
    stream = ""
    for line in said.splitlines():
        if (begins := _STREAM.match(line)) is not None:
            stream = begins[1]
        elif (names := _LOST.match(line)) is not None:
            lines: list[Line] = getattr(before, stream)
            ids = {one.id for one in lines if int(names[1]) <= one.offset <= int(names[2] or names[1])}
            count += len(ids)
            lost |= ids
        elif "may get events of this range twice" in line:
            world.may_come_again(lost)
    world.gone |= lost
    return count


def flip(world: World, path: Path, within: bytes = b"") -> str:
    """Change one bit, anywhere in the file or in these bytes of it; where."""
    content = bytearray(path.read_bytes())
    begin, size = (content.index(within), len(within)) if within else (0, len(content))
    at = begin + world.random.randrange(size)
    content[at] ^= 1 << world.random.randrange(8)
    path.write_bytes(content)
    where = f"{path.relative_to(world.daemon.data)} at byte {at} of {len(content)}"
    world.told.append(where)
    return where


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
    """Do what we are told to do about it; everything arrives that was not named as lost."""
    world.vendor.otherwise = Reply()
    told = []
    if world.random.random() < 0.5:  # nobody knows of it yet
        told += await _start(world)
        await world.load.send(10)
        await world.until(
            lambda: "damage" in world.said() or world.all_delivered(but=world.load.bad),
            "everything is delivered, or the damage is told of",
        )
        await world.stop()
    said = await world.log_command("log", "repair")
    world.told.append(f"repair said: {said}")
    if lost := _name_lost(world, before, said):
        told.append(f"{lost} lines named as lost")
    told += await _start(world)
    await world.load.send(30)
    await world.until_delivered(but=world.load.bad)
    return f"{where}: {'; '.join(told) or 'nothing of it matters'}"


async def _start(world: World) -> list[str]:
    """Start; where it refuses, without the file that it names."""
    try:
        await world.start()
    except AssertionError:
        said = world.said()
        assert "Traceback" not in said, said
        assert "state.db" in said, said
        for path in world.daemon.data.glob("state.db*"):
            path.unlink()
        world.may_come_again()
        await world.start()
        return ["it refused to start on state.db, which was then removed"]
    return []


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
    path = world.random.choice(paths)
    where = flip(world, path)
    if path.suffix == ".db-wal":
        # SQLite takes its journal up to the first wrong frame, as after a power loss: the rest was never written.
        world.may_come_again()
    return await _after(world, before, where)


@scenario(
    "A bit flips in a destination's cursor: noticed, never believed; nothing is left out because of it."
)
async def bit_of_a_cursor(world: World) -> str:
    before = await _before(world)
    world.settle_state()
    where = flip(world, world.daemon.data / "state.db", world.cursor_text().encode())
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


DAMAGE: Final[tuple[Scenario, ...]] = (
    bit_of_a_stream,
    bit_of_the_state,
    bit_of_a_cursor,
    bit_of_anything_else,
)
