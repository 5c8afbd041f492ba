"""A source's insert function: the hook that runs it changes events, discards them, and never loses one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdpd.functions.hook import Function, FunctionFailed
from cdpd.pipeline.chain import HookError
from cdpd.testing.hooks import running_hook
from tests.functions.hosting import written


def options(folder: Path, text: str, **more: Any) -> dict[str, Any]:
    return {"file": written(folder / "clean.py", text), **more}


CLEAN = """
    def on_track(event, settings):
        if event["event"] == "drop": raise DropEvent("not wanted")
        if event["event"] == "nothing": return None
        if event["event"] == "bad": raise InvalidEventPayload("no email")
        event["event"] = event["event"].upper()
        del event["userId"]
        event["messageId"] = "another"
        return event
"""


async def test_events_go_on_as_it_leaves_them_or_are_discarded_with_the_reason(tmp_path: Path) -> None:
    async with running_hook(Function, options(tmp_path, CLEAN)) as hook:
        passed = await hook.send(
            *(
                {"type": "track", "event": name, "userId": "u", "messageId": name}
                for name in ("a", "drop", "nothing", "bad", "b")
            ),
            {"type": "page", "userId": "u", "messageId": "page"},
        )
    assert [event["event"] for event in passed.events] == ["A", "B"]
    assert [event["messageId"] for event in passed.events] == ["a", "b"], "the messageId is fixed"
    assert all("userId" not in event for event in passed.events)
    assert [(one.message_id, one.code) for one in passed.discarded] == [
        ("drop", "function_dropped"),
        ("nothing", "function_dropped"),
        ("bad", "message_rejected"),
        ("page", "unsupported_event_type"),
    ]


async def test_what_it_does_not_foresee_is_an_error_of_the_hook(tmp_path: Path) -> None:
    async with running_hook(Function, options(tmp_path, "def on_track(event, settings): 1 / 0")) as hook:
        with pytest.raises(FunctionFailed, match="ZeroDivisionError"):
            await hook.send({"type": "track", "event": "a"})


async def test_a_batch_handler_gets_the_whole_slice(tmp_path: Path) -> None:
    text = """
        def on_batch(events, settings):
            return [{**event, "event": str(len(events))} for event in events[:2]]
    """
    async with running_hook(Function, options(tmp_path, text)) as hook:
        passed = await hook.send(*({"type": "track", "event": "a", "messageId": f"m{i}"} for i in range(3)))
    assert [event["event"] for event in passed.events] == ["3", "3"]
    assert [one.message_id for one in passed.discarded] == ["m2"], (
        "fewer results: the missing ones are dropped"
    )


async def test_not_now_is_tried_three_times_and_then_discarded_so_that_it_can_be_sent_again(
    tmp_path: Path,
) -> None:
    import anyio

    from cdpd.testing.clock import FakeClock

    clock = FakeClock()
    text = """
        tries = []
        def on_track(event, settings):
            tries.append(event["event"])
            if event["event"] == "never" or tries.count(event["event"]) < 3: raise RetryError("busy")
            return event
    """
    async with running_hook(Function, options(tmp_path, text), clock=clock) as hook:
        passed = None

        async def send() -> None:
            nonlocal passed
            passed = await hook.send(
                {"type": "track", "event": "never"}, {"type": "track", "event": "third time"}
            )

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            with anyio.fail_after(60):
                while passed is None:
                    await anyio.sleep(0.002)
                    if clock.next_wake is not None and clock.next_wake <= 2.0:
                        await clock.advance(clock.next_wake)
    assert [event["event"] for event in passed.events] == ["third time"]
    assert [(one.code, one.message) for one in passed.discarded] == [("function_retry", "busy")]


async def test_a_file_that_does_not_load_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(HookError, match="ZeroDivisionError"):
        async with running_hook(Function, options(tmp_path, "1 / 0")):
            pass
