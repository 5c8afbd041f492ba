"""Destinations made of actions: mappings and triggers at work, requests shared and in order, outcomes told apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import parse_qs

import anyio
import pytest
from msgspec import Meta, defstruct, structs

from cdpd.destinations.actions import Mapped, Preset
from cdpd.destinations.actions.config import ActionSetup
from cdpd.destinations.actions.fields import fields_of
from cdpd.destinations.contract import Problem
from cdpd.destinations.outcome import BadEvent, Outcome, Skipped
from cdpd.event import Event
from cdpd.testing import (
    HANG,
    Reply,
    RunningDestination,
    Vendor,
    make_event,
    running_destination,
    running_vendor,
)
from tests.destinations.actions.radio import LISTEN, Listener, Radio, Song

AT = "2026-01-15T10:20:30.000Z"


def song(title: Any = "Blue Train", user: str = "u1", **properties: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Song Played",
        "userId": user,
        "timestamp": AT,
        "properties": {"title": title, **properties},
    }


def identify(user: str = "u1", **traits: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": user, "traits": traits}


@asynccontextmanager
async def radio(**options: Any) -> AsyncIterator[tuple[RunningDestination, Vendor]]:
    async with running_vendor() as vendor, running_destination(Radio, {"url": vendor.url, **options}) as it:
        yield it, vendor


def kinds(outcomes: list[Outcome]) -> list[str]:
    return [outcome.kind for outcome in outcomes]


async def test_presets_say_what_happens_where_the_configuration_says_nothing() -> None:
    async with radio() as (it, vendor):
        told = await it.deliver(song(), identify(plan="gold"), {"type": "page"})
    assert kinds(told) == ["delivered", "delivered", "skipped"]
    assert told[2] == Skipped("NO_MATCHING_MAPPING")
    assert vendor.requests[0].json == [{"title": "Blue Train", "quality": "high", "listener": "u1"}]
    assert parse_qs(vendor.requests[1].body.decode()) == {"data": ['{"plan":"gold"}']}
    assert vendor.requests[1].headers["Content-Type"] == "application/x-www-form-urlencoded;charset=UTF-8"


async def test_payloads_share_requests_and_a_users_order_holds_across_actions() -> None:
    async with radio() as (it, vendor):
        await it.deliver(song("1"), song("2", "u2"), identify(), song("3"), song("4", "u3"), song("5", "u3"))
    paths = [request.path for request in vendor.requests]
    titles = [
        [each["title"] for each in request.json] for request in vendor.requests if request.path == "/plays"
    ]
    assert titles == [["1", "2"], ["3", "4", "5"]]
    assert paths.index("/listeners") == 1


async def test_batch_keys_keep_requests_apart() -> None:
    tune = {"action": "tune", "when": 'type = "track"', "mapping": {"name": {"@path": "$.event"}}}
    async with radio(actions=[tune], presets=False) as (it, vendor):
        events = [
            {
                "type": "track",
                "event": f"S{i}",
                "userId": f"u{i}",
                "properties": {"region": "eu" if i % 2 else "us"},
            }
            for i in range(4)
        ]
        await it.deliver(*events)
    assert {request.path: request.json for request in vendor.requests} == {
        "/us": ["S0", "S2"],
        "/eu": ["S1", "S3"],
    }


async def test_values_are_coerced_and_whatever_does_not_fit_is_told_by_name() -> None:
    async with radio() as (it, vendor):
        told = await it.deliver(
            song(7, note=None, tracks={"no": 3, "length": "12.0", "more": 1}),
            song([1, 2], tracks=["x"]),
            song("ok", "u2"),
        )
    assert kinds(told) == ["delivered", "bad_event", "delivered"]
    assert vendor.requests[0].json[0] == {
        "title": "7", "quality": "high", "listener": "u1", "note": None, "tracks": [{"id": "3", "seconds": 12}],
    }  # fmt: skip
    assert isinstance(told[1], BadEvent)
    assert told[1].reason.startswith("PAYLOAD_VALIDATION_FAILED: Play")
    assert "title: expected a string" in told[1].reason
    assert "tracks[0].id: is required" in told[1].reason


async def test_answers_mean_what_the_destinations_table_says_and_parts_of_a_batch_may_differ() -> None:
    async with radio() as (it, vendor):
        for status, kind in (
            (409, "retry"),
            (400, "bad_event"),
            (401, "bad_credentials"),
            (429, "rate_limited"),
        ):
            vendor.replies(status)
            assert kinds(await it.deliver(song())) == [kind]
        vendor.replies(207)
        assert kinds(await it.deliver(song(), song("noise", "u2"))) == ["delivered", "bad_event"]
        vendor.replies(400)
        (refused,) = await it.deliver(song())
    assert isinstance(refused, BadEvent)
    assert "POST" in refused.request
    assert "Blue Train" in refused.request


async def test_what_an_action_raises_is_an_outcome_and_hides_nobody_elses() -> None:
    async with radio() as (it, _):
        told = await it.deliver(identify("nobody"), identify("broken"), song())
        assert kinds(told) == ["bad_event", "retry", "delivered"]
        assert "KeyError" in told[1].reason  # type: ignore[union-attr]
        assert [entry.text for entry in it.log.entries if entry.level == "error"] == ["an action failed"]


async def test_two_mappings_are_two_requests_and_what_is_through_is_not_sent_again() -> None:
    also = {"action": "play", "name": "Also"}
    again = {"action": "tune", "when": 'event = "Song Played"', "mapping": {"name": "x"}}
    async with radio(actions=[also, again]) as (it, vendor):
        event = make_event(song())
        vendor.replies(200, 503)
        assert kinds(await it.deliver(event)) == ["retry"]
        assert kinds(await it.deliver(event, attempt=2)) == ["delivered"]
        assert [request.path for request in vendor.requests] == ["/plays", "/eu", "/eu"]
        assert kinds(await it.deliver(event)) == ["delivered"]
        assert [request.path for request in vendor.requests][3:] == ["/plays", "/eu"]


async def test_a_mapping_that_was_refused_is_not_tried_again_with_another_that_waits() -> None:
    also = {"action": "play", "name": "Also"}
    again = {"action": "tune", "when": 'event = "Song Played"', "mapping": {"name": "x"}}
    async with radio(actions=[also, again]) as (it, vendor):
        event = make_event(song())
        vendor.replies(422, 503, 200)
        assert kinds(await it.deliver(event)) == ["retry"]
        (refused,) = await it.deliver(event, attempt=2)
    assert isinstance(refused, BadEvent)
    assert refused.status == 422
    assert [request.path for request in vendor.requests] == ["/plays", "/eu", "/eu"]


async def test_an_action_in_the_configuration_replaces_its_presets_and_lays_its_mapping_over() -> None:
    setup = {
        "action": "play",
        "when": 'event = "Other"',
        "mapping": {"title": "{x}", "loud": True},
        "without": ["listener"],
    }
    async with radio(actions=[setup]) as (it, vendor):
        told = await it.deliver(song(), {**song(), "event": "Other"}, identify())
    assert kinds(told) == ["skipped", "delivered", "delivered"]
    assert vendor.requests[0].json == [{"title": "{x}", "quality": "high"}]
    async with radio(actions=[{"action": "play", "enabled": False}]) as (it, _):
        assert kinds(await it.deliver(song(), identify())) == ["skipped", "delivered"]


async def test_a_request_too_large_is_halved_by_delivery() -> None:
    async with radio() as (it, vendor):
        vendor.replies(413, 200, 200)
        assert kinds(await it.deliver(*(song(str(i), f"u{i}") for i in range(3)))) == ["delivered"] * 3
    assert [len(request.json) for request in vendor.requests] == [3, 2, 1]


async def test_a_preview_shows_the_requests_without_making_any() -> None:
    async with radio() as (it, vendor):
        shown = it.destination.preview(make_event(identify("u1", plan="gold")))
        none = it.destination.preview(make_event({"type": "page"}))
        bad = it.destination.preview(make_event(identify("nobody")))
    assert not vendor.requests
    assert isinstance(shown, list)
    assert shown[0]["form"] == {"data": '{"plan":"gold"}'}
    assert shown[0]["headers"]["X-Token"] == "•••"
    assert none == [{"mapping": "", "outcome": "skipped", "reason": "NO_MATCHING_MAPPING"}]
    assert bad == [
        {
            "mapping": "Listeners",
            "outcome": "bad_event",
            "reason": "PAYLOAD_VALIDATION_FAILED: user is nobody",
        }
    ]


async def test_numbers_beyond_all_reason_stop_no_batch() -> None:
    line = (
        b'{"type":"track","event":"Song Played","userId":"u1","messageId":"m","properties":{"title":1e999}}'
    )
    async with radio() as (it, vendor):
        huge, other = await it.deliver(Event(line), song("ok", "u2"))
    assert kinds([huge, other]) == ["bad_event", "delivered"]
    assert vendor.requests[0].json[0]["title"] == "ok"


async def test_a_vendor_that_hangs_holds_only_its_own_request() -> None:
    async with radio(timeout=0.3) as (it, vendor):
        vendor.replies(HANG, Reply())
        assert sorted(kinds(await it.deliver(identify("u1"), identify("u2")))) == ["delivered", "retry"]


def problems(*setups: dict[str, Any], **options: Any) -> list[Problem]:
    actions = [ActionSetup(**setup) for setup in setups]
    return list(Radio.problems(Radio.Config(url="http://x", actions=actions, **options)))


def test_the_presets_have_no_problems() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("setup", "path", "text"),
    [
        ({"action": "plya"}, ("actions", 0, "action"), "there is no action 'plya'"),
        ({"action": "tune"}, ("actions", 0, "action"), "has no trigger of its own"),
        ({"action": "tune", "when": "all"}, ("actions", 0), "needs the field 'name'"),
        ({"action": "play", "when": "event = "}, ("actions", 0, "when"), "column"),
        ({"action": "play", "mapping": {"titel": 1}}, ("actions", 0, "mapping", "titel"), "no field 'titel'"),
        (
            {"action": "play", "mapping": {"title": {"@pth": 1}}},
            ("actions", 0, "mapping"),
            "did you mean @path",
        ),
        ({"action": "play", "without": ["title"]}, ("actions", 0), "needs the field 'title'"),
        ({"action": "play", "without": ["x"]}, ("actions", 0, "without"), "no field 'x'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    setup: dict[str, Any], path: tuple[Any, ...], text: str
) -> None:
    found = problems(setup)
    assert [
        problem for problem in found if problem.path == path and text in problem.message + problem.hint
    ], found


def test_there_are_at_most_fifty_mappings_and_at_least_one() -> None:
    assert "at most 50" in problems(*[{"action": "play"}] * 50)[0].message
    assert "nothing is ever sent" in problems(presets=False)[0].message


def test_fields_say_their_types_choices_and_descriptions() -> None:
    fields = fields_of(Song)
    told = {
        name: (field.type, field.required, field.multiple, field.allow_null) for name, field in fields.items()
    }
    assert told == {
        "title": ("string", True, False, False),
        "listener": ("string", False, False, False),
        "at": ("datetime", False, False, False),
        "tracks": ("object", False, True, False),
        "quality": ("string", False, False, False),
        "loud": ("boolean", False, False, False),
        "note": ("string", False, False, True),
    }
    assert fields["title"].description == "What is played."
    assert fields["quality"].choices == ("low", "high")
    assert fields["tracks"].properties["id"].required
    assert fields["tracks"].properties["seconds"].type == "number"


def test_a_payload_made_of_a_table_has_its_descriptions_in_its_annotations() -> None:
    title = Annotated[str, Mapped("$.event"), Meta(description="What is played.")]
    made = fields_of(defstruct("Made", [("title", title)], bases=(Listener,), kw_only=True))
    assert made["title"].description == "What is played."
    assert made["title"].default == {"@path": "$.event"}
    assert made["user"].description == ""


async def test_presets_may_depend_on_settings() -> None:
    class Quiet(Radio):
        @classmethod
        def presets_for(cls, config: Any) -> Sequence[Preset]:
            return cls.presets[1:] if config.url else ()

    assert "nothing is ever sent" in next(iter(Quiet.problems(Quiet.Config(url="")))).message
    async with running_destination(Quiet, {"url": "http://radio.example"}) as it:
        assert await it.deliver(song()) == [Skipped("NO_MATCHING_MAPPING")]


async def test_names_of_mappings_are_told_apart_whatever_they_are() -> None:
    listen = {"action": "listen", "when": "all"}
    own = [{**listen, "name": name} for name in ("A", "A", "A (2)")]
    async with radio(presets=False, actions=own) as (it, vendor):
        assert [each.name for each in it.destination.subscriptions] == ["A", "A (2)", "A (2) (2)"]  # type: ignore[attr-defined]  # a Radio
        (told,) = await it.deliver(identify(plan="gold"))
    assert (told.kind, len(vendor.requests)) == ("delivered", 3)


async def test_a_users_order_holds_where_a_filter_takes_the_id_out() -> None:
    drop = {"if": "all", "actions": [{"type": "drop_properties", "fields": {"": ["userId"]}}]}
    tune = {"action": "tune", "when": "all", "mapping": {"name": {"@path": "$.event"}}}
    async with radio(filters=[drop], presets=False, actions=[tune]) as (it, vendor):
        vendor.replies(503)
        told = await it.deliver(song(region="eu"), song(region="us"))
    assert kinds(told) == ["retry", "retry"]
    assert len(vendor.requests) == 1, "what comes after is not sent before"


async def test_with_strict_order_nothing_overtakes_an_event_that_its_mapping_refused() -> None:
    async with radio(ordering="strict") as (it, vendor):
        told = await it.deliver(song(user="u1"), song(title=None, user="u2"), song(user="u3"))
    assert kinds(told) == ["delivered", "bad_event", "retry"]
    assert len(vendor.requests) == 1


async def test_a_preview_of_what_waits_or_starts_tasks_shows_its_requests_and_makes_none() -> None:
    async def listen_twice(radio: Radio, listener: Listener) -> None:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(radio.call, "POST", f"{radio.config.url}/{listener.user}")

    twice = structs.replace(LISTEN, perform=listen_twice)
    kind = type("Twice", (Radio,), {"actions": (twice,), "presets": (Preset("Twice", twice),)})
    async with running_vendor() as vendor, running_destination(kind, {"url": vendor.url}) as it:
        shown = it.destination.preview(make_event(identify()))
        await anyio.lowlevel.checkpoint()
    assert [request["url"] for request in shown] == [f"{vendor.url}/u1"] * 2  # type: ignore[attr-defined]  # a list
    assert vendor.requests == []
