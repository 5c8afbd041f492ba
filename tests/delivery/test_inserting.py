"""Insert functions of destinations: between filters and mappings, each event changed, dropped or tried again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cdpd import metrics as names
from cdpd.destinations.contract import Batch, Destination, DestinationConfig
from cdpd.destinations.outcome import Delivered, Outcome
from cdpd.testing import running_vendor
from tests.delivery.rig import Rig
from tests.destinations.actions.radio import Radio
from tests.functions.hosting import written

RENAMES = """
    def on_track(event, settings):
        if event["event"] == "drop": raise DropEvent("on purpose")
        if event["event"] == "nothing": return None
        if event["event"] == "bug": raise KeyError("bug")
        event["event"] = settings["prefix"] + event["event"]
        return event
"""


def insert(folder: Path, text: str = RENAMES) -> dict[str, object]:
    return {"file": written(folder / "insert.py", text), "settings": {"prefix": "My "}}


async def test_events_get_there_as_the_function_leaves_them(tmp_path: Path) -> None:
    """ACCEPTANCE 20: DropEvent and a missing handler are no errors."""
    rig = Rig(tmp_path / "data")
    rig.scripted()
    async with rig.running(d={"type": "scripted", "insert": insert(tmp_path)}):
        await rig.append(
            {"event": "a", "properties": {"price": 1.10}},
            {"event": "drop"},
            {"event": "nothing"},
            {"type": "page"},
            {"event": "bug"},
            {"event": "b"},
        )
        await rig.settle()
        assert rig.status()["parked"] == 1
        skipped = rig.metrics.get(names.SKIPPED, "d", "FILTERED_AT_MAPPING")
        unsupported = rig.metrics.get(names.SKIPPED, "d", "UNSUPPORTED_EVENT_TYPE")
        (parked,) = rig.state.parked("d")
    assert [event.event for batch in rig.batches for event in batch.events] == ["My a", "My b"]
    assert (skipped, unsupported) == (2, 1)
    assert parked.reason == "bad_request: KeyError: 'bug'"


async def test_what_the_function_left_alone_keeps_its_text(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "data")
    rig.scripted()
    line = (
        b'{"messageId":"m","type":"track","event":"a","properties":{"price":1.10,"n":12345678901234567890}}'
    )
    async with rig.running(d={"type": "scripted", "insert": insert(tmp_path)}):
        await rig.append(line)
        await rig.settle()
    (event,) = [event for batch in rig.batches for event in batch.events]
    assert event.line() == line.replace(b'"a"', b'"My a"')


async def test_an_event_for_which_it_says_not_now_holds_its_users_later_ones(tmp_path: Path) -> None:
    text = """
        tries = []
        def on_track(event, settings):
            tries.append(event["messageId"])
            if event["messageId"] == "m0" and tries.count("m0") == 1: raise RetryError("later")
            return event
    """
    rig = Rig(tmp_path / "data")

    async def behave(batch: Batch) -> Sequence[Outcome]:
        return [Delivered()] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d={"type": "scripted", "insert": insert(tmp_path, text)}):
        await rig.append({"userId": "a"}, {"userId": "a"}, {"userId": "b"})
        await rig.until(lambda: rig.sent == ["m2"])
        await rig.as_time_passes(lambda: rig.low() == 3)
    assert rig.sent == ["m2", "m0", "m1"]


async def test_triggers_see_the_event_before_the_function_and_mappings_after_it(tmp_path: Path) -> None:
    """ACCEPTANCE 22: an event that no trigger matches never reaches the function."""
    text = """
        def on_track(event, settings):
            with open(settings["seen"], "a") as file: file.write(event["event"] + ";")
            event["event"] = "Song Played" if event["event"] == "Other" else "Other"
            event["properties"] = {"title": "inserted"}
            return event
    """
    seen = tmp_path / "seen"
    rig = Rig(tmp_path / "data")
    rig.kinds["radio"] = Radio
    made = {**insert(tmp_path, text), "settings": {"seen": str(seen)}}
    async with running_vendor() as vendor:
        async with rig.running(d={"type": "radio", "url": vendor.url, "insert": made}):
            await rig.append({"event": "Other"}, {"event": "Song Played"}, {"event": "Other"})
            await rig.settle()
            skipped = rig.metrics.get(names.SKIPPED, "d", "NO_MATCHING_MAPPING")
        titles = [song["title"] for request in vendor.requests for song in request.json]
    assert seen.read_text() == "Song Played;"
    assert titles == ["inserted"]
    assert skipped == 2


def test_archives_have_no_insert_function() -> None:
    class Archive(Destination):
        name = "Archive"
        obeys_integrations = False

    (problem,) = Archive.problems(DestinationConfig(insert="clean.py"))
    assert (problem.path, problem.hint) == (("insert",), "remove it")
