"""`was = "old"`: a destination goes on under another name, with all that was kept under the old one, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdpd.config.data_folder import plugin_folder
from cdpd.config.model import Config, PipelineConfig
from cdpd.delivery import rename
from cdpd.delivery.making import DestinationError
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import BadEvent, Delivered, Outcome
from tests.delivery.rig import Rig

SCRIPTED: dict[str, Any] = {"type": "scripted"}
NEW = {**SCRIPTED, "was": "old"}


def refusing_m0(batch: Batch) -> list[Outcome]:
    return [BadEvent("no", 400) if event.message_id == "m0" else Delivered() for event in batch.events]


async def test_it_inherits_place_parked_events_pause_journal_and_folder(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(refusing_m0)
    folder = plugin_folder(tmp_path, "old")
    async with rig.running(old=SCRIPTED):
        await rig.append_many(2)
        await rig.settle("old")
        folder.mkdir(parents=True)
        (folder / "tokens.json").write_text("{}")
        await rig.delivery.by_hand.pause(["old"], "why")
        await rig.append_many(1)
        await rig.delivery.apply(rig.config({"new": NEW}))
        assert rig.status("new")["paused"]["reason"] == "why"
        assert (rig.low("new"), rig.low("old")) == (2, -1)
        assert (rig.status("new")["parked"], rig.state.parked_count("old")) == (1, 0)
        assert [one.message_id for one in rig.state.parked("new")] == ["m0"]
        assert rig.state.attempts("old") == []
        assert rig.state.attempts("new")
        assert (plugin_folder(tmp_path, "new") / "tokens.json").exists()
        assert not folder.exists()
        assert [e["was"] for e in rig.told if "another name" in e["event"]] == ["old"]
        assert not [e for e in rig.told if "no longer configured" in e["event"]]
        await rig.delivery.by_hand.resume(["new"])
        await rig.settle("new")
    assert rig.sent == ["m0", "m1", "m2"]


async def test_it_happens_at_a_start_too_and_only_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(old=SCRIPTED):
        await rig.append_many(2)
        await rig.settle("old")
    again = Rig(tmp_path, rig.clock)
    again.scripted()
    async with again.open():
        await again.append_many(1)
        async with again.delivering(new=NEW):
            await again.settle("new")
    third = Rig(tmp_path, rig.clock)
    third.scripted()
    async with third.open():
        await third.append_many(1)
        async with third.delivering(new=NEW):
            await third.settle("new")
            assert not [e for e in third.told if "another name" in e["event"]]
            (made,) = third.kinds["scripted"].made  # type: ignore[attr-defined]
            await third.delivery.apply(third.config({"new": SCRIPTED}))
            assert third.kinds["scripted"].made == [made], "taking `was` out again changes nothing"  # type: ignore[attr-defined]
    assert len(again.sent) == len(third.sent) == 1


async def test_several_may_be_renamed_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(a=SCRIPTED, b=SCRIPTED):
        await rig.append_many(2)
        await rig.settle("a")
        await rig.settle("b")
        await rig.delivery.apply(rig.config({"c": {**SCRIPTED, "was": "a"}, "d": {**SCRIPTED, "was": "b"}}))
        assert (rig.low("c"), rig.low("d")) == (2, 2)
        assert set(rig.state.cursors()) == {"c", "d"}


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"old": SCRIPTED, "new": NEW}, "is still configured"),
        ({"new": NEW, "newer": NEW}, r"as has \[destinations.new\]"),
        ({"kept": {**SCRIPTED, "was": "old"}}, "each of them has a position"),
    ],
)
async def test_what_two_would_own_is_refused_and_nothing_changes(
    tmp_path: Path, wanted: dict[str, Any], why: str
) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(old=SCRIPTED, kept=SCRIPTED):
        await rig.append_many(2)
        await rig.settle("old")
        await rig.settle("kept")
        with pytest.raises(DestinationError, match=why):
            await rig.delivery.apply(rig.config(wanted))
        assert set(rig.state.cursors()) == {"old", "kept"}
        await rig.append_many(1)
        await rig.settle("old")
        await rig.settle("kept")


async def test_after_a_refusal_the_way_out_that_it_names_works(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(old=SCRIPTED):
        await rig.append_many(2)
        await rig.settle("old")
        await rig.delivery.apply(rig.config({"new": SCRIPTED}))
        with pytest.raises(DestinationError, match="cdpd destinations forget new"):
            await rig.delivery.apply(rig.config({"new": NEW}))
        await rig.delivery.apply(rig.config({}))
        await rig.delivery.by_hand.forget("new", parked=False)
        await rig.append_many(1)
        await rig.delivery.apply(rig.config({"new": NEW}))
        await rig.settle("new")
    assert rig.sent == ["m0", "m1", "m2"]


async def test_a_folder_that_cannot_be_moved_leaves_all_as_it_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    for name in ("old", "new"):
        plugin_folder(tmp_path, name).mkdir(parents=True)
        (plugin_folder(tmp_path, name) / "file").write_text(name)
    async with rig.running(old=SCRIPTED):
        await rig.append_many(1)
        await rig.settle("old")
        with pytest.raises(DestinationError, match="both have a folder with files"):
            await rig.delivery.apply(rig.config({"new": NEW}))
        await rig.append_many(1)
        await rig.settle("old")
        assert set(rig.state.cursors()) == {"old"}


async def test_a_transaction_that_fails_moves_the_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    plugin_folder(tmp_path, "old").mkdir(parents=True)
    async with rig.running(old=SCRIPTED):
        await rig.append_many(1)
        await rig.settle("old")
        with monkeypatch.context() as patched:
            patched.setattr(rename, "_TABLES", ("cursors", "no_such_table"))
            with pytest.raises(OSError, match="no_such_table"):
                await rig.delivery.apply(rig.config({"new": NEW}))
        assert plugin_folder(tmp_path, "old").is_dir()
        await rig.append_many(1)
        await rig.settle("old")
        await rig.delivery.apply(rig.config({"new": NEW}))
        assert plugin_folder(tmp_path, "new").is_dir()
        assert rig.low("new") == 2


async def test_the_folder_of_a_hook_with_that_name_is_the_hooks(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    plugin_folder(tmp_path, "old").mkdir(parents=True)
    async with rig.running(old=SCRIPTED):
        config = Config(destinations={"new": NEW}, pipeline=PipelineConfig(hooks=["old"]))
        await rig.delivery.apply(config)
        assert rig.low("new") == 0
        assert plugin_folder(tmp_path, "old").is_dir()


async def test_a_name_that_never_was_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(new=NEW):
        assert [e["level"] for e in rig.told if "begins anew" in e["event"]] == ["warning"]
