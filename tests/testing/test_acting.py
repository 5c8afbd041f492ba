"""An action run for its author: outcomes, requests, and what is wrong told in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cdpd.config.problem import ConfigError
from cdpd.destinations.actions import (
    Action,
    ActionDestination,
    BadEvent,
    Delivered,
    RateLimited,
    TryAgain,
)
from cdpd.destinations.webhook import Webhook
from cdpd.testing import CUT, HANG, RESET, Case, Reply, cases_of, run_action
from tests.destinations.actions.radio import Song

EXAMPLE = {"url": "https://hooks.example.com/in"}


async def test_an_action_runs_whatever_its_trigger_with_the_example_settings_and_mapping() -> None:
    acted = await run_action(Webhook, "send", {"type": "page", "name": "Mugs"}, mapping={"data": {"a": 1.0}})
    assert acted.outcome == Delivered(200)
    assert acted.requests == [
        {
            "method": "POST",
            "url": "https://hooks.example.com/in",
            "headers": {"content-type": "application/json"},
            "json": {"a": 1},
        }
    ]


async def test_several_events_are_one_batch_and_replies_are_given_in_order() -> None:
    mapping = {"batch_size": 0, "data": {"id": {"@path": "$.messageId"}}}
    events = [{}, {"userId": "u2"}, {"userId": "u3"}]
    reply = Reply(429, {"RETRY-AFTER": "7"})
    outcomes, requests = await run_action(
        Webhook, "send", *events, mapping=mapping, replies=[200, 400, reply]
    )
    assert [outcome.kind for outcome in outcomes] == ["delivered", "bad_event", "rate_limited"]
    assert isinstance(outcomes[2], RateLimited)
    assert outcomes[2].after == 7
    assert [request["json"]["id"] for request in requests] == ["m1", "m2", "m3"]


@pytest.mark.parametrize("reply", [HANG, RESET, CUT])
async def test_a_reply_may_be_none(reply: Reply) -> None:
    acted = await run_action(Webhook, "send", {}, replies=[reply])
    assert isinstance(acted.outcome, TryAgain)


async def test_what_the_payload_lacks_is_told_and_nothing_is_sent() -> None:
    acted = await run_action(Webhook, "send", {}, mapping={"method": "DELETE"})
    assert isinstance(acted.outcome, BadEvent)
    assert acted.requests == []


async def test_an_action_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"actions\[0\].action: there is no action 'sned'.*send"):
        await run_action(Webhook, "sned", {})


async def test_settings_are_checked_as_in_a_configuration() -> None:
    with pytest.raises(ConfigError, match="urll"):
        await run_action(Webhook, "send", {}, settings={"urll": "x"})


async def test_a_fault_of_the_destination_is_told_with_its_traceback() -> None:
    async def broken(to: object, payload: object) -> None:
        raise ZeroDivisionError("of the author")

    class Broken(ActionDestination):
        name = "Broken"
        actions = (Action(name="go", title="Go", payload=Song, perform=broken, trigger="all"),)

    with pytest.raises(AssertionError, match="ZeroDivisionError: of the author"):
        await run_action(Broken, "go", {"properties": {"title": "x"}})


# -- files of cases, in pytest ---------------------------------------------------------------------------------

CASE = {
    "destination": "webhook",
    "title": "an address",
    "action": "send",
    "settings": {},
    "mapping": EXAMPLE,
    "event": {"type": "track", "event": "Song Played", "messageId": "m1"},
    "expected_requests": [{"method": "POST", "url": EXAMPLE["url"]}],
}
RESPONSE = {
    "destination": "webhook",
    "action": "send",
    "events": 1,
    "reply": {"status": 503},
    "expected": ["retry"],
}


def written(folder: Path, *cases: object, responses: list[object] | None = None) -> Path:
    path = folder / "cases.json"
    path.write_text(json.dumps({"format": 1, "cases": cases, "response_cases": responses or []}))
    return path


async def test_each_case_of_a_file_is_a_test_with_its_title(tmp_path: Path) -> None:
    found = cases_of(
        written(tmp_path, CASE, {**CASE, "destination": "other"}, responses=[RESPONSE]), "webhook"
    )
    assert [case.__name__ for case in found] == ["an address", "send: 1 answered 503"]
    for case in found:
        await case.check(Webhook)


async def test_a_case_that_fails_tells_the_difference_and_the_requests() -> None:
    wrong = {**CASE, "expected_requests": [{"method": "PUT", "url": EXAMPLE["url"]}]}
    with pytest.raises(AssertionError) as told:
        await Case(wrong).check(Webhook)
    assert "method: expected 'PUT', found 'POST'" in str(told.value)
    assert '"event": "Song Played"' in str(told.value)


async def test_a_case_of_another_action_or_setting_fails_with_the_reason() -> None:
    with pytest.raises(AssertionError, match="there is no action 'sned'"):
        await Case({**CASE, "action": "sned"}).check(Webhook)
    with pytest.raises(AssertionError, match="colour"):
        await Case({**CASE, "settings": {"colour": "red"}}).check(Webhook)
