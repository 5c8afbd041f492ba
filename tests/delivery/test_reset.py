"""A destination that goes on from another place, and a state.db that is older than the log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cdpd.delivery.delivery import Reset
from cdpd.delivery.making import DestinationError
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import Delivered, Outcome
from cdpd.timestamp import format_time
from tests.delivery.rig import Rig

SCRIPTED = {"type": "scripted"}


async def test_it_gets_events_again_or_leaves_some_out(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.append_many(5)
        await rig.settle()
        assert await rig.delivery.reset("d", "beginning") == Reset(5, 0, 5)
        await rig.settle()
        assert rig.sent == [f"m{n}" for n in range(5)] * 2
        assert await rig.delivery.reset("d", "3") == Reset(5, 3, 5)
        await rig.settle()
        assert rig.sent[10:] == ["m3", "m4"]
        assert rig.low() == 5


async def test_now_leaves_out_what_it_has_not_got_even_while_it_fails(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    down = [True]

    def behave(batch: Batch) -> list[Outcome]:
        if down[0]:
            raise OSError("down")
        return [Delivered()] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d=SCRIPTED):
        await rig.append_many(5)
        await rig.until(lambda: rig.status()["state"] != "running")
        await rig.delivery.reset("d", "now")
        down[0] = False
        assert rig.low() == 5
        await rig.append_many(2)
        await rig.until(lambda: rig.low() == 7)


async def test_from_a_time(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.append_many(2)
        await rig.settle()
        await rig.clock.advance(60)
        middle = format_time(rig.clock.now_ms())
        await rig.append_many(2)
        await rig.settle()
        assert await rig.delivery.reset("d", middle) == Reset(4, 2, 4)
        await rig.settle()
        assert len(rig.sent) == 6


async def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.append_many(3)
        await rig.settle()
        assert await rig.delivery.reset("d", "1", dry_run=True) == Reset(3, 1, 3)
        await rig.append_many(1)
        await rig.settle()
        assert len(rig.sent) == 4


async def test_what_is_no_place_or_no_destination_is_refused(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        with pytest.raises(DestinationError, match="there is no destination 'e'"):
            await rig.delivery.reset("e", "now")
        with pytest.raises(DestinationError, match="expected"):
            await rig.delivery.reset("d", "soon")
        await rig.append_many(1)
        await rig.settle()


async def test_a_destination_whose_position_is_of_another_log_is_cured(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.append_many(5)
        await rig.settle()
    _remove(tmp_path / "events")
    again = Rig(tmp_path, rig.clock)
    again.scripted()
    async with again.running(d=SCRIPTED):
        await again.append_many(9)
        await again.until(lambda: again.status()["state"] == "stopped")
        assert "`cdpd destinations reset d --from PLACE`" in again.status()["problem"]
        await again.delivery.reset("d", "beginning")
        await again.settle()
        assert len(again.sent) == 9
        assert again.status()["problem"] is None


async def test_an_older_state_db_alone_is_noticed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.append_many(2)
        await rig.settle()
    older = _states(tmp_path)
    _copy(older, tmp_path / "older.db")
    async with Rig(tmp_path, rig.clock).running(d={"type": "null"}) as later:
        await later.clock.advance(3600)
        await later.append_many(5)
        await later.settle()
        assert not _noticed(later)
    async with Rig(tmp_path, rig.clock).running(d={"type": "null"}) as same:
        assert not _noticed(same)
    _copy(tmp_path / "older.db", older)
    async with Rig(tmp_path, rig.clock).running(d={"type": "null"}) as old:
        (told,) = _noticed(old)
        assert told["level"] == "warning"
        assert told["events_to_send"] == {"d": 5}
        assert told["last_written"] < told["newest_event"]
        assert "cdpd destinations reset" in told["event"]


def _noticed(rig: Rig) -> list[dict[str, str]]:
    return [entry for entry in rig.told if "state.db is older than the log" in entry["event"]]


def _states(folder: Path) -> Path:
    (found,) = folder.glob("*.db")
    return found


def _copy(source: Path, target: Path) -> None:
    shutil.copy(source, target)


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
