"""The destination as delivery has it: presets, streams, the 72 hours, time-outs, and a vendor that misbehaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from cdpd.destinations.actions import (
    Answer,
    BadConfig,
    BadEvent,
    Delivered,
    Outcome,
    Request,
    TryAgain,
)
from cdpd.destinations.actions.example import example_of
from cdpd.testing import (
    CUT,
    HANG,
    REDIRECT_LOOP,
    RESET,
    FakeClock,
    Reply,
    RunningDestination,
    Vendor,
    configured,
    huge,
    make_event,
    retry_after,
    run_check,
    running_destination,
    running_vendor,
)
from cdpd.timestamp import format_time
from cdpd_google_analytics_4.destination import GoogleAnalytics4

NOW_MS = 1_768_472_431_000
HOUR_MS = 3_600_000
WEB = {"measurement_id": "G-TEST123", "api_secret": "ga-s3cret"}
APP = {"firebase_app_id": "1:42:ios:abcd", "api_secret": "ga-s3cret"}


@asynccontextmanager
async def google(
    settings: dict[str, Any] = WEB, **more: Any
) -> AsyncIterator[tuple[RunningDestination, Vendor]]:
    async with running_vendor() as vendor:
        vendor.otherwise = Reply(204, {}, b"")
        options = {**settings, "base_url": vendor.url, **more}
        async with running_destination(GoogleAnalytics4, options, clock=FakeClock(NOW_MS)) as it:
            yield it, vendor


def track(event: str = "Song Played", age_ms: int = 1000, **more: Any) -> dict[str, Any]:
    at = format_time(NOW_MS - age_ms)
    return {"type": "track", "event": event, "userId": "u1", "timestamp": at, "properties": {}, **more}


def kinds(outcomes: list[Outcome]) -> list[str]:
    return [outcome.kind for outcome in outcomes]


def sent(vendor: Vendor) -> list[str]:
    return [request.json["events"][0]["name"] for request in vendor.requests]


# -- presets -------------------------------------------------------------------------------------------------


async def test_every_event_of_a_shop_is_sent_once_under_googles_name() -> None:
    async with google() as (it, vendor):
        for preset in GoogleAnalytics4.presets:
            if preset.action.name not in ("pageView", "customEvent"):
                event = {**example_of(preset.action), "timestamp": format_time(NOW_MS)}
                assert kinds(await it.deliver(event)) == ["delivered"]
    assert sent(vendor) == [
        "purchase", "refund", "add_to_cart", "remove_from_cart", "view_item", "view_cart", "add_to_wishlist",
        "begin_checkout", "add_payment_info", "select_item", "view_item_list", "select_promotion", "view_promotion",
        "search", "sign_up", "login",
    ]  # fmt: skip


async def test_any_other_event_goes_along_with_its_properties_flattened() -> None:
    async with google() as (it, vendor):
        await it.deliver(
            track(properties={"song": {"title": "Blue Train"}, "tags": ["a", "b"], "none": None})
        )
    (request,) = vendor.requests
    assert request.path == "/mp/collect?api_secret=ga-s3cret&measurement_id=G-TEST123"
    params = {"engagement_time_msec": 1, "song_title": "Blue Train", "tags": "a,b"}
    assert request.json["events"] == [{"name": "Song_Played", "params": params}]


async def test_calls_that_ga4_does_not_have_are_skipped() -> None:
    async with google() as (it, vendor):
        calls: list[dict[str, Any]] = [
            {"type": kind, "userId": "u"} for kind in ("identify", "group", "alias", "screen")
        ]
        assert kinds(await it.deliver(*calls)) == ["skipped"] * 4
    assert not vendor.requests


async def test_without_a_web_stream_everything_goes_to_the_app_and_screens_too() -> None:
    context = {"app": {"instanceId": "ab12"}}
    async with google(APP) as (it, vendor):
        screen = {**track(), "type": "screen", "name": "Cart", "context": context, "properties": {"n": 1}}
        told = await it.deliver(track(context=context), screen, track())
    assert kinds(told) == ["delivered", "delivered", "bad_event"]
    assert "app_instance_id is missing" in str(told[2])
    assert {request.path for request in vendor.requests} == {
        "/mp/collect?api_secret=ga-s3cret&firebase_app_id=1:42:ios:abcd"
    }
    assert [request.json["app_instance_id"] for request in vendor.requests] == ["ab12", "ab12"]
    assert vendor.requests[1].json["events"][0] == {
        "name": "screen_view",
        "params": {"engagement_time_msec": 1, "n": 1, "screen_name": "Cart"},
    }


async def test_with_both_streams_each_event_goes_to_its_own() -> None:
    async with google({**WEB, **APP}) as (it, vendor):
        await it.deliver(track(context={"app": {"instanceId": "ab12"}}), track())
    assert [sorted(request.json)[0] for request in vendor.requests] == ["app_instance_id", "client_id"]
    assert ["firebase_app_id" in request.path for request in vendor.requests] == [True, False]


# -- rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_ms", "kind"), [(72 * HOUR_MS, "delivered"), (72 * HOUR_MS + 1000, "bad_event")]
)
async def test_what_is_older_than_72_hours_is_parked(age_ms: int, kind: str) -> None:
    async with google() as (it, vendor):
        (outcome,) = await it.deliver(track(age_ms=age_ms))
    assert outcome.kind == kind
    assert bool(vendor.requests) is (kind == "delivered")
    if isinstance(outcome, BadEvent):
        assert outcome.reason.startswith("too old for GA4")


async def test_old_events_may_be_sent_as_of_now() -> None:
    async with google(send_old_events=True) as (it, vendor):
        assert kinds(await it.deliver(track(age_ms=100 * HOUR_MS), track())) == ["delivered", "delivered"]
    assert ["timestamp_micros" in request.json for request in vendor.requests] == [False, True]


async def test_a_stream_that_is_not_set_is_the_configurations_fault() -> None:
    actions = [{"action": "search", "mapping": {"data_stream_type": "Mobile App", "app_instance_id": "ab12"}}]
    async with google(actions=actions) as (it, vendor):
        (outcome,) = await it.deliver(track("Products Searched", properties={"query": "mugs"}))
    assert isinstance(outcome, BadConfig)
    assert "`firebase_app_id` is not set" in outcome.reason
    assert not vendor.requests


async def test_what_is_cut_is_told_once() -> None:
    async with google() as (it, vendor):
        event = track(properties={"_secret": 1, **{f"p{n}": n for n in range(30)}})
        await it.deliver(event)
        first = [entry for entry in it.log.entries if "limits" in entry.text]
        await it.deliver(event)
        again = [entry for entry in it.log.entries if "limits" in entry.text]
    assert len(vendor.requests[0].json["events"][0]["params"]) == 25
    assert len(first) == len(again) == 1 + 6


@pytest.mark.parametrize(
    ("settings", "path", "text"),
    [
        ({}, (), "no stream to send to"),
        ({"measurement_id": ""}, (), "no stream to send to"),
        ({"measurement_id": "UA-12345-1"}, ("measurement_id",), "Universal Analytics"),
    ],
)
def test_a_configuration_that_cannot_work_is_told(
    settings: dict[str, Any], path: tuple[str, ...], text: str
) -> None:
    config = configured(GoogleAnalytics4.Config, {"api_secret": "s", **settings})
    (problem,) = GoogleAnalytics4.problems(config)
    assert problem.path == path
    assert text in problem.message


@pytest.mark.parametrize("settings", [WEB, APP, {**WEB, **APP}])
def test_presets_have_no_problems(settings: dict[str, Any]) -> None:
    assert list(GoogleAnalytics4.problems(configured(GoogleAnalytics4.Config, settings))) == []


async def test_the_secret_is_never_shown() -> None:
    async with google() as (it, vendor):
        vendor.otherwise = Reply(400, {}, b"no: ga-s3cret")
        (outcome,) = await it.deliver(track())
        shown = it.destination.preview(make_event(track()))
    assert isinstance(outcome, BadEvent)
    assert "ga-s3cret" not in f"{outcome} {shown} {it.log.entries}"
    assert '"name":"Song_Played"' in outcome.request


# -- a vendor that misbehaves --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (huge(200, 200_000), "delivered"),
        (retry_after(7), "rate_limited"),
        (retry_after(7, 503), "rate_limited"),
        (Reply(502), "retry"),
        (Reply(413), "bad_event"),
        (RESET, "retry"),
        (CUT, "retry"),
        (REDIRECT_LOOP, "bad_config"),
    ],
)
async def test_whatever_the_vendor_does_becomes_an_outcome(reply: Reply, kind: str) -> None:
    async with google() as (it, vendor):
        vendor.otherwise = reply
        assert kinds(await it.deliver(track())) == [kind]


def answers(it: RunningDestination, *script: int | type[Exception]) -> None:
    """Answer the next requests so, without a network: with a status, or an exception instead."""
    left = list(script)

    async def transport(_: Request) -> Answer:
        reply = left.pop(0)
        if isinstance(reply, int):
            return Answer(reply, {})
        raise reply

    it.destination.client.transport = transport  # type: ignore[attr-defined] - it is one made of actions


async def test_an_event_without_an_answer_is_sent_at_most_three_times_more() -> None:
    async with google() as (it, _):
        answers(it, TimeoutError, TimeoutError, TimeoutError, 500, TimeoutError, TimeoutError)
        event = track(messageId="m1")
        tries = [(await it.deliver(event))[0] for _ in range(6)]
    assert kinds(tries) == ["retry"] * 4 + ["bad_event", "retry"], "sent again by hand it is tried anew"
    assert isinstance(tries[4], BadEvent)
    assert "no answer in time, 4 times" in tries[4].reason


async def test_an_answer_ends_the_counting_and_each_event_has_its_own() -> None:
    async with google() as (it, _):
        answers(it, *(TimeoutError, TimeoutError, 204) * 3)
        event = track(messageId="m1")
        assert kinds([(await it.deliver(event))[0] for _ in range(9)]) == ["retry", "retry", "delivered"] * 3
        answers(it, *[TimeoutError] * 6)
        assert kinds([(await it.deliver(track(messageId=f"m{n}")))[0] for n in range(6)]) == ["retry"] * 6


async def test_a_connection_that_is_never_made_is_tried_for_ever() -> None:
    async with google() as (it, _):
        answers(it, *[aiohttp.ConnectionTimeoutError] * 6)
        for _ in range(6):
            assert kinds(await it.deliver(track(messageId="m1"))) == ["retry"]


async def test_a_vendor_that_hangs_is_not_waited_for() -> None:
    async with google(timeout=0.2) as (it, vendor):
        vendor.replies(HANG)
        (outcome,) = await it.deliver(track())
    assert isinstance(outcome, TryAgain)
    assert outcome.code == "ETIMEDOUT"


async def test_other_peoples_events_are_not_held_by_one_that_is_refused() -> None:
    async with google() as (it, vendor):
        vendor.replies(400)
        told = await it.deliver(track(), track(userId="u2"))
    assert sorted(kinds(told)) == ["bad_event", "delivered"]
    assert Delivered(204) in told


async def test_a_request_can_be_validated_and_what_that_leaves_open_is_told() -> None:
    found, (request,) = await run_check(GoogleAnalytics4)
    assert found.state == "ok"
    assert "it never tells" in found.text
    assert request["url"].startswith(
        "https://www.google-analytics.com/debug/mp/collect?api_secret=ga-secret&measurement_id="
    )
    assert "ga-secret" not in found.request


async def test_what_google_finds_is_told() -> None:
    body = b'{"validationMessages": [{"fieldPath": "x", "description": "x is wrong"}]}'
    settings = {"firebase_app_id": "1:2:web:3", "api_secret": "ga-secret", "region": "eu"}
    found, (request,) = await run_check(GoogleAnalytics4, settings=settings, replies=[Reply(200, body=body)])
    assert (found.state, found.text) == ("failed", "Google finds fault: x is wrong")
    assert "region1.google-analytics.com/debug/mp/collect" in request["url"]
    assert request["url"].endswith("&firebase_app_id=1:2:web:3")
    assert "app_instance_id" in request["json"]
