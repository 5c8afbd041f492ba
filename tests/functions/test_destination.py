"""A destination that is a function: what its handlers say becomes what delivery does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdpd.destinations.outcome import BadConfig, BadEvent, Delivered, Skipped, TryAgain
from cdpd.functions.destination import FunctionDestination
from cdpd.testing import running_destination
from tests.functions.hosting import SHORT, written


def options(folder: Path, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "file": written(folder / "mine.py", text), **more}


async def test_each_way_a_handler_ends_is_an_outcome(tmp_path: Path) -> None:
    text = """
        def on_track(event, settings):
            if event["event"] != "fine":
                raise {
                    "later": RetryError, "not mine": EventNotSupported, "bad": InvalidEventPayload,
                    "no key": InvalidSettings, "bug": KeyError,
                }[event["event"]](event["event"])
    """
    async with running_destination(FunctionDestination, options(tmp_path, text)) as running:
        told = await running.deliver(
            *(
                {"type": "track", "event": name, "userId": name}
                for name in ("fine", "later", "not mine", "bad", "bug")
            ),
            {"type": "page", "userId": "u"},
        )
        (config,) = await running.deliver({"type": "track", "event": "no key"})
    assert told == [
        Delivered(),
        TryAgain("later"),
        Skipped("UNSUPPORTED_EVENT_TYPE"),
        BadEvent("message_rejected: bad"),
        BadEvent("bad_request: KeyError: 'bug'"),
        Skipped("UNSUPPORTED_EVENT_TYPE"),
    ]
    assert config == BadConfig("invalid_settings: no key; check the function's settings")


async def test_of_a_batch_only_the_members_with_a_retryable_status_come_again(tmp_path: Path) -> None:
    """ACCEPTANCE 21."""
    text = """
        def on_batch(events, settings):
            return [{"status": status, "errormessage": "said"} for status in (200, 400, 200, 500)]
    """
    async with running_destination(FunctionDestination, options(tmp_path, text)) as running:
        told = await running.deliver(*({"type": "track", "userId": f"u{i}"} for i in range(4)))
    assert [outcome.kind for outcome in told] == ["delivered", "bad_event", "delivered", "retry"]


async def test_a_users_events_wait_for_an_earlier_one_that_comes_again_and_others_do_not(
    tmp_path: Path,
) -> None:
    text = """
        def on_track(event, settings):
            if event["event"] == "later": raise RetryError("later")
    """
    async with running_destination(FunctionDestination, options(tmp_path, text)) as running:
        told = await running.deliver(
            {"type": "track", "event": "later", "userId": "a"},
            {"type": "track", "event": "now", "userId": "a"},
            {"type": "track", "event": "now", "userId": "b"},
        )
    assert [outcome.kind for outcome in told] == ["retry", "retry", "delivered"]
    assert isinstance(told[1], TryAgain)
    assert not told[1].sent


async def test_a_time_out_is_tried_again(tmp_path: Path) -> None:
    text = "import asyncio\nasync def on_track(event, settings): await asyncio.sleep(1000)"
    made = options(tmp_path, text, timeout=SHORT)
    async with running_destination(FunctionDestination, made) as running:
        (outcome,) = await running.deliver({"type": "track"})
    assert outcome == TryAgain("the function: it took longer than 0.2 s", code="ETIMEDOUT")


async def test_a_file_that_does_not_load_pauses_the_destination_and_loses_nothing(tmp_path: Path) -> None:
    async with running_destination(FunctionDestination, options(tmp_path, "1 / 0")) as running:
        (outcome,) = await running.deliver({"type": "track"})
    assert outcome == BadConfig("the function cannot be run: ZeroDivisionError: division by zero", after=15.0)


async def test_batches_have_20_events_or_what_is_configured_and_400_at_most(tmp_path: Path) -> None:
    made = options(tmp_path, "def on_track(event, settings): pass")
    async with running_destination(FunctionDestination, made) as running:
        assert running.destination.limits.max_events == 20
    async with running_destination(FunctionDestination, {**made, "batch": {"max_events": 1000}}) as running:
        assert running.destination.limits.max_events == 400
